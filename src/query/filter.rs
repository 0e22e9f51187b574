//! The filter of a query.

use std::time::Duration;

use super::select::Row;
use crate::{
    clock::to_millis,
    inventory::{Freshness, NetworkView, UserRecord},
    wickr::{ApiTimestamp, NetworkId, UserId},
};

/// Matches devices that match every part. An empty list matches all devices.
///
/// A boolean part matches only devices for which the API has the value: a device without `suspend`
/// matches neither `suspended=true` nor `suspended=false`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these networks.
    pub networks: Vec<NetworkId>,
    /// Of one of these users.
    pub users: Vec<UserId>,
    /// Of one of these types; case-sensitive.
    pub device_types: Vec<String>,
    /// With one of these statuses; case-sensitive.
    pub statuses: Vec<String>,
    /// Whether it is suspended.
    pub suspended: Option<bool>,
    /// Whether it is marked for reset.
    pub reset: Option<bool>,
    /// Idle for longer than this.
    pub idle_over: Option<Duration>,
    /// Idle for at most this long.
    pub idle_up_to: Option<Duration>,
    /// Whether it has never logged in.
    pub never_logged_in: Option<bool>,
    /// Whether it has been idle for longer than its user's SSO limit.
    pub sso_expired: Option<bool>,
    /// Whether its SSO session has not expired and ends within this time.
    pub sso_expires_within: Option<Duration>,
    /// The freshness of its user's data.
    pub freshness: Option<Freshness>,
}

fn contains<T: PartialEq<U>, U: ?Sized>(accepted: &[T], value: &U) -> bool {
    accepted.is_empty() || accepted.iter().any(|accepted| accepted == value)
}

fn equals<T: PartialEq>(accepted: Option<T>, value: Option<T>) -> bool {
    accepted.is_none() || accepted == value
}

impl Filter {
    pub(super) fn matches_network(&self, network: &NetworkView) -> bool {
        contains(&self.networks, &network.identity.id)
    }

    pub(super) fn matches_user(&self, user: &UserRecord) -> bool {
        contains(&self.users, &user.id)
    }

    /// Checks the device only, not its network or user.
    pub(super) fn matches_device(&self, row: &Row<'_>) -> bool {
        let idle_over = self.idle_over.is_none_or(|min| row.idle > Some(to_millis(min)));
        let idle_up_to =
            self.idle_up_to.is_none_or(|max| row.idle.is_some_and(|idle| idle <= to_millis(max)));
        let sso_expires = self.sso_expires_within.is_none_or(|max| {
            row.sso_ends_in().is_some_and(|ends_in| (0..=to_millis(max)).contains(&ends_in))
        });
        let never_logged_in = match row.device.last_login {
            ApiTimestamp::INVALID => None,
            last_login => Some(last_login == ApiTimestamp::NEVER),
        };
        idle_over
            && idle_up_to
            && sso_expires
            && contains(&self.device_types, &**row.device.device_type())
            && contains(&self.statuses, &**row.device.status())
            && equals(self.suspended, row.device.suspended())
            && equals(self.reset, Some(row.device.is_reset()))
            && equals(self.never_logged_in, never_logged_in)
            && equals(self.sso_expired, row.sso_expired())
            && equals(self.freshness, Some(row.freshness))
    }
}
