//! The claims of SECURITY.md that no other module tests: hostile endpoints, hostile names, and
//! requests from other sites.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio_rustls::rustls;
use wickr_exporter::simulator::{Fault, Fleet, network, user};

use crate::{
    harness::{Exporter, FAST, Samples, config, http, program, serving},
    keys::Keys,
};

const NETWORK: &str = "12345678";

/// A hostile server in place of the Wickr API. Counts its connections.
struct Server {
    base: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `respond` for each connection after it has read the request.
    fn new(respond: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (counter, respond) = (connections.clone(), Arc::new(respond));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                counter.fetch_add(1, Ordering::Relaxed);
                let respond = respond.clone();
                std::thread::spawn(move || {
                    let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
                    if !connection.read(&mut [0; 65_536]).is_ok_and(|length| length == 0) {
                        respond(&mut connection);
                    }
                });
            }
        });
        Server { base, connections }
    }

    fn with_response(response: String) -> Server {
        Server::new(move |connection| drop(connection.write_all(response.as_bytes())))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn failures(samples: &Samples, reason: &str) -> Option<f64> {
    samples.get("wickr_exporter_user_failures", &[("reason", reason)])
}

const ONE_ATTEMPT: &str = "interval = \"1h\"\nmax_attempts = 1";

/// One poll without retries.
async fn poll_once(endpoint: &str) -> Samples {
    Exporter::start(&config(endpoint, ONE_ATTEMPT, NETWORK, &["1001"])).polled(1.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_follow_redirects() {
    let target = Server::with_response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".into());
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Server::with_response(format!(
            "HTTP/1.1 {status}\r\nLocation: {}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            target.base
        ));
        let samples = poll_once(&server.base).await;
        assert_eq!(failures(&samples, "invalid_response"), Some(1.0), "{status}");
        assert!(server.connections() > 0);
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_compressed_and_endless_responses() {
    // 16 MiB of spaces, compressed.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b' '; 16 << 20]).unwrap();
    encoder.write_all(b"{\"devices\":[]}").unwrap();
    let body = encoder.finish().unwrap();
    let bomb = Server::new(move |connection| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
        let head = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        drop(connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body)));
    });
    let samples = poll_once(&bomb.base).await;
    assert_eq!(failures(&samples, "invalid_response"), Some(1.0));

    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let endless = Server::new(move |connection| {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut written = connection.write_all(head.as_bytes());
        // At most 1 GiB.
        for _ in 0..16_384 {
            if written.is_err() {
                return;
            }
            counter.fetch_add(chunk.len(), Ordering::Relaxed);
            written = connection.write_all(chunk.as_bytes());
        }
    });
    let samples = poll_once(&endless.base).await;
    assert_eq!(failures(&samples, "invalid_response"), Some(1.0));
    // The limit of 8 MiB and buffers, twice.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_nothing_to_a_server_with_an_invalid_certificate() {
    let keys = Keys::generate();
    let pair = keys.server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pem =
        |text: &str| rustls::pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).unwrap();
    let chain: Vec<rustls::pki_types::CertificateDer<'static>> = vec![pem(&pair.certificate)];
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let server = Arc::new(server);
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut tls = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut connection);
            let mut request = [0; 4096];
            if let Ok(length) = stream.read(&mut request) {
                counter.fetch_add(length, Ordering::Relaxed);
            }
        }
    });
    let endpoint = format!("https://localhost:{port}");
    let samples = poll_once(&endpoint).await;
    assert_eq!(failures(&samples, "connection"), Some(1.0));
    assert_eq!(received.load(Ordering::Relaxed), 0);
    // A trusted authority.
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, keys.authority()).unwrap();
    let environment = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let text = config(&endpoint, ONE_ATTEMPT, NETWORK, &["1001"]);
    let trusted = Exporter::start_with(&text, &[], &environment);
    trusted.polled(1.0).await;
    let before = received.load(Ordering::Relaxed);
    assert!(before > 0, "{}", trusted.log());
    // A host name that is not in the certificate.
    let text = config(&format!("https://127.0.0.2:{port}"), ONE_ATTEMPT, NETWORK, &["1001"]);
    Exporter::start_with(&text, &[], &environment).polled(1.0).await;
    assert_eq!(received.load(Ordering::Relaxed), before);
}

/// Terminal escapes, line ends, and a change of the text direction.
const CONTROLS: &str = "\u{1b}]0;x\u{7}\u{9b}2J\r\nlevel=error\u{202e}\u{2028}";

#[tokio::test(flavor = "multi_thread")]
async fn escapes_hostile_names_in_pages_lists_metrics_and_logs() {
    let script = "<script>alert(1)</script>";
    let quoted = format!("\"'><img src=x onerror=alert(1)>{CONTROLS}");
    let sheet = "=HYPERLINK(\"http://example.org\",\"x\")";
    let odd = user("1001").username(format!("{script}@example.com")).device_raw(
        json!({"appId": quoted, "type": script, "statusText": sheet, "lastLogin": quoted}),
    );
    let fleet =
        Fleet::new().network(network(NETWORK).name(quoted.clone()).user(odd).user(user("1002")));
    let simulator = serving(fleet).await;
    let fault = format!("422,user=1002,message={quoted}");
    simulator.faults().add(fault.parse::<Fault>().unwrap());
    let text = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\n{FAST}\n[metrics]\nusername = true\n\
         [[network]]\nid = \"all\"\nusers = \"all\"\n",
        simulator.endpoint()
    );
    let exporter = Exporter::start_with(&text, &["--log.level=trace"], &[]);
    exporter.polled(2.0).await;
    for path in ["/", "/devices", "/devices?device_type=%3Cscript%3E", "/devices?sort=%3Cscript%3E"]
    {
        let page = exporter.text(path).await;
        for markup in ["<script", "<img", "onerror=alert(1)>"] {
            assert!(!page.contains(markup), "{path}: {markup}");
        }
        assert!(!page.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{path}");
    }
    assert!(exporter.text("/devices").await.contains("&#60;script&#62;"));
    let csv = exporter.text("/api/v1/devices?format=csv").await;
    assert!(csv.contains("\"'=HYPERLINK(\"\"http"), "{csv}");
    let response = exporter.get("/api/v1/devices").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let metrics = exporter.text("/metrics").await;
    let is_valid = |line: &str| {
        line.starts_with("# ") || line.starts_with("wickr_") || line.starts_with("process_")
    };
    assert!(metrics.lines().all(is_valid), "{metrics}");
    let (_, _, log) = exporter.stop();
    assert!(!log.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2028}', '\r']), "{log}");
    assert!(log.contains("onerror") && log.lines().all(|line| line.starts_with("ts=")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_reloads_and_hides_responses_from_other_origins() {
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user("1001")))).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = Exporter::start_with(&text, &["--web.enable-lifecycle"], &[]);
    let address = format!("{}/-/reload", exporter.base);
    let host = exporter.base.strip_prefix("http://").unwrap();
    let own = format!("http://{host}");
    for (name, value, status) in [
        ("x-nothing", "", 200),
        ("origin", own.as_str(), 200),
        ("origin", "http://example.org", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let response = http().post(&address).header(name, value).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{name}: {value}");
    }
    let request = http().get(format!("{}/api/v1/devices", exporter.base));
    let response = request.header("origin", "http://example.org").send().await.unwrap();
    assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_requests_cause_no_api_requests() {
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user("1001")))).await;
    let poll = "interval = \"1h\"";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &["1001"]));
    exporter.polled(1.0).await;
    let before = simulator.requests().total();
    assert!(before > 0);
    for path in ["/metrics", "/", "/devices", "/api/v1/devices", "/api/v1/status", "/-/ready"] {
        for _ in 0..5 {
            assert_eq!(exporter.get(path).await.status(), 200, "{path}");
        }
    }
    assert_eq!(simulator.requests().total(), before);
}

/// Other users of a machine can read command lines.
#[test]
fn no_flag_takes_a_secret() {
    let mut count = 0;
    for command in [&[][..], &["check"], &["once"], &["devices"], &["simulate"], &["health"]] {
        let help = program().args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let flag = flag.trim_end_matches([',', '.', ';', ')']);
            let is_secret = ["password", "secret", "token", "key", "credential"]
                .iter()
                .any(|word| flag.contains(word));
            let names_a_file = flag.contains("file");
            assert!(!is_secret || names_a_file, "{command:?}: {flag}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn configuration_errors_do_not_print_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    for text in [
        "root:$6$saltsalt$HASHHASH:19000:0:99999:7:::\n",
        "[aws]\naws_secret_access_key = \"HASHHASH\"\n",
        "[aws]\nexternal_id = [\"HASHHASH\"]\n",
        "{\"password\": \"HASHHASH\"}",
    ] {
        std::fs::write(&file, text).unwrap();
        let output = program().args(["check", "--config.file"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let output = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&output).contains("HASHHASH"), "{text}");
    }
}
