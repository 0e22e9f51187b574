//! Clients in numbers, and clients that mean no good.

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

/// What many requests came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many were answered so; 0 stands for no answer.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// How long those with status 200 took.
    pub(crate) times: Vec<Duration>,
}

impl Outcome {
    fn add(&mut self, status: Option<u16>, took: Duration) {
        let status = status.unwrap_or_default();
        *self.statuses.entry(status).or_default() += 1;
        if status == 200 {
            self.times.push(took);
        }
    }

    fn add_all(&mut self, other: Outcome) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.times.extend(other.times);
    }

    pub(crate) fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Median and the most.
    pub(crate) fn spread(&self) -> Option<Spread> {
        Spread::of(self.times.clone()).ok()
    }

    /// The time within which 99 of a hundred were.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort();
        times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1))).copied()
    }
}

/// So many scrapers at once, each on a connection of its own and each so many times.
pub(crate) async fn crowd(address: SocketAddr, scrapers: u32, times: u32) -> Result<Outcome> {
    let mut crowd = JoinSet::new();
    for _ in 0..scrapers {
        crowd.spawn(async move {
            let mut outcome = Outcome::default();
            for _ in 0..times {
                let begun = Instant::now();
                let status = match http::Connection::open(address).await {
                    Ok(mut connection) => {
                        connection.get("/metrics", &[], |_| {}).await.ok().map(|it| it.status)
                    }
                    Err(_) => None,
                };
                outcome.add(status, begun.elapsed());
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = crowd.join_next().await {
        all.add_all(outcome?);
    }
    Ok(all)
}

/// Asks for a path again and again, as a monitor does, for so long.
pub(crate) async fn watch(address: SocketAddr, path: &str, time: Duration) -> Result<Outcome> {
    let (mut outcome, until) = (Outcome::default(), Instant::now() + time);
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = http::fetch(address, path, &[]).await;
        outcome.add(answer.ok().map(|(answer, _)| answer.status), begun.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    Ok(outcome)
}

/// How a slow client is slow.
#[derive(Clone, Copy, Debug)]
enum Slowness {
    /// It sends a byte of a header a second.
    Header,
    /// It asks for everything and reads nothing.
    Reading,
    /// It says nothing.
    Silence,
}

/// So many slow clients of three kinds. They hold on to what they have for `time`, and come again
/// when they are sent away. Gives how often they were.
pub(crate) async fn slow(address: SocketAddr, clients: u32, time: Duration) -> Result<u64> {
    let sent_away = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    for number in 0..clients {
        let kinds = [Slowness::Header, Slowness::Reading, Slowness::Silence];
        let (kind, sent_away) = (kinds[number as usize % 3], sent_away.clone());
        all.spawn(timeout(time, async move {
            loop {
                // Whatever ends it: it comes again.
                let _ = be_slow(address, kind).await;
                sent_away.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(500)).await;
            }
        }));
    }
    while let Some(ended) = all.join_next().await {
        let ended: Result<(), _> = ended?;
        ensure!(ended.is_err(), "a slow client was not patient");
    }
    Ok(sent_away.load(Ordering::Relaxed))
}

async fn be_slow(address: SocketAddr, kind: Slowness) -> Result<()> {
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
                // To notice the end without taking anything.
                sleep(Duration::from_secs(1)).await;
                stream.write_all(b"").await?;
                ensure!(stream.take_error()?.is_none(), "the connection has ended");
            }
        }
        Slowness::Silence => {
            ensure!(stream.read(&mut [0]).await? > 0, "the connection has ended");
        }
    }
    Ok(())
}

/// A request that is too large somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Giant {
    pub(crate) what: &'static str,
    start: Vec<u8>,
    /// Sent again and again.
    part: Vec<u8>,
}

impl Giant {
    /// All kinds of them.
    pub(crate) fn all() -> Vec<Giant> {
        let giant = |what, start: &str, part: &[u8]| Giant {
            what,
            start: start.into(),
            part: part.repeat((64 << 10) / part.len()),
        };
        let head = "GET /metrics HTTP/1.1\r\nhost: x\r\n";
        vec![
            giant("one header of 10 MB", &format!("{head}x: "), b"x"),
            giant("10 MB of headers", head, b"x-a: bcd\r\n"),
            giant("a path of 10 MB", "GET /", b"x"),
            giant("a query of 10 MB", "GET /metrics?", b"collect[]=user&"),
            giant(
                "a body of 10 MB that nobody asked for",
                &format!("{head}content-length: 10485760\r\n\r\n"),
                b"x",
            ),
            giant(
                "chunks without end",
                &format!("{head}transfer-encoding: chunked\r\n\r\n"),
                b"4\r\nabcd\r\n",
            ),
        ]
    }

    /// Sends 10 MB of it. Gives the status that was answered, if one was, and how many bytes went out.
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
            let mut answer = vec![0; 64];
            let length = reader.read(&mut answer).await.unwrap_or_default();
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            // What is left is read, so that the end is none of ours.
            let mut rest = vec![0; 64 << 10];
            while reader.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            answer.split(' ').nth(1).and_then(|status| status.parse().ok())
        };
        let both = async { tokio::join!(writing, reading) };
        let (sent, status) = timeout(Duration::from_secs(60), both)
            .await
            .with_context(|| format!("{}: neither an answer nor an end", self.what))?;
        Ok((status, sent))
    }
}

/// So many requests for these paths in turn, on a few connections that stay. It is an error if any is
/// answered otherwise than it should be.
pub(crate) async fn row(
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
                // 503 is an answer, too: there are only so many places for pages.
                let fits = status == expected || status == 503;
                ensure!(fits, "{path} is answered with {status}");
                *statuses.entry(status).or_default() += 1;
            }
        });
    }
    let mut all = Outcome::default();
    while let Some(statuses) = connections.join_next().await {
        all.add_all(Outcome { statuses: statuses??, times: vec![] });
    }
    Ok(all)
}
