//! When a network is polled, and how one poll goes.
//!
//! Each network has a task of its own ([`NetworkPoller::run`]), its own share of the requests in
//! flight and its own publisher, so one network's trouble is nobody else's. A poll asks for one user
//! after another (`round`) and publishes what it finds as it finds it. The room is handed plain
//! values and a [`Source`]; it knows no configuration and no HTTP.

mod round;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    inventory::{NetworkIdentity, PollResult, Publisher},
    wickr::{Client, Device, Error, Lane, NetworkId, UserId},
};
use round::{Failures, Round, Step};

/// Where devices come from.
pub trait Source: Send + Sync {
    /// All devices of a user, or the reason why they cannot be told.
    fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &Lane,
    ) -> impl Future<Output = Result<Vec<Device>, Error>> + Send;
}

impl Source for Client {
    async fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &Lane,
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

/// Polls one network.
#[derive(Debug)]
pub struct NetworkPoller<S> {
    /// Which one.
    pub identity: NetworkIdentity,
    /// Whom to ask for, each once.
    pub users: Vec<UserId>,
    /// Where to ask.
    pub source: Arc<S>,
    /// Its share of the requests in flight.
    pub lane: Lane,
    /// Where the results go.
    pub publisher: Publisher,
    /// The time of day.
    pub clock: Clock,
}

impl<S: Source> NetworkPoller<S> {
    /// Polls at once and then at every interval, from beginning to beginning, until `stop`. A poll
    /// that outlasts the interval is followed by the next at the next multiple of it: polls of a
    /// network never overlap.
    pub async fn run(mut self, stop: CancellationToken) {
        let interval = self.identity.interval;
        let mut due = Instant::now();
        while stop.run_until_cancelled(self.poll_until_due(due + interval)).await.is_some() {
            due += interval;
            let late = Instant::now().saturating_duration_since(due).as_nanos();
            let missed = late.div_ceil(interval.as_nanos().max(1));
            due += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
                break;
            }
        }
    }

    /// One poll of the network, from its first user to its last.
    pub async fn poll(&mut self) -> PollResult {
        self.poll_until_due(Instant::now() + FAR_FUTURE).await
    }

    /// One poll, and a word when the next one is due before it has ended: at once, for in an
    /// outage it may go on for hours.
    async fn poll_until_due(&mut self, due: Instant) -> PollResult {
        let started = Instant::now();
        self.publisher.begin(&self.users);
        let failures = self.round(due).await;
        let took = started.elapsed();
        let result = self.publisher.end(self.clock.now(), took);
        self.tell(result, &failures, took);
        // Begin elsewhere next time: it may be that only those who come first are refused.
        if let Some(asked) = failures.ended_after {
            let asked = asked % self.users.len().max(1);
            self.users.rotate_left(asked);
        }
        result
    }

    /// Asks for every user and publishes what comes.
    async fn round(&mut self, due: Instant) -> Failures {
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT_EVERY);
        report.reset();
        let outlasted = tokio::time::sleep_until(due);
        tokio::pin!(outlasted);
        let mut on_time = true;
        let (network_id, users) = (&self.identity.id, self.users.len());
        let mut done = 0;
        let mut round = Round::new(&*self.source, network_id, &self.users, &self.lane);
        loop {
            tokio::select! {
                step = round.next() => {
                    match step {
                        Step::Read(user, devices) => {
                            self.publisher.read(user, devices, self.clock.now());
                        }
                        Step::Failed(user, kind) => self.publisher.failed(user, kind),
                        Step::Done => return round.into_failures(),
                    }
                    done += 1;
                }
                _ = flush.tick() => self.publisher.flush(),
                _ = report.tick() => {
                    tracing::info!(%network_id, done, users, "the poll is under way");
                }
                () = &mut outlasted, if on_time => {
                    on_time = false;
                    self.publisher.overran();
                    tracing::warn!(
                        %network_id,
                        done,
                        users,
                        "the poll outlasts the interval; `wickr-exporter check` tells what a poll costs"
                    );
                }
            }
        }
    }

    fn tell(&self, result: PollResult, failures: &Failures, took: Duration) {
        let (network_id, users) = (&self.identity.id, self.users.len());
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

#[cfg(test)]
mod tests;
