//! The exporter: started, scraped, judged, told of another configuration, and ended in every way.

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
        self.overdue = Overdue::default();
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

    pub(super) fn name_the_listed(&mut self) {
        self.truth.named.extend(self.setup.listed());
        let networks = self.setup.listed.iter().flatten().map(|(id, _)| id.clone());
        self.truth.named_networks.extend(networks);
    }

    pub(super) fn config(&self) -> String {
        self.setup.text(&self.simulator.endpoint(), &self.disk.state())
    }

    pub(super) async fn get(&self, path: &str) -> Result<(u16, String), Report> {
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
    pub(super) async fn look(&mut self) -> Result<Scrape, Report> {
        let from = now();
        let (status, text) = self.get("/metrics").await?;
        let to = now();
        if status != 200 {
            return Err(self.report(&format!("a scrape was answered with {status}")));
        }
        let scrape = Scrape::parse(&text, from, to).map_err(|error| self.report(&error))?;
        self.hear_what_was_asked();
        self.overdue.update(&scrape, self.started);
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
        self.least_stale_after = self.setup.stale_after;
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

    pub(super) fn complaints(&self, scrape: &Scrape) -> Vec<String> {
        let mut complaints = judge(scrape, &self.about());
        complaints.extend(self.dropped(scrape));
        complaints.extend(self.unseen(scrape));
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
    pub(super) async fn listed(&mut self) -> Result<Vec<String>, Report> {
        let (status, text) = self.get("/api/v1/devices").await?;
        self.hear_what_was_asked();
        let list = serde_json::from_str(&text);
        let list = list.map_err(|error| self.report(&format!("{status} {error}: {text}")))?;
        Ok(judge_list(&list, &self.about()))
    }

    pub(super) fn asked_so_far(&self) -> [u64; 4] {
        OPERATIONS.map(|operation| self.simulator.requests().count(operation))
    }

    pub(super) fn hear_what_was_asked(&mut self) {
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
    pub(super) fn dropped(&self, scrape: &Scrape) -> Vec<String> {
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
                // Data that was fresh is not overdue before that.
                let was_fresh = self.last.as_ref().filter(|_| !since_start && !self.reloaded);
                let was_fresh = was_fresh
                    .filter(|last| last.users().get(who).is_some_and(|user| user.up == Some(1.0)));
                let overdue = was_fresh.map_or(*read_at, |last| last.from);
                let too_old =
                    scrape.to - overdue > self.least_stale_after.min(self.setup.stale_after) - 100;
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

    /// Users of networks that are said to be up who are not told of.
    pub(super) fn unseen(&self, scrape: &Scrape) -> Vec<String> {
        let told = scrape.users();
        let unseen = self.settled_users(scrape).filter(|who| !told.contains_key(who));
        unseen.map(|who| format!("{who:?} is not told of, and its network is up")).collect()
    }

    /// Those of networks that are up who have been there for long: somebody who came lately may not
    /// have been found yet.
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
        lines.map(|(who, _)| who).filter(move |who| up.contains(&who.0) && self.setup.wants(who))
    }

    pub(super) async fn restart(&mut self) -> Result<(), Report> {
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
            self.setup = Setup::another(&mut self.rng);
        }
        self.start().await
    }

    pub(super) async fn reload(&mut self) -> Result<(), Report> {
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
        let setup = Setup::another(&mut self.rng);
        self.note(&format!("reload: {setup:?}"));
        self.setup = setup;
        self.reloaded = true;
        self.overdue = Overdue::default();
        self.name_the_listed();
        fs::write(&path, self.config()).unwrap();
        self.write_web_config();
        match self.post_reload().await? {
            200 => Ok(()),
            status => Err(self.report(&format!("a reload was answered with {status}"))),
        }
    }

    pub(super) async fn post_reload(&self) -> Result<u16, Report> {
        let Some(exporter) = &self.exporter else { return Ok(0) };
        let base = match self.keys {
            Some(_) => exporter.base.replace("http://", "https://"),
            None => exporter.base.clone(),
        };
        let answer = self.client.post(format!("{base}/-/reload")).send().await;
        answer.map(|a| a.status().as_u16()).map_err(|e| self.report(&format!("{e:?}")))
    }

    /// Ends everything, and looks at what was said meanwhile.
    pub(super) fn end(&mut self) -> Result<(), Report> {
        self.disk.mend();
        let Some(exporter) = self.exporter.take() else { return Ok(()) };
        let (status, took, log) = exporter.stop();
        self.hold_secrets_back(&log).map_err(|what| self.report(&what))?;
        if status.code() != Some(0) || took > Duration::from_secs(10) {
            return Err(self.report(&format!("{status} after {took:?}:\n{log}")));
        }
        Ok(())
    }

    pub(super) fn hold_secrets_back(&self, log: &str) -> Result<(), String> {
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
}
