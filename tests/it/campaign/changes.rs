//! Changes of devices, counted independently of the exporter.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    expected::{ExpectedDevice, Time},
    scrape::Scrape,
};

const FAMILY: &str = "wickr_network_device_changes_total";
const KINDS: [&str; 6] = ["added", "removed", "suspended", "unsuspended", "reset", "login"];

/// Numbers of changes, by network and kind.
pub type Counts = BTreeMap<(String, &'static str), f64>;

/// All changes of the fleet so far.
#[derive(Default)]
pub struct Changes {
    /// Those that the exporter counts if it reads the user before and after each.
    pub certain: Counts,
    /// Those that it can count if it misses reads in between: at most this many.
    possible: Counts,
}

impl Changes {
    /// The devices of a user of `network` changed once.
    pub fn record(
        &mut self,
        network: &str,
        before: &[Arc<ExpectedDevice>],
        after: &[Arc<ExpectedDevice>],
    ) {
        let mut add = |kind, is_certain: bool| {
            *self.possible.entry((network.to_owned(), kind)).or_default() += 1.0;
            if is_certain {
                *self.certain.entry((network.to_owned(), kind)).or_default() += 1.0;
            }
        };
        let find = |devices: &[Arc<ExpectedDevice>], device: &ExpectedDevice| {
            devices.iter().find(|other| other.name == device.name).cloned()
        };
        for old in before.iter().filter(|device| device.app_id.is_some()) {
            let Some(new) = find(after, old) else {
                add("removed", true);
                continue;
            };
            if new.suspended == Some(true) && old.suspended != Some(true) {
                add("suspended", old.suspended.is_some());
            }
            if new.suspended == Some(false) && old.suspended != Some(false) {
                add("unsuspended", old.suspended.is_some());
            }
            if new.status == "Reset" && old.status != "Reset" {
                add("reset", true);
            }
            match (old.last_login, new.last_login) {
                (Time::At(old), Time::At(new)) if new <= old => {}
                (_, Time::Never | Time::Invalid) => {}
                (old, Time::At(_)) => add("login", old != Time::Invalid),
            }
        }
        for new in after.iter().filter(|device| device.app_id.is_some()) {
            if find(before, new).is_none() {
                add("added", true);
            }
        }
    }

    /// Counters that are missing, or above the number of changes.
    pub fn violations(&self, scrape: &Scrape) -> Vec<String> {
        let mut violations = Vec::new();
        let exposed = exposed(scrape);
        for (labels, _) in scrape.samples("wickr_network_info") {
            for kind in KINDS {
                let key = (labels["network_id"].clone(), kind);
                let (count, most) = (exposed.get(&key), self.possible.get(&key));
                let most = most.copied().unwrap_or_default();
                if count.is_none_or(|count| *count > most) {
                    violations.push(format!("{key:?}: {count:?} changes, at most {most}"));
                }
            }
        }
        violations
    }
}

/// The counters in a scrape.
pub fn exposed(scrape: &Scrape) -> Counts {
    let kind = |text: &str| KINDS.into_iter().find(|kind| *kind == text);
    let samples = scrape.samples(FAMILY);
    samples
        .filter_map(|(labels, count)| {
            Some(((labels["network_id"].clone(), kind(&labels["change"])?), count))
        })
        .collect()
}

/// Adds counts of several places.
pub fn sum(a: &Counts, b: &Counts) -> Counts {
    let mut sum = a.clone();
    for (key, count) in b {
        *sum.entry(key.clone()).or_default() += count;
    }
    sum
}
