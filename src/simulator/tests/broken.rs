//! Every fault as it looks on the wire, and ends that come all the same.

use std::io;

use super::*;

/// A user of 20 devices behind this fault.
async fn with_fault(fault: &str) -> Simulator {
    let faults = vec![fault.parse().unwrap()];
    start(Options { faults, ..Options::serving(devices(20)) }).await
}

async fn ask(simulator: &Simulator) -> TcpStream {
    let credential = Credential::new(ACCESS_KEY, SECRET_KEY);
    send(simulator, &signed(simulator, DEVICES, "", &credential)).await
}

/// All bytes until the end, and how the end was.
async fn read(simulator: &Simulator) -> (Vec<u8>, io::Result<usize>) {
    let mut stream = ask(simulator).await;
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    (bytes, end.expect("an end"))
}

#[tokio::test]
async fn error_answers() {
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
async fn a_bad_signature_is_refused_before_any_fault_answers() {
    let simulator = with_fault("500").await;
    let stranger = Credential::new(ACCESS_KEY, "wrong");
    let reply = get_as(&simulator, DEVICES, "", &stranger).await;
    assert_eq!(reply.error(), "403 InvalidSignatureException");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn hang_never_answers_and_still_ends() {
    let simulator = with_fault("hang").await;
    let requests = simulator.requests();
    let mut stream = ask(&simulator).await;
    let mut byte = [0; 1];
    let waited = tokio::time::timeout(Duration::from_millis(150), stream.read(&mut byte)).await;
    assert!(waited.is_err(), "an answer");
    assert_eq!(requests.in_flight(), 1);
    let gone = ask(&simulator).await;
    while requests.in_flight() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(gone);
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
async fn reset_and_close_end_without_an_answer() {
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
async fn truncate_promises_more_than_it_sends() {
    let simulator = with_fault("truncate").await;
    let (bytes, _) = read(&simulator).await;
    let reply = parse(&bytes);
    let promised: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, promised / 2));
    assert!(promised > 1000);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn endless_sends_more_than_anyone_should_read() {
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
async fn drip_comes_a_byte_at_a_time() {
    let faults = vec!["drip:1ms".parse().unwrap()];
    let simulator = start(Options { faults, ..Options::serving(devices(1)) }).await;
    let begin = Instant::now();
    let (bytes, end) = read(&simulator).await;
    end.unwrap();
    let reply = parse(&bytes);
    let promised: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!((reply.body.len(), reply.ids("devices", "appId").len()), (promised, 1));
    assert!(begin.elapsed() >= Duration::from_millis(promised as u64));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn nonsense_html_and_redirect() {
    let simulator = with_fault("nonsense").await;
    let reply = get(&simulator, DEVICES, "").await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &HeaderValue::from_static("application/json"))
    );
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    simulator.faults().clear();
    simulator.faults().add(FaultKind::Nonsense("{\"devices\": 5}".to_owned()));
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
async fn slow_is_late() {
    let simulator = with_fault("slow:200ms").await;
    let begin = Instant::now();
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn skew_moves_the_clock_and_the_date() {
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
        let off = date - Timestamp::now().as_second();
        assert!((off - seconds).abs() <= 5, "{off}");
        assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
        simulator.stop().await.unwrap();
    }
    let simulator = with_fault("skew:4m").await;
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200, "within the window");
    simulator.stop().await.unwrap();
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
        assert!(seen.insert(token.clone().expect("always one")), "always another");
    }
    simulator.stop().await.unwrap();

    let simulator = with_fault("refuse-token,times=1").await;
    let token = next(&simulator, None).await.token();
    assert_eq!(next(&simulator, token.clone()).await.error(), "400 BadRequestError");
    assert_eq!(next(&simulator, token).await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn pages_are_counted_by_their_tokens() {
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
async fn a_panic_is_told_at_the_end() {
    let simulator = start(Options::serving(devices(1))).await;
    simulator.faults().add(FaultKind::Panic);
    let (bytes, _) = read(&simulator).await;
    assert!(bytes.is_empty());
    let error = simulator.stop().await.unwrap_err();
    assert_eq!(error, StopError::Panicked(vec!["as scripted".to_owned()]));
}

#[tokio::test]
async fn it_ends_at_once_with_idle_clients_and_slow_answers() {
    let simulator = with_fault("slow:1h").await;
    let _idle = TcpStream::connect(simulator.address()).await.unwrap();
    let _slow = ask(&simulator).await;
    while simulator.requests().in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (address, begin) = (simulator.address(), Instant::now());
    simulator.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
