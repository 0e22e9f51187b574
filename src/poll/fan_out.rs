//! Requests the devices of many users, several at a time.
//!
//! The number of users requested at a time starts small and grows by one with each response that is
//! not a refusal: a role without permissions causes few requests, and a working role needs a few
//! additional round trips. When several adjacent users of the list are refused (401 or 403, each after a
//! retry with fresh credentials), no further user is requested, and the remaining users fail with the
//! same error.

use std::{future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::Source;
use crate::wickr::{Device, Error, ErrorKind, NetworkId, NetworkLimiter, PollGuard, UserId};

/// Number of concurrent users at the start of a poll.
const FIRST_WINDOW: usize = 4;
/// Refused users in a row that end the poll.
const REFUSALS: usize = 3;

/// The next result.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// A user was read.
    Read(&'a UserId, Vec<Device>),
    /// A user could not be read.
    Failed(&'a UserId, ErrorKind),
    /// Every user has had a result.
    Done,
}

/// The outcome for one user, for the decision whether to end the poll early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserOutcome {
    /// No response yet.
    Pending,
    /// The service accepted the credentials.
    Accepted,
    /// The service refused the credentials.
    Refused,
    /// A transient error: says nothing about the credentials.
    Transient,
}

/// The failures of one poll.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: usize,
    /// The first failure.
    pub(super) example: Option<(UserId, Error)>,
    /// Number of users requested before the poll ended early; None if it did not.
    pub(super) ended_after: Option<usize>,
}

type DeviceRequest<'a> =
    Pin<Box<dyn Future<Output = (usize, Result<Vec<Device>, Error>)> + Send + 'a>>;

/// The requests of one poll.
pub(super) struct FanOut<'a, S> {
    source: &'a S,
    network: &'a NetworkId,
    users: &'a [UserId],
    limiter: &'a NetworkLimiter,
    _polling: PollGuard<'a>,
    /// Index of the next user to request or, after an early end, to fail.
    next: usize,
    outcomes: Vec<UserOutcome>,
    in_flight: FuturesUnordered<DeviceRequest<'a>>,
    window: usize,
    /// The error that ended the poll early.
    ended_by: Option<ErrorKind>,
    failures: Failures,
}

impl<'a, S: Source> FanOut<'a, S> {
    pub(super) fn new(
        source: &'a S,
        network: &'a NetworkId,
        users: &'a [UserId],
        limiter: &'a NetworkLimiter,
    ) -> FanOut<'a, S> {
        FanOut {
            source,
            network,
            users,
            limiter,
            _polling: limiter.poll(),
            next: 0,
            outcomes: vec![UserOutcome::Pending; users.len()],
            in_flight: FuturesUnordered::new(),
            window: FIRST_WINDOW,
            ended_by: None,
            failures: Failures::default(),
        }
    }

    /// The next result. Cancel safe.
    pub(super) async fn next(&mut self) -> Step<'a> {
        // After an early end, up to a million results follow immediately. Other tasks need turns between.
        tokio::task::coop::consume_budget().await;
        let (index, result) = loop {
            self.fill();
            tokio::select! {
                response = self.in_flight.next() => match response {
                    Some(response) => break response,
                    None => return self.not_requested(),
                },
                // A request waits before its retry: another can use its permit.
                () = self.limiter.backoff_started() => {}
            }
        };
        let user = &self.users[index];
        match result {
            Ok(devices) => {
                self.outcomes[index] = UserOutcome::Accepted;
                self.window += 1;
                Step::Read(user, devices)
            }
            Err(error) => {
                self.record(index, &error);
                let network_id = self.network;
                tracing::debug!(%network_id, user_id = %user, %error, "user not read");
                let kind = error.kind;
                self.failures.example.get_or_insert_with(|| (user.clone(), error));
                self.failed(user, kind)
            }
        }
    }

    /// Sends as many requests as the window allows.
    fn fill(&mut self) {
        let most = self.window.min(self.limiter.limit()) + self.limiter.backing_off();
        while self.ended_by.is_none() && self.in_flight.len() < most && self.next < self.users.len()
        {
            let (index, user) = (self.next, &self.users[self.next]);
            let (source, network, limiter) = (self.source, self.network, self.limiter);
            let request = async move { (index, source.devices(network, user, limiter).await) };
            self.in_flight.push(Box::pin(request));
            self.next += 1;
        }
    }

    fn record(&mut self, index: usize, error: &Error) {
        self.outcomes[index] = match error.kind {
            kind if kind.is_refusal() => UserOutcome::Refused,
            kind if kind.may_be_retried() => UserOutcome::Transient,
            // An answer such as "unknown user" is only given to accepted credentials.
            _ => UserOutcome::Accepted,
        };
        if self.outcomes[index] != UserOutcome::Refused {
            self.window += 1;
        } else if self.ended_by.is_none() && self.refused_in_a_row(index) >= REFUSALS {
            self.ended_by = Some(error.kind);
            self.failures.ended_after = Some(self.next);
        }
    }

    /// The number of adjacent refused users around `index`. Transient errors do not interrupt a row.
    fn refused_in_a_row(&self, index: usize) -> usize {
        let row = |outcomes: &mut dyn Iterator<Item = &UserOutcome>| {
            outcomes
                .take_while(|outcome| {
                    matches!(outcome, UserOutcome::Refused | UserOutcome::Transient)
                })
                .filter(|outcome| **outcome == UserOutcome::Refused)
                .take(REFUSALS)
                .count()
        };
        row(&mut self.outcomes[..index].iter().rev()) + row(&mut self.outcomes[index..].iter())
    }

    fn not_requested(&mut self) -> Step<'a> {
        match (self.ended_by, self.users.get(self.next)) {
            (Some(kind), Some(user)) => {
                self.next += 1;
                self.failed(user, kind)
            }
            _ => Step::Done,
        }
    }

    fn failed(&mut self, user: &'a UserId, kind: ErrorKind) -> Step<'a> {
        self.failures.count += 1;
        Step::Failed(user, kind)
    }

    pub(super) fn into_failures(self) -> Failures {
        self.failures
    }
}
