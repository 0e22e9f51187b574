//! When a network is polled, and how.
//!
//! Each network has its own task ([`NetworkPoller::run`]), its own request limiter and its own
//! publisher, so networks do not affect each other. The task runs concurrently:
//!
//! - the poll schedule: all users at every interval. In between, users whose last request failed are
//!   retried after 1 minute, then with exponential backoff up to the interval, and users that
//!   discovery found are polled immediately. Polls of a network never overlap;
//! - discovery (`discovery`): lookups of users and security groups at their own interval.
//!
//! This module takes plain values and a [`Source`]. It does not depend on the configuration or on HTTP.

mod discovery;
mod fan_out;
mod not_found;
mod schedule;
mod shard;
mod source;
mod user_list;

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    in_place,
    inventory::{NetworkIdentity, PollResult, Publisher},
    wickr::{ErrorKind, NetworkLimiter, UserId},
};
use discovery::{Discovery, LookupResult};
pub use discovery::{SsoLimits, UserFilter, UserListPlan, UserSelector, UsernameMatcher};
use fan_out::{Failures, FanOut, Step};
use not_found::NotFoundGuard;
use schedule::Retry;
pub use shard::Shard;
pub use source::Source;
pub use user_list::DiscoveryObserver;
use user_list::UserList;

/// How often results are published while a poll waits for responses.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How often the progress of a long poll is logged.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Lookup results that wait while the poller is busy.
const PENDING_LOOKUPS: usize = 2;

/// The input of a poller.
#[derive(Debug)]
pub struct Plan<S> {
    /// The network.
    pub identity: NetworkIdentity,
    /// The selection of users.
    pub user_list: UserListPlan,
    /// The API.
    pub source: Arc<S>,
    /// Limits this network's requests in flight.
    pub limiter: Arc<NetworkLimiter>,
    /// Counts failed lookups.
    pub observer: Arc<dyn DiscoveryObserver>,
    /// Notified after every poll.
    pub polled: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
}

/// Polls one network.
#[derive(Debug)]
pub struct NetworkPoller<S> {
    plan: Plan<S>,
    list: UserList,
    discovery: Arc<UserListPlan>,
    /// Offset into the user list at which the next poll starts: if only the first users are refused,
    /// the others still have their turn.
    skip: usize,
    retry: Retry,
    publisher: Publisher,
}

impl<S: Source + 'static> NetworkPoller<S> {
    /// A poller that publishes to `publisher`. Data of users that are no longer selected is dropped.
    pub fn new(plan: Plan<S>, publisher: Publisher) -> NetworkPoller<S> {
        in_place::for_users(publisher.user_count(), || NetworkPoller::from_plan(plan, publisher))
    }

    fn from_plan(plan: Plan<S>, mut publisher: Publisher) -> NetworkPoller<S> {
        let discovery = Arc::new(plan.user_list.clone());
        let list = UserList::new(
            discovery.clone(),
            &plan.identity.id,
            plan.observer.clone(),
            publisher.discovered_users(),
            &publisher.users(),
        );
        let users = list.users().unwrap_or_default();
        let selected: HashSet<&UserId> = users.iter().collect();
        publisher.keep_restored(plan.clock.moment());
        publisher.set_required_lookups(discovery.needed_lookups());
        publisher.retain(|user| selected.contains(user));
        publisher.set_user_list(users, list.is_complete());
        match list.directory() {
            Some(directory) => publisher.set_directory(directory),
            // Earlier discoveries stay until the next one, except limits from another source.
            None => match discovery.sso {
                SsoLimits::Off => publisher.set_sso_limit(&[], None),
                SsoLimits::Fixed(limit) => publisher.set_sso_limit(users, Some(limit)),
                SsoLimits::Groups => publisher.keep_group_limits(),
            },
        }
        NetworkPoller { plan, list, discovery, skip: 0, retry: Retry::IDLE, publisher }
    }

    /// Polls and discovers until `stop`. The first poll starts immediately. Returns the publisher with
    /// everything that is known.
    pub async fn run(mut self, stop: CancellationToken) -> Publisher {
        let (results, lookups) = mpsc::channel(PENDING_LOOKUPS);
        let discovery = self.discovery().run(results);
        tokio::select! {
            () = stop.cancelled() => {}
            () = discovery => {}
            () = self.poll_on_schedule(lookups) => {}
        }
        let NetworkPoller { publisher, list, .. } = self;
        in_place::for_users(publisher.user_count(), || drop(list));
        publisher
    }

    /// Looks up what is needed, then polls all users once.
    pub async fn poll(&mut self) -> PollResult {
        for result in self.discovery().run_once().await {
            self.apply(result);
        }
        // Nothing is looked up any more.
        let (_, mut lookups) = mpsc::channel(1);
        self.poll_all(&mut lookups, None).await
    }

    fn discovery(&self) -> Discovery<S> {
        let Plan { identity, source, limiter, .. } = &self.plan;
        Discovery {
            plan: self.discovery.clone(),
            network: identity.id.clone(),
            source: source.clone(),
            limiter: limiter.clone(),
            confirm: self.list.confirm().clone(),
        }
    }

    /// Polls every user of the list. `due` is when the next poll is due.
    async fn poll_all(
        &mut self,
        lookups: &mut mpsc::Receiver<LookupResult>,
        due: Option<Instant>,
    ) -> PollResult {
        let started = Instant::now();
        let stalls = tokio::time::sleep(self.plan.identity.stale_after);
        tokio::pin!(stalls);
        let mut stalled = false;
        while self.list.users().is_none() {
            let result = tokio::select! {
                result = lookups.recv() => result,
                () = &mut stalls, if !stalled => {
                    stalled = true;
                    let now = self.plan.clock.moment();
                    in_place::for_users(self.publisher.user_count(), || self.publisher.stalled(now));
                    continue;
                }
            };
            let failed = matches!(result, None | Some(LookupResult::Users(Err(_))));
            if let Some(result) = result {
                self.apply(result);
            }
            if failed {
                // No user to poll. Discovery retries, and the users that it finds are polled immediately.
                let now = self.plan.clock.moment();
                let result = self.publisher.end(now, started.elapsed(), false);
                self.plan.polled.notify_one();
                return result;
            }
        }
        let users = self.list.shared_users();
        self.retry = Retry::IDLE;
        self.poll_users(&users, users.len(), started, due, started, lookups).await
    }

    /// Polls some users of the list before the next poll of all users is `due`. Returns whether
    /// `users` were all users of the list.
    async fn poll_some(
        &mut self,
        users: &[UserId],
        due: Instant,
        lookups: &mut mpsc::Receiver<LookupResult>,
    ) -> bool {
        let all = self.list.users().unwrap_or_default().len();
        self.poll_users(users, all, Instant::now(), None, due, lookups).await;
        users.len() == all
    }

    /// Polls `users`, of `all` on the list. From `refresh_from` on, data of all users has to be
    /// refreshed.
    async fn poll_users(
        &mut self,
        users: &[UserId],
        all: usize,
        started: Instant,
        due: Option<Instant>,
        refresh_from: Instant,
        lookups: &mut mpsc::Receiver<LookupResult>,
    ) -> PollResult {
        let complete = self.list.is_complete();
        let skip = self.skip.checked_rem(users.len()).unwrap_or(0);
        let users = self.with_users(|poller, list| {
            poller.publisher.begin_partial(list, users.len());
            [&users[skip..], &users[..skip]].concat()
        });
        let requested = users.len();
        let failures = self.request_devices(&users, due, refresh_from, lookups).await;
        let took = started.elapsed();
        let now = self.plan.clock.moment();
        let (complete, result, failing) = self.with_users(|poller, list| {
            drop(users);
            let publisher = &mut poller.publisher;
            // The list may have become complete during the poll.
            let complete =
                complete || (poller.list.is_complete() && publisher.never_polled(list).is_empty());
            let result = match requested == all {
                true => publisher.end(now, took, complete),
                false => publisher.end_partial(now, complete),
            };
            (complete, result, publisher.has_failures())
        });
        if !complete {
            let network_id = &self.plan.identity.id;
            tracing::warn!(%network_id, "polled cached users; the user list is incomplete");
        }
        self.log_outcome(requested, &failures, took);
        self.skip = failures.ended_after.map_or(0, |requested| skip + requested);
        self.retry.update(failing, self.plan.identity.interval);
        self.plan.polled.notify_one();
        result
    }

    /// Requests the devices of every user and publishes the results.
    async fn request_devices(
        &mut self,
        users: &[UserId],
        due: Option<Instant>,
        refresh_from: Instant,
        lookups: &mut mpsc::Receiver<LookupResult>,
    ) -> Failures {
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT_EVERY);
        report.reset();
        let overrun = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(overrun);
        let mut on_time = true;
        let mut not_found = NotFoundGuard::default();
        let mut done = 0;
        let stale_after = self.plan.identity.stale_after;
        let (mut last_progress, mut stalled) = (refresh_from, false);
        let (source, limiter) = (self.plan.source.clone(), self.plan.limiter.clone());
        let network_id = self.plan.identity.id.clone();
        let mut requests = FanOut::new(&*source, &network_id, users, &limiter);
        loop {
            tokio::select! {
                step = requests.next() => {
                    match step {
                        Step::Read(user, devices) => {
                            last_progress = last_progress.max(Instant::now());
                            not_found.end_row(&mut self.publisher);
                            self.publisher.record_devices(user, devices, self.plan.clock.now());
                        }
                        Step::Failed(user, ErrorKind::NotFound) => {
                            not_found.not_found(user, &mut self.publisher);
                        }
                        Step::Failed(user, kind) => self.publisher.record_failure(user, kind),
                        Step::Done => {
                            not_found.end_row(&mut self.publisher);
                            return requests.into_failures();
                        }
                    }
                    done += 1;
                }
                Some(result) = lookups.recv() => self.apply(result),
                _ = flush.tick() => {
                    self.publisher.flush();
                    if !stalled && last_progress.elapsed() > stale_after {
                        stalled = true;
                        let now = self.plan.clock.moment();
                        in_place::for_users(users.len(), || self.publisher.stalled(now));
                    }
                }
                _ = report.tick() => {
                    tracing::info!(%network_id, done, users = users.len(), "poll in progress");
                }
                () = &mut overrun, if on_time => {
                    on_time = false;
                    self.publisher.overran();
                    tracing::warn!(
                        %network_id,
                        done,
                        users = users.len(),
                        "poll exceeds the interval; `wickr-exporter check` estimates its duration"
                    );
                }
            }
        }
    }

    fn apply(&mut self, result: LookupResult) {
        in_place::for_users(result.users().max(self.publisher.user_count()), || {
            let (subject, attempt, directory) = self.list.apply(result);
            // The data first, because the end of a lookup can make the network ready.
            if let Some(directory) = directory {
                self.publisher.set_directory(directory);
            }
            self.publisher.record_lookup(subject, attempt, self.plan.clock.moment());
        });
    }

    /// Does work that takes time for each user of the list.
    fn with_users<T>(&mut self, work: impl FnOnce(&mut Self, &[UserId]) -> T) -> T {
        let users = self.list.shared_users();
        in_place::for_users(users.len(), || work(self, &users))
    }

    fn log_outcome(&self, users: usize, failures: &Failures, took: Duration) {
        let network_id = &self.plan.identity.id;
        let seconds = took.as_secs_f64();
        let Some((user_id, error)) = &failures.example else {
            return tracing::info!(%network_id, users, seconds, "poll finished");
        };
        tracing::warn!(
            %network_id,
            users,
            failed = failures.count,
            example_user_id = %user_id,
            example_error = %error,
            remedy = error.remedy(),
            ended_early = failures.ended_after.is_some(),
            seconds,
            "{}",
            if failures.count == users { "poll failed" } else { "poll failed for some users" }
        );
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
