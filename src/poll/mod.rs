//! When a network is polled, and how one poll goes.
//!
//! Each network has a task of its own ([`NetworkPoller::run`]), its own share of the requests in
//! flight and its own publisher, so one network's trouble is nobody else's. A poll asks for one user
//! after another (`round`) and publishes what it finds as it finds it. The room is handed plain
//! values and a [`Source`]; it knows no configuration and no HTTP.

mod discovery;
mod round;
mod shard;
mod user_list;

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Millis},
    inventory::{Directory, NetworkIdentity, PollResult, Publisher},
    wickr::{
        Client, Device, Error, ListUsersFilter, NetworkId, NetworkLimiter, SecurityGroup, User,
        UserId,
    },
};
pub use discovery::{SsoLimits, UserFilter, UserListPlan, UserSelector, UsernameMatcher};
use round::{Failures, Round, Step};
pub use shard::Shard;
pub use user_list::Observer;
use user_list::UserList;

/// Where devices, and what must be known to ask for them, come from.
pub trait Source: Send + Sync {
    /// What `keep` makes of the users of a network, or the reason why they cannot be told.
    fn users<T: Send>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        lane: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// The security groups of a network, or the reason why they cannot be told.
    fn security_groups(
        &self,
        network: &NetworkId,
        lane: &NetworkLimiter,
    ) -> impl Future<Output = Result<Vec<SecurityGroup>, Error>> + Send;

    /// All devices of a user, or the reason why they cannot be told.
    fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &NetworkLimiter,
    ) -> impl Future<Output = Result<Vec<Device>, Error>> + Send;
}

impl Source for Client {
    async fn users<T: Send>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        lane: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        Client::users(self, network, filter, lane, keep).await
    }

    async fn security_groups(
        &self,
        network: &NetworkId,
        lane: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        Client::security_groups(self, network, lane).await
    }

    async fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        Client::devices(self, network, user, lane).await
    }
}

/// How often what was read is made visible while a poll waits, and how often a long poll says how
/// far it is.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// When nothing is due: a century, for a clock must be able to reach it.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What one network is polled with.
#[derive(Debug)]
pub struct Plan<S> {
    /// Which one.
    pub identity: NetworkIdentity,
    /// Whom to ask for.
    pub roster: UserListPlan,
    /// Where to ask.
    pub source: Arc<S>,
    /// Its share of the requests in flight.
    pub lane: Arc<NetworkLimiter>,
    /// Who is told of failures to discover.
    pub observer: Arc<dyn Observer>,
    /// Who is told that a poll has ended.
    pub polled: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
}

/// How a rest between two polls ended.
enum Rested {
    /// The next poll is due.
    Whole,
    /// There is a reason to poll before that.
    Short,
}

/// Polls one network.
#[derive(Debug)]
pub struct NetworkPoller<S> {
    plan: Plan<S>,
    roster: UserList,
    /// By how much of the list the next round begins later.
    skip: usize,
    publisher: Publisher,
}

impl<S: Source + 'static> NetworkPoller<S> {
    /// A poller that publishes by `publisher`.
    pub fn new(plan: Plan<S>, mut publisher: Publisher) -> NetworkPoller<S> {
        let (list, known) = (publisher.list(), publisher.users());
        let roster = UserList::new(plan.roster.clone(), &plan.identity.id, list, known);
        // Who is not to be polled any more goes at once.
        let users = roster.users().unwrap_or_default();
        let wanted: HashSet<&UserId> = users.iter().collect();
        publisher.retain(|user| wanted.contains(user));
        publisher.assign(users, roster.is_all());
        match roster.at_first() {
            Some(directory) => publisher.set_directory(directory),
            // What discovery told before stays until it tells more, but for limits that come from
            // elsewhere now.
            None => match plan.roster.sso {
                SsoLimits::Off => publisher.limit_all(&[], None),
                SsoLimits::Fixed(limit) => publisher.limit_all(users, Some(limit)),
                SsoLimits::Groups => publisher.keep_limits_of_groups(),
            },
        }
        NetworkPoller { plan, roster, skip: 0, publisher }
    }

    /// Polls at once and then at every interval, from beginning to beginning, until `stop`. A poll
    /// that outlasts the interval is followed by the next at the next multiple of it: polls of a
    /// network never overlap. What it knows is given back.
    pub async fn run(mut self, stop: CancellationToken) -> Publisher {
        let interval = self.plan.identity.interval;
        let mut due = Instant::now();
        while stop.run_until_cancelled(self.poll_until_due(due + interval)).await.is_some() {
            due += interval;
            let late = Instant::now().saturating_duration_since(due).as_nanos();
            let missed = late.div_ceil(interval.as_nanos().max(1));
            due += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            let rest = self.rest_until(due);
            match stop.run_until_cancelled(rest).await {
                Some(Rested::Whole) => {}
                // Others are to be polled than were known before: the beat begins anew.
                Some(Rested::Short) => due = Instant::now(),
                None => break,
            }
        }
        self.publisher
    }

    /// One poll of the network, from its first user to its last, and all that was looked up for it.
    pub async fn poll(&mut self) -> PollResult {
        let result = self.poll_until_due(Instant::now() + FAR_FUTURE).await;
        while self.roster.is_looking() {
            self.take_up_what_is_found().await;
        }
        result
    }

    /// Waits, and takes up meanwhile what is looked up. It is over early when the first lookup has
    /// found others than were known, or when it failed and is to be tried again.
    async fn rest_until(&mut self, due: Instant) -> Rested {
        let retry = self.roster.retry_at().filter(|retry| *retry < due);
        let next = retry.unwrap_or(due);
        let wait = next.saturating_duration_since(Instant::now()).as_millis();
        let wait = i64::try_from(wait).unwrap_or(i64::MAX);
        self.publisher.due(self.plan.clock.now().saturating_add(wait));
        let over = tokio::time::sleep_until(next);
        tokio::pin!(over);
        loop {
            if self.roster.take_news() {
                return Rested::Short;
            }
            tokio::select! {
                () = &mut over => {
                    return if retry.is_some() { Rested::Short } else { Rested::Whole };
                }
                () = self.take_up_what_is_found(), if self.roster.is_looking() => {}
            }
        }
    }

    async fn take_up_what_is_found(&mut self) {
        let Plan { identity, observer, .. } = &self.plan;
        let found = self.roster.found(&identity.id, &**observer).await;
        take_up(&mut self.roster, &mut self.publisher, found, self.plan.clock.now());
    }

    /// One poll, and a word when the next one is due before it has ended: at once, for in an
    /// outage it may go on for hours.
    async fn poll_until_due(&mut self, due: Instant) -> PollResult {
        let started = Instant::now();
        let Plan { identity, source, lane, observer, .. } = &self.plan;
        let soon = identity.interval / 2;
        let found = self.roster.advance(source, &identity.id, lane, &**observer, soon).await;
        take_up(&mut self.roster, &mut self.publisher, found, self.plan.clock.now());
        let Some(users) = self.roster.users() else {
            // Nothing to poll, but something to tell: this has failed.
            let result = self.publisher.end(self.plan.clock.now(), started.elapsed(), false);
            self.plan.polled.notify_one();
            return result;
        };
        let all = self.roster.is_all();
        // Begin elsewhere than last time: it may be that only those who come first are refused.
        let mut users = users.to_vec();
        let skip = self.skip.checked_rem(users.len()).unwrap_or(0);
        users.rotate_left(skip);
        self.publisher.begin(&users);
        let failures = self.round(&users, due).await;
        let took = started.elapsed();
        // Perhaps by now they are known to be.
        let all = all || self.roster.is_covered_by(&users);
        let result = self.publisher.end(self.plan.clock.now(), took, all);
        if !all {
            let network_id = &self.plan.identity.id;
            tracing::warn!(%network_id, "polled who is known, but it is not known who else there is");
        }
        self.tell(users.len(), result, &failures, took);
        self.skip = failures.ended_after.map_or(0, |asked| skip + asked);
        self.plan.polled.notify_one();
        result
    }

    /// Asks for every user and publishes what comes.
    async fn round(&mut self, users: &[UserId], due: Instant) -> Failures {
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT_EVERY);
        report.reset();
        let outlasted = tokio::time::sleep_until(due);
        tokio::pin!(outlasted);
        let mut on_time = true;
        let Plan { identity, source, lane, clock, observer, .. } = &self.plan;
        let (network_id, count) = (&identity.id, users.len());
        let mut done = 0;
        let mut round = Round::new(&**source, network_id, users, lane);
        loop {
            tokio::select! {
                step = round.next() => {
                    match step {
                        Step::Read(user, devices) => {
                            self.publisher.read(user, devices, clock.now());
                        }
                        Step::Failed(user, kind) => self.publisher.failed(user, kind),
                        Step::Done => return round.into_failures(),
                    }
                    done += 1;
                }
                found = self.roster.found(network_id, &**observer), if self.roster.is_looking() => {
                    take_up(&mut self.roster, &mut self.publisher, found, clock.now());
                }
                _ = flush.tick() => self.publisher.flush(),
                _ = report.tick() => {
                    tracing::info!(%network_id, done, users = count, "the poll is under way");
                }
                () = &mut outlasted, if on_time => {
                    on_time = false;
                    self.publisher.overran();
                    tracing::warn!(
                        %network_id,
                        done,
                        users = count,
                        "the poll outlasts the interval; `wickr-exporter check` tells what a poll costs"
                    );
                }
            }
        }
    }

    fn tell(&self, users: usize, result: PollResult, failures: &Failures, took: Duration) {
        let network_id = &self.plan.identity.id;
        let seconds = took.as_secs_f64();
        let Some((user_id, error)) = &failures.example else {
            return tracing::info!(%network_id, users, seconds, "polled");
        };
        let message = match result {
            PollResult::Failure => "polled, and no user could be read",
            _ => "polled, but some users could not be read",
        };
        tracing::warn!(
            %network_id,
            users,
            failed = failures.count,
            example_user_id = %user_id,
            example_error = %error,
            remedy = error.kind.remedy(),
            ended_early = failures.ended_after.is_some(),
            seconds,
            "{message}"
        );
    }
}

/// Publishes what a lookup found, and how it ended.
fn take_up(
    roster: &mut UserList,
    publisher: &mut Publisher,
    found: Option<Directory>,
    now: Millis,
) {
    for (subject, attempt) in roster.take_ended() {
        publisher.looked_up(subject, attempt, now);
    }
    if let Some(directory) = found {
        publisher.set_directory(directory);
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
