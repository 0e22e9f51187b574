//! One service, one exporter, and everything that befalls them. All chance comes from one seed.
//!
//! - `service`: devices, users and networks come and go, and requests fail
//! - `exporter`: what it is told, what it tells, and whether that is so; `setup` is its configuration
//! - `calm`: trouble ends, and all must be well

mod calm;
mod exporter;
mod service;
mod setup;

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use fastrand::Rng;
use setup::Setup;
use tempfile::TempDir;
use wickr_exporter::simulator::{Fleet, Operation, Options, Simulator, UnknownUser};

use super::{
    disk::Disk,
    judge::{Asked, Overdue, Remembered},
    scrape::Scrape,
    truth::{Chance, Ms, Timeline, Truth, now, pick},
};
use crate::{
    harness::{Exporter, PATIENCE},
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
const SECRET: &str = "a secret that nobody must see";
/// After trouble has ended, all is well within this: the rate may have to recover, and credentials
/// are fetched every ten seconds at most.
const RECOVERY: Duration = Duration::from_secs(120);
/// The most users in a network, and devices of a user.
const MOST_USERS: usize = 12;
const MOST_DEVICES: usize = 8;

/// What went wrong, and all that is needed to see why.
pub struct Report(pub String);

/// What a campaign can tell at its end.
#[derive(Default, Debug, Clone, Copy)]
pub struct Tally {
    pub steps: u64,
    pub scrapes: u64,
    pub polls: u64,
    pub requests: u64,
    pub restarts: u64,
    pub reloads: u64,
    pub calms: u64,
}

impl Tally {
    pub fn and(self, other: Tally) -> Tally {
        Tally {
            steps: self.steps + other.steps,
            scrapes: self.scrapes + other.scrapes,
            polls: self.polls + other.polls,
            requests: self.requests + other.requests,
            restarts: self.restarts + other.restarts,
            reloads: self.reloads + other.reloads,
            calms: self.calms + other.calms,
        }
    }
}

pub struct World {
    rng: Rng,
    simulator: Simulator,
    /// Before the folder that it stands in.
    disk: Disk,
    folder: TempDir,
    keys: Option<Keys>,
    client: reqwest::Client,
    exporter: Option<Exporter>,
    setup: Setup,
    /// The least `stale_after` since the last scrape: what was too old for it has been let go of.
    least_stale_after: Ms,
    truth: Truth,
    asked: Asked,
    overdue: Overdue,
    pages_go_round: Timeline<bool>,
    started: Ms,
    /// The last scrape of this process.
    last: Option<Scrape>,
    /// Whether it was told of another configuration since then.
    reloaded: bool,
    /// By operation, what was asked by former processes.
    asked_before: [u64; 4],
    /// When it was last seen to know everybody who was there, and to have saved that; or when nothing
    /// had been started yet.
    settled: Ms,
    /// What a process that was just started must have found in its state file.
    left_behind: Option<Remembered>,
    keys_made: u32,
    devices_made: u32,
    polls_before: f64,
    /// Resident memory at the end of each calm, of this process.
    memory: Vec<(Instant, f64)>,
    restarts_allowed: bool,
    events: VecDeque<String>,
    pub tally: Tally,
}

impl World {
    pub async fn new(seed: u64, restarts_allowed: bool) -> World {
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
        let mut client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        if let Some(keys) = &keys {
            let authority = reqwest::Certificate::from_pem(keys.authority().as_bytes()).unwrap();
            client = client.tls_certs_only([authority]);
        }
        let mut world = World {
            simulator,
            folder,
            disk,
            keys,
            client: client.build().unwrap(),
            exporter: None,
            setup: Setup::another(&mut rng),
            least_stale_after: Ms::MAX,
            truth: Truth::default(),
            asked: Asked::default(),
            overdue: Overdue::default(),
            pages_go_round: Timeline::default(),
            started: 0,
            last: None,
            reloaded: false,
            asked_before: [0; 4],
            settled: Ms::MAX,
            left_behind: None,
            keys_made: 0,
            devices_made: 0,
            polls_before: 0.0,
            memory: Vec::new(),
            restarts_allowed,
            events: VecDeque::new(),
            tally: Tally::default(),
            rng,
        };
        for id in &NETWORKS[..3] {
            world.add_network(id);
        }
        world.rotate_keys();
        world.write_web_config();
        world.settled = now();
        world
    }

    /// Trouble and calm in turn until the time is up.
    pub async fn run(&mut self, until: Instant) -> Result<(), Report> {
        self.start().await?;
        while Instant::now() < until {
            for _ in 0..self.rng.u32(10..40) {
                self.step().await?;
            }
            self.calm().await?;
        }
        self.end()
    }

    async fn step(&mut self) -> Result<(), Report> {
        self.tally.steps += 1;
        match self.rng.u8(..40) {
            0..14 => self.add_fault(),
            14..16 => self.clear_faults(),
            16..26 => self.change_fleet(),
            26..28 => self.change_credentials(),
            28 => {
                let rate = pick(&mut self.rng, &[None, Some(2.0), Some(20.0), Some(100.0)]);
                self.note(&format!("rate limit {rate:?}"));
                self.simulator.set_rate_limit(rate);
            }
            29..31 => {
                let what = self.disk.befall(&mut self.rng);
                self.note(what);
            }
            31..33 => self.spoil_certificates(),
            33..36 => self.reload().await?,
            36..38 if self.restarts_allowed => self.restart().await?,
            _ => {}
        }
        let pause = self.rng.u64(..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.look().await?;
        Ok(())
    }

    fn note(&mut self, event: &str) {
        if self.events.len() == 60 {
            self.events.pop_front();
        }
        self.events.push_back(format!("{} {event}", now()));
    }

    fn report(&self, complaint: &str) -> Report {
        let events: Vec<_> = self.events.iter().map(String::as_str).collect();
        let ended = self.exporter.as_ref().and_then(Exporter::ended);
        if ended.is_some() {
            // Its last words may still be on their way.
            std::thread::sleep(Duration::from_millis(500));
        }
        let log = self.exporter.as_ref().map(Exporter::log).unwrap_or_default();
        let log = log.lines().filter(|line| !line.contains("invalid device data"));
        let log: Vec<_> = log.rev().take(40).collect();
        let log: Vec<_> = log.into_iter().rev().collect();
        Report(format!(
            "{complaint}\nnow {}, started {}, ended {ended:?}, {:?}\n-- what happened\n{}\n-- what the exporter said\n{}",
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
