//! Scrapes stay fast during denial-of-service attacks.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wickr_exporter::simulator::{Count, Options};

use super::*;
use crate::harness::simulator;

/// The maximum duration of a scrape during an attack, on a small machine.
const MAX_SCRAPE: Duration = Duration::from_secs(5);

/// Scrapes repeatedly until stopped.
struct Scraper {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<(u32, Duration)>,
}

impl Scraper {
    /// Uses another address than the attacker, and a new connection for each scrape.
    fn start(
        authority: Option<String>,
        url: String,
        user: Option<(&'static str, &'static str)>,
    ) -> Scraper {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while stopped.try_recv().is_err() {
                let mut builder = reqwest::Client::builder()
                    .no_proxy()
                    .timeout(TIMEOUT)
                    .local_address(Some(IpAddr::from([127, 0, 0, 2])));
                if let Some(pem) = &authority {
                    let authority = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
                    builder = builder.tls_certs_only([authority]);
                }
                let started = Instant::now();
                let mut request = builder.build().unwrap().get(&url);
                if let Some((name, password)) = user {
                    request = request.basic_auth(name, Some(password));
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let text = response.text().await.unwrap();
                assert!(text.contains("wickr_exporter_build_info"), "incomplete response");
                count += 1;
                slowest = slowest.max(started.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (count, slowest)
        });
        Scraper { stop, task }
    }

    /// The number of scrapes and the duration of the slowest.
    async fn stop(self) -> (u32, Duration) {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

/// Attacks for 8 seconds with 1000 connections.
async fn slowhttptest(program: PathBuf, url: String, arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|s| (*s).to_owned()).collect();
    let attack = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args(["-c", "1000", "-r", "500", "-l", "8", "-v", "1", "-u", &url])
            .args(arguments)
            .output()
            .unwrap()
    });
    let output = attack.await.unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_do_not_delay_scrapes() {
    let Some(program) = tools::find("slowhttptest") else { return };
    let setup = Setup::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let url = format!("{}/metrics", setup.https);
    for attack in [
        &["-H", "-i", "1", "-t", "GET", "-x", "24"][..],
        &["-B", "-i", "1", "-s", "8192", "-t", "POST", "-x", "10"],
    ] {
        let scraper = Scraper::start(Some(setup.keys.authority()), url.clone(), Some(ALICE));
        let output = slowhttptest(program.clone(), url.clone(), attack).await;
        let (count, slowest) = scraper.stop().await;
        assert!(count >= 8 && slowest < MAX_SCRAPE, "{attack:?}: {count}, {slowest:?}\n{output}");
        assert!(!output.contains("service available:   NO"), "{attack:?}: {output}");
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_do_not_delay_scrapes() {
    for web_config in ["", TLS] {
        let setup = Setup::new(web_config).await;
        let (authority, base) = match web_config {
            "" => (None, &setup.exporter.base),
            _ => (Some(setup.keys.authority()), &setup.https),
        };
        let scraper = Scraper::start(authority, format!("{base}/metrics"), None);
        let address = setup.exporter.base.trim_start_matches("http://");
        // More than the connection limit. Half of them send the start of a handshake or request.
        let mut connections = Vec::new();
        for i in 0..600 {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            if i % 2 == 0 {
                let start: &[u8] =
                    if web_config.is_empty() { b"GET /me" } else { b"\x16\x03\x01\x01\x00" };
                stream.write_all(start).await.unwrap();
            }
            connections.push(stream);
        }
        let started = Instant::now();
        for mut stream in connections {
            let _ = tokio::time::timeout(TIMEOUT, stream.read(&mut [0; 1])).await.unwrap();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let (count, slowest) = scraper.stop().await;
        assert!(count >= 8 && slowest < MAX_SCRAPE, "{count}, {slowest:?}");
        setup.simulator.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scraper_reuses_its_connection() {
    let setup = Setup::new(TLS).await;
    let client = setup.client(None);
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let response = client.get(format!("{}/metrics", setup.https)).send().await.unwrap();
        let info = response.extensions().get::<hyper_util::client::legacy::connect::HttpInfo>();
        ports.insert(info.unwrap().local_addr());
        response.text().await.unwrap();
    }
    assert_eq!(ports.len(), 1);
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_delay_scrapes() {
    let Some(program) = tools::find("slowhttptest") else { return };
    // A response that does not fit into the socket buffers.
    let devices_per_user = Count { min: 100, max: 100 };
    let simulator = simulator(Options { users: 80, devices_per_user, ..Options::default() }).await;
    let users: Vec<_> = (1001..1081).map(|id| id.to_string()).collect();
    let poll = "interval = \"1h\"\nrequests_per_second = 10000";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &users));
    exporter.polled(1.0).await;
    let url = format!("{}/metrics", exporter.base);
    let scraper = Scraper::start(None, url.clone(), None);
    // Tiny receive windows.
    let attack = ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "1"];
    let output = slowhttptest(program, url, &attack).await;
    let (count, slowest) = scraper.stop().await;
    assert!(count >= 3 && slowest < MAX_SCRAPE * 2, "{count}, {slowest:?}\n{output}");
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_do_not_delay_scrapes() {
    // About a second for each check in a debug build.
    let hash = bcrypt::hash(ALICE.1, 8).unwrap();
    let setup = Setup::new(&format!("{TLS}basic_auth_users:\n  alice: {hash}\n")).await;
    assert_eq!(setup.status("/metrics", None, Some(ALICE)).await, 200);
    let url = format!("{}/metrics", setup.https);
    let scraper = Scraper::start(Some(setup.keys.authority()), url.clone(), Some(ALICE));
    let client = setup.client(None);
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for batch in 0..20 {
        let guesses = (batch * 50..(batch + 1) * 50).map(|guess| {
            let name = if guess % 2 == 0 { "alice" } else { "mallory" };
            client.get(&url).basic_auth(name, Some(format!("guess{guess}"))).send()
        });
        for response in futures_util::future::join_all(guesses).await {
            *statuses.entry(response.unwrap().status().as_u16()).or_default() += 1;
        }
    }
    let (count, slowest) = scraper.stop().await;
    assert!(count >= 3 && slowest < MAX_SCRAPE, "{count}, {slowest:?} {statuses:?}");
    assert!(statuses.keys().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(statuses[&429] > 500, "{statuses:?}");
    setup.simulator.stop().await.unwrap();
}
