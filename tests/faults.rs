//! Each fault as a client sees it, and the end of a simulator with faults.

use std::io;

use super::*;

/// A user of 20 devices, with this fault.
async fn with_fault(fault: &str) -> Simulator {
    let faults = vec![fault.parse().unwrap()];
    start(Options { faults, ..Options::serving(devices(20)) }).await
}

fn request(simulator: &Simulator) -> String {
    signed(simulator, DEVICES, "", &Credential::new(ACCESS_KEY, SECRET_KEY))
}

/// Sends a request without reading the response.
async fn ask(simulator: &Simulator) -> TcpStream {
    send(simulator, &request(simulator)).await
}

/// The response to a request: its bytes, and how the connection ended.
async fn read(simulator: &Simulator) -> (Vec<u8>, io::Result<usize>) {
    exchange(simulator, &request(simulator)).await
}

/// The complete response to the only request to a simulator with this fault.
async fn reply_with(fault: &str) -> Reply {
    let simulator = with_fault(fault).await;
    let reply = get(&simulator, DEVICES, "").await;
    simulator.stop().await.unwrap();
    reply
}

#[tokio::test]
async fn errors_have_the_status_type_and_message_of_the_fault() {
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
        ("error:status=400,type=a#Throttling,message=x, y", "400 a#Throttling", "x, y"),
    ] {
        let reply = reply_with(fault).await;
        assert_eq!(reply.error(), error);
        assert!(reply.message().contains(message), "{fault}");
    }
    let simulator = with_fault("429:retry-after=2,times=1").await;
    assert_eq!(get(&simulator, DEVICES, "").await.header("retry-after"), "2");
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn an_invalid_signature_takes_precedence_over_a_fault() {
    let simulator = with_fault("500").await;
    let wrong = Credential::new(ACCESS_KEY, "wrong");
    let reply = get_as(&simulator, DEVICES, "", &wrong).await;
    assert_eq!(reply.error(), "403 InvalidSignatureException");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn hang_does_not_respond_until_the_simulator_stops() {
    let simulator = with_fault("hang").await;
    let requests = simulator.requests();
    let mut stream = ask(&simulator).await;
    let mut byte = [0; 1];
    let waited = tokio::time::timeout(Duration::from_millis(150), stream.read(&mut byte)).await;
    assert!(waited.is_err(), "a response");
    assert_eq!(requests.in_flight(), 1);
    let abandoned = ask(&simulator).await;
    while requests.in_flight() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(abandoned);
    while requests.in_flight() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    simulator.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);
    assert_eq!(requests.count_status(None), 2);
}

#[tokio::test]
async fn reset_and_close_end_the_connection_without_a_response() {
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
async fn truncate_sends_half_of_the_announced_length() {
    let simulator = with_fault("truncate").await;
    let (bytes, _) = read(&simulator).await;
    let reply = Reply::parse(&bytes);
    let length: usize = reply.header("content-length").parse().unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, length / 2));
    assert!(length > 1000);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn endless_sends_more_than_a_client_should_read() {
    let simulator = with_fault("endless").await;
    let mut stream = ask(&simulator).await;
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
async fn slow_and_drip_delay_the_response() {
    let begin = Instant::now();
    assert_eq!(reply_with("slow:200ms").await.status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(200));

    let faults = vec!["drip:1ms".parse().unwrap()];
    let simulator = start(Options { faults, ..Options::serving(devices(1)) }).await;
    let begin = Instant::now();
    let reply = get(&simulator, DEVICES, "").await;
    let length: usize = reply.header("content-length").parse().unwrap();
    assert_eq!((reply.body.len(), reply.ids("devices", "appId").len()), (length, 1));
    assert!(begin.elapsed() >= Duration::from_millis(length as u64));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn nonsense_html_and_redirect_are_not_responses_of_the_api() {
    let reply = reply_with("nonsense").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    assert_eq!(reply_with("nonsense:body={\"devices\": 5}").await.body, b"{\"devices\": 5}");

    let reply = reply_with("html").await;
    assert_eq!((reply.status, reply.header("content-type")), (502, "text/html"));
    assert!(reply.body.starts_with(b"<html>"));

    let reply = reply_with("redirect:location=http://example.com/?a=b,c").await;
    assert_eq!((reply.status, reply.header("location")), (302, "http://example.com/?a=b,c"));
}

#[tokio::test]
async fn skew_changes_the_clock_and_the_date_header() {
    for (fault, seconds, message) in [
        ("skew:10m,times=1", 600, "Signature expired"),
        ("skew:-10m,times=1", -600, "Signature not yet current"),
    ] {
        let simulator = with_fault(fault).await;
        let reply = get(&simulator, DEVICES, "").await;
        assert_eq!(reply.error(), "403 InvalidSignatureException");
        assert!(reply.message().contains(message));
        let date = httpdate::parse_http_date(reply.header("date")).unwrap();
        let date = date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let off = date - Timestamp::now().as_second();
        assert!((off - seconds).abs() <= 5, "{off}");
        assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
        simulator.stop().await.unwrap();
    }
    assert_eq!(reply_with("skew:4m").await.status, 200, "within the accepted difference");
}

#[tokio::test]
async fn tokens_repeat_never_end_or_are_refused() {
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
        assert!(seen.insert(token.clone().expect("a token on every page")), "a new token");
    }
    simulator.stop().await.unwrap();

    let simulator = with_fault("refuse-token,times=1").await;
    let token = next(&simulator, None).await.token();
    assert_eq!(next(&simulator, token.clone()).await.error(), "400 BadRequestError");
    assert_eq!(next(&simulator, token).await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn page_selects_by_the_position_of_the_token() {
    let simulator = with_fault("500,page=2").await;
    let reply = get(&simulator, DEVICES, "maxResults=6").await;
    let token = reply.token().unwrap();
    let query = query(&[("maxResults", "6"), ("nextToken", &token)]);
    assert_eq!(get(&simulator, DEVICES, &query).await.status, 500);
    let recent = simulator.requests().recent();
    assert_eq!(recent.iter().map(|r| r.page).collect::<Vec<_>>(), [Some(1), Some(2)]);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn stop_reports_a_panic() {
    let simulator = with_fault("panic").await;
    let (bytes, _) = read(&simulator).await;
    assert!(bytes.is_empty());
    let error = simulator.stop().await.unwrap_err();
    assert_eq!(error, StopError::Panicked(vec!["a fault".to_owned()]));
}

#[tokio::test]
async fn stops_at_once_with_idle_connections_and_slow_responses() {
    let simulator = with_fault("slow:1h").await;
    let _idle = TcpStream::connect(simulator.address()).await.unwrap();
    let _slow = ask(&simulator).await;
    while simulator.requests().in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (address, begin) = (simulator.address(), Instant::now());
    simulator.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(TcpStream::connect(address).await.is_err(), "the port is still in use");
}
