//! The files in `deploy/`, checked by the programs that read them.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{promql, tools};

pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

pub fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files with recording rules and alerts.
pub fn rule_files() -> Vec<PathBuf> {
    let files = fs::read_dir(shipped("prometheus")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.to_str().unwrap().ends_with(".rules.yml")).collect();
    files.sort();
    files
}

/// The text of all rules.
fn rules() -> String {
    rule_files().iter().map(|file| read(file)).collect()
}

/// The names of the shipped recording rules.
pub fn recorded() -> BTreeSet<String> {
    let rules = rules();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// The promtool cases of the alerts.
pub fn rule_tests() -> Vec<PathBuf> {
    let files = fs::read_dir(shipped("prometheus/tests")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn promtool_accepts_the_configurations_and_rules() {
    let Some(promtool) = tools::find("promtool") else { return };
    let check = |what: &str, name: &str| {
        tools::run(&promtool, &["check".into(), what.into(), shipped(name).into_os_string()])
    };
    check("config", "prometheus/prometheus.yml");
    // promtool requires the files that a configuration refers to.
    let folder = tempfile::tempdir().unwrap();
    for file in rule_files().into_iter().chain([shipped("prometheus/prometheus-tls.yml")]) {
        fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    crate::keys::Keys::generate().write_as_deployed(folder.path());
    let tls = folder.path().join("prometheus-tls.yml").into_os_string();
    tools::run(&promtool, &["check".into(), "config".into(), tls]);
    let lint = ["check", "rules", "--lint=all", "--lint-fatal"].map(OsString::from);
    let files = rule_files().into_iter().map(PathBuf::into_os_string);
    tools::run(&promtool, &lint.into_iter().chain(files).collect::<Vec<_>>());
}

#[test]
fn alerts_fire_and_resolve() {
    let Some(promtool) = tools::find("promtool") else { return };
    let mut arguments: Vec<OsString> = vec!["test".into(), "rules".into()];
    arguments.extend(rule_tests().into_iter().map(PathBuf::into_os_string));
    tools::run(&promtool, &arguments);
}

/// The name and definition of each alert.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts: Vec<_> = rules
        .split("- alert: ")
        .skip(1)
        .map(|alert| alert.split_once('\n').unwrap())
        .map(|(name, rest)| (name, rest.split("  - name: ").next().unwrap()))
        .collect();
    assert!(alerts.len() > 20);
    alerts
}

#[test]
fn every_alert_is_tested_inactive_firing_and_resolved() {
    let rules = rules();
    let cases: String = rule_tests().iter().map(|file| read(file)).collect();
    for (alert, _) in alerts(&rules) {
        let inactive = format!("alertname: {alert}, exp_alerts: []}}");
        let firing = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        let at = cases.find(&firing).unwrap_or_else(|| panic!("{alert} never fires"));
        assert!(cases[..at].contains(&inactive), "{alert} is never inactive before it fires");
        assert!(cases[at..].contains(&inactive), "{alert} never resolves");
    }
}

#[test]
fn every_alert_has_a_severity_texts_and_a_runbook() {
    let rules = rules();
    let runbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks.md");
    let runbooks = read(&runbooks);
    let alerts = alerts(&rules);
    for (alert, text) in &alerts {
        let severity = text.split("severity: ").nth(1).unwrap().lines().next().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{alert}: {severity}");
        for annotation in ["summary: >-", "description: >-"] {
            assert!(text.contains(annotation), "{alert} has no {annotation}");
        }
        // The same in all alerts, except for the anchor.
        let url = text.split("runbook_url: >-\n").nth(1).expect(alert).lines().next().unwrap();
        let (base, anchor) = url.split_once('#').unwrap();
        assert_eq!(anchor, alert.to_lowercase(), "{alert}");
        assert!(alerts[0].1.contains(base), "{alert}: {base}");
        let section = runbooks.split(&format!("\n## {alert}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{alert} has no section in the runbooks"));
        let section = section.split("\n## ").next().unwrap();
        assert!(section.len() > 200, "{alert}: short section in the runbooks");
        assert!(section.contains(&format!("**{severity}**")), "{alert} is {severity}");
    }
    let sections = runbooks.lines().filter_map(|line| line.strip_prefix("## Wickr"));
    assert_eq!(sections.count(), alerts.len(), "a section without an alert");
}

#[test]
fn readme_lists_every_alert_with_its_severity() {
    let (rules, list) = (rules(), read(&shipped("README.md")));
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| Wickr")).collect();
    let mut listed = 0;
    for row in &rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (names, severity) = (cells.next().unwrap(), cells.next().unwrap());
        for name in names.split(", ") {
            let alerts = alerts(&rules);
            let (_, text) = alerts.iter().find(|(alert, _)| *alert == name).expect(name);
            assert!(text.contains(&format!("severity: {severity}\n")), "{name}");
            listed += 1;
        }
    }
    assert_eq!(listed, alerts(&rules).len());
}

#[test]
fn amtool_accepts_the_configuration() {
    let Some(amtool) = tools::find("amtool") else { return };
    let file = shipped("prometheus/alertmanager.yml");
    tools::run(&amtool, &["check-config".into(), file.into_os_string()]);
}

#[test]
fn rules_and_their_tests_use_existing_metrics() {
    let recorded = recorded();
    let files = rule_tests().into_iter().chain(rule_files());
    for file in files {
        let text = read(&file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        let words = words.map(|word| word.trim_end_matches(':'));
        for name in words.filter(|word| word.contains(":wickr_") || word.starts_with("wickr_")) {
            let known = promql::is_known_metric(name) || recorded.contains(name);
            assert!(known, "{}: {name}", file.display());
        }
    }
}

#[test]
fn hadolint_accepts_the_dockerfile() {
    let Some(hadolint) = tools::find("hadolint") else { return };
    tools::run(&hadolint, &[shipped("docker/Dockerfile")]);
}
