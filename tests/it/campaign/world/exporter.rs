//! Starts, scrapes, checks, reloads and stops the exporter.

use std::{collections::BTreeSet, fs, time::Duration};

use wickr_exporter::simulator::Operation;

use super::{
    super::{
        judge::{Circumstances, Overdue, Remembered, fallen, judge, judge_list},
        scrape::Scrape,
        truth::{Chance, Ms, Who, now, pick},
    },
    OPERATIONS, Report, SECRET, World,
    setup::Setup,
};
use crate::harness::Exporter;

impl World {
    pub(super) async fn start(&mut self) -> Result<(), Report> {
        self.add_named();
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
        // Before the start, because the process polls at once.
        self.earlier_requests = self.request_counts();
        self.started = now();
        self.overdue = Overdue::default();
        let exporter = Exporter::start_with(&self.config(), &arguments, &environment);
        self.exporter = Some(exporter);
        self.memory.clear();
        self.last_polls = 0.0;
        self.last = None;
        self.scrape().await?;
        self.saved = None;
        Ok(())
    }

    /// Records the configured users and networks.
    fn add_named(&mut self) {
        self.truth.named.extend(self.setup.listed());
        let networks = self.setup.listed.iter().flatten().map(|(id, _)| id.clone());
        self.truth.named_networks.extend(networks);
    }

    pub(super) fn config(&self) -> String {
        self.setup.text(&self.simulator.endpoint(), &self.disk.state())
    }

    pub(super) async fn get(&self, path: &str) -> Result<(u16, String), Report> {
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
    pub(super) async fn scrape(&mut self) -> Result<Scrape, Report> {
        let from = now();
        let (status, text) = self.get("/metrics").await?;
        let to = now();
        if status != 200 {
            return Err(self.report(&format!("scrape: status {status}")));
        }
        let scrape = Scrape::parse(&text, from, to).map_err(|error| self.report(&error))?;
        self.record_requests();
        self.overdue.update(&scrape, self.started);
        let mut problems = self.problems(&scrape);
        if self.rng.chance(1, 4) {
            problems.extend(self.list_problems().await?);
        }
        let polls = scrape.total("wickr_exporter_polls_total");
        for path in ["/-/healthy", "/", "/api/v1/devices?limit=3"] {
            let (status, _) = self.get(path).await?;
            if status != 200 {
                problems.push(format!("{path}: status {status}"));
            }
        }
        if !problems.is_empty() {
            return Err(self.report(&problems.join("\n")));
        }
        self.tally.scrapes += 1;
        self.tally.polls += (polls - self.last_polls).max(0.0) as u64;
        self.last_polls = polls;
        self.last = Some(scrape.clone());
        self.reloaded = false;
        self.min_stale_after = self.setup.stale_after;
        Ok(scrape)
    }

    pub(super) fn about(&self) -> Circumstances<'_> {
        Circumstances {
            truth: &self.truth,
            asked: &self.asked,
            pages_go_round: &self.pages_go_round,
            started: self.started,
            stale_after: self.setup.stale_after,
            interval: self.setup.interval,
            overdue: &self.overdue,
            sso: self.setup.sso,
        }
    }

    pub(super) fn problems(&self, scrape: &Scrape) -> Vec<String> {
        let mut problems = judge(scrape, &self.about());
        problems.extend(self.lost_data(scrape));
        problems.extend(self.missing_users(scrape));
        if let Some(before) = &self.last {
            let same = |id: &str| {
                let line = self.truth.networks.get(id);
                let existed =
                    line.is_some_and(|line| line.between(before.from, scrape.to).all(|t| *t));
                existed && !self.reloaded
            };
            problems.extend(fallen(before, scrape, same));
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
                problems.push(format!("{operation:?}: {responses} responses to {limit} requests"));
            }
        }
        problems
    }

    /// The problems of `/api/v1/devices`.
    async fn list_problems(&mut self) -> Result<Vec<String>, Report> {
        let (status, text) = self.get("/api/v1/devices").await?;
        self.record_requests();
        let list = serde_json::from_str(&text);
        let list = list.map_err(|error| self.report(&format!("{status} {error}: {text}")))?;
        Ok(judge_list(&list, &self.about()))
    }

    fn request_counts(&self) -> [u64; 4] {
        OPERATIONS.map(|operation| self.simulator.requests().count(operation))
    }

    fn record_requests(&mut self) {
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

    /// Data lost without a reason since the last scrape or in a restart.
    fn lost_data(&self, scrape: &Scrape) -> Vec<String> {
        let after = Remembered::of(scrape);
        let mut problems = Vec::new();
        let before = [self.last.as_ref().map(Remembered::of), self.saved.clone()];
        for (before, restarted) in before.into_iter().zip([false, true]) {
            let Some(before) = before else { continue };
            for (who, read_at) in &before.read_at {
                let exposed = after.read_at.get(who);
                if exposed.is_some_and(|at| at >= read_at) {
                    continue;
                }
                // Data that was fresh is not overdue before that.
                let was_fresh = self.last.as_ref().filter(|_| !restarted && !self.reloaded);
                let was_fresh = was_fresh
                    .filter(|last| last.users().get(who).is_some_and(|user| user.up == Some(1.0)));
                let overdue = was_fresh.map_or(*read_at, |last| last.from);
                let too_old =
                    scrape.to - overdue > self.min_stale_after.min(self.setup.stale_after) - 100;
                let not_saved = restarted && *read_at > before.saved.saturating_sub(500);
                let not_found = self.asked.not_found.get(who).is_some_and(|at| at >= read_at);
                let user_deleted = self
                    .truth
                    .devices
                    .get(who)
                    .is_none_or(|line| line.between(*read_at, scrape.to).any(Option::is_none));
                let network_deleted = self
                    .truth
                    .networks
                    .get(&who.0)
                    .is_none_or(|line| line.between(*read_at, scrape.to).any(|exists| !exists));
                let excluded = !self.setup.includes(who);
                if ![too_old, not_saved, not_found, user_deleted, network_deleted, excluded]
                    .contains(&true)
                {
                    problems.push(format!(
                        "{who:?}: read at {read_at} before, at {exposed:?} now ({})",
                        if restarted { "after a restart" } else { "since the last scrape" }
                    ));
                }
            }
        }
        problems
    }

    /// Missing users of networks with `wickr_up` 1.
    pub(super) fn missing_users(&self, scrape: &Scrape) -> Vec<String> {
        let exposed = scrape.users();
        let missing = self.settled_users(scrape).filter(|who| !exposed.contains_key(who));
        missing.map(|who| format!("{who:?} is missing, and its network is up")).collect()
    }

    /// The users of networks with `wickr_up` 1, except new ones that discovery might not have found.
    pub(super) fn settled_users(&self, scrape: &Scrape) -> impl Iterator<Item = &Who> {
        let (from, to) = (self.settled, scrape.to);
        let lines = self.truth.devices.iter().filter(move |(_, line)| {
            line.between(from, from).next().is_some() && line.between(from, to).all(Option::is_some)
        });
        let up: BTreeSet<_> = scrape
            .samples("wickr_up")
            .filter(|(_, up)| *up == 1.0)
            .map(|(labels, _)| labels["network_id"].clone())
            .collect();
        lines.map(|(who, _)| who).filter(move |who| up.contains(&who.0) && self.setup.includes(who))
    }

    pub(super) async fn restart(&mut self) -> Result<(), Report> {
        let last = self.scrape().await?;
        let mut saved = Remembered::of(&last);
        let Some(exporter) = self.exporter.take() else { return Ok(()) };
        if self.rng.bool() {
            self.note("SIGKILL");
            self.check_secrets(&exporter.log())?;
            exporter.kill();
        } else {
            self.note("SIGTERM");
            self.stop(exporter)?;
            // The shutdown saves all data.
            if !self.disk.has_failed() {
                saved.saved = Ms::MAX;
            }
        }
        self.tally.restarts += 1;
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

    fn stop(&self, exporter: Exporter) -> Result<(), Report> {
        let (status, duration, log) = exporter.stop();
        self.check_secrets(&log)?;
        if status.code() != Some(0) || duration > Duration::from_secs(10) {
            return Err(self.report(&format!("{status} after {duration:?}:\n{log}")));
        }
        Ok(())
    }

    pub(super) async fn reload(&mut self) -> Result<(), Report> {
        let Some(exporter) = &self.exporter else { return Ok(()) };
        let path = exporter.config_path();
        self.tally.reloads += 1;
        if self.rng.chance(1, 4) {
            self.note("reload: invalid configuration");
            let bad = pick(&mut self.rng, &["[poll", "[poll]\ninterval = \"0s\"\n", "\u{0}", ""]);
            fs::write(&path, bad).unwrap();
            let status = self.post_reload().await?;
            fs::write(&path, self.config()).unwrap();
            if status == 200 {
                return Err(self.report("accepted an invalid configuration"));
            }
            return Ok(());
        }
        let setup = Setup::random(&mut self.rng);
        self.note(&format!("reload: {setup:?}"));
        self.setup = setup;
        self.reloaded = true;
        self.overdue = Overdue::default();
        self.add_named();
        fs::write(&path, self.config()).unwrap();
        self.write_web_config();
        match self.post_reload().await? {
            200 => Ok(()),
            status => Err(self.report(&format!("reload: status {status}"))),
        }
    }

    async fn post_reload(&self) -> Result<u16, Report> {
        let Some(base) = self.base() else { return Ok(0) };
        let response = self.client.post(format!("{base}/-/reload")).send().await;
        response.map(|r| r.status().as_u16()).map_err(|e| self.report(&format!("{e:?}")))
    }

    /// Stops the exporter.
    pub(super) fn end(&mut self) -> Result<(), Report> {
        self.disk.repair();
        self.exporter.take().map_or(Ok(()), |exporter| self.stop(exporter))
    }

    /// Checks that neither the log nor the state file has secrets or panics.
    fn check_secrets(&self, log: &str) -> Result<(), Report> {
        let state = fs::read(self.disk.state()).unwrap_or_default();
        let state = String::from_utf8_lossy(&state).into_owned();
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
