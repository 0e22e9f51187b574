//! Polls of sources that do what they are told, on a clock that stands still until it is moved.

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
    inventory::{self, Reader},
    wickr::{ConcurrencyLimiter, ErrorKind, Operation},
};

/// Answers after `latency`, with failures for those users that have one.
#[derive(Debug)]
struct Script {
    latency: Duration,
    list_latency: Duration,
    users: Mutex<Result<Vec<User>, Error>>,
    groups: Mutex<Result<Vec<SecurityGroup>, Error>>,
    asked_for_users: Mutex<Vec<ListUsersFilter>>,
    failures: Mutex<BTreeMap<String, ErrorKind>>,
    asked: AtomicUsize,
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
            asked_for_users: Mutex::default(),
            failures: Mutex::default(),
            asked: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            most_in_flight: AtomicUsize::default(),
        }
    }
}

/// Counts failures to discover.
#[derive(Debug, Default)]
struct Failures(Mutex<Vec<(Operation, ErrorKind)>>);

impl Observer for Failures {
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
        self.asked_for_users.lock().unwrap().push(filter.clone());
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
        self.asked.fetch_add(1, Ordering::Relaxed);
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
        former_selector_id: Some(7),
    }
}

fn poller(users: u32, in_flight: usize, source: Script) -> (NetworkPoller<Script>, Reader) {
    let (poller, reader, _) = poller_of(listed(users), in_flight, source);
    (poller, reader)
}

fn poller_of(
    roster: UserListPlan,
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
    let (keeper, reader) = inventory::open();
    let observer = Arc::new(Failures::default());
    let plan = Plan {
        identity: identity.clone(),
        roster,
        source: Arc::new(source),
        lane: Arc::new(ConcurrencyLimiter::new(in_flight).open()),
        observer: observer.clone(),
        polled: Arc::default(),
        clock: Clock::Manual(Arc::default()),
    };
    let publisher = keeper.add(identity, None);
    keeper.settle();
    (NetworkPoller::new(plan, publisher), reader, observer)
}

#[tokio::test(start_paused = true)]
async fn every_user_is_asked_for_once_within_the_bound() {
    let (mut poller, reader) = poller(100, 16, failing([], ErrorKind::Timeout));
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(poller.plan.source.asked.load(Ordering::Relaxed), 100);
    assert_eq!(poller.plan.source.most_in_flight.load(Ordering::Relaxed), 16);
    assert!(reader.is_ready());
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [100, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_role_costs_a_handful_of_requests_and_everybody_failed_of_it() {
    let (mut poller, reader) = poller(5_000, 16, failing(1..=5_000, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert!(poller.plan.source.asked.load(Ordering::Relaxed) <= 8);
    let view = &reader.snapshot().networks[0];
    assert_eq!(view.users_by_failure()[ErrorKind::Forbidden as usize], 5_000);
    assert!(!view.is_up(0));
}

#[tokio::test(start_paused = true)]
async fn a_broken_role_is_noticed_on_a_service_that_throttles_too() {
    let mut source = failing(1..=5_000, ErrorKind::Forbidden);
    for user in (2..=5_000).step_by(2) {
        source.failures.get_mut().unwrap().insert(user.to_string(), ErrorKind::RateLimited);
    }
    let (mut poller, _) = poller(5_000, 16, source);
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert!(poller.plan.source.asked.load(Ordering::Relaxed) <= 16);
}

#[tokio::test(start_paused = true)]
async fn if_only_those_who_come_first_are_refused_the_others_are_read_in_time() {
    let (mut poller, reader) = poller(100, 1, failing(1..=3, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert_eq!(poller.plan.source.asked.load(Ordering::Relaxed), 3);
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [97, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn refusals_that_happen_to_be_heard_together_end_nothing() {
    // Every other user, and all of them slower than the good ones.
    let refused = (1..=100).filter(|user| user % 2 == 0);
    let (mut poller, reader) = poller(100, 16, failing(refused, ErrorKind::Unauthorized));
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [50, 0, 50]);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_single_users_end_nothing() {
    // Two in a row, again and again, one after another.
    let refused = (1..=300).filter(|user| user % 3 != 0);
    let (mut poller, reader) = poller(300, 1, failing(refused, ErrorKind::Forbidden));
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(poller.plan.source.asked.load(Ordering::Relaxed), 300);
    assert_eq!(reader.snapshot().networks[0].users_by_freshness(0), [100, 0, 200]);
}

#[tokio::test(start_paused = true)]
async fn other_failures_in_a_row_end_nothing() {
    let (mut poller, _) = poller(300, 8, failing(1..=300, ErrorKind::Timeout));
    assert_eq!(poller.poll().await, PollResult::Failure);
    assert_eq!(poller.plan.source.asked.load(Ordering::Relaxed), 300);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_visible_while_the_poll_goes_on() {
    let (mut poller, reader) =
        poller(10, 1, Script { latency: Duration::from_secs(1), ..Script::default() });
    let poll = poller.poll();
    tokio::select! {
        _ = poll => panic!("ten users at one a second"),
        () = tokio::time::sleep(Duration::from_millis(4_500)) => {}
    }
    let view = &reader.snapshot().networks[0];
    assert_eq!(view.users.len(), 4);
    let progress = view.polls.under_way.unwrap();
    assert_eq!((progress.done, progress.total), (4, 10));
    assert!(!reader.is_ready());
}

#[tokio::test(start_paused = true)]
async fn when_the_next_poll_is_due_is_known_between_two_polls_only() {
    // A poll takes 2.5 s, and the clock stands still: what is due in half a second is at 500.
    let source = Script { latency: Duration::from_millis(2_500), ..Script::default() };
    let (poller, reader) = poller(1, 1, source);
    let stop = CancellationToken::new();
    let task = tokio::spawn(poller.run(stop.clone()));
    let next = || reader.snapshot().networks[0].polls.next;
    tokio::time::sleep(Duration::from_millis(2_400)).await;
    assert_eq!(next(), None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(next(), Some(500));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(next(), None);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn polls_keep_their_beat_and_never_overlap() {
    // One user at a time, so a poll takes 2.5 s.
    let source = Script { latency: Duration::from_millis(500), ..Script::default() };
    let (poller, reader) = poller(5, 1, source);
    let source = poller.plan.source.clone();
    let stop = CancellationToken::new();
    let task = tokio::spawn(poller.run(stop.clone()));
    // At 0, 3, 6 and 9: the multiples of the interval that come next.
    tokio::time::sleep(Duration::from_millis(9_100)).await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 16);
    assert_eq!(source.most_in_flight.load(Ordering::Relaxed), 1);
    let polls = reader.snapshot().networks[0].polls.clone();
    assert_eq!((polls.ended, polls.overruns), ([3, 0, 0], 3));
    assert_eq!(polls.last.unwrap().took.as_millis(), 2_500);
    stop.cancel();
    let publisher = task.await.unwrap();
    assert_eq!(reader.snapshot().networks.len(), 1);
    publisher.withdraw();
    assert_eq!(reader.snapshot().networks.len(), 0, "with the publisher the network goes");
}
