//! What the collectors of a network have read. Each collector has its own record beside the view.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::state::{RestoredCollector, collected::restore};
use crate::{
    clock::{Millis, Moment, to_millis},
    family::Family,
    wickr::{ErrorKind, NetworkId, Operation},
};

/// Values stay for this many intervals after the last success.
const KEPT_INTERVALS: u32 = 3;

/// One value of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the family.
    pub family: &'static str,
    /// The label values in the order of the family, without `network_id`.
    pub labels: Box<[Box<str>]>,
    /// The value.
    pub value: f64,
}

/// What one run of a collector has read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collection {
    /// Each series once, after [`Collection::sort`].
    pub samples: Vec<Sample>,
    /// Labels of `wickr_network_info`, by name.
    pub info: BTreeMap<&'static str, Box<str>>,
}

impl Collection {
    /// Adds a sample. None adds nothing: an absent member is not zero.
    pub fn add(&mut self, family: &Family, labels: &[&str], value: Option<f64>) {
        debug_assert_eq!(labels.len() + 1, family.labels.len(), "{}", family.name);
        if let Some(value) = value {
            let labels = labels.iter().map(|label| Box::from(*label)).collect();
            self.samples.push(Sample { family: family.name, labels, value });
        }
    }

    /// Adds a sample of 0 or 1.
    pub fn add_flag(&mut self, family: &Family, labels: &[&str], flag: Option<bool>) {
        self.add(family, labels, flag.map(|flag| u8::from(flag).into()));
    }

    /// Sorts the samples by labels. Of several values of one series, the last one stays.
    pub fn sort(&mut self) {
        self.samples.reverse();
        self.samples.sort_by(|a, b| (a.family, &a.labels).cmp(&(b.family, &b.labels)));
        self.samples.dedup_by(|a, b| (a.family, &a.labels) == (b.family, &b.labels));
    }
}

/// The last run of a collector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastRun {
    /// When it ended.
    pub at: Moment,
    /// Its duration.
    pub duration: Duration,
    /// Its error. None if it succeeded.
    pub failure: Option<(Operation, ErrorKind)>,
}

/// The record of one collector.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorRecord {
    /// The families of its samples, in the order of the exposition.
    pub families: &'static [Family],
    /// The last run of this process.
    pub last_run: Option<LastRun>,
    /// The last run that succeeded, of this process or restored.
    pub last_success: Option<LastSuccess>,
}

/// The last run of a collector that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct LastSuccess {
    /// When it ended.
    pub(super) at: Moment,
    /// Whether it is from the state file. Then `at` has the saved time of day, and the steady time
    /// is computed from the age at the start.
    pub(super) restored: bool,
    /// What it read.
    pub collection: Arc<Collection>,
}

impl LastSuccess {
    /// A run of an earlier process, restored at `now`. If the clock is behind, it counts as just ended.
    pub(super) fn restored(time: Millis, collection: Collection, now: Moment) -> LastSuccess {
        let age = now.time.saturating_sub(time).max(0);
        let at = Moment { time, steady: now.steady.saturating_sub(age) };
        LastSuccess { at, restored: true, collection: Arc::new(collection) }
    }

    /// When it ended, as a time of day. If the clock has stepped since, a time that this process
    /// recorded is corrected.
    pub fn time(&self, now: Moment) -> Millis {
        if self.restored { self.at.time } else { now.time_of(self.at) }
    }

    /// Milliseconds since it ended.
    pub fn age(&self, now: Moment) -> Millis {
        now.steady.saturating_sub(self.at.steady)
    }
}

/// The records of a network at one moment. They never change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collected {
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// The enabled collectors, by name.
    pub collectors: BTreeMap<&'static str, CollectorRecord>,
}

impl Collected {
    /// The values of a collector, if they have not expired at `now`.
    pub fn values(&self, collector: &str, now: Moment) -> Option<&Collection> {
        let last = self.collectors.get(collector)?.last_success.as_ref()?;
        let kept = to_millis(self.interval.saturating_mul(KEPT_INTERVALS));
        (last.age(now) <= kept).then_some(&*last.collection)
    }

    /// The label of `wickr_network_info` that a collector read; empty if unknown.
    pub fn info(&self, label: &str, now: Moment) -> &str {
        let values = self.collectors.keys().filter_map(|name| self.values(name, now));
        values.filter_map(|values| values.info.get(label)).next().map_or("", |text| text)
    }
}

/// The records of one network.
#[derive(Debug)]
pub(super) struct CollectedSlot {
    pub(super) network: NetworkId,
    pub(super) records: ArcSwap<Collected>,
}

/// Records the runs of a network's collectors.
#[derive(Debug)]
pub struct CollectorRecorder {
    pub(super) slot: Arc<CollectedSlot>,
    pub(super) registry: Arc<super::Registry>,
    /// Those that were not enabled since the start.
    pub(super) restored: Mutex<Vec<RestoredCollector>>,
}

impl CollectorRecorder {
    /// Removes the records. A dropped recorder leaves them, so that they are still saved.
    pub fn withdraw(&self) {
        self.registry.update_collected(|slots| {
            slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        });
    }

    /// Sets the interval and the enabled collectors with their families, at `now`. Other records are
    /// dropped. The values of an earlier process are used once, when a collector is first enabled.
    pub fn enable(
        &self,
        interval: Duration,
        collectors: &[(&'static str, &'static [Family])],
        now: Moment,
    ) {
        let is_enabled = |part: &mut RestoredCollector| {
            collectors.iter().any(|(name, _)| *name == part.collector())
        };
        let restored: Vec<_> = {
            let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
            restored.extract_if(.., is_enabled).collect()
        };
        self.slot.records.rcu(|records| {
            let record = |(name, families): &(&'static str, &'static [Family])| {
                let known = records.collectors.get(name).cloned();
                let record = known.unwrap_or_else(|| {
                    let mut new = CollectorRecord { families, last_run: None, last_success: None };
                    restore(&mut new, name, &restored, now);
                    new
                });
                (*name, record)
            };
            Collected { interval, collectors: collectors.iter().map(record).collect() }
        });
    }

    /// A run of a collector ended at `at`, after `duration`. A failure keeps the last values.
    pub fn record(
        &self,
        collector: &str,
        at: Moment,
        duration: Duration,
        result: Result<Collection, (Operation, ErrorKind)>,
    ) {
        let (failure, collection) = match result {
            Ok(mut collection) => {
                collection.sort();
                (None, Some(Arc::new(collection)))
            }
            Err(failure) => (Some(failure), None),
        };
        self.slot.records.rcu(|records| {
            let mut records = Collected::clone(records);
            if let Some(record) = records.collectors.get_mut(collector) {
                record.last_run = Some(LastRun { at, duration, failure });
                if let Some(collection) = &collection {
                    let collection = collection.clone();
                    record.last_success = Some(LastSuccess { at, restored: false, collection });
                }
            }
            records
        });
    }
}
