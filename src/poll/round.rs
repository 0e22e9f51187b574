//! One round through the users of a network.
//!
//! The number of users asked for at the same time starts small and grows by one with each that is
//! read: a broken role is noticed after a handful of requests, and a good one costs a few round
//! trips. Several refusals in a row (401, 403: each after fresh credentials were tried) end the
//! round, and whoever was not reached failed for the same reason.

use std::{future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::Source;
use crate::wickr::{Device, Error, ErrorKind, NetworkId, UserId};

/// Users asked for at the same time at first.
const FIRST_WINDOW: usize = 4;
/// Refused users in a row that end the round.
const REFUSALS: usize = 3;

/// What comes next of a round.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// A user was read.
    Read(&'a UserId, Vec<Device>),
    /// A user was not.
    Failed(&'a UserId, ErrorKind),
    /// Every user has been told of.
    Done,
}

/// What a round's failures come to, for a log line.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: usize,
    /// One of them in words: the first.
    pub(super) example: Option<String>,
    pub(super) ended_early: bool,
}

type Asked<'a> = Pin<Box<dyn Future<Output = (usize, Result<Vec<Device>, Error>)> + Send + 'a>>;

/// One round.
pub(super) struct Round<'a, S> {
    source: &'a S,
    network: &'a NetworkId,
    users: &'a [UserId],
    /// The first user that was not asked for yet.
    next: usize,
    /// Whether each user has been told of, and the first that may not have been.
    told: Vec<bool>,
    untold: usize,
    asked: FuturesUnordered<Asked<'a>>,
    window: usize,
    widest: usize,
    refused_in_a_row: usize,
    /// Set when the round ended early: the users not told of yet failed so.
    ended_by: Option<ErrorKind>,
    failures: Failures,
}

impl<'a, S: Source> Round<'a, S> {
    pub(super) fn new(
        source: &'a S,
        network: &'a NetworkId,
        users: &'a [UserId],
        in_flight: usize,
    ) -> Round<'a, S> {
        Round {
            source,
            network,
            users,
            next: 0,
            told: vec![false; users.len()],
            untold: 0,
            asked: FuturesUnordered::new(),
            window: FIRST_WINDOW.min(in_flight).max(1),
            widest: in_flight.max(1),
            refused_in_a_row: 0,
            ended_by: None,
            failures: Failures::default(),
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Step<'a> {
        if let Some(kind) = self.ended_by {
            return self.not_reached(kind);
        }
        while self.asked.len() < self.window && self.next < self.users.len() {
            let (index, user) = (self.next, &self.users[self.next]);
            let (source, network) = (self.source, self.network);
            self.asked.push(Box::pin(async move { (index, source.devices(network, user).await) }));
            self.next += 1;
        }
        let Some((index, outcome)) = self.asked.next().await else { return Step::Done };
        self.told[index] = true;
        let user = &self.users[index];
        match outcome {
            Ok(devices) => {
                self.refused_in_a_row = 0;
                self.window = (self.window + 1).min(self.widest);
                Step::Read(user, devices)
            }
            Err(error) => {
                self.refused_in_a_row =
                    if error.kind.is_refusal() { self.refused_in_a_row + 1 } else { 0 };
                if self.refused_in_a_row >= REFUSALS {
                    // What is still asked for would be refused as well.
                    self.asked.clear();
                    self.ended_by = Some(error.kind);
                    self.failures.ended_early = true;
                }
                tracing::debug!(network_id = %self.network, user_id = %user, %error, "cannot read the user");
                self.failures.example.get_or_insert_with(|| error.to_string());
                self.failed(user, error.kind)
            }
        }
    }

    fn not_reached(&mut self, kind: ErrorKind) -> Step<'a> {
        while let Some(told) = self.told.get_mut(self.untold) {
            let index = self.untold;
            self.untold += 1;
            if !std::mem::replace(told, true) {
                return self.failed(&self.users[index], kind);
            }
        }
        Step::Done
    }

    fn failed(&mut self, user: &'a UserId, kind: ErrorKind) -> Step<'a> {
        self.failures.count += 1;
        Step::Failed(user, kind)
    }

    pub(super) fn into_failures(self) -> Failures {
        self.failures
    }
}
