//! The rate limit and malformed requests.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_counts_authenticated_requests_only() {
    let rate_limit = "rate_limit:\n  interval: 1h\n  burst: 3\n";
    let setup = Setup::new(&format!("{TLS}{}{rate_limit}", users(&[ALICE]))).await;
    for _ in 0..5 {
        assert_eq!(setup.status("/metrics", None, None).await, 401);
    }
    for status in [200, 200, 200, 429] {
        assert_eq!(setup.status("/metrics", None, Some(ALICE)).await, status);
    }
    assert_eq!(setup.status("/-/healthy", None, None).await, 200);
    setup.simulator.stop().await.unwrap();
}

/// Sends bytes over plain HTTP. Returns the first status and everything received.
fn raw(setup: &Setup, bytes: &[u8]) -> (u16, String) {
    let address = setup.exporter.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    // The response can arrive before everything is sent.
    let _ = stream.write_all(bytes);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), response)
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_requests_do_not_bypass_authentication() {
    let setup = Setup::new(&users(&[ALICE])).await;
    let end = "Connection: close\r\n\r\n";
    let long = "x".repeat(20_000);
    let many: String = (0..100).map(|i| format!("X-{i}: y\r\n")).collect();
    for (head, status) in [
        ("GET /-/healthy HTTP/1.1\r\nHost: x\r\n".to_owned(), 200),
        ("GET http://x/-/healthy HTTP/1.1\r\nHost: x\r\n".into(), 200),
        ("GET http://x/metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET http://x/-/healthy/../../metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET //metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /-/healthy/../../metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /-/ready%2f..%2f..%2fmetrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /-/healthy%00/metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /%2d/healthy HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /-/healthy/ HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /-/healthy;/metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /metrics#/-/healthy HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET /metrics?/-/healthy HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("GET \\metrics HTTP/1.1\r\nHost: x\r\n".into(), 400),
        ("GET metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("TRACE /metrics HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n".into(), 401),
        ("POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n".into(), 405),
        ("GET /metrics HTTP/1.0\r\n".into(), 401),
        ("GET /metrics HTTP/1.1\r\n".into(), 400),
        ("GET /-/healthy HTTP/1.1\r\nHost: x\r\nHost: y\r\n".into(), 400),
        ("GET /metrics HTTP/1.1\r\nHost: <script>\r\n".into(), 401),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Original-URL: /-/healthy\r\n".into(), 401),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic\r\n".into(), 401),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n".into(), 400),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n"), 431),
        (format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\nX: {long}\r\n"), 431),
        (format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{many}"), 431),
        ("\x16\x03\x01\x02\x00\x01\x00".into(), 400),
    ] {
        let (found, response) = raw(&setup, format!("{head}{end}").as_bytes());
        let head = head.get(..60).unwrap_or(&head);
        let matches = found == status || (status == 431 && found == 414);
        assert!(matches, "{head}: {found}, not {status}: {response}");
        assert!(!response.contains("wickr_"), "{head}: {response}");
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggled_requests_are_not_served() {
    let setup = Setup::new(&users(&[ALICE])).await;
    let inner = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for head in [
        // RFC 9112: Content-Length is ignored, and the connection closes after the response.
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 6\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0, 0\r\n\r\n",
    ] {
        let text = format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{head}{inner}");
        let (status, response) = raw(&setup, text.as_bytes());
        let both = head.contains("chunked\r\n") && head.contains("Content-Length");
        assert_eq!(status, if both { 200 } else { 400 }, "{head}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{head}: {response}");
    }
    // A well-formed second request needs its own password.
    let text = format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n{inner}");
    let (status, response) = raw(&setup, text.as_bytes());
    assert_eq!((status, response.matches("HTTP/1.1 401").count()), (200, 1), "{response}");
    for header in ["nosniff", "no-store", "frame-ancestors 'none'"] {
        assert_eq!(response.matches(header).count(), 2, "{header} {response}");
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn responds_without_reading_the_body() {
    let setup = Setup::new(&users(&[ALICE])).await;
    for path in ["/metrics", "/-/healthy", "/-/reload"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
        let started = Instant::now();
        let (status, _) = raw(&setup, format!("{head}{}", "x".repeat(1000)).as_bytes());
        assert!([401, 405].contains(&status), "{path}: {status}");
        assert!(started.elapsed() < Duration::from_secs(5), "{path}: {:?}", started.elapsed());
    }
    setup.simulator.stop().await.unwrap();
}
