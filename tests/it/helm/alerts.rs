//! The rules of the chart: copies of the shipped ones, and changed by the values of `prometheusRule`.
//! `deploy/prometheus/customize` prints the same rules for Prometheus without the operator.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::render::{Chart, Objects, folder, of_kind, read, rendered, shipped};
use crate::tools;

/// The files with one of these folders and endings, in `deploy/` and in the chart.
fn copies() -> Vec<(PathBuf, PathBuf)> {
    let mut copies = Vec::new();
    for (name, end) in [("grafana", ".json"), ("prometheus", ".rules.yml")] {
        let (from, to) = (shipped(name), folder().join("files").join(name));
        for folder in [&from, &to] {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let names = entries.filter(|name| name.to_str().unwrap().ends_with(end));
            copies.extend(names.map(|name| (from.join(&name), to.join(&name))));
        }
    }
    copies.sort();
    copies.dedup();
    copies
}

/// Real files, because Flux drops links, and Git on Windows writes them as text. `UPDATE_GOLDEN=1`
/// copies the files.
#[test]
fn chart_has_copies_of_the_rules_and_dashboards() {
    let copies = copies();
    assert!(copies.len() >= 3, "{copies:?}");
    for (source, copy) in copies {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::copy(&source, &copy).unwrap();
        }
        assert!(!copy.is_symlink(), "{} is a link", copy.display());
        assert!(
            read(&source) == fs::read_to_string(&copy).unwrap_or_default(),
            "{} differs: run UPDATE_GOLDEN=1 cargo test chart_has_copies",
            copy.display()
        );
    }
}

#[test]
fn chart_without_rules_or_dashboards_fails() {
    let Some(chart) = Chart::find() else { return };
    for (values, file, empty, missing) in [
        (
            json!({"prometheusRule": {"enabled": true}}),
            "prometheus/wickr-exporter.rules.yml",
            "wickr-exporter.rules.yml has no rules",
            "the chart has no rules",
        ),
        (
            json!({"dashboards": {"enabled": true}}),
            "grafana/wickr-fleet.json",
            "wickr-fleet.json is empty",
            "the chart has no dashboards",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("chart");
        tools::run(Path::new("cp"), &["-r".as_ref(), folder().as_os_str(), copy.as_os_str()]);
        let file = copy.join("files").join(file);
        fs::write(&file, "").unwrap();
        let error = chart.run("template", &copy, &values, &[]).unwrap_err();
        assert!(error.contains(empty), "{error}");
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        let error = chart.run("template", &copy, &values, &[]).unwrap_err();
        assert!(error.contains(missing), "{error}");
    }
}

/// The alerts of all PrometheusRules, by name.
fn alerts(objects: &Objects) -> BTreeMap<String, Value> {
    let groups = of_kind(objects, "PrometheusRule");
    let groups = groups.iter().flat_map(|object| object["spec"]["groups"].as_array().unwrap());
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let alerts = rules.filter(|rule| rule["alert"].is_string());
    alerts.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone())).collect()
}

/// The alerts with these values of `prometheusRule`.
fn alerts_with(chart: &Chart, mut values: Value) -> BTreeMap<String, Value> {
    values["enabled"] = json!(true);
    let text = chart.template(&json!({"prometheusRule": values}), &[]).unwrap();
    alerts(&chart.validate(&BTreeMap::from([("", text)])).unwrap()[""])
}

#[test]
fn prometheus_rules_have_all_alerts_except_disabled_ones() {
    let Some(rendered) = rendered() else { return };
    let all = alerts(&rendered["service monitor"]);
    let enabled = alerts(&rendered["everything"]);
    assert!(all.len() > 20);
    for (name, shipped) in &all {
        let section = format!("runbooks.md#{}", name.to_lowercase());
        let url = shipped["annotations"]["runbook_url"].as_str().unwrap();
        assert!(url.starts_with("{{ with query \"wickr_exporter_info\" "), "{name}: {url}");
        let Some(alert) = enabled.get(name) else {
            assert!(["WickrDeviceIdle", "WickrThrottled"].contains(&name.as_str()), "{name}");
            continue;
        };
        let url = format!("https://git.example.com/{section}");
        assert_eq!(alert["annotations"]["runbook_url"], url, "{name}");
        assert_eq!(alert["labels"]["team"], "it", "{name}");
    }
    assert_eq!(enabled.len() + 2, all.len());
}

/// The thresholds that values can set: alert, kind, and definition.
fn thresholds(chart: &Chart) -> Vec<(String, String, Value)> {
    let text = BTreeMap::from([("", read(&folder().join("files/thresholds.yaml")))]);
    let file = chart.objects(&text).remove("").unwrap().remove(0);
    let mut thresholds = Vec::new();
    for (alert, kinds) in file.as_object().unwrap() {
        let kinds = kinds.as_object().unwrap().iter();
        thresholds.extend(kinds.map(|(kind, value)| (alert.clone(), kind.clone(), value.clone())));
    }
    thresholds
}

#[test]
fn each_threshold_changes_its_alert_and_is_documented() {
    let Some(chart) = Chart::find() else { return };
    let default = alerts_with(&chart, json!({}));
    let mut values = json!({});
    for (alert, kind, threshold) in thresholds(&chart) {
        // A number that occurs nowhere else.
        values[&alert][&kind] = json!(threshold["default"].as_u64().unwrap() + 4321);
    }
    let changed = alerts_with(&chart, json!({ "alerts": values }));
    let readme = read(&folder().join("README.md"));
    let texts = |alert: &Value| {
        let annotations = alert["annotations"].as_object().unwrap().values();
        let texts = annotations.chain([&alert["expr"]]).map(|text| text.as_str().unwrap());
        texts.collect::<Vec<_>>().join("\n")
    };
    for (alert, kind, threshold) in thresholds(&chart) {
        let number = threshold["default"].as_u64().unwrap();
        let row = format!("| {alert} | `{kind}` | {number} |");
        assert!(readme.contains(&row), "README.md has no row {row}");
        let (before, after) = (texts(&default[&alert]), texts(&changed[&alert]));
        for (key, factor) in [("texts", 1), ("seconds", 86_400)] {
            for text in threshold[key].as_array().into_iter().flatten() {
                let with = |number: u64| {
                    text.as_str().unwrap().replace("{}", &(number * factor).to_string())
                };
                let (old, new) = (with(number), with(number + 4321));
                assert!(before.contains(&old), "{alert} does not contain {old}");
                assert!(after.contains(&new) && !after.contains(&old), "{alert}: {after}");
            }
        }
    }
    for (name, alert) in &changed {
        assert_eq!(values.get(name).is_some(), *alert != default[name], "{name}");
    }
}

#[test]
fn single_alerts_can_be_changed() {
    let Some(chart) = Chart::find() else { return };
    let default = alerts_with(&chart, json!({}));
    let changed = alerts_with(
        &chart,
        json!({
            "alertLabels": {"team": "it"},
            "alerts": {"WickrDataStale": {
                "severity": "page", "for": "1h", "keepFiringFor": "2h",
                "labels": {"team": "chat", "pager": "yes"}, "annotations": {"note": "x"},
            }},
        }),
    );
    let mut expected = default["WickrDataStale"].clone();
    expected["for"] = json!("1h");
    expected["keep_firing_for"] = json!("2h");
    expected["labels"] = json!({"severity": "page", "team": "chat", "pager": "yes"});
    expected["annotations"]["note"] = json!("x");
    assert_eq!(changed["WickrDataStale"], expected);
    let labels = json!({"severity": "critical", "team": "it"});
    assert_eq!(changed["WickrExporterDown"]["labels"], labels);
    for (alerts, reason) in [
        (json!({"WickrDataStail": {"for": "1h"}}), "unknown alert WickrDataStail"),
        (
            json!({"WickrDeviceIdle": {"percent": 3}}),
            "prometheusRule.alerts.WickrDeviceIdle.percent: the alert has no such threshold; it has: days",
        ),
        (json!({"WickrDeviceIdle": {"limit": 3}}), "additional properties 'limit' not allowed"),
    ] {
        let values = json!({"prometheusRule": {"enabled": true, "alerts": alerts}});
        let error = chart.template(&values, &[]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

/// Writes the rules that `deploy/prometheus/customize` prints to the files of the shipped ones.
fn customized(chart: &Chart, values: &Value, folder: &Path) {
    let file = folder.join("values.yaml");
    fs::write(&file, json!({"prometheusRule": values}).to_string()).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", chart.helm.parent().unwrap().display());
    let output = Command::new(shipped("prometheus/customize"))
        .env("PATH", path)
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // All rules are in one file; the cases also name the others.
    for source in crate::deploy::rule_files() {
        fs::write(folder.join(source.file_name().unwrap()), "groups: []\n").unwrap();
    }
    fs::write(folder.join("wickr-exporter.rules.yml"), &output.stdout).unwrap();
}

#[test]
fn customize_prints_the_shipped_rules_without_values() {
    let Some(chart) = Chart::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    customized(&chart, &json!({}), directory.path());
    let printed = read(&directory.path().join("wickr-exporter.rules.yml"));
    let groups = |texts: Vec<String>| {
        let names: Vec<String> = (0..texts.len()).map(|number| number.to_string()).collect();
        let texts = names.iter().map(String::as_str).zip(texts).collect();
        let files: Vec<_> = chart.objects(&texts).into_values().collect();
        let groups = files.iter().flat_map(|file| file[0]["groups"].as_array().unwrap().clone());
        groups.collect::<Vec<_>>()
    };
    let shipped = crate::deploy::rule_files().iter().map(|file| read(file)).collect();
    assert_eq!(groups(vec![printed]), groups(shipped));
}

/// Two clusters with the same network. A sum without the label would add both.
const CLUSTERS: &str = r#"
rule_files: [../wickr-exporter.rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: up{job="watch", instance="a:1", cluster="one"}
        values: 0x30
      - series: wickr_network_users{cluster="one", instance="a:1", network_id="12345678", freshness="fresh"}
        values: 5x30
      - series: wickr_network_users{cluster="two", instance="a:1", network_id="12345678", freshness="fresh"}
        values: 0x30
      - series: wickr_network_users{cluster="two", instance="a:1", network_id="12345678", freshness="stale"}
        values: 5x30
      - series: wickr_exporter_last_success_timestamp_seconds{cluster="one", instance="a:1", network_id="12345678"}
        values: 900x30
      - series: wickr_exporter_last_success_timestamp_seconds{cluster="two", instance="a:1", network_id="12345678"}
        values: 0x30
      - series: wickr_network_info{cluster="one", instance="a:1", network_id="12345678", network_name="first"}
        values: 1x30
      - series: wickr_network_info{cluster="two", instance="a:1", network_id="12345678", network_name="second"}
        values: 1x30
      - series: wickr_exporter_info{cluster="one", instance="a:1", external_url="https://one.example.com"}
        values: 1x30
      - series: wickr_exporter_info{cluster="two", instance="a:1", external_url="https://two.example.com"}
        values: 1x30
      - series: wickr_up{cluster="two", instance="a:1", network_id="12345678"}
        values: 0x30
    alert_rule_test:
      - eval_time: 20m
        alertname: WickrDataStale
        exp_alerts:
          - exp_labels: {severity: critical, cluster: two, network_id: "12345678", network_name: second}
            exp_annotations:
              summary: Wickr network 12345678 (second) has no user with fresh data.
              description: >-
                The last poll read none of the network's users. The exporter serves the last known data
                until stale_after expires. The last successful poll ended 20m 0s ago. See
                WickrNetworkNotReadable for the reasons.
              runbook_url: https://two.example.com/docs/runbooks#wickrdatastale
      - eval_time: 20m
        alertname: WickrNetworkNotReadable
        exp_alerts:
          - exp_labels: {severity: warning, cluster: two, network_id: "12345678", network_name: second}
            exp_annotations:
              summary: Wickr network 12345678 (second) could not be read completely.
              description: >-
                Failures in the last poll, by reason: none. The user list cannot be read (see
                WickrDiscoveryFailing), or polls do not finish. The exporter serves the last known
                devices of these users until stale_after expires.
              devices_url: https://two.example.com/devices?network_id=12345678
              runbook_url: https://two.example.com/docs/runbooks#wickrnetworknotreadable
    promql_expr_test:
      - expr: sum by (alertname, cluster) (ALERTS{alertname="WickrExporterDown", alertstate="firing", job="watch"})
        eval_time: 20m
        exp_samples: [{labels: '{alertname="WickrExporterDown", cluster="one"}', value: 1}]
"#;

#[test]
fn clusters_with_the_same_network_alert_separately() {
    let (Some(chart), Some(promtool)) = (Chart::find(), tools::find("promtool")) else { return };
    let directory = tempfile::tempdir().unwrap();
    customized(&chart, &json!({"clusterLabel": "cluster"}), directory.path());
    // The cases of the shipped rules hold for series without a cluster. These have links and joins.
    let tests = directory.path().join("tests");
    fs::create_dir(&tests).unwrap();
    let mut arguments: Vec<OsString> = vec!["test".into(), "rules".into()];
    for name in ["devices.yml", "exporter.yml", "shards.yml"] {
        fs::copy(shipped("prometheus/tests").join(name), tests.join(name)).unwrap();
        arguments.push(tests.join(name).into());
    }
    tools::run(&promtool, &arguments);
    customized(&chart, &json!({"clusterLabel": "cluster", "job": "watch"}), directory.path());
    fs::write(directory.path().join("case.yml"), CLUSTERS.replace("../", "")).unwrap();
    let case = directory.path().join("case.yml").into_os_string();
    tools::run(&promtool, &["test".into(), "rules".into(), case]);
}
