//! The recovery: after the end of all faults, the exposition must agree with the fleet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    super::{
        changes,
        checker::Sso,
        expected::{Devices, Ms, Timeline, UserKey, now},
        organisation::Organisations,
        saves::{last_save, poll_ends},
        scrape::Scrape,
    },
    Environment, FailureReport, GROUPS, NETWORKS, RECOVERY,
};

impl Environment {
    /// Ends all faults and waits until the exposition agrees with the fleet.
    pub(super) async fn recover(&mut self) -> Result<(), FailureReport> {
        self.log_event("recovery");
        self.clear_faults();
        self.simulator.set_rate_limit(None);
        self.disk.repair();
        self.rotate_keys();
        for id in NETWORKS {
            self.simulator.credentials().allow_network(id);
        }
        // Earlier requests can still be affected by faults.
        let since = now() + 1;
        let deadline = Instant::now() + RECOVERY;
        let last = loop {
            let scrape = self.scrape_and_check().await?;
            let differences = self.differences(&scrape, since);
            if differences.is_empty() {
                break scrape;
            }
            if Instant::now() > deadline {
                let differences = differences.join("\n");
                return Err(self.report(&format!("no recovery:\n{differences}")));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        };
        self.statistics.recoveries += 1;
        self.calm = true;
        self.wait_for_saves(last.from).await?;
        self.self_test(&last, since)?;
        // Without networks, only readiness shows the end of the lookup.
        let deadline = Instant::now() + RECOVERY;
        while self.get("/-/ready").await?.0 != 200 {
            if Instant::now() > deadline {
                return Err(self.report("not ready after recovery"));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        self.check_changes().await?;
        self.check_memory(last.total("process_resident_memory_bytes"))
    }

    /// Waits for the end of a poll of each network, and for two saves after that, because the first
    /// can have started before.
    async fn wait_for_saves(&mut self, mut at: Ms) -> Result<(), FailureReport> {
        let (settled_at, deadline) = (at, Instant::now() + RECOVERY);
        let (mut polled, mut saves) = (false, 2);
        if self.setup.networks(&self.expected).is_empty() {
            saves = 0;
        }
        while saves > 0 {
            let scrape = self.scrape_and_check().await?;
            let saved = last_save(&scrape);
            if !polled && poll_ends(&scrape).values().all(|ended| *ended > at) {
                (at, polled) = (scrape.to, true);
            } else if polled && saved > at {
                (at, saves) = (saved, saves - 1);
                continue;
            }
            if Instant::now() > deadline {
                return Err(self.report("no save after recovery"));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        self.settled_at = settled_at;
        self.saves_succeed = true;
        Ok(())
    }

    /// Changes a device of each user, and waits until the counters have counted exactly that.
    async fn check_changes(&mut self) -> Result<(), FailureReport> {
        let before = changes::exposed(&self.scrape_and_check().await?);
        let earlier = std::mem::take(&mut self.expected.changes.certain);
        let users = self.expected.users().map(|(key, _)| key.clone());
        let users: Vec<_> = users.filter(|key| self.setup.includes(key)).collect();
        for key in users {
            self.change_devices(&key);
        }
        let new = std::mem::replace(&mut self.expected.changes.certain, earlier);
        self.statistics.changes += new.values().sum::<f64>() as u64;
        let expected = changes::sum(&before, &new);
        let deadline = Instant::now() + RECOVERY;
        loop {
            let counted = changes::exposed(&self.scrape_and_check().await?);
            if counted == expected {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.report(&format!("changes {counted:?}, expected {expected:?}")));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Shows that the checks find a missing user, and a missing or wrong sample.
    fn self_test(&mut self, scrape: &Scrape, since: Ms) -> Result<(), FailureReport> {
        for key in self.settled_users(scrape) {
            if self.missing_users(&scrape.without(key)).is_empty() {
                return Err(self.report(&format!("undetected: missing {key:?}")));
            }
        }
        for _ in 0..50 {
            let exists = |network: &str| self.expected.network_exists(network);
            let Some((corrupted, change)) = scrape.corrupted(&mut self.rng, exists) else {
                continue;
            };
            if self.violations(&corrupted).is_empty()
                && self.differences(&corrupted, since).is_empty()
            {
                return Err(self.report(&format!("undetected: {change}")));
            }
        }
        Ok(())
    }

    /// The differences between a scrape and the current fleet.
    fn differences(&self, scrape: &Scrape, since: Ms) -> Vec<String> {
        let mut differences = Vec::new();
        let users = scrape.users();
        let expected_users = self.setup.expected_users(&self.expected);
        for network in self.setup.networks(&self.expected) {
            let mut expected = expected_users.iter().filter(|(n, _)| *n == network);
            let all_exist =
                self.expected.network_exists(&network) && expected.all(|key| self.exists(key));
            let up = scrape.network("wickr_up", &network);
            // The user list of a deleted network stays in use, and can be empty.
            let has_no_users = users.keys().all(|key| key.0 != network);
            if self.setup.discovers(&network)
                && !self.expected.network_exists(&network)
                && has_no_users
            {
                continue;
            }
            if up != Some(f64::from(all_exist)) {
                differences.push(format!("{network}: wickr_up is {up:?}"));
            }
        }
        let exposed: BTreeSet<_> =
            scrape.samples("wickr_network_info").map(|(l, _)| l["network_id"].clone()).collect();
        let networks = self.setup.networks(&self.expected);
        if exposed != networks {
            differences.push(format!("networks {exposed:?}, not {networks:?}"));
        }
        for network in networks.iter().filter(|id| self.expected.network_exists(id)) {
            differences.extend(self.limit_differences(scrape, network));
            let series = self.organisations.series(
                &self.expected,
                network,
                &GROUPS,
                self.setup.collectors.is_some(),
                self.setup.lists_users(network),
            );
            differences.extend(Organisations::differences(scrape, network, &series));
        }
        let exposed = users.keys().filter(|key| {
            expected_users.contains(key)
                || self.expected.network_exists(&key.0)
                || !self.setup.discovers(&key.0)
        });
        let exposed: BTreeSet<_> = exposed.cloned().collect();
        if exposed != expected_users {
            let extra: Vec<_> = exposed.difference(&expected_users).collect();
            let missing: Vec<_> = expected_users.difference(&exposed).collect();
            differences.push(format!("users: {extra:?} unexpected, {missing:?} missing"));
        }
        for (key, user) in &users {
            let exists = self.exists(key);
            let up = user.up == Some(1.0);
            if up != exists || user.read_at.is_some() != exists {
                differences.push(format!("{key:?}: up {:?}, read {:?}", user.up, user.read_at));
            }
            let started = user.read_at.map(|read_at| self.context().read_started(key, read_at));
            if exists && started.is_none_or(|at| at < since) {
                differences.push(format!("{key:?}: read at {:?}", user.read_at));
            }
            let limit = match self.setup.sso {
                Sso::No => None,
                Sso::Groups => self.expected.limit(key),
                Sso::Fixed(seconds) => Some(seconds),
            };
            let has_facts = self.setup.sso == Sso::Groups || self.setup.lists_users(&key.0);
            if user.status.is_some() != (exists && has_facts)
                && self.expected.network_exists(&key.0)
            {
                differences.push(format!("{key:?}: status {:?}", user.status));
            }
            let suspended = f64::from(self.expected.suspended.contains(key));
            let suspended = (exists && has_facts).then_some(suspended);
            if user.account_suspended != suspended && self.expected.network_exists(&key.0) {
                differences.push(format!("{key:?}: suspended {:?}", user.account_suspended));
            }
            let admin = f64::from(self.expected.admins.contains(key));
            let admin = (exists && has_facts).then_some(admin);
            if user.admin != admin && self.expected.network_exists(&key.0) {
                differences.push(format!("{key:?}: administrator {:?}", user.admin));
            }
            let has_limit = exists || matches!(self.setup.sso, Sso::Fixed(_));
            if has_limit && user.limit != limit.map(|seconds| seconds * 1000) {
                differences.push(format!("{key:?}: limit {:?}, not {limit:?}", user.limit));
            }
        }
        differences
    }

    /// The differences in the security groups and expired sessions of a network.
    fn limit_differences(&self, scrape: &Scrape, network: &str) -> Vec<String> {
        let mut differences = Vec::new();
        let groups = self.expected.groups.iter().filter(|((of, _), _)| of == network);
        let groups =
            groups.filter(|_| self.setup.sso == Sso::Groups || self.setup.collectors.is_some());
        let mut names = BTreeMap::new();
        let mut limits = BTreeMap::new();
        for ((_, group), minutes) in groups {
            names.insert(group.clone(), 1.0);
            if *minutes > 0 && self.setup.sso == Sso::Groups {
                limits.insert(group.clone(), (minutes * 60) as f64);
            }
        }
        for (family, expected) in [
            ("wickr_security_group_info", names),
            ("wickr_security_group_sso_max_idle_seconds", limits),
        ] {
            let exposed = scrape.by(family, network, "group_id");
            if exposed != expected {
                differences.push(format!("{network}: {family} {exposed:?}, not {expected:?}"));
            }
        }
        let expired = scrape.by("wickr_network_devices_sso_expired", network, "device_type");
        let types = scrape.by("wickr_network_devices", network, "device_type");
        if expired.is_empty() != (self.setup.sso == Sso::No || types.is_empty()) {
            differences.push(format!("{network}: expired {expired:?}"));
        }
        differences
    }

    pub(super) fn exists(&self, key: &UserKey) -> bool {
        let timeline = self.expected.devices.get(key);
        timeline.and_then(Timeline::latest).is_some_and(Devices::is_some)
    }

    /// Checks that memory does not grow after the first recoveries.
    fn check_memory(&mut self, bytes: f64) -> Result<(), FailureReport> {
        self.memory.push((Instant::now(), bytes / 1e6));
        let baseline = self.memory.iter().skip(3).take(3).map(|(_, size)| *size);
        let baseline = baseline.fold(0.0, f64::max);
        if self.memory.len() > 6 && bytes / 1e6 > baseline * 1.5 + 20.0 {
            return Err(self.report(&format!("memory grows: {:?}", self.memory)));
        }
        Ok(())
    }

    /// Resident memory at the end of each recovery, in MB.
    pub fn memory(&self) -> Vec<u32> {
        self.memory.iter().map(|(_, size)| *size as u32).collect()
    }
}
