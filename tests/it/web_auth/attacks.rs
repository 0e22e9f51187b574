//! Clients that mean no good, and a good one beside them.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wickr_exporter::simulator::Options;

use super::*;
use crate::harness::simulator;

/// Scrapes again and again until told to stop; gives how often, and how long the slowest took.
struct Good {
    stop: tokio::sync::oneshot::Sender<()>,
    scraping: tokio::task::JoinHandle<(u32, Duration)>,
}

impl Good {
    /// From an address of its own, with a new connection for each scrape.
    fn start(
        authority: Option<String>,
        url: String,
        user: Option<(&'static str, &'static str)>,
    ) -> Good {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let scraping = tokio::spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while stopped.try_recv().is_err() {
                let mut builder = reqwest::Client::builder()
                    .no_proxy()
                    .timeout(PATIENCE)
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
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
                let text = answer.text().await.unwrap();
                assert!(text.contains("wickr_exporter_build_info"), "cut off");
                count += 1;
                slowest = slowest.max(started.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (count, slowest)
        });
        Good { stop, scraping }
    }

    async fn end(self) -> (u32, Duration) {
        let _ = self.stop.send(());
        self.scraping.await.unwrap()
    }
}

/// Attacks for some seconds with a thousand connections.
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

/// A scrape is slower beside a thousand clients on a small machine, but it does not wait for them.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_do_not_disturb_a_scrape() {
    let Some(program) = tools::find("slowhttptest") else { return };
    let house = House::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let url = format!("{}/metrics", house.https);
    for attack in [
        // Headers without end, bodies without end.
        &["-H", "-i", "1", "-t", "GET", "-x", "24"][..],
        &["-B", "-i", "1", "-s", "8192", "-t", "POST", "-x", "10"],
    ] {
        let good = Good::start(Some(house.keys.authority()), url.clone(), Some(ALICE));
        let said = slowhttptest(program.clone(), url.clone(), attack).await;
        let (count, slowest) = good.end().await;
        assert!(count >= 8 && slowest < PROMPT, "{attack:?}: {count}, {slowest:?}\n{said}");
        assert!(!said.contains("service available:   NO"), "{attack:?}: {said}");
    }
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_are_cut_off_and_disturb_nobody_meanwhile() {
    for web_config in ["", TLS] {
        let house = House::new(web_config).await;
        let (authority, base) = match web_config {
            "" => (None, &house.exporter.base),
            _ => (Some(house.keys.authority()), &house.https),
        };
        let good = Good::start(authority, format!("{base}/metrics"), None);
        let address = house.exporter.base.trim_start_matches("http://");
        // More than there are places for; some begin a handshake, or a request, and go no further.
        let mut mute = Vec::new();
        for i in 0..600 {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            if i % 2 == 0 {
                let begun: &[u8] =
                    if web_config.is_empty() { b"GET /me" } else { b"\x16\x03\x01\x01\x00" };
                stream.write_all(begun).await.unwrap();
            }
            mute.push(stream);
        }
        let started = Instant::now();
        for mut stream in mute {
            // An end or an error: it is over. Some were told so before.
            let _ = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let (count, slowest) = good.end().await;
        assert!(count >= 8 && slowest < PROMPT, "{count}, {slowest:?}");
        house.simulator.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_keeps_its_connection_between_scrapes() {
    let house = House::new(TLS).await;
    let client = house.client(None);
    let mut ports = std::collections::BTreeSet::new();
    for pause in [0, 15] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let answer = client.get(format!("{}/metrics", house.https)).send().await.unwrap();
        ports.insert(
            answer
                .extensions()
                .get::<hyper_util::client::legacy::connect::HttpInfo>()
                .unwrap()
                .local_addr(),
        );
        answer.text().await.unwrap();
    }
    assert_eq!(ports.len(), 1);
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_do_not_disturb_a_scrape() {
    let Some(program) = tools::find("slowhttptest") else { return };
    // So much to read that it does not fit into buffers.
    let simulator = simulator(Options { users: 3_000, ..Options::default() }).await;
    let users: Vec<_> = (1001..4001).map(|id| id.to_string()).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let poll = "interval = \"1h\"\nrequests_per_second = 10000";
    let exporter = Exporter::start(&config(&simulator.endpoint(), poll, NETWORK, &users));
    exporter.polled(1.0).await;
    let url = format!("{}/metrics", exporter.base);
    let good = Good::start(None, url.clone(), None);
    // Windows of a few bytes, of which hardly any are read.
    let attack = ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "1"];
    let said = slowhttptest(program, url, &attack).await;
    let (count, slowest) = good.end().await;
    assert!(count >= 3 && slowest < PROMPT * 2, "{count}, {slowest:?}\n{said}");
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wrong_passwords_do_not_disturb_a_scrape() {
    // A usual cost, which in a build for tests takes a second or so.
    let hash = bcrypt::hash(ALICE.1, 8).unwrap();
    let house = House::new(&format!("{TLS}basic_auth_users:\n  alice: {hash}\n")).await;
    assert_eq!(house.status("/metrics", None, Some(ALICE)).await, 200);
    let url = format!("{}/metrics", house.https);
    let good = Good::start(Some(house.keys.authority()), url.clone(), Some(ALICE));
    let guesser = house.client(None);
    let guesses = (0..1000).map(|guess| {
        let name = if guess % 2 == 0 { "alice" } else { "mallory" };
        guesser.get(&url).basic_auth(name, Some(format!("guess{guess}"))).send()
    });
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    let mut guesses: Vec<_> = guesses.collect();
    while !guesses.is_empty() {
        let some = guesses.split_off(guesses.len().saturating_sub(50));
        for answer in futures_util::future::join_all(some).await {
            *statuses.entry(answer.unwrap().status().as_u16()).or_default() += 1;
        }
    }
    let (count, slowest) = good.end().await;
    assert!(count >= 3 && slowest < PROMPT, "{count}, {slowest:?} {statuses:?}");
    assert!(statuses.keys().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(statuses[&429] > 500, "{statuses:?}");
    house.simulator.stop().await.unwrap();
}
