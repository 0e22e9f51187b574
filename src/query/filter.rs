//! Which devices are wanted.

use std::time::Duration;

use super::select::Row;
use crate::{
    inventory::{Freshness, NetworkView, UserRecord},
    wickr::{ApiTimestamp, NetworkId, UserId},
};

/// Which devices are wanted: those that pass every part of it. An empty list lets all pass.
///
/// A yes-or-no part lets only those pass of which the answer is known: a device of which the
/// service does not say whether it is suspended is neither among the suspended nor among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these networks.
    pub networks: Vec<NetworkId>,
    /// Of one of these users.
    pub users: Vec<UserId>,
    /// Of one of these types, exactly as they are written.
    pub device_types: Vec<String>,
    /// Of one of these statuses, exactly as they are written.
    pub statuses: Vec<String>,
    /// Suspended, or not.
    pub suspended: Option<bool>,
    /// Marked for reset, or not.
    pub reset: Option<bool>,
    /// Idle for longer than this.
    pub idle_over: Option<Duration>,
    /// Idle, but not for longer than this.
    pub idle_up_to: Option<Duration>,
    /// Nobody ever logged in on it, or somebody did.
    pub never_logged_in: Option<bool>,
    /// Idle for longer than its user's SSO sessions may be, or not.
    pub sso_expired: Option<bool>,
    /// Of a user whose data is as fresh as this.
    pub freshness: Option<Freshness>,
}

/// A duration in milliseconds; one that is too long for that is for ever.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn one_of<T: PartialEq<U>, U: ?Sized>(wanted: &[T], this: &U) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == this)
}

fn is<T: PartialEq>(wanted: Option<T>, this: Option<T>) -> bool {
    wanted.is_none() || wanted == this
}

impl Filter {
    /// Whether a network's devices can pass.
    pub(super) fn network(&self, network: &NetworkView) -> bool {
        one_of(&self.networks, &network.identity.id)
    }

    /// Whether a user's devices can pass.
    pub(super) fn user(&self, user: &UserRecord) -> bool {
        one_of(&self.users, &user.id)
    }

    /// Whether the device passes, once its network and user have.
    pub(super) fn device(&self, row: &Row<'_>) -> bool {
        let idle_over = self.idle_over.is_none_or(|least| row.idle > Some(millis(least)));
        let idle_up_to =
            self.idle_up_to.is_none_or(|most| row.idle.is_some_and(|idle| idle <= millis(most)));
        let logged_in = match row.device.last_login {
            ApiTimestamp::NEVER => Some(false),
            ApiTimestamp::INVALID => None,
            _ => Some(true),
        };
        idle_over
            && idle_up_to
            && one_of(&self.device_types, &*row.device.device_type)
            && one_of(&self.statuses, &*row.device.status)
            && is(self.suspended, row.device.suspended)
            && is(self.reset, Some(row.device.is_reset()))
            && is(self.never_logged_in, logged_in.map(|yes| !yes))
            && is(self.sso_expired, row.sso_expired())
            && is(self.freshness, Some(row.freshness))
    }
}
