//! `deploy/compose`: the schema, promtool and amtool accept the files, and the files agree with each
//! other. No test pulls an image.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{
    harness::program,
    helm::render::{Chart, read, shipped, strings},
    tools,
};

fn file(name: &str) -> std::path::PathBuf {
    shipped("compose").join(name)
}

fn yaml(chart: &Chart, name: &str) -> Value {
    chart.objects(&BTreeMap::from([("", read(&file(name)))])).remove("").unwrap().remove(0)
}

#[test]
fn files_match_the_compose_schema() {
    let Some(check) = tools::find("check-jsonschema") else { return };
    let files = ["compose.yaml", "compose.aws.yaml", "compose.sso.yaml"].map(file);
    let mut arguments = vec!["--builtin-schema".into(), "vendor.compose-spec".into()];
    arguments.extend(files.map(std::path::PathBuf::into_os_string));
    tools::run(&check, &arguments);
}

#[test]
fn services_are_confined_pinned_and_published_on_loopback_only() {
    let Some(chart) = Chart::find() else { return };
    let services = yaml(&chart, "compose.yaml")["services"].as_object().unwrap().clone();
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        ["alertmanager", "exporter", "grafana", "prometheus"]
    );
    for (name, service) in &services {
        let user = service["user"].as_str().unwrap();
        assert!(!user.starts_with('0') && user.contains(':'), "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        let image = service["image"].as_str().unwrap();
        let pinned = image.split_once(':').is_some_and(|(_, tag)| tag.matches('.').count() == 2);
        assert!(pinned || service["build"].is_object(), "{name}: {image}");
        for volume in strings(&service["volumes"]).into_iter().filter(|v| v.starts_with('.')) {
            let (source, target) = volume.split_once(':').unwrap();
            assert!(file(source).exists(), "{name}: {source}");
            assert!(target.ends_with(":ro"), "{name}: {volume}");
        }
    }
    let dashboard = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        .as_str()
        .and_then(|path| path.strip_prefix("/etc/grafana/wickr/"));
    assert!(shipped("grafana").join(dashboard.unwrap()).exists());
    let build = &services["exporter"]["build"];
    let context = file(build["context"].as_str().unwrap());
    assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
}

#[test]
fn exporter_accepts_its_command_lines() {
    let Some(chart) = Chart::find() else { return };
    for name in ["compose.yaml", "compose.aws.yaml"] {
        let compose = yaml(&chart, name);
        let arguments = strings(&compose["services"]["exporter"]["command"]);
        assert!(arguments.contains(&"--web.external-url=http://127.0.0.1:10471"), "{name}");
        let help = program().args(&arguments).arg("--help").output().unwrap();
        assert!(help.status.success(), "{arguments:?}: {help:?}");
        // Shows that the arguments before `--help` are parsed.
        let invalid = program().args(&arguments).args(["--nonsense", "--help"]).output().unwrap();
        assert_eq!(invalid.status.code(), Some(2));
    }
}

#[test]
fn promtool_and_amtool_accept_the_files() {
    let (Some(promtool), Some(amtool)) = (tools::find("promtool"), tools::find("amtool")) else {
        return;
    };
    tools::run(&amtool, &["check-config".as_ref(), file("alertmanager.yml").as_os_str()]);
    let rules = shipped("prometheus");
    let text =
        read(&file("prometheus.yml")).replace("/etc/prometheus/wickr", rules.to_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    fs::write(&config, text).unwrap();
    let output = tools::run(&promtool, &["check".as_ref(), "config".as_ref(), config.as_os_str()]);
    assert!(output.contains("rules found"), "{output}");
}

#[test]
fn services_refer_to_each_other_by_name_and_port() {
    let Some(chart) = Chart::find() else { return };
    let services = &yaml(&chart, "compose.yaml")["services"];
    let port = |service: &str| {
        let published = strings(&services[service]["ports"])[0];
        published.rsplit(':').next().unwrap().to_owned()
    };
    let prometheus = yaml(&chart, "prometheus.yml");
    let target = |list: &Value| strings(&list[0]["static_configs"][0]["targets"])[0].to_owned();
    let job = &prometheus["scrape_configs"];
    assert_eq!(job[0]["job_name"], "wickr-exporter", "the alerts select this job");
    assert_eq!(target(job), format!("exporter:{}", port("exporter")));
    let alertmanager = target(&prometheus["alerting"]["alertmanagers"]);
    assert_eq!(alertmanager, format!("alertmanager:{}", port("alertmanager")));
    let source = &yaml(&chart, "grafana/datasources/prometheus.yaml")["datasources"][0];
    assert_eq!(source["url"], format!("http://prometheus:{}", port("prometheus")));
    assert_eq!(source["type"], "prometheus");
    let folder = &yaml(&chart, "grafana/dashboards/wickr.yaml")["providers"][0]["options"]["path"];
    let mount = format!("../grafana:{}:ro", folder.as_str().unwrap());
    assert!(strings(&services["grafana"]["volumes"]).contains(&mount.as_str()));
}
