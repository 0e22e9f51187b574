//! Discovery of networks and users, SSO limits, accounts, and shards.

use wickr_exporter::simulator::{
    Credential, Fault, Fleet, Operation, Options, Simulator, days, device, network, security_group,
    user,
};

use crate::devices::devices;
use crate::harness::{Exporter, FAST, Samples, serving, simulator};

const NETWORK: &str = "12345678";

/// A configuration with all networks and users.
fn all_networks(simulator: &Simulator, more: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\n{FAST}\n{more}\n\
         [[network]]\nid = \"all\"\nusers = \"all\"\n",
        simulator.endpoint()
    )
}

/// A configuration with one network and these users.
fn one_network(simulator: &Simulator, more: &str, users: &str) -> String {
    all_networks(simulator, more)
        .replace("id = \"all\"\nusers = \"all\"", &format!("id = \"{NETWORK}\"\nusers = {users}"))
}

/// The shortest possible discovery interval.
const DISCOVER: &str = "[discovery]\ninterval = \"1s\"";

async fn json(exporter: &Exporter, path: &str) -> serde_json::Value {
    serde_json::from_str(&exporter.text(path).await).unwrap()
}

fn user_ids(samples: &Samples) -> Vec<String> {
    let id = |series: &str| {
        series.split("user_id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let mut ids: Vec<_> =
        samples.series("wickr_user_up", &[]).map(|(series, _)| id(series)).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn discovers_networks_and_users_and_drops_deleted_ones() {
    let simulator =
        simulator(Options { networks: 3, users: 20, empty_pages: 0.2, ..Options::default() }).await;
    let exporter = Exporter::start(&all_networks(&simulator, DISCOVER));
    let samples = exporter.wait_for("all networks", |s| s.sum("wickr_up") == 3.0).await;
    assert_eq!(samples.sum("wickr_network_users"), 60.0);
    let devices = simulator.read_fleet(|fleet| fleet.device_count()) as f64;
    assert_eq!(samples.sum("wickr_network_devices"), devices);
    assert_eq!(
        samples.series("wickr_network_info", &[("network_name", "Field Operations")]).count(),
        1
    );
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    // Usernames are off by default, and invite codes are never exposed.
    assert_eq!(samples.sum("wickr_user_info"), 60.0);
    let text = exporter.text("/metrics").await;
    assert!(!text.contains("@example.com") && !text.contains("INVITE"));

    simulator.change_fleet(|fleet| {
        fleet.remove_network("23456789");
        fleet.get_mut(NETWORK).unwrap().remove_user("1001");
        fleet.get_mut(NETWORK).unwrap().add_user(user("7").device(device("new").kind("Watch")));
    });
    let samples = exporter
        .wait_for("the change", |s| {
            s.get("wickr_network_devices", &[("device_type", "Watch")]) == Some(1.0)
                && s.series("wickr_up", &[]).count() == 2
                && s.get("wickr_user_up", &[("network_id", NETWORK), ("user_id", "1001")]).is_none()
        })
        .await;
    assert_eq!(samples.sum("wickr_network_users"), 40.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_known_networks_and_users_and_warns_when_discovery_fails() {
    let simulator = simulator(Options { networks: 2, users: 5, ..Options::default() }).await;
    let exporter = Exporter::start(&all_networks(&simulator, DISCOVER));
    exporter.wait_for("all networks", |s| s.sum("wickr_up") == 2.0).await;
    assert_eq!(json(&exporter, "/api/v1/status").await["assessment"]["level"], "good");
    for fault in ["forbidden,op=ListUsers", "nonsense,op=ListNetworks"] {
        simulator.faults().add(fault.parse::<Fault>().unwrap());
    }
    let failures = |s: &Samples, operation, reason| {
        s.get(
            "wickr_exporter_discovery_failures_total",
            &[("operation", operation), ("reason", reason)],
        )
    };
    let samples = exporter
        .wait_for("both failures", |s| {
            failures(s, "ListUsers", "forbidden") >= Some(2.0)
                && failures(s, "ListNetworks", "invalid_response") >= Some(1.0)
        })
        .await;
    assert_eq!((samples.sum("wickr_up"), samples.sum("wickr_network_users")), (2.0, 10.0));
    assert!(exporter.log().contains("discovery failed"), "{}", exporter.log());
    // No poll failed, but the status and the lists warn that users can be missing.
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["assessment"]["level"], "warning");
    assert_eq!(status["discovery"][0]["networks"]["reason"], "invalid_response");
    assert!(status["discovery"][0]["networks"]["last_success_at"].is_string());
    let network = &status["networks"][0];
    assert_eq!(network["assessment"]["level"], "warning");
    assert_eq!(network["discovery"]["users"]["reason"], "forbidden");
    let text = network["assessment"]["text"].as_str().unwrap();
    assert!(text.contains("ListUsers: forbidden") && text.contains("--iam-policy"), "{text}");
    let list = json(&exporter, "/api/v1/devices").await;
    assert_eq!(
        (&list["complete"], &list["discovery"]["failing_users"]),
        (&false.into(), &2.into())
    );
    let list = json(&exporter, "/api/v1/devices?network_id=12345678").await;
    assert_eq!(list["discovery"]["failing_accounts"], 0, "other networks are filtered out");
    let page = exporter.text("/devices").await;
    assert!(page.contains("Users may be missing") && page.contains("Networks may be missing"));
    // The warnings end with the failure.
    simulator.faults().clear();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while json(&exporter, "/api/v1/status").await["assessment"]["level"] != "good" {
        assert!(std::time::Instant::now() < deadline, "the status does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(json(&exporter, "/api/v1/devices").await["complete"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_incomplete_data_when_networks_were_never_discovered() {
    let simulator = simulator(Options { networks: 2, users: 5, ..Options::default() }).await;
    simulator.faults().add("forbidden,op=ListNetworks".parse::<Fault>().unwrap());
    let listed = format!("\n[[network]]\nid = \"{NETWORK}\"\nusers = \"all\"\n");
    let config = all_networks(&simulator, "") + &listed;
    let exporter = Exporter::start(&config);
    exporter
        .wait_for("a poll and a failure", |s| {
            s.sum("wickr_up") == 1.0 && s.has("wickr_exporter_discovery_failures_total")
        })
        .await;
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["networks"][0]["assessment"]["level"], "good");
    assert_eq!(status["assessment"]["level"], "bad");
    let text = status["assessment"]["text"].as_str().unwrap();
    assert!(text.contains("networks of us-east-1 cannot be looked up"), "{text}");
    assert!(exporter.text("/").await.contains("The data is incomplete."));
    let list = json(&exporter, "/api/v1/devices").await;
    assert_eq!(
        (&list["complete"], &list["discovery"]["failing_accounts"]),
        (&false.into(), &1.into())
    );
    let list = json(&exporter, &format!("/api/v1/devices?network_id={NETWORK}")).await;
    assert_eq!(list["complete"], true, "this network is complete");
    // The command reports the same, from the exporter and from its own poll.
    for source in [&["--from", exporter.base.as_str()][..], &[]] {
        for (filter, expected) in
            [(&[][..], 3), (&["--user", "1001"], 3), (&["--network", NETWORK], 0)]
        {
            let (status, out, err) =
                devices(&config, &[source, filter, &["--format", "json"]].concat()).await;
            assert_eq!(status, Some(expected), "{source:?} {filter:?}: {err}");
            let list: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(list["complete"], expected == 0, "{source:?} {filter:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn network_is_down_until_first_successful_discovery() {
    let simulator = simulator(Options { users: 5, ..Options::default() }).await;
    let fault = simulator.faults().add("forbidden,op=ListUsers".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&one_network(&simulator, DISCOVER, "\"all\""));
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(0.0));
    assert_eq!(samples.sum("wickr_network_users"), 0.0);
    assert_eq!(exporter.get("/-/ready").await.status(), 200, "a failed poll has ended");
    simulator.faults().remove(fault);
    exporter.wait_for("the users", |s| s.get("wickr_up", &[]) == Some(1.0)).await;

    let fault = simulator.faults().add("500,op=ListNetworks".parse::<Fault>().unwrap());
    let exporter =
        Exporter::start(&all_networks(&simulator, &format!("max_attempts = 1\n{DISCOVER}")));
    exporter.wait_for("a failure", |s| s.has("wickr_exporter_discovery_failures_total")).await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
    simulator.faults().remove(fault);
    exporter.wait_for("the network", |s| s.get("wickr_up", &[]) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_known_users_while_discovery_hangs() {
    let simulator = simulator(Options { users: 5, ..Options::default() }).await;
    let more = format!("request_timeout = \"60s\"\nstale_after = \"3s\"\n{DISCOVER}");
    let exporter = Exporter::start(&one_network(&simulator, &more, "\"all\""));
    exporter.polled(1.0).await;
    let hang = simulator.faults().add("hang,op=ListUsers".parse::<Fault>().unwrap());
    let deadline = std::time::Instant::now() + crate::harness::TIMEOUT;
    while simulator.faults().hits(hang) == Some(0) {
        assert!(std::time::Instant::now() < deadline, "no second discovery");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let before = exporter.metrics().await.sum("wickr_exporter_polls_total");
    let samples = exporter.polled(before + 4.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!(samples.get("wickr_network_users", &[("freshness", "fresh")]), Some(5.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_empty_object_as_user_or_network_list() {
    for operation in ["ListUsers", "ListNetworks"] {
        let simulator = simulator(Options { users: 5, ..Options::default() }).await;
        let exporter = Exporter::start(&all_networks(&simulator, DISCOVER));
        exporter.wait_for("all networks", |s| s.sum("wickr_up") == 1.0).await;
        let fault = format!("nonsense,op={operation},body={{}}");
        simulator.faults().add(fault.parse::<Fault>().unwrap());
        let failed = [("operation", operation), ("reason", "invalid_response")];
        let samples = exporter
            .wait_for("a failure", |s| {
                s.get("wickr_exporter_discovery_failures_total", &failed) >= Some(1.0)
            })
            .await;
        assert_eq!(samples.sum("wickr_network_users"), 5.0, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_groups_lookup_does_not_repeat_user_lookup() {
    let simulator = serving(fleet_with_limits()).await;
    simulator.faults().add("forbidden,op=ListSecurityGroups".parse::<Fault>().unwrap());
    let config = one_network(&simulator, "[sso]\nmax_idle = \"security-groups\"", "\"all\"");
    let exporter = Exporter::start(&config);
    exporter.polled(4.0).await;
    assert_eq!(simulator.requests().count(Operation::ListUsers), 1);
    assert_eq!(
        simulator.requests().count(Operation::ListSecurityGroups),
        2,
        "one request, and one with new credentials"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_selects_users_and_username_is_exposed_if_configured() {
    let fleet = Fleet::new().network(
        network(NETWORK)
            .group(security_group("staff"))
            .user(user("1").username("ann@example.com").in_group("staff"))
            .user(user("2").username("bob@example.com").in_group("staff"))
            .user(user("3").username("ann@example.org"))
            .user(user("4").username("ann@example.net").in_group("staff").pending("INVITE-SECRET")),
    );
    let simulator = serving(fleet).await;
    let filter = "filter = { status = \"active\", groups = [\"staff\"], username = \"^ann@\" }\n";
    let config = one_network(&simulator, "[metrics]\nusername = true", "\"all\"") + filter;
    let exporter = Exporter::start(&config);
    let samples = exporter.polled(1.0).await;
    assert_eq!(user_ids(&samples), ["1"]);
    let info = [("username", "ann@example.com"), ("status", "active")];
    assert_eq!(samples.get("wickr_user_info", &info), Some(1.0));
    let requests = simulator.requests().recent();
    let lists: Vec<_> = requests.iter().filter(|r| r.path.ends_with("/users")).collect();
    assert!(lists.iter().all(|r| r.query.contains("status=2&groupId=staff")), "{lists:?}");
    assert!(!exporter.text("/metrics").await.contains("INVITE-SECRET"));
}

fn fleet_with_limits() -> Fleet {
    let idle = |id: &str, age| device(id).kind("iOS").last_login_ago(age);
    Fleet::new().network(
        network(NETWORK)
            .group(security_group("strict").name("contractors").sso_max_idle_minutes(7 * 24 * 60))
            .group(security_group("lax").name("staff").sso_max_idle_minutes(30 * 24 * 60))
            .group(security_group("free").sso_max_idle_minutes(0))
            .group(security_group("none"))
            .user(
                user("1").in_group("strict").device(idle("a", days(8))).device(idle("b", days(6))),
            )
            .user(user("2").in_group("lax").device(idle("c", days(8))).device(idle("d", days(31))))
            .user(user("3").in_group("lax").in_group("strict").device(idle("e", days(8))))
            .user(user("4").in_group("free").in_group("none").device(idle("f", days(400))))
            .user(user("5").device(device("g").kind("iOS").never_logged_in())),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_lowest_sso_limit_of_the_groups_of_a_user() {
    let simulator = serving(fleet_with_limits()).await;
    let listed = "[\"1\", \"2\", \"3\", \"4\", \"5\"]";
    for users in ["\"all\"", listed] {
        let config = one_network(&simulator, "[sso]\nmax_idle = \"security-groups\"", users);
        let exporter = Exporter::start(&config);
        exporter.polled(1.0).await;
        let samples = exporter
            .wait_for("the limits", |s| s.has("wickr_security_group_sso_max_idle_seconds"))
            .await;
        let limit = |id| samples.get("wickr_user_sso_max_idle_seconds", &[("user_id", id)]);
        let day = 86_400.0;
        assert_eq!(
            ["1", "2", "3", "4", "5"].map(limit),
            [Some(7.0 * day), Some(30.0 * day), Some(7.0 * day), None, None]
        );
        let group =
            |id| samples.get("wickr_security_group_sso_max_idle_seconds", &[("group_id", id)]);
        assert_eq!((group("strict"), group("free"), group("none")), (Some(7.0 * day), None, None));
        assert_eq!(
            samples.series("wickr_security_group_info", &[("group_name", "staff")]).count(),
            1
        );
        // Devices a, d and e.
        let expired = samples.get("wickr_network_devices_sso_expired", &[("device_type", "iOS")]);
        assert_eq!(expired, Some(3.0));
        // The same join as in an alert.
        let idle = |id| samples.get("wickr_device_idle_seconds", &[("app_id", id)]).unwrap();
        let expired = [("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"), ("e", "3")]
            .into_iter()
            .filter(|(app, user)| idle(app) > limit(user).unwrap())
            .count();
        assert_eq!(expired, 3);
    }
    let config = one_network(&simulator, "[sso]\nmax_idle = \"10d\"", listed);
    let before = simulator.requests().count(Operation::ListUsers);
    let samples = Exporter::start(&config).polled(1.0).await;
    assert_eq!(samples.sum("wickr_network_devices_sso_expired"), 2.0, "devices d and f");
    assert_eq!(samples.series("wickr_user_sso_max_idle_seconds", &[]).count(), 5);
    assert_eq!(simulator.requests().count(Operation::ListUsers), before, "no user list is needed");
    assert!(!samples.has("wickr_user_info") && !samples.has("wickr_security_group_info"));
}

#[tokio::test(flavor = "multi_thread")]
async fn omits_only_sso_families_when_groups_are_forbidden() {
    let simulator = serving(fleet_with_limits()).await;
    simulator.faults().add("forbidden,op=ListSecurityGroups".parse::<Fault>().unwrap());
    let config = one_network(&simulator, "[sso]\nmax_idle = \"security-groups\"", "[\"1\", \"2\"]");
    let exporter = Exporter::start(&config);
    let samples = exporter.polled(2.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    for family in [
        "wickr_network_devices_sso_expired",
        "wickr_security_group_info",
        "wickr_security_group_sso_max_idle_seconds",
        "wickr_user_sso_max_idle_seconds",
    ] {
        assert!(!samples.has(family), "{family}");
    }
    let failed = [("operation", "ListSecurityGroups"), ("reason", "forbidden")];
    assert!(samples.get("wickr_exporter_discovery_failures_total", &failed) >= Some(1.0));
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["assessment"]["level"], "warning");
    let text = status["assessment"]["text"].as_str().unwrap();
    assert!(text.contains("SSO limits cannot be looked up"), "{text}");
    assert!(exporter.text("/devices").await.contains("SSO limits may be missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_have_separate_credentials_and_rate_limits() {
    let fleet = |id: &str| {
        Fleet::new().network(network(id).user(user("1").device(device("a").kind("iOS"))))
    };
    let first = simulator(Options {
        credentials: vec![Credential::new("AKIAFIRST", "so")],
        ..Options::serving(fleet("11111111"))
    })
    .await;
    let second = simulator(Options {
        credentials: vec![Credential::new("AKIASECOND", "st")],
        region: "eu-central-1".into(),
        ..Options::serving(fleet("22222222"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profile = |name, key, secret| {
        format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    };
    let text = profile("first", "AKIAFIRST", "so") + &profile("second", "AKIASECOND", "st");
    std::fs::write(&file, text).unwrap();
    let network = |id: &str, region: &str, profile: &str, simulator: &Simulator| {
        format!(
            "[[network]]\nid = \"{id}\"\nusers = \"all\"\n\
             aws = {{ region = \"{region}\", profile = \"{profile}\", endpoint_url = \"{}\" }}\n",
            simulator.endpoint()
        )
    };
    let config = format!(
        "[poll]\n{FAST}\n{}{}",
        network("11111111", "us-east-1", "first", &first),
        network("22222222", "eu-central-1", "second", &second)
    );
    // Both simulators reject the keys of the environment. The named profiles override them.
    let exporter = Exporter::start_with(
        &config,
        &[],
        &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())],
    );
    let samples = exporter.wait_for("both", |s| s.sum("wickr_up") == 2.0).await;
    for region in ["us-east-1", "eu-central-1"] {
        let rate =
            samples.get("wickr_exporter_api_rate_limit", &[("region", region), ("role_arn", "")]);
        assert_eq!(rate, Some(10_000.0), "{region}");
    }
    // Throttling of one account does not affect the other.
    first.faults().add("429".parse::<Fault>().unwrap());
    let rate = |s: &Samples, region| {
        s.get("wickr_exporter_api_rate_limit", &[("region", region)]).unwrap()
    };
    let samples = exporter.wait_for("a lower rate", |s| rate(s, "us-east-1") < 9_000.0).await;
    assert_eq!(rate(&samples, "eu-central-1"), 10_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_partition_users_and_devices() {
    let simulator = simulator(Options { users: 300, ..Options::default() }).await;
    let unsharded = Exporter::start(&one_network(&simulator, "", "\"all\"")).polled(1.0).await;
    let (mut users, mut devices, mut all_ids) = (0.0, 0.0, Vec::new());
    for index in 0..3 {
        // The last shard reads the variables that a StatefulSet sets.
        let exporter = if index < 2 {
            let shard = format!("[shard]\nindex = {index}\ntotal = 3");
            Exporter::start(&one_network(&simulator, &shard, "\"all\""))
        } else {
            let config =
                one_network(&simulator, "[shard]\nindex = \"auto\"\ntotal = \"auto\"", "\"all\"");
            let environment =
                [("HOSTNAME", "wickr-exporter-2"), ("WICKR_EXPORTER_SHARD_TOTAL", "3")];
            Exporter::start_with(&config, &[], &environment)
        };
        let samples = exporter.polled(1.0).await;
        let status = json(&exporter, "/api/v1/status").await;
        assert_eq!(status["shard"], serde_json::json!({"index": index, "total": 3}));
        let part = format!("This process polls part {} of 3 of the users.", index + 1);
        for page in ["/", "/devices"] {
            assert!(exporter.text(page).await.contains(&part), "{page}");
        }
        let list = json(&exporter, "/api/v1/devices?limit=1").await;
        assert_eq!((&list["complete"], &list["shard"]), (&false.into(), &status["shard"]));
        let own = samples.sum("wickr_network_users");
        assert!((70.0..130.0).contains(&own), "{own}");
        users += own;
        devices += samples.sum("wickr_network_devices");
        all_ids.extend(user_ids(&samples));
    }
    assert_eq!(users, 300.0);
    assert_eq!(devices, unsharded.sum("wickr_network_devices"));
    all_ids.sort();
    assert_eq!(all_ids, user_ids(&unsharded));
}
