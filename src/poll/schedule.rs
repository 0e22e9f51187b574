//! When the polls of a network start.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};

use super::{NetworkPoller, Source, discovery::LookupResult};
use crate::wickr::UserId;

/// Delay before failed users are retried for the first time.
const FIRST_RETRY: Duration = Duration::from_secs(60);
/// Why a wait between two polls ended.
enum Wake {
    /// The next poll of all users is due.
    Due,
    /// These users must be polled before that.
    Users(Vec<UserId>),
}

/// When failed users are polled again.
#[derive(Debug)]
pub(super) struct Retry {
    delay: Duration,
    at: Option<Instant>,
}

impl Retry {
    pub(super) const IDLE: Retry = Retry { delay: FIRST_RETRY, at: None };

    /// A poll ended. `failing`: the last request of at least one user failed. A delay of at least
    /// the interval needs no retry: the next poll of all users comes first.
    pub(super) fn update(&mut self, failing: bool, interval: Duration) {
        let now = Instant::now();
        if !failing {
            *self = Retry::IDLE;
        } else if self.at.is_none_or(|at| at <= now) {
            self.at = (self.delay < interval).then(|| now + self.delay);
            self.delay = self.delay.saturating_mul(2).min(interval);
        }
    }
}

impl<S: Source + 'static> NetworkPoller<S> {
    pub(super) async fn poll_on_schedule(&mut self, mut lookups: mpsc::Receiver<LookupResult>) {
        let interval = self.plan.identity.interval;
        let mut due = Instant::now();
        loop {
            self.poll_all(&mut lookups, Some(due + interval)).await;
            // After an overrun, the next poll is due at the next multiple of the interval.
            due += interval;
            let late = Instant::now().saturating_duration_since(due).as_nanos();
            let missed = late.div_ceil(interval.as_nanos().max(1));
            due += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            while let Wake::Users(users) = self.wait_until(due, &mut lookups).await {
                let started = Instant::now();
                if self.poll_some(&users, due, &mut lookups).await {
                    // That was a poll of all users: the interval starts again.
                    due = started + interval;
                }
            }
        }
    }

    /// Waits for the next poll, applies lookups in the meantime, and returns early when users must be
    /// polled before.
    async fn wait_until(
        &mut self,
        due: Instant,
        lookups: &mut mpsc::Receiver<LookupResult>,
    ) -> Wake {
        let retry = self.retry.at.filter(|at| *at < due);
        let next = retry.unwrap_or(due);
        let wait = next.saturating_duration_since(Instant::now()).as_millis();
        let wait = i64::try_from(wait).unwrap_or(i64::MAX);
        self.publisher.set_next_poll(self.plan.clock.moment().after(wait));
        let woken = tokio::time::sleep_until(next);
        tokio::pin!(woken);
        loop {
            let found = self.with_users(|poller, users| poller.publisher.never_polled(users));
            // A list that confirms the polled users changes the result of the last poll: an empty poll
            // records it.
            let is_confirmed = self.list.is_complete() && !self.publisher.is_covered();
            if !found.is_empty() || is_confirmed {
                return Wake::Users(found);
            }
            tokio::select! {
                () = &mut woken => return match retry {
                    Some(_) => {
                        Wake::Users(self.with_users(|poller, users| poller.publisher.failed_users(users)))
                    }
                    None => Wake::Due,
                },
                Some(result) = lookups.recv() => self.apply(result),
            }
        }
    }
}
