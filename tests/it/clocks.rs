//! Local clocks that are wrong or step: signatures, credentials, idle times, ages and timestamps stay
//! correct. The service and the test have the correct time.
//!
//! `faketime` sets the clock of the real program, except its monotonic clocks, as `settimeofday` would.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tempfile::TempDir;
use wickr_exporter::{
    clock::{Clock, ManualClock, Millis},
    simulator::{ClockError, Credential, Fault, Fleet, Options, Simulator, device, network, user},
    wickr::ConcurrencyLimiter,
};

use crate::{
    client::client_with,
    harness::{Exporter, FAST, Samples, config, serving, simulator},
    tools,
};

const NETWORK: &str = "12345678";
const USERS: [&str; 3] = ["1001", "1002", "1003"];
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
const OFFSETS: [Millis; 4] = [2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY];
/// The seconds for which each device is idle.
const IDLE: f64 = 5_400.0;
/// The service's date has no fraction, and the test is not instantaneous.
const ACCURACY: f64 = 30.0;

fn fleet() -> Fleet {
    let login = |id| device(format!("{id}a")).last_login_ago(Duration::from_secs_f64(IDLE));
    Fleet::new().network(network(NETWORK).with_users(USERS.map(|id| user(id).device(login(id)))))
}

fn now() -> Millis {
    Timestamp::now().as_millisecond()
}

/// A clock of the program that the test sets.
struct FakeClock {
    file: PathBuf,
    library: String,
    _folder: TempDir,
}

impl FakeClock {
    /// A clock that is wrong by `offset`. None if `faketime` is missing.
    fn new(offset: Millis) -> Option<FakeClock> {
        let faketime = tools::find("faketime")?;
        let library = tools::run(&faketime, &["-m", "-f", "+0", "printenv", "LD_PRELOAD"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("time");
        let clock = FakeClock { file, library: library.trim().to_owned(), _folder: folder };
        clock.set(offset);
        // The clock inside is the one that was set.
        let output = Command::new("date").arg("+%s%3N").envs(clock.environment()).output().unwrap();
        let inside: Millis = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let error = (inside - now() - offset).abs();
        assert!(error < 10_000, "faketime does not set the clock: {error} ms");
        Some(clock)
    }

    /// Sets the clock, also of a running program.
    fn set(&self, offset: Millis) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{:+}\n", offset / 1000)).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn environment(&self) -> BTreeMap<&str, &str> {
        BTreeMap::from([
            ("LD_PRELOAD", &*self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])
    }

    fn start(&self, config: &str, environment: &[(&str, &str)]) -> Exporter {
        let environment: Vec<_> =
            self.environment().into_iter().chain(environment.iter().copied()).collect();
        Exporter::start_with(config, &[], &environment)
    }
}

/// All timestamps and idle times of a scrape are correct.
fn assert_times(samples: &Samples, context: &str) {
    let now = now() as f64 / 1e3;
    for name in ["wickr_device_idle_seconds", "wickr_user_idle_seconds"] {
        let idle: Vec<_> = samples.series(name, &[]).collect();
        assert_eq!(idle.len(), USERS.len(), "{context}: {name}");
        assert!(idle.iter().all(|(_, idle)| (idle - IDLE).abs() < ACCURACY), "{context}: {idle:?}");
    }
    for name in
        ["wickr_user_last_poll_timestamp_seconds", "wickr_exporter_last_poll_timestamp_seconds"]
    {
        for (series, at) in samples.series(name, &[]) {
            // A user that fails keeps the time of its data.
            let age = now - at;
            assert!((-ACCURACY..2.0 * ACCURACY).contains(&age), "{context}: {series} {age}");
        }
    }
}

fn rejected(samples: &Samples) -> f64 {
    samples.get("wickr_exporter_api_requests_total", &[("code", "403")]).unwrap_or(0.0)
}

fn users(samples: &Samples) -> [Option<f64>; 3] {
    ["fresh", "stale", "missing"]
        .map(|freshness| samples.get("wickr_network_users", &[("freshness", freshness)]))
}

/// A container's credentials, valid for an hour, and an STS that verifies the time of signatures.
async fn credentials(requests: Arc<AtomicUsize>) -> String {
    async fn respond(
        State(requests): State<Arc<AtomicUsize>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let expiration = (Timestamp::now() + 1.hour()).to_string();
        if body.is_empty() {
            requests.fetch_add(1, Ordering::Relaxed);
            return json!({"AccessKeyId": "ASIATEST", "SecretAccessKey": "s", "Token": "t", "Expiration": expiration})
                .to_string()
                .into_response();
        }
        let date = headers["x-amz-date"].to_str().unwrap();
        let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let signed = jiff::tz::TimeZone::UTC.to_timestamp(signed).unwrap();
        if (signed.as_millisecond() - now()).abs() > 300_000 {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
                         <Message>Signature expired</Message></Error></ErrorResponse>";
            return (StatusCode::FORBIDDEN, error).into_response();
        }
        requests.fetch_add(1, Ordering::Relaxed);
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/r/x</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleResult></AssumeRoleResponse>"
        )
        .into_response()
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(respond)).with_state(requests);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_causes_rejected_requests_only_at_the_start() {
    for (offset, role) in OFFSETS.into_iter().zip([true, false, false, true]) {
        let context = format!("{} h, role: {role}", offset / HOUR);
        let Some(clock) = FakeClock::new(offset) else { return };
        let fetched = Arc::new(AtomicUsize::new(0));
        let url = credentials(fetched.clone()).await;
        let simulator = serving(fleet()).await;
        simulator.credentials().add(Credential::new("ASIATEST", "s").session_token("t"));
        let mut text = config(&simulator.endpoint(), FAST, NETWORK, &USERS);
        let environment = if role {
            let arn = "role_arn = \"arn:aws:iam::111122223333:role/wickr-read\"";
            text = text.replace("[aws]", &format!("[aws]\n{arn}"));
            vec![("AWS_ENDPOINT_URL_STS", &*url)]
        } else {
            vec![
                ("AWS_ACCESS_KEY_ID", ""),
                ("AWS_SECRET_ACCESS_KEY", ""),
                ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials"),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
            ]
        };
        let exporter = clock.start(&text, &environment);
        let samples = exporter.polled(3.0).await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{context}: {}", exporter.log());
        // One for each request that was in flight with the wrong time.
        let corrections = rejected(&samples);
        assert!((1.0..=USERS.len() as f64).contains(&corrections), "{context}: {corrections}");
        assert_eq!(fetched.load(Ordering::Relaxed), 1, "{context}");
        assert_times(&samples, &context);
        let message = "the local clock is wrong, using the time of the service";
        assert_eq!(exporter.log().matches(message).count(), 1, "{context}: {}", exporter.log());

        // The clock is corrected.
        clock.set(0);
        let samples = exporter.next_poll().await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{context}: {}", exporter.log());
        assert_eq!(rejected(&samples), corrections, "{context}");
        assert_times(&samples, &context);
        assert!(exporter.log().contains("the local clock is correct again"), "{}", exporter.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_during_a_poll_changes_no_value() {
    for step in OFFSETS {
        let context = format!("{} h", step / HOUR);
        let Some(clock) = FakeClock::new(0) else { return };
        let simulator = serving(fleet()).await;
        let poll =
            "interval = \"1s\"\nstale_after = \"1h\"\nrequests_per_second = 6\nmax_attempts = 1";
        let exporter = clock.start(&config(&simulator.endpoint(), poll, NETWORK, &USERS), &[]);
        exporter.polled(1.0).await;
        simulator.faults().add("500,user=1002".parse::<Fault>().unwrap());
        exporter.wait_for("stale data", |s| users(s)[1] == Some(1.0)).await;
        let progress = |s: &Samples| s.get("wickr_exporter_poll_progress_ratio", &[]).unwrap();
        exporter.wait_for("a poll", |s| (0.1..0.9).contains(&progress(s))).await;
        clock.set(step);
        let samples = exporter.metrics().await;
        assert_eq!(users(&samples), [Some(2.0), Some(1.0), Some(0.0)], "{context}");
        assert_times(&samples, &context);
        let samples = exporter.next_poll().await;
        assert_eq!(users(&samples), [Some(2.0), Some(1.0), Some(0.0)], "{context}");
        assert_eq!(rejected(&samples), 0.0, "{context}");
        assert_times(&samples, &context);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_data_stays_stale_or_missing_when_a_wrong_clock_steps() {
    for (offset, expected) in OFFSETS.into_iter().zip([
        // A clock that is ahead makes data too old; it must not make it fresh.
        [Some(0.0), Some(0.0), Some(3.0)],
        [Some(0.0), Some(3.0), Some(0.0)],
        [Some(0.0), Some(0.0), Some(3.0)],
        [Some(0.0), Some(3.0), Some(0.0)],
    ]) {
        let context = format!("{} h", offset / HOUR);
        let Some(clock) = FakeClock::new(0) else { return };
        let simulator = serving(fleet()).await;
        let state = tempfile::tempdir().unwrap();
        let poll = format!(
            "interval = \"1s\"\nstale_after = \"1h\"\nrequests_per_second = 100\nmax_attempts = 1\n\
             request_timeout = \"500ms\"\n[state]\npath = \"{}\"",
            state.path().join("state").display()
        );
        let text = config(&simulator.endpoint(), &poll, NETWORK, &USERS);
        let exporter = clock.start(&text, &[]);
        let before = exporter.polled(1.0).await;
        assert_eq!(exporter.stop().0.code(), Some(0));

        simulator.faults().add("hang".parse::<Fault>().unwrap());
        clock.set(offset);
        let exporter = clock.start(&text, &[]);
        assert_eq!(users(&exporter.metrics().await), expected, "{context}");
        clock.set(0);
        assert_eq!(users(&exporter.metrics().await), expected, "{context}");
        let samples = exporter.polled(2.0).await;
        assert_eq!(users(&samples), expected, "{context}");
        let name = "wickr_user_last_poll_timestamp_seconds";
        for (series, at) in samples.series(name, &[]) {
            let (_, read) = before.series(name, &[]).find(|(before, _)| *before == series).unwrap();
            // The first process may have polled once more.
            assert!((0.0..ACCURACY).contains(&(at - read)), "{context}: {series} {at} {read}");
        }
        simulator.faults().clear();
        let samples = exporter.wait_for("fresh data", |s| users(s)[0] == Some(3.0)).await;
        assert_times(&samples, &context);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_before_the_first_response_corrects_the_time_of_the_last_poll() {
    for offset in OFFSETS {
        let Some(clock) = FakeClock::new(offset) else { return };
        let simulator = serving(fleet()).await;
        simulator.faults().add("hang".parse::<Fault>().unwrap());
        let poll = "interval = \"1h\"\nmax_attempts = 1\nrequest_timeout = \"500ms\"";
        let exporter = clock.start(&config(&simulator.endpoint(), poll, NETWORK, &USERS), &[]);
        let age = |samples: &Samples| {
            let at = samples.get("wickr_exporter_last_poll_timestamp_seconds", &[]).unwrap();
            now() as f64 / 1e3 - at
        };
        let samples = exporter.polled(1.0).await;
        assert!((age(&samples) + offset as f64 / 1e3).abs() < ACCURACY, "{}", age(&samples));
        clock.set(0);
        let samples = exporter.metrics().await;
        assert!(age(&samples).abs() < ACCURACY, "{offset}: {}", age(&samples));
    }
}

/// Reads a user's devices with the injected clock, and returns the requests that this took.
async fn read_once(simulator: &Simulator, client: &wickr_exporter::wickr::Client) -> u64 {
    let before = simulator.requests().total();
    let limiter = ConcurrencyLimiter::new(1).open();
    let (network, user) = (NETWORK.parse().unwrap(), USERS[0].parse().unwrap());
    client.devices(&network, &user, &limiter).await.unwrap();
    simulator.requests().total() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_corrects_its_clock_once_and_ignores_steps() {
    for clock_error in [ClockError::InvalidSignature, ClockError::RequestTimeTooSkewed] {
        for offset in OFFSETS {
            let options = Options { clock_error, ..Options::serving(fleet()) };
            let simulator = simulator(options).await;
            let local = ManualClock::new(now() + offset);
            let clock = Clock::manual(&local);
            let client = client_with(&simulator, 10_000.0, clock.clone());
            let is_right = || (clock.now() - now()).abs() < 30_000;
            assert!(!is_right());
            assert_eq!(read_once(&simulator, &client).await, 2, "{offset}");
            assert!(is_right(), "{offset}");
            for step in [0, -offset, offset / 2] {
                local.step(step);
                assert_eq!(read_once(&simulator, &client).await, 1, "{offset} {step}");
                assert!(is_right(), "{offset} {step}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_date_of_a_proxy_does_not_correct_the_clock() {
    let simulator = serving(fleet()).await;
    let clock = Clock::manual(&ManualClock::new(now()));
    let client = client_with(&simulator, 10_000.0, clock.clone());
    let limiter = ConcurrencyLimiter::new(1).open();
    let (network, user) = (NETWORK.parse().unwrap(), USERS[0].parse().unwrap());
    // The key is wrong, which looks like a wrong clock if the date is wrong, too.
    let date = (Timestamp::now() + 2.hours()).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let url = rejecting(date).await;
    let rejected = client_at(&url, clock.clone());
    assert!(rejected.devices(&network, &user, &limiter).await.is_err());
    assert!((clock.now() - now()).abs() < 30_000);
    assert_eq!(read_once(&simulator, &client).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_verifies_no_signatures_does_not_change_a_proven_time() {
    let simulator = serving(fleet()).await;
    let clock = Clock::manual(&ManualClock::new(now() - 2 * HOUR));
    let is_right = || (clock.now() - now()).abs() < 30_000;
    let accepting = client_at(&accepting().await, clock.clone());
    let verifying = client_with(&simulator, 10_000.0, clock.clone());
    let limiter = ConcurrencyLimiter::new(1).open();
    let (network, user) = (NETWORK.parse().unwrap(), USERS[0].parse().unwrap());
    for (client, right) in [(&accepting, false), (&verifying, true), (&accepting, true)] {
        client.devices(&network, &user, &limiter).await.unwrap();
        assert_eq!(is_right(), right);
    }
    assert_eq!(read_once(&simulator, &verifying).await, 1);
}

/// A service that accepts every signature.
async fn accepting() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(async || "{\"devices\": []}"));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn client_at(url: &str, clock: Clock) -> wickr_exporter::wickr::Client {
    crate::client::client_at(url, 10_000.0, clock)
}

/// A service that rejects every signature, with this date.
async fn rejecting(date: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let respond = async move || {
        let headers = [("x-amzn-errortype", "InvalidSignatureException"), ("date", &*date)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (StatusCode::FORBIDDEN, axum::response::AppendHeaders(headers), "{}")
    };
    let router = Router::new().fallback(any(respond));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
