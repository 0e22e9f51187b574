//! Renders the chart with Helm, and parses and validates the result with Python.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use serde_json::{Value, json};

pub use crate::deploy::{read, shipped};
use crate::tools;

/// Finds the libraries without importing them, which takes seconds.
const HAS_LIBRARIES: &str = "import sys; from importlib.util import find_spec as find; sys.exit(not all(map(find, \
     ['yaml', 'kubernetes_validate', 'cloudcoil.models.prometheus_operator'])))";

/// The objects of a manifest.
pub type Objects = Vec<Value>;

/// The programs for the chart.
pub struct Chart {
    pub helm: PathBuf,
    manifests: &'static Manifests,
}

/// `manifests.py`. All tests share one process, because its imports take seconds.
struct Manifests(Mutex<(ChildStdin, BufReader<ChildStdout>)>);

impl Manifests {
    /// None if a library is missing.
    fn start(python: &Path) -> Option<Manifests> {
        let output = Command::new(python).args(["-c", HAS_LIBRARIES]).output().unwrap();
        if !output.status.success() {
            return None;
        }
        // It ends with this process, which closes its input.
        let Child { stdin, stdout, .. } = Command::new(python)
            .args(["-c", include_str!("manifests.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Manifests(Mutex::new((stdin.unwrap(), BufReader::new(stdout.unwrap())))))
    }

    fn read(
        &self,
        texts: &BTreeMap<&str, String>,
        validate: bool,
    ) -> Result<BTreeMap<String, Objects>, String> {
        let request = json!({ "texts": texts, "validate": validate });
        let mut response = String::new();
        {
            let (stdin, stdout) = &mut *self.0.lock().unwrap();
            stdin.write_all(format!("{request}\n").as_bytes()).unwrap();
            stdout.read_line(&mut response).unwrap();
        }
        serde_json::from_str(&response).unwrap()
    }
}

pub fn folder() -> PathBuf {
    shipped("helm/wickr-exporter")
}

impl Chart {
    pub fn find() -> Option<Chart> {
        static MANIFESTS: OnceLock<Option<Manifests>> = OnceLock::new();
        let helm = tools::find("helm")?;
        let python = tools::find("python3")?;
        let Some(manifests) = MANIFESTS.get_or_init(|| Manifests::start(&python)) else {
            tools::skip("python3 has no kubernetes-validate or cloudcoil");
            return None;
        };
        Some(Chart { helm, manifests })
    }

    /// `helm template` with these values; on error, Helm's message.
    pub fn template(&self, values: &Value, options: &[&str]) -> Result<String, String> {
        self.run("template", &folder(), values, options)
    }

    pub fn run(
        &self,
        command: &str,
        chart: &Path,
        values: &Value,
        options: &[&str],
    ) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        file.write_all(values.to_string().as_bytes()).unwrap();
        let mut helm = Command::new(&self.helm);
        helm.arg(command);
        if command != "lint" {
            helm.arg("wickr-exporter");
        }
        helm.arg(chart).args(options).arg("--values").arg(file.path());
        let output = helm.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stdout) + &text(output.stderr)),
        }
    }

    /// The objects of each manifest.
    pub fn objects(&self, texts: &BTreeMap<&str, String>) -> BTreeMap<String, Objects> {
        self.manifests.read(texts, false).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// As `objects`, validated against the schemas of Kubernetes and the operator.
    pub fn validate(
        &self,
        texts: &BTreeMap<&str, String>,
    ) -> Result<BTreeMap<String, Objects>, String> {
        self.manifests.read(texts, true)
    }
}

/// The validated objects of each combination of values, rendered once for all tests.
pub fn rendered() -> Option<&'static BTreeMap<String, Objects>> {
    static RENDERED: OnceLock<Option<BTreeMap<String, Objects>>> = OnceLock::new();
    let render = || {
        let chart = Chart::find()?;
        let render = |(name, values)| {
            let text = chart.template(&values, &["--namespace=monitoring"]);
            (name, text.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let texts = matrix().into_iter().map(render).collect();
        Some(chart.validate(&texts).unwrap_or_else(|errors| panic!("{errors}")))
    };
    RENDERED.get_or_init(render).as_ref()
}

pub fn of_kind<'a>(objects: &'a Objects, kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The Deployment or the StatefulSet.
pub fn workload(objects: &Objects) -> &Value {
    let found = [of_kind(objects, "Deployment"), of_kind(objects, "StatefulSet")].concat();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0]
}

pub fn container(objects: &Objects) -> &Value {
    &workload(objects)["spec"]["template"]["spec"]["containers"][0]
}

pub fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|item| item.as_str().unwrap()).collect()
}

/// Typical and extreme combinations of values.
pub fn matrix() -> BTreeMap<&'static str, Value> {
    let operator = |kind: &str| {
        json!({
            "serviceMonitor": {"enabled": true, "kind": kind, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}},
            "dashboards": {"enabled": true, "annotations": {"grafana_folder": "Wickr"}},
        })
    };
    BTreeMap::from([
        ("default", json!({})),
        ("sharded", json!({"shards": 3, "state": {"persistent": true, "size": "500Mi"}})),
        ("no state", json!({"state": {"enabled": false}})),
        ("a volume", json!({"state": {"persistent": true, "annotations": {"a": "b"}}})),
        ("an existing volume", json!({"state": {"existingClaim": "mine"}})),
        (
            "irsa",
            json!({
                "aws": {"region": "us-gov-west-1"},
                "serviceAccount": {"roleArn": "arn:aws-us-gov:iam::111122223333:role/path/wickr"},
            }),
        ),
        ("pod identity", json!({"serviceAccount": {"create": false, "name": "wickr"}})),
        ("tls", json!({"web": {"tlsSecret": "certificate"}})),
        (
            "tls and passwords",
            json!({
                "web": {"configSecret": "web", "configKey": "web.yml", "tlsSecret": "certificate"},
                "serviceMonitor": {
                    "enabled": true,
                    "tlsConfig": {"ca": {"secret": {"name": "authority", "key": "ca.crt"}}},
                    "basicAuth": {"username": {"name": "scrape", "key": "username"},
                                  "password": {"name": "scrape", "key": "password"}},
                },
            }),
        ),
        ("all in one secret", json!({"web": {"configSecret": "web", "tls": true}})),
        ("service monitor", operator("ServiceMonitor")),
        ("pod monitor", operator("PodMonitor")),
        ("existing config map", json!({"existingConfigMap": "mine", "configKey": "wickr.toml"})),
        (
            "existing config and tls",
            json!({"existingSecret": "mine", "web": {"tlsSecret": "certificate"}, "shards": 2}),
        ),
        (
            "ingress",
            json!({"ingress": {
                "enabled": true, "className": "nginx", "annotations": {"a": "b"}, "labels": {"c": "d"},
                "hosts": [{"host": "wickr.example.com"},
                          {"host": "example.com", "paths": [{"path": "/wickr", "pathType": "Exact"}]}],
                "tls": [{"secretName": "wickr-tls", "hosts": ["wickr.example.com"]}],
            }}),
        ),
        (
            "a prefix",
            json!({
                "web": {"externalUrl": "https://example.com/tools/wickr/"},
                "ingress": {"enabled": true, "hosts": [{"host": "example.com"}]},
                "serviceMonitor": {"enabled": true, "devices": {"enabled": true}},
            }),
        ),
        (
            "a removed prefix",
            json!({
                "web": {"externalUrl": "https://example.com/tools/wickr", "routePrefix": "/"},
                "ingress": {"enabled": true, "hosts": [{"host": "example.com"}]},
                "serviceMonitor": {"enabled": true, "kind": "PodMonitor"},
            }),
        ),
        (
            "openshift",
            json!({
                "podSecurityContext": {"runAsUser": null, "runAsGroup": null, "fsGroup": null},
                "networkPolicy": {"enabled": true},
            }),
        ),
        (
            "devices apart",
            json!({"enabled": true, "serviceMonitor": {
                "enabled": true, "namespace": "observe", "sampleLimit": 50_000,
                "honorLabels": true, "targetLabels": ["team"], "devices": {"enabled": true},
                "relabelings": [{"targetLabel": "cluster", "replacement": "one"}],
            }}),
        ),
        ("everything", everything()),
    ])
}

/// Every value differs from its default.
fn everything() -> Value {
    json!({
        "config": "[aws]\nregion = 'us-east-1'\n[metrics]\ndetail = 'network'\n[[network]]\n\
                   id = '12345678'\nusers = ['1001']",
        "shards": 2,
        "aws": {"region": "eu-central-1"},
        "image": {"repository": "registry.example.com/wickr-exporter", "tag": "1.2.3",
                  "digest": format!("sha256:{}", "0123456789abcdef".repeat(4)),
                  "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "wickr", "fullnameOverride": "watch", "commonLabels": {"team": "it"},
        "serviceAccount": {"create": true, "name": "watcher", "annotations": {"a": "b"},
                           "roleArn": "arn:aws:iam::111122223333:role/wickr"},
        "state": {"enabled": true, "persistent": true, "size": "2Gi", "storageClassName": "gp3",
                  "accessModes": ["ReadWriteOncePod"], "annotations": {"a": "b"}},
        "web": {"configSecret": "web", "configKey": "web.yml", "tlsSecret": "certificate",
                "tls": true, "enableLifecycle": true,
                "externalUrl": "https://example.com/$(HOSTNAME)", "routePrefix": "/wickr/"},
        "log": {"level": "debug", "format": "json"},
        "service": {"port": 9090, "annotations": {"a": "b"}, "labels": {"c": "d"}},
        "ingress": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "className": "nginx",
                    "hosts": [{"host": "wickr.example.com"}], "tls": [{"secretName": "tls"}]},
        "serviceMonitor": {"enabled": true, "kind": "PodMonitor", "interval": "2m",
                           "scrapeTimeout": "1m", "params": {"collect[]": ["network", "exporter"]},
                           "namespace": "observe", "annotations": {"a": "b"}, "job": "watch",
                           "devices": {"interval": "5m", "scrapeTimeout": "2m"},
                           "sampleLimit": 1_000_000, "honorLabels": true, "targetLabels": ["c"],
                           "podTargetLabels": ["e"],
                           "tlsConfig": {"serverName": "wickr.example.com"},
                           "relabelings": [{"targetLabel": "cluster", "replacement": "one"}],
                           "metricRelabelings": [{"action": "labeldrop", "regex": "app_id"}]},
        "prometheusRule": {"enabled": true, "runbookUrl": "https://git.example.com/runbooks.md",
                           "namespace": "observe", "annotations": {"a": "b"}, "job": "watching",
                           "clusterLabel": "cluster", "alertLabels": {"team": "it"},
                           "alerts": {"WickrDataStale": {"for": "1h"}},
                           "disabled": ["WickrDeviceIdle", "WickrThrottled"]},
        "dashboards": {"enabled": true, "labels": {"dashboard": "yes"}, "namespace": "grafana"},
        "networkPolicy": {"enabled": true,
                          "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
                          "extraIngress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
                          "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}]},
        "podDisruptionBudget": {"enabled": true, "maxUnavailable": "50%"},
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "livenessProbe": {"initialDelaySeconds": 1}, "readinessProbe": {"successThreshold": 2},
        "podAnnotations": {"prometheus.io/scrape": "false"}, "podLabels": {"e": "f", "team": "another"},
        "extraArgs": ["--web.telemetry-path=/metrics"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://127.0.0.1:1"}],
        "extraEnvFrom": [{"secretRef": {"name": "aws-keys"}}],
        "extraVolumes": [{"name": "extra", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        "extraObjects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "extra"}}],
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
                                       "topologyKey": "kubernetes.io/hostname"}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "progressDeadlineSeconds": 7200, "revisionHistoryLimit": 1,
        "terminationGracePeriodSeconds": 60,
    })
}
