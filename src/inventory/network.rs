//! What is known of one network, as it is published: a view that never changes. `book` makes it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    block::{Block, Users},
    figures::Figures,
    lookups::Lookups,
    user::{Freshness, UserData, UserFacts, UserRecord},
};
use crate::{
    clock::Millis,
    wickr::{InternedStr, NetworkId, SecurityGroup, UserId},
};

/// What does not change while a network is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIdentity {
    /// The id.
    pub id: NetworkId,
    /// A label for people; empty if there is none.
    pub name: String,
    /// The region whose endpoint is asked.
    pub region: String,
    /// Who asks, and where: what tells one account's networks from another's after a restart.
    pub account: String,
    /// From the beginning of one poll to that of the next.
    pub interval: Duration,
    /// How long the last known data of a user is served after the end of the first poll that should
    /// have refreshed it.
    pub stale_after: Duration,
}

/// What is known of SSO limits in a network. Where nobody asked for them, or nobody could be told,
/// there is none of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sso {
    /// The limit is the same for all.
    Fixed,
    /// Each user's is that of its groups: the network's security groups, by id.
    Groups(Vec<SecurityGroup>),
}

impl Sso {
    /// The network's security groups, where they are known.
    pub fn groups(&self) -> &[SecurityGroup] {
        match self {
            Sso::Fixed => &[],
            Sso::Groups(groups) => groups,
        }
    }
}

/// All users of a network that are to be polled, as discovery found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredUsers {
    /// The selection that the list was discovered for.
    pub selector_id: u64,
    /// By id.
    pub users: Arc<[UserId]>,
}

/// What discovery tells of a network.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Of those users of whom it told anything.
    pub facts: BTreeMap<UserId, Arc<UserFacts>>,
    /// None where SSO limits are not known.
    pub sso: Option<Arc<Sso>>,
    /// None where users are not discovered.
    pub list: Option<DiscoveredUsers>,
}

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollResult {
    /// Every user was read.
    Success,
    /// Some were.
    Partial,
    /// None was.
    Failure,
}

impl PollResult {
    /// All of them.
    pub const ALL: [PollResult; 3] =
        [PollResult::Success, PollResult::Partial, PollResult::Failure];

    /// The value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            PollResult::Success => "success",
            PollResult::Partial => "partial",
            PollResult::Failure => "failure",
        }
    }
}

/// The polls of a network since the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollLog {
    /// How many ended so, in the order of [`PollResult::ALL`].
    pub ended: [u64; 3],
    /// How many outlasted the interval.
    pub overruns: u64,
    /// The last one that ended.
    pub last: Option<LastPoll>,
    /// When the last one ended that read every user.
    pub last_success: Option<Millis>,
    /// Users done and users to do, while one is under way.
    pub under_way: Option<Progress>,
    /// When the next one is due, between two polls.
    pub next: Option<Millis>,
}

/// The poll that ended last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastPoll {
    /// When it ended.
    pub at: Millis,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub result: PollResult,
}

/// How far a poll is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Users that were asked for.
    pub done: usize,
    /// Users to ask for.
    pub total: usize,
}

/// A network as it was known at one moment. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkView {
    /// Which one.
    pub identity: Arc<NetworkIdentity>,
    /// The users that were asked for, by id.
    pub users: Users,
    /// The device types ever seen in it, by name.
    pub types: Vec<InternedStr>,
    /// SSO limits, where they are known.
    pub sso: Option<Arc<Sso>>,
    /// All users that there are, where discovery has found them, whether they were asked for or not.
    pub list: Option<DiscoveredUsers>,
    /// Whether the last poll was one of all that are to be polled now.
    pub covered: bool,
    /// Its polls.
    pub polls: PollLog,
    /// How it goes to find out whom to poll, where that is not written out.
    pub lookups: Lookups,
    /// Whether the first attempt of a lookup that the exposition depends on has not ended yet.
    pub lookups_pending: bool,
}

impl NetworkView {
    /// Whether the first poll (of this process, or of the one whose state was restored) and the first
    /// lookups have ended, with success or failure.
    pub fn is_ready(&self) -> bool {
        self.is_known() && !self.lookups_pending
    }

    /// Whether a first poll has ended, well or badly.
    pub fn is_known(&self) -> bool {
        self.polls.last.is_some()
    }

    /// Whether a poll of this process has ended, so that it can be told whether the network is up.
    pub fn was_polled(&self) -> bool {
        self.polls.ended.iter().any(|count| *count > 0)
    }

    /// Whether the last poll read every user, and the poll under way has neither failed for a user nor
    /// stalled: in an outage it can last for hours.
    pub fn is_up(&self, now: Millis) -> bool {
        self.is_up_with(self.users_by_freshness(now))
    }

    /// The same, where it is known how many users are fresh, stale and missing.
    pub fn is_up_with(&self, [fresh, ..]: [usize; 3]) -> bool {
        self.covered
            && self.polls.last.is_some_and(|last| last.result == PollResult::Success)
            && fresh == self.users.len()
    }

    /// The data of every user to serve at `now`.
    pub fn readings(&self, now: Millis) -> impl Iterator<Item = (&UserRecord, &UserData)> {
        let stale_after = self.identity.stale_after;
        self.users.iter().filter_map(move |user| Some((user, user.reading(now, stale_after)?)))
    }

    /// Whether the data of all users of one of its blocks is served at `now`: whatever follows from
    /// it then follows from the block alone.
    pub fn is_whole(&self, block: &Block, now: Millis) -> bool {
        block.figures().hold_at(now, self.identity.stale_after)
    }

    /// Each block's figures at `now`.
    pub(super) fn figures(&self, now: Millis) -> impl Iterator<Item = Cow<'_, Figures>> {
        let stale_after = self.identity.stale_after;
        self.users.blocks().iter().map(move |block| {
            let figures = block.figures();
            if figures.hold_at(now, stale_after) {
                return Cow::Borrowed(figures);
            }
            let served = block.users().iter().map(|user| (user, user.reading(now, stale_after)));
            Cow::Owned(Figures::of(served))
        })
    }

    /// How far the data of one of its users can be trusted at `now`.
    pub fn freshness_of(&self, user: &UserRecord, now: Millis) -> Freshness {
        user.freshness(now, self.identity.stale_after)
    }

    /// How many users are fresh, stale and missing, in the order of [`Freshness::ALL`].
    pub fn users_by_freshness(&self, now: Millis) -> [usize; 3] {
        let mut counts = [0; 3];
        for figures in self.figures(now) {
            add(&mut counts, &figures.users);
        }
        counts
    }

    /// How many users' last poll failed so, in the order of [`ErrorKind::ALL`](crate::wickr::ErrorKind::ALL).
    pub fn users_by_failure(&self) -> [usize; 9] {
        let mut counts = [0; 9];
        for block in self.users.blocks() {
            add(&mut counts, &block.figures().failures);
        }
        counts
    }
}

pub(super) fn add<const N: usize>(sums: &mut [usize; N], counts: &[usize; N]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}
