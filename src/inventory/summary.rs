//! Device statistics of a network at one moment, by device type.

use super::{
    network::{NetworkView, add},
    stats::TypeStats,
};
use crate::{
    clock::{Millis, Moment},
    wickr::{Device, InternedStr},
};

/// Milliseconds since the last login on a device; None if never or unknown. A login in the future
/// counts as now.
pub fn idle_millis(device: &Device, now: Millis) -> Option<i64> {
    Some(now.saturating_sub(device.last_login.millis()?).max(0))
}

/// The devices of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeSummary {
    /// The type.
    pub device_type: InternedStr,
    /// All devices.
    pub devices: u64,
    /// Suspended devices.
    pub suspended: u64,
    /// Devices marked for reset.
    pub reset: u64,
    /// Devices without any login.
    pub never_logged_in: u64,
    /// Devices that have been idle for at most each bound.
    pub idle_at_most: Vec<u64>,
    /// Devices that have an idle time.
    pub with_idle: u64,
    /// The sum of the idle times, in milliseconds.
    pub idle_sum: i64,
    /// Devices that have been idle for longer than the SSO limit of their user.
    pub sso_expired: u64,
    /// Devices whose SSO session has not expired and ends within each horizon.
    pub sso_expiring: Vec<u64>,
}

/// Statistics of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Users by freshness, in the order of [`Freshness::ALL`](super::Freshness::ALL).
    pub users: [usize; 3],
    /// By device type, including types that have no devices any more.
    pub types: Vec<TypeSummary>,
    /// Devices whose creation time cannot be read.
    pub invalid_created: u64,
    /// Devices whose last login cannot be read.
    pub invalid_last_login: u64,
}

impl Summary {
    /// Computes the statistics at `now`. `bounds` are idle times and `horizons` times until the end
    /// of SSO sessions, in milliseconds, ascending.
    pub fn new(
        view: &NetworkView,
        now: impl Into<Moment>,
        bounds: &[i64],
        horizons: &[i64],
    ) -> Summary {
        let now = now.into();
        let empty = |label| TypeSummary::empty(label, bounds.len(), horizons.len());
        let mut summary = Summary {
            users: [0; 3],
            types: view.types.iter().map(empty).collect(),
            invalid_created: 0,
            invalid_last_login: 0,
        };
        for stats in view.block_stats(now) {
            add(&mut summary.users, &stats.users);
            summary.invalid_created += stats.invalid_created;
            summary.invalid_last_login += stats.invalid_last_login;
            for type_stats in &stats.types {
                summary.add(type_stats, now.time, bounds, horizons);
            }
        }
        summary
    }

    fn add(&mut self, stats: &TypeStats, now: Millis, bounds: &[i64], horizons: &[i64]) {
        // For a few types, a scan is faster than hashing.
        let Some(summary) =
            self.types.iter_mut().find(|summary| summary.device_type == stats.device_type)
        else {
            return debug_assert!(false, "a view contains all types of its devices");
        };
        summary.devices += stats.devices;
        summary.suspended += stats.suspended;
        summary.reset += stats.reset;
        summary.never_logged_in += stats.never_logged_in;
        summary.with_idle += stats.with_idle() as u64;
        summary.sso_expired += stats.sso_expired(now) as u64;
        let sum = i64::try_from(stats.idle_sum(now)).unwrap_or(i64::MAX);
        summary.idle_sum = summary.idle_sum.saturating_add(sum);
        for (count, bound) in summary.idle_at_most.iter_mut().zip(bounds) {
            *count += stats.idle_at_most(*bound, now) as u64;
        }
        for (count, horizon) in summary.sso_expiring.iter_mut().zip(horizons) {
            *count += stats.sso_expiring(*horizon, now) as u64;
        }
    }
}

impl TypeSummary {
    fn empty(device_type: &InternedStr, bounds: usize, horizons: usize) -> TypeSummary {
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
            sso_expiring: vec![0; horizons],
        }
    }
}
