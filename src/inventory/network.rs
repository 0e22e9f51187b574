//! The published view of one network. `network_state` makes it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    block::{Block, Users},
    changes::{ChangeCounts, ExposedChanges},
    lookups::Lookups,
    stats::BlockStats,
    user::{Freshness, UserData, UserFacts, UserRecord},
};
use crate::{
    clock::{Millis, Moment},
    named::named_values,
    wickr::{InternedStr, NetworkId, SecurityGroup, UserId},
};

/// The configured properties of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIdentity {
    /// The id.
    pub id: NetworkId,
    /// The display name; can be empty.
    pub name: String,
    /// The AWS region.
    pub region: String,
    /// Identifies the AWS account across restarts.
    pub account: String,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// How long the last known data of a user is served after the end of the first poll that should
    /// have refreshed it.
    pub stale_after: Duration,
}

/// The source of known SSO limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sso {
    /// One configured limit for all users.
    Fixed,
    /// The network's security groups, sorted by id.
    Groups(Vec<SecurityGroup>),
}

impl Sso {
    /// The network's security groups, if limits come from them.
    pub fn groups(&self) -> &[SecurityGroup] {
        match self {
            Sso::Fixed => &[],
            Sso::Groups(groups) => groups,
        }
    }
}

/// A user list that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredUsers {
    /// Identifies the selector that the list was discovered for.
    pub selector_id: u64,
    /// Sorted by id.
    pub users: Arc<[UserId]>,
}

/// Accounts in the service's list that a user list comes from. None where the list lacks the member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListedCounts {
    /// Suspended accounts.
    pub suspended: Option<u64>,
    /// Administrators.
    pub admins: Option<u64>,
    /// Invited users whose invitation has expired.
    pub invites_expired: Option<u64>,
}

/// The results of discovery for a network.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Facts about users.
    pub facts: BTreeMap<UserId, Arc<UserFacts>>,
    /// None if users are not discovered.
    pub counts: Option<ListedCounts>,
    /// None if SSO limits are not known.
    pub sso: Option<Arc<Sso>>,
    /// None if users are not discovered.
    pub user_list: Option<DiscoveredUsers>,
}

named_values! {
    /// The outcome of a poll: the label `result`.
    pub enum PollResult {
        /// Every user was read.
        Success = "success",
        /// Some users were read.
        Partial = "partial",
        /// No user was read.
        Failure = "failure",
    }
}

/// The polls of a network since the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollLog {
    /// Ended polls by result, in the order of [`PollResult::ALL`].
    pub ended: [u64; 3],
    /// Polls that took longer than the interval.
    pub overruns: u64,
    /// The last poll that ended.
    pub last: Option<LastPoll>,
    /// When the last successful poll ended.
    pub last_success: Option<Millis>,
    /// Progress of the current poll. None between polls.
    pub progress: Option<Progress>,
    /// When the next poll starts. None during a poll.
    pub next: Option<Moment>,
    /// When the last poll of this process ended. None if `last` was restored.
    pub(super) last_ended: Option<Moment>,
}

impl PollLog {
    /// When the last poll ended. If the clock has stepped since, the recorded time is corrected.
    pub fn last_at(&self, now: Moment) -> Option<Millis> {
        let recorded = self.last.map(|last| last.at);
        self.last_ended.map(|ended| now.time_of(ended)).or(recorded)
    }
}

/// The last poll that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastPoll {
    /// When it ended.
    pub at: Millis,
    /// Its duration; that of the last poll of all users if it read only some.
    pub duration: Duration,
    /// Its result.
    pub result: PollResult,
}

/// The progress of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Users whose request has ended.
    pub done: usize,
    /// Users to request.
    pub total: usize,
}

/// A network at one moment. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkView {
    /// Its configured properties.
    pub identity: Arc<NetworkIdentity>,
    /// The users that were requested, sorted by id.
    pub users: Users,
    /// All device types ever seen in it, sorted.
    pub types: Vec<InternedStr>,
    /// None if SSO limits are not known.
    pub sso: Option<Arc<Sso>>,
    /// None if users are not discovered.
    pub counts: Option<ListedCounts>,
    /// The user list that discovery found last, including users that were not requested yet.
    pub user_list: Option<DiscoveredUsers>,
    /// Whether the last poll covered all users of a complete list.
    pub covered: bool,
    /// Its polls.
    pub polls: PollLog,
    /// Its lookups.
    pub lookups: Lookups,
    /// The changes of devices that were counted so far, for the state file.
    pub changes: ChangeCounts,
    /// Those that scrapes expose; shared by all views of the network.
    pub(super) exposed_changes: Arc<ExposedChanges>,
    /// The time zone of API timestamps without a zone; empty if unknown.
    pub timezone: Arc<str>,
    /// Whether a required lookup has not ended its first attempt.
    pub lookups_pending: bool,
}

impl NetworkView {
    /// Whether the first poll and the required lookups have ended, with success or failure.
    pub fn is_ready(&self) -> bool {
        self.is_known() && !self.lookups_pending
    }

    /// Whether a poll of this process or of a restored one has ended.
    pub fn is_known(&self) -> bool {
        self.polls.last.is_some()
    }

    /// Whether a poll of this process has ended. Before that, the network is neither up nor down.
    pub fn was_polled(&self) -> bool {
        self.polls.ended.iter().any(|count| *count > 0)
    }

    /// Whether the last poll read every user, and the current poll has neither failed for a user nor
    /// stalled. The current poll counts because it can last for hours in an outage.
    pub fn is_up(&self, now: impl Into<Moment>) -> bool {
        self.is_up_with(self.users_by_freshness(now))
    }

    /// [`NetworkView::is_up`] with known counts of fresh, stale and missing users.
    pub fn is_up_with(&self, [fresh, ..]: [usize; 3]) -> bool {
        self.covered
            && self.polls.last.is_some_and(|last| last.result == PollResult::Success)
            && fresh == self.users.len()
    }

    /// The changes of devices that scrapes expose.
    pub fn exposed_changes(&self) -> ChangeCounts {
        self.exposed_changes.counts()
    }

    /// Whether there are changes that scrapes do not expose yet.
    pub fn has_unexposed_changes(&self) -> bool {
        self.changes != self.exposed_changes()
    }

    /// Exposes the changes that were counted so far.
    pub fn expose_changes(&self) {
        self.exposed_changes.raise(self.changes);
    }

    /// The users whose data is served at `now`.
    pub fn served_users(
        &self,
        now: impl Into<Moment>,
    ) -> impl Iterator<Item = (&UserRecord, &UserData)> {
        let (now, stale_after) = (now.into(), self.identity.stale_after);
        self.users.iter().filter_map(move |user| Some((user, user.data(now, stale_after)?)))
    }

    /// Whether no data of the block has expired at `now`. What is served then depends on the block
    /// alone, not on the clock.
    pub fn is_unexpired(&self, block: &Block, now: impl Into<Moment>) -> bool {
        block.stats().is_unexpired(now, self.identity.stale_after)
    }

    /// Statistics of each block over the data that is served at `now`.
    pub(super) fn block_stats(
        &self,
        now: impl Into<Moment>,
    ) -> impl Iterator<Item = Cow<'_, BlockStats>> {
        let (now, stale_after) = (now.into(), self.identity.stale_after);
        self.users.blocks().iter().map(move |block| {
            let stats = block.stats();
            if stats.is_unexpired(now, stale_after) {
                return Cow::Borrowed(stats);
            }
            let served = block.users().iter().map(|user| (user, user.data(now, stale_after)));
            Cow::Owned(BlockStats::new(served))
        })
    }

    /// The freshness of a user at `now`.
    pub fn freshness_of(&self, user: &UserRecord, now: impl Into<Moment>) -> Freshness {
        user.freshness(now, self.identity.stale_after)
    }

    /// Users by freshness, in the order of [`Freshness::ALL`].
    pub fn users_by_freshness(&self, now: impl Into<Moment>) -> [usize; 3] {
        let mut counts = [0; 3];
        for stats in self.block_stats(now) {
            add(&mut counts, &stats.users);
        }
        counts
    }

    /// Users whose last request failed, by error kind, in the order of
    /// [`ErrorKind::ALL`](crate::wickr::ErrorKind::ALL).
    pub fn users_by_failure(&self) -> [usize; 9] {
        let mut counts = [0; 9];
        for block in self.users.blocks() {
            add(&mut counts, &block.stats().failures);
        }
        counts
    }
}

pub(super) fn add<const N: usize>(sums: &mut [usize; N], counts: &[usize; N]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}
