//! Evaluates the shipped rules on the campaign's scrapes, and compares critical alerts with the truth.
//!
//! Each scrape counts as one minute of Prometheus, so that `for: 15m` takes 15 scrapes and the polls of
//! the campaign correspond to intervals of some minutes. No critical alert uses the time of day.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
    process::Command,
};

use super::scrape::Scrape;
use crate::tools;

/// The metrics in critical alerts.
const METRICS: [&str; 6] = [
    "wickr_exporter_build_info",
    "wickr_exporter_discovery_failures_total",
    "wickr_exporter_poll_progress_ratio",
    "wickr_exporter_user_failures",
    "wickr_network_info",
    "wickr_network_users",
];
/// The scrapes that are evaluated together; earlier ones are dropped.
const MAX_STEPS: usize = 1500;

/// The truth at the time of a scrape.
#[derive(Default, Clone)]
pub struct Truth {
    /// Networks that can be read, with at least one user, and agree with the fleet.
    pub readable: BTreeSet<String>,
    /// Networks in which a request for devices was rejected since the last poll began.
    pub rejected: BTreeSet<String>,
    /// Whether networks are configured by id.
    pub configured: bool,
    /// Rejected lookups since the last scrape, by operation.
    pub rejected_lookups: BTreeMap<String, u64>,
}

#[derive(Default)]
pub struct Alerts {
    /// By scrape.
    truth: Vec<Truth>,
    /// The values of each series by scrape.
    series: BTreeMap<String, BTreeMap<usize, f64>>,
}

/// An alert, and the scrape at which it started to fire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Firing {
    labels: BTreeMap<String, String>,
    step: usize,
}

impl Alerts {
    pub fn record(&mut self, scrape: &Scrape, truth: Truth) {
        let step = self.truth.len();
        self.truth.push(truth);
        for name in METRICS {
            for (labels, value) in scrape.samples(name) {
                let mut series = format!("{name}{{job=\"wickr-exporter\",instance=\"campaign\"");
                for (label, value) in labels {
                    write!(series, ",{label}={value:?}").unwrap();
                }
                self.series.entry(series + "}").or_default().insert(step, value);
            }
        }
        let up = "up{job=\"wickr-exporter\",instance=\"campaign\"}";
        self.series.entry(up.to_owned()).or_default().insert(step, 1.0);
    }

    /// The critical alerts that fired, and those of them that contradict the truth. None without
    /// promtool.
    pub fn evaluate(&self) -> Option<(usize, Vec<String>)> {
        let promtool = tools::find("promtool")?;
        let first = self.truth.len().saturating_sub(MAX_STEPS);
        let firing = self.firing(&promtool, first);
        let is_start = |alert: &&Firing| {
            alert.step > first
                && !firing.contains(&Firing { step: alert.step - 1, ..(*alert).clone() })
        };
        let started: Vec<_> = firing.iter().filter(is_start).collect();
        let is_false = started.iter().filter_map(|alert| Some((alert, self.contradiction(alert)?)));
        let violations = is_false.map(|(alert, why)| format!("false alert {alert:?}: {why}"));
        Some((started.len(), violations.collect()))
    }

    fn firing(&self, promtool: &Path, first: usize) -> BTreeSet<Firing> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("campaign.yml");
        std::fs::write(&file, self.test_file(first)).unwrap();
        // It fails if an alert fires, and prints the alerts.
        let output = Command::new(promtool).args(["test", "rules"]).arg(&file).output().unwrap();
        let text =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let (mut firing, mut step) = (BTreeSet::new(), first);
        for line in text.lines() {
            if let Some((_, time)) = line.rsplit_once(" time: ") {
                let time = humantime::parse_duration(time.trim_end_matches(',')).unwrap();
                step = first + (time.as_secs() / 60) as usize;
            } else if let Some((_, alerts)) = line.split_once("got:") {
                let alerts = alerts.split("__name__=").skip(1);
                firing.extend(alerts.map(|alert| Firing { labels: labels(alert), step }));
            }
        }
        assert!(output.status.success() == firing.is_empty(), "{text}");
        firing
    }

    /// The input of `promtool test rules`.
    fn test_file(&self, first: usize) -> String {
        let rules =
            concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/wickr-exporter.rules.yml");
        let mut text = format!(
            "rule_files: [{rules:?}]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n"
        );
        for (series, values) in &self.series {
            let mut is_present = false;
            let values = (first..self.truth.len()).map(|step| {
                let value = match values.get(&step) {
                    Some(value) => value.to_string(),
                    None if is_present => "stale".to_owned(),
                    None => "_".to_owned(),
                };
                is_present = values.contains_key(&step);
                value
            });
            let values: Vec<_> = values.collect();
            let series = serde_json::to_string(series).unwrap();
            writeln!(text, "  - series: {series}\n    values: '{}'", values.join(" ")).unwrap();
        }
        text.push_str("  promql_expr_test:\n");
        for minute in 0..self.truth.len() - first {
            let expression = r#"'ALERTS{alertstate="firing",severity="critical"}'"#;
            writeln!(text, "  - {{expr: {expression}, eval_time: {minute}m, exp_samples: []}}")
                .unwrap();
        }
        text
    }

    /// Why an alert is false.
    fn contradiction(&self, alert: &Firing) -> Option<String> {
        let label = |name: &str| alert.labels.get(name).map_or("", |value| value);
        // The condition held at all these scrapes.
        let during = |minutes: usize| {
            let from = alert.step.saturating_sub(minutes);
            self.truth[from..=alert.step]
                .iter()
                .enumerate()
                .map(move |(index, t)| (from + index, t))
        };
        let network = label("network_id");
        match label("alertname") {
            "WickrCredentialsRefused" => {
                let accepted = during(10).find(|(_, truth)| !truth.rejected.contains(network));
                accepted.map(|(step, _)| format!("nothing was rejected at scrape {step}"))
            }
            "WickrDataStale" => {
                let readable = during(15).find(|(_, truth)| truth.readable.contains(network));
                readable.map(|(step, _)| format!("it was readable at scrape {step}"))
            }
            "WickrNoNetwork" => {
                let known =
                    during(15).find(|(_, truth)| truth.configured || !truth.readable.is_empty());
                known.map(|(step, _)| format!("there was a network at scrape {step}"))
            }
            "WickrDiscoveryRefused" => {
                let count = |truth: &Truth| truth.rejected_lookups.get(label("operation")).copied();
                let rejected: u64 = during(131).filter_map(|(_, truth)| count(truth)).sum();
                (rejected < 2).then(|| format!("{rejected} lookups were rejected"))
            }
            _ => Some("its condition never holds".to_owned()),
        }
    }
}

/// The labels in `"ALERTS", label="value", …`.
fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split("\", ").skip(1).filter_map(|pair| pair.split_once("=\""));
    let value = |value: &str| value.split('"').next().unwrap_or_default().to_owned();
    pairs.map(|(label, text)| (label.to_owned(), value(text))).collect()
}

#[test]
fn detects_critical_alerts_that_contradict_the_simulator() {
    const ID: &str = "11111111";
    let text = |failures: u32, fresh: u32| {
        format!(
            "wickr_exporter_poll_progress_ratio{{network_id=\"{ID}\"}} 1\n\
             wickr_network_info{{network_id=\"{ID}\",network_name=\"a, \\\"b\\\"\"}} 1\n\
             wickr_network_users{{network_id=\"{ID}\",freshness=\"fresh\"}} {fresh}\n\
             wickr_network_users{{network_id=\"{ID}\",freshness=\"stale\"}} 2\n\
             wickr_exporter_user_failures{{network_id=\"{ID}\",reason=\"forbidden\"}} {failures}\n"
        )
    };
    let is_rejected = Truth { rejected: [ID.to_owned()].into(), ..Truth::default() };
    let is_readable = Truth { readable: [ID.to_owned()].into(), ..Truth::default() };
    let evaluate = |failures, fresh, truth: &Truth| {
        let mut alerts = Alerts::default();
        for _ in 0..20 {
            alerts.record(&Scrape::parse(&text(failures, fresh), 0, 0).unwrap(), truth.clone());
        }
        // The alerts resolve, and the series are marked as stale.
        alerts.record(&Scrape::parse("x 1\n", 0, 0).unwrap(), truth.clone());
        alerts.evaluate()
    };
    let Some(evaluated) = evaluate(0, 1, &is_rejected) else { return };
    assert_eq!(evaluated, (0, vec![]));
    assert_eq!(evaluate(2, 1, &is_rejected).unwrap(), (1, vec![]));
    assert_eq!(evaluate(2, 0, &is_rejected).unwrap(), (2, vec![]));
    let (started, violations) = evaluate(2, 0, &is_readable).unwrap();
    assert_eq!((started, violations.len()), (2, 2), "{violations:?}");
    assert!(violations[0].contains("WickrCredentialsRefused"), "{violations:?}");
}
