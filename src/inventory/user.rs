//! The record of one user.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    clock::{Millis, Moment, to_millis},
    named::named_values,
    wickr::{Device, ErrorKind, UserId},
};

named_values! {
    /// The freshness of the data of a user: the label `freshness`.
    #[derive(PartialOrd, Ord)]
    pub enum Freshness {
        /// Read in the last poll.
        Fresh = "fresh",
        /// Not read in the last poll; data of an earlier poll is served.
        Stale = "stale",
        /// There is no data, or it has expired.
        Missing = "missing",
    }
}

/// The devices of a user at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct UserData {
    /// When they were read.
    pub at: Millis,
    /// Sorted by `appId`, those without one last. Unchanged devices are shared between reads.
    pub devices: Arc<[Device]>,
}

/// A user that was requested at least once.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRecord {
    /// The id.
    pub id: UserId,
    /// The error of the last request. None if it succeeded.
    pub failure: Option<ErrorKind>,
    /// Whether it comes from the state file and was not requested since.
    pub restored: bool,
    /// The number of the poll that requested it last.
    pub(super) poll: u32,
    /// What discovery found out about it.
    pub facts: Option<Arc<UserFacts>>,
    /// The last data that was read, expired or not. The next read is compared with it.
    pub(super) last: Option<UserData>,
    /// Whether `last` is never served again: a poll has ended after it expired, or the service did not
    /// know the user.
    pub(super) expired: bool,
    /// Whether `last` was read in another time zone than the current one, so that its logins cannot be
    /// compared.
    pub(super) in_other_timezone: bool,
    /// The steady time when the first poll that failed to refresh `last` ended or stalled. None if
    /// `last` is from the last poll, or while the first poll after it proceeds.
    pub(super) overdue_since: Option<Millis>,
}

/// What discovery found out about a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UserFacts {
    /// Usually an email address. None unless usernames are enabled.
    pub username: Option<Box<str>>,
    /// 1 for pending, 2 for active.
    pub status: Option<i64>,
    /// Whether the account is suspended. None if it is unknown.
    pub suspended: Option<bool>,
    /// Whether the user is an administrator. None if it is unknown.
    pub admin: Option<bool>,
    /// The idle time after which an SSO session ends. None if there is no limit or it is unknown.
    pub sso_max_idle: Option<Duration>,
}

/// Shares equal facts: without usernames, most users have the same as many others.
#[derive(Debug, Default)]
pub struct SharedFacts(HashSet<Arc<UserFacts>>);

impl SharedFacts {
    /// The facts, shared with earlier calls.
    pub fn share(&mut self, facts: UserFacts) -> Arc<UserFacts> {
        if facts.username.is_some() {
            return Arc::new(facts);
        }
        if let Some(shared) = self.0.get(&facts) {
            return shared.clone();
        }
        let shared = Arc::new(facts);
        self.0.insert(shared.clone());
        shared
    }
}

/// The largest change between two records of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// At most the time when it was read.
    ReadTime,
    /// Last logins on its devices.
    Logins,
    /// Anything else.
    Content,
}

impl UserRecord {
    /// The data to serve at `now`. It expires when it is overdue for more than `stale_after`.
    pub fn data(&self, now: impl Into<Moment>, stale_after: Duration) -> Option<&UserData> {
        let now = now.into().steady;
        let overdue = |since: Millis| now.saturating_sub(since) > to_millis(stale_after);
        self.unexpired().filter(|_| !self.overdue_since.is_some_and(overdue))
    }

    /// The last data that can still be served, unless it expires before the end of a poll.
    pub(super) fn unexpired(&self) -> Option<&UserData> {
        self.last.as_ref().filter(|_| !self.expired)
    }

    /// The freshness at `now`.
    pub fn freshness(&self, now: impl Into<Moment>, stale_after: Duration) -> Freshness {
        match self.data(now, stale_after) {
            None => Freshness::Missing,
            Some(_) if self.is_up() => Freshness::Fresh,
            Some(_) => Freshness::Stale,
        }
    }

    /// Whether it has data that can still be served.
    pub fn has_data(&self) -> bool {
        self.unexpired().is_some()
    }

    /// Whether this process read it with the last request, and its data is not overdue.
    pub fn is_up(&self) -> bool {
        self.failure.is_none() && !self.restored && self.overdue_since.is_none()
    }

    /// The devices of the last data, unless a poll has ended after it expired.
    pub fn devices(&self) -> &[Device] {
        self.unexpired().map_or(&[], |last| &last.devices)
    }

    pub(super) fn change_since(&self, before: &UserRecord) -> Change {
        let status =
            |user: &UserRecord| (user.failure, user.restored, user.has_data(), user.overdue_since);
        if status(self) != status(before) || self.facts != before.facts {
            return Change::Content;
        }
        let (now, before) = (self.devices(), before.devices());
        if std::ptr::eq(now, before) || now == before {
            return Change::ReadTime;
        }
        let differ_in_login_only = |(now, before): (&Device, &Device)| {
            Device { last_login: now.last_login, ..before.clone() } == *now
        };
        if now.len() == before.len() && now.iter().zip(before).all(differ_in_login_only) {
            return Change::Logins;
        }
        Change::Content
    }

    /// After how long an idle SSO session ends.
    pub fn sso_max_idle(&self) -> Option<Duration> {
        self.facts.as_ref()?.sso_max_idle
    }

    /// When the SSO session on a device of the user ends without another login. None without a
    /// limit or a last login.
    pub fn sso_end(&self, device: &Device) -> Option<Millis> {
        Some(device.last_login.millis()?.saturating_add(to_millis(self.sso_max_idle()?)))
    }
}
