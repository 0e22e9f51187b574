//! Requests, pages, retries, rate limits and clock correction.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wickr_exporter::{
    clock::Clock,
    simulator::{
        ACCESS_KEY, ClockError, Fault, Fleet, Options, SECRET_KEY, Simulator, device, network, user,
    },
    wickr::{
        self, Client, ClientOptions, ConcurrencyLimiter, CredentialSource, CredentialStore,
        Endpoint, ErrorKind, ListUsersFilter, Outcome, RateLimiter, RequestObserver, SecurityGroup,
    },
};

use crate::harness::{Exporter, FAST, Samples, config, serving, simulator};

const NETWORK: &str = "12345678";
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
async fn requests_devices_in_ascending_order_with_the_exporters_user_agent() {
    let simulator = serving(one_user()).await;
    after_one_poll(&simulator, ONE_POLL).await;
    let requests = simulator.requests().recent();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/networks/12345678/users/1001/devices");
    assert_eq!(requests[0].query, "maxResults=100&sortDirection=ASC&sortFields=created");
    let agent = requests[0].user_agent.clone().unwrap();
    assert!(agent.starts_with(concat!("wickr-exporter/", env!("CARGO_PKG_VERSION"))), "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_transient_errors_up_to_max_attempts() {
    for (fault, code, reason) in [
        ("429", "429", "rate_limited"),
        ("500", "500", "server_error"),
        ("503", "503", "server_error"),
        ("html", "502", "server_error"),
        ("close", "connection", "connection"),
        ("reset", "connection", "connection"),
        ("truncate", "connection", "connection"),
        ("hang", "timeout", "timeout"),
        ("drip:200ms", "timeout", "timeout"),
    ] {
        let timeout = if code == "timeout" { "300ms" } else { "30s" };
        let poll = format!("{ONE_POLL}\nmax_attempts = 3\nrequest_timeout = \"{timeout}\"");
        let simulator = serving(one_user()).await;
        simulator.faults().add(format!("{fault},times=2").parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, &poll).await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{fault}");
        assert_eq!(samples.sum("wickr_network_devices"), 5.0, "{fault}");
        assert_eq!(requests(&samples, code), Some(2.0), "{fault}");
        let retries = samples.get("wickr_exporter_api_retries_total", &[("reason", reason)]);
        assert_eq!(retries, Some(2.0), "{fault}");
        let simulator = serving(one_user()).await;
        simulator.faults().add(fault.parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, &poll).await;
        assert_eq!(requests(&samples, code), Some(3.0), "{fault}");
        assert_eq!(simulator.requests().total(), 3, "{fault}");
        let failed = samples.get("wickr_exporter_user_failures", &[("reason", reason)]);
        assert_eq!(failed, Some(1.0), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_retry_permanent_errors() {
    for (fault, reason) in [
        ("400", "invalid_request"),
        ("422", "invalid_request"),
        ("404", "not_found"),
        ("error:status=404,type=,message=Not Found", "invalid_response"),
        ("nonsense", "invalid_response"),
    ] {
        let simulator = serving(one_user()).await;
        simulator.faults().add(fault.parse::<Fault>().unwrap());
        let samples = after_one_poll(&simulator, ONE_POLL).await;
        assert_eq!(simulator.requests().total(), 1, "{fault}");
        let failed = samples.get("wickr_exporter_user_failures", &[("reason", reason)]);
        assert_eq!(failed, Some(1.0), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_retry_after() {
    let simulator = serving(one_user()).await;
    simulator.faults().add("429:retry-after=2,times=1".parse::<Fault>().unwrap());
    let started = Instant::now();
    let samples = after_one_poll(&simulator, ONE_POLL).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_the_list_once_after_a_rejected_page_token() {
    let poll = format!("{ONE_POLL}\npage_size = 2");
    let simulator = serving(one_user()).await;
    simulator.faults().add("refuse-token,page=3,times=1".parse::<Fault>().unwrap());
    let samples = after_one_poll(&simulator, &poll).await;
    assert_eq!(samples.sum("wickr_network_devices"), 5.0);
    assert_eq!(simulator.requests().total(), 6, "two pages, a rejection, three pages");

    let simulator = serving(one_user()).await;
    simulator.faults().add("refuse-token,page=3".parse::<Fault>().unwrap());
    let samples = after_one_poll(&simulator, &poll).await;
    let failed = samples.get("wickr_exporter_user_failures", &[("reason", "invalid_request")]);
    assert_eq!(failed, Some(1.0));
    assert_eq!(simulator.requests().total(), 6, "no second restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrects_the_clock_after_one_rejection() {
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
async fn removes_the_clock_correction_when_it_is_rejected() {
    let simulator = serving(one_user()).await;
    simulator.faults().add("skew:10m".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
    exporter.polled(1.0).await;
    simulator.faults().clear();
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert_eq!(requests(&samples, "403"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn backoff_does_not_block_other_users() {
    let fleet =
        Fleet::new().network(network(NETWORK).with_users((1..=20).map(|id| user(id.to_string()))));
    let simulator = serving(fleet).await;
    for id in 1..=4 {
        simulator.faults().add(format!("503:retry-after=50,user={id}").parse::<Fault>().unwrap());
    }
    let ids: Vec<_> = (1..=20).map(|id| id.to_string()).collect();
    let poll = format!("{ONE_POLL}\nconcurrency = 2");
    let started = Instant::now();
    let exporter = Exporter::start(&config(&simulator.endpoint(), &poll, NETWORK, &ids));
    exporter.wait_for("the other 16 users", |s| s.sum("wickr_user_up") == 16.0).await;
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_all_pages_of_directory_lists() {
    let simulator =
        simulator(Options { networks: 3, users: 45, empty_pages: 0.3, ..Options::default() }).await;
    let client = client(&simulator);
    let limiter = ConcurrencyLimiter::new(4).open();
    let (networks, invalid) = client.networks(&limiter).await.unwrap();
    assert_eq!(invalid, 0);
    assert_eq!(networks.len(), 3);
    let network = &networks[0].id;
    let all = client.users(network, &ListUsersFilter::default(), &limiter, Some).await.unwrap();
    let expected: Vec<_> = simulator.read_fleet(|fleet| {
        fleet.get(network.as_str()).unwrap().users().map(|user| user.id().to_owned()).collect()
    });
    let mut ids: Vec<_> = all.iter().map(|user| user.id.clone().unwrap().to_string()).collect();
    ids.sort();
    assert_eq!(ids, expected);
    assert!(!format!("{all:?}").contains("INVITE"));
    let groups = client.security_groups(network, &limiter).await.unwrap();
    let groups = SecurityGroup::parse_all(&groups).unwrap();
    assert_eq!(groups.len(), 4);
    assert!(
        groups.iter().any(|group| group.sso_max_idle == Some(Duration::from_secs(43_200 * 60)))
    );
    let filter = ListUsersFilter { status: Some(2), group: Some(groups[1].id.clone()) };
    let filtered = client.users(network, &filter, &limiter, Some).await.unwrap();
    assert!(!filtered.is_empty() && filtered.len() < all.len());
    assert!(filtered.iter().all(|user| user.groups.contains(&groups[1].id)));

    // A rejected token restarts these lists, too.
    simulator.faults().add("refuse-token,op=ListUsers,page=2,times=1".parse::<Fault>().unwrap());
    assert_eq!(
        client.users(network, &ListUsersFilter::default(), &limiter, Some).await.unwrap(),
        all
    );
    let unknown = client.security_groups(&"99999999".parse().unwrap(), &limiter).await;
    assert_eq!(unknown.unwrap_err().kind, ErrorKind::NotFound);
}

#[derive(Debug)]
struct NoObserver;

impl RequestObserver for NoObserver {
    fn attempted(&self, _: wickr::Operation, _: Outcome, _: Duration) {}
    fn retried(&self, _: ErrorKind) {}
    fn waited(&self, _: Duration) {}
}

/// A client of the simulator with small pages, without an exporter.
fn client(simulator: &Simulator) -> Client {
    client_with_rate(simulator, 10_000.0)
}

fn client_with_rate(simulator: &Simulator, requests_per_second: f64) -> Client {
    client_with(simulator, requests_per_second, Clock::system())
}

pub fn client_with(simulator: &Simulator, requests_per_second: f64, clock: Clock) -> Client {
    client_at(&simulator.endpoint(), requests_per_second, clock)
}

pub fn client_at(endpoint: &str, requests_per_second: f64, clock: Clock) -> Client {
    let fixed = CredentialSource::Fixed {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
    };
    Client::new(ClientOptions {
        endpoint: Endpoint::parse(endpoint).unwrap(),
        region: "us-east-1".into(),
        ca_bundle: None,
        credentials: Arc::new(CredentialStore::new(fixed, clock)),
        rate: Arc::new(RateLimiter::new(requests_per_second)),
        timezone: jiff::tz::TimeZone::UTC,
        request_timeout: Duration::from_secs(10),
        max_attempts: 3,
        page_size: 7,
        interner: Arc::default(),
        observer: Arc::new(NoObserver),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_in_a_response_callback_fails_that_request_only() {
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user("1")))).await;
    let client = client(&simulator);
    let (limiter, network) = (ConcurrencyLimiter::new(2).open(), NETWORK.parse().unwrap());
    let filter = ListUsersFilter::default();
    let panicking = |_: wickr::User| -> Option<()> { panic!("test") };
    let failed = client.users(&network, &filter, &limiter, panicking).await;
    assert_eq!(failed.unwrap_err().kind, ErrorKind::InvalidResponse);
    // More requests than permits: the failed request released its permit.
    for _ in 0..3 {
        let users = client.users(&network, &filter, &limiter, |user| Some(user.id)).await.unwrap();
        assert_eq!(users.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_rate_after_slow_responses() {
    let simulator = serving(one_user()).await;
    simulator.faults().add("slow:1s,times=4".parse::<Fault>().unwrap());
    let client = Arc::new(client_with_rate(&simulator, 10.0));
    let limiter = Arc::new(ConcurrencyLimiter::new(4).open());
    let mut requests = tokio::task::JoinSet::new();
    // The first four keep all permits for a second, in which the others wait.
    for _ in 0..24 {
        let (client, limiter) = (client.clone(), limiter.clone());
        requests.spawn(async move {
            let (network, user) = (NETWORK.parse().unwrap(), "1001".parse().unwrap());
            client.devices(&network, &user, &limiter).await.unwrap();
        });
    }
    while let Some(result) = requests.join_next().await {
        result.unwrap();
    }
    let mut times: Vec<_> =
        simulator.requests().recent().iter().map(|record| record.at.as_millisecond()).collect();
    times.sort_unstable();
    assert_eq!(times.len(), 24);
    for window in times.windows(13) {
        assert!(window[12] - window[0] >= 1_000, "13 requests within a second: {times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_lowers_the_rate_until_it_recovers() {
    let fleet =
        Fleet::new().network(network(NETWORK).with_users((1..=40).map(|id| user(id.to_string()))));
    let simulator = serving(fleet).await;
    simulator.faults().add("429,times=4".parse::<Fault>().unwrap());
    let ids: Vec<_> = (1..=40).map(|id| id.to_string()).collect();
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
    exporter.wait_for("the configured rate", |s| rate(s) == 50.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_the_configured_concurrency_across_networks() {
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
