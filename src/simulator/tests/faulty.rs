//! Each kind of fault on the wire, and stopping despite faults.

use std::io;

use super::*;

/// A simulator with this fault and a user with 20 devices.
async fn with_fault(fault: &str) -> Simulator {
    let faults = vec![fault.parse().unwrap()];
    start(Options { faults, ..Options::serving(devices(20)) }).await
}

async fn request(simulator: &Simulator) -> TcpStream {
    let credential = Credential::new(ACCESS_KEY, SECRET_KEY);
    send(simulator, &signed(simulator, DEVICES, "", &credential)).await
}

/// Reads until the end of the connection. Returns the bytes and the result.
async fn read(simulator: &Simulator) -> (Vec<u8>, io::Result<usize>) {
    let mut stream = request(simulator).await;
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    (bytes, end.expect("no end of the connection"))
}

#[tokio::test]
async fn sends_errors() {
    for (fault, error, message) in [
        ("400", "400 BadRequestError", "Bad request."),
        ("401", "401 UnauthorizedError", "Unauthorized."),
        ("unauthorized", "401 UnauthorizedError", "Unauthorized."),
        ("forbidden", "403 ForbiddenError", "Forbidden."),
        ("expired-token", "403 ExpiredTokenException", "is expired"),
        ("404", "404 ResourceNotFoundError", "User not found."),
        ("422", "422 ValidationError", "not valid"),
        ("429", "429 RateLimitError", "Rate limit exceeded."),
        ("500", "500 InternalServerError", "Internal server error."),
        ("503", "503 ServiceUnavailable", "unavailable"),
        (
            "error:status=400,type=a#ThrottlingException,message=x, y",
            "400 a#ThrottlingException",
            "x, y",
        ),
    ] {
        let simulator = with_fault(fault).await;
        let reply = get(&simulator, DEVICES, "").await;
        assert_eq!(reply.error(), error);
        assert!(reply.json()["message"].as_str().unwrap().contains(message), "{fault}");
        simulator.stop().await.unwrap();
    }
    let simulator = with_fault("429:retry-after=2,times=1").await;
    assert_eq!(get(&simulator, DEVICES, "").await.headers["retry-after"], "2");
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn rejects_an_invalid_signature_before_response_faults() {
    let simulator = with_fault("500").await;
    let wrong_secret = Credential::new(ACCESS_KEY, "wrong");
    let reply = get_as(&simulator, DEVICES, "", &wrong_secret).await;
    assert_eq!(reply.error(), "403 InvalidSignatureException");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn hang_sends_nothing_until_the_stop() {
    let simulator = with_fault("hang").await;
    let requests = simulator.requests();
    let mut stream = request(&simulator).await;
    let mut byte = [0; 1];
    let waited = tokio::time::timeout(Duration::from_millis(150), stream.read(&mut byte)).await;
    assert!(waited.is_err(), "unexpected response");
    assert_eq!(requests.in_flight(), 1);
    let cancelled = request(&simulator).await;
    while requests.in_flight() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(cancelled);
    while requests.in_flight() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    simulator.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);
    assert!(requests.recent().iter().all(|request| request.status.is_none()));
    assert_eq!(requests.total(), 2);
}

#[tokio::test]
async fn reset_and_close_send_no_response() {
    let simulator = with_fault("reset").await;
    let (bytes, end) = read(&simulator).await;
    assert_eq!((bytes.len(), end.unwrap_err().kind()), (0, io::ErrorKind::ConnectionReset));
    simulator.stop().await.unwrap();
    let simulator = with_fault("close").await;
    let (bytes, end) = read(&simulator).await;
    assert_eq!((bytes.len(), end.unwrap()), (0, 0));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn truncate_sends_half_of_the_body() {
    let simulator = with_fault("truncate").await;
    let (bytes, _) = read(&simulator).await;
    let reply = parse(&bytes);
    let content_length: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, content_length / 2));
    assert!(content_length > 1000);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn endless_exceeds_the_body_limit() {
    let simulator = with_fault("endless").await;
    let mut stream = request(&simulator).await;
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    while total < 9 << 20 {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0);
        total += read;
    }
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn drip_delays_each_byte() {
    let faults = vec!["drip:1ms".parse().unwrap()];
    let simulator = start(Options { faults, ..Options::serving(devices(1)) }).await;
    let begin = Instant::now();
    let (bytes, end) = read(&simulator).await;
    end.unwrap();
    let reply = parse(&bytes);
    let content_length: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!((reply.body.len(), reply.ids("devices", "appId").len()), (content_length, 1));
    assert!(begin.elapsed() >= Duration::from_millis(content_length as u64));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn sends_nonsense_html_and_redirect() {
    let simulator = with_fault("nonsense").await;
    let reply = get(&simulator, DEVICES, "").await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &HeaderValue::from_static("application/json"))
    );
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    simulator.faults().clear();
    simulator.faults().add("nonsense:body={\"devices\": 5}".parse().unwrap());
    assert_eq!(get(&simulator, DEVICES, "").await.body, b"{\"devices\": 5}");
    simulator.stop().await.unwrap();

    let simulator = with_fault("html").await;
    let reply = get(&simulator, DEVICES, "").await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (502, &HeaderValue::from_static("text/html"))
    );
    assert!(reply.body.starts_with(b"<html>"));
    simulator.stop().await.unwrap();

    let simulator = with_fault("redirect:location=http://example.com/?a=b,c").await;
    let reply = get(&simulator, DEVICES, "").await;
    assert_eq!(
        (reply.status, reply.headers["location"].to_str().unwrap()),
        (302, "http://example.com/?a=b,c")
    );
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn slow_delays_the_response() {
    let simulator = with_fault("slow:200ms").await;
    let begin = Instant::now();
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn skew_shifts_the_clock_and_the_date_header() {
    for (fault, seconds, message) in [
        ("skew:10m,times=1", 600, "Signature expired"),
        ("skew:-10m,times=1", -600, "Signature not yet current"),
    ] {
        let simulator = with_fault(fault).await;
        let reply = get(&simulator, DEVICES, "").await;
        assert_eq!(reply.error(), "403 InvalidSignatureException");
        assert!(reply.json()["message"].as_str().unwrap().contains(message));
        let date = httpdate::parse_http_date(reply.headers["date"].to_str().unwrap()).unwrap();
        let date = date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let offset = date - Timestamp::now().as_second();
        assert!((offset - seconds).abs() <= 5, "{offset}");
        assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
        simulator.stop().await.unwrap();
    }
    let simulator = with_fault("skew:4m").await;
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200, "within the window");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn paging_faults_repeat_extend_or_refuse_tokens() {
    let next = async |simulator: &Simulator, token: Option<String>| {
        let pairs: Vec<(&str, &str)> =
            token.as_deref().map(|token| ("nextToken", token)).into_iter().collect();
        get(simulator, DEVICES, &query(&pairs)).await
    };
    let simulator = with_fault("repeat-token").await;
    let first = next(&simulator, None).await.token();
    let second = next(&simulator, first.clone()).await.token();
    assert!(first.is_some() && first == second);
    simulator.stop().await.unwrap();

    let simulator = with_fault("endless-pages").await;
    let (mut token, mut seen) = (None, std::collections::HashSet::new());
    for _ in 0..10 {
        token = next(&simulator, token).await.token();
        assert!(seen.insert(token.clone().expect("a token")), "repeated token");
    }
    simulator.stop().await.unwrap();

    let simulator = with_fault("refuse-token,times=1").await;
    let token = next(&simulator, None).await.token();
    assert_eq!(next(&simulator, token.clone()).await.error(), "400 BadRequestError");
    assert_eq!(next(&simulator, token).await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn page_selector_and_log_count_pages() {
    let simulator = with_fault("500,page=2").await;
    let reply = get(&simulator, DEVICES, "maxResults=6").await;
    let token = reply.token().unwrap();
    let query = query(&[("maxResults", "6"), ("nextToken", &token)]);
    assert_eq!(get(&simulator, DEVICES, &query).await.status, 500);
    let pages: Vec<Option<u32>> =
        simulator.requests().recent().iter().map(|record| record.page).collect();
    assert_eq!(pages, [Some(1), Some(2)]);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn stop_reports_panics() {
    let simulator = start(Options::serving(devices(1))).await;
    simulator.faults().add(Fault::new(super::faults::FaultKind::Panic));
    let (bytes, _) = read(&simulator).await;
    assert!(bytes.is_empty());
    let error = simulator.stop().await.unwrap_err();
    assert_eq!(error, StopError::Panicked(vec!["injected".to_owned()]));
}

#[tokio::test]
async fn stops_fast_with_idle_clients_and_slow_responses() {
    let simulator = with_fault("slow:1h").await;
    let _idle = TcpStream::connect(simulator.address()).await.unwrap();
    let _slow = request(&simulator).await;
    while simulator.requests().in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (address, begin) = (simulator.address(), Instant::now());
    simulator.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(TcpStream::connect(address).await.is_err(), "the port is still open");
}
