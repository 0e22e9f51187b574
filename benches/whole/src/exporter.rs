//! The exporter, as it is released, against a simulator.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

use crate::{children::Child, fleet::FIRST_USER, http, simulator::Simulator, usage};

/// Whatever is waited for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(600);

/// How it is configured, where that matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    /// Requests in flight.
    pub(crate) concurrency: u32,
    pub(crate) page_size: u32,
    /// So many users, by their ids; without it all, as discovery finds them.
    pub(crate) users: Option<u32>,
}

impl Settings {
    /// One poll at the start, and then none.
    pub(crate) const ONCE: Settings = Settings {
        interval: Duration::from_secs(24 * 3600),
        concurrency: 16,
        page_size: 100,
        users: None,
    };

    /// One poll after the other.
    pub(crate) const POLLING: Settings =
        Settings { interval: Duration::from_millis(100), ..Settings::ONCE };

    fn file(&self, simulator: &Simulator) -> String {
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
            region = simulator.access.region,
            endpoint = simulator.address,
            interval = self.interval.as_millis(),
            concurrency = self.concurrency,
            page_size = self.page_size,
            network = simulator.network,
        )
    }
}

/// What the exporter tells of its own doings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doings {
    /// Polls that ended, well or badly.
    pub(crate) polls: u64,
    /// Those of them that read every user.
    pub(crate) good_polls: u64,
    /// Requests to the API, of every kind.
    pub(crate) requests: u64,
    /// How long the last poll took.
    pub(crate) last_poll: Duration,
    /// Devices of the network.
    pub(crate) devices: u64,
}

/// A running exporter. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Holds its configuration.
    _folder: TempDir,
}

impl Exporter {
    /// Starts it and waits until its first poll has ended.
    pub(crate) async fn start(
        program: &Path,
        simulator: &Simulator,
        settings: Settings,
    ) -> Result<Exporter> {
        let folder = tempfile::tempdir()?;
        let config: PathBuf = folder.path().join("config.toml");
        std::fs::write(&config, settings.file(simulator))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .env("AWS_ACCESS_KEY_ID", &simulator.access.key_id)
            .env("AWS_SECRET_ACCESS_KEY", &simulator.access.secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        let mut child = Child::start("the exporter", command)?;
        let address = child.told("where it listens", PATIENCE, listening).await?;
        let exporter = Exporter { child, address, _folder: folder };
        exporter.ready().await?;
        Ok(exporter)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }

    pub(crate) fn usage(&self) -> Option<usage::Usage> {
        usage::of(self.pid())
    }

    async fn ready(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let (answer, _) = http::fetch(self.address, "/-/ready", &[]).await?;
            match answer.status {
                200 => return Ok(()),
                503 => sleep(Duration::from_millis(20)).await,
                other => bail!("/-/ready answers {other}"),
            }
        }
        Err(self.child.failed("does not get ready"))
    }

    pub(crate) async fn doings(&self) -> Result<Doings> {
        let path = "/metrics?collect[]=exporter&collect[]=network";
        let (answer, body) = http::fetch(self.address, path, &[]).await?;
        ensure!(answer.status == 200, "{path} answers {}", answer.status);
        let text = String::from_utf8(body).context("metrics that are not UTF-8")?;
        Ok(Doings {
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

    /// Waits until so many polls have ended. It looks seldom, so as not to be what it measures.
    pub(crate) async fn polled(&self, polls: u64) -> Result<Doings> {
        let until = Instant::now() + PATIENCE;
        let mut doings = self.doings().await?;
        while doings.polls < polls {
            ensure!(Instant::now() < until, self.child.failed("polls too slowly"));
            let rest = doings.last_poll.mul_f64((polls - doings.polls) as f64);
            sleep(rest.clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
            doings = self.doings().await?;
        }
        Ok(doings)
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.child.end().await
    }
}

/// The sum over a family's samples whose labels include `label`.
fn sum(text: &str, family: &str, label: &str) -> Result<f64> {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    });
    let values = lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>());
    let values: Vec<f64> = values.collect::<Result<_, _>>().with_context(|| family.to_owned())?;
    ensure!(!values.is_empty(), "the exporter tells no {family}");
    Ok(values.iter().sum())
}

/// The address in the log line that tells it.
fn listening(line: &str) -> Option<SocketAddr> {
    if !line.contains("message=listening") {
        return None;
    }
    let address = line.split_whitespace().find_map(|field| field.strip_prefix("address="))?;
    address.trim_matches('"').parse().ok()
}
