//! Single objects of the chart, and what its documentation says of its values.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use super::render::{
    Chart, Objects, container, folder, of_kind, read, rendered, shipped, strings, workload,
};

#[test]
fn every_pod_is_restricted_and_every_mount_follows_its_source() {
    let Some(rendered) = rendered() else { return };
    for (name, objects) in rendered {
        let pods =
            [&workload(objects)["spec"]["template"]["spec"], &of_kind(objects, "Pod")[0]["spec"]];
        for pod in pods {
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{name}"
            );
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                for mount in mounts {
                    assert!(mount.get("subPath").is_none(), "{name}: {mount}");
                }
            }
        }
        let mounts: Vec<_> = named(&container(objects)["volumeMounts"]);
        let spec = &workload(objects)["spec"];
        let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
        let claims = claims.map(|claim| claim["metadata"]["name"].as_str().unwrap());
        let mut volumes = named(&spec["template"]["spec"]["volumes"]);
        volumes.extend(claims);
        assert_eq!(sorted(mounts), sorted(volumes), "{name}: each volume is mounted");
    }
}

#[test]
fn selectors_find_the_pods_and_ports_have_names() {
    let Some(rendered) = rendered() else { return };
    for (name, objects) in rendered {
        let pod = &workload(objects)["spec"]["template"]["metadata"]["labels"];
        let selects = |selector: &Value, labels: &Value| {
            let selector = selector.as_object().unwrap();
            !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
        };
        let service = of_kind(objects, "Service")[0];
        let mut selectors = vec![&service["spec"]["selector"]];
        selectors.push(&workload(objects)["spec"]["selector"]["matchLabels"]);
        for kind in ["PodMonitor", "PodDisruptionBudget"] {
            selectors.extend(
                of_kind(objects, kind).iter().map(|o| &o["spec"]["selector"]["matchLabels"]),
            );
        }
        let policies = of_kind(objects, "NetworkPolicy");
        selectors.extend(policies.iter().map(|o| &o["spec"]["podSelector"]["matchLabels"]));
        let test = &of_kind(objects, "Pod")[0]["metadata"]["labels"];
        for selector in selectors {
            assert!(selects(selector, pod), "{name}: {selector}");
            assert!(!selects(selector, test), "{name}: {selector} finds the pod of helm test");
        }
        for monitor in of_kind(objects, "ServiceMonitor") {
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            assert!(selects(selector, &service["metadata"]["labels"]), "{name}: {selector}");
        }
        assert_eq!(
            service["spec"]["ports"][0]["targetPort"],
            container(objects)["ports"][0]["name"]
        );
        let sharded = workload(objects)["kind"] == "StatefulSet";
        assert_eq!(service["spec"]["clusterIP"] == "None", sharded, "{name}");
        if sharded {
            assert_eq!(workload(objects)["spec"]["serviceName"], service["metadata"]["name"]);
        }
    }
}

#[test]
fn rules_go_along_but_for_those_that_are_not_wanted() {
    let Some(rendered) = rendered() else { return };
    let alerts = |name: &str| {
        let groups = &of_kind(&rendered[name], "PrometheusRule")[0]["spec"]["groups"];
        let rules = groups.as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap());
        let alerts = rules.filter(|rule| rule["alert"].is_string());
        let alerts = alerts.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone()));
        alerts.collect::<BTreeMap<_, _>>()
    };
    let (all, some) = (alerts("service monitor"), alerts("everything"));
    assert!(all.len() > 20);
    for (name, shipped) in &all {
        let at = format!("runbooks.md#{}", name.to_lowercase());
        assert_eq!(shipped["annotations"]["runbook_url"], format!("docs/{at}"));
        let Some(kept) = some.get(name) else {
            assert!(["WickrDeviceIdle", "WickrThrottled"].contains(&name.as_str()), "{name}");
            continue;
        };
        let url = json!(format!("https://git.example.com/{at}"));
        let mut expected = shipped.clone();
        expected["annotations"]["runbook_url"] = url;
        assert_eq!(*kept, expected, "{name}");
    }
    assert_eq!(some.len() + 2, all.len());
}

#[test]
fn tls_is_known_to_all_who_connect() {
    let Some(rendered) = rendered() else { return };
    for (name, objects) in rendered {
        let tls = name.contains("tls") || name.contains("secret") || name == "everything";
        let scheme = if tls { "https" } else { "http" };
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &container(objects)[probe]["httpGet"];
            assert_eq!(get["scheme"], scheme.to_uppercase(), "{name}");
            assert_eq!(get["port"], container(objects)["ports"][0]["name"], "{name}");
        }
        for kind in ["ServiceMonitor", "PodMonitor"] {
            for monitor in of_kind(objects, kind) {
                let key = if kind == "PodMonitor" { "podMetricsEndpoints" } else { "endpoints" };
                let endpoint = &monitor["spec"][key][0];
                assert_eq!(endpoint["scheme"], scheme, "{name}");
                let service = &of_kind(objects, "Service")[0]["metadata"]["name"];
                let given = "wickr.example.com";
                let host = match (tls, name.as_str()) {
                    (true, "everything") => json!(given),
                    (true, _) => json!(format!("{}.monitoring.svc", service.as_str().unwrap())),
                    (false, _) => Value::Null,
                };
                assert_eq!(endpoint["tlsConfig"]["serverName"], host, "{name}");
                let is_own = endpoint["tlsConfig"]["ca"].is_object();
                assert_eq!(is_own, name == "tls and passwords", "{name}");
                let job = json!({"targetLabel": "job", "replacement": "wickr-exporter"});
                assert_eq!(endpoint["relabelings"][0], job, "the alerts go by it");
            }
        }
        let arguments = strings(&container(objects)["args"]);
        let file = arguments.iter().find_map(|a| a.strip_prefix("--web.config.file="));
        assert_eq!(file.is_some(), tls, "{name}");
        let Some(file) = file else { continue };
        // The file and what it names lie in one folder, from wherever each of them comes.
        let mounts = container(objects)["volumeMounts"].as_array().unwrap();
        let web = mounts.iter().find(|mount| mount["name"] == "web").unwrap();
        let key = file.strip_prefix(web["mountPath"].as_str().unwrap()).unwrap();
        let volumes = workload(objects)["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
        let web = volumes.iter().find(|volume| volume["name"] == "web").unwrap();
        let sources = web["projected"]["sources"].as_array().unwrap();
        if name == "tls" {
            let map = of_kind(objects, "ConfigMap")[0];
            let text = map["data"][key.trim_start_matches('/')].as_str().unwrap();
            assert_eq!(text, "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n");
            assert_eq!(sources[0]["configMap"]["name"], map["metadata"]["name"]);
        } else {
            assert_eq!(sources[0]["secret"]["name"], "web", "{name}");
        }
        let certificate = sources.iter().any(|s| s["secret"]["name"] == "certificate");
        assert_eq!(certificate, name != "all in one secret", "{name}");
    }
}

#[test]
fn rules_and_dashboards_are_the_shipped_ones() {
    let (Some(rendered), Some(chart)) = (rendered(), Chart::find()) else { return };
    let files = |folder: &str, end: &str| -> Vec<PathBuf> {
        let files = fs::read_dir(shipped(folder)).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|file| file.to_str().unwrap().ends_with(end));
        sorted(files.collect())
    };
    for name in ["service monitor", "pod monitor", "everything"] {
        let objects = &rendered[name];
        let rules = of_kind(objects, "PrometheusRule");
        let shipped = files("prometheus", ".rules.yml");
        let texts: Vec<String> = shipped.iter().map(|file| read(file)).collect();
        let texts: BTreeMap<_, _> =
            shipped.iter().map(|f| f.to_str().unwrap()).zip(texts).collect();
        let parsed = chart.objects(&texts);
        assert!(!parsed.is_empty());
        let specs: Vec<_> = rules.iter().map(|rule| &rule["spec"]).collect();
        // There, some are left out: see above.
        let all = parsed.values().map(|file| &file[0]).collect::<Vec<_>>();
        assert_eq!(specs == all, name != "everything", "{name}");

        let dashboards = files("grafana", ".json");
        assert!(!dashboards.is_empty());
        for file in dashboards {
            let key = file.file_name().unwrap().to_str().unwrap();
            let maps = of_kind(objects, "ConfigMap");
            let data = maps.iter().find_map(|map| map["data"][key].as_str()).expect(key);
            assert_eq!(data.trim_end(), read(&file).trim_end());
        }
        let names: Vec<_> = objects.iter().map(|o| (&o["kind"], &o["metadata"]["name"])).collect();
        for (at, one) in names.iter().enumerate() {
            assert!(!names[..at].contains(one), "{name}: {one:?} stands twice");
        }
    }
}

#[test]
fn credentials_come_in_the_way_that_was_chosen() {
    let Some(rendered) = rendered() else { return };
    let account =
        |name: &str| &workload(&rendered[name])["spec"]["template"]["spec"]["serviceAccountName"];
    let made = |name: &str| of_kind(&rendered[name], "ServiceAccount");
    let role = "eks.amazonaws.com/role-arn";
    assert_eq!(made("irsa")[0]["metadata"]["name"], *account("irsa"));
    assert_eq!(
        made("irsa")[0]["metadata"]["annotations"][role],
        "arn:aws-us-gov:iam::111122223333:role/path/wickr"
    );
    let region = json!([{"name": "AWS_REGION", "value": "us-gov-west-1"}]);
    assert_eq!(container(&rendered["irsa"])["env"], region);
    assert_eq!(made("default")[0]["metadata"].get("annotations"), None);
    assert!(made("pod identity").is_empty());
    assert_eq!(account("pod identity"), "wickr");
}

#[test]
fn the_configuration_reaches_the_exporter_as_it_is_written() {
    let Some(chart) = Chart::find() else { return };
    // What Helm or YAML could be tempted to read in it.
    let config = "# {{ .Values.x }} \"quoted\" 'single' \\ tab\there: - [a]\n\n[[network]]\n  id = \
                  \"all\"\nusers = \"all\"\nfilter = { username = '@example\\.com$' }\n[poll]\n\
                  concurrency = 16";
    let values = json!({"config": config, "state": {"enabled": false}});
    let text = chart.template(&values, &[]).unwrap();
    let objects = &chart.objects(&BTreeMap::from([("", text)]))[""];
    let map = of_kind(objects, "ConfigMap")[0];
    assert_eq!(map["data"]["config.toml"], format!("{config}\n"));
}

#[test]
fn the_network_policy_lets_prometheus_in_and_little_out() {
    let Some(chart) = Chart::find() else { return };
    let text = chart.template(&json!({"networkPolicy": {"enabled": true}}), &[]).unwrap();
    let objects: &Objects = &chart.objects(&BTreeMap::from([("", text)]))[""];
    let spec = &of_kind(objects, "NetworkPolicy")[0]["spec"];
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    let monitoring = json!({"namespaceSelector":
        {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    assert_eq!(spec["ingress"][0]["from"][0], monitoring);
    assert_eq!(spec["ingress"][0]["ports"][0]["port"], container(objects)["ports"][0]["name"]);
    let rules = spec["egress"].as_array().unwrap();
    let ports = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    let ports: Vec<_> = ports.map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [53, 53, 443, 80]);
    assert!(rules.iter().all(|rule| rule.get("to").is_some() == (rule["ports"][0]["port"] == 80)));
}

#[test]
fn the_notes_say_what_to_do_next() {
    let Some(chart) = Chart::find() else { return };
    let notes = |values: Value| {
        let options = ["--dry-run=client", "--namespace=watch"];
        let said = chart.run("install", &folder(), &values, &options).unwrap();
        said.split("NOTES:").nth(1).unwrap().to_owned()
    };
    let plain = notes(json!({}));
    for part in [
        "--namespace watch logs deployment/wickr-exporter",
        "check --iam-policy",
        "http://127.0.0.1:10471",
        "monitor.enabled",
        "web.tlsSecret",
        "serviceAccount.roleArn",
    ] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    let full = notes(json!({
        "shards": 2, "web": {"tlsSecret": "a"}, "monitor": {"enabled": true},
        "serviceAccount": {"roleArn": "arn:aws:iam::111122223333:role/a"},
    }));
    assert!(full.contains("statefulset/wickr-exporter") && full.contains("in 2 shards"), "{full}");
    assert!(full.contains("https://127.0.0.1:10471"), "{full}");
    for part in ["monitor.enabled", "web.tlsSecret", "serviceAccount.roleArn"] {
        assert!(!full.contains(part), "{part}: {full}");
    }
}

#[test]
fn the_readme_has_every_value_with_its_default() {
    let Some(chart) = Chart::find() else { return };
    let texts = BTreeMap::from([("", read(&folder().join("values.yaml")))]);
    let values = chart.objects(&texts).remove("").unwrap().remove(0);
    let schema: Value = serde_json::from_str(&read(&folder().join("values.schema.json"))).unwrap();
    let readme = read(&folder().join("README.md"));
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeMap<&str, &str> = rows
        .map(|row| {
            let (key, rest) = row.split_once("` | ").unwrap();
            (key, rest.split(" | ").next().unwrap())
        })
        .collect();
    let mut known = Vec::new();
    leaves("", &values, &schema, &mut known);
    let named: Vec<_> = known.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(sorted(named), rows.keys().copied().collect::<Vec<_>>());
    for (key, default) in &known {
        let said = rows[key.as_str()];
        // What is long is said in words.
        if said.starts_with('`') {
            let plain = default.as_str().filter(|text| !text.is_empty());
            let default = plain.map_or_else(|| default.to_string(), str::to_owned);
            assert_eq!(said.trim_matches('`'), default, "{key}");
        }
    }
}

/// The values that the schema knows one by one, with their defaults.
fn leaves(path: &str, value: &Value, schema: &Value, found: &mut Vec<(String, Value)>) {
    // Probes hold only what Kubernetes defines.
    let probe = path.ends_with("Probe");
    let Some(known) = schema["properties"].as_object().filter(|_| !probe) else {
        found.push((path.to_owned(), value.clone()));
        return;
    };
    for (key, schema) in known {
        // Of Helm and of Kubernetes, and without a default.
        if ["global", "claims"].contains(&key.as_str()) {
            continue;
        }
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        assert!(schema["description"].is_string(), "{path} is not described");
        let value = value.get(key).unwrap_or_else(|| panic!("{path} has no default"));
        leaves(&path, value, schema, found);
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = read(&folder().join("Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("\n{key}: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(chart.contains(&line), "{key}");
    }
}

/// The names of a list's items.
fn named(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}
