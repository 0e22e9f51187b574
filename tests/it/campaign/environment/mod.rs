//! One simulator and one exporter with random events. One seed determines all randomness.
//!
//! - `service`: changes of the fleet, faults, credentials, certificates
//! - `exporter`: scrapes and their checks, reloads, restarts; `setup`: the configuration
//! - `recovery`: recovery after all faults have ended

mod exporter;
mod recovery;
mod service;
mod setup;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::{Duration, Instant},
};

use fastrand::Rng;
use setup::Setup;
use tempfile::TempDir;
use wickr_exporter::simulator::{Fleet, Operation, Options, Simulator, UnknownUser};

use super::{
    alerts::Alerts,
    changes::Counts,
    checker::{ObservedRequests, Overdue},
    disk::Disk,
    expected::{Chance, Expected, Ms, Timeline, now, pick},
    organisation::Organisations,
    saves::{ReadTimes, Saves},
    scrape::Scrape,
};
use crate::{
    harness::{Exporter, TIMEOUT},
    keys::Keys,
};

const NETWORKS: [&str; 4] = ["11111111", "22222222", "33333333", "44444444"];
const GROUPS: [&str; 3] = ["none", "month", "hour"];
const OPERATIONS: [Operation; 4] = [
    Operation::ListDevicesForUser,
    Operation::ListUsers,
    Operation::ListNetworks,
    Operation::ListSecurityGroups,
];
const SECRET: &str = "secret that must not be exposed";
/// The time limit of the recovery after all faults: the rate has to recover, and credentials are
/// fetched at most every 10 seconds.
const RECOVERY: Duration = Duration::from_secs(120);
/// Users of a network, and devices of a user.
const MAX_USERS: usize = 12;
const MAX_DEVICES: usize = 8;

/// A failure with the events and the log before it.
pub struct FailureReport(pub String);

#[derive(Default, Debug, Clone, Copy)]
pub struct Statistics {
    pub steps: u64,
    pub scrapes: u64,
    pub polls: u64,
    pub requests: u64,
    pub restarts: u64,
    pub reloads: u64,
    pub recoveries: u64,
    pub alerts: u64,
    pub changes: u64,
}

impl Statistics {
    pub fn and(self, other: Statistics) -> Statistics {
        Statistics {
            steps: self.steps + other.steps,
            scrapes: self.scrapes + other.scrapes,
            polls: self.polls + other.polls,
            requests: self.requests + other.requests,
            restarts: self.restarts + other.restarts,
            reloads: self.reloads + other.reloads,
            recoveries: self.recoveries + other.recoveries,
            alerts: self.alerts + other.alerts,
            changes: self.changes + other.changes,
        }
    }
}

pub struct Environment {
    rng: Rng,
    simulator: Simulator,
    /// Declared before `folder`, which contains it, to be dropped first.
    disk: Disk,
    folder: TempDir,
    keys: Option<Keys>,
    client: reqwest::Client,
    exporter: Option<Exporter>,
    setup: Setup,
    /// Whether this process reloads a changed configuration by itself.
    auto_reload: bool,
    /// The minimum of `stale_after` since the last scrape.
    min_stale_after: Ms,
    /// The longest interval and `stale_after` since the process was started.
    longest: (Ms, Ms),
    expected: Expected,
    organisations: Organisations,
    /// The longest interval of collectors since the last scrape.
    max_collectors: Option<Ms>,
    requests: ObservedRequests,
    overdue: Overdue,
    alerts: Alerts,
    /// Whether every save since the last recovery can have succeeded.
    saves_succeed: bool,
    /// The counters of changes in the state files at the start of this process.
    saved_changes: Counts,
    /// Whether nothing was disturbed since the last recovery.
    calm: bool,
    /// When a request for devices was rejected last, by network.
    last_rejection: BTreeMap<String, Ms>,
    /// Rejected lookups since the last scrape, by operation.
    rejected_lookups: BTreeMap<String, u64>,
    pages_repeat: Timeline<bool>,
    started: Ms,
    /// The last scrape of this process.
    last: Option<Scrape>,
    /// Whether the configuration has changed since the last scrape.
    reloaded: bool,
    /// The requests of earlier processes, by operation.
    earlier_requests: [u64; 4],
    /// When the exporter last knew and had saved all existing users.
    settled_at: Ms,
    saves: Saves,
    /// The content of the state files at the start of this process.
    saved: Option<ReadTimes>,
    access_key_count: u32,
    device_count: u32,
    last_polls: f64,
    /// Resident memory of this process at the end of each recovery, in MB.
    memory: Vec<(Instant, f64)>,
    restarts_allowed: bool,
    events: VecDeque<String>,
    pub statistics: Statistics,
}

impl Environment {
    pub async fn new(seed: u64, restarts_allowed: bool) -> Environment {
        let mut rng = Rng::with_seed(seed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let unknown = [UnknownUser::NotFound, UnknownUser::BadRequest];
        let options = Options {
            fleet: Some(Fleet::new()),
            seed,
            empty_pages: pick(&mut rng, &[0.0, 0.1]),
            unknown_user: pick(&mut rng, &unknown),
            credentials: Vec::new(),
            request_log: 100_000,
            ..Options::default()
        };
        let simulator = Simulator::start(listener, options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path());
        let keys = rng.chance(1, 3).then(Keys::generate);
        let mut client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(keys) = &keys {
            let authority = reqwest::Certificate::from_pem(keys.authority().as_bytes()).unwrap();
            client = client.tls_certs_only([authority]);
        }
        let mut environment = Environment {
            simulator,
            folder,
            disk,
            keys,
            client: client.build().unwrap(),
            exporter: None,
            setup: Setup::random(&mut rng),
            auto_reload: false,
            min_stale_after: Ms::MAX,
            longest: (0, 0),
            expected: Expected::default(),
            organisations: Organisations::default(),
            max_collectors: None,
            requests: ObservedRequests::default(),
            overdue: Overdue::default(),
            alerts: Alerts::default(),
            saves_succeed: true,
            saved_changes: Counts::default(),
            calm: false,
            last_rejection: BTreeMap::new(),
            rejected_lookups: BTreeMap::new(),
            pages_repeat: Timeline::default(),
            started: 0,
            last: None,
            reloaded: false,
            earlier_requests: [0; 4],
            settled_at: Ms::MAX,
            saves: Saves::default(),
            saved: None,
            access_key_count: 0,
            device_count: 0,
            last_polls: 0.0,
            memory: Vec::new(),
            restarts_allowed,
            events: VecDeque::new(),
            statistics: Statistics::default(),
            rng,
        };
        for id in &NETWORKS[..3] {
            environment.add_network(id);
        }
        environment.rotate_keys();
        environment.write_web_config();
        environment.settled_at = now();
        environment
    }

    /// Alternates between random events and recovery.
    pub async fn run(&mut self, until: Instant) -> Result<(), FailureReport> {
        self.start().await?;
        while Instant::now() < until {
            for _ in 0..self.rng.u32(10..40) {
                self.step().await?;
            }
            self.recover().await?;
        }
        self.end()?;
        self.check_alerts()
    }

    async fn step(&mut self) -> Result<(), FailureReport> {
        self.statistics.steps += 1;
        match self.rng.u8(..40) {
            0..14 => self.add_fault(),
            14..16 => self.clear_faults(),
            16..26 => self.change_fleet(),
            26..28 => self.change_credentials(),
            28 => {
                let rate = pick(&mut self.rng, &[None, Some(2.0), Some(20.0), Some(100.0)]);
                self.log_event(&format!("rate limit {rate:?}"));
                self.calm = false;
                self.simulator.set_rate_limit(rate);
            }
            29..31 => {
                self.saves_succeed = false;
                let event = self.disk.toggle_failure(&mut self.rng);
                self.log_event(event);
            }
            31..33 => self.break_web_config(),
            33..36 => self.reload().await?,
            36..38 if self.restarts_allowed => self.restart().await?,
            _ => {}
        }
        let pause = self.rng.u64(..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.scrape_and_check().await?;
        Ok(())
    }

    fn log_event(&mut self, event: &str) {
        if self.events.len() == 60 {
            self.events.pop_front();
        }
        self.events.push_back(format!("{} {event}", now()));
    }

    fn report(&self, problem: &str) -> FailureReport {
        let events: Vec<_> = self.events.iter().map(String::as_str).collect();
        let ended = self.exporter.as_ref().and_then(Exporter::ended);
        if ended.is_some() {
            // The last log lines might not have been read yet.
            std::thread::sleep(Duration::from_millis(500));
        }
        let log = self.exporter.as_ref().map(Exporter::log).unwrap_or_default();
        let log = log.lines().filter(|line| !line.contains("invalid data"));
        let log: Vec<_> = log.rev().take(40).collect();
        let log: Vec<_> = log.into_iter().rev().collect();
        FailureReport(format!(
            "{problem}\nnow {}, started {}, ended {ended:?}, {:?}\n-- events\n{}\n-- log\n{}",
            now(),
            self.started,
            self.setup,
            events.join("\n"),
            log.join("\n")
        ))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
