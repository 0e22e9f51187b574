//! One round through the users of a network.
//!
//! The number of users asked for at the same time starts small and grows by one with each that is
//! not refused: a broken role is noticed after a handful of requests, and a good one costs a few
//! round trips. When several users in a row, in the order of the list, are refused (401, 403: each
//! after fresh credentials were tried), nobody else is asked, and whoever was not reached failed for
//! the same reason.

use std::{future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::Source;
use crate::wickr::{Device, Error, ErrorKind, NetworkId, NetworkLimiter, PollGuard, UserId};

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

/// What came of asking for a user, as far as it matters for ending the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nothing yet.
    Nothing,
    /// The caller was let in.
    LetIn,
    /// The caller was refused.
    Refused,
    /// Neither: nobody answered in earnest.
    Neither,
}

/// What a round's failures come to.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: usize,
    /// One of them: the first.
    pub(super) example: Option<(UserId, Error)>,
    /// If the round ended early: how many users were asked for by then.
    pub(super) ended_after: Option<usize>,
}

type Asked<'a> = Pin<Box<dyn Future<Output = (usize, Result<Vec<Device>, Error>)> + Send + 'a>>;

/// One round.
pub(super) struct Round<'a, S> {
    source: &'a S,
    network: &'a NetworkId,
    users: &'a [UserId],
    lane: &'a NetworkLimiter,
    _polling: PollGuard<'a>,
    /// The first user that was not asked for yet, or, once the round has ended, told of.
    next: usize,
    heard: Vec<Heard>,
    asked: FuturesUnordered<Asked<'a>>,
    window: usize,
    /// Set when the round ended early: the users that were not asked for failed so.
    ended_by: Option<ErrorKind>,
    failures: Failures,
}

impl<'a, S: Source> Round<'a, S> {
    pub(super) fn new(
        source: &'a S,
        network: &'a NetworkId,
        users: &'a [UserId],
        lane: &'a NetworkLimiter,
    ) -> Round<'a, S> {
        Round {
            source,
            network,
            users,
            lane,
            _polling: lane.poll(),
            next: 0,
            heard: vec![Heard::Nothing; users.len()],
            asked: FuturesUnordered::new(),
            window: FIRST_WINDOW,
            ended_by: None,
            failures: Failures::default(),
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Step<'a> {
        let (index, outcome) = loop {
            self.ask();
            tokio::select! {
                heard = self.asked.next() => match heard {
                    Some(heard) => break heard,
                    None => return self.not_reached(),
                },
                // Somebody waits before trying again: another may go meanwhile.
                () = self.lane.somebody_rests() => {}
            }
        };
        let user = &self.users[index];
        match outcome {
            Ok(devices) => {
                self.heard[index] = Heard::LetIn;
                self.window += 1;
                Step::Read(user, devices)
            }
            Err(error) => {
                self.heard(index, &error);
                let network_id = self.network;
                tracing::debug!(%network_id, user_id = %user, %error, "cannot read the user");
                let kind = error.kind;
                self.failures.example.get_or_insert_with(|| (user.clone(), error));
                self.failed(user, kind)
            }
        }
    }

    /// Asks for as many users as there is room for.
    fn ask(&mut self) {
        let most = self.window.min(self.lane.width()) + self.lane.resting();
        while self.ended_by.is_none() && self.asked.len() < most && self.next < self.users.len() {
            let (index, user) = (self.next, &self.users[self.next]);
            let (source, network, lane) = (self.source, self.network, self.lane);
            let asked = async move { (index, source.devices(network, user, lane).await) };
            self.asked.push(Box::pin(asked));
            self.next += 1;
        }
    }

    fn heard(&mut self, index: usize, error: &Error) {
        self.heard[index] = match error.kind {
            kind if kind.is_refusal() => Heard::Refused,
            kind if kind.may_be_retried() => Heard::Neither,
            // Who is told that a user does not exist was let in.
            _ => Heard::LetIn,
        };
        if self.heard[index] != Heard::Refused {
            self.window += 1;
        } else if self.ended_by.is_none() && self.refused_in_a_row(index) >= REFUSALS {
            self.ended_by = Some(error.kind);
            self.failures.ended_after = Some(self.next);
        }
    }

    /// How many users next to each other in the list were refused, this one among them. Those who
    /// heard neither do not interrupt a row.
    fn refused_in_a_row(&self, index: usize) -> usize {
        let row = |heard: &mut dyn Iterator<Item = &Heard>| {
            heard
                .take_while(|heard| matches!(heard, Heard::Refused | Heard::Neither))
                .filter(|heard| **heard == Heard::Refused)
                .take(REFUSALS)
                .count()
        };
        row(&mut self.heard[..index].iter().rev()) + row(&mut self.heard[index..].iter())
    }

    fn not_reached(&mut self) -> Step<'a> {
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
