//! Polls of a scripted source on a paused clock.

mod discovery;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    clock::ManualClock,
    inventory::{self, Directory, Reader},
    wickr::{
        ConcurrencyLimiter, Device, Error, ErrorKind, ListUsersFilter, NetworkId, Operation,
        SecurityGroup, User,
    },
};

/// Responds after `latency`, with an error for each user in `failures`.
#[derive(Debug)]
struct Script {
    latency: Duration,
    list_latency: Duration,
    users: Mutex<Result<Vec<User>, Error>>,
    groups: Mutex<Result<Vec<SecurityGroup>, Error>>,
    list_requests: Mutex<Vec<ListUsersFilter>>,
    failures: Mutex<BTreeMap<String, ErrorKind>>,
    requests: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            latency: Duration::ZERO,
            list_latency: Duration::ZERO,
            users: Mutex::new(Ok(vec![])),
            groups: Mutex::new(Ok(vec![])),
            list_requests: Mutex::default(),
            failures: Mutex::default(),
            requests: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            most_in_flight: AtomicUsize::default(),
        }
    }
}

/// Records failed lookups.
#[derive(Debug, Default)]
struct Failures(Mutex<Vec<(Operation, ErrorKind)>>);

impl DiscoveryObserver for Failures {
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind) {
        self.0.lock().unwrap().push((operation, kind));
    }
}

impl Source for Script {
    async fn users<T: Send>(
        &self,
        _: &NetworkId,
        filter: &ListUsersFilter,
        _: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        self.list_requests.lock().unwrap().push(filter.clone());
        tokio::time::sleep(self.list_latency).await;
        let users = self.users.lock().unwrap().clone();
        users.map(|users| users.into_iter().filter_map(keep).collect())
    }

    async fn security_groups(
        &self,
        _: &NetworkId,
        _: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        self.groups.lock().unwrap().clone()
    }

    async fn devices(
        &self,
        _: &NetworkId,
        user: &UserId,
        _: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.latency).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        match self.failures.lock().unwrap().get(user.as_str()) {
            Some(kind) => Err(Error::new(Operation::ListDevicesForUser, *kind, "scripted")),
            None => Ok(vec![]),
        }
    }
}

fn failing(users: impl IntoIterator<Item = u32>, kind: ErrorKind) -> Script {
    let failures = users.into_iter().map(|user| (user.to_string(), kind)).collect();
    Script {
        latency: Duration::from_millis(10),
        failures: Mutex::new(failures),
        ..Script::default()
    }
}

fn listed(users: u32) -> UserListPlan {
    UserListPlan {
        users: UserSelector::Listed(
            (1..=users).map(|user| user.to_string().parse().unwrap()).collect(),
        ),
        shard: Shard::default(),
        sso: SsoLimits::Off,
        usernames: false,
        refresh: Duration::from_secs(3600),
        selector_id: 1,
    }
}

/// A poller that runs.
struct Running {
    source: Arc<Script>,
    reader: Reader,
    failures: Arc<Failures>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<inventory::Publisher>,
}

impl Running {
    fn start(user_list: UserListPlan, interval: Duration, source: Script) -> Running {
        let (mut poller, reader, failures) = poller_of(user_list, 4, source);
        poller.plan.identity.interval = interval;
        Running::of(poller, reader, failures)
    }

    fn of(poller: NetworkPoller<Script>, reader: Reader, failures: Arc<Failures>) -> Running {
        let (source, stop) = (poller.plan.source.clone(), CancellationToken::new());
        let task = tokio::spawn(poller.run(stop.clone()));
        Running { source, reader, failures, stop, task }
    }

    fn view(&self) -> Arc<inventory::NetworkView> {
        self.reader.snapshot().networks[0].clone()
    }

    fn ids(&self) -> Vec<String> {
        self.view().users.iter().map(|user| user.id.to_string()).collect()
    }

    fn requests(&self) -> usize {
        self.source.requests.load(Ordering::Relaxed)
    }

    fn fail(&self, users: &[u32], kind: ErrorKind) {
        let failures = users.iter().map(|user| (user.to_string(), kind)).collect();
        *self.source.failures.lock().unwrap() = failures;
    }

    fn list(&self, users: Result<Vec<User>, Error>) {
        *self.source.users.lock().unwrap() = users;
    }

    async fn stop(self) -> inventory::Publisher {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const HOUR: Duration = Duration::from_secs(3600);

fn poller(users: u32, in_flight: usize, source: Script) -> (NetworkPoller<Script>, Reader) {
    let (poller, reader, _) = poller_of(listed(users), in_flight, source);
    (poller, reader)
}

fn poller_of(
    user_list: UserListPlan,
    in_flight: usize,
    source: Script,
) -> (NetworkPoller<Script>, Reader, Arc<Failures>) {
    let identity = NetworkIdentity {
        id: "12345678".parse().unwrap(),
        name: String::new(),
        region: "us-east-1".into(),
        account: "an account".into(),
        interval: Duration::from_secs(1),
        stale_after: Duration::from_secs(60),
    };
    let (registrar, reader) = inventory::open();
    let observer = Arc::new(Failures::default());
    let plan = Plan {
        identity: identity.clone(),
        user_list,
        source: Arc::new(source),
        limiter: Arc::new(ConcurrencyLimiter::new(in_flight).open()),
        observer: observer.clone(),
        polled: Arc::default(),
        clock: Clock::manual(&ManualClock::new(0)),
    };
    let publisher = registrar.add(identity, None);
    registrar.mark_complete();
    (NetworkPoller::new(plan, publisher), reader, observer)
}

#[tokio::test(start_paused = true)]
async fn requests_every_user_once_within_the_concurrency_limit() {
    let (mut poller, reader) = poller(100, 16, failing([], ErrorKind::Timeout));
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(poller.plan.source.requests.load(Ordering::Relaxed), 100);
    assert_eq!(poller.plan.source.most_in_flight.load(Ordering::Relaxed), 16);
    assert!(reader.is_ready());
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [100, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_role_ends_the_poll_after_a_few_requests() {
    let (mut poller, reader) = poller(5_000, 16, failing(1..=5_000, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert!(poller.plan.source.requests.load(Ordering::Relaxed) <= 8);
    let view = &reader.snapshot().networks[0];
    assert_eq!(view.users_by_failure()[ErrorKind::Forbidden as usize], 5_000);
    assert!(!view.is_up(0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_role_ends_the_poll_between_throttled_responses() {
    let mut source = failing(1..=5_000, ErrorKind::Forbidden);
    for user in (2..=5_000).step_by(2) {
        source.failures.get_mut().unwrap().insert(user.to_string(), ErrorKind::RateLimited);
    }
    let (mut poller, _) = poller(5_000, 16, source);
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert!(poller.plan.source.requests.load(Ordering::Relaxed) <= 16);
}

#[tokio::test(start_paused = true)]
async fn the_next_poll_starts_after_the_users_that_ended_the_last_one() {
    let (mut poller, reader) = poller(100, 1, failing(1..=3, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert_eq!(poller.plan.source.requests.load(Ordering::Relaxed), 3);
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [97, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_users_apart_do_not_end_the_poll() {
    let refused = (1..=100).filter(|user| user % 2 == 0);
    let (mut poller, reader) = poller(100, 16, failing(refused, ErrorKind::Unauthorized));
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [50, 0, 50]);
}

#[tokio::test(start_paused = true)]
async fn two_refusals_in_a_row_do_not_end_the_poll() {
    let refused = (1..=300).filter(|user| user % 3 != 0);
    let (mut poller, reader) = poller(300, 1, failing(refused, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(poller.plan.source.requests.load(Ordering::Relaxed), 300);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [100, 0, 200]);
}

#[tokio::test(start_paused = true)]
async fn other_failures_in_a_row_do_not_end_the_poll() {
    let (mut poller, _) = poller(300, 8, failing(1..=300, ErrorKind::Timeout));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert_eq!(poller.plan.source.requests.load(Ordering::Relaxed), 300);
}

#[tokio::test(start_paused = true)]
async fn publishes_users_while_the_poll_is_under_way() {
    let (mut poller, reader) =
        poller(10, 1, Script { latency: Duration::from_secs(1), ..Script::default() });
    let poll = poller.poll();
    tokio::select! {
        _ = poll => panic!("ten users at one a second"),
        () = tokio::time::sleep(Duration::from_millis(4_500)) => {}
    }
    let view = &reader.snapshot().networks[0];
    assert_eq!(view.users.len(), 4);
    let progress = view.polls.progress.unwrap();
    assert_eq!((progress.done, progress.total), (4, 10));
    assert!(!reader.is_ready());
}

#[tokio::test(start_paused = true)]
async fn publishes_the_time_of_the_next_poll_between_polls_only() {
    // A poll takes 2.5 s. The clock of the inventory stands at 0.
    let source = Script { latency: Duration::from_millis(2_500), ..Script::default() };
    let (poller, reader) = poller(1, 1, source);
    let stop = CancellationToken::new();
    let task = tokio::spawn(poller.run(stop.clone()));
    let next = || reader.snapshot().networks[0].polls.next;
    tokio::time::sleep(Duration::from_millis(2_400)).await;
    assert_eq!(next(), None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(next(), Some(500.into()));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(next(), None);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_overrun_skips_to_the_next_multiple_of_the_interval() {
    // A poll takes 2.5 s.
    let source = Script { latency: Duration::from_millis(500), ..Script::default() };
    let (poller, reader) = poller(5, 1, source);
    let source = poller.plan.source.clone();
    let stop = CancellationToken::new();
    let task = tokio::spawn(poller.run(stop.clone()));
    // Polls start at 0, 3, 6 and 9 s.
    tokio::time::sleep(Duration::from_millis(9_100)).await;
    assert_eq!(source.requests.load(Ordering::Relaxed), 16);
    assert_eq!(source.most_in_flight.load(Ordering::Relaxed), 1);
    let polls = reader.snapshot().networks[0].polls.clone();
    assert_eq!((polls.ended, polls.overruns), ([3, 0, 0], 3));
    assert_eq!(polls.last.unwrap().duration.as_millis(), 2_500);
    stop.cancel();
    let publisher = task.await.unwrap();
    assert_eq!(reader.snapshot().networks.len(), 1);
    publisher.withdraw();
    assert_eq!(reader.snapshot().networks.len(), 0, "withdrawn");
}

#[tokio::test(start_paused = true)]
async fn retries_failed_users_after_a_minute_and_backs_off_to_the_interval() {
    let poller = Running::start(listed(10), HOUR, failing([3, 7], ErrorKind::ServerError));
    seconds(1).await;
    assert_eq!((poller.requests(), poller.view().is_up(0)), (10, false));
    // After 1, 2, 4, 8 and 16 more minutes.
    for (minutes, requests) in [(1, 12), (2, 14), (4, 16), (8, 18), (16, 20)] {
        seconds(60 * minutes - 1).await;
        assert_eq!(poller.requests(), requests - 2, "{minutes}");
        seconds(1).await;
        assert_eq!(poller.requests(), requests, "{minutes}");
    }
    assert_eq!(poller.view().polls.ended, [0, 6, 0]);
    // The poll at the interval is for all users, and the retry after it succeeds.
    seconds(29 * 60).await;
    assert_eq!(poller.requests(), 30);
    poller.fail(&[], ErrorKind::ServerError);
    seconds(60).await;
    assert_eq!((poller.requests(), poller.view().is_up(0)), (32, true));
    assert_eq!(poller.view().polls.ended, [1, 7, 0]);
    assert!(poller.view().polls.last.unwrap().duration < Duration::from_secs(1));
    seconds(50 * 60).await;
    assert_eq!(poller.requests(), 32, "nothing is left to retry");
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_all_users_restarts_the_interval() {
    let poller = Running::start(listed(2), HOUR, failing([1, 2], ErrorKind::ServerError));
    seconds(1).await;
    poller.fail(&[], ErrorKind::ServerError);
    seconds(61).await;
    assert_eq!((poller.requests(), poller.view().is_up(0)), (4, true));
    seconds(58 * 60 + 30).await;
    assert_eq!(poller.requests(), 4);
    seconds(100).await;
    assert_eq!(poller.requests(), 6);
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_at_the_interval_replaces_a_retry_that_is_due_later() {
    let interval = Duration::from_secs(60);
    let poller = Running::start(listed(2), interval, failing([1], ErrorKind::ServerError));
    seconds(59).await;
    assert_eq!(poller.requests(), 2);
    seconds(2).await;
    assert_eq!(poller.requests(), 4);
    seconds(60).await;
    assert_eq!(poller.requests(), 6);
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn drops_the_data_of_a_single_unknown_user_and_keeps_it_when_many_are_unknown() {
    let poller = Running::start(listed(10), HOUR, failing([], ErrorKind::NotFound));
    seconds(1).await;
    poller.fail(&[4], ErrorKind::NotFound);
    seconds(3600).await;
    assert_eq!(poller.view().users_by_freshness(0), [9, 0, 1]);
    let all: Vec<u32> = (1..=10).collect();
    poller.fail(&all, ErrorKind::NotFound);
    seconds(3600).await;
    assert_eq!(poller.view().users_by_freshness(0), [0, 9, 1]);
    assert_eq!(poller.view().users_by_failure()[ErrorKind::NotFound as usize], 10);
    poller.fail(&[], ErrorKind::NotFound);
    seconds(3600).await;
    assert_eq!(poller.view().users_by_freshness(0), [10, 0, 0]);
    poller.stop().await;
}
