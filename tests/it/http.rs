//! Routes, formats, compression, limits and shutdown.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, header};
use wickr_exporter::simulator::{Count, Fault, Fleet, Options, Simulator, device, network, user};

use crate::harness::{Exporter, FAST, TIMEOUT, config, http, serving, simulator};

fn small_fleet() -> Fleet {
    Fleet::new().network(
        network("12345678")
            .user(user("1001").device(device("a").kind("iOS")))
            .user(user("1002").device(device("b").kind("Windows"))),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_return_their_status() {
    let simulator = serving(small_fleet()).await;
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, "12345678", &["1001"]));
    exporter.polled(1.0).await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("POST", "/", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/-/healthy", 405),
        ("GET", "/metrics/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/-/reload", 405),
        ("POST", "/-/reload", 403),
        ("GET", "/metrics?collect[]=nonsense", 400),
    ] {
        let request = http().request(
            Method::from_bytes(method.as_bytes()).unwrap(),
            format!("{}{path}", exporter.base),
        );
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        if status == 405 {
            let allowed = if path == "/-/reload" { "POST" } else { "GET,HEAD" };
            assert_eq!(response.headers()[header::ALLOW], allowed);
        }
        let body = response.text().await.unwrap();
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}: {body}");
    }
    assert!(exporter.text("/").await.contains("href=\"/metrics\""));
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_path_moves_the_metrics() {
    let simulator = serving(small_fleet()).await;
    let config = config(&simulator.endpoint(), FAST, "12345678", &["1001"]);
    let exporter = Exporter::start_with(&config, &["--web.telemetry-path=/wickr/x"], &[]);
    assert_eq!(exporter.get("/wickr/x").await.status(), StatusCode::OK);
    assert_eq!(exporter.get("/metrics").await.status(), StatusCode::NOT_FOUND);
    assert!(exporter.text("/").await.contains("href=\"/wickr/x\""));
    let exporter = Exporter::start_with(&config, &["--web.telemetry-path=/"], &[]);
    assert!(exporter.text("/").await.contains("wickr_exporter_build_info"));
}

#[tokio::test(flavor = "multi_thread")]
async fn negotiates_the_format_and_compresses_with_gzip() {
    let simulator = serving(small_fleet()).await;
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, "12345678", &["1001"]));
    exporter.polled(1.0).await;
    let get = async |accept: &'static str| {
        let request =
            http().get(format!("{}/metrics", exporter.base)).header(header::ACCEPT, accept);
        let response = request.send().await.unwrap();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (kind, response.text().await.unwrap())
    };
    let (kind, text) = get("*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE wickr_network_device_idle_seconds histogram\n"));
    assert!(text.contains("# TYPE wickr_exporter_polls_total counter\n"));
    let (kind, text) = get("application/openmetrics-text; version=1.0.0").await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("# TYPE wickr_network_device_idle_seconds gaugehistogram\n"));
    assert!(text.contains("# TYPE wickr_exporter_polls counter\n"));

    let url = format!("{}/metrics?collect[]=network", exporter.base);
    let compressed = http().get(&url).header(header::ACCEPT_ENCODING, "gzip").send().await.unwrap();
    assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
    let compressed = compressed.bytes().await.unwrap();
    let mut decompressed = String::new();
    flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut decompressed).unwrap();
    let plain = http().get(&url).send().await.unwrap().text().await.unwrap();
    // Values that depend on the time differ between scrapes.
    let names = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(names(&decompressed), names(&plain));
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_and_detail_select_groups() {
    let simulator = serving(small_fleet()).await;
    let base = config(&simulator.endpoint(), FAST, "12345678", &["1001"]);
    for (detail, query, present, absent) in [
        (
            "device",
            "",
            "wickr_up wickr_user_up wickr_device_info wickr_exporter_build_info process_open_fds",
            "",
        ),
        (
            "device",
            "?collect[]=user",
            "wickr_user_up",
            "wickr_up wickr_device_info wickr_exporter_build_info",
        ),
        (
            "device",
            "?collect[]=network&collect%5B%5D=exporter",
            "wickr_up wickr_exporter_build_info process_open_fds",
            "wickr_user_up wickr_device_info",
        ),
        ("user", "", "wickr_up wickr_user_up", "wickr_device_info"),
        ("network", "", "wickr_up wickr_network_devices", "wickr_user_up wickr_device_info"),
        ("network", "?collect[]=device", "", "wickr_up wickr_user_up wickr_device_info"),
    ] {
        let exporter = Exporter::start(&format!("{base}[metrics]\ndetail = \"{detail}\"\n"));
        exporter.polled(1.0).await;
        let samples =
            crate::harness::Samples::parse(&exporter.text(&format!("/metrics{query}")).await);
        for name in present.split_whitespace() {
            assert!(samples.has(name), "{detail} {query}: {name} is absent");
        }
        for name in absent.split_whitespace() {
            assert!(!samples.has(name), "{detail} {query}: {name} is present");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn is_healthy_at_once_and_ready_after_the_first_poll() {
    let simulator = serving(small_fleet()).await;
    simulator.faults().add("slow:1s".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, "12345678", &["1001"]));
    assert_eq!(exporter.get("/-/healthy").await.status(), StatusCode::OK);
    assert_eq!(exporter.get("/-/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    exporter.polled(1.0).await;
    assert_eq!(exporter.get("/-/ready").await.status(), StatusCode::OK);
}

/// A network whose scrape does not fit into the socket buffers, and its users.
async fn many_devices() -> (Simulator, Vec<String>) {
    let devices_per_user = Count { min: 100, max: 100 };
    let simulator = simulator(Options { users: 80, devices_per_user, ..Options::default() }).await;
    (simulator, (1001..1081).map(|id| id.to_string()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_is_prompt_during_a_poll_and_completes_responses() {
    let (simulator, users) = many_devices().await;
    simulator.faults().add("hang,user=1001".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, "12345678", &users));
    let others = (users.len() - 1) as f64;
    exporter.wait_for("all users but one", |samples| samples.sum("wickr_user_up") >= others).await;
    // A client that does not read the response, and one that sends nothing.
    let address = exporter.base.trim_start_matches("http://").to_owned();
    let mut unread = TcpStream::connect(&address).unwrap();
    unread.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _idle = TcpStream::connect(&address).unwrap();
    // A client that reads the rest of the response during the shutdown.
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut start = [0; 1000];
    slow.read_exact(&mut start).unwrap();
    let reading = std::thread::spawn(move || {
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).map(|_| rest)
    });
    let started = Instant::now();
    let (status, took, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let rest = reading.join().unwrap().unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "truncated response");
    assert!(started.elapsed() < TIMEOUT);
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_scrapes_above_the_limit_until_a_permit_is_free() {
    let (simulator, users) = many_devices().await;
    let poll = "interval = \"1h\"\nrequests_per_second = 10000";
    let config = config(&simulator.endpoint(), poll, "12345678", &users);
    let exporter = Exporter::start(&format!("{config}[web]\nmax_concurrent_scrapes = 1\n"));
    exporter.polled(1.0).await;
    let mut slow = TcpStream::connect(exporter.base.trim_start_matches("http://")).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut start = [0; 100];
    slow.read_exact(&mut start).unwrap();
    let refused = exporter.get("/metrics").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("max_concurrent_scrapes"));
    assert_eq!(exporter.get("/-/healthy").await.status(), StatusCode::OK);
    drop(slow);
    let deadline = Instant::now() + TIMEOUT;
    while exporter.get("/metrics").await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "the permit was not released");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
