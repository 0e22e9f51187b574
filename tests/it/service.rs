//! What a service manager is told, by systemd's notification protocol. The manager is a socket here:
//! systemd does not run on every machine that tests run on.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wickr_exporter::simulator::{Fault, Fleet, device, network, user};

use crate::harness::{Exporter, FAST, PATIENCE, config, program, serving};

const NETWORK: &str = "12345678";

fn fleet() -> Fleet {
    Fleet::new().network(network(NETWORK).user(user("1001").device(device("a"))))
}

/// Hears what it is told.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Manager { socket, folder }
    }

    fn address(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// Starts an exporter of its own, with a watchdog.
    fn start(&self, config: &str, watchdog: Duration) -> Exporter {
        let watchdog = watchdog.as_micros().to_string();
        let environment = [("NOTIFY_SOCKET", &*self.address()), ("WATCHDOG_USEC", &watchdog)];
        Exporter::start_with(config, &["--web.enable-lifecycle"], &environment)
    }

    /// The next message, if one comes in time.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this line, and gives it whole with all that came before.
    fn hear(&self, wanted: impl Fn(&str) -> bool) -> (String, Vec<String>) {
        let (until, mut before) = (Instant::now() + PATIENCE, Vec::new());
        while Instant::now() < until {
            match self.next(Duration::from_millis(100)) {
                Some(message) if message.lines().any(&wanted) => return (message, before),
                Some(message) => before.push(message),
                None => {}
            }
        }
        panic!("not heard; but {before:#?}");
    }

    fn hear_line(&self, line: &str) -> (String, Vec<String>) {
        self.hear(|heard| heard == line)
    }
}

const NO_HURRY: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_it_listens_whatever_becomes_of_the_first_poll() {
    let simulator = serving(fleet()).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let manager = Manager::new();
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&config, NO_HURRY);
    manager.hear_line("READY=1");
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
    assert_eq!(exporter.get("/-/ready").await.status(), 503, "no poll has ended");
    manager.hear(|line| line.starts_with("STATUS=1 network; 1 not polled yet"));
    // A signal that came too early would end it.
    exporter.signal("HUP");
    manager.hear_line("RELOADING=1");
    simulator.faults().clear();
    manager.hear(|line| line.starts_with("STATUS=1 network; 1 read"));
    let (status, ..) = exporter.stop();
    assert!(status.success());
    manager.hear_line("STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_begins_and_ends_good_or_bad() {
    let simulator = serving(fleet()).await;
    let manager = Manager::new();
    let good = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&good, NO_HURRY);
    manager.hear_line("READY=1");
    let mut last = 0;
    for bad in [false, true] {
        if bad {
            std::fs::write(exporter.config_path(), "nonsense").unwrap();
        }
        exporter.signal("HUP");
        let (message, before) = manager.hear_line("RELOADING=1");
        assert!(!before.iter().any(|message| message.contains("READY")), "{before:?}");
        // systemd 253 and later want it in the same message, and later than that of the last one.
        let moment = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let moment: u64 = moment.unwrap().parse().unwrap();
        assert!(moment > last, "{message}");
        last = moment;
        manager.hear_line("READY=1");
    }
    manager.hear(|line| line.starts_with("STATUS=") && line.contains("reload failed"));
    std::fs::write(exporter.config_path(), good).unwrap();
    exporter.signal("HUP");
    manager.hear(|line| line.starts_with("STATUS=") && !line.contains("reload failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_signs_of_life_for_as_long_as_it_lives() {
    let simulator = serving(fleet()).await;
    // Polls that hang are no reason to end it: the service may be away.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let manager = Manager::new();
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&config, Duration::from_secs(3));
    for _ in 0..3 {
        let since = Instant::now();
        manager.hear_line("WATCHDOG=1");
        assert!(since.elapsed() < Duration::from_secs(30));
    }
    exporter.signal("STOP");
    // What was on its way already.
    while manager.next(Duration::from_secs(2)).is_some() {}
    assert_eq!(manager.next(Duration::from_secs(3)), None);
    exporter.signal("CONT");
    manager.hear_line("WATCHDOG=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_start_is_never_ready() {
    let manager = Manager::new();
    let file = manager.folder.path().join("config.toml");
    std::fs::write(&file, "[[network]]\nid = \"1\"\nusers = []\n").unwrap();
    let mut command = program();
    command.env("NOTIFY_SOCKET", manager.address());
    command.arg(format!("--config.file={}", file.display()));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(manager.next(Duration::from_millis(100)), None);
}
