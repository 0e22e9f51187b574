//! Starts, scrapes, checks, reloads and stops the exporter.

use std::{collections::BTreeSet, fs, time::Duration};

use wickr_exporter::simulator::{Operation, RequestRecord};

use super::{
    super::{
        alerts::Truth,
        changes,
        checker::{Context, Overdue, check_counters, check_device_list, check_scrape},
        expected::{Chance, UserKey, now, pick},
        saves::{Saves, poll_ends, read_times},
        scrape::{Scrape, millis},
    },
    Environment, FailureReport, OPERATIONS, SECRET,
    setup::Setup,
};
use crate::harness::Exporter;

impl Environment {
    pub(super) async fn start(&mut self) -> Result<(), FailureReport> {
        self.record_known();
        self.auto_reload = self.rng.chance(1, 4);
        self.log_event(&format!("start, reloads by itself: {}", self.auto_reload));
        let path = |name: &str| self.file(name).display().to_string();
        let web = format!("--web.config.file={}", path("web.yml"));
        let mut arguments = vec!["--web.enable-lifecycle"];
        if self.keys.is_some() {
            arguments.push(&web);
        }
        if self.auto_reload {
            arguments.push("--config.enable-auto-reload");
        }
        let credentials = path("credentials");
        let environment = [
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ];
        // Before the start, because the process polls immediately.
        self.earlier_requests = self.request_counts();
        self.started = now();
        self.overdue = Overdue::default();
        self.longest = (self.setup.interval, self.setup.stale_after);
        self.saves = Saves::default();
        self.calm = false;
        let exporter = Exporter::start_with(&self.config(), &arguments, &environment);
        self.exporter = Some(exporter);
        self.memory.clear();
        self.last_polls = 0.0;
        self.last = None;
        self.scrape_and_check().await?;
        self.saved = None;
        self.saved_changes.clear();
        Ok(())
    }

    /// Records the configured users and networks.
    fn record_known(&mut self) {
        self.expected.known_users.extend(self.setup.listed());
        let networks = self.setup.listed.iter().flatten().map(|(id, _)| id.clone());
        self.expected.known_networks.extend(networks);
    }

    pub(super) fn config(&self) -> String {
        self.setup.text(&self.simulator.endpoint(), &self.disk.state())
    }

    pub(super) async fn get(&self, path: &str) -> Result<(u16, String), FailureReport> {
        let base = self.base().ok_or_else(|| self.report("the exporter is not running"))?;
        let get = async {
            let response = self.client.get(format!("{base}{path}")).send().await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), response.text().await?))
        };
        get.await.map_err(|error| self.report(&format!("{path}: {error:?}")))
    }

    fn base(&self) -> Option<String> {
        let base = &self.exporter.as_ref()?.base;
        Some(match self.keys {
            Some(_) => base.replace("http://", "https://"),
            None => base.clone(),
        })
    }

    /// Scrapes and checks the result.
    pub(super) async fn scrape_and_check(&mut self) -> Result<Scrape, FailureReport> {
        let from = now();
        let (status, text) = self.get("/metrics").await?;
        let to = now();
        if status != 200 {
            return Err(self.report(&format!("scrape: status {status}")));
        }
        let scrape = Scrape::parse(&text, from, to).map_err(|error| self.report(&error))?;
        self.record_requests();
        self.overdue.update(&scrape, self.started);
        self.saves.update(&scrape);
        let mut violations = self.violations(&scrape);
        if self.rng.chance(1, 4) {
            violations.extend(self.device_list_violations().await?);
        }
        let polls = scrape.total("wickr_exporter_polls_total");
        for path in ["/-/healthy", "/", "/api/v1/devices?limit=3"] {
            let (status, _) = self.get(path).await?;
            if status != 200 {
                violations.push(format!("{path}: status {status}"));
            }
        }
        if !violations.is_empty() {
            return Err(self.report(&violations.join("\n")));
        }
        self.statistics.scrapes += 1;
        let truth = self.truth(&scrape);
        self.alerts.record(&scrape, truth);
        self.statistics.polls += (polls - self.last_polls).max(0.0) as u64;
        self.last_polls = polls;
        self.last = Some(scrape.clone());
        self.reloaded = false;
        self.min_stale_after = self.setup.stale_after;
        self.max_collectors = self.setup.collectors;
        Ok(scrape)
    }

    /// What an alert can rely on at the time of a scrape.
    fn truth(&mut self, scrape: &Scrape) -> Truth {
        let is_readable = |id: &String| {
            self.expected.users().any(|(key, _)| key.0 == *id && self.setup.includes(key))
        };
        let networks = self.setup.networks(&self.expected).into_iter().filter(|_| self.calm);
        let ended = poll_ends(scrape);
        let is_rejected = |id: &&String| {
            let duration = scrape.network("wickr_exporter_poll_duration_seconds", id);
            // Between polls of all users, some users are polled.
            let began = ended.get(*id).map_or(0, |ended| {
                ended - duration.map_or(0, millis) - self.setup.interval - 1_000
            });
            self.last_rejection[*id] >= began
        };
        Truth {
            readable: networks.filter(is_readable).collect(),
            rejected: self.last_rejection.keys().filter(is_rejected).cloned().collect(),
            configured: self.setup.listed.is_some(),
            rejected_lookups: std::mem::take(&mut self.rejected_lookups),
        }
    }

    /// Evaluates the shipped alerts on all scrapes.
    pub(super) fn check_alerts(&mut self) -> Result<(), FailureReport> {
        let Some((fired, violations)) = self.alerts.evaluate() else { return Ok(()) };
        self.statistics.alerts += fired as u64;
        match violations.is_empty() {
            true => Ok(()),
            false => Err(self.report(&violations.join("\n"))),
        }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            expected: &self.expected,
            requests: &self.requests,
            pages_repeat: &self.pages_repeat,
            started: self.started,
            stale_after: self.setup.stale_after,
            longest: self.longest,
            overdue: &self.overdue,
            sso: self.setup.sso,
        }
    }

    pub(super) fn violations(&self, scrape: &Scrape) -> Vec<String> {
        let mut violations = check_scrape(scrape, &self.context());
        violations.extend(self.expected.changes.violations(scrape));
        violations.extend(self.lost_changes(scrape));
        violations.extend(self.lost_data(scrape));
        let interval = self.max_collectors.max(self.setup.collectors);
        violations.extend(self.organisations.violations(scrape, interval));
        violations.extend(self.missing_users(scrape));
        if let Some(before) = &self.last {
            let is_unchanged = |id: &str| {
                let timeline = self.expected.networks.get(id);
                let existed = timeline.is_some_and(|timeline| {
                    timeline.between(before.from, scrape.to).all(|exists| *exists)
                });
                existed && !self.reloaded
            };
            violations.extend(check_counters(before, scrape, is_unchanged));
        }
        let counts = OPERATIONS.iter().zip(self.earlier_requests).zip(self.request_counts());
        for ((operation, before), now) in counts {
            let responses =
                scrape.samples("wickr_exporter_api_requests_total").filter(|(labels, _)| {
                    labels["operation"] == format!("{operation:?}")
                        && labels["code"].parse::<u16>().is_ok()
                });
            let responses: f64 = responses.map(|(_, count)| count).sum();
            // The simulator records requests in flight later.
            let limit = (now - before + u64::from(self.setup.concurrency.max(4))) as f64;
            if responses > limit {
                violations
                    .push(format!("{operation:?}: {responses} responses to {limit} requests"));
            }
        }
        violations
    }

    /// The violations of `/api/v1/devices`.
    async fn device_list_violations(&mut self) -> Result<Vec<String>, FailureReport> {
        let (status, text) = self.get("/api/v1/devices").await?;
        self.record_requests();
        let to = now();
        let list = serde_json::from_str(&text);
        let list = list.map_err(|error| self.report(&format!("{status} {error}: {text}")))?;
        Ok(check_device_list(&list, to, &self.context()))
    }

    fn request_counts(&self) -> [u64; 4] {
        OPERATIONS.map(|operation| self.simulator.requests().count(operation))
    }

    fn record_requests(&mut self) {
        for record in self.simulator.requests().take_recent() {
            self.statistics.requests += 1;
            let network = record.path.split('/').nth(2).map(str::to_owned);
            if is_rejection(&record) {
                match (record.operation, network) {
                    (Some(Operation::ListDevicesForUser), Some(network)) => {
                        self.last_rejection.insert(network, record.at.as_millisecond());
                    }
                    (Some(operation), _) => {
                        *self.rejected_lookups.entry(format!("{operation:?}")).or_default() += 1;
                    }
                    _ => {}
                }
            }
            if record.operation == Some(Operation::GetGuestUserHistoryCount)
                && let Some(network) = record.path.split('/').nth(2)
            {
                self.organisations.record_request(network, record.at.as_millisecond());
            }
            if record.operation != Some(Operation::ListDevicesForUser) {
                continue;
            }
            let mut parts = record.path.split('/').skip(2);
            let (Some(network), Some(user)) = (parts.next(), parts.nth(1)) else { continue };
            let (key, at) = ((network.to_owned(), user.to_owned()), record.at.as_millisecond());
            if record.page == Some(1) {
                let pages = self.requests.first_pages.entry(key.clone()).or_default();
                pages.insert(at);
                *pages = pages.split_off(&(at - 300_000));
            }
            if record.error.as_deref() == Some("ResourceNotFoundError") {
                self.requests.not_found.insert(key, at);
            }
        }
    }

    /// Data lost without a reason since the last scrape or in a restart.
    fn lost_data(&self, scrape: &Scrape) -> Vec<String> {
        let after = read_times(scrape);
        let mut violations = Vec::new();
        let before = [self.last.as_ref().map(read_times), self.saved.clone()];
        for (before, restarted) in before.into_iter().zip([false, true]) {
            for (key, read_at) in &before.unwrap_or_default() {
                let exposed = after.get(key);
                if exposed.is_some_and(|at| at >= read_at) {
                    continue;
                }
                // Data that was fresh is not overdue before that.
                let was_fresh = self.last.as_ref().filter(|_| !restarted && !self.reloaded);
                let was_fresh = was_fresh
                    .filter(|last| last.users().get(key).is_some_and(|user| user.up == Some(1.0)));
                let overdue = was_fresh.map_or(*read_at, |last| last.from);
                let too_old =
                    scrape.to - overdue > self.min_stale_after.min(self.setup.stale_after);
                let not_found = self.requests.not_found.get(key).is_some_and(|at| at >= read_at);
                let user_deleted = self.expected.devices.get(key).is_none_or(|timeline| {
                    timeline.between(*read_at, scrape.to).any(Option::is_none)
                });
                let network_deleted = self.expected.networks.get(&key.0).is_none_or(|timeline| {
                    timeline.between(*read_at, scrape.to).any(|exists| !exists)
                });
                let excluded = !self.setup.includes(key);
                if ![too_old, not_found, user_deleted, network_deleted, excluded].contains(&true) {
                    violations.push(format!(
                        "{key:?}: read at {read_at} before, at {exposed:?} now ({})",
                        if restarted { "after a restart" } else { "since the last scrape" }
                    ));
                }
            }
        }
        violations
    }

    /// Counters of changes that are below their saved values after a restart.
    fn lost_changes(&self, scrape: &Scrape) -> Vec<String> {
        let exposed = changes::exposed(scrape);
        let is_lost = |((network, kind), saved): (&(String, &'static str), &f64)| {
            let count = exposed.get(&(network.clone(), *kind))?;
            let existed = self.expected.networks.get(network).is_some_and(|timeline| {
                timeline.between(self.started, scrape.to).all(|exists| *exists)
            });
            (existed && count < saved)
                .then(|| format!("{network}: {count} changes {kind}, {saved} before the restart"))
        };
        self.saved_changes.iter().filter_map(is_lost).collect()
    }

    /// Missing users of networks with `wickr_up` 1.
    pub(super) fn missing_users(&self, scrape: &Scrape) -> Vec<String> {
        let exposed = scrape.users();
        let missing = self.settled_users(scrape).filter(|key| !exposed.contains_key(key));
        missing.map(|key| format!("{key:?} is missing, and its network is up")).collect()
    }

    /// The users of networks with `wickr_up` 1, except new ones that discovery might not have found.
    pub(super) fn settled_users(&self, scrape: &Scrape) -> impl Iterator<Item = &UserKey> {
        let (from, to) = (self.settled_at, scrape.to);
        let timelines = self.expected.devices.iter().filter(move |(_, timeline)| {
            timeline.between(from, from).next().is_some()
                && timeline.between(from, to).all(Option::is_some)
        });
        let up: BTreeSet<_> = scrape
            .samples("wickr_up")
            .filter(|(_, up)| *up == 1.0)
            .map(|(labels, _)| labels["network_id"].clone())
            .collect();
        timelines
            .map(|(key, _)| key)
            .filter(move |key| up.contains(&key.0) && self.setup.includes(key))
    }

    pub(super) async fn restart(&mut self) -> Result<(), FailureReport> {
        let last = self.scrape_and_check().await?;
        let mut saved = std::mem::take(&mut self.saves).into_saved();
        let Some(exporter) = self.exporter.take() else { return Ok(()) };
        if self.rng.bool() {
            self.log_event("SIGKILL");
            self.check_secrets(&exporter.log())?;
            exporter.kill();
        } else {
            self.log_event("SIGTERM");
            self.stop(exporter)?;
            // The shutdown saves all data.
            if !self.disk.has_failed() {
                saved = read_times(&last);
            }
        }
        self.saved_changes.clear();
        if self.saves_succeed {
            self.saved_changes = changes::exposed(&last);
        }
        self.statistics.restarts += 1;
        if self.rng.bool() {
            self.disk.repair();
        }
        self.saved = self.disk.is_available().then_some(saved);
        self.write_web_config();
        if self.rng.bool() {
            self.setup = Setup::random(&mut self.rng);
        }
        self.start().await
    }

    fn stop(&self, exporter: Exporter) -> Result<(), FailureReport> {
        let (status, duration, log) = exporter.stop();
        self.check_secrets(&log)?;
        if status.code() != Some(0) || duration > Duration::from_secs(10) {
            return Err(self.report(&format!("{status} after {duration:?}:\n{log}")));
        }
        Ok(())
    }

    pub(super) async fn reload(&mut self) -> Result<(), FailureReport> {
        self.statistics.reloads += 1;
        if self.rng.chance(1, 4) {
            self.log_event("reload: invalid configuration");
            let bad = pick(&mut self.rng, &["[poll", "[poll]\ninterval = \"0s\"\n", "\u{0}", ""]);
            if self.load(bad).await? {
                return Err(self.report("accepted an invalid configuration"));
            }
            if self.auto_reload {
                // A reload with an invalid web configuration fails.
                self.write_web_config();
                return self.load_config().await;
            }
            if let Some(exporter) = &self.exporter {
                fs::write(exporter.config_path(), self.config()).unwrap();
            }
            return Ok(());
        }
        let setup = Setup::random(&mut self.rng);
        self.log_event(&format!("reload: {setup:?}"));
        let (interval, stale_after) = self.longest;
        self.longest = (interval.max(setup.interval), stale_after.max(setup.stale_after));
        self.setup = setup;
        self.reloaded = true;
        self.overdue = Overdue::default();
        self.saves = Saves::default();
        self.calm = false;
        self.record_known();
        self.write_web_config();
        self.load_config().await
    }

    async fn load_config(&self) -> Result<(), FailureReport> {
        match self.load(&self.config()).await? {
            true => Ok(()),
            false => Err(self.report("the reload failed")),
        }
    }

    /// Writes a configuration, waits for the reload, and returns whether it succeeded.
    async fn load(&self, text: &str) -> Result<bool, FailureReport> {
        let Some(exporter) = &self.exporter else { return Ok(true) };
        let results = || {
            let log = exporter.log();
            ["\"configuration reloaded", "\"reload failed"].map(|line| log.matches(line).count())
        };
        let before = results();
        fs::write(exporter.config_path(), text).unwrap();
        if !self.auto_reload {
            return Ok(self.post_reload().await? == 200);
        }
        // Waiting for each reload, so that the result is of this text.
        for _ in 0..150 {
            let [succeeded, failed] = results();
            if [succeeded, failed] != before {
                return Ok(succeeded > before[0]);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(self.report("no reload after a change of the configuration file"))
    }

    async fn post_reload(&self) -> Result<u16, FailureReport> {
        let Some(base) = self.base() else { return Ok(0) };
        let response = self.client.post(format!("{base}/-/reload")).send().await;
        response.map(|r| r.status().as_u16()).map_err(|e| self.report(&format!("{e:?}")))
    }

    /// Stops the exporter.
    pub(super) fn end(&mut self) -> Result<(), FailureReport> {
        self.disk.repair();
        self.exporter.take().map_or(Ok(()), |exporter| self.stop(exporter))
    }

    /// Checks that neither the log nor the state files have secrets or panics.
    fn check_secrets(&self, log: &str) -> Result<(), FailureReport> {
        let state = String::from_utf8_lossy(&self.disk.saved()).into_owned();
        for secret in [SECRET, "@example.com", "panicked"] {
            if let Some(line) = log.lines().find(|line| line.contains(secret)) {
                return Err(self.report(&format!("the log has {secret:?}: {line}")));
            }
            if state.contains(secret) {
                return Err(self.report(&format!("the state file has {secret:?}")));
            }
        }
        Ok(())
    }
}

/// Whether the response can mean that the credentials are rejected.
fn is_rejection(record: &RequestRecord) -> bool {
    let of_credentials = |error: &str| {
        ["Token", "Signature", "Skew", "Client", "Denied"].iter().any(|part| error.contains(part))
    };
    matches!(record.status, Some(401 | 403)) || record.error.as_deref().is_some_and(of_credentials)
}
