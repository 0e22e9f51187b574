//! The longest stall of the HTTP server while a large network is polled: `cargo bench --bench
//! stalls -- [USERS] [current-thread]`, a million by default. With `current-thread`, no other
//! thread takes over while the exporter does work on all users.
//!
//! Polls run against a source in memory, so that they consist of the exporter's own work. The runtime
//! has one worker thread, as in a container with one CPU, where a stalled worker delays every request.
//! Three values are measured:
//!
//! - how long a client on its own thread waits for a complete scrape of the network level;
//! - how long a client on its own thread waits for `/-/healthy`, which includes the time in which other
//!   programs use the CPU;
//! - the CPU time that the worker spends between two turns of a task that is due every millisecond: how
//!   long a request would wait on an idle machine. `/proc` has it, on Linux only.

#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use wickr_exporter::{
    clock::{Clock, Millis},
    exposition::Group,
    inventory::{self, NetworkIdentity, Reader, state},
    poll::{
        DiscoveryObserver, NetworkPoller, Plan, Shard, Source, SsoLimits, UserFilter, UserListPlan,
        UserSelector,
    },
    telemetry::Metrics,
    web::{self, AccessControl, DisplaySettings, ResponseSlots, RoutePrefix, Server, Site},
    wickr::{
        ApiTimestamp, ConcurrencyLimiter, Device, Error, ErrorKind, Interner, ListUsersFilter,
        NetworkId, NetworkLimiter, Operation, RateLimiter, SecurityGroup, User, UserId,
    },
};

const FIRST_USER: u32 = 1_000;
const DEVICES: u32 = 2;
/// Polls in which every user is read, then one in which all are refused.
const POLLS: u64 = 3;
/// Requests per second of the last poll that reads users. The others are as fast as possible.
const RATE: f64 = 10_000.0;
const PAUSE: Duration = Duration::from_millis(1);
const SCRAPE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Memory {
    users: u32,
    labels: Interner,
    rate: RateLimiter,
    started: Millis,
    reader: Reader,
}

impl Memory {
    fn ended(&self) -> u64 {
        polls_ended(&self.reader)
    }
}

fn polls_ended(reader: &Reader) -> u64 {
    reader.snapshot().networks.iter().flat_map(|network| network.polls.ended).sum()
}

impl Source for Memory {
    async fn users<T: Send>(
        &self,
        _: &NetworkId,
        _: &ListUsersFilter,
        _: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut kept = Vec::new();
        for number in 0..self.users {
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
            kept.extend(keep(User {
                admin: None,
                invite_expired: None,
                id: (FIRST_USER + number).to_string().parse().ok(),
                username: None,
                status: Some(2),
                suspended: None,
                groups: vec!["group".into()],
                is_bot: false,
            }));
        }
        Ok(kept)
    }

    async fn security_groups(
        &self,
        _: &NetworkId,
        _: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        let limit = Some(Duration::from_secs(86_400));
        Ok(vec![SecurityGroup { id: "group".into(), name: None, sso_max_idle: limit }])
    }

    async fn devices(
        &self,
        _: &NetworkId,
        user: &UserId,
        _: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        tokio::task::yield_now().await;
        if self.ended() == POLLS - 1 {
            self.rate.acquire().await;
        }
        if self.ended() == POLLS {
            return Err(Error::new(Operation::ListDevicesForUser, ErrorKind::Forbidden, "refused"));
        }
        // Within sixty days before the start.
        let last_login = |number: u32| {
            let user: i64 = user.as_str().parse().unwrap_or_default();
            self.started - (user * 7_919_000 + i64::from(number) * 86_400_000) % (60 * 86_400_000)
        };
        let device = |number: u32| Device {
            app_id: Some(format!("{user}-{number}-0123456789abcdef").into()),
            attributes: self.labels.attributes(
                ["iOS", "Windows"][number as usize % 2],
                "Active",
                Some(false),
            ),
            created: ApiTimestamp::at_millis(1_700_000_000_000),
            last_login: ApiTimestamp::at_millis(last_login(number)),
        };
        Ok((0..DEVICES).map(device).collect())
    }
}

#[derive(Debug)]
struct Ignore;

impl DiscoveryObserver for Ignore {
    fn discovery_failed(&self, _: Operation, _: ErrorKind) {}
}

fn main() {
    let users = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let mut runtime = match std::env::args().any(|argument| argument == "current-thread") {
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(measure(users.unwrap_or(1_000_000)));
}

async fn measure(users: u32) {
    let (registrar, reader) = inventory::open();
    registrar.mark_complete();
    let (address, stop) = serve(reader.clone()).await;
    let turns = Arc::<Mutex<Vec<Duration>>>::default();
    tokio::spawn(take_turns(turns.clone()));
    let probe = |until: u64, phase: &'static str| {
        let (reader, turns) = (reader.clone(), turns.clone());
        tokio::task::spawn_blocking(move || {
            turns.lock().unwrap().clear();
            probe(address, phase, || polls_ended(&reader) >= until);
            let mut turns = std::mem::take(&mut *turns.lock().unwrap());
            println!("    between turns of a task: {}", Summary::of(&mut turns));
        })
    };
    probe(0, "idle, for one second").await.unwrap();
    let identity = NetworkIdentity {
        id: "12345678".parse().unwrap(),
        name: String::new(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_millis(100),
        stale_after: Duration::from_secs(3_600),
    };
    let user_list = UserListPlan {
        users: UserSelector::All(UserFilter::default()),
        shard: Shard::default(),
        sso: SsoLimits::Groups,
        usernames: false,
        refresh: Duration::from_secs(3_600),
        selector_id: 1,
    };
    let plan = Plan {
        identity: identity.clone(),
        user_list,
        source: Arc::new(Memory {
            users,
            labels: Interner::default(),
            rate: RateLimiter::new(RATE),
            started: Clock::system().moment().time,
            reader: reader.clone(),
        }),
        limiter: Arc::new(ConcurrencyLimiter::new(16).open()),
        observer: Arc::new(Ignore),
        polled: Arc::default(),
        clock: Clock::system(),
    };
    let poller = NetworkPoller::new(plan, registrar.add(identity, None));
    let polling = tokio::spawn(poller.run(stop.clone()));
    for poll in 1..=POLLS + 1 {
        let phase = match poll {
            1 => "lookup and first poll",
            poll if poll < POLLS => "poll of unchanged users",
            POLLS => "poll of unchanged users, 10,000 requests per second",
            _ => "poll in which every user is refused",
        };
        probe(poll, phase).await.unwrap();
        // As after each poll with [state].
        let snapshot = reader.snapshot();
        tokio::task::spawn_blocking(move || state::encode(&snapshot).unwrap().len());
    }
    stop.cancel();
    polling.await.unwrap();
}

async fn serve(reader: Reader) -> (SocketAddr, CancellationToken) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let settings = DisplaySettings {
        groups: vec![Group::Network, Group::Exporter],
        idle_buckets: vec![Duration::from_secs(86_400)],
        sso_horizons: Vec::new(),
        usernames: false,
        scrape_slots: ResponseSlots::new(8),
    };
    let router = web::router(Site {
        reader,
        metrics: metrics.clone(),
        clock: Clock::system(),
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        telemetry_path: "/metrics".parse().unwrap(),
        link_prefix: RoutePrefix::default(),
        reloads: None,
        compression_cache: Arc::default(),
    });
    let access = Arc::new(AccessControl::new(None, metrics).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(
        Server::new(router, access, RoutePrefix::default(), RoutePrefix::default())
            .serve(listener.into(), stop.clone()),
    );
    (address, stop)
}

/// Requests `/-/healthy` and, on another connection, the metrics until `ended`, for at least a second.
fn probe(address: SocketAddr, phase: &str, ended: impl Fn() -> bool + Sync) {
    let started = Instant::now();
    let repeat = |path: &str, pause| {
        let (mut stream, mut times) = (connect(address), Vec::new());
        while !ended() || started.elapsed() < Duration::from_secs(1) {
            let sent = Instant::now();
            request(&mut stream, path);
            times.push(sent.elapsed());
            std::thread::sleep(pause);
        }
        times
    };
    let (mut times, mut scrapes) = std::thread::scope(|threads| {
        let scraper = threads.spawn(|| repeat("/metrics", SCRAPE_PAUSE));
        (repeat("/-/healthy", PAUSE), scraper.join().unwrap())
    });
    println!("{phase}, {:.1} s", started.elapsed().as_secs_f64());
    println!("    responses: {}", Summary::of(&mut times));
    println!("    scrapes: {}", Summary::of(&mut scrapes));
}

/// Records the CPU time of the worker between two turns of this task.
async fn take_turns(turns: Arc<Mutex<Vec<Duration>>>) {
    let mut last = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let thread = std::thread::current().id();
        let Some(used) = cpu_time() else { return };
        if let Some((_, before)) = last.filter(|(other, _)| *other == thread) {
            turns.lock().unwrap().push(used - before);
        }
        last = Some((thread, used));
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Count, 99th percentile and the longest of some times.
struct Summary<'a>(&'a [Duration]);

impl Summary<'_> {
    fn of(times: &mut [Duration]) -> Summary<'_> {
        times.sort();
        Summary(times)
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary(times) = self;
        let millis = |time: &Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        let p99 = times.get(times.len() * 99 / 100).map(millis).unwrap_or_default();
        let longest: Vec<_> = times.iter().rev().take(3).map(millis).collect();
        write!(f, "{}, p99 {p99} ms, longest {} ms", times.len(), longest.join(", "))
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and reads the response: that of `/-/healthy` is one line, others end with a chunk.
fn request(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let (mut response, mut buffer) = (Vec::new(), [0; 16_384]);
    while !response.ends_with(b"healthy.\n") && !response.ends_with(b"\r\n0\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0);
        response.extend_from_slice(&buffer[..count]);
    }
}
