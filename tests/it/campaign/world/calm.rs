//! Trouble ends, and then all is to be known as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    super::{
        judge::{BLINK, Remembered, Sso},
        scrape::Scrape,
        truth::{Devices, Ms, Timeline, Who, now},
    },
    NETWORKS, RECOVERY, Report, World,
};

impl World {
    /// Trouble ends, and then all is to be known as it is, soon.
    pub(super) async fn calm(&mut self) -> Result<(), Report> {
        self.note("calm");
        self.clear_faults();
        self.simulator.set_rate_limit(None);
        self.disk.mend();
        self.rotate_keys();
        for id in NETWORKS {
            self.simulator.credentials().allow_network(id);
        }
        // What was asked earlier may have been asked in trouble still.
        let since = now() + 2 * BLINK;
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
        self.settle(last.from).await?;
        self.try_the_judge(&last, since)?;
        // Where there is no network, nothing that is told shows whether they have been looked up.
        let until = Instant::now() + RECOVERY;
        while self.get("/-/ready").await?.0 != 200 {
            if Instant::now() > until {
                return Err(self.report("long after all trouble it is not ready"));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        self.remember_memory(last.total("process_resident_memory_bytes"))
    }

    /// Who is known at `at` is known for good once that is saved, which follows polls: the second time
    /// from now on, for the first may have begun before.
    async fn settle(&mut self, mut at: Ms) -> Result<(), Report> {
        let (settled, until) = (at, Instant::now() + RECOVERY);
        let mut saves = if self.setup.networks(&self.truth).is_empty() { 0 } else { 2 };
        while saves > 0 {
            let saved = Remembered::of(&self.look().await?).saved;
            if saved > at {
                (at, saves) = (saved, saves - 1);
                continue;
            }
            if Instant::now() > until {
                return Err(self.report("long after all trouble nothing is saved"));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        self.settled = settled;
        Ok(())
    }

    /// A judge who lets everything pass is none: a scrape that is true but for one number, or has
    /// one line too few, must be found out.
    pub(super) fn try_the_judge(&mut self, scrape: &Scrape, since: Ms) -> Result<(), Report> {
        for who in self.settled_users(scrape) {
            if self.unseen(&scrape.without(who)).is_empty() {
                return Err(self.report(&format!("nobody has missed {who:?}")));
            }
        }
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
    pub(super) fn amiss(&self, scrape: &Scrape, since: Ms) -> Vec<String> {
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
    pub(super) fn amiss_with_limits(&self, scrape: &Scrape, network: &str) -> Vec<String> {
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

    pub(super) fn exists(&self, who: &Who) -> bool {
        let line = self.truth.devices.get(who);
        line.and_then(Timeline::latest).is_some_and(Devices::is_some)
    }

    /// After a while it has what it needs, and needs no more.
    pub(super) fn remember_memory(&mut self, bytes: f64) -> Result<(), Report> {
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
}
