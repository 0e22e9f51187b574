//! The Helm chart and the plain manifest. `render` renders many combinations of values and validates
//! them against the schemas of Kubernetes and the Prometheus Operator; `objects` tests single objects,
//! `options` those that are off by default, `alerts` the rules, and `values` rejected values.
//! The program runs with the rendered arguments, environment and configuration.

mod alerts;
mod objects;
mod options;
pub mod render;
mod values;

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Value, json};
use wickr_exporter::simulator::{Fleet, device, network, user};

use self::render::{
    Chart, Objects, container, folder, matrix, of_kind, read, rendered, shipped, strings, workload,
};
use crate::{
    harness::{Exporter, program, serving},
    health::certificate,
    tools,
};

/// The folder of the state file in a pod.
const STATE: &str = "/var/lib/wickr-exporter";

#[test]
fn helm_lint_accepts_all_values() {
    let Some(chart) = Chart::find() else { return };
    for (name, values) in matrix() {
        let result = chart.run("lint", &folder(), &values, &["--strict"]);
        assert!(result.is_ok(), "{name}: {}", result.unwrap_err());
    }
}

/// Shows that the other tests can fail.
#[test]
fn validation_finds_invalid_objects() {
    let Some(chart) = Chart::find() else { return };
    let valid = [
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}",
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, \
         spec: {selector: {}, endpoints: [{interval: 1m}]}}",
    ];
    let replace = |(part, bad): (&'static str, &'static str)| {
        let texts = valid.iter().filter(|text| text.contains(part));
        (bad, texts.map(|text| text.replace(part, bad)).collect::<Vec<_>>().join("\n---\n"))
    };
    let invalid = BTreeMap::from(
        [
            ("port: 1", "port: none"),
            ("ports", "prots"),
            ("spec: {ports", "spec: {x: 1, ports"),
            ("spec: {selector", "spec: {x: 1, selector"),
            ("interval: 1m", "interval: a minute"),
            ("interval", "intervall"),
        ]
        .map(replace),
    );
    let errors = chart.validate(&invalid).unwrap_err();
    for name in invalid.keys() {
        assert!(
            errors.lines().any(|error| error.starts_with(&format!("{name}: "))),
            "{name}: {errors}"
        );
    }
    chart.validate(&BTreeMap::from([("valid", valid.join("\n---\n"))])).unwrap();
    let duplicate = valid[0].replace("name: a", "name: a, name: b");
    let errors = chart.validate(&BTreeMap::from([("duplicate", duplicate)])).unwrap_err();
    assert!(errors.contains("duplicate"));
}

#[test]
fn check_accepts_the_configuration_arguments_and_environment_of_each_pod() {
    let (Some(rendered), Some(openssl)) = (rendered(), tools::find("openssl")) else { return };
    for (name, objects) in rendered {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, configuration(objects)).unwrap();
        secrets(objects, &openssl, folder.path());
        let mut check = program();
        check.env("AWS_REGION", "us-east-1").arg("check").args(arguments(objects, folder.path()));
        check.arg(format!("--config.file={}", file.display()));
        for pod in pods(objects) {
            let output = check.envs(pod).output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(output.status.success(), "{name}: {text}");
            let total = workload(objects)["spec"]["replicas"].as_u64().unwrap();
            assert_eq!(text.contains("Shard "), total > 1, "{name}: {text}");
        }
    }
}

/// Writes the files of the volume with the web configuration.
fn secrets(objects: &Objects, openssl: &Path, folder: &Path) {
    certificate(openssl, folder);
    std::fs::rename(folder.join("cert.pem"), folder.join("tls.crt")).unwrap();
    std::fs::rename(folder.join("key.pem"), folder.join("tls.key")).unwrap();
    let mut maps = of_kind(objects, "ConfigMap").into_iter();
    let map = maps.find_map(|map| map["data"]["web-config.yml"].as_str());
    let default = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n";
    for key in ["web-config.yml", "web.yml"] {
        std::fs::write(folder.join(key), map.unwrap_or(default)).unwrap();
    }
}

#[test]
fn helm_test_pod_requests_the_service() {
    let Some(rendered) = rendered() else { return };
    for (name, objects) in rendered {
        let pod = of_kind(objects, "Pod");
        let arguments = strings(&pod[0]["spec"]["containers"][0]["args"]);
        let service = of_kind(objects, "Service")[0];
        let host = service["metadata"]["name"].as_str().unwrap();
        // A headless service resolves to the pods, and its ports do not apply.
        let port = match service["spec"]["clusterIP"] == "None" {
            true => &json!(10471),
            false => &service["spec"]["ports"][0]["port"],
        };
        let scheme = container(objects)["readinessProbe"]["httpGet"]["scheme"].as_str().unwrap();
        let path = container(objects)["readinessProbe"]["httpGet"]["path"].as_str().unwrap();
        let url = format!("{}://{host}:{port}{path}", scheme.to_lowercase());
        assert_eq!(arguments[..2], ["health", &url], "{name}");
        // The failed request shows that the arguments are valid.
        let health = program().args(arguments).arg("--timeout=2s").output().unwrap();
        assert_eq!(health.status.code(), Some(1), "{name}: {health:?}");
        assert!(String::from_utf8_lossy(&health.stderr).starts_with(&url), "{name}: {health:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rendered_shards_poll_every_user_once() {
    let Some(chart) = Chart::find() else { return };
    let users = (1001..1031).map(|id| user(id.to_string()).device(device(format!("d{id}"))));
    let simulator =
        serving(Fleet::new().network(users.fold(network("12345678"), |n, u| n.user(u)))).await;
    let config = format!(
        "[aws]\nregion = 'us-east-1'\nendpoint_url = '{}'\n[poll]\ninterval = '1s'\n\
         [[network]]\nid = 'all'\nusers = 'all'\n",
        simulator.endpoint()
    );
    let text = chart.template(&json!({"config": config, "shards": 3}), &[]).unwrap();
    let objects = &chart.objects(&BTreeMap::from([("", text)]))[""];
    let mut total = 0.0;
    for pod in pods(objects) {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.12345678");
        let config = configuration(objects).replace(STATE, folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let environment: Vec<_> = pod.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let arguments = arguments(objects, folder.path());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let exporter = Exporter::start_in(folder, &arguments, &environment);
        let samples = exporter.polled(1.0).await;
        let devices = samples.sum("wickr_network_devices");
        assert!(devices > 0.0 && devices < 30.0, "{pod:?}: {devices}");
        total += devices;
        for probe in ["livenessProbe", "readinessProbe"] {
            let path = container(objects)[probe]["httpGet"]["path"].as_str().unwrap();
            assert_eq!(exporter.get(path).await.status(), 200, "{probe}");
        }
        exporter.signal("TERM");
        let deadline = std::time::Instant::now() + crate::harness::TIMEOUT;
        while !state.exists() {
            assert!(std::time::Instant::now() < deadline, "no state file");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert_eq!(total, 30.0);
}

#[test]
fn packaged_chart_renders_like_the_folder() {
    let Some(chart) = Chart::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let package = Command::new(&chart.helm)
        .args(["package".as_ref(), folder().as_os_str(), "--destination".as_ref()])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(package.status.success(), "{package:?}");
    let archive = directory.path().read_dir().unwrap().next().unwrap().unwrap().path();
    let values = &matrix()["everything"];
    let rendered = chart.run("template", &archive, values, &[]).unwrap();
    assert_eq!(rendered, chart.template(values, &[]).unwrap());
    assert!(rendered.contains("kind: PrometheusRule"));
}

#[test]
fn checkov_finds_no_problem() {
    let Some(checkov) = tools::find("checkov") else { return };
    let Some(chart) = Chart::find() else { return };
    // Checkov ignores folders with a leading dot, as in default temporary names.
    let directory = tempfile::Builder::new().prefix("chart").tempdir().unwrap();
    for name in ["default", "sharded", "tls and passwords", "service monitor"] {
        let mut values = matrix()[name].clone();
        values["networkPolicy"]["enabled"] = json!(true);
        // The pod of `helm test` ends by itself, and has no probes.
        let text = chart.template(&values, &["--skip-tests"]).unwrap();
        std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let skipped = [
        "CKV_K8S_21", // the user sets the namespace
        "CKV_K8S_11", // a CPU limit only slows scrapes; requests are set
        "CKV_K8S_15", // IfNotPresent suffices for immutable tags; image.pullPolicy can be Always
        "CKV_K8S_43", // the user sets the digest
    ];
    let output = Command::new(checkov)
        .env("CKV_SKIP_PACKAGE_UPDATE_CHECK", "true")
        .args(["--quiet", "--compact", "--skip-download", "--framework=kubernetes"])
        .args(["--output=json", "--skip-check", &skipped.join(","), "--directory"])
        .arg(directory.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert!(report["summary"]["passed"].as_u64().is_some_and(|count| count > 200), "{report:#}");
}

/// `UPDATE_GOLDEN=1` updates the file.
#[test]
fn plain_manifest_is_the_chart_with_default_values() {
    let Some(chart) = Chart::find() else { return };
    let text = chart.template(&json!({}), &["--skip-tests"]).unwrap();
    let helm_only = ["# Source: ", "helm.sh/chart:", "app.kubernetes.io/managed-by:"];
    let lines = text.lines().filter(|line| !helm_only.iter().any(|part| line.contains(part)));
    let lines: Vec<_> = lines.map(str::trim_end).skip_while(|line| *line == "---").collect();
    let text = format!(
        "# wickr-exporter on Kubernetes without Helm: the output of the chart in deploy/helm with its\n\
         # default values. Set your configuration in the ConfigMap and your image in the Deployment of a\n\
         # copy, or use kustomize as in deploy/README.md. Generated: do not edit.\n{}\n",
        lines.join("\n")
    );
    let file = shipped("kubernetes/wickr-exporter.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(
        read(&file) == text,
        "run UPDATE_GOLDEN=1 cargo test plain_manifest, and review the changes"
    );
}

#[test]
fn kustomize_builds_the_manifest_and_the_overlay_of_the_readme() {
    let (Some(kubectl), Some(chart)) = (tools::find("kubectl"), Chart::find()) else { return };
    let build = |folder: &Path| {
        let output = Command::new(&kubectl).arg("kustomize").arg(folder).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    };
    let base = build(&shipped("kubernetes"));
    let readme = read(&shipped("README.md"));
    let overlay = readme.split("```yaml\n# kustomization.yaml\n").nth(1).unwrap();
    let overlay = overlay.split("```").next().unwrap();
    let directory = tempfile::tempdir_in(shipped("")).unwrap();
    let link = "../wickr-exporter/deploy/kubernetes";
    assert!(overlay.contains(link));
    let config = "[aws]\nregion = \"us-east-1\"\n[[network]]\nid = \"12345678\"\nusers = \"all\"\n";
    std::fs::write(directory.path().join("config.toml"), config).unwrap();
    std::fs::write(
        directory.path().join("kustomization.yaml"),
        overlay.replace(link, "../kubernetes"),
    )
    .unwrap();
    let text = build(directory.path());
    let built = chart.validate(&BTreeMap::from([("base", base), ("overlay", text)])).unwrap();
    let objects = &built["overlay"];
    assert_eq!(objects.len(), built["base"].len());
    let map = of_kind(objects, "ConfigMap")[0];
    assert_eq!(map["data"]["config.toml"], config);
    let volume = &workload(objects)["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"];
    assert_eq!(*volume, map["metadata"]["name"], "name of the mounted ConfigMap");
    let account = of_kind(objects, "ServiceAccount")[0];
    assert!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].is_string());
    assert_ne!(container(objects)["image"], container(&built["base"])["image"]);
    for object in objects {
        assert_eq!(object["metadata"]["namespace"], "monitoring", "{object}");
    }
}

#[test]
fn alertmanagerconfig_of_the_readme_matches_the_operators_schema() {
    let Some(chart) = Chart::find() else { return };
    let readme = read(&shipped("README.md"));
    let example = readme.split("   # alertmanagerconfig.yaml\n").nth(1).unwrap();
    let example = example.split("   ```").next().unwrap();
    let lines = example.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
    let example = lines.collect::<Vec<_>>().join("\n");
    chart.validate(&BTreeMap::from([("slack", example.clone())])).unwrap();
    let invalid = example.replace("slackConfigs", "slackConfig");
    assert!(chart.validate(&BTreeMap::from([("slack", invalid)])).is_err());
}

/// The configuration in the ConfigMap, or one with the tables that an existing one must have.
fn configuration(objects: &Objects) -> String {
    let mut existing = "[[network]]\nid = 'all'\nusers = 'all'\n".to_owned();
    if workload(objects)["kind"] == "StatefulSet" {
        existing += "[shard]\nindex = 'auto'\ntotal = 'auto'\n";
    }
    let mut maps = of_kind(objects, "ConfigMap").into_iter();
    let own = maps.find_map(|map| map["data"]["config.toml"].as_str());
    let volumes = &workload(objects)["spec"]["template"]["spec"]["volumes"];
    let source = &volumes[0];
    let is_existing =
        source["configMap"]["name"] == "mine" || source["secret"]["secretName"] == "mine";
    assert_eq!(own.is_none(), is_existing, "{source}");
    own.map_or(existing, str::to_owned)
}

/// The container's arguments without paths and addresses of the pod, and with `folder` as the volume
/// with the web configuration.
fn arguments(objects: &Objects, folder: &Path) -> Vec<String> {
    let mut arguments = strings(&container(objects)["args"]);
    for removed in ["--config.file=/etc/wickr-exporter/config.toml", "--web.listen-address=:10471"]
    {
        let at = arguments.iter().position(|argument| *argument == removed);
        arguments.remove(at.unwrap_or_else(|| panic!("{removed} is not in {arguments:?}")));
    }
    let folder = folder.to_str().unwrap();
    // Kubernetes replaces the reference to the variable.
    let replace = |argument: &&str| {
        argument.replace("/etc/wickr-exporter-web", folder).replace("$(HOSTNAME)", "watch-0")
    };
    arguments.iter().map(replace).collect()
}

/// The environment of each pod.
fn pods(objects: &Objects) -> Vec<Vec<(String, String)>> {
    let workload = workload(objects);
    let name = workload["metadata"]["name"].as_str().unwrap();
    let variables = container(objects)["env"].as_array().into_iter().flatten();
    let variables: Vec<_> = variables.collect();
    let pod = |ordinal: u64| {
        let value = |variable: &Value| match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str()
        {
            Some("metadata.name") => format!("{name}-{ordinal}"),
            Some(other) => panic!("{other}"),
            None => variable["value"].as_str().unwrap().to_owned(),
        };
        let name = |variable: &Value| variable["name"].as_str().unwrap().to_owned();
        variables.iter().map(|variable| (name(variable), value(variable))).collect()
    };
    (0..workload["spec"]["replicas"].as_u64().unwrap()).map(pod).collect()
}
