//! During failures, each exposed value is correct, marked as not fresh, or absent.

use std::time::{Duration, Instant};

use serde_json::json;
use wickr_exporter::simulator::{
    ACCESS_KEY, Fault, Fleet, Operation, Options, Refusal, SECRET_KEY, Simulator, UnknownUser,
    device, network, user,
};

use crate::harness::{Exporter, FAST, Samples, TIMEOUT, config, serving, simulator};

const NETWORK: &str = "12345678";

/// Two polls per second, and `stale_after` of four seconds.
const FAST_EXPIRY: &str =
    "interval = \"500ms\"\nstale_after = \"4s\"\nrequests_per_second = 10000\nmax_attempts = 1";

/// Families that are computed from devices.
const DEVICE_FAMILIES: [&str; 5] = [
    "wickr_network_devices",
    "wickr_network_devices_suspended",
    "wickr_network_devices_reset",
    "wickr_network_devices_never_logged_in",
    "wickr_network_device_idle_seconds_count",
];

fn two_users() -> Fleet {
    Fleet::new().network(
        network(NETWORK)
            .user(
                user("1001")
                    .device(device("a").kind("iOS"))
                    .device(device("b").kind("iOS").suspended()),
            )
            .user(user("1002").device(device("c").kind("Windows"))),
    )
}

fn fault(simulator: &Simulator, text: &str) {
    simulator.faults().add(text.parse::<Fault>().unwrap());
}

fn users(samples: &Samples, freshness: &str) -> Option<f64> {
    samples.get("wickr_network_users", &[("freshness", freshness)])
}

fn devices(samples: &Samples, device_type: &str) -> Option<f64> {
    samples.get("wickr_network_devices", &[("device_type", device_type)])
}

fn failures(samples: &Samples, reason: &str) -> f64 {
    samples.get("wickr_exporter_user_failures", &[("reason", reason)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn omits_network_families_before_end_of_first_poll() {
    let simulator = serving(two_users()).await;
    fault(&simulator, "hang,user=1002");
    let exporter =
        Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001", "1002"]));
    let samples = exporter.wait_for("the first user", |s| s.has("wickr_device_info")).await;
    assert_eq!(samples.get("wickr_user_up", &[("user_id", "1001")]), Some(1.0));
    assert_eq!(samples.get("wickr_user_up", &[("user_id", "1002")]), None);
    assert_eq!(samples.sum("wickr_device_info"), 2.0);
    assert_eq!(samples.sum("wickr_exporter_poll_progress_ratio"), 0.5);
    assert!(samples.0.keys().all(|series| {
        !series.starts_with("wickr_network_") && !series.starts_with("wickr_up")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn omits_device_families_after_first_poll_without_any_user() {
    let simulator = serving(two_users()).await;
    fault(&simulator, "500");
    let exporter =
        Exporter::start(&config(&simulator.endpoint(), FAST_EXPIRY, NETWORK, &["1001", "1002"]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(0.0));
    assert_eq!(users(&samples, "missing"), Some(2.0));
    assert_eq!((users(&samples, "fresh"), users(&samples, "stale")), (Some(0.0), Some(0.0)));
    assert_eq!(failures(&samples, "server_error"), 2.0);
    for family in DEVICE_FAMILIES {
        assert!(!samples.has(family), "{family}");
    }
    assert!(!samples.has("wickr_exporter_last_success_timestamp_seconds"));
    assert_eq!(samples.get("wickr_user_up", &[("user_id", "1001")]), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_failed_user_as_stale_until_stale_after() {
    let simulator = serving(two_users()).await;
    let exporter =
        Exporter::start(&config(&simulator.endpoint(), FAST_EXPIRY, NETWORK, &["1001", "1002"]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!((users(&samples, "fresh"), devices(&samples, "iOS")), (Some(2.0), Some(2.0)));

    fault(&simulator, "500,user=1001");
    let stale = exporter.wait_for("stale", |s| users(s, "stale") == Some(1.0)).await;
    assert_eq!(stale.get("wickr_up", &[]), Some(0.0));
    assert_eq!(stale.get("wickr_user_up", &[("user_id", "1001")]), Some(0.0));
    assert_eq!(stale.get("wickr_user_up", &[("user_id", "1002")]), Some(1.0));
    assert_eq!(devices(&stale, "iOS"), Some(2.0), "stale devices are counted");
    assert_eq!(stale.get("wickr_user_devices", &[("user_id", "1001")]), Some(2.0));
    let read_at =
        |s: &Samples| s.get("wickr_user_last_poll_timestamp_seconds", &[("user_id", "1001")]);
    assert!(read_at(&stale).is_some());

    let expired = exporter.wait_for("missing", |s| users(s, "missing") == Some(1.0)).await;
    assert_eq!(devices(&expired, "iOS"), Some(0.0), "known types remain");
    assert_eq!(devices(&expired, "Windows"), Some(1.0));
    assert_eq!(read_at(&expired), None);
    assert!(expired.series("wickr_device_info", &[("user_id", "1001")]).next().is_none());

    simulator.faults().clear();
    let recovered = exporter.wait_for("fresh again", |s| users(s, "fresh") == Some(2.0)).await;
    assert_eq!(
        (recovered.get("wickr_up", &[]), devices(&recovered, "iOS")),
        (Some(1.0), Some(2.0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_stale_data_while_a_poll_hangs() {
    let simulator = serving(two_users()).await;
    let poll =
        "interval = \"500ms\"\nstale_after = \"1s\"\nrequest_timeout = \"30s\"\nmax_attempts = 1";
    let exporter =
        Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &["1001", "1002"]));
    exporter.polled(1.0).await;
    fault(&simulator, "500,user=1001,times=1");
    fault(&simulator, "hang");
    exporter.wait_for("missing", |s| users(s, "missing") >= Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_data_stale_and_drops_it_while_a_poll_stalls() {
    let ids: Vec<_> = (1..=60).map(|id| id.to_string()).collect();
    let users_of = ids.iter().map(|id| user(id.as_str()).device(device(id.as_str()).kind("iOS")));
    let simulator = serving(Fleet::new().network(network(NETWORK).with_users(users_of))).await;
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let poll = "interval = \"500ms\"\nstale_after = \"2s\"\nrequest_timeout = \"20s\"\nrequests_per_second = 10000";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &ids));
    exporter.polled(1.0).await;
    fault(&simulator, "hang");
    let samples = exporter
        .wait_for("expired data", |s| {
            users(s, "missing") >= Some(1.0) && users(s, "stale") == Some(0.0)
        })
        .await;
    assert_eq!(samples.get("wickr_up", &[]), Some(0.0));
    // Only users that the stalled poll read before the outage are fresh.
    let progress = samples.sum("wickr_exporter_poll_progress_ratio");
    assert!(progress < 1.0, "the poll hangs");
    assert_eq!(users(&samples, "fresh"), Some((progress * 60.0).round()));
    assert_eq!(devices(&samples, "iOS"), users(&samples, "fresh"));
    assert!(samples.sum("wickr_exporter_poll_overruns_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_previous_devices_when_a_later_page_fails() {
    let many = |count: usize| (0..count).map(|n| device(format!("d{n:03}")).kind("iOS"));
    let fleet = Fleet::new().network(network(NETWORK).user(user("1001").with_devices(many(250))));
    let simulator = simulator(Options { empty_pages: 0.3, ..Options::serving(fleet) }).await;
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST_EXPIRY, NETWORK, &["1001"]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(devices(&samples, "iOS"), Some(250.0));
    // The user has fewer devices now, but the third page fails.
    simulator.change_fleet(|fleet| {
        fleet.user_mut(NETWORK, "1001").unwrap().retain_devices(|d| d.app_id().unwrap() < "d210");
        fleet.user_mut(NETWORK, "1001").unwrap().add_device(device("new").kind("Android"));
    });
    fault(&simulator, "500,page=3");
    let samples = exporter.wait_for("stale", |s| users(s, "stale") == Some(1.0)).await;
    assert_eq!((devices(&samples, "iOS"), devices(&samples, "Android")), (Some(250.0), None));
    simulator.faults().clear();
    let samples = exporter.wait_for("fresh", |s| users(s, "fresh") == Some(1.0)).await;
    assert_eq!((devices(&samples, "iOS"), devices(&samples, "Android")), (Some(210.0), Some(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_invalid_and_endless_responses_with_bounded_memory() {
    for response in [
        "repeat-token",
        "endless-pages",
        "endless",
        "nonsense",
        "nonsense:body=[]",
        "nonsense:body={\"devices\": 7}",
        "nonsense:body={\"devices\": [], \"nextToken\": 7}",
        "redirect",
    ] {
        let simulator = serving(two_users()).await;
        // Reading a thousand pages takes long, so the previous data must not expire before.
        let poll = FAST_EXPIRY.replace("stale_after = \"4s\"", "stale_after = \"10m\"");
        let exporter =
            Exporter::start(&config(&simulator.endpoint(), &poll, NETWORK, &["1001", "1002"]));
        exporter.polled(1.0).await;
        // The body is last because it extends to the end of the fault.
        match response.split_once(":body") {
            Some((kind, body)) => fault(&simulator, &format!("{kind},user=1001,body{body}")),
            None => fault(&simulator, &format!("{response},user=1001")),
        }
        let samples = exporter.wait_for(response, |s| failures(s, "invalid_response") == 1.0).await;
        assert_eq!(users(&samples, "stale"), Some(1.0), "{response}");
        assert_eq!(samples.get("wickr_user_up", &[("user_id", "1002")]), Some(1.0), "{response}");
        assert!(samples.sum("process_resident_memory_bytes") < 2e8, "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_an_app_id_on_two_pages_as_one_device() {
    let entry = |status: &str| json!({"appId": "same", "type": "iOS", "statusText": status});
    let user = user("1001").device_raw(entry("Active")).device_raw(entry("Reset"));
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user))).await;
    let poll = format!("{FAST}\npage_size = 1");
    let exporter = Exporter::start(&config(&simulator.endpoint(), &poll, NETWORK, &["1001"]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(devices(&samples, "iOS"), Some(1.0));
    assert_eq!(samples.series("wickr_device_info", &[("status", "Reset")]).count(), 1);
    assert!(simulator.requests().count(Operation::ListDevicesForUser) >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_unknown_user_at_once_and_keeps_others() {
    for unknown_user in [UnknownUser::NotFound, UnknownUser::BadRequest] {
        let simulator = simulator(Options { unknown_user, ..Options::serving(two_users()) }).await;
        let poll = format!("{FAST}\nstale_after = \"1h\"");
        let exporter =
            Exporter::start(&config(&simulator.endpoint(), &poll, NETWORK, &["1001", "1002"]));
        exporter.polled(1.0).await;
        simulator.change_fleet(|fleet| fleet.get_mut(NETWORK).unwrap().remove_user("1001"));
        let samples = exporter.wait_for("missing", |s| users(s, "missing") == Some(1.0)).await;
        assert_eq!(failures(&samples, "not_found"), 1.0);
        assert_eq!(samples.get("wickr_user_up", &[("user_id", "1001")]), Some(0.0));
        assert_eq!(
            (devices(&samples, "iOS"), devices(&samples, "Windows")),
            (Some(0.0), Some(1.0))
        );
        assert!(samples.series("wickr_user_devices", &[("user_id", "1001")]).next().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_poll_after_few_requests_when_role_is_denied() {
    let simulator = simulator(Options { users: 2_000, ..Options::default() }).await;
    let ids: Vec<_> = (1001..3001).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    simulator.credentials().deny_network(NETWORK);
    let poll = "interval = \"1h\"\nrequests_per_second = 10000";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &ids));
    let samples = exporter.polled(1.0).await;
    assert_eq!(failures(&samples, "forbidden"), 2_000.0);
    assert_eq!(users(&samples, "missing"), Some(2_000.0));
    assert_eq!(samples.get("wickr_exporter_polls_total", &[("result", "failure")]), Some(1.0));
    assert!(simulator.requests().total() <= 16, "{}", simulator.requests().total());

    simulator.credentials().allow_network(NETWORK);
    simulator.credentials().refuse(ACCESS_KEY, Refusal::Unauthorized);
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &ids));
    let samples = exporter.polled(1.0).await;
    assert_eq!(failures(&samples, "unauthorized"), 2_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_valid_fields_and_devices_beside_malformed_ones() {
    let user = user("1001")
        .device_raw(json!({}))
        .device_raw(json!(null))
        .device_raw(json!("nonsense"))
        .device_raw(json!({"appId": "x1", "type": null, "suspend": "perhaps", "lastLogin": "some day"}))
        .device_raw(json!({"appId": "x2", "type": "iOS", "created": 17, "lastLogin": "", "statusText": null}))
        .device_raw(json!({"appId": 3, "type": "iOS", "suspend": true, "lastLogin": "1704067200"}))
        .device_raw(json!({"appId": "\u{e9}\"\\\n{", "type": "a\"b\\c\nd", "statusText": "Reset"}));
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user))).await;
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!((devices(&samples, "unknown"), devices(&samples, "iOS")), (Some(2.0), Some(2.0)));
    assert_eq!(devices(&samples, r#"a\"b\\c\nd"#), Some(1.0));
    assert_eq!(samples.series("wickr_device_info", &[]).count(), 3, "only devices with an appId");
    assert_eq!(samples.sum("wickr_network_devices_suspended"), 1.0);
    assert_eq!(samples.sum("wickr_network_devices_reset"), 1.0);
    let invalid = |field| samples.get("wickr_exporter_invalid_timestamps", &[("field", field)]);
    assert_eq!((invalid("lastLogin"), invalid("created")), (Some(1.0), Some(0.0)));
    // A device that is not an object is ignored. Of the other five, one has an invalid time, one has
    // logged in, and three have not.
    assert_eq!(samples.sum("wickr_network_devices_never_logged_in"), 3.0);
    assert_eq!(samples.sum("wickr_network_device_idle_seconds_count"), 1.0);
    assert!(samples.get("wickr_device_suspended", &[("app_id", "x1")]).is_none());
    // Each form is logged once, in the first poll only.
    let log = {
        exporter.polled(3.0).await;
        exporter.log()
    };
    assert_eq!(log.matches("form=\"aaaa aaa\"").count(), 1, "{log}");
    assert!(!log.contains("some day"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_network_delays_neither_other_networks_nor_scrapes() {
    let fleet = Fleet::new()
        .network(network("11111111").with_users((1..=60).map(|id| user(id.to_string()))))
        .network(network("22222222").with_users((1..=60).map(|id| user(id.to_string()))));
    let simulator = serving(fleet).await;
    fault(&simulator, "hang,network=11111111");
    let ids: Vec<_> = (1..=60).map(|id| id.to_string()).collect();
    let exporter = Exporter::start(&format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\n{FAST}\nrequest_timeout = \"60s\"\n\
         [[network]]\nid = \"11111111\"\nusers = {ids:?}\n[[network]]\nid = \"22222222\"\nusers = {ids:?}\n",
        simulator.endpoint()
    ));
    let polls = |s: &Samples, id| {
        s.get("wickr_exporter_polls_total", &[("network_id", id), ("result", "success")]).unwrap()
    };
    let samples = exporter.wait_for("three polls", |s| polls(s, "22222222") >= 3.0).await;
    assert_eq!(polls(&samples, "11111111"), 0.0);
    assert_eq!(samples.get("wickr_up", &[("network_id", "22222222")]), Some(1.0));
    assert_eq!(samples.get("wickr_up", &[("network_id", "11111111")]), None);
    let started = Instant::now();
    exporter.metrics().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_log_reader_delays_polls_but_no_scrape() {
    // Their lines fill the pipe.
    let ids: Vec<_> = (1..=2_000).map(|id| id.to_string()).collect();
    let fleet = Fleet::new().network(network(NETWORK).with_users(ids.iter().map(user)));
    let simulator = serving(fleet).await;
    let config = config(&simulator.endpoint(), FAST, NETWORK, &ids);
    let exporter = Exporter::start_with(&config, &["--log.level=debug"], &[]);
    let log = exporter.stop_reading_log();
    // A poll in progress that sends no request during twenty scrapes waits for the reader.
    let labels = [("operation", "ListDevicesForUser"), ("code", "200")];
    let stop = async {
        let (mut requests, mut scrapes) = (0.0, 0);
        while scrapes < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let samples = exporter.metrics().await;
            let before = requests;
            requests = samples.get("wickr_exporter_api_requests_total", &labels).unwrap_or(0.0);
            let waits = requests == before && requests % ids.len() as f64 != 0.0;
            scrapes = if waits { scrapes + 1 } else { 0 };
        }
    };
    tokio::time::timeout(TIMEOUT, stop).await.expect("a poll that waits for the reader");
    let health = exporter.get("/-/healthy").await;
    assert_eq!(health.status(), 200);
    drop(log);
    exporter.next_poll().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_secrets_out_of_log_and_metrics() {
    let token = "FwoGZXIvYXdzEXAMPLETOKEN//////////wEaDExample+Token=";
    let simulator = serving(two_users()).await;
    let config = config(&simulator.endpoint(), FAST_EXPIRY, NETWORK, &["1001", "1002"]);
    // The simulator rejects every request with an unknown token.
    let rejected =
        Exporter::start_with(&config, &["--log.level=trace"], &[("AWS_SESSION_TOKEN", token)]);
    rejected.polled(2.0).await;
    fault(
        &simulator,
        &format!(
            "error:status=403,type=SignatureDoesNotMatch,user=1001,message=not {SECRET_KEY} of {ACCESS_KEY}"
        ),
    );
    fault(&simulator, &format!("error:status=401,type={ACCESS_KEY},message=x"));
    let echoed = Exporter::start_with(&config, &["--log.level=trace", "--log.format=json"], &[]);
    echoed.polled(2.0).await;
    for exporter in [rejected, echoed] {
        let metrics = exporter.text("/metrics").await;
        assert!(metrics.contains("reason=\"unauthorized\"} 2"), "{metrics}");
        let (_, _, log) = exporter.stop();
        for text in [log, metrics] {
            for secret in [SECRET_KEY, token, "AWS4-HMAC-SHA256", ACCESS_KEY] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}
