//! Many, slow and oversized requests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{http, scrape::Spread};

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Responses by status; 0 is no response.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Durations of those with status 200.
    pub(crate) durations: Vec<Duration>,
}

impl Outcome {
    fn add(&mut self, status: Option<u16>, duration: Duration) {
        let status = status.unwrap_or_default();
        *self.statuses.entry(status).or_default() += 1;
        if status == 200 {
            self.durations.push(duration);
        }
    }

    fn add_all(&mut self, other: Outcome) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.durations.extend(other.durations);
    }

    pub(crate) fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(crate) fn spread(&self) -> Option<Spread> {
        Spread::new(self.durations.clone()).ok()
    }

    pub(crate) fn p99(&self) -> Option<Duration> {
        let mut durations = self.durations.clone();
        durations.sort();
        durations.get((durations.len() * 99 / 100).min(durations.len().saturating_sub(1))).copied()
    }
}

/// Runs concurrent scrapers. Each scrapes `times` times, on a new connection each time.
pub(crate) async fn concurrent_scrapes(
    address: SocketAddr,
    scrapers: u32,
    times: u32,
) -> Result<Outcome> {
    let mut tasks = JoinSet::new();
    for _ in 0..scrapers {
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            for _ in 0..times {
                let start = Instant::now();
                let status = match http::Connection::open(address).await {
                    Ok(mut connection) => connection
                        .get("/metrics", &[], |_| {})
                        .await
                        .ok()
                        .map(|response| response.status),
                    Err(_) => None,
                };
                outcome.add(status, start.elapsed());
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        all.add_all(outcome?);
    }
    Ok(all)
}

/// Requests a path every 100 ms for this long.
pub(crate) async fn probe(address: SocketAddr, path: &str, duration: Duration) -> Result<Outcome> {
    let (mut outcome, deadline) = (Outcome::default(), Instant::now() + duration);
    while Instant::now() < deadline {
        let start = Instant::now();
        let response = http::fetch(address, path, &[]).await;
        outcome.add(response.ok().map(|(response, _)| response.status), start.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    Ok(outcome)
}

#[derive(Clone, Copy, Debug)]
enum Slowness {
    /// Sends a byte of a header a second.
    Header,
    /// Sends a request and reads nothing.
    Reading,
    /// Sends nothing.
    Idle,
}

/// Runs slow clients of three kinds, which reconnect when the server disconnects them. Returns the
/// number of disconnects.
pub(crate) async fn slow_clients(
    address: SocketAddr,
    clients: u32,
    duration: Duration,
) -> Result<u64> {
    let disconnects = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let kinds = [Slowness::Header, Slowness::Reading, Slowness::Idle];
        let (kind, disconnects) = (kinds[number as usize % 3], disconnects.clone());
        tasks.spawn(timeout(duration, async move {
            loop {
                // Every error means that the server closed the connection.
                let _ = run_slow_client(address, kind).await;
                disconnects.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(500)).await;
            }
        }));
    }
    while let Some(result) = tasks.join_next().await {
        let result: Result<(), _> = result?;
        ensure!(result.is_err(), "a slow client ended early");
    }
    Ok(disconnects.load(Ordering::Relaxed))
}

async fn run_slow_client(address: SocketAddr, kind: Slowness) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    match kind {
        Slowness::Header => {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nx: ").await?;
            loop {
                sleep(Duration::from_secs(1)).await;
                stream.write_all(b"x").await?;
            }
        }
        Slowness::Reading => {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await?;
            loop {
                // Detects the disconnect without reading.
                sleep(Duration::from_secs(1)).await;
                stream.write_all(b"").await?;
                ensure!(stream.take_error()?.is_none(), "disconnected");
            }
        }
        Slowness::Idle => {
            ensure!(stream.read(&mut [0]).await? > 0, "disconnected");
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
pub(crate) struct OversizedRequest {
    pub(crate) name: &'static str,
    start: Vec<u8>,
    /// Sent repeatedly.
    part: Vec<u8>,
}

impl OversizedRequest {
    pub(crate) fn all() -> Vec<OversizedRequest> {
        let request = |name, start: &str, part: &[u8]| OversizedRequest {
            name,
            start: start.into(),
            part: part.repeat((64 << 10) / part.len()),
        };
        let head = "GET /metrics HTTP/1.1\r\nhost: x\r\n";
        vec![
            request("one header of 10 MB", &format!("{head}x: "), b"x"),
            request("10 MB of headers", head, b"x-a: bcd\r\n"),
            request("a path of 10 MB", "GET /", b"x"),
            request("a query of 10 MB", "GET /metrics?", b"collect[]=user&"),
            request(
                "an unexpected body of 10 MB",
                &format!("{head}content-length: 10485760\r\n\r\n"),
                b"x",
            ),
            request(
                "endless chunks",
                &format!("{head}transfer-encoding: chunked\r\n\r\n"),
                b"4\r\nabcd\r\n",
            ),
        ]
    }

    /// Sends up to 10 MB. Returns the status, if any, and the number of bytes sent.
    pub(crate) async fn send(&self, address: SocketAddr) -> Result<(Option<u16>, u64)> {
        let stream = TcpStream::connect(address).await?;
        let (mut reader, mut writer) = stream.into_split();
        let writing = async {
            let mut sent = 0;
            let mut part = &self.start;
            while sent < 10 << 20 {
                if writer.write_all(part).await.is_err() {
                    break;
                }
                sent += part.len() as u64;
                part = &self.part;
            }
            sent
        };
        let reading = async {
            let mut response = vec![0; 64];
            let length = reader.read(&mut response).await.unwrap_or_default();
            let response = String::from_utf8_lossy(&response[..length]).into_owned();
            // Reads the rest, so that the server closes the connection.
            let mut rest = vec![0; 64 << 10];
            while reader.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            response.split(' ').nth(1).and_then(|status| status.parse().ok())
        };
        let both = async { tokio::join!(writing, reading) };
        let (sent, status) = timeout(Duration::from_secs(60), both)
            .await
            .with_context(|| format!("{}: neither a response nor a disconnect", self.name))?;
        Ok((status, sent))
    }
}

/// Requests these paths in turn on 8 persistent connections. Fails on an unexpected status.
pub(crate) async fn many_requests(
    address: SocketAddr,
    requests: u64,
    paths: &'static [(&'static str, u16)],
) -> Result<Outcome> {
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..8 {
        let next = next.clone();
        connections.spawn(async move {
            let mut connection = http::Connection::open(address).await?;
            let mut statuses = BTreeMap::<u16, u64>::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    break anyhow::Ok(statuses);
                }
                let (path, expected) = paths[(number % paths.len() as u64) as usize];
                let status = connection.get(path, &[], |_| {}).await?.status;
                // 503 is valid: the exporter limits concurrent pages.
                ensure!(status == expected || status == 503, "{path} returned {status}");
                *statuses.entry(status).or_default() += 1;
            }
        });
    }
    let mut all = Outcome::default();
    while let Some(statuses) = connections.join_next().await {
        all.add_all(Outcome { statuses: statuses??, durations: vec![] });
    }
    Ok(all)
}
