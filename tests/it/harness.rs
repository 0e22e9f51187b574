//! Starts the real program with a configuration of its own and asks it over HTTP.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wickr_exporter::simulator::{ACCESS_KEY, Fleet, Options, SECRET_KEY, Simulator};

/// Whatever is waited for comes within this, or never: machines may be slow, but not so slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with credentials for the simulator and nothing else of this machine's AWS setup.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wickr-exporter"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .stdin(Stdio::null());
    command
}

/// A simulator on a free port.
pub async fn simulator(options: Options) -> Simulator {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Simulator::start(listener, options).unwrap()
}

/// A simulator with exactly this fleet.
pub async fn serving(fleet: Fleet) -> Simulator {
    simulator(Options::serving(fleet)).await
}

/// A configuration for one network of a simulator, to which a test may add.
pub fn config(endpoint: &str, poll: &str, network: &str, users: &[&str]) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{endpoint}\"\n[poll]\n{poll}\n\
         [[network]]\nid = \"{network}\"\nname = \"test\"\nusers = {users:?}\n"
    )
}

/// Polls every second, as fast as it can.
pub const FAST: &str = "interval = \"1s\"\nrequests_per_second = 10000";

/// A running exporter. Dropping it kills it.
pub struct Exporter {
    child: Mutex<Child>,
    pub base: String,
    log: Arc<Mutex<Vec<String>>>,
    /// Holds the configuration.
    folder: TempDir,
}

impl Exporter {
    pub fn start(config: &str) -> Exporter {
        Exporter::start_with(config, &[], &[])
    }

    /// Starts it with further arguments and environment.
    pub fn start_with(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Exporter {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Exporter::start_in(folder, arguments, environment)
    }

    /// Starts it with the `config.toml` of a folder.
    pub fn start_in(folder: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Exporter {
        Exporter::start_command(program(), folder, arguments, environment)
    }

    /// Starts it as another user, which only root may.
    pub fn start_as(user: u32, config: &str) -> Exporter {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        // Where it was built, that user may have no business.
        let built = program();
        let copied = folder.path().join("wickr-exporter");
        let linked = std::fs::hard_link(built.get_program(), &copied);
        linked.or_else(|_| std::fs::copy(built.get_program(), &copied).map(drop)).unwrap();
        let mut command = Command::new(copied);
        command.env_clear().envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(user);
        Exporter::start_command(command, folder, &[], &[])
    }

    fn start_command(
        mut command: Command,
        folder: TempDir,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Exporter {
        let path = folder.path().join("config.toml");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, address) = mpsc::channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = listening(&line) {
                    // Only the first address is waited for.
                    let _ = found.send(address.to_owned());
                }
                kept.lock().unwrap().push(line);
            }
        });
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            panic!("the exporter does not listen; it said:\n{}", last_lines(&log.lock().unwrap()));
        };
        Exporter { child: Mutex::new(child), base: format!("http://{address}"), log, folder }
    }

    /// Its configuration.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        http().get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    pub async fn metrics(&self) -> Samples {
        Samples::parse(&self.text("/metrics").await)
    }

    /// Scrapes until `holds`, and gives that scrape.
    pub async fn wait_for(&self, what: &str, holds: impl Fn(&Samples) -> bool) -> Samples {
        let until = Instant::now() + PATIENCE;
        loop {
            let samples = self.metrics().await;
            if holds(&samples) {
                return samples;
            }
            assert!(
                Instant::now() < until,
                "never came true: {what}\n{}\n{:#?}",
                last_lines(&self.log.lock().unwrap()),
                samples.0
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `count` polls of a network have ended.
    pub async fn polled(&self, count: f64) -> Samples {
        self.wait_for("so many polls", |samples| samples.sum("wickr_exporter_polls_total") >= count)
            .await
    }

    /// Waits until a poll has begun and ended that began after this call.
    pub async fn polled_anew(&self) -> Samples {
        let before = self.metrics().await.sum("wickr_exporter_polls_total");
        self.polled(before + 2.0).await
    }

    /// Sends a signal to it, and to nothing else.
    pub fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> (ExitStatus, Duration, String) {
        let started = Instant::now();
        self.signal("TERM");
        let status = self.child.get_mut().unwrap().wait().unwrap();
        (status, started.elapsed(), self.log())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It has ended already where a test stopped it.
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address in the log line that tells it, in either format.
fn listening(line: &str) -> Option<&str> {
    let said = line.contains("message=listening") || line.contains("\"message\":\"listening\"");
    let rest = line.split("address").nth(1).filter(|_| said)?;
    rest.trim_start_matches(['"', '=', ':']).split(['"', ' ']).next()
}

fn last_lines(log: &[String]) -> String {
    log[log.len().saturating_sub(20)..].join("\n")
}

/// A client that tries once and waits as long as anything here waits.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// The samples of a scrape in the text format, by name and labels as they are written.
#[derive(Debug, Default)]
pub struct Samples(pub BTreeMap<String, f64>);

impl Samples {
    pub fn parse(text: &str) -> Samples {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples: Vec<_> = lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect();
        let count = samples.len();
        let samples: BTreeMap<_, _> = samples.into_iter().collect();
        assert_eq!(samples.len(), count, "a series stands twice");
        Samples(samples)
    }

    /// The value of the one series of this name whose labels include these.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<_> = self.series(name, labels).collect();
        assert!(found.len() <= 1, "several series of {name} with {labels:?}: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    /// The series of this name whose labels include these.
    pub fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let (this, rest) = series.split_once('{').unwrap_or((series, ""));
            let has = |(label, wanted): &(&str, &str)| {
                let wanted = format!("{label}=\"{wanted}\"");
                rest.starts_with(&wanted) || rest.contains(&format!(",{wanted}"))
            };
            (this == name && labels.iter().all(has)).then_some((series.as_str(), *value))
        })
    }

    /// Whether there is any series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.series(name, &[]).next().is_some()
    }

    pub fn sum(&self, name: &str) -> f64 {
        self.series(name, &[]).map(|(_, value)| value).sum()
    }
}
