//! What is known of one user, and how far it can be trusted.

use std::{sync::Arc, time::Duration};

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
#[derive(Debug, Clone, PartialEq)]
pub struct UserData {
    /// When they were read.
    pub at: Millis,
    /// Ordered by `appId`; those without one come last. From one reading to the next they are
    /// shared if they are the same.
    pub devices: Arc<[Device]>,
}

/// A user that was asked for at least once.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRecord {
    /// The id.
    pub id: UserId,
    /// Why the last attempt failed; none if it did not.
    pub failure: Option<ErrorKind>,
    /// It comes from the state file, and has not been asked for since.
    pub restored: bool,
    /// What discovery told of it; none if it told nothing.
    pub facts: Option<Arc<UserFacts>>,
    /// The last data that was read, kept while the user may still exist.
    pub(super) last: Option<UserData>,
    /// When the first poll ended, or stalled, that should have refreshed `last` and did not. None while
    /// `last` is from the last poll, or while that poll proceeds.
    pub(super) overdue_since: Option<Millis>,
}

/// What discovery told of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFacts {
    /// An email address, mostly; kept only where it may be shown.
    pub username: Option<Box<str>>,
    /// 1 for pending, 2 for active.
    pub status: Option<i64>,
    /// After how long its idle SSO sessions end; none for no limit, or if nobody asked.
    pub sso_max_idle: Option<Duration>,
}

/// What has changed of a user from one attempt to the next; of several things the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// When it was read.
    UserData,
    /// When somebody last logged in on its devices.
    Logins,
    /// Anything else.
    Content,
}

impl UserRecord {
    /// The data to serve at `now`: `stale_after` limits how long it stays after it is overdue. A time
    /// ahead of `now` (the clock was set back) counts as that far in the past.
    pub fn reading(&self, now: Millis, stale_after: Duration) -> Option<&UserData> {
        let overdue = |since: Millis| u128::from(now.abs_diff(since)) > stale_after.as_millis();
        self.last.as_ref().filter(|_| !self.overdue_since.is_some_and(overdue))
    }

    /// How far the data to serve at `now` can be trusted.
    pub fn freshness(&self, now: Millis, stale_after: Duration) -> Freshness {
        match self.reading(now, stale_after) {
            None => Freshness::Missing,
            Some(_) if self.is_up() => Freshness::Fresh,
            Some(_) => Freshness::Stale,
        }
    }

    /// Whether anything was ever read of it, however old it is.
    pub fn was_read(&self) -> bool {
        self.last.is_some()
    }

    /// Whether the last attempt of this process read it, and its data is not overdue.
    pub fn is_up(&self) -> bool {
        self.failure.is_none() && !self.restored && self.overdue_since.is_none()
    }

    fn known_devices(&self) -> &[Device] {
        self.last.as_ref().map_or(&[], |last| &last.devices)
    }

    /// What tells it from what is known now.
    pub(super) fn news(&self, now: &UserRecord) -> News {
        let rest = |user: &UserRecord| {
            (user.failure, user.restored, user.last.is_some(), user.overdue_since)
        };
        if rest(self) != rest(now) || self.facts != now.facts {
            return News::Content;
        }
        let (before, now) = (self.known_devices(), now.known_devices());
        if std::ptr::eq(before, now) || before == now {
            return News::UserData;
        }
        let but_for_login = |(before, now): (&Device, &Device)| {
            Device { last_login: now.last_login, ..before.clone() } == *now
        };
        if before.len() == now.len() && before.iter().zip(now).all(but_for_login) {
            return News::Logins;
        }
        News::Content
    }

    /// After how long its idle SSO sessions end.
    pub fn sso_max_idle(&self) -> Option<Duration> {
        self.facts.as_ref()?.sso_max_idle
    }
}
