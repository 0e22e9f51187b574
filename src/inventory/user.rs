//! What is known of one user, and how far it can be trusted.

use std::time::Duration;

use crate::{
    clock::Millis,
    wickr::{Device, ErrorKind, UserId},
};

/// How the last attempt to read a user and its data stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Read in the last poll.
    Fresh,
    /// Not read in the last poll; what is served is from an earlier one.
    Stale,
    /// Nothing is known, or what was known is too old to be served.
    Missing,
}

impl Freshness {
    /// All of them.
    pub const ALL: [Freshness; 3] = [Freshness::Fresh, Freshness::Stale, Freshness::Missing];

    /// The value of the label `freshness`.
    pub fn as_str(self) -> &'static str {
        match self {
            Freshness::Fresh => "fresh",
            Freshness::Stale => "stale",
            Freshness::Missing => "missing",
        }
    }
}

/// A user's devices, as they were at one time.
#[derive(Debug, PartialEq)]
pub struct Reading {
    /// When they were read.
    pub at: Millis,
    /// Ordered by `appId`; those without one come last.
    pub devices: Box<[Device]>,
}

/// A user that was asked for at least once.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRecord {
    /// The id.
    pub id: UserId,
    /// Why the last attempt failed; none if it did not.
    pub failure: Option<ErrorKind>,
    /// The last data that was read, kept while the user may still be there.
    pub(super) last: Option<std::sync::Arc<Reading>>,
}

impl UserRecord {
    /// The data to serve at `now`: that of the last attempt if it went well, however long ago;
    /// else the last known for as long as `stale_after` allows.
    pub fn reading(&self, now: Millis, stale_after: Duration) -> Option<&Reading> {
        let last = self.last.as_deref()?;
        let age = Duration::from_millis(u64::try_from(now - last.at).unwrap_or(0));
        (self.failure.is_none() || age <= stale_after).then_some(last)
    }

    /// How far the data to serve at `now` can be trusted.
    pub fn freshness(&self, now: Millis, stale_after: Duration) -> Freshness {
        match (self.reading(now, stale_after), self.failure) {
            (None, _) => Freshness::Missing,
            (Some(_), None) => Freshness::Fresh,
            (Some(_), Some(_)) => Freshness::Stale,
        }
    }
}
