//! `deploy/scrapers`: promtool accepts the scrape configurations, and the parts of each file refer to
//! each other. `dashboard` runs VictoriaMetrics.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    deploy::{read, shipped},
    helm::render::{Chart, strings},
    promql, tools,
};

fn yaml(chart: &Chart, name: &str) -> Value {
    let text = read(&shipped("scrapers").join(name));
    chart.objects(&BTreeMap::from([("", text)])).remove("").unwrap().remove(0)
}

/// Checks a configuration of Prometheus, without keys that are newer than Debian's promtool.
fn check(promtool: &Path, mut config: Value, options: &[&str]) {
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        job.as_object_mut().unwrap().remove("scrape_protocols");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    // JSON is YAML. Collectors replace $$ by $.
    fs::write(&file, config.to_string().replace("$$", "$")).unwrap();
    let arguments = [&["check", "config"], options, &[file.to_str().unwrap()]].concat();
    tools::run(promtool, &arguments);
}

#[test]
fn promtool_accepts_the_scrape_configurations() {
    let (Some(chart), Some(promtool)) = (Chart::find(), tools::find("promtool")) else { return };
    check(&promtool, yaml(&chart, "prometheus-agent.yml"), &["--agent"]);
    check(&promtool, yaml(&chart, "victoriametrics.yml"), &[]);
    check(&promtool, yaml(&chart, "cloudwatch/prometheus.yaml"), &[]);
    for name in ["otelcol.yaml", "adot.yaml"] {
        let config = yaml(&chart, name)["receivers"]["prometheus"]["config"].clone();
        // The receiver drops gauge histograms.
        let text = serde_json::json!(["PrometheusText0.0.4"]);
        for job in config["scrape_configs"].as_array().unwrap() {
            assert_eq!(job["scrape_protocols"], text, "{name}");
            assert_eq!(job["job_name"], "wickr-exporter", "the alerts select this job");
        }
        check(&promtool, config, &[]);
    }
}

#[test]
fn pipelines_of_collectors_use_every_component() {
    let Some(chart) = Chart::find() else { return };
    for name in ["otelcol.yaml", "adot.yaml"] {
        let config = yaml(&chart, name);
        let pipeline = &config["service"]["pipelines"]["metrics"];
        for part in ["receivers", "processors", "exporters"] {
            let defined = config[part].as_object().unwrap().keys().map(String::as_str);
            let mut used = strings(&pipeline[part]);
            used.sort_unstable();
            assert_eq!(used, defined.collect::<Vec<_>>(), "{name}: {part}");
        }
        let extensions = config["extensions"].as_object();
        let defined: Option<Vec<_>> =
            extensions.map(|map| map.keys().map(String::as_str).collect());
        assert_eq!(strings(&config["service"]["extensions"]), defined.unwrap_or_default());
        let exporter = &config["exporters"]["prometheusremotewrite"];
        let authenticator = exporter["auth"]["authenticator"].as_str();
        assert_eq!(authenticator.is_some(), extensions.is_some(), "{name}");
    }
}

#[test]
fn selected_metrics_exist() {
    let Some(chart) = Chart::find() else { return };
    let agent = read(&shipped("scrapers/cloudwatch/amazon-cloudwatch-agent.json"));
    let agent: Value = serde_json::from_str(&agent).unwrap();
    let processor = &agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"];
    let mut selected = 0;
    for declaration in processor["metric_declaration"].as_array().unwrap() {
        for selector in strings(&declaration["metric_selectors"]) {
            let name = selector.trim_start_matches('^').trim_end_matches('$');
            assert!(promql::is_known_metric(name), "{name}");
            selected += 1;
        }
    }
    assert!(selected > 4);
    let datadog = &yaml(&chart, "datadog/openmetrics.d/conf.yaml")["instances"][0];
    let prefix = datadog["raw_metric_prefix"].as_str().unwrap();
    for name in strings(&datadog["exclude_metrics"]) {
        assert!(promql::is_known_family(&format!("{prefix}{name}")), "{name}");
    }
}

/// The text format and OpenMetrics name the sum and count of gauge histograms differently.
#[test]
fn rules_and_dashboards_use_only_the_buckets_of_the_gauge_histogram() {
    let dashboards = fs::read_dir(shipped("grafana")).unwrap().map(|file| file.unwrap().path());
    for file in crate::deploy::rule_files().into_iter().chain(dashboards) {
        let text = read(&file);
        for (at, family) in text.match_indices("wickr_network_device_idle_seconds") {
            let rest = &text[at + family.len()..];
            // A recording rule can be named after the family.
            let recorded = text[..at].ends_with(':') && rest.starts_with(":p");
            assert!(recorded || rest.starts_with("_bucket"), "{}: {rest:.40}", file.display());
        }
    }
}
