//! Random configurations.

use std::{collections::BTreeSet, path::Path};

use fastrand::Rng;
use wickr_exporter::collectors::CollectorRef;

use super::{
    super::{
        checker::Sso,
        expected::{Chance, Expected, Ms, UserKey, pick},
        totals::{BUCKETS, HORIZONS},
    },
    NETWORKS,
};

#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The configured networks with their users. `None` is `"all"`.
    pub(super) listed: Option<Vec<(String, Option<Vec<String>>)>>,
    pub(super) interval: Ms,
    pub(super) stale_after: Ms,
    pub(super) page_size: u32,
    pub(super) concurrency: u32,
    pub(super) attempts: u32,
    pub(super) timeout: Ms,
    pub(super) sso: Sso,
    /// The interval of all collectors.
    pub(super) collectors: Option<Ms>,
}

impl Setup {
    pub(super) fn random(rng: &mut Rng) -> Setup {
        let mut setup = Setup::random_settings(rng);
        if rng.bool() {
            let mut listed: Vec<_> = NETWORKS.into_iter().filter(|_| rng.chance(3, 4)).collect();
            if listed.is_empty() {
                listed.push(NETWORKS[0]);
            }
            let listed = listed.into_iter().map(|id| {
                let users = rng.bool().then(|| {
                    let ids: Vec<u32> = (1..=20).filter(|_| rng.chance(1, 2)).collect();
                    let ids = if ids.is_empty() { vec![7] } else { ids };
                    ids.iter().map(u32::to_string).collect()
                });
                (id.to_owned(), users)
            });
            setup.listed = Some(listed.collect());
        }
        setup
    }

    /// A configuration of all networks.
    fn random_settings(rng: &mut Rng) -> Setup {
        // Discovery has its own interval, which can be shorter.
        let interval = if rng.chance(1, 5) { rng.i64(3..6) * 1000 } else { rng.i64(4..10) * 100 };
        Setup {
            listed: None,
            interval,
            stale_after: interval.max(1_000) * rng.i64(1..6),
            page_size: pick(rng, &[2, 7, 100, 100]),
            concurrency: pick(rng, &[1, 4, 16]),
            attempts: rng.u32(1..4),
            timeout: rng.i64(3..12) * 100,
            collectors: pick(rng, &[None, Some(2_000), Some(5_000)]),
            sso: pick(rng, &[Sso::No, Sso::Groups, Sso::Groups, Sso::Fixed(86_400)]),
        }
    }

    pub(super) fn text(&self, endpoint: &str, state: &Path) -> String {
        let within = format!("expiring_within = {:?}\n", HORIZONS.map(|(within, _)| within));
        let sso = match self.sso {
            Sso::No => String::new(),
            Sso::Groups => format!("[sso]\nmax_idle = \"security-groups\"\n{within}"),
            Sso::Fixed(seconds) => format!("[sso]\nmax_idle = \"{seconds}s\"\n{within}"),
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
        let collectors = self.collectors.map(|interval| {
            let all: Vec<_> = CollectorRef::all().collect();
            format!("[collectors]\nenable = {all:?}\ninterval = \"{interval}ms\"\n")
        });
        let collectors = collectors.unwrap_or_default();
        let buckets = BUCKETS.map(|seconds| format!("{seconds}s"));
        format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{endpoint}\"\n\
             [poll]\ninterval = \"{}ms\"\nstale_after = \"{}ms\"\npage_size = {}\nconcurrency = {}\n\
             max_attempts = {}\nrequest_timeout = \"{}ms\"\nrequests_per_second = 1000\n\
             [discovery]\ninterval = \"1s\"\n[metrics]\nidle_buckets = {buckets:?}\n\
             {sso}{collectors}[state]\npath = \"{}\"\n{networks}",
            self.interval,
            self.stale_after,
            self.page_size,
            self.concurrency,
            self.attempts,
            self.timeout,
            state.display()
        )
    }

    /// Whether the exporter polls this user, if it exists.
    pub(super) fn includes(&self, key: &UserKey) -> bool {
        let Some(listed) = &self.listed else { return true };
        let network = listed.iter().find(|(id, _)| *id == key.0);
        network.is_some_and(|(_, users)| users.as_ref().is_none_or(|users| users.contains(&key.1)))
    }

    /// Whether the network has `users = "all"`.
    pub(super) fn lists_users(&self, network: &str) -> bool {
        self.listed.is_none() || self.discovers(network)
    }

    /// Whether the network is configured by its id, with `users = "all"`.
    pub(super) fn discovers(&self, network: &str) -> bool {
        self.listed.iter().flatten().any(|(id, users)| id == network && users.is_none())
    }

    /// The networks in the exposition.
    pub(super) fn networks(&self, expected: &Expected) -> BTreeSet<String> {
        match &self.listed {
            Some(listed) => listed.iter().map(|(id, _)| id.clone()).collect(),
            None => {
                expected.networks.keys().filter(|id| expected.network_exists(id)).cloned().collect()
            }
        }
    }

    /// The users in the exposition.
    pub(super) fn expected_users(&self, expected: &Expected) -> BTreeSet<UserKey> {
        let existing =
            expected.users().map(|(key, _)| key.clone()).filter(|key| self.includes(key));
        existing.chain(self.listed()).collect()
    }

    /// The users that are configured by id.
    pub(super) fn listed(&self) -> impl Iterator<Item = UserKey> {
        self.listed
            .iter()
            .flatten()
            .flat_map(|(id, users)| users.iter().flatten().map(|user| (id.clone(), user.clone())))
    }
}
