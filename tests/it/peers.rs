//! boto3 reads the simulator; promtool, the parsers of prometheus_client and Prometheus read the
//! expositions.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use reqwest::header;
use serde_json::{Value, json};
use wickr_exporter::simulator::{
    ACCESS_KEY, Count, Fault, Fleet, Options, SECRET_KEY, Simulator, device, network, user,
};

use crate::{
    harness::{Exporter, FAST, config, http, serving, simulator},
    prometheus::Prometheus,
    tools,
};

const NETWORK: &str = "12345678";

/// Runs a Python script; returns its stdout.
pub fn python(python: &Path, script: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the Python script failed");
    String::from_utf8(output.stdout).unwrap()
}

async fn exposition(exporter: &Exporter, accept: &str) -> String {
    let request = http().get(format!("{}/metrics", exporter.base)).header(header::ACCEPT, accept);
    request.send().await.unwrap().text().await.unwrap()
}

/// A configuration that lists all users.
fn config_for(simulator: &Simulator, poll: &str) -> String {
    let ids: Vec<_> = simulator.read_fleet(|fleet| {
        fleet.get(NETWORK).unwrap().users().map(|user| user.id().to_owned()).collect()
    });
    config(&simulator.endpoint(), poll, NETWORK, &ids)
}

const BOTO3: &str = r#"
import collections, json, sys, boto3
from botocore.config import Config
endpoint, key, secret, network = sys.argv[1:]
wickr = boto3.client("wickr", endpoint_url=endpoint, region_name="us-east-1",
    aws_access_key_id=key, aws_secret_access_key=secret, config=Config(retries={"mode": "standard"}))

def every(operation, member, **arguments):
    for page in wickr.get_paginator(operation).paginate(networkId=network, **arguments):
        yield from page.get(member, [])

users = [user["userId"] for user in every("list_users", "users")]
by_type, suspended, per_user = collections.Counter(), collections.Counter(), {}
ids = []
for user in users:
    devices = list(every("list_devices_for_user", "devices", userId=user))
    per_user[user] = len(devices)
    for device in devices:
        by_type[device["type"]] += 1
        suspended[device["type"]] += device["suspend"]
        ids.append(device["appId"])
groups, limits = [], {}
for group in every("list_security_groups", "securityGroups"):
    groups.append(group["id"])
    limits[group["id"]] = group["securityGroupSettings"].get("ssoMaxIdleMinutes", 0) * 60
of_user = {}
for user in every("list_users", "users"):
    own = [limits[group] for group in user.get("securityGroups", []) if limits[group]]
    if own:
        of_user[user["userId"]] = min(own)
networks = [n["networkId"] for page in wickr.get_paginator("list_networks").paginate() for n in page["networks"]]
print(json.dumps({"users": per_user, "types": by_type, "suspended": suspended,
    "ids": sorted(ids), "groups": groups, "networks": networks, "limits": of_user}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn agrees_with_boto3_on_devices_groups_and_limits() {
    let Some(python3) = tools::python("boto3") else { return };
    let simulator = simulator(Options {
        users: 40,
        devices_per_user: Count { min: 0, max: 250 },
        empty_pages: 0.2,
        ..Options::default()
    })
    .await;
    let config = config_for(&simulator, FAST) + "[sso]\nmax_idle = \"security-groups\"\n";
    let exporter = Exporter::start(&config);
    exporter.polled(1.0).await;
    let samples = exporter
        .wait_for("the limits", |s| s.has("wickr_security_group_sso_max_idle_seconds"))
        .await;
    let endpoint = simulator.endpoint();
    let output = tokio::task::spawn_blocking(move || {
        python(&python3, BOTO3, &[&endpoint, ACCESS_KEY, SECRET_KEY, NETWORK], "")
    })
    .await
    .unwrap();
    let boto3: Value = serde_json::from_str(&output).unwrap();

    assert_eq!(boto3["users"].as_object().unwrap().len(), 40);
    assert_eq!(boto3["networks"], json!([NETWORK]));
    assert_eq!(boto3["groups"].as_array().unwrap().len(), 4);
    // The limits depend on the users' groups.
    let limits = boto3["limits"].as_object().unwrap();
    assert!(limits.len() > 5, "{limits:?}");
    assert_eq!(samples.series("wickr_user_sso_max_idle_seconds", &[]).count(), limits.len());
    for (user, limit) in limits {
        let exposed = samples.get("wickr_user_sso_max_idle_seconds", &[("user_id", user)]);
        assert_eq!(exposed, limit.as_f64(), "{user}");
    }
    let count =
        |family, label: (&str, &str)| samples.series(family, &[label]).map(|(_, v)| v).sum::<f64>();
    let mut total = 0.0;
    for (device_type, devices) in boto3["types"].as_object().unwrap() {
        let of_type = ("device_type", device_type.as_str());
        assert_eq!(count("wickr_network_devices", of_type), devices.as_f64().unwrap());
        let suspended = boto3["suspended"][device_type].as_f64().unwrap();
        assert_eq!(count("wickr_network_devices_suspended", of_type), suspended);
        total += devices.as_f64().unwrap();
    }
    assert!(total > 1_000.0, "{total} devices");
    assert_eq!(samples.sum("wickr_network_devices"), total);
    for (user, devices) in boto3["users"].as_object().unwrap() {
        assert_eq!(
            count("wickr_user_devices", ("user_id", user)),
            devices.as_f64().unwrap(),
            "{user}"
        );
    }
    let mut ids: Vec<_> = samples
        .series("wickr_device_info", &[])
        .map(|(series, _)| series.split("app_id=\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    ids.sort();
    assert_eq!(boto3["ids"], json!(ids));
    simulator.stop().await.unwrap();
}

const PARSERS: &str = r#"
import json, sys
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as openmetrics_parser
parse = openmetrics_parser if sys.argv[1] == "openmetrics" else parser
families = {}
for family in parse.text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in families, family.name
    families[family.name] = {"type": family.type, "help": family.documentation,
        "samples": [[s.name, s.labels, s.value] for s in family.samples]}
print(json.dumps(families))
"#;

/// Checks both formats with promtool and prometheus_client, and compares them.
async fn check(exporter: &Exporter, stage: &str, promtool: &Path, python3: &Path) {
    let text = exposition(exporter, "text/plain").await;
    let open = exposition(exporter, "application/openmetrics-text").await;
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let problems = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && problems.is_empty(), "{stage}: {problems}\n{text}");

    let parsed = |format: &str, exposition: &str| -> Value {
        serde_json::from_str(&python(python3, PARSERS, &[format], exposition)).unwrap()
    };
    let (text, open) = (parsed("text", &text), parsed("openmetrics", &open));
    let names = |families: &Value| -> Vec<String> {
        families.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(&text), names(&open), "{stage}");
    for (name, family) in open.as_object().unwrap() {
        assert_eq!(family["help"], text[name]["help"], "{stage}: {name}");
        let series = |family: &Value| -> Vec<String> {
            let samples = family["samples"].as_array().unwrap().iter();
            samples
                .map(|sample| {
                    let mut labels = sample[1].clone();
                    if let Some(bound) = labels["le"].as_str() {
                        let bound: f64 = bound.replace("+Inf", "inf").parse().unwrap();
                        labels["le"] = json!(bound.to_string());
                    }
                    let suffix = sample[0].as_str().unwrap().replace("_gsum", "_sum");
                    format!("{} {labels}", suffix.replace("_gcount", "_count"))
                })
                .collect()
        };
        // A request between the scrapes can add a series.
        if !name.starts_with("wickr_exporter_api_") {
            assert_eq!(series(family), series(&text[name]), "{stage}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parsers_accept_both_formats_at_every_stage() {
    let Some(promtool) = tools::find("promtool") else { return };
    let Some(python3) = tools::python("prometheus_client") else { return };
    let hostile = "quote\" back\\slash new\nline {brace} é 日本 \u{1} ,=";
    let fleet = Fleet::new().network(
        network(NETWORK)
            .user(user("1001").device(device(hostile).kind(hostile).status(hostile)))
            .user(user("1002").device(device("b").kind("iOS").never_logged_in()))
            .user(user("1003")),
    );
    let simulator = serving(fleet).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let poll = "interval = \"500ms\"\nstale_after = \"1s\"\nmax_attempts = 1\nrequest_timeout = \"2s\"\nrequests_per_second = 10000";
    let exporter = Exporter::start(&config_for(&simulator, poll));
    check(&exporter, "first poll", &promtool, &python3).await;
    exporter.polled(1.0).await;
    check(&exporter, "failed poll", &promtool, &python3).await;
    simulator.faults().clear();
    exporter.wait_for("success", |s| s.get("wickr_up", &[]) == Some(1.0)).await;
    check(&exporter, "success", &promtool, &python3).await;
    simulator.faults().add("429,user=1001".parse::<Fault>().unwrap());
    exporter
        .wait_for("a missing user", |s| {
            s.get("wickr_network_users", &[("freshness", "missing")]) == Some(1.0)
        })
        .await;
    check(&exporter, "missing user", &promtool, &python3).await;
    simulator.stop().await.unwrap();
}

const LABELS: &str = r#"
import json, sys
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as openmetrics_parser
parse = openmetrics_parser if sys.argv[1] == "openmetrics" else parser
text = sys.stdin.buffer.read().decode()
print(json.dumps([sample.labels for family in parse.text_string_to_metric_families(text)
    for sample in family.samples if sample.name == "wickr_device_info"]))
"#;

/// A random text of characters that some format treats specially.
#[rustfmt::skip]
fn hostile(random: &mut fastrand::Rng) -> String {
    let pieces = [
        "\"", "\\", "\n", "\r", "\t", "{", "}", ",", "=", " ", "#", "n", "\0", "\u{1}", "\u{1b}",
        "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{202e}", "\u{feff}", "\u{ffff}", "\u{10ffff}",
        "é", "e\u{301}", "日本", "# EOF\n", "\"} 1\n", "\\\"", "+Inf", "a",
    ];
    (0..random.usize(1..12)).map(|_| random.choice(pieces).unwrap()).collect()
}

/// The type and status of each device, by its id.
fn devices(labels: &Value) -> BTreeMap<String, [String; 2]> {
    let text = |labels: &Value, name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    let devices = labels.as_array().unwrap().iter();
    devices.map(|l| (text(l, "app_id"), [text(l, "device_type"), text(l, "status")])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parsers_read_label_values_with_special_characters_unchanged() {
    let Some(program) = tools::find("prometheus") else { return };
    let Some(python3) = tools::python("prometheus_client") else { return };
    let mut random = fastrand::Rng::with_seed(11);
    let (mut owner, mut sent) = (user("1001"), BTreeMap::new());
    for number in 0..300 {
        let (id, kind, status) = (
            format!("{}{number}", hostile(&mut random)),
            hostile(&mut random),
            hostile(&mut random),
        );
        owner = owner.device(device(&id).kind(&kind).status(&status));
        sent.insert(id, [kind, status]);
    }
    let simulator = serving(Fleet::new().network(network(NETWORK).user(owner))).await;
    let exporter = Exporter::start(&config_for(&simulator, FAST));
    exporter.polled(1.0).await;

    for (format, accept) in
        [("text", "text/plain"), ("openmetrics", "application/openmetrics-text")]
    {
        let text = exposition(&exporter, accept).await;
        let labels = python(&python3, LABELS, &[format], &text);
        assert_eq!(devices(&serde_json::from_str(&labels).unwrap()), sent, "{format}");
    }
    let target = exporter.base.trim_start_matches("http://");
    let prometheus = Prometheus::scraping(&program, &[target]).await;
    let series = prometheus.wait_for("wickr_device_info").await;
    let labels: Value = series.into_iter().map(|series| series["metric"].clone()).collect();
    assert_eq!(devices(&labels), sent, "Prometheus");
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_queries_agree_with_the_fleet() {
    let Some(program) = tools::find("prometheus") else { return };
    let simulator = simulator(Options { users: 30, ..Options::default() }).await;
    // A user that is deleted after the first poll.
    simulator.change_fleet(|fleet| fleet.get_mut(NETWORK).unwrap().add_user(user("999999")));
    let exporter = Exporter::start(&config_for(&simulator, FAST));
    exporter.polled(1.0).await;
    simulator.change_fleet(|fleet| fleet.get_mut(NETWORK).unwrap().remove_user("999999"));
    exporter.wait_for("a missing user", |s| s.get("wickr_up", &[]) == Some(0.0)).await;
    let target = exporter.base.trim_start_matches("http://");
    let prometheus = Prometheus::scraping(&program, &[target]).await;

    let devices = simulator.read_fleet(|fleet| fleet.device_count()) as f64;
    assert!(devices > 30.0);
    assert_eq!(prometheus.number("sum(wickr_network_devices)").await, devices);
    assert_eq!(prometheus.number("count(wickr_device_info)").await, devices);
    assert_eq!(prometheus.number("sum(wickr_network_users{freshness=\"missing\"})").await, 1.0);
    let samples = exporter.metrics().await;
    let suspended = samples.sum("wickr_network_devices_suspended");
    assert_eq!(prometheus.number("sum(wickr_network_devices_suspended)").await, suspended);
    // The idle time is computed at the scrape.
    let difference = "max(abs(timestamp(wickr_device_idle_seconds) - wickr_device_last_login_timestamp_seconds - wickr_device_idle_seconds))";
    let difference = prometheus.number(difference).await;
    assert!(difference < 5.0, "{difference}");
    let count = samples.sum("wickr_network_device_idle_seconds_count");
    let all = "sum(wickr_network_device_idle_seconds_bucket{le=\"+Inf\"})";
    assert_eq!(prometheus.number(all).await, count);
}
