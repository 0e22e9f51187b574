//! What SECURITY.md claims and no other module shows: whoever answers in the service's place, and
//! whoever names things.

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

/// Whoever listens in the service's place, and how often somebody came.
struct Impostor {
    base: String,
    came: Arc<AtomicUsize>,
}

impl Impostor {
    /// One that does that with each connection whose request it has read.
    fn new(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Impostor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let (counted, answer) = (came.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
                    if !connection.read(&mut [0; 65_536]).is_ok_and(|length| length == 0) {
                        answer(&mut connection);
                    }
                });
            }
        });
        Impostor { base, came }
    }

    fn saying(answer: String) -> Impostor {
        // Whoever does not listen to the end is not our affair.
        Impostor::new(move |connection| drop(connection.write_all(answer.as_bytes())))
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

fn failures(samples: &Samples, reason: &str) -> Option<f64> {
    samples.get("wickr_exporter_user_failures", &[("reason", reason)])
}

/// One poll without second attempts.
async fn polled_once(endpoint: &str) -> (Samples, String) {
    let poll = "interval = \"1h\"\nmax_attempts = 1";
    let exporter = Exporter::start_with(
        &config(endpoint, poll, NETWORK, &["1001"]),
        &["--log.level=trace"],
        &[],
    );
    let samples = exporter.polled(1.0).await;
    let (_, _, log) = exporter.stop();
    (samples, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_hands_no_signature_to_anybody_else() {
    let other = Impostor::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".into());
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let here = Impostor::saying(format!(
            "HTTP/1.1 {status}\r\nLocation: {}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            other.base
        ));
        let (samples, _) = polled_once(&here.base).await;
        assert_eq!(failures(&samples, "invalid_response"), Some(1.0), "{status}");
        assert!(here.came() > 0);
    }
    assert_eq!(other.came(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_not_unpacked_and_what_has_no_end_is_cut_off() {
    // 16 MiB of blanks in front of a list come to next to nothing.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&vec![b' '; 16 << 20]).unwrap();
    packed.write_all(b"{\"devices\":[]}").unwrap();
    let packed = packed.finish().unwrap();
    let bomb = Impostor::new(move |connection| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
        let head =
            format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", packed.len());
        drop(connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&packed)));
    });
    let (samples, _) = polled_once(&bomb.base).await;
    assert_eq!(failures(&samples, "invalid_response"), Some(1.0));

    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let endless = Impostor::new(move |connection| {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut went = connection.write_all(head.as_bytes());
        // It would end, too, but not before a gigabyte.
        for _ in 0..16_384 {
            if went.is_err() {
                return;
            }
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
            went = connection.write_all(chunk.as_bytes());
        }
    });
    let (samples, _) = polled_once(&endless.base).await;
    assert_eq!(failures(&samples, "invalid_response"), Some(1.0));
    // 8 MiB, what lies in buffers on the way, and a second try with fresh credentials at most.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_for_which_nobody_vouches_is_told_nothing() {
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
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = heard.clone();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut tls = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut connection);
            let mut request = [0; 4096];
            if let Ok(length) = stream.read(&mut request) {
                counted.fetch_add(length, Ordering::Relaxed);
            }
        }
    });
    let endpoint = format!("https://localhost:{port}");
    let (samples, _) = polled_once(&endpoint).await;
    assert_eq!(failures(&samples, "connection"), Some(1.0));
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    // With the authority among the machine's, it is asked.
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, keys.authority()).unwrap();
    let text = config(&endpoint, "interval = \"1h\"\nmax_attempts = 1", NETWORK, &["1001"]);
    let trusted =
        Exporter::start_with(&text, &[], &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    trusted.polled(1.0).await;
    assert!(heard.load(Ordering::Relaxed) > 0, "{}", trusted.log());
    // Another name than the certificate's.
    let before = heard.load(Ordering::Relaxed);
    let text = config(
        &format!("https://127.0.0.2:{port}"),
        "interval = \"1h\"\nmax_attempts = 1",
        NETWORK,
        &["1001"],
    );
    let misnamed =
        Exporter::start_with(&text, &[], &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    misnamed.polled(1.0).await;
    assert_eq!(heard.load(Ordering::Relaxed), before);
}

/// What steers terminals, ends lines, and turns the reading direction about.
const STEERING: &str = "\u{1b}]0;x\u{7}\u{9b}2J\r\nlevel=error\u{202e}\u{2028}";

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_harm_are_text_on_every_page_and_in_every_list() {
    let script = "<script>alert(1)</script>";
    let quoted = format!("\"'><img src=x onerror=alert(1)>{STEERING}");
    let sheet = "=HYPERLINK(\"http://example.org\",\"x\")";
    let odd = user("1001").username(format!("{script}@example.com")).device_raw(
        json!({"appId": quoted, "type": script, "statusText": sheet, "lastLogin": quoted}),
    );
    let fleet =
        Fleet::new().network(network(NETWORK).name(quoted.clone()).user(odd).user(user("1002")));
    let simulator = serving(fleet).await;
    let refusal = format!("422,user=1002,message={quoted}");
    simulator.faults().add(refusal.parse::<Fault>().unwrap());
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
        for harm in ["<script", "<img", "onerror=alert(1)>"] {
            assert!(!page.contains(harm), "{path}: {harm}");
        }
        assert!(!page.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{path}");
    }
    assert!(exporter.text("/devices").await.contains("&#60;script&#62;"));
    let csv = exporter.text("/api/v1/devices?format=csv").await;
    assert!(csv.contains("\"'=HYPERLINK(\"\"http"), "{csv}");
    let answer = exporter.get("/api/v1/devices").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    // A line of the exposition ends where the exporter ends it.
    let metrics = exporter.text("/metrics").await;
    let own = |line: &str| {
        line.starts_with("# ") || line.starts_with("wickr_") || line.starts_with("process_")
    };
    assert!(metrics.lines().all(own), "{metrics}");
    let (_, _, log) = exporter.stop();
    assert!(!log.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2028}', '\r']), "{log}");
    assert!(log.contains("onerror") && log.lines().all(|line| line.starts_with("ts=")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_anothers_asks_for_a_reload() {
    let simulator = serving(Fleet::new().network(network(NETWORK).user(user("1001")))).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = Exporter::start_with(&text, &["--web.enable-lifecycle"], &[]);
    let address = format!("{}/-/reload", exporter.base);
    let host = exporter.base.strip_prefix("http://").unwrap();
    let ours = format!("http://{host}");
    for (name, value, status) in [
        ("x-nothing", "", 200),
        ("origin", ours.as_str(), 200),
        ("origin", "http://example.org", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let answer = http().post(&address).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}: {value}");
    }
    // Nor may such a page read what it asks for.
    let request = http().get(format!("{}/api/v1/devices", exporter.base));
    let answer = request.header("origin", "http://example.org").send().await.unwrap();
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_makes_it_ask_the_service() {
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

/// Everybody on a machine sees the arguments of everybody's programs.
#[test]
fn no_flag_takes_a_secret() {
    let mut seen = 0;
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
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Nor does a mistake in the configuration repeat what stands beside it.
#[test]
fn what_is_no_configuration_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    for text in [
        "root:$6$saltsalt$HASHHASH:19000:0:99999:7:::\n",
        "[aws]\naws_secret_access_key = \"HASHHASH\"\n",
        "[aws]\nexternal_id = [\"HASHHASH\"]\n",
        "{\"password\": \"HASHHASH\"}",
    ] {
        std::fs::write(&file, text).unwrap();
        let done = program().args(["check", "--config.file"]).arg(&file).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{text}");
        let said = [done.stdout, done.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains("HASHHASH"), "{text}");
    }
}
