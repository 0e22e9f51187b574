//! Starts the program with a configuration and reads it over HTTP.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs::Permissions,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex, mpsc},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wickr_exporter::simulator::{ACCESS_KEY, Fleet, Options, SECRET_KEY, Simulator};

/// The time limit of each wait, generous for slow machines and tests that run at the same time.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// The program, with credentials for the simulator and without this machine's AWS and proxy settings.
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

/// A simulator with this fleet.
pub async fn serving(fleet: Fleet) -> Simulator {
    simulator(Options::serving(fleet)).await
}

/// A configuration for one network of a simulator. It ends in `[[network]]`.
pub fn config(endpoint: &str, poll: &str, network: &str, users: &[impl Debug]) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{endpoint}\"\n[poll]\n{poll}\n\
         [[network]]\nid = \"{network}\"\nname = \"test\"\nusers = {users:?}\n"
    )
}

/// Polls every second, without a rate limit in practice.
pub const FAST: &str = "interval = \"1s\"\nrequests_per_second = 10000";

/// A running exporter. Dropping it kills it.
pub struct Exporter {
    child: Mutex<Child>,
    pub base: String,
    log: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Exporter {
    pub fn start(config: &str) -> Exporter {
        Exporter::start_with(config, &[], &[])
    }

    pub fn start_with(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Exporter {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Exporter::start_in(folder, arguments, environment)
    }

    /// Starts it with the `config.toml` in a folder.
    pub fn start_in(folder: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Exporter {
        Exporter::start_command(program(), folder, arguments, environment)
    }

    /// Starts it as another user; requires root.
    pub fn start_as(user: u32, config: &str) -> Exporter {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        // The user might not have access to the build directory.
        let original = program();
        let copy = folder.path().join("wickr-exporter");
        let linked = std::fs::hard_link(original.get_program(), &copy);
        linked.or_else(|_| std::fs::copy(original.get_program(), &copy).map(drop)).unwrap();
        let mut command = Command::new(copy);
        let environment = original.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(environment);
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
        let (sender, addresses) = mpsc::channel();
        let shared_log = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = listen_address(&line) {
                    // Only the first address has a receiver.
                    let _ = sender.send(address.to_owned());
                }
                shared_log.lock().unwrap().push(line);
            }
        });
        let Ok(address) = addresses.recv_timeout(TIMEOUT) else {
            panic!("the exporter does not listen; its log:\n{}", last_lines(&log.lock().unwrap()));
        };
        Exporter { child: Mutex::new(child), base: format!("http://{address}"), log, folder }
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Reads no further line of the log, so that its pipe fills, while the result lives.
    pub fn stop_reading_log(&self) -> impl Sized + '_ {
        self.log.lock().unwrap()
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

    /// Scrapes until `condition` holds, and returns that scrape.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Samples) -> bool) -> Samples {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let samples = self.metrics().await;
            if condition(&samples) {
                return samples;
            }
            assert!(
                Instant::now() < deadline,
                "time-out: {what}\n{}\n{:#?}",
                last_lines(&self.log.lock().unwrap()),
                samples.0
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `count` polls of a network have ended.
    pub async fn polled(&self, count: f64) -> Samples {
        let polls = |samples: &Samples| samples.sum("wickr_exporter_polls_total");
        self.wait_for("poll count", |samples| polls(samples) >= count).await
    }

    /// Waits for the end of a poll that starts after this call.
    pub async fn next_poll(&self) -> Samples {
        let before = self.metrics().await.sum("wickr_exporter_polls_total");
        self.polled(before + 2.0).await
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Its exit status, once it has exited.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Kills it without a shutdown.
    pub fn kill(mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Terminates it: its exit status, the duration of the shutdown, and its log.
    pub fn stop(mut self) -> (ExitStatus, Duration, String) {
        let started = Instant::now();
        self.signal("TERM");
        let status = self.child.get_mut().unwrap().wait().unwrap();
        (status, started.elapsed(), self.log())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address of the log line `listening`, in either log format.
fn listen_address(line: &str) -> Option<&str> {
    let matches = line.contains("message=listening") || line.contains("\"message\":\"listening\"");
    let rest = line.split("address").nth(1).filter(|_| matches)?;
    rest.trim_start_matches(['"', '=', ':']).split(['"', ' ']).next()
}

fn last_lines(log: &[String]) -> String {
    log[log.len().saturating_sub(20)..].join("\n")
}

/// An HTTP client without TLS, retries, proxy and idle connections, which would end with their runtime.
pub fn http() -> &'static reqwest::Client {
    // Reading the certificates of this machine takes longer than a request.
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        builder.tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap()
    });
    &CLIENT
}

/// The values of a scrape in the text format, by series as written.
#[derive(Debug, Default)]
pub struct Samples(pub BTreeMap<String, f64>);

impl Samples {
    pub fn parse(text: &str) -> Samples {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let former = samples.insert(series.to_owned(), value.parse().unwrap());
            assert!(former.is_none(), "duplicate series: {series}");
        }
        Samples(samples)
    }

    /// The value of the only series with this name and these labels, among others.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<_> = self.series(name, labels).collect();
        assert!(found.len() <= 1, "several series of {name} with {labels:?}: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    /// The series with this name and these labels, among others.
    pub fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let (this, rest) = series.split_once('{').unwrap_or((series, ""));
            let has = |(label, value): &(&str, &str)| {
                let pair = format!("{label}=\"{value}\"");
                rest.starts_with(&pair) || rest.contains(&format!(",{pair}"))
            };
            (this == name && labels.iter().all(has)).then_some((series.as_str(), *value))
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.series(name, &[]).next().is_some()
    }

    pub fn sum(&self, name: &str) -> f64 {
        self.series(name, &[]).map(|(_, value)| value).sum()
    }
}
