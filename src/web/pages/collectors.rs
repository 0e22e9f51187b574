//! The last runs and values of a network's collectors, for the status page and `/api/v1/status`.
//!
//! Nothing here names a collector or a family: the texts come from the families' names.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    format::{HtmlTime, clipped_or_blank, counted, duration, grouped},
    status::{Seconds, Time},
};
use crate::{
    clock::{Millis, Moment},
    family::Family,
    inventory::Collected,
};

/// The number of values that are shown of each family.
const MAX_VALUES: usize = 10;

#[derive(Debug, Serialize)]
pub(super) struct CollectorStatus {
    pub(super) collector: &'static str,
    /// The value of `wickr_exporter_collector_success`.
    pub(super) success: Option<bool>,
    pub(super) last_run_at: Option<Time>,
    pub(super) duration_seconds: Option<Seconds>,
    pub(super) last_success_at: Option<Time>,
    /// `None` after a success, like the next two.
    pub(super) operation: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    pub(super) remedy: Option<&'static str>,
    /// Those that have a value.
    pub(super) families: Vec<FamilyStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct FamilyStatus {
    pub(super) family: &'static str,
    pub(super) series: usize,
    /// At most [`MAX_VALUES`].
    pub(super) values: Vec<ValueStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct ValueStatus {
    pub(super) labels: BTreeMap<&'static str, String>,
    pub(super) value: f64,
}

impl CollectorStatus {
    pub(super) fn all(collected: Option<&Collected>, now: Moment) -> Vec<CollectorStatus> {
        let records = collected.into_iter().flat_map(|collected| {
            let names = collected.collectors.keys();
            names.filter_map(move |name| CollectorStatus::of(collected, name, now))
        });
        records.collect()
    }

    fn of(collected: &Collected, name: &'static str, now: Moment) -> Option<CollectorStatus> {
        let record = collected.collectors.get(name)?;
        let last = record.last_run;
        let failure = last.and_then(|run| run.failure);
        let samples = collected.values(name, now).map_or(&[][..], |values| &values.samples);
        let family = |family: &'static Family| {
            let all = samples.iter().filter(|sample| sample.family == family.name);
            let values = all.clone().take(MAX_VALUES).map(|sample| ValueStatus {
                labels: family.labels[1..]
                    .iter()
                    .copied()
                    .zip(sample.labels.iter().map(|value| value.to_string()))
                    .collect(),
                value: sample.value,
            });
            FamilyStatus {
                family: family.name,
                series: all.clone().count(),
                values: values.collect(),
            }
        };
        Some(CollectorStatus {
            collector: name,
            success: last.map(|run| run.failure.is_none()),
            last_run_at: last.map(|run| Time(now.time_of(run.at))),
            duration_seconds: last.map(|run| Seconds(run.duration)),
            last_success_at: record.last_success.as_ref().map(|last| Time(last.time(now))),
            operation: failure.map(|(operation, _)| operation.as_str()),
            reason: failure.map(|(_, kind)| kind.as_str()),
            remedy: failure.map(|(_, kind)| kind.remedy()),
            families: record.families.iter().map(family).filter(|f| f.series > 0).collect(),
        })
    }
}

/// A row of the status page.
pub(super) struct CollectorRow {
    pub(super) name: &'static str,
    pub(super) state: String,
    pub(super) failed: bool,
    pub(super) last_success: Option<HtmlTime>,
    /// Families with their values.
    pub(super) facts: Vec<(String, String)>,
}

impl CollectorRow {
    pub(super) fn of(status: &CollectorStatus, Time(now): Time) -> CollectorRow {
        CollectorRow {
            name: status.collector,
            state: match (status.success, status.operation, status.reason) {
                (None, ..) => "not run yet".into(),
                (Some(_), Some(operation), Some(reason)) => {
                    format!("{operation}: {}", reason.replace('_', " "))
                }
                _ => "read".into(),
            },
            failed: status.success == Some(false),
            last_success: status.last_success_at.map(|Time(at)| HtmlTime::new(at, now)),
            facts: status.families.iter().map(|family| fact(family, now)).collect(),
        }
    }
}

/// The name and the values of a family: `accounts` and `active 18, pending 2`.
fn fact(family: &FamilyStatus, now: Millis) -> (String, String) {
    const MAX_SHOWN: usize = 4;
    let name = family.family.strip_prefix("wickr_").unwrap_or(family.family);
    let name = name.strip_prefix("network_").unwrap_or(name);
    let (name, format): (_, fn(f64, Millis) -> String) =
        match (name.strip_suffix("_timestamp_seconds"), name.strip_suffix("_seconds")) {
            (Some(name), _) => (name, |at, now| HtmlTime::new((at * 1e3) as i64, now).relative()),
            (None, Some(name)) => (name, |seconds, _| duration((seconds * 1e3) as i64)),
            // Always 1: the labels are the values.
            _ if name.ends_with("_info") => (name, |_, _| String::new()),
            _ => (name, |value, _| number(value)),
        };
    let value = |value: &ValueStatus| {
        let labels: Vec<_> = value.labels.values().map(|label| clipped_or_blank(label)).collect();
        format!("{} {}", labels.join(" "), format(value.value, now)).trim().to_owned()
    };
    let values = match family.series <= MAX_SHOWN {
        true => family.values.iter().map(value).collect::<Vec<_>>().join(", "),
        false => counted(family.series, "series", "series"),
    };
    (name.replace('_', " "), values)
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        grouped(value as usize)
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        inventory::{Collection, open},
        wickr::{ErrorKind, Operation},
    };

    const NOW: Millis = 1_700_000_000_000;
    const COUNTS: Family = Family::network_gauge("wickr_network_xs", &["network_id", "kind"], "X.");
    const AT: Family = Family::network_gauge("wickr_x_timestamp_seconds", &["network_id"], "X.");
    const INFO: Family = Family::network_gauge("wickr_x_info", &["network_id", "name"], "X.");
    const MANY: Family = Family::network_gauge("wickr_many", &["network_id", "n"], "X.");

    #[test]
    fn shows_values_by_the_names_of_their_families_until_they_expire() {
        let (registrar, reader) = open();
        let recorder = registrar.add_collectors("12345678".parse().unwrap(), Vec::new());
        recorder.enable(
            Duration::from_secs(60),
            &[("x", &[COUNTS, AT, INFO, MANY]), ("y", &[])],
            NOW.into(),
        );
        let mut collection = Collection::default();
        collection.add(&COUNTS, &["b"], Some(1234.0));
        collection.add(&COUNTS, &["a"], Some(0.5));
        collection.add(&AT, &[], Some(NOW as f64 / 1e3 - 65.0));
        collection.add(&INFO, &["a b"], Some(1.0));
        for n in 0..20 {
            collection.add(&MANY, &[&n.to_string()], Some(1.0));
        }
        recorder.record("x", NOW.into(), Duration::from_secs(1), Ok(collection));
        let failure = Err((Operation::ListBots, ErrorKind::RateLimited));
        recorder.record("x", (NOW + 1000).into(), Duration::from_secs(1), failure);
        let collected = reader.snapshot().collected.into_values().next().unwrap();
        let status = CollectorStatus::all(Some(&collected), NOW.into());
        let row = CollectorRow::of(&status[0], Time(NOW));
        assert_eq!((&*row.state, row.failed), ("ListBots: rate limited", true));
        let facts: Vec<_> = row.facts.iter().map(|(a, b)| (&**a, &**b)).collect();
        let expected = [
            ("xs", "a 0.5, b 1,234"),
            ("x", "1 min 5 s ago"),
            ("x info", "a b"),
            ("many", "20 series"),
        ];
        assert_eq!(facts, expected);
        assert_eq!(status[0].families[3].values.len(), MAX_VALUES);
        assert_eq!(CollectorRow::of(&status[1], Time(NOW)).state, "not run yet");
        let expired = CollectorStatus::all(Some(&collected), (NOW + 180_001).into());
        assert!(expired[0].families.is_empty() && expired[0].last_success_at.is_some());
    }
}
