//! What is known of looking up who and what there is to poll: it goes wrong without any user
//! failing, and then what was found before may not be all that there is.

use crate::{
    clock::Millis,
    wickr::{ErrorKind, Operation},
};

/// Something that is looked up again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookup {
    /// When it was last found out whole, by this process.
    pub last_success: Option<Millis>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<LookupFailure>,
}

/// Why something cannot be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupFailure {
    /// What was asked.
    pub operation: Operation,
    /// How the last attempt failed.
    pub kind: ErrorKind,
    /// When the first of the attempts ended that have failed in a row.
    pub since: Millis,
}

/// How an attempt ended.
pub type Attempt = Result<(), (Operation, ErrorKind)>;

impl Lookup {
    /// An attempt ended, at `now`.
    pub fn ended(&mut self, attempt: Attempt, now: Millis) {
        match attempt {
            Ok(()) => *self = Lookup { last_success: Some(now), failure: None },
            Err((operation, kind)) => {
                let since = self.failure.map_or(now, |failure| failure.since);
                self.failure = Some(LookupFailure { operation, kind, since });
            }
        }
    }
}

/// What is looked up for one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Who its users are.
    Users,
    /// Who of those that are written out is in which group: SSO limits follow from it.
    Members,
    /// Its groups: SSO limits follow from them.
    Groups,
}

/// The lookups of one network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Who its users are; of no meaning where they are written out.
    pub users: Lookup,
    /// Who is in which group, where users are written out and SSO limits are the groups'.
    pub members: Lookup,
    /// Its groups, where SSO limits are theirs.
    pub groups: Lookup,
}

impl Lookups {
    /// Why SSO limits are not known, or not as they are now.
    pub fn limits_failure(&self) -> Option<LookupFailure> {
        self.groups.failure.or(self.members.failure)
    }

    /// An attempt ended, at `now`.
    pub(super) fn ended(&mut self, subject: Subject, attempt: Attempt, now: Millis) {
        let lookup = match subject {
            Subject::Users => &mut self.users,
            Subject::Members => &mut self.members,
            Subject::Groups => &mut self.groups,
        };
        lookup.ended(attempt, now);
    }

    /// Whether an attempt of this process has ended, with success or failure.
    pub(super) fn has_ended(&self, subject: Subject) -> bool {
        let lookup = match subject {
            Subject::Users => &self.users,
            Subject::Members => &self.members,
            Subject::Groups => &self.groups,
        };
        lookup.last_success.is_some() || lookup.failure.is_some()
    }
}

/// The lookup of all networks of an account and region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The region.
    pub region: String,
    /// Whether networks are known that it found, now or by an earlier process.
    pub known: bool,
    /// How it went.
    pub lookup: Lookup,
}

/// The part of all users that is this process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardInfo {
    /// Which one, from 0.
    pub index: u32,
    /// Of how many, more than one.
    pub total: u32,
}

impl ShardInfo {
    /// In words.
    pub fn in_words(self) -> String {
        let ShardInfo { index, total } = self;
        format!("This process has part {} of {total} of the users.", u64::from(index) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_until_it_is_found_out() {
        let mut lookup = Lookup::default();
        let failed = |kind| Err((Operation::ListUsers, kind));
        lookup.ended(failed(ErrorKind::Timeout), 1);
        lookup.ended(failed(ErrorKind::Forbidden), 2);
        let failure = lookup.failure.unwrap();
        assert_eq!((failure.kind, failure.since), (ErrorKind::Forbidden, 1));
        lookup.ended(Ok(()), 3);
        assert_eq!(lookup, Lookup { last_success: Some(3), failure: None });
        lookup.ended(failed(ErrorKind::Timeout), 4);
        assert_eq!((lookup.last_success, lookup.failure.unwrap().since), (Some(3), 4));
    }

    #[test]
    fn limits_are_not_known_when_either_lookup_fails_and_groups_are_named_first() {
        let failed = |operation| Err((operation, ErrorKind::Timeout));
        let failing = |lookups: Lookups| lookups.limits_failure().map(|failure| failure.operation);
        let mut lookups = Lookups::default();
        lookups.ended(Subject::Users, failed(Operation::ListUsers), 1);
        assert_eq!(failing(lookups), None);
        lookups.ended(Subject::Members, failed(Operation::ListUsers), 1);
        assert_eq!(failing(lookups), Some(Operation::ListUsers));
        lookups.ended(Subject::Groups, failed(Operation::ListSecurityGroups), 1);
        assert_eq!(failing(lookups), Some(Operation::ListSecurityGroups));
        lookups.ended(Subject::Members, Ok(()), 2);
        assert_eq!(failing(lookups), Some(Operation::ListSecurityGroups));
    }

    #[test]
    fn people_count_parts_from_one() {
        let words = ShardInfo { index: 0, total: 3 }.in_words();
        assert_eq!(words, "This process has part 1 of 3 of the users.");
    }
}
