//! systemd's notification protocol, with a socket in place of systemd.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wickr_exporter::simulator::{Fault, Fleet, device, network, user};

use crate::harness::{Exporter, FAST, TIMEOUT, config, program, serving};

const NETWORK: &str = "12345678";

fn fleet() -> Fleet {
    Fleet::new().network(network(NETWORK).user(user("1001").device(device("a"))))
}

/// Receives notifications.
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

    /// Starts an exporter with a watchdog.
    fn start(&self, config: &str, watchdog: Duration) -> Exporter {
        let watchdog = watchdog.as_micros().to_string();
        let environment = [("NOTIFY_SOCKET", &*self.address()), ("WATCHDOG_USEC", &watchdog)];
        Exporter::start_with(config, &["--web.enable-lifecycle"], &environment)
    }

    fn next(&self, timeout: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(timeout)).unwrap();
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Waits for a message with a line that matches; returns it and all messages before it.
    fn wait_for(&self, matches: impl Fn(&str) -> bool) -> (String, Vec<String>) {
        let (deadline, mut before) = (Instant::now() + TIMEOUT, Vec::new());
        while Instant::now() < deadline {
            match self.next(Duration::from_millis(100)) {
                Some(message) if message.lines().any(&matches) => return (message, before),
                Some(message) => before.push(message),
                None => {}
            }
        }
        panic!("no such message: {before:#?}");
    }

    fn wait_for_line(&self, expected: &str) -> (String, Vec<String>) {
        self.wait_for(|line| line == expected)
    }
}

const LONG_WATCHDOG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn notifies_ready_when_listening_before_the_first_poll() {
    let simulator = serving(fleet()).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let manager = Manager::new();
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&config, LONG_WATCHDOG);
    manager.wait_for_line("READY=1");
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
    assert_eq!(exporter.get("/-/ready").await.status(), 503, "no poll has ended");
    manager.wait_for(|line| line.starts_with("STATUS=1 network; 1 not polled yet"));
    // Without a handler, SIGHUP would end the process.
    exporter.signal("HUP");
    manager.wait_for_line("RELOADING=1");
    simulator.faults().clear();
    manager.wait_for(|line| line.starts_with("STATUS=1 network; 1 read"));
    let (status, ..) = exporter.stop();
    assert!(status.success());
    manager.wait_for_line("STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_reloading_then_ready_also_after_a_failed_reload() {
    let simulator = serving(fleet()).await;
    let manager = Manager::new();
    let good = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&good, LONG_WATCHDOG);
    manager.wait_for_line("READY=1");
    let mut last = 0;
    for bad in [false, true] {
        if bad {
            std::fs::write(exporter.config_path(), "nonsense").unwrap();
        }
        exporter.signal("HUP");
        let (message, before) = manager.wait_for_line("RELOADING=1");
        assert!(!before.iter().any(|message| message.contains("READY")), "{before:?}");
        // systemd 253 and later require an increasing value in the same message.
        let usec = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let usec: u64 = usec.unwrap().parse().unwrap();
        assert!(usec > last, "{message}");
        last = usec;
        manager.wait_for_line("READY=1");
    }
    manager.wait_for(|line| line.starts_with("STATUS=") && line.contains("reload failed"));
    std::fs::write(exporter.config_path(), good).unwrap();
    exporter.signal("HUP");
    manager.wait_for(|line| line.starts_with("STATUS=") && !line.contains("reload failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_the_watchdog_while_polls_hang_but_not_while_stopped() {
    let simulator = serving(fleet()).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let manager = Manager::new();
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = manager.start(&config, Duration::from_secs(3));
    for _ in 0..3 {
        let since = Instant::now();
        manager.wait_for_line("WATCHDOG=1");
        assert!(since.elapsed() < Duration::from_secs(30));
    }
    exporter.signal("STOP");
    // Messages sent before the signal.
    while manager.next(Duration::from_secs(2)).is_some() {}
    assert_eq!(manager.next(Duration::from_secs(3)), None);
    exporter.signal("CONT");
    manager.wait_for_line("WATCHDOG=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_notify_ready_with_an_invalid_configuration() {
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
