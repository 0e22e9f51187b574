//! The exporter process, polling a simulator.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

use crate::{children::Child, fleet::FIRST_USER, http, simulator::Simulator, usage};

const TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    pub(crate) concurrency: u32,
    pub(crate) page_size: u32,
    /// Poll this many listed users; `None` discovers all.
    pub(crate) users: Option<u32>,
}

impl Settings {
    /// Only one poll.
    pub(crate) const ONCE: Settings = Settings {
        interval: Duration::from_secs(24 * 3600),
        concurrency: 16,
        page_size: 100,
        users: None,
    };

    /// Continuous polls.
    pub(crate) const POLLING: Settings =
        Settings { interval: Duration::from_millis(100), ..Settings::ONCE };

    fn config(&self, simulator: &Simulator) -> String {
        let users = self.users.map_or("\"all\"".to_owned(), |users| {
            let ids = (FIRST_USER..FIRST_USER + users).map(|id| id.to_string());
            format!("{:?}", ids.collect::<Vec<_>>())
        });
        format!(
            "[aws]\nregion = \"{region}\"\nendpoint_url = \"http://{endpoint}\"\n\
             [poll]\ninterval = \"{interval}ms\"\nstale_after = \"30d\"\n\
             concurrency = {concurrency}\nrequests_per_second = 1000000\npage_size = {page_size}\n\
             [metrics]\ndetail = \"device\"\n\
             [[network]]\nid = \"{network}\"\nname = \"bench\"\nusers = {users}\n",
            region = simulator.credentials.region,
            endpoint = simulator.address,
            interval = self.interval.as_millis(),
            concurrency = self.concurrency,
            page_size = self.page_size,
            network = simulator.network,
        )
    }
}

/// The exporter's own metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollStats {
    /// Finished polls.
    pub(crate) polls: u64,
    /// Finished polls that read all users.
    pub(crate) good_polls: u64,
    /// API requests of all operations.
    pub(crate) requests: u64,
    /// Duration of the last poll.
    pub(crate) last_poll: Duration,
    pub(crate) devices: u64,
}

/// A running exporter, killed on drop.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Contains the configuration.
    _folder: TempDir,
}

impl Exporter {
    /// Starts it and waits for the end of the first poll.
    pub(crate) async fn start(
        program: &Path,
        simulator: &Simulator,
        settings: Settings,
    ) -> Result<Exporter> {
        let folder = tempfile::tempdir()?;
        let config: PathBuf = folder.path().join("config.toml");
        std::fs::write(&config, settings.config(simulator))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .env("AWS_ACCESS_KEY_ID", &simulator.credentials.key_id)
            .env("AWS_SECRET_ACCESS_KEY", &simulator.credentials.secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        let mut child = Child::start("the exporter", command)?;
        let address = child.wait_for("its address", TIMEOUT, listen_address).await?;
        let exporter = Exporter { child, address, _folder: folder };
        exporter.wait_ready().await?;
        Ok(exporter)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }

    pub(crate) fn usage(&self) -> Option<usage::Usage> {
        usage::of(self.pid())
    }

    async fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let (response, _) = http::fetch(self.address, "/-/ready", &[]).await?;
            match response.status {
                200 => return Ok(()),
                503 => sleep(Duration::from_millis(20)).await,
                other => bail!("/-/ready returned {other}"),
            }
        }
        Err(self.child.error("is not ready"))
    }

    pub(crate) async fn stats(&self) -> Result<PollStats> {
        let path = "/metrics?collect[]=exporter&collect[]=network";
        let (response, body) = http::fetch(self.address, path, &[]).await?;
        ensure!(response.status == 200, "{path} returned {}", response.status);
        let text = String::from_utf8(body).context("the metrics are not UTF-8")?;
        Ok(PollStats {
            polls: sum(&text, "wickr_exporter_polls_total", "")? as u64,
            good_polls: sum(&text, "wickr_exporter_polls_total", "result=\"success\"")? as u64,
            requests: sum(&text, "wickr_exporter_api_requests_total", "")? as u64,
            last_poll: Duration::from_secs_f64(sum(
                &text,
                "wickr_exporter_poll_duration_seconds",
                "",
            )?),
            devices: sum(&text, "wickr_network_devices", "")? as u64,
        })
    }

    /// Waits for this many finished polls. It checks rarely, so as not to affect the measurement.
    pub(crate) async fn wait_polls(&self, polls: u64) -> Result<PollStats> {
        let deadline = Instant::now() + TIMEOUT;
        let mut stats = self.stats().await?;
        while stats.polls < polls {
            ensure!(Instant::now() < deadline, self.child.error("polls too slowly"));
            let remaining = stats.last_poll.mul_f64((polls - stats.polls) as f64);
            sleep(remaining.clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
            stats = self.stats().await?;
        }
        Ok(stats)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.child.stop().await
    }
}

/// Sums the samples of a family whose labels contain `label`.
fn sum(text: &str, family: &str, label: &str) -> Result<f64> {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    });
    let values = lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>());
    let values: Vec<f64> = values.collect::<Result<_, _>>().with_context(|| family.to_owned())?;
    ensure!(!values.is_empty(), "{family} is missing");
    Ok(values.iter().sum())
}

/// Parses the address in the log.
fn listen_address(line: &str) -> Option<SocketAddr> {
    if !line.contains("message=listening") {
        return None;
    }
    let address = line.split_whitespace().find_map(|field| field.strip_prefix("address="))?;
    address.trim_matches('"').parse().ok()
}
