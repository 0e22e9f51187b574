//! The lookups of discovery. When one fails, its earlier result stays in use and may be incomplete.

use crate::{
    clock::{Millis, Moment},
    wickr::{ErrorKind, Operation},
};

/// The state of one kind of lookup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookup {
    /// When this process last completed it.
    pub last_success: Option<Millis>,
    /// The failure of the last attempt. None if it succeeded.
    pub failure: Option<LookupFailure>,
}

/// A failed lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupFailure {
    /// The operation that failed.
    pub operation: Operation,
    /// The error of the last attempt.
    pub kind: ErrorKind,
    /// When the first of the consecutive failed attempts ended.
    pub since: Moment,
}

/// The outcome of one attempt.
pub type Attempt = Result<(), (Operation, ErrorKind)>;

impl Lookup {
    /// Records the outcome of an attempt that ended at `at`.
    pub fn record(&mut self, attempt: Attempt, at: impl Into<Moment>) {
        let at = at.into();
        match attempt {
            Ok(()) => *self = Lookup { last_success: Some(at.time), failure: None },
            Err((operation, kind)) => {
                let since = self.failure.map_or(at, |failure| failure.since);
                self.failure = Some(LookupFailure { operation, kind, since });
            }
        }
    }
}

/// What a lookup of a network finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Its users.
    Users,
    /// The security groups of configured users, for their SSO limits.
    Members,
    /// Its security groups, for SSO limits.
    Groups,
}

/// The lookups of one network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Users; unused if users are configured by id.
    pub users: Lookup,
    /// Group membership of users that are configured by id.
    pub members: Lookup,
    /// Security groups.
    pub groups: Lookup,
}

impl Lookups {
    /// Why SSO limits are unknown or outdated.
    pub fn limits_failure(&self) -> Option<LookupFailure> {
        self.groups.failure.or(self.members.failure)
    }

    pub(super) fn get_mut(&mut self, subject: Subject) -> &mut Lookup {
        match subject {
            Subject::Users => &mut self.users,
            Subject::Members => &mut self.members,
            Subject::Groups => &mut self.groups,
        }
    }

    /// Whether an attempt of this process has ended, with success or failure.
    pub(super) fn has_ended(mut self, subject: Subject) -> bool {
        *self.get_mut(subject) != Lookup::default()
    }
}

/// The lookup of the networks of an account and region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The region.
    pub region: String,
    /// Whether its networks are known, from this or an earlier process.
    pub known: bool,
    /// The lookup.
    pub lookup: Lookup,
}

/// The shard of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardInfo {
    /// From 0.
    pub index: u32,
    /// The number of shards, more than one.
    pub total: u32,
}

impl ShardInfo {
    /// A sentence for pages that counts shards from 1.
    pub fn description(self) -> String {
        let ShardInfo { index, total } = self;
        format!("This process polls part {} of {total} of the users.", u64::from(index) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_until_the_next_success() {
        let mut lookup = Lookup::default();
        let failed = |kind| Err((Operation::ListUsers, kind));
        lookup.record(failed(ErrorKind::Timeout), 1);
        lookup.record(failed(ErrorKind::Forbidden), 2);
        let failure = lookup.failure.unwrap();
        assert_eq!((failure.kind, failure.since), (ErrorKind::Forbidden, 1.into()));
        lookup.record(Ok(()), 3);
        assert_eq!(lookup, Lookup { last_success: Some(3), failure: None });
        lookup.record(failed(ErrorKind::Timeout), 4);
        assert_eq!((lookup.last_success, lookup.failure.unwrap().since), (Some(3), 4.into()));
    }

    #[test]
    fn limits_failure_names_groups_before_members() {
        let failed = |operation| Err((operation, ErrorKind::Timeout));
        let failing = |lookups: Lookups| lookups.limits_failure().map(|failure| failure.operation);
        let mut lookups = Lookups::default();
        lookups.get_mut(Subject::Users).record(failed(Operation::ListUsers), 1);
        assert_eq!(failing(lookups), None);
        lookups.get_mut(Subject::Members).record(failed(Operation::ListUsers), 1);
        assert_eq!(failing(lookups), Some(Operation::ListUsers));
        lookups.get_mut(Subject::Groups).record(failed(Operation::ListSecurityGroups), 1);
        assert_eq!(failing(lookups), Some(Operation::ListSecurityGroups));
        lookups.get_mut(Subject::Members).record(Ok(()), 2);
        assert_eq!(failing(lookups), Some(Operation::ListSecurityGroups));
    }
}
