//! Requests, retries, credentials and clocks, as the service sees them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wickr_exporter::{
    simulator::{
        ACCESS_KEY, ClockError, Fault, Fleet, Options, SECRET_KEY, Simulator, device, network, user,
    },
    wickr::{
        self, Client, ClientOptions, ConcurrencyLimiter, CredentialSource, CredentialStore,
        Endpoint, ErrorKind, ListUsersFilter, Observer, Outcome, RateLimiter,
    },
};

use crate::harness::{Exporter, FAST, Samples, config, serving, simulator};

const NETWORK: &str = "12345678";
/// One poll and no other for a long time.
const ONE_POLL: &str = "interval = \"1h\"\nrequests_per_second = 10000";

fn one_user() -> Fleet {
    let devices = (0..5).map(|n| device(format!("d{n}")).kind("iOS"));
    Fleet::new().network(network(NETWORK).user(user("1001").with_devices(devices)))
}

async fn after_one_poll(simulator: &Simulator, poll: &str) -> Samples {
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &["1001"]));
    exporter.polled(1.0).await
}

fn requests(samples: &Samples, code: &str) -> Option<f64> {
    samples.get("wickr_exporter_api_requests_total", &[("code", code)])
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_asked_for_as_documented_and_only_with_get() {
    let simulator = serving(one_user()).await;
    after_one_poll(&simulator, ONE_POLL).await;
    let asked = simulator.requests().recent();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/networks/12345678/users/1001/devices");
    assert_eq!(asked[0].query, "maxResults=100&sortDirection=ASC&sortFields=created");
    let agent = asked[0].user_agent.clone().unwrap();
    assert!(agent.starts_with(concat!("wickr-exporter/", env!("CARGO_PKG_VERSION"))), "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_up_to_the_last_attempt() {
    for (trouble, code, reason, kind) in [
        ("429", "429", "rate_limited", "rate_limited"),
        ("500", "500", "server_error", "server_error"),
        ("503", "503", "server_error", "server_error"),
        ("html", "502", "server_error", "server_error"),
        ("close", "connection", "connection", "connection"),
        ("reset", "connection", "connection", "connection"),
        ("truncate", "connection", "connection", "connection"),
        ("hang", "timeout", "timeout", "timeout"),
        ("drip:200ms", "timeout", "timeout", "timeout"),
    ] {
        let poll = format!("{ONE_POLL}\nmax_attempts = 3\nrequest_timeout = \"300ms\"");
        // Twice, and then it is good.
        let simulator = serving(one_user()).await;
        simulator.faults().add(format!("{trouble},times=2").parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, &poll).await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{trouble}");
        assert_eq!(samples.sum("wickr_network_devices"), 5.0, "{trouble}");
        assert_eq!(requests(&samples, code), Some(2.0), "{trouble}");
        let retries = samples.get("wickr_exporter_api_retries_total", &[("reason", reason)]);
        assert_eq!(retries, Some(2.0), "{trouble}");
        // Always: three attempts, and then it stands.
        let simulator = serving(one_user()).await;
        simulator.faults().add(trouble.parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, &poll).await;
        assert_eq!(requests(&samples, code), Some(3.0), "{trouble}");
        assert_eq!(simulator.requests().total(), 3, "{trouble}");
        let failed = samples.get("wickr_exporter_user_failures", &[("reason", kind)]);
        assert_eq!(failed, Some(1.0), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_again_is_not_tried_again() {
    for (trouble, reason) in [
        ("400", "invalid_request"),
        ("422", "invalid_request"),
        ("404", "not_found"),
        ("nonsense", "invalid_response"),
    ] {
        let simulator = serving(one_user()).await;
        simulator.faults().add(trouble.parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, ONE_POLL).await;
        assert_eq!(simulator.requests().total(), 1, "{trouble}");
        let failed = samples.get("wickr_exporter_user_failures", &[("reason", reason)]);
        assert_eq!(failed, Some(1.0), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let simulator = serving(one_user()).await;
    simulator.faults().add("429:retry-after=2,times=1".parse::<Fault>().unwrap());
    let started = Instant::now();
    let samples = after_one_poll(&simulator, ONE_POLL).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_page_token_starts_the_user_over_once() {
    let poll = format!("{ONE_POLL}\npage_size = 2");
    let simulator = serving(one_user()).await;
    simulator.faults().add("refuse-token,page=3,times=1".parse::<Fault>().unwrap());
    let samples = after_one_poll(&simulator, &poll).await;
    assert_eq!(samples.sum("wickr_network_devices"), 5.0);
    assert_eq!(simulator.requests().total(), 6, "two pages, a refusal, three pages");

    let simulator = serving(one_user()).await;
    simulator.faults().add("refuse-token,page=3".parse::<Fault>().unwrap());
    let samples = after_one_poll(&simulator, &poll).await;
    let failed = samples.get("wickr_exporter_user_failures", &[("reason", "invalid_request")]);
    assert_eq!(failed, Some(1.0));
    assert_eq!(simulator.requests().total(), 6, "and no third time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_set_right_once_and_stays_so() {
    for (offset, clock_error) in
        [("skew:10m", ClockError::InvalidSignature), ("skew:-2h", ClockError::RequestTimeTooSkewed)]
    {
        let simulator = simulator(Options { clock_error, ..Options::serving(one_user()) }).await;
        simulator.faults().add(offset.parse::<Fault>().unwrap());
        let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
        let samples = exporter.polled(3.0).await;
        let polls = |result| samples.get("wickr_exporter_polls_total", &[("result", result)]);
        assert_eq!((polls("partial"), polls("failure")), (Some(0.0), Some(0.0)), "{offset}");
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{offset}");
        assert_eq!(requests(&samples, "403"), Some(1.0), "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_of_the_clock_is_taken_back_when_it_is_no_longer_right() {
    let simulator = serving(one_user()).await;
    simulator.faults().add("skew:10m".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
    exporter.polled(1.0).await;
    simulator.faults().clear();
    let samples = exporter.polled_anew().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert_eq!(requests(&samples, "403"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_before_trying_again_holds_up_nobody() {
    let fleet =
        Fleet::new().network(network(NETWORK).with_users((1..=20).map(|id| user(id.to_string()))));
    let simulator = serving(fleet).await;
    for id in 1..=4 {
        simulator.faults().add(format!("503:retry-after=50,user={id}").parse::<Fault>().unwrap());
    }
    let ids: Vec<_> = (1..=20).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let poll = format!("{ONE_POLL}\nconcurrency = 2");
    let started = Instant::now();
    let exporter = Exporter::start(&config(&simulator.endpoint(), &poll, NETWORK, &ids));
    exporter.wait_for("the other sixteen", |s| s.sum("wickr_user_up") == 16.0).await;
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_lists_are_read_whole_too() {
    let simulator =
        simulator(Options { networks: 3, users: 45, empty_pages: 0.3, ..Options::default() }).await;
    let client = bare_client(&simulator);
    let lane = ConcurrencyLimiter::new(4).open();
    let (networks, unusable) = client.networks(&lane).await.unwrap();
    assert_eq!(unusable, 0);
    assert_eq!(networks.len(), 3);
    let network = &networks[0].id;
    let all = client.users(network, &ListUsersFilter::default(), &lane, Some).await.unwrap();
    let there: Vec<_> = simulator.read_fleet(|fleet| {
        fleet.get(network.as_str()).unwrap().users().map(|user| user.id().to_owned()).collect()
    });
    let mut ids: Vec<_> = all.iter().map(|user| user.id.clone().unwrap().to_string()).collect();
    ids.sort();
    assert_eq!(ids, there);
    assert!(!format!("{all:?}").contains("INVITE"));
    let groups = client.security_groups(network, &lane).await.unwrap();
    assert_eq!(groups.len(), 4);
    assert!(
        groups.iter().any(|group| group.sso_max_idle == Some(Duration::from_secs(43_200 * 60)))
    );
    let filter = ListUsersFilter { status: Some(2), group: Some(groups[1].id.clone()) };
    let some = client.users(network, &filter, &lane, Some).await.unwrap();
    assert!(!some.is_empty() && some.len() < all.len());
    assert!(some.iter().all(|user| user.groups.contains(&groups[1].id)));

    // A token refused on a later page starts the list over; a network that is not there is told.
    simulator.faults().add("refuse-token,op=ListUsers,page=2,times=1".parse::<Fault>().unwrap());
    assert_eq!(client.users(network, &ListUsersFilter::default(), &lane, Some).await.unwrap(), all);
    let unknown = client.security_groups(&"99999999".parse().unwrap(), &lane).await;
    assert_eq!(unknown.unwrap_err().kind, ErrorKind::NotFound);
}

/// Nobody who wants to know what the client does.
#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn attempted(&self, _: wickr::Operation, _: Outcome, _: Duration) {}
    fn retried(&self, _: ErrorKind) {}
    fn waited(&self, _: Duration) {}
}

/// A client of the simulator without an exporter around it, with small pages.
fn bare_client(simulator: &Simulator) -> Client {
    let fixed = CredentialSource::Fixed {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
    };
    Client::new(ClientOptions {
        endpoint: Endpoint::parse(&simulator.endpoint()).unwrap(),
        region: "us-east-1".into(),
        credentials: Arc::new(CredentialStore::new(fixed)),
        rate: Arc::new(RateLimiter::new(10_000.0)),
        timezone: jiff::tz::TimeZone::UTC,
        request_timeout: Duration::from_secs(10),
        max_attempts: 3,
        page_size: 7,
        labels: Arc::default(),
        observer: Arc::new(Nobody),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_an_answer_is_read_is_a_failure_of_that_answer_alone() {
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user("1")))).await;
    let (client, lanes) = (bare_client(&simulator), ConcurrencyLimiter::new(2));
    let (lane, network) = (lanes.open(), NETWORK.parse().unwrap());
    let everybody = ListUsersFilter::default();
    let bad = |_: wickr::User| -> Option<()> { panic!("nobody has thought of that") };
    let failed = client.users(&network, &everybody, &lane, bad).await;
    assert_eq!(failed.unwrap_err().kind, ErrorKind::InvalidResponse);
    // The place in flight was given back, and the client is good for more.
    for _ in 0..3 {
        let users = client.users(&network, &everybody, &lane, |user| Some(user.id)).await.unwrap();
        assert_eq!(users.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_lowers_the_rate_and_it_recovers() {
    let fleet =
        Fleet::new().network(network(NETWORK).with_users((1..=40).map(|id| user(id.to_string()))));
    let simulator = serving(fleet).await;
    simulator.faults().add("429,times=4".parse::<Fault>().unwrap());
    let ids: Vec<_> = (1..=40).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let poll = "interval = \"1h\"\nrequests_per_second = 50";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &ids));
    let rate = |s: &Samples| {
        s.get("wickr_exporter_api_rate_limit", &[("region", "us-east-1"), ("role_arn", "")])
            .unwrap()
    };
    let lowered = exporter.wait_for("a lower rate", |s| rate(s) < 40.0).await;
    assert!(rate(&lowered) >= 0.5);
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert!(samples.sum("wickr_exporter_api_throttled_seconds_total") > 0.0);
    exporter.wait_for("the ceiling again", |s| rate(s) == 50.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_in_flight_than_allowed_and_all_of_those_are() {
    let fleet = ["11111111", "22222222", "33333333"].iter().fold(Fleet::new(), |fleet, id| {
        fleet.network(network(*id).with_users((1..=50).map(|id| user(id.to_string()))))
    });
    let simulator =
        simulator(Options { latency: Duration::from_millis(20).into(), ..Options::serving(fleet) })
            .await;
    let ids: Vec<_> = (1..=50).map(|id| id.to_string()).collect();
    let mut text = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\n{ONE_POLL}\nconcurrency = 9\n",
        simulator.endpoint()
    );
    for id in ["11111111", "22222222", "33333333"] {
        text.push_str(&format!("[[network]]\nid = \"{id}\"\nusers = {ids:?}\n"));
    }
    let exporter = Exporter::start(&text);
    exporter.polled(3.0).await;
    let most = simulator.requests().max_in_flight();
    assert!((7..=9).contains(&most), "{most}");
}
