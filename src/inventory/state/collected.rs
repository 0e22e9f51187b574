//! The section with the last values of collectors.

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Millis, Moment},
    inventory::{Collected, Collection, CollectorRecord, LastSuccess, Sample},
};

/// The name of the section.
pub(super) const NAME: &str = "collectors";

/// The last values of a collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoredCollector {
    collector: String,
    at: Millis,
    samples: Vec<SamplePart>,
    info: Vec<(String, String)>,
}

impl RestoredCollector {
    /// The name of the collector.
    pub(in crate::inventory) fn collector(&self) -> &str {
        &self.collector
    }
}

/// Family, label values, value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SamplePart(String, Vec<String>, f64);

pub(super) fn parts(collected: &Collected) -> Vec<RestoredCollector> {
    let part = |(name, record): (&&'static str, &CollectorRecord)| {
        let LastSuccess { at, collection, .. } = record.last_success.as_ref()?;
        let texts = |labels: &[Box<str>]| labels.iter().map(|label| label.to_string()).collect();
        let samples = collection.samples.iter();
        let info = collection.info.iter();
        Some(RestoredCollector {
            collector: (*name).to_owned(),
            at: at.time,
            samples: samples
                .map(|s| SamplePart(s.family.to_owned(), texts(&s.labels), s.value))
                .collect(),
            info: info.map(|(label, text)| ((*label).to_owned(), text.to_string())).collect(),
        })
    };
    collected.collectors.iter().filter_map(part).collect()
}

/// Labels of `wickr_network_info` that a collector can have read.
const INFO_LABELS: [&str; 2] = ["account_id", "access_level"];

/// Restores the values of a collector into its new record, at `now`. Families that no longer exist or
/// have other labels are dropped.
pub(in crate::inventory) fn restore(
    record: &mut CollectorRecord,
    collector: &str,
    restored: &[RestoredCollector],
    now: Moment,
) {
    let Some(part) = restored.iter().find(|part| part.collector == collector) else { return };
    let sample = |SamplePart(name, labels, value): &SamplePart| {
        let family = record.families.iter().find(|family| family.name == name)?;
        let labels: Box<[Box<str>]> = labels.iter().map(|label| label.as_str().into()).collect();
        let is_same = labels.len() + 1 == family.labels.len();
        is_same.then_some(Sample { family: family.name, labels, value: *value })
    };
    let info = part.info.iter().filter_map(|(label, text)| {
        let label = INFO_LABELS.into_iter().find(|known| known == label)?;
        Some((label, text.as_str().into()))
    });
    let mut collection = Collection {
        samples: part.samples.iter().filter_map(sample).collect(),
        info: info.collect(),
        ..Collection::default()
    };
    collection.sort();
    record.last_success = Some(LastSuccess::restored(part.at, collection, now));
}
