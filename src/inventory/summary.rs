//! A network's devices in figures, by type, at one moment.

use super::{
    figures::TypeFigures,
    network::{NetworkView, add},
};
use crate::{
    clock::Millis,
    wickr::{Device, InternedStr},
};

/// How long ago a device's user last logged in on it, in milliseconds; none if never or unknown.
/// Never negative: a login that lies ahead of this machine's clock is now.
pub fn idle_millis(device: &Device, now: Millis) -> Option<i64> {
    Some(now.saturating_sub(device.last_login.millis()?).max(0))
}

/// The devices of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeSummary {
    /// The type.
    pub device_type: InternedStr,
    /// All of them.
    pub devices: u64,
    /// Those that are suspended.
    pub suspended: u64,
    /// Those that are marked for reset.
    pub reset: u64,
    /// Those that nobody ever logged in on.
    pub never_logged_in: u64,
    /// Those whose idle time is at most the bound, for each bound.
    pub idle_at_most: Vec<u64>,
    /// Those that have an idle time.
    pub with_idle: u64,
    /// The sum of their idle times, in milliseconds.
    pub idle_sum: i64,
    /// Those that have been idle for longer than their user's SSO sessions may be.
    pub sso_expired: u64,
}

/// All devices of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many users are fresh, stale and missing, in the order of
    /// [`Freshness::ALL`](super::Freshness::ALL).
    pub users: [usize; 3],
    /// By type, those included that are no more.
    pub types: Vec<TypeSummary>,
    /// Devices whose creation time cannot be read.
    pub invalid_created: u64,
    /// Devices whose last login cannot be read.
    pub invalid_last_login: u64,
}

impl Summary {
    /// Works out the figures at `now`; `bounds` are idle times in milliseconds, ascending.
    pub fn of(view: &NetworkView, now: Millis, bounds: &[i64]) -> Summary {
        let mut summary = Summary {
            users: [0; 3],
            types: view.types.iter().map(|label| TypeSummary::none(label, bounds.len())).collect(),
            invalid_created: 0,
            invalid_last_login: 0,
        };
        for figures in view.figures(now) {
            add(&mut summary.users, &figures.users);
            summary.invalid_created += figures.invalid_created;
            summary.invalid_last_login += figures.invalid_last_login;
            for of_type in &figures.types {
                summary.add(of_type, now, bounds);
            }
        }
        summary
    }

    fn add(&mut self, figures: &TypeFigures, now: Millis, bounds: &[i64]) {
        // A handful of types: looking through them beats hashing.
        let Some(of_type) =
            self.types.iter_mut().find(|of_type| of_type.device_type == figures.device_type)
        else {
            return debug_assert!(false, "the view knows every type of its devices");
        };
        of_type.devices += figures.devices;
        of_type.suspended += figures.suspended;
        of_type.reset += figures.reset;
        of_type.never_logged_in += figures.never_logged_in;
        of_type.with_idle += figures.with_idle() as u64;
        of_type.sso_expired += figures.sso_expired(now) as u64;
        let sum = i64::try_from(figures.idle_sum(now)).unwrap_or(i64::MAX);
        of_type.idle_sum = of_type.idle_sum.saturating_add(sum);
        for (count, bound) in of_type.idle_at_most.iter_mut().zip(bounds) {
            *count += figures.idle_at_most(*bound, now) as u64;
        }
    }
}

impl TypeSummary {
    fn none(device_type: &InternedStr, bounds: usize) -> TypeSummary {
        TypeSummary {
            device_type: device_type.clone(),
            devices: 0,
            suspended: 0,
            reset: 0,
            never_logged_in: 0,
            idle_at_most: vec![0; bounds],
            with_idle: 0,
            idle_sum: 0,
            sso_expired: 0,
        }
    }
}
