//! Collectors, from the configuration to the exposition.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wickr_exporter::{
    collectors::{CollectorRef, families},
    simulator::{
        ACCESS_KEY, Fault, Fleet, Network, Operation, Options, SECRET_KEY, Simulator, bot, network,
        security_group, user,
    },
};

use crate::{
    harness::{Exporter, FAST, Samples, config, program, serving, simulator},
    peers::python,
    tools,
};

const NETWORK: &str = "12345678";
const SUCCESS: &str = "wickr_exporter_collector_success";

fn all() -> Vec<&'static str> {
    CollectorRef::all().map(|collector| collector.get().name()).collect()
}

/// A configuration that runs these collectors every two seconds.
fn collecting(simulator: &Simulator, enable: &[&str]) -> String {
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1"]);
    format!("[collectors]\nenable = {enable:?}\ninterval = \"2s\"\n{config}")
}

fn small() -> Network {
    network(NETWORK).user(user("1")).user(user("2").pending("INVITE-SECRET"))
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// The samples of all collectors, once each has succeeded.
async fn collected(exporter: &Exporter) -> Samples {
    let count = all().len() as f64;
    exporter.wait_for("all collectors", |samples| samples.sum(SUCCESS) == count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_accounts_and_keeps_them_for_three_intervals_when_refused() {
    let simulator = serving(Fleet::new().network(small())).await;
    let exporter = Exporter::start(&collecting(&simulator, &["accounts"]));
    let samples = exporter.wait_for("accounts", |s| s.has("wickr_network_accounts")).await;
    let accounts = |status| samples.get("wickr_network_accounts", &[("status", status)]);
    assert_eq!(["pending", "active", "rejected"].map(accounts), [Some(1.0), Some(1.0), Some(0.0)]);
    assert_eq!(samples.get("wickr_network_accounts_remaining", &[]), Some(28.0));
    assert_eq!(samples.get(SUCCESS, &[("collector", "accounts")]), Some(1.0));
    simulator.faults().add(fault("forbidden,op=GetUsersCount"));
    let samples = exporter.wait_for("a failure", |s| s.get(SUCCESS, &[]) == Some(0.0)).await;
    assert_eq!(samples.sum("wickr_network_accounts"), 2.0, "the last values stay");
    let samples = exporter.wait_for("expiry", |s| !s.has("wickr_network_accounts")).await;
    let last = samples.get("wickr_exporter_collector_last_success_timestamp_seconds", &[]);
    assert!(last.is_some(), "{samples:?}");
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "polls do not depend on collectors");
    let log = exporter.log();
    assert_eq!(log.matches("action=wickr:GetUsersCount").count(), 1, "{log}");
    assert!(simulator.requests().count(Operation::GetUsersCount) > 3);
    simulator.faults().clear();
    exporter.wait_for("recovery", |s| s.sum("wickr_network_accounts") == 2.0).await;
}

/// Prints the series that the exporter should have, as [name, labels, value].
const BOTO3: &str = include_str!("collectors/boto3.py");

/// The series of collectors and of discovered users, as in [`BOTO3`].
fn exposed(text: &str) -> BTreeMap<String, f64> {
    let discovered = [
        "wickr_network_users_suspended",
        "wickr_network_admins",
        "wickr_network_invites_expired",
        "wickr_user_suspended",
        "wickr_user_admin",
    ];
    let names: Vec<_> = families().map(|family| family.name).chain(discovered).collect();
    let samples = Samples::parse(text);
    let of_collectors =
        |(series, _): &(String, f64)| names.contains(&series.split('{').next().unwrap_or_default());
    samples.0.into_iter().filter(of_collectors).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn agrees_with_boto3_on_every_series() {
    let Some(python3) = tools::python("boto3") else { return };
    let simulator = simulator(Options { users: 60, empty_pages: 0.3, ..Options::default() }).await;
    let exporter = Exporter::start(&format!(
        "[collectors]\nenable = {:?}\ninterval = \"1h\"\n[aws]\nregion = \"us-east-1\"\n\
         endpoint_url = \"{}\"\n[poll]\n{FAST}\npage_size = 7\n[[network]]\nid = \"{NETWORK}\"\n\
         users = \"all\"\n",
        all(),
        simulator.endpoint()
    ));
    collected(&exporter).await;
    exporter.wait_for("users", |s| s.series("wickr_user_suspended", &[]).count() == 60).await;
    let endpoint = simulator.endpoint();
    let output = tokio::task::spawn_blocking(move || {
        python(&python3, BOTO3, &[&endpoint, ACCESS_KEY, SECRET_KEY, NETWORK], "")
    })
    .await
    .unwrap();
    let boto3: Value = serde_json::from_str(&output).unwrap();
    let mut expected = BTreeMap::new();
    for series in boto3["series"].as_array().unwrap() {
        let name = series[0].as_str().unwrap();
        let labels = series[1].as_object().unwrap();
        let mut text = format!("{name}{{network_id=\"{NETWORK}\"");
        // In the order of the family.
        let family = families().find(|family| family.name == name);
        let order = family.map_or(&["network_id", "user_id"][..], |family| family.labels);
        for label in order.iter().filter(|label| labels.contains_key(**label)) {
            text.push_str(&format!(",{label}={}", labels[*label]));
        }
        assert!(expected.insert(text + "}", series[2].as_f64().unwrap()).is_none());
    }
    assert!(expected.len() > 120, "{}", expected.len());
    let text = exporter.text("/metrics").await;
    assert_eq!(exposed(&text), expected);
    let (account, level) = (&boto3["info"][0], &boto3["info"][1]);
    let info = format!(",account_id={account},access_level={level}}} 1");
    assert!(text.lines().any(|l| l.starts_with("wickr_network_info{") && l.ends_with(&info)));
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_send_no_request_for_what_discovery_reads() {
    let simulator = serving(Fleet::new().network(small().group(security_group("g")))).await;
    let enable = ["network", "security-groups"];
    let by_id = collecting(&simulator, &enable);
    let by_id = by_id.replace("users = [\"1\"]", "users = \"all\"");
    let by_id = format!("[sso]\nmax_idle = \"30d\"\n{by_id}");
    let discovering = by_id
        .replace("\"30d\"", "\"security-groups\"")
        .replace(&format!("id = \"{NETWORK}\"\nname = \"test\""), "id = \"all\"");
    let discovering = format!("[discovery]\ninterval = \"2s\"\n{discovering}");
    let count = |operation| simulator.requests().count(operation);
    let own = || (count(Operation::GetNetwork), count(Operation::ListSecurityGroups));
    let exporter = Exporter::start(&discovering);
    exporter.wait_for("both", |s| s.sum(SUCCESS) == 2.0).await;
    exporter.polled(1.0).await;
    let runs = count(Operation::GetNetworkSettings);
    exporter.wait_for("two runs", |_| count(Operation::GetNetworkSettings) >= runs + 2).await;
    let (networks, groups) = own();
    let lookups = count(Operation::ListUsers);
    assert!(networks == 0 && groups <= lookups + 1, "{networks} {groups} {lookups}");
    let text = exporter.text("/metrics").await;
    let values = exposed(&text);
    let samples = Samples::parse(&text);
    assert_eq!(samples.get("wickr_network_info", &[("access_level", "PREMIUM")]), Some(1.0));
    // Without discovery, the collectors read the same.
    std::fs::write(exporter.config_path(), &by_id).unwrap();
    exporter.signal("HUP");
    exporter.wait_for("own requests", |_| own().0 > 1 && own().1 > 2).await;
    assert_eq!(exposed(&exporter.text("/metrics").await), values);
    exporter.stop();
    let before = own();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, &discovering).unwrap();
    let mut once = program();
    once.arg("once").arg(format!("--config.file={}", file.display()));
    let output = tokio::task::spawn_blocking(move || once.output().unwrap()).await.unwrap();
    let samples = Samples::parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((samples.sum(SUCCESS), own()), (2.0, (before.0, before.1 + 1)));
    // A collector fails with the lookup.
    simulator.faults().add(fault("forbidden,op=ListSecurityGroups"));
    let exporter = Exporter::start(&discovering);
    let samples = exporter.wait_for("both", |s| s.series(SUCCESS, &[]).count() == 2).await;
    let success = |name| samples.get(SUCCESS, &[("collector", name)]);
    assert_eq!((success("network"), success("security-groups")), (Some(1.0), Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_group_without_id_fails_discovery_but_not_the_collector() {
    let group = security_group("g").sso_max_idle_minutes(60);
    let simulator = serving(Fleet::new().network(small().group(group))).await;
    let config = collecting(&simulator, &["security-groups"]);
    let config =
        format!("[sso]\nmax_idle = \"security-groups\"\n[discovery]\ninterval = \"1s\"\n{config}");
    let exporter = Exporter::start(&config);
    let limits = |s: &Samples| s.sum("wickr_security_group_sso_max_idle_seconds");
    exporter.wait_for("both", |s| s.sum(SUCCESS) == 1.0 && limits(s) == 3600.0).await;
    let body = r#"{"securityGroups": [{"id": "g", "activeMembers": 9}, {"name": "x"}, null]}"#;
    simulator.faults().add(fault(&format!("nonsense,op=ListSecurityGroups,body={body}")));
    let members = [("group_id", "g"), ("kind", "user")];
    let samples = exporter
        .wait_for("the members", |s| s.get("wickr_security_group_members", &members) == Some(9.0))
        .await;
    assert_eq!(samples.sum(SUCCESS), 1.0);
    let failed = [("operation", "ListSecurityGroups"), ("reason", "invalid_response")];
    assert!(samples.get("wickr_exporter_discovery_failures_total", &failed) >= Some(1.0));
    assert_eq!(limits(&samples), 3600.0, "the last complete list stays in use");
    let log = exporter.log();
    assert!(log.contains("2 of 3 security groups have no id"), "{log}");
    assert_eq!(log.matches("field=securityGroups").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_and_invalid_members_have_no_sample() {
    let network = small()
        .with(Operation::GetUsersCount, "active", "7")
        .with(Operation::GetUsersCount, "pending", Value::Null)
        .with(Operation::GetUsersCount, "rejected", "many")
        .with(Operation::GetUsersCount, "remaining", -1)
        .with(Operation::GetNetwork, "freeTrialExpiration", "soon")
        .with(
            Operation::GetNetworkSettings,
            "settings",
            json!([
                {"optionName": "on", "value": "True", "type": "Boolean"},
                {"optionName": "json", "value": false},
                {"optionName": "text", "value": "true", "type": "string"},
                {"optionName": "null", "value": null, "type": "boolean"},
                {"value": "true", "type": "boolean"}, null, 7,
            ]),
        )
        .with(
            Operation::GetGuestUserHistoryCount,
            "history",
            json!([
                {"month": "2024_02", "count": "5"}, {"month": "2023_12", "count": 9},
                {"month": "later", "count": 8}, {"count": 1},
            ]),
        )
        .with(Operation::GetOidcInfo, "openidConnectInfo", json!({"issuer": ""}))
        .bot(
            bot("1")
                .with("status", "2")
                .with("lastLogin", 1_704_067_200)
                .with("suspended", Value::Null),
        )
        .bot(bot("2").with("status", 9).with("groupId", Value::Null))
        .bot(bot("3").with("status", Value::Null).with("lastLogin", ""))
        .bot(bot("4").with("botId", Value::Null))
        .group(security_group("g").setting("maxNonSsoSessionMinutes", 0).setting("x", "true"));
    let simulator = serving(Fleet::new().network(network)).await;
    let exporter = Exporter::start(&collecting(&simulator, &all()));
    collected(&exporter).await;
    let text = exporter.text("/metrics").await;
    let samples = Samples::parse(&text);
    let invalid = |field| samples.get("wickr_exporter_invalid_timestamps", &[("field", field)]);
    assert_eq!(invalid("network.freeTrialExpiration"), Some(1.0));
    assert_eq!(invalid("bot.lastLogin"), Some(0.0));
    let exposed = exposed(&text);
    let expected = [
        ("wickr_network_accounts{,status=\"active\"}", 7.0),
        ("wickr_network_bots{,status=\"9\"}", 1.0),
        ("wickr_network_bots{,status=\"active\"}", 2.0),
        ("wickr_network_bots{,status=\"pending\"}", 0.0),
        ("wickr_network_bots{,status=\"unknown\"}", 1.0),
        ("wickr_bot_info{,bot_id=\"1\",bot_name=\"Bot 1\",group_id=\"\"}", 1.0),
        ("wickr_bot_info{,bot_id=\"2\",bot_name=\"Bot 2\",group_id=\"\"}", 1.0),
        ("wickr_bot_info{,bot_id=\"3\",bot_name=\"Bot 3\",group_id=\"\"}", 1.0),
        ("wickr_bot_suspended{,bot_id=\"2\"}", 0.0),
        ("wickr_bot_suspended{,bot_id=\"3\"}", 0.0),
        ("wickr_bot_last_login_timestamp_seconds{,bot_id=\"1\"}", 1_704_067_200.0),
        ("wickr_data_retention_enabled{}", 0.0),
        ("wickr_data_retention_bot_exists{}", 0.0),
        ("wickr_network_guest_users{}", 5.0),
        ("wickr_network_guest_users_blocked{}", 0.0),
        ("wickr_network_standing{}", 1.0),
        ("wickr_network_setting{,setting=\"on\"}", 1.0),
        ("wickr_network_setting{,setting=\"json\"}", 0.0),
        ("wickr_security_group_members{,group_id=\"g\",kind=\"user\"}", 0.0),
        ("wickr_security_group_members{,group_id=\"g\",kind=\"bot\"}", 0.0),
        ("wickr_security_group_lockout_threshold{,group_id=\"g\"}", 10.0),
        ("wickr_security_group_modified_timestamp_seconds{,group_id=\"g\"}", 1_704_067_200.0),
        ("wickr_network_sso_configured{}", 0.0),
    ];
    let expected = expected.map(|(series, value)| {
        (series.replacen('{', &format!("{{network_id=\"{NETWORK}\""), 1), value)
    });
    assert_eq!(exposed, expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_collector_affects_no_other_and_no_poll() {
    let simulator = serving(Fleet::new().network(small())).await;
    simulator.faults().add(fault("hang,op=ListBots"));
    // Not a response of the API, so the last values would stay.
    simulator.faults().add(fault("nonsense,op=GetUsersCount,body={}"));
    simulator.faults().add(fault("nonsense,op=GetNetworkSettings,body={\"message\":\"x\"}"));
    simulator.faults().add(fault("repeat-token,op=ListBlockedGuestUsers"));
    let exporter = Exporter::start(&collecting(&simulator, &all()));
    let ends = |s: &Samples| s.series(SUCCESS, &[]).count() == 6;
    let samples = exporter.wait_for("all others", ends).await;
    let success = |name| samples.get(SUCCESS, &[("collector", name)]);
    assert_eq!(success("bots"), None, "it has not ended");
    for failed in ["accounts", "network", "guests"] {
        assert_eq!(success(failed), Some(0.0), "{failed}");
    }
    for good in ["data-retention", "security-groups", "sso"] {
        assert_eq!(success(good), Some(1.0), "{good}");
    }
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert!(!samples.has("wickr_network_guest_users") && !samples.has("wickr_network_standing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn never_stores_logs_or_exposes_sso_client_secrets() {
    let simulator = simulator(Options { users: 1, ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let config = format!(
        "[collectors]\nenable = [\"sso\"]\ninterval = \"1s\"\n[state]\npath = {state:?}\n{config}"
    );
    let exporter = Exporter::start_with(&config, &["--log.level=trace"], &[]);
    let samples = collected_one(&exporter, "sso").await;
    assert_eq!(samples.get("wickr_network_sso_configured", &[]), Some(1.0));
    assert_eq!(samples.get("wickr_network_sso_token_grace_seconds", &[]), Some(900.0));
    let leaking = "400,op=GetOidcInfo,message=bad SIMULATED-CLIENT-SECRET";
    for faulty in
        [leaking, "truncate,op=GetOidcInfo", "nonsense,op=GetOidcInfo,body=[\"SIMULATED-SECRET\"]"]
    {
        simulator.faults().clear();
        collected_one(&exporter, "sso").await;
        simulator.faults().add(fault(faulty));
        exporter.wait_for(faulty, |s| s.get(SUCCESS, &[]) == Some(0.0)).await;
    }
    let mut seen = vec![exporter.log()];
    for path in ["/metrics", "/", "/api/v1/status"] {
        seen.push(exporter.text(path).await);
    }
    exporter.next_poll().await;
    exporter.stop();
    let saved = std::fs::read(state.with_extension(NETWORK)).unwrap();
    let mut payload = Vec::new();
    let compressed = &saved[saved.iter().position(|b| *b == b'\n').unwrap() + 33..];
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(compressed), &mut payload)
        .unwrap();
    seen.push(String::from_utf8_lossy(&payload).into_owned());
    for text in seen {
        assert!(!text.contains("SIMULATED-") && !text.contains("idp.example.com"), "{text}");
    }
}

async fn collected_one(exporter: &Exporter, collector: &str) -> Samples {
    let label = [("collector", collector)];
    exporter.wait_for(collector, |s| s.get(SUCCESS, &label) == Some(1.0)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_enables_and_disables_collectors_and_keeps_the_values_of_others() {
    let simulator = serving(Fleet::new().network(small())).await;
    let exporter = Exporter::start(&collecting(&simulator, &["accounts"]));
    collected_one(&exporter, "accounts").await;
    let reload = |config: String| {
        std::fs::write(exporter.config_path(), config).unwrap();
        exporter.signal("HUP");
    };
    // After a failure, the values of the last run stay.
    simulator.faults().add(fault("503,op=GetUsersCount"));
    reload(collecting(&simulator, &["accounts", "bots"]).replace("\"2s\"", "\"1h\""));
    let samples = collected_one(&exporter, "bots").await;
    assert_eq!(samples.sum("wickr_network_accounts"), 2.0);
    reload(collecting(&simulator, &["bots"]));
    let samples = exporter.wait_for("removal", |s| !s.has("wickr_network_accounts")).await;
    assert!(samples.has("wickr_network_bots"), "{samples:?}");
    reload(config(&simulator.endpoint(), FAST, NETWORK, &["1"]));
    exporter.wait_for("no collectors", |s| !s.has(SUCCESS) && !s.has("wickr_network_bots")).await;
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_values_do_not_count_as_a_success() {
    let simulator = serving(Fleet::new().network(small().group(security_group("g")))).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let enable = ["accounts", "network", "security-groups"];
    let config = collecting(&simulator, &enable).replace("\"2s\"", "\"1h\"");
    let config = format!("[state]\npath = {state:?}\n{config}");
    let exporter = Exporter::start(&config);
    exporter.wait_for("all", |s| s.sum(SUCCESS) == 3.0).await;
    exporter.polled(1.0).await;
    exporter.stop();
    simulator.faults().add(fault("hang,op=GetUsersCount"));
    simulator.faults().add(fault("503,op=GetNetwork"));
    simulator.faults().add(fault("hang,op=ListSecurityGroups"));
    let samples = Exporter::start(&config).polled(1.0).await;
    assert_eq!(samples.sum("wickr_network_accounts"), 2.0);
    assert_eq!(samples.get("wickr_network_info", &[("access_level", "PREMIUM")]), Some(1.0));
    assert_eq!(samples.get("wickr_security_group_info", &[("group_id", "g")]), Some(1.0));
    assert_eq!(samples.get(SUCCESS, &[("collector", "accounts")]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_shard_runs_collectors() {
    let simulator = serving(Fleet::new().network(small())).await;
    let config = collecting(&simulator, &["accounts"]);
    let shard = |index| Exporter::start(&format!("[shard]\nindex = {index}\ntotal = 2\n{config}"));
    let (first, second) = (shard(0), shard(1));
    collected_one(&first, "accounts").await;
    assert!(!second.polled(3.0).await.has(SUCCESS));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_page_and_api_show_collectors() {
    let simulator = serving(Fleet::new().network(small())).await;
    simulator.faults().add(fault("forbidden,op=ListBots"));
    let exporter = Exporter::start(&collecting(&simulator, &["accounts", "bots"]));
    exporter.wait_for("both", |s| s.series(SUCCESS, &[]).count() == 2).await;
    let status: Value = serde_json::from_str(&exporter.text("/api/v1/status").await).unwrap();
    let [accounts, bots] = &status["networks"][0]["collectors"].as_array().unwrap()[..] else {
        panic!("{status}")
    };
    assert_eq!((&accounts["success"], &bots["success"]), (&json!(true), &json!(false)));
    let remaining = &accounts["families"][1];
    assert_eq!(remaining["family"], "wickr_network_accounts_remaining");
    assert_eq!(remaining["values"], json!([{"labels": {}, "value": 28.0}]));
    assert_eq!((&bots["operation"], &bots["reason"]), (&json!("ListBots"), &json!("forbidden")));
    let page = exporter.text("/").await;
    for part in ["accounts: active 1, pending 1, rejected 0", "ListBots: forbidden"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_and_check_run_every_collector() {
    let simulator = serving(Fleet::new().network(small())).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, collecting(&simulator, &all())).unwrap();
    let run = |arguments: &'static [&'static str]| {
        let mut command = program();
        command.args(arguments).arg(format!("--config.file={}", file.display()));
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let output = run(&["once"]).await.unwrap();
    assert!(output.status.success());
    let samples = Samples::parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(samples.sum(SUCCESS), all().len() as f64);
    assert_eq!(samples.sum("wickr_network_accounts"), 2.0);
    let output = run(&["check"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Collectors, every 2s in each network:",
        "guests          3,600 requests per hour: GetGuestUserHistoryCount, ListBlockedGuestUsers",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let discovering = collecting(&simulator, &all())
        .replace(&format!("id = \"{NETWORK}\"\nname = \"test\""), "id = \"all\"")
        .replace("users = [\"1\"]", "users = \"all\"");
    std::fs::write(&file, discovering).unwrap();
    simulator.faults().add(fault("forbidden,op=GetNetwork"));
    let output = run(&["check", "--online"]).await.unwrap();
    assert!(output.status.success(), "the list of networks has what the collector needs");
    simulator.faults().add(fault("forbidden,op=GetNetworkSettings"));
    let output = run(&["check", "--online"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "network 12345678, accounts: OK, 4 values",
        "network 12345678, network: FAILED: GetNetworkSettings: 403 ForbiddenError",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
