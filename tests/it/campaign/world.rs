//! One service, one exporter, and everything that befalls them. All chance comes from one seed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tempfile::TempDir;
use wickr_exporter::simulator::{
    Credential, Device, Fault, Fleet, Operation, Options, Simulator, UnknownUser, network,
    security_group, user,
};

use super::{
    disk::Disk,
    judge::{Asked, BUCKETS, Circumstances, Remembered, Sso, fallen, judge, judge_list},
    scrape::Scrape,
    trouble,
    truth::{Chance, Devices, Ms, Timeline, TrueDevice, Truth, Who, now, pick},
};
use crate::{harness::Exporter, harness::PATIENCE, keys::Keys};

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

/// What the exporter is told.
#[derive(Debug, Clone)]
struct Setup {
    /// Networks, and the users listed in each; `None` is all, of networks or of users.
    listed: Option<Vec<(String, Option<Vec<String>>)>>,
    interval: Ms,
    stale_after: Ms,
    page_size: u32,
    concurrency: u32,
    attempts: u32,
    timeout: Ms,
    sso: Sso,
}

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
    truth: Truth,
    asked: Asked,
    pages_go_round: Timeline<bool>,
    started: Ms,
    /// The last scrape of this process.
    last: Option<Scrape>,
    /// Whether it was told of another configuration since then.
    reloaded: bool,
    /// By operation, what was asked by former processes.
    asked_before: [u64; 4],
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
            setup: Setup::random(&mut rng),
            truth: Truth::default(),
            asked: Asked::default(),
            pages_go_round: Timeline::default(),
            started: 0,
            last: None,
            reloaded: false,
            asked_before: [0; 4],
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
        world.setup = world.another_setup();
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
        let log = self.exporter.as_ref().map(Exporter::log).unwrap_or_default();
        let log = log.lines().filter(|line| !line.contains("data of a device cannot be read"));
        let log: Vec<_> = log.rev().take(40).collect();
        let log: Vec<_> = log.into_iter().rev().collect();
        Report(format!(
            "{complaint}\nnow {}, started {}, {:?}\n-- what happened\n{}\n-- what the exporter said\n{}",
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

    // The exporter.

    async fn start(&mut self) -> Result<(), Report> {
        self.name_the_listed();
        let path = |name: &str| self.file(name).display().to_string();
        let web = format!("--web.config.file={}", path("web.yml"));
        let mut arguments = vec!["--web.enable-lifecycle"];
        if self.keys.is_some() {
            arguments.push(&web);
        }
        let credentials = path("credentials");
        let environment = [
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ];
        self.started = now();
        let exporter = Exporter::start_with(&self.config(), &arguments, &environment);
        self.exporter = Some(exporter);
        self.memory.clear();
        self.polls_before = 0.0;
        self.last = None;
        self.asked_before = self.asked_so_far();
        self.look().await?;
        self.left_behind = None;
        Ok(())
    }

    fn name_the_listed(&mut self) {
        self.truth.named.extend(self.setup.listed());
        let networks = self.setup.listed.iter().flatten().map(|(id, _)| id.clone());
        self.truth.named_networks.extend(networks);
    }

    fn config(&self) -> String {
        self.setup.text(&self.simulator.endpoint(), &self.disk.state())
    }

    async fn get(&self, path: &str) -> Result<(u16, String), Report> {
        let base = &self.exporter.as_ref().ok_or_else(|| self.report("it is not there"))?.base;
        let base = match self.keys {
            Some(_) => base.replace("http://", "https://"),
            None => base.clone(),
        };
        let read = async {
            let answer = self.client.get(format!("{base}{path}")).send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        };
        read.await.map_err(|error| self.report(&format!("{path}: {error:?}")))
    }

    /// One scrape, and whether it is true.
    async fn look(&mut self) -> Result<Scrape, Report> {
        let from = now();
        let (status, text) = self.get("/metrics").await?;
        let to = now();
        if status != 200 {
            return Err(self.report(&format!("a scrape was answered with {status}")));
        }
        let scrape = Scrape::parse(&text, from, to).map_err(|error| self.report(&error))?;
        self.hear_what_was_asked();
        let mut complaints = self.complaints(&scrape);
        if self.rng.chance(1, 4) {
            complaints.extend(self.listed().await?);
        }
        let polls = scrape.total("wickr_exporter_polls_total");
        for (path, wanted) in [("/-/healthy", 200), ("/", 200), ("/api/v1/devices?limit=3", 200)] {
            let (status, _) = self.get(path).await?;
            if status != wanted {
                complaints.push(format!("{path} is answered with {status}"));
            }
        }
        if !complaints.is_empty() {
            let kept = self.folder.path().join("scrape");
            fs::write(&kept, &text).unwrap();
            let lines = complaints.join("\n");
            return Err(self.report(&lines));
        }
        self.tally.scrapes += 1;
        self.tally.polls += (polls - self.polls_before).max(0.0) as u64;
        self.polls_before = polls;
        self.last = Some(scrape.clone());
        self.reloaded = false;
        Ok(scrape)
    }

    fn about(&self) -> Circumstances<'_> {
        Circumstances {
            truth: &self.truth,
            asked: &self.asked,
            pages_go_round: &self.pages_go_round,
            started: self.started,
            stale_after: self.setup.stale_after,
            interval: self.setup.interval,
            sso: self.setup.sso,
        }
    }

    fn complaints(&self, scrape: &Scrape) -> Vec<String> {
        let mut complaints = judge(scrape, &self.about());
        complaints.extend(self.dropped(scrape));
        if let Some(before) = &self.last {
            let same = |id: &str| {
                let line = self.truth.networks.get(id);
                let was_there =
                    line.is_some_and(|line| line.between(before.from, scrape.to).all(|t| *t));
                was_there && !self.reloaded
            };
            complaints.extend(fallen(before, scrape, same));
        }
        let asked = OPERATIONS.iter().zip(self.asked_before).zip(self.asked_so_far());
        for ((operation, before), now) in asked {
            let answered =
                scrape.samples("wickr_exporter_api_requests_total").filter(|(labels, _)| {
                    labels["operation"] == format!("{operation:?}")
                        && labels["code"].parse::<u16>().is_ok()
                });
            let answered: f64 = answered.map(|(_, count)| count).sum();
            // The last ones may not have been taken down yet.
            let most = (now - before + u64::from(self.setup.concurrency.max(4))) as f64;
            if answered > most {
                complaints
                    .push(format!("{answered} {operation:?} were answered, of {most} at most"));
            }
        }
        complaints
    }

    /// What is wrong with the list of devices for tools.
    async fn listed(&mut self) -> Result<Vec<String>, Report> {
        let (status, text) = self.get("/api/v1/devices").await?;
        self.hear_what_was_asked();
        let list = serde_json::from_str(&text);
        let list = list.map_err(|error| self.report(&format!("{status} {error}: {text}")))?;
        Ok(judge_list(&list, &self.about()))
    }

    fn asked_so_far(&self) -> [u64; 4] {
        OPERATIONS.map(|operation| self.simulator.requests().count(operation))
    }

    fn hear_what_was_asked(&mut self) {
        for record in self.simulator.requests().take_recent() {
            self.tally.requests += 1;
            if record.operation != Some(Operation::ListDevicesForUser) {
                continue;
            }
            let mut parts = record.path.split('/').skip(2);
            let (Some(network), Some(user)) = (parts.next(), parts.nth(1)) else { continue };
            let (who, at) = ((network.to_owned(), user.to_owned()), record.at.as_millisecond());
            if record.page == Some(1) {
                let pages = self.asked.first_pages.entry(who.clone()).or_default();
                pages.insert(at);
                *pages = pages.split_off(&(at - 300_000));
            }
            if record.status == Some(404) {
                self.asked.not_found.insert(who, at);
            }
        }
    }

    /// Data that is gone without a reason since the last scrape, or since the state was saved.
    fn dropped(&self, scrape: &Scrape) -> Vec<String> {
        let told = Remembered::of(scrape);
        let mut complaints = Vec::new();
        let before = [self.last.as_ref().map(Remembered::of), self.left_behind.clone()];
        for (before, since_start) in before.into_iter().zip([false, true]) {
            let Some(before) = before else { continue };
            for (who, read_at) in &before.read_at {
                let there = told.read_at.get(who);
                if there.is_some_and(|at| at >= read_at) {
                    continue;
                }
                let too_old = scrape.to - read_at > self.setup.stale_after - 100;
                let not_saved = since_start && *read_at > before.saved.saturating_sub(500);
                let said_gone = self.asked.not_found.get(who).is_some_and(|at| at >= read_at);
                let was_gone = self
                    .truth
                    .devices
                    .get(who)
                    .is_none_or(|line| line.between(*read_at, scrape.to).any(Option::is_none));
                let network_gone =
                    self.truth.networks.get(&who.0).is_none_or(|line| {
                        line.between(*read_at, scrape.to).any(|is_there| !is_there)
                    });
                let not_wanted = !self.setup.wants(who);
                if !(too_old || not_saved || said_gone || was_gone || network_gone || not_wanted) {
                    complaints.push(format!(
                        "{who:?} was read at {read_at}, and now {there:?} is told ({})",
                        if since_start { "after a restart" } else { "since the last scrape" }
                    ));
                }
            }
        }
        complaints
    }

    async fn restart(&mut self) -> Result<(), Report> {
        let last = self.look().await?;
        let mut left_behind = Remembered::of(&last);
        let Some(exporter) = self.exporter.take() else { return Ok(()) };
        if self.rng.bool() {
            self.note("SIGKILL");
            self.hold_secrets_back(&exporter.log()).map_err(|what| self.report(&what))?;
            exporter.kill();
        } else {
            self.note("SIGTERM");
            let (status, took, log) = exporter.stop();
            self.hold_secrets_back(&log).map_err(|what| self.report(&what))?;
            if status.code() != Some(0) || took > Duration::from_secs(10) {
                return Err(self.report(&format!("{status} after {took:?}:\n{log}")));
            }
            // All of it is saved at the end.
            if !self.disk.is_in_trouble() {
                left_behind.saved = Ms::MAX;
            }
        }
        self.tally.restarts += 1;
        if self.rng.bool() {
            self.disk.mend();
        }
        self.left_behind = self.disk.is_there().then_some(left_behind);
        self.write_web_config();
        if self.rng.bool() {
            self.setup = self.another_setup();
        }
        self.start().await
    }

    async fn reload(&mut self) -> Result<(), Report> {
        let Some(exporter) = &self.exporter else { return Ok(()) };
        let path = exporter.config_path();
        self.tally.reloads += 1;
        if self.rng.chance(1, 4) {
            self.note("a configuration that is none");
            let bad = pick(&mut self.rng, &["[poll", "[poll]\ninterval = \"0s\"\n", "\u{0}", ""]);
            fs::write(&path, bad).unwrap();
            let status = self.post_reload().await?;
            fs::write(&path, self.config()).unwrap();
            if status == 200 {
                return Err(self.report("a bad configuration was taken up"));
            }
            return Ok(());
        }
        let setup = self.another_setup();
        self.note(&format!("reload: {setup:?}"));
        self.setup = setup;
        self.reloaded = true;
        self.name_the_listed();
        fs::write(&path, self.config()).unwrap();
        self.write_web_config();
        match self.post_reload().await? {
            200 => Ok(()),
            status => Err(self.report(&format!("a reload was answered with {status}"))),
        }
    }

    async fn post_reload(&self) -> Result<u16, Report> {
        let Some(exporter) = &self.exporter else { return Ok(0) };
        let base = match self.keys {
            Some(_) => exporter.base.replace("http://", "https://"),
            None => exporter.base.clone(),
        };
        let answer = self.client.post(format!("{base}/-/reload")).send().await;
        answer.map(|a| a.status().as_u16()).map_err(|e| self.report(&format!("{e:?}")))
    }

    /// Ends everything, and looks at what was said meanwhile.
    fn end(&mut self) -> Result<(), Report> {
        self.disk.mend();
        let Some(exporter) = self.exporter.take() else { return Ok(()) };
        let (status, took, log) = exporter.stop();
        self.hold_secrets_back(&log).map_err(|what| self.report(&what))?;
        if status.code() != Some(0) || took > Duration::from_secs(10) {
            return Err(self.report(&format!("{status} after {took:?}:\n{log}")));
        }
        Ok(())
    }

    fn hold_secrets_back(&self, log: &str) -> Result<(), String> {
        let state = fs::read(self.disk.state()).unwrap_or_default();
        let state = String::from_utf8_lossy(&state).into_owned();
        for secret in [SECRET, "@example.com", "panicked"] {
            if let Some(line) = log.lines().find(|line| line.contains(secret)) {
                return Err(format!("the log has {secret:?}: {line}"));
            }
            if state.contains(secret) {
                return Err(format!("the state file has {secret:?}"));
            }
        }
        Ok(())
    }

    // The service.

    fn add_fault(&mut self) {
        let users = self.truth.users().map(|(who, _)| who.1.clone()).collect();
        let networks: Vec<_> = self.truth.networks.keys().cloned().collect();
        let text = trouble::fault(&mut self.rng, &networks, &users);
        self.note(&format!("fault {text:?}"));
        let fault: Fault = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        if text.contains("repeat-token") || text.contains("endless-pages") {
            self.pages_go_round.put(now(), now(), true);
        }
        self.simulator.faults().add(fault);
    }

    fn clear_faults(&mut self) {
        self.note("no more faults");
        self.simulator.faults().clear();
        self.pages_go_round.put(now(), now(), false);
    }

    fn rotate_keys(&mut self) {
        self.keys_made += 1;
        let key = format!("AKIACAMPAIGN{:04}", self.keys_made);
        self.simulator.credentials().add(Credential::new(&*key, SECRET));
        let profile =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n");
        // In place of the former, at once.
        let (path, new) = (self.file("credentials"), self.file("credentials.new"));
        fs::write(&new, profile).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    fn change_credentials(&mut self) {
        let key = format!("AKIACAMPAIGN{:04}", self.keys_made);
        let credentials = self.simulator.credentials();
        let what = match self.rng.u8(..4) {
            0 => {
                credentials.expire(&key);
                "credentials expire"
            }
            1 => {
                credentials.revoke(&key);
                "credentials are revoked"
            }
            2 => {
                credentials.deny_network(pick(&mut self.rng, &NETWORKS));
                "a network is denied"
            }
            _ => {
                self.rotate_keys();
                self.simulator.credentials().revoke(&key);
                "credentials are replaced"
            }
        };
        self.note(what);
    }

    fn write_web_config(&self) {
        let Some(keys) = &self.keys else { return };
        let pair = keys.server();
        let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
        for (name, text) in
            [("web.yml", text), ("server.crt", &pair.certificate), ("server.key", &pair.key)]
        {
            fs::write(self.file(name), text).unwrap();
        }
    }

    /// Until the next reload or start there is something wrong with them.
    fn spoil_certificates(&mut self) {
        if self.keys.is_none() {
            return;
        }
        let name = pick(&mut self.rng, &["server.crt", "server.key", "web.yml"]);
        if self.rng.bool() {
            fs::write(self.file(name), "-----BEGIN NONSENSE-----\n").unwrap();
        } else {
            // Not there, perhaps because it was not there before either.
            let _ = fs::remove_file(self.file(name));
        }
        self.note(&format!("{name} cannot be read"));
    }

    /// Makes something of the fleet different, and writes down what is true since then.
    fn change(
        &mut self,
        who: &Who,
        make: impl FnOnce(&mut Rng, &mut Vec<Arc<TrueDevice>>) -> Edit,
    ) {
        let line = self.truth.devices.entry(who.clone()).or_default();
        let Some(Some(devices)) = line.latest() else { return };
        let mut devices = devices.clone();
        let edit = make(&mut self.rng, &mut devices);
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            let Some(user) = fleet.user_mut(&who.0, &who.1) else { return };
            match edit {
                Edit::Add(device) => user.add_device(device),
                Edit::Remove(name) => drop(user.remove_device(&name)),
                Edit::Write(device, rng) => {
                    if let Some(written) = user.device_mut(&device.name) {
                        *written = device.write_onto(written.clone(), &mut { rng });
                    }
                }
                Edit::Nothing => {}
            }
        });
        line.put(not_before, now(), Some(devices));
    }

    fn change_fleet(&mut self) {
        let everybody: Vec<Who> = self.truth.users().map(|(who, _)| who.clone()).collect();
        let id = pick(&mut self.rng, &NETWORKS).to_owned();
        if everybody.is_empty() {
            return self.add_user(&id);
        }
        let who = pick(&mut self.rng, &everybody);
        match self.rng.u8(..20) {
            0 | 1 => self.add_user(&id),
            2 => self.remove_user(&who),
            3 => self.toggle_network(&id),
            4 => self.change_group(&who.0),
            5..9 => {
                self.devices_made += 1;
                let name = format!("device-{}", self.devices_made);
                self.change(&who, |rng, devices| {
                    if devices.len() >= MOST_DEVICES {
                        return Edit::Nothing;
                    }
                    let device = TrueDevice::random(name, rng);
                    let written = device.written(rng);
                    devices.push(Arc::new(device));
                    Edit::Add(written)
                });
            }
            9 | 10 => self.change(&who, |rng, devices| match devices.len() {
                0 => Edit::Nothing,
                count => Edit::Remove(devices.remove(rng.usize(..count)).name.clone()),
            }),
            _ => self.change(&who, |rng, devices| {
                let count = devices.len();
                if count == 0 {
                    return Edit::Nothing;
                }
                let device = Arc::make_mut(&mut devices[rng.usize(..count)]);
                device.change(rng);
                Edit::Write(device.clone(), rng.fork())
            }),
        }
    }

    fn add_network(&mut self, id: &str) {
        let mut new = network(id);
        for (group, minutes) in GROUPS.iter().zip([0, 43_200, 60]) {
            new = new.group(security_group(*group).sso_max_idle_minutes(minutes));
            self.truth.groups.insert((id.to_owned(), (*group).to_owned()), minutes);
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.add_network(new));
        self.truth.networks.entry(id.to_owned()).or_default().put(not_before, now(), true);
        self.truth.named_networks.insert(id.to_owned());
        self.simulator.credentials().allow_network(id);
        for _ in 0..self.rng.usize(1..8) {
            self.add_user(id);
        }
    }

    fn toggle_network(&mut self, id: &str) {
        self.note(&format!("network {id} comes or goes"));
        if !self.truth.is_there(id) {
            return self.add_network(id);
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.remove_network(id));
        let after = now();
        self.truth.networks.entry(id.to_owned()).or_default().put(not_before, after, false);
        for ((_, _), line) in self.truth.devices.iter_mut().filter(|((n, _), _)| n == id) {
            line.put(not_before, after, None);
        }
    }

    fn add_user(&mut self, network: &str) {
        let users = self.truth.users().filter(|(who, _)| who.0 == network).count();
        if !self.truth.is_there(network) || users >= MOST_USERS {
            return;
        }
        let who: Who = (network.to_owned(), self.rng.u32(1..=20).to_string());
        if self.truth.users().any(|(known, _)| *known == who) {
            return;
        }
        self.note(&format!("{who:?} comes"));
        // One has more than a page of them, whatever a page is.
        let count = if who.1 == "7" { 130 } else { self.rng.usize(..5) };
        let mut devices = Vec::new();
        for _ in 0..count {
            self.devices_made += 1;
            let name = format!("device-{}", self.devices_made);
            devices.push(Arc::new(TrueDevice::random(name, &mut self.rng)));
        }
        let written: Vec<Device> = devices.iter().map(|d| d.written(&mut self.rng)).collect();
        let groups: Vec<_> = GROUPS.iter().filter(|_| self.rng.chance(1, 3)).collect();
        let new = groups.iter().fold(user(&*who.1), |user, group| user.in_group(**group));
        let new = new.with_devices(written).with("inviteCode", SECRET);
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.add_user(new);
            }
        });
        let line = self.truth.devices.entry(who.clone()).or_default();
        line.put(not_before, now(), Some(devices));
        self.truth.named.insert(who.clone());
        self.truth.members.insert(who, groups.into_iter().map(|g| (*g).to_owned()).collect());
        self.truth.note_limits();
    }

    fn remove_user(&mut self, who: &Who) {
        self.note(&format!("{who:?} goes"));
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            fleet.get_mut(&who.0).is_some_and(|network| network.remove_user(&who.1))
        });
        self.truth.devices.entry(who.clone()).or_default().put(not_before, now(), None);
    }

    fn change_group(&mut self, network: &str) {
        let group = pick(&mut self.rng, &GROUPS);
        let minutes = pick(&mut self.rng, &[0, 1, 60, 43_200]);
        self.note(&format!("group {group} of {network}: {minutes} minutes"));
        // Before it is so: it may be read at once.
        self.truth.groups.insert((network.to_owned(), group.to_owned()), minutes);
        self.truth.note_limits();
        let place = GROUPS.iter().position(|name| *name == group).unwrap();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.groups_mut()[place] = security_group(group).sso_max_idle_minutes(minutes);
            }
        });
    }

    // Calm.

    /// Trouble ends, and then all is to be known as it is, soon.
    async fn calm(&mut self) -> Result<(), Report> {
        self.note("calm");
        self.clear_faults();
        self.simulator.set_rate_limit(None);
        self.disk.mend();
        self.rotate_keys();
        for id in NETWORKS {
            self.simulator.credentials().allow_network(id);
        }
        let since = now();
        let until = Instant::now() + RECOVERY;
        let last = loop {
            let scrape = self.look().await?;
            let amiss = self.amiss(&scrape, since);
            if amiss.is_empty() {
                break scrape;
            }
            if Instant::now() > until {
                let amiss = amiss.join("\n");
                return Err(self.report(&format!("long after all trouble:\n{amiss}")));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        };
        self.tally.calms += 1;
        self.try_the_judge(&last, since)?;
        let (status, _) = self.get("/-/ready").await?;
        if status != 200 {
            return Err(self.report(&format!("/-/ready is answered with {status}")));
        }
        self.remember_memory(last.total("process_resident_memory_bytes"))
    }

    /// A judge who lets everything pass is none: a scrape that is true but for one number, or has
    /// one line too few, must be found out.
    fn try_the_judge(&mut self, scrape: &Scrape, since: Ms) -> Result<(), Report> {
        for _ in 0..50 {
            let known = |network: &str| self.truth.is_there(network);
            let Some((forged, what)) = scrape.forged(&mut self.rng, known) else { continue };
            if self.complaints(&forged).is_empty() && self.amiss(&forged, since).is_empty() {
                return Err(self.report(&format!("the judge has overlooked {what}")));
            }
        }
        Ok(())
    }

    /// What is not yet told as it is now.
    fn amiss(&self, scrape: &Scrape, since: Ms) -> Vec<String> {
        let mut amiss = Vec::new();
        let users = scrape.users();
        let wanted = self.setup.wanted(&self.truth);
        for network in self.setup.networks(&self.truth) {
            let expected: Vec<_> = wanted.iter().filter(|(n, _)| *n == network).collect();
            let all_there =
                self.truth.is_there(&network) && expected.iter().all(|who| self.exists(who));
            let up = scrape.network("wickr_up", &network);
            // It had nobody when it was last heard of, and the list of nobody stays in use.
            let of_nobody = users.keys().all(|who| who.0 != network);
            if self.setup.looks_up(&network) && !self.truth.is_there(&network) && of_nobody {
                continue;
            }
            if up != Some(f64::from(all_there)) {
                amiss.push(format!("{network}: wickr_up is {up:?}"));
            }
        }
        let told: BTreeSet<_> =
            scrape.samples("wickr_network_info").map(|(l, _)| l["network_id"].clone()).collect();
        let networks = self.setup.networks(&self.truth);
        if told != networks {
            amiss.push(format!("networks {told:?}, not {networks:?}"));
        }
        for network in networks.iter().filter(|id| self.truth.is_there(id)) {
            amiss.extend(self.amiss_with_limits(scrape, network));
        }
        // Of a network that is not there nobody can be looked up, and the former list stays in use.
        let told = users.keys().filter(|who| {
            wanted.contains(who) || self.truth.is_there(&who.0) || !self.setup.looks_up(&who.0)
        });
        let told: BTreeSet<_> = told.cloned().collect();
        if told != wanted {
            let extra: Vec<_> = told.difference(&wanted).collect();
            let lacking: Vec<_> = wanted.difference(&told).collect();
            amiss.push(format!("users: {extra:?} too many, {lacking:?} too few"));
        }
        for (who, user) in &users {
            let exists = self.exists(who);
            let up = user.up == Some(1.0);
            if up != exists || user.read_at.is_some() != exists {
                amiss.push(format!("{who:?}: up {:?}, read {:?}", user.up, user.read_at));
            }
            let asked_at = user.read_at.map(|read_at| self.about().asked_from(who, read_at));
            if exists && asked_at.is_none_or(|at| at < since) {
                amiss.push(format!("{who:?}: read at {:?}", user.read_at));
            }
            let limit = match self.setup.sso {
                Sso::No => None,
                Sso::Groups => self.truth.limit(who),
                Sso::Fixed(seconds) => Some(seconds),
            };
            let told_of = self.setup.sso == Sso::Groups || self.setup.finds(&who.0);
            if user.status.is_some() != (exists && told_of) && self.truth.is_there(&who.0) {
                amiss.push(format!("{who:?}: status {:?}", user.status));
            }
            let is_known = exists || matches!(self.setup.sso, Sso::Fixed(_));
            if is_known && user.limit != limit.map(|seconds| seconds * 1000) {
                amiss.push(format!("{who:?}: limit {:?}, not {limit:?}", user.limit));
            }
        }
        amiss
    }

    /// What is not yet told of a network's limits, and how its polls fail.
    fn amiss_with_limits(&self, scrape: &Scrape, network: &str) -> Vec<String> {
        let mut amiss = Vec::new();
        let groups = self.truth.groups.iter().filter(|((of, _), _)| of == network);
        let groups = groups.filter(|_| self.setup.sso == Sso::Groups);
        let mut names = BTreeMap::new();
        let mut limits = BTreeMap::new();
        for ((_, group), minutes) in groups {
            names.insert(group.clone(), 1.0);
            if *minutes > 0 {
                limits.insert(group.clone(), (minutes * 60) as f64);
            }
        }
        for (family, expected) in [
            ("wickr_security_group_info", names),
            ("wickr_security_group_sso_max_idle_seconds", limits),
        ] {
            let told = scrape.by(family, network, "group_id");
            if told != expected {
                amiss.push(format!("{network}: {family} {told:?}, not {expected:?}"));
            }
        }
        let expired = scrape.by("wickr_network_devices_sso_expired", network, "device_type");
        let types = scrape.by("wickr_network_devices", network, "device_type");
        if expired.is_empty() != (self.setup.sso == Sso::No || types.is_empty()) {
            amiss.push(format!("{network}: expired are {expired:?}"));
        }
        amiss
    }

    fn exists(&self, who: &Who) -> bool {
        let line = self.truth.devices.get(who);
        line.and_then(Timeline::latest).is_some_and(Devices::is_some)
    }

    /// After a while it has what it needs, and needs no more.
    fn remember_memory(&mut self, bytes: f64) -> Result<(), Report> {
        self.memory.push((Instant::now(), bytes / 1e6));
        let settled = self.memory.iter().skip(3).take(3).map(|(_, size)| *size);
        let settled = settled.fold(0.0, f64::max);
        if self.memory.len() > 6 && bytes / 1e6 > settled * 1.5 + 20.0 {
            return Err(self.report(&format!("memory grows: {:?}", self.memory)));
        }
        Ok(())
    }

    /// In megabytes, at the end of each calm.
    pub fn memory(&self) -> Vec<u32> {
        self.memory.iter().map(|(_, size)| *size as u32).collect()
    }

    fn another_setup(&mut self) -> Setup {
        let mut setup = Setup::random(&mut self.rng);
        if self.rng.bool() {
            let networks = NETWORKS.iter().filter(|_| self.rng.chance(3, 4));
            let mut listed: Vec<_> = networks.map(|id| (*id).to_owned()).collect();
            if listed.is_empty() {
                listed.push(NETWORKS[0].to_owned());
            }
            let listed = listed.into_iter().map(|id| {
                let users = self.rng.bool().then(|| {
                    let ids: Vec<_> = (1..=20).filter(|_| self.rng.chance(1, 2)).collect();
                    if ids.is_empty() {
                        vec!["7".to_owned()]
                    } else {
                        ids.iter().map(u32::to_string).collect()
                    }
                });
                (id, users)
            });
            setup.listed = Some(listed.collect());
        }
        setup
    }
}

/// What is done to a user's devices.
enum Edit {
    Add(Device),
    Remove(String),
    Write(TrueDevice, Rng),
    Nothing,
}

impl Setup {
    fn random(rng: &mut Rng) -> Setup {
        let interval = rng.i64(4..10) * 100;
        Setup {
            listed: None,
            interval,
            stale_after: interval.max(1_000) * rng.i64(1..6),
            page_size: pick(rng, &[2, 7, 100, 100]),
            concurrency: pick(rng, &[1, 4, 16]),
            attempts: rng.u32(1..4),
            timeout: rng.i64(3..12) * 100,
            sso: pick(rng, &[Sso::No, Sso::Groups, Sso::Groups, Sso::Fixed(86_400)]),
        }
    }

    fn text(&self, endpoint: &str, state: &Path) -> String {
        let sso = match self.sso {
            Sso::No => String::new(),
            Sso::Groups => "[sso]\nmax_idle = \"security-groups\"\n".to_owned(),
            Sso::Fixed(seconds) => format!("[sso]\nmax_idle = \"{seconds}s\"\n"),
        };
        let quoted = |ids: &Option<Vec<String>>| {
            ids.as_ref().map_or("\"all\"".to_owned(), |ids| format!("{ids:?}"))
        };
        let networks = match &self.listed {
            None => "[[network]]\nid = \"all\"\nusers = \"all\"\n".to_owned(),
            Some(listed) => listed
                .iter()
                .map(|(id, users)| {
                    format!("[[network]]\nid = \"{id}\"\nusers = {}\n", quoted(users))
                })
                .collect(),
        };
        let buckets = BUCKETS.map(|seconds| format!("{seconds}s"));
        format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{endpoint}\"\n\
             [poll]\ninterval = \"{}ms\"\nstale_after = \"{}ms\"\npage_size = {}\nconcurrency = {}\n\
             max_attempts = {}\nrequest_timeout = \"{}ms\"\nrequests_per_second = 1000\n\
             [discovery]\ninterval = \"1s\"\n[metrics]\nidle_buckets = {buckets:?}\n\
             {sso}[state]\npath = \"{}\"\n{networks}",
            self.interval,
            self.stale_after,
            self.page_size,
            self.concurrency,
            self.attempts,
            self.timeout,
            state.display()
        )
    }

    /// Whether data of this user is asked for at all, if it exists.
    fn wants(&self, who: &Who) -> bool {
        let Some(listed) = &self.listed else { return true };
        let network = listed.iter().find(|(id, _)| *id == who.0);
        network.is_some_and(|(_, users)| users.as_ref().is_none_or(|users| users.contains(&who.1)))
    }

    /// Whether users are looked up, wherever their network is written.
    fn finds(&self, network: &str) -> bool {
        self.listed.is_none() || self.looks_up(network)
    }

    /// Whether the users of a network that is written out are not.
    fn looks_up(&self, network: &str) -> bool {
        self.listed.iter().flatten().any(|(id, users)| id == network && users.is_none())
    }

    /// Those that should be spoken of.
    fn networks(&self, truth: &Truth) -> BTreeSet<String> {
        match &self.listed {
            Some(listed) => listed.iter().map(|(id, _)| id.clone()).collect(),
            None => truth.networks.keys().filter(|id| truth.is_there(id)).cloned().collect(),
        }
    }

    /// The users that should be spoken of.
    fn wanted(&self, truth: &Truth) -> BTreeSet<Who> {
        let there = truth.users().map(|(who, _)| who.clone()).filter(|who| self.wants(who));
        there.chain(self.listed()).collect()
    }

    /// Those that are named.
    fn listed(&self) -> impl Iterator<Item = Who> {
        self.listed
            .iter()
            .flatten()
            .flat_map(|(id, users)| users.iter().flatten().map(|user| (id.clone(), user.clone())))
    }
}
