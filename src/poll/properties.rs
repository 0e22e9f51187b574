//! Property tests with random networks, latencies and failures on a paused clock: polls start on time,
//! request every user once, and stop immediately.

use std::{collections::BTreeMap, sync::Mutex};

use super::*;
use crate::{
    clock::ManualClock,
    inventory::{self, Reader},
    wickr::{
        ConcurrencyLimiter, Device, Error, ErrorKind, ListUsersFilter, NetworkId, Operation,
        SecurityGroup, User,
    },
};

/// Responds after random latencies and records every request.
#[derive(Debug)]
struct RandomSource {
    start: Instant,
    /// Counts polls.
    reader: Reader,
    /// Milliseconds that a response takes.
    latencies: std::ops::Range<u64>,
    random: Mutex<fastrand::Rng>,
    failures: BTreeMap<UserId, ErrorKind>,
    requests: Mutex<Vec<RecordedRequest>>,
}

#[derive(Debug, Clone)]
struct RecordedRequest {
    /// The number of polls that had ended before.
    poll: u64,
    user: UserId,
    /// Milliseconds since the start; no end without a response.
    from: u64,
    to: Option<u64>,
}

impl RandomSource {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }
}

impl Source for RandomSource {
    async fn users<T: Send>(
        &self,
        _: &NetworkId,
        _: &ListUsersFilter,
        _: &NetworkLimiter,
        _: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        Ok(vec![])
    }

    async fn security_groups(
        &self,
        _: &NetworkId,
        _: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        Ok(vec![])
    }

    async fn devices(
        &self,
        _: &NetworkId,
        user: &UserId,
        _: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        let poll = self.reader.snapshot().networks[0].polls.ended.iter().sum();
        let request = RecordedRequest { poll, user: user.clone(), from: self.now(), to: None };
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        let latency = self.random.lock().unwrap().u64(self.latencies.clone());
        tokio::time::sleep(Duration::from_millis(latency)).await;
        self.requests.lock().unwrap()[number].to = Some(self.now());
        match self.failures.get(user) {
            Some(kind) => Err(Error::new(Operation::ListDevicesForUser, *kind, "scripted")),
            None => Ok(vec![]),
        }
    }
}

#[derive(Debug)]
struct NoObserver;

impl DiscoveryObserver for NoObserver {
    fn discovery_failed(&self, _: Operation, _: ErrorKind) {}
}

struct Fixture {
    poller: NetworkPoller<RandomSource>,
    source: Arc<RandomSource>,
    reader: Reader,
    users: Vec<UserId>,
    interval: u64,
    in_flight: usize,
}

fn network(random: &mut fastrand::Rng, kinds: &[ErrorKind]) -> Fixture {
    let users: Vec<UserId> =
        (1..=random.u32(1..40)).map(|user| user.to_string().parse().unwrap()).collect();
    let failing_tenths = random.u32(..12);
    let failing = users.iter().filter_map(|user| {
        let kind = random.choice(kinds.iter().copied())?;
        (random.u32(..10) < failing_tenths).then(|| (user.clone(), kind))
    });
    let failures = failing.collect();
    let (interval, in_flight) = (random.u64(1..4) * 500, random.usize(1..20));
    let identity = NetworkIdentity {
        id: "12345678".parse().unwrap(),
        name: String::new(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_millis(interval),
        stale_after: Duration::from_secs(60),
    };
    let (registrar, reader) = inventory::open();
    let max_latency = [2, 30, 400, 3_000][random.usize(..4)];
    let source = Arc::new(RandomSource {
        start: Instant::now(),
        reader: reader.clone(),
        latencies: 1..max_latency,
        random: Mutex::new(random.fork()),
        failures,
        requests: Mutex::default(),
    });
    let plan = Plan {
        identity: identity.clone(),
        user_list: UserListPlan {
            users: UserSelector::Listed(users.clone()),
            shard: Shard::default(),
            sso: SsoLimits::Off,
            usernames: false,
            refresh: Duration::from_secs(3600),
            selector_id: 0,
        },
        source: source.clone(),
        limiter: Arc::new(ConcurrencyLimiter::new(in_flight).open()),
        observer: Arc::new(NoObserver),
        polled: Arc::default(),
        clock: Clock::manual(&ManualClock::new(0)),
    };
    let poller = NetworkPoller::new(plan, registrar.add(identity, None));
    Fixture { poller, source, reader, users, interval, in_flight }
}

/// Runs a network for a random time. Returns the requests of each poll.
async fn run(network: Fixture, random: &mut fastrand::Rng) -> Vec<Vec<RecordedRequest>> {
    let Fixture { poller, source, users, interval, in_flight, .. } = network;
    let stop = CancellationToken::new();
    let task = tokio::spawn(poller.run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(random.u64(1..20_000))).await;
    stop.cancel();
    let stopped = source.now();
    let publisher = task.await.unwrap();
    assert!(source.now() <= stopped + 1, "stops immediately");
    let requests = source.requests.lock().unwrap().clone();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(source.requests.lock().unwrap().len(), requests.len(), "no request after the stop");
    publisher.withdraw();

    let mut polls: Vec<Vec<RecordedRequest>> = Vec::new();
    for request in requests {
        polls.resize_with(usize::try_from(request.poll).unwrap() + 1, Vec::new);
        polls.last_mut().unwrap().push(request);
    }
    let mut due = 0;
    for (number, poll) in polls.iter().enumerate() {
        assert_eq!(poll[0].from, due, "poll {number} starts on time");
        let mut users_of_poll: Vec<&UserId> = poll.iter().map(|request| &request.user).collect();
        users_of_poll.sort();
        users_of_poll.dedup();
        assert_eq!(users_of_poll.len(), poll.len(), "poll {number} requests every user once");
        for request in poll {
            let open = |other: &&RecordedRequest| {
                other.from <= request.from && other.to.is_none_or(|to| to > request.from)
            };
            assert!(poll.iter().filter(open).count() <= in_flight);
        }
        if number + 1 == polls.len() {
            break;
        }
        let ended = poll.iter().map(|request| request.to.expect("a response")).max().unwrap();
        due += interval * (ended - due).div_ceil(interval).max(1);
        let is_refusal = |request: &RecordedRequest| {
            source.failures.get(&request.user).is_some_and(|k| k.is_refusal())
        };
        let refused = poll.iter().filter(|request| is_refusal(request)).count();
        assert!(poll.len() == users.len() || refused >= 3, "poll {number} requests every user");
    }
    polls
}

#[tokio::test(start_paused = true)]
async fn polls_start_on_time_request_every_user_once_and_stop_at_any_moment() {
    let (mut many_polls, mut long_polls) = (0, 0);
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let network = network(&mut random, &ErrorKind::ALL);
        let interval = network.interval;
        let polls = run(network, &mut random).await;
        many_polls += usize::from(polls.len() > 5);
        let intervals = polls.windows(2).map(|two| two[1][0].from - two[0][0].from);
        long_polls += intervals.filter(|time| *time > interval).count();
    }
    assert!(many_polls > 20 && long_polls > 20, "{many_polls} {long_polls}");
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_poll_is_independent_of_the_order_of_responses() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        // Refusals in a row end a poll, which depends on the order.
        let kinds = ErrorKind::ALL.into_iter().filter(|kind| !kind.is_refusal());
        let mut network = network(&mut random, &kinds.collect::<Vec<_>>());
        let failures = &network.source.failures;
        let expected = match failures.len() {
            0 => PollResult::Success,
            all if all == network.users.len() => PollResult::Failure,
            _ => PollResult::Partial,
        };
        assert_eq!(network.poller.poll().await, expected, "seed {seed}");
        let view = network.reader.snapshot().networks[0].clone();
        for kind in ErrorKind::ALL {
            let of_kind = failures.values().filter(|failure| **failure == kind).count();
            assert_eq!(view.users_by_failure()[kind as usize], of_kind, "seed {seed}: {kind}");
        }
        let fresh = network.users.len() - failures.len();
        assert_eq!(view.users_by_freshness(0), [fresh, 0, failures.len()], "seed {seed}");
        assert_eq!(network.source.requests.lock().unwrap().len(), network.users.len());
    }
}
