//! Objects and settings of the chart that are off by default.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use wickr_exporter::simulator::{Fleet, network};

use super::{
    arguments,
    render::{Chart, container, folder, of_kind, rendered, workload},
};
use crate::harness::{Exporter, serving};

#[test]
fn ingress_routes_hosts_to_the_service() {
    let Some(rendered) = rendered() else { return };
    let objects = &rendered["ingress"];
    let ingress = of_kind(objects, "Ingress")[0];
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "wickr-tls");
    assert_eq!(ingress["metadata"]["labels"]["c"], "d");
    let service = of_kind(objects, "Service")[0];
    let backend = json!({"service": {
        "name": service["metadata"]["name"],
        "port": {"name": service["spec"]["ports"][0]["name"]},
    }});
    let rules = ingress["spec"]["rules"].as_array().unwrap();
    let paths = [("wickr.example.com", "/", "Prefix"), ("example.com", "/wickr", "Exact")];
    assert_eq!(rules.len(), paths.len());
    for (rule, (host, path, kind)) in rules.iter().zip(paths) {
        let expected = json!([{"path": path, "pathType": kind, "backend": backend}]);
        assert_eq!((&rule["host"], &rule["http"]["paths"]), (&json!(host), &expected));
    }
    assert!(of_kind(&rendered["default"], "Ingress").is_empty());
}

#[tokio::test]
async fn probes_scrapes_and_ingress_use_the_paths_of_the_exporter() {
    let Some(rendered) = rendered() else { return };
    let simulator = serving(Fleet::new().network(network("12345678"))).await;
    let config = format!(
        "[aws]\nregion = 'us-east-1'\nendpoint_url = '{}'\n[[network]]\nid = 'all'\nusers = 'all'\n",
        simulator.endpoint()
    );
    for (name, prefix, external) in [
        ("default", "", None),
        ("a prefix", "/tools/wickr", Some("/tools/wickr")),
        ("a removed prefix", "", Some("/tools/wickr")),
        ("everything", "/wickr", None),
    ] {
        let objects = &rendered[name];
        let arguments = arguments(objects, Path::new("/"));
        let web = arguments.iter().map(String::as_str);
        let web: Vec<_> = web.filter(|a| a.contains("external") || a.contains("prefix")).collect();
        let exporter = Exporter::start_with(&config, &web, &[]);
        let mut paths: Vec<_> = ["livenessProbe", "readinessProbe"]
            .map(|probe| container(objects)[probe]["httpGet"]["path"].as_str().unwrap())
            .into();
        assert_eq!(paths, [format!("{prefix}/-/healthy"), format!("{prefix}/-/ready")], "{name}");
        for (kind, key) in [("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")]
        {
            for monitor in of_kind(objects, kind) {
                let endpoints = monitor["spec"][key].as_array().unwrap();
                paths.extend(endpoints.iter().map(|endpoint| endpoint["path"].as_str().unwrap()));
            }
        }
        assert_eq!(paths.len() > 2, name != "default", "{name}");
        for path in paths {
            let status = exporter.get(path).await.status();
            assert!(status == 200 || path.ends_with("/ready") && status == 503, "{name}: {path}");
        }
        let ingresses = of_kind(objects, "Ingress");
        let ingress = ingresses.first().map(|ingress| {
            ingress["spec"]["rules"][0]["http"]["paths"][0]["path"].as_str().unwrap()
        });
        assert_eq!(ingress, external, "{name}");
    }
}

#[test]
fn a_second_job_scrapes_devices() {
    let Some(rendered) = rendered() else { return };
    let monitor = of_kind(&rendered["devices apart"], "ServiceMonitor")[0];
    assert_eq!(monitor["metadata"]["namespace"], "observe");
    let spec = &monitor["spec"];
    assert_eq!(spec["namespaceSelector"], json!({"matchNames": ["monitoring"]}));
    assert_eq!((&spec["sampleLimit"], &spec["targetLabels"]), (&json!(50_000), &json!(["team"])));
    let endpoints = spec["endpoints"].as_array().unwrap();
    let cluster = json!({"targetLabel": "cluster", "replacement": "one"});
    let expected = [
        ("wickr-exporter", "1m", json!(["network", "user", "exporter"])),
        ("wickr-exporter-devices", "2m", json!(["device"])),
    ];
    assert_eq!(endpoints.len(), expected.len());
    for (endpoint, (job, interval, groups)) in endpoints.iter().zip(expected) {
        let job = json!({"targetLabel": "job", "replacement": job});
        assert_eq!(endpoint["relabelings"], json!([job, cluster]));
        assert_eq!(endpoint["interval"], interval);
        assert_eq!(endpoint["params"], json!({ "collect[]": groups }));
        assert_eq!(endpoint["honorLabels"], true);
    }
}

#[test]
fn existing_configuration_replaces_that_of_the_chart() {
    let Some(rendered) = rendered() else { return };
    let volume = |name: &str| &workload(&rendered[name])["spec"]["template"]["spec"]["volumes"][0];
    let map = json!({"name": "mine", "items": [{"key": "wickr.toml", "path": "config.toml"}]});
    assert_eq!(volume("existing config map")["configMap"], map);
    assert!(of_kind(&rendered["existing config map"], "ConfigMap").is_empty());
    let name = "existing config and tls";
    let secret = &volume(name)["secret"];
    assert_eq!((&secret["secretName"], &secret["defaultMode"]), (&json!("mine"), &json!(0o440)));
    let data = of_kind(&rendered[name], "ConfigMap")[0]["data"].as_object().unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["web-config.yml"]);
}

#[test]
fn openshift_can_assign_the_ids() {
    let Some(rendered) = rendered() else { return };
    let security = &workload(&rendered["openshift"])["spec"]["template"]["spec"]["securityContext"];
    let keys: Vec<_> = security.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["fsGroupChangePolicy", "runAsNonRoot", "seccompProfile"]);
    assert_eq!(container(&rendered["openshift"])["securityContext"].get("runAsUser"), None);
}

#[test]
fn extra_objects_are_rendered_as_templates() {
    let Some(chart) = Chart::find() else { return };
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {}}});
    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: text\n  labels:\n    \
                {{- include \"wickr-exporter.selectorLabels\" . | nindent 4 }}\n";
    let values = json!({"extraObjects": [object("{{ .Release.Name }}-keys"), text]});
    let text = chart.template(&values, &[]).unwrap();
    let objects = &chart.validate(&BTreeMap::from([("", text)])).unwrap()[""];
    let secrets = of_kind(objects, "Secret");
    assert_eq!(*secrets[0], object("wickr-exporter-keys"));
    let labels = &secrets[1]["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/instance"], "wickr-exporter");
}

#[test]
fn notes_say_that_the_image_must_be_set() {
    let Some(chart) = Chart::find() else { return };
    let notes = |values: Value| {
        let output = chart.run("install", &folder(), &values, &["--dry-run=client"]).unwrap();
        output.split("NOTES:").nth(1).unwrap().to_owned()
    };
    let part = "set image.repository";
    assert!(notes(json!({})).contains(part));
    assert!(!notes(json!({"image": {"repository": "example.com/wickr"}})).contains(part));
    let open = "makes its lists of users and devices available outside the cluster";
    let ingress = json!({"ingress": {"enabled": true, "hosts": [{"host": "a"}]}});
    assert!(notes(ingress).contains(open) && !notes(json!({})).contains(open));
}
