//! What operators take away from `deploy/`, held to the programs that will read it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{promql, tools};

const RULES: &str = "prometheus/wickr-exporter.rules.yml";

pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The promtool cases of the alerts.
fn rule_tests() -> Vec<PathBuf> {
    let files = fs::read_dir(shipped("prometheus/tests")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    let Some(promtool) = tools::find("promtool") else { return };
    let check = |what: &str, name: &str| {
        tools::run(&promtool, &["check".into(), what.into(), shipped(name).into_os_string()])
    };
    check("config", "prometheus/prometheus.yml");
    check("rules", RULES);
}

#[test]
fn alerts_fire_and_resolve() {
    let Some(promtool) = tools::find("promtool") else { return };
    let mut arguments: Vec<OsString> = vec!["test".into(), "rules".into()];
    arguments.extend(rule_tests().into_iter().map(PathBuf::into_os_string));
    tools::run(&promtool, &arguments);
}

#[test]
fn every_alert_has_a_case() {
    let rules = read(&shipped(RULES));
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    let cases: String = rule_tests().iter().map(|file| read(file)).collect();
    for alert in alerts {
        assert!(cases.contains(&format!("alertname: {alert}")), "{alert}");
    }
}

#[test]
fn rules_and_their_cases_name_metrics_that_exist() {
    let files = rule_tests().into_iter().chain([shipped(RULES)]);
    for file in files {
        let text = read(&file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("wickr_")) {
            assert!(promql::is_known_metric(name), "{}: {name}", file.display());
        }
    }
}

#[test]
fn the_dockerfile_follows_good_practice() {
    let Some(hadolint) = tools::find("hadolint") else { return };
    tools::run(&hadolint, &[shipped("docker/Dockerfile")]);
}
