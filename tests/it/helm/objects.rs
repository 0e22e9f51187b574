//! Single objects of the chart, its notes and its README.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use super::render::{
    Chart, Objects, container, folder, of_kind, read, rendered, shipped, strings, workload,
};

#[test]
fn pods_are_restricted_and_mount_each_volume() {
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
                // Kubernetes does not update mounts with a subPath.
                for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                    assert!(mount.get("subPath").is_none(), "{name}: {mount}");
                }
            }
        }
        let mounts: Vec<_> = names(&container(objects)["volumeMounts"]);
        let spec = &workload(objects)["spec"];
        let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
        let claims = claims.map(|claim| claim["metadata"]["name"].as_str().unwrap());
        let mut volumes = names(&spec["template"]["spec"]["volumes"]);
        volumes.extend(claims);
        assert_eq!(sorted(mounts), sorted(volumes), "{name}");
    }
}

#[test]
fn selectors_match_the_exporters_pods_only() {
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
            assert!(!selects(selector, test), "{name}: {selector} matches the pod of helm test");
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
fn probes_and_monitors_use_tls_if_it_is_enabled() {
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
                let host = match (tls, name.as_str()) {
                    (true, "everything") => json!("wickr.example.com"),
                    (true, _) => json!(format!("{}.monitoring.svc", service.as_str().unwrap())),
                    (false, _) => Value::Null,
                };
                assert_eq!(endpoint["tlsConfig"]["serverName"], host, "{name}");
                let has_ca = endpoint["tlsConfig"]["ca"].is_object();
                assert_eq!(has_ca, name == "tls and passwords", "{name}");
                let job = if name == "everything" { "watch" } else { "wickr-exporter" };
                let job = json!({"targetLabel": "job", "replacement": job});
                assert_eq!(endpoint["relabelings"][0], job, "the alerts select this job");
            }
        }
        let arguments = strings(&container(objects)["args"]);
        let file = arguments.iter().find_map(|a| a.strip_prefix("--web.config.file="));
        assert_eq!(file.is_some(), tls, "{name}");
        let Some(file) = file else { continue };
        // One projected volume has the web configuration and the files that it refers to.
        let mounts = container(objects)["volumeMounts"].as_array().unwrap();
        let web = mounts.iter().find(|mount| mount["name"] == "web").unwrap();
        let key = file.strip_prefix(web["mountPath"].as_str().unwrap()).unwrap();
        let volumes = workload(objects)["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
        let web = volumes.iter().find(|volume| volume["name"] == "web").unwrap();
        let sources = web["projected"]["sources"].as_array().unwrap();
        if ["tls", "existing config and tls"].contains(&name.as_str()) {
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
fn rules_and_dashboards_are_those_of_deploy() {
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
        // `everything` changes the alerts.
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
        for (at, object) in names.iter().enumerate() {
            assert!(!names[..at].contains(object), "{name}: duplicate {object:?}");
        }
    }
}

#[test]
fn service_account_has_the_role_of_irsa_or_is_an_existing_one() {
    let Some(rendered) = rendered() else { return };
    let account =
        |name: &str| &workload(&rendered[name])["spec"]["template"]["spec"]["serviceAccountName"];
    let created = |name: &str| of_kind(&rendered[name], "ServiceAccount");
    let role = "eks.amazonaws.com/role-arn";
    assert_eq!(created("irsa")[0]["metadata"]["name"], *account("irsa"));
    assert_eq!(
        created("irsa")[0]["metadata"]["annotations"][role],
        "arn:aws-us-gov:iam::111122223333:role/path/wickr"
    );
    let region = json!([{"name": "AWS_REGION", "value": "us-gov-west-1"}]);
    assert_eq!(container(&rendered["irsa"])["env"], region);
    assert_eq!(created("default")[0]["metadata"].get("annotations"), None);
    assert!(created("pod identity").is_empty());
    assert_eq!(account("pod identity"), "wickr");
}

#[test]
fn configuration_is_not_interpreted_by_helm_or_yaml() {
    let Some(chart) = Chart::find() else { return };
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
fn network_policy_allows_prometheus_in_and_dns_and_https_out() {
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
    assert_eq!(ports, [53, 53, 5353, 5353, 443, 80]);
    assert!(rules.iter().all(|rule| rule.get("to").is_some() == (rule["ports"][0]["port"] == 80)));
}

#[test]
fn notes_show_the_next_steps() {
    let Some(chart) = Chart::find() else { return };
    let notes = |values: Value| {
        let options = ["--dry-run=client", "--namespace=watch"];
        let output = chart.run("install", &folder(), &values, &options).unwrap();
        output.split("NOTES:").nth(1).unwrap().to_owned()
    };
    let plain = notes(json!({}));
    for part in [
        "--namespace watch logs deployment/wickr-exporter",
        "check --iam-policy",
        "http://127.0.0.1:10471/:",
        "serviceMonitor.enabled",
        "web.tlsSecret",
        "serviceAccount.roleArn",
    ] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    let full = notes(json!({
        "shards": 2, "web": {"tlsSecret": "a"}, "serviceMonitor": {"enabled": true},
        "serviceAccount": {"roleArn": "arn:aws:iam::111122223333:role/a"},
    }));
    assert!(
        full.contains("statefulset/wickr-exporter") && full.contains("with 2 shards"),
        "{full}"
    );
    assert!(full.contains("https://127.0.0.1:10471"), "{full}");
    for part in ["serviceMonitor.enabled", "web.tlsSecret", "serviceAccount.roleArn"] {
        assert!(!full.contains(part), "{part}: {full}");
    }
}

#[test]
fn readme_lists_every_value_with_its_default() {
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
    let keys: Vec<_> = known.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(sorted(keys), rows.keys().copied().collect::<Vec<_>>());
    for (key, default) in &known {
        let documented = rows[key.as_str()];
        // Long defaults are described, not quoted.
        if documented.starts_with('`') {
            let plain = default.as_str().filter(|text| !text.is_empty());
            let default = plain.map_or_else(|| default.to_string(), str::to_owned);
            assert_eq!(documented.trim_matches('`'), default, "{key}");
        }
    }
}

/// The values in the schema with their defaults.
fn leaves(path: &str, value: &Value, schema: &Value, found: &mut Vec<(String, Value)>) {
    // Kubernetes defines the members of probes.
    let probe = path.ends_with("Probe");
    let Some(properties) = schema["properties"].as_object().filter(|_| !probe) else {
        found.push((path.to_owned(), value.clone()));
        return;
    };
    for (key, schema) in properties {
        // Defined by Helm and Kubernetes, without a default.
        if ["global", "claims"].contains(&key.as_str()) || path.is_empty() && key == "enabled" {
            continue;
        }
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        assert!(schema["description"].is_string(), "{path} has no description");
        let value = value.get(key).unwrap_or_else(|| panic!("{path} has no default"));
        leaves(&path, value, schema, found);
    }
}

#[test]
fn chart_has_the_version_of_the_program() {
    let chart = read(&folder().join("Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("\n{key}: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(chart.contains(&line), "{key}");
    }
}

/// The names of the items in a list.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}
