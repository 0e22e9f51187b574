//! The Helm chart and the plain manifest: rendered by the real Helm over many combinations of values,
//! held to Kubernetes' and the operator's schemas, and run with the arguments, environment and
//! configuration that come out. `render` does the former, `objects` looks at single objects.

mod objects;
pub mod render;

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

/// What the configuration says of a folder that only pods have.
const STATE: &str = "/var/lib/wickr-exporter";

#[test]
fn helm_finds_nothing_to_complain_of() {
    let Some(chart) = Chart::find() else { return };
    for (name, values) in matrix() {
        let said = chart.run("lint", &folder(), &values, &["--strict"]);
        assert!(said.is_ok(), "{name}: {}", said.unwrap_err());
    }
}

#[test]
fn the_judges_do_find_faults() {
    let Some(chart) = Chart::find() else { return };
    let good = [
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}",
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, \
         spec: {selector: {}, endpoints: [{interval: 1m}]}}",
    ];
    let spoil = |(part, bad): (&'static str, &'static str)| {
        let spoilt = good.iter().filter(|text| text.contains(part));
        (bad, spoilt.map(|text| text.replace(part, bad)).collect::<Vec<_>>().join("\n---\n"))
    };
    let bad = BTreeMap::from(
        [
            ("port: 1", "port: none"),
            ("ports", "prots"),
            ("spec: {ports", "spec: {x: 1, ports"),
            ("spec: {selector", "spec: {x: 1, selector"),
            ("interval: 1m", "interval: a minute"),
            ("interval", "intervall"),
        ]
        .map(spoil),
    );
    let faults = chart.judge(&bad).unwrap_err();
    for name in bad.keys() {
        assert!(
            faults.lines().any(|fault| fault.starts_with(&format!("{name}: "))),
            "{name}: {faults}"
        );
    }
    chart.judge(&BTreeMap::from([("good", good.join("\n---\n"))])).unwrap();
    let twice = good[0].replace("name: a", "name: a, name: b");
    assert!(chart.judge(&BTreeMap::from([("twice", twice)])).unwrap_err().contains("twice"));
}

#[test]
fn values_that_cannot_be_meant_are_refused_with_the_reason() {
    let Some(chart) = Chart::find() else { return };
    let id = "[[network]]\nid = 'all'\nusers = 'all'\n";
    for (values, reason) in [
        (json!({"shards": 0}), "at '/shards': minimum: got 0, want 1"),
        (json!({"shards": 1.5}), "at '/shards': got number, want integer"),
        (json!({"shard": 3}), "additional properties 'shard' not allowed"),
        (
            json!({"state": {"enable": true}}),
            "at '/state': additional properties 'enable' not allowed",
        ),
        (json!({"state": {"size": "1GB"}}), "at '/state/size': '1GB' does not match pattern"),
        (json!({"image": {"digest": "1234"}}), "at '/image/digest': '1234' does not match pattern"),
        (json!({"image": {"repository": ""}}), "at '/image/repository'"),
        (json!({"aws": {"region": "Ireland"}}), "at '/aws/region': 'Ireland' does not match"),
        (
            json!({"serviceAccount": {"roleArn": "wickr"}}),
            "at '/serviceAccount/roleArn': 'wickr' does",
        ),
        (json!({"monitor": {"kind": "Probe"}}), "must be one of 'ServiceMonitor', 'PodMonitor'"),
        (json!({"monitor": {"interval": "a minute"}}), "at '/monitor/interval'"),
        (json!({"log": {"level": "verbose"}}), "at '/log/level': value must be one of"),
        (json!({"service": {"port": 70000}}), "at '/service/port': maximum: got 70,000"),
        (json!({"podLabels": {"a": 1}}), "at '/podLabels/a': got number, want string"),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": 0}}),
            "at '/podDisruptionBudget/maxUnavailable'",
        ),
        (json!({"config": ""}), "at '/config'"),
        (json!({"config": {"network": []}}), "at '/config': got object, want string"),
        // What does not go together.
        (
            json!({"config": format!("{id}[shard]\nindex = 0\ntotal = 2"), "shards": 2}),
            "config: leave [shard] to the chart where shards is above 1",
        ),
        (
            json!({"config": format!("shard.total = 2\n{id}"), "shards": 2}),
            "leave [shard] to the chart",
        ),
        (
            json!({"config": format!("{id}[ state ]\npath = 'x'")}),
            "config: leave [state] to the chart, or set state.enabled to false",
        ),
        (
            json!({"shards": 2, "state": {"existingClaim": "mine"}}),
            "each shard needs a volume of its own",
        ),
        (
            json!({"state": {"enabled": false, "persistent": true}}),
            "state.persistent: needs state.enabled",
        ),
        (json!({"state": {"enabled": false, "existingClaim": "a"}}), "needs state.enabled"),
        (json!({"web": {"tls": true}}), "set web.tlsSecret"),
        (
            json!({"serviceAccount": {"create": false, "roleArn": "arn:aws:iam::111122223333:role/a"}}),
            "needs serviceAccount.create",
        ),
        (json!({"networkPolicy": {"enabled": true, "from": null}}), "say who may"),
        (
            json!({"monitor": {"interval": "1m", "scrapeTimeout": "1m1ms"}}),
            "monitor.scrapeTimeout: is above monitor.interval",
        ),
        (
            json!({"aws": {"region": "us-east-1"},
                   "extraEnv": [{"name": "AWS_REGION", "value": "us-west-2"}]}),
            "aws.region: is in extraEnv, too",
        ),
        (
            json!({"commonLabels": {"app.kubernetes.io/name": "mine"}}),
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        (
            json!({"podLabels": {"app.kubernetes.io/instance": "mine"}}),
            "invalid propertyName 'app.kubernetes.io/instance'",
        ),
        (json!({"prometheusRule": {"runbookUrl": "docs"}}), "at '/prometheusRule/runbookUrl'"),
        (
            json!({"prometheusRule": {"enabled": true, "disabled": ["WickrDeviceidle"]}}),
            "prometheusRule.disabled: there is no alert WickrDeviceidle",
        ),
    ] {
        let refused = chart.template(&values, &[]).expect_err(&values.to_string());
        assert!(refused.contains(reason), "{values}: {refused}");
    }
}

#[test]
fn the_exporter_takes_the_configuration_and_the_command_line() {
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
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(output.status.success(), "{name}: {said}");
            let total = workload(objects)["spec"]["replicas"].as_u64().unwrap();
            assert_eq!(said.contains("shard"), total > 1, "{name}: {said}");
        }
    }
}

/// What the volume with the web configuration holds, where there is one.
fn secrets(objects: &Objects, openssl: &Path, folder: &Path) {
    certificate(openssl, folder);
    std::fs::rename(folder.join("cert.pem"), folder.join("tls.crt")).unwrap();
    std::fs::rename(folder.join("key.pem"), folder.join("tls.key")).unwrap();
    let map = &of_kind(objects, "ConfigMap")[0]["data"]["web-config.yml"];
    let own = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n";
    for key in ["web-config.yml", "web.yml"] {
        std::fs::write(folder.join(key), map.as_str().unwrap_or(own)).unwrap();
    }
}

#[test]
fn the_pod_of_helm_test_asks_what_there_is() {
    let Some(rendered) = rendered() else { return };
    for (name, objects) in rendered {
        let pod = of_kind(objects, "Pod");
        let arguments = strings(&pod[0]["spec"]["containers"][0]["args"]);
        let service = of_kind(objects, "Service")[0];
        let host = service["metadata"]["name"].as_str().unwrap();
        // A name without an address leads to the pods, past the Service's ports.
        let port = match service["spec"]["clusterIP"] == "None" {
            true => &json!(10471),
            false => &service["spec"]["ports"][0]["port"],
        };
        let scheme = container(objects)["readinessProbe"]["httpGet"]["scheme"].as_str().unwrap();
        let url = format!("{}://{host}:{port}/-/ready", scheme.to_lowercase());
        assert_eq!(arguments[..2], ["health", &url], "{name}");
        // Nobody has that name here: that it is asked for shows that the arguments are good.
        let asked = program().args(arguments).arg("--timeout=2s").output().unwrap();
        assert_eq!(asked.status.code(), Some(1), "{name}: {asked:?}");
        assert!(String::from_utf8_lossy(&asked.stderr).starts_with(&url), "{name}: {asked:?}");
    }
}

/// Three shards, each as its pod would run it but for addresses and folders: together they see
/// everybody, once.
#[tokio::test(flavor = "multi_thread")]
async fn shards_run_as_they_are_rendered() {
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
    let mut seen = 0.0;
    for pod in pods(objects) {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let config = configuration(objects).replace(STATE, folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let environment: Vec<_> = pod.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let arguments = arguments(objects, folder.path());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let exporter = Exporter::start_in(folder, &arguments, &environment);
        let samples = exporter.polled(1.0).await;
        let devices = samples.sum("wickr_network_devices");
        assert!(devices > 0.0 && devices < 30.0, "{pod:?}: {devices}");
        seen += devices;
        for probe in ["livenessProbe", "readinessProbe"] {
            let path = container(objects)[probe]["httpGet"]["path"].as_str().unwrap();
            assert_eq!(exporter.get(path).await.status(), 200, "{probe}");
        }
        exporter.signal("TERM");
        let until = std::time::Instant::now() + crate::harness::PATIENCE;
        while !state.exists() {
            assert!(std::time::Instant::now() < until, "it never writes its state");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert_eq!(seen, 30.0);
}

#[test]
fn the_archive_holds_what_the_links_lead_to() {
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
    let packed = chart.run("template", &archive, values, &[]).unwrap();
    assert_eq!(packed, chart.template(values, &[]).unwrap());
    assert!(packed.contains("kind: PrometheusRule"));
}

#[test]
fn checkov_knows_no_weakness() {
    let Some(checkov) = tools::find("checkov") else { return };
    let Some(chart) = Chart::find() else { return };
    // Checkov passes over folders whose names begin with a dot, as temporary ones do.
    let directory = tempfile::Builder::new().prefix("chart").tempdir().unwrap();
    for name in ["default", "sharded", "tls and passwords", "service monitor"] {
        let mut values = matrix()[name].clone();
        values["networkPolicy"]["enabled"] = json!(true);
        // The pod of `helm test` ends by itself, and so has no probes.
        let text = chart.template(&values, &["--skip-tests"]).unwrap();
        std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let skipped = [
        "CKV_K8S_21", // the namespace is for whoever installs it to say
        "CKV_K8S_11", // a limit on CPU only makes scrapes slow; requests are set
        "CKV_K8S_15", // IfNotPresent: versions do not change, and Always is a value away
        "CKV_K8S_43", // a digest is for whoever builds the image to say
    ];
    let output = Command::new(checkov)
        .env("CKV_SKIP_PACKAGE_UPDATE_CHECK", "true")
        .args(["--quiet", "--compact", "--skip-download", "--framework=kubernetes"])
        .args(["--output=json", "--skip-check", &skipped.join(","), "--directory"])
        .arg(directory.path())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{said:#}");
    assert!(said["summary"]["passed"].as_u64().is_some_and(|passed| passed > 200), "{said:#}");
}

/// `deploy/kubernetes` is the chart without Helm. UPDATE_GOLDEN=1 writes it anew.
#[test]
fn the_plain_manifest_is_what_the_chart_says() {
    let Some(chart) = Chart::find() else { return };
    let text = chart.template(&json!({}), &["--skip-tests"]).unwrap();
    let of_helm = ["# Source: ", "helm.sh/chart:", "app.kubernetes.io/managed-by:"];
    let lines = text.lines().filter(|line| !of_helm.iter().any(|part| line.contains(part)));
    let lines: Vec<_> = lines.map(str::trim_end).skip_while(|line| *line == "---").collect();
    let text = format!(
        "# wickr-exporter on Kubernetes without Helm: what the chart in deploy/helm renders without values.\n\
         # In a copy of it, put your own configuration into the ConfigMap and your own image into the\n\
         # Deployment, or let kustomize do so, as deploy/README.md shows. A test writes this file.\n{}\n",
        lines.join("\n")
    );
    let file = shipped("kubernetes/wickr-exporter.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(
        read(&file) == text,
        "run UPDATE_GOLDEN=1 cargo test plain_manifest, and look at what changes"
    );
}

#[test]
fn kustomize_takes_it_as_a_base() {
    let (Some(kubectl), Some(chart)) = (tools::find("kubectl"), Chart::find()) else { return };
    let build = |folder: &Path| {
        let output = Command::new(&kubectl).arg("kustomize").arg(folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let base = build(&shipped("kubernetes"));
    // The overlay of deploy/README.md, with the paths of this test.
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
    let judged = chart.judge(&BTreeMap::from([("base", base), ("overlay", text)])).unwrap();
    let objects = &judged["overlay"];
    assert_eq!(objects.len(), judged["base"].len());
    let map = of_kind(objects, "ConfigMap")[0];
    assert_eq!(map["data"]["config.toml"], config);
    let volume = &workload(objects)["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"];
    assert_eq!(*volume, map["metadata"]["name"], "it is mounted under the name that it has");
    let account = of_kind(objects, "ServiceAccount")[0];
    assert!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].is_string());
    assert_ne!(container(objects)["image"], container(&judged["base"])["image"]);
    for object in objects {
        assert_eq!(object["metadata"]["namespace"], "monitoring", "{object}");
    }
}

#[test]
fn the_operator_takes_the_way_to_slack() {
    let Some(chart) = Chart::find() else { return };
    let readme = read(&shipped("README.md"));
    let example = readme.split("   # alertmanagerconfig.yaml\n").nth(1).unwrap();
    let example = example.split("   ```").next().unwrap();
    let lines = example.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
    let example = lines.collect::<Vec<_>>().join("\n");
    chart.judge(&BTreeMap::from([("slack", example.clone())])).unwrap();
    let spoilt = example.replace("slackConfigs", "slackConfig");
    assert!(chart.judge(&BTreeMap::from([("slack", spoilt)])).is_err());
}

/// The exporter's configuration among the objects.
fn configuration(objects: &Objects) -> String {
    let mut maps = of_kind(objects, "ConfigMap").into_iter();
    maps.find_map(|map| map["data"]["config.toml"].as_str()).unwrap().to_owned()
}

/// The container's arguments, but for those that only a pod can follow, and with `folder` in place of
/// the volume with the web configuration.
fn arguments(objects: &Objects, folder: &Path) -> Vec<String> {
    let mut arguments = strings(&container(objects)["args"]);
    for only in ["--config.file=/etc/wickr-exporter/config.toml", "--web.listen-address=:10471"] {
        let at = arguments.iter().position(|argument| *argument == only);
        arguments.remove(at.unwrap_or_else(|| panic!("{only} is not in {arguments:?}")));
    }
    let folder = folder.to_str().unwrap();
    arguments.iter().map(|argument| argument.replace("/etc/wickr-exporter-web", folder)).collect()
}

/// For each pod the environment that the manifest gives it.
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
