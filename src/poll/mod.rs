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
    wickr::{Client, Device, Error, NetworkId, UserId},
};
use round::{Round, Step};

/// Where devices come from.
pub trait Source: Send + Sync {
    /// All devices of a user, or the reason why they cannot be told.
    fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
    ) -> impl Future<Output = Result<Vec<Device>, Error>> + Send;
}

impl Source for Client {
    async fn devices(&self, network: &NetworkId, user: &UserId) -> Result<Vec<Device>, Error> {
        Client::devices(self, network, user).await
    }
}

/// How often what was read is made visible while a poll waits, and how often a long poll says how
/// far it is.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// Polls one network.
#[derive(Debug)]
pub struct NetworkPoller<S> {
    /// Which one.
    pub identity: NetworkIdentity,
    /// Whom to ask for, each once.
    pub users: Vec<UserId>,
    /// Where to ask.
    pub source: Arc<S>,
    /// Users asked for at the same time, at most.
    pub in_flight: usize,
    /// Where the results go.
    pub publisher: Publisher,
    /// The time of day.
    pub clock: Clock,
}

impl<S: Source> NetworkPoller<S> {
    /// Polls at once and then every `interval`, from beginning to beginning, until `stop`. A poll
    /// that outlasts the interval is followed by the next at the next multiple of it: polls of a
    /// network never overlap.
    pub async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut due = Instant::now();
        while stop.run_until_cancelled(self.poll()).await.is_some() {
            due += interval;
            if due < Instant::now() {
                self.publisher.overran();
                tracing::warn!(
                    network_id = %self.identity.id,
                    ?interval,
                    "the poll outlasted the interval; see `wickr-exporter check` for what a poll costs"
                );
                let late =
                    Instant::now().duration_since(due).as_nanos() / interval.as_nanos().max(1);
                due += interval.saturating_mul(u32::try_from(late + 1).unwrap_or(u32::MAX));
            }
            if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
                break;
            }
        }
    }

    /// One poll of the network, from its first user to its last.
    pub async fn poll(&mut self) -> PollResult {
        let started = Instant::now();
        self.publisher.begin(&self.users);
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT_EVERY);
        report.reset();
        let mut done = 0;
        let mut round = Round::new(&*self.source, &self.identity.id, &self.users, self.in_flight);
        loop {
            let step = tokio::select! {
                step = round.next() => step,
                _ = flush.tick() => {
                    self.publisher.flush();
                    continue;
                }
                _ = report.tick() => {
                    let (network_id, users) = (&self.identity.id, self.users.len());
                    tracing::info!(%network_id, done, users, "the poll is under way");
                    continue;
                }
            };
            match step {
                Step::Read(user, devices) => self.publisher.read(user, devices, self.clock.now()),
                Step::Failed(user, kind) => self.publisher.failed(user, kind),
                Step::Done => break,
            }
            done += 1;
        }
        let took = started.elapsed();
        let failures = round.into_failures();
        let result = self.publisher.end(self.clock.now(), took);
        let (network_id, users) = (&self.identity.id, self.users.len());
        match result {
            PollResult::Success => tracing::info!(%network_id, users, ?took, "polled"),
            _ => tracing::warn!(
                %network_id,
                users,
                failed = failures.count,
                example = failures.example.as_deref().unwrap_or(""),
                ended_early = failures.ended_early,
                ?took,
                "polled, but not every user could be read"
            ),
        }
        result
    }
}

#[cfg(test)]
mod tests;
