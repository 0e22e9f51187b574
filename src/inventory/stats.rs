//! Statistics of a block that stay valid as time passes.
//!
//! Idle times change with the clock and login times do not, so login times are stored, sorted: a
//! binary search counts the devices that have been idle for at most an hour.

use std::time::Duration;

use super::user::{UserData, UserRecord};
use crate::{
    clock::{Millis, Moment, to_millis},
    wickr::{ApiTimestamp, InternedStr},
};

/// Statistics of users and their devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockStats {
    /// Users by freshness, in the order of [`Freshness::ALL`](super::Freshness::ALL).
    pub(super) users: [usize; 3],
    /// Users whose last request failed, by error kind, in the order of
    /// [`ErrorKind::ALL`](crate::wickr::ErrorKind::ALL).
    pub(super) failures: [usize; 9],
    /// By device type, unsorted.
    pub(super) types: Vec<TypeStats>,
    /// Devices with an invalid creation time.
    pub(super) invalid_created: u64,
    /// Devices with an invalid last login.
    pub(super) invalid_last_login: u64,
    /// The earliest `overdue_since`. None if no data is overdue.
    overdue_since: Option<Millis>,
}

/// The devices of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeStats {
    pub(super) device_type: InternedStr,
    pub(super) devices: u64,
    pub(super) suspended: u64,
    pub(super) reset: u64,
    pub(super) never_logged_in: u64,
    /// Last logins, ascending.
    logins: Vec<Millis>,
    logins_sum: i128,
    /// Ends of the SSO sessions that have a limit, ascending.
    sso_ends: Vec<Millis>,
}

impl BlockStats {
    /// Statistics of users and of their data, where it is served.
    pub(super) fn new<'a>(
        users: impl Iterator<Item = (&'a UserRecord, Option<&'a UserData>)>,
    ) -> BlockStats {
        let mut stats = BlockStats::default();
        for (user, data) in users {
            stats.add(user, data);
        }
        for type_stats in &mut stats.types {
            type_stats.logins.sort_unstable();
            type_stats.logins.shrink_to_fit();
            type_stats.sso_ends.sort_unstable();
            type_stats.sso_ends.shrink_to_fit();
        }
        stats
    }

    fn add(&mut self, user: &UserRecord, data: Option<&UserData>) {
        if let Some(kind) = user.failure {
            self.failures[kind as usize] += 1;
        }
        let Some(data) = data else {
            self.users[2] += 1;
            return;
        };
        self.users[usize::from(!user.is_up())] += 1;
        if let Some(since) = user.overdue_since {
            self.overdue_since = Some(self.overdue_since.map_or(since, |first| first.min(since)));
        }
        for device in data.devices.iter() {
            self.invalid_created += u64::from(device.created == ApiTimestamp::INVALID);
            self.invalid_last_login += u64::from(device.last_login == ApiTimestamp::INVALID);
            let type_stats = self.stats_of(device.device_type());
            type_stats.devices += 1;
            type_stats.suspended += u64::from(device.suspended() == Some(true));
            type_stats.reset += u64::from(device.is_reset());
            type_stats.never_logged_in += u64::from(device.last_login == ApiTimestamp::NEVER);
            if let Some(login) = device.last_login.millis() {
                type_stats.logins.push(login);
                type_stats.logins_sum += i128::from(login);
                type_stats.sso_ends.extend(user.sso_end(device));
            }
        }
    }

    fn stats_of(&mut self, device_type: &InternedStr) -> &mut TypeStats {
        // For a few types, a scan is faster than hashing.
        let index = self.types.iter().position(|type_stats| type_stats.device_type == *device_type);
        let index = index.unwrap_or_else(|| {
            self.types.push(TypeStats::empty(device_type));
            self.types.len() - 1
        });
        &mut self.types[index]
    }

    /// The number of devices.
    pub fn devices(&self) -> usize {
        self.types.iter().map(|type_stats| type_stats.devices as usize).sum()
    }

    /// The longest period around `now` in which no SSO session ends, so that the expired sessions are the
    /// same throughout it.
    pub fn sso_period(&self, now: Millis) -> (Millis, Millis) {
        let mut period = (Millis::MIN, Millis::MAX);
        for type_stats in &self.types {
            let (expired, others) = type_stats.sso_ends.split_at(type_stats.sso_expired(now));
            period.0 = expired.last().map_or(period.0, |end| period.0.max(end.saturating_add(1)));
            period.1 = others.first().map_or(period.1, |end| period.1.min(*end));
        }
        period
    }

    /// Whether no data has expired at `now`.
    pub fn is_unexpired(&self, now: impl Into<Moment>, stale_after: Duration) -> bool {
        let now = now.into().steady;
        self.overdue_since.is_none_or(|since| now.saturating_sub(since) <= to_millis(stale_after))
    }
}

impl TypeStats {
    fn empty(device_type: &InternedStr) -> TypeStats {
        TypeStats {
            device_type: device_type.clone(),
            devices: 0,
            suspended: 0,
            reset: 0,
            never_logged_in: 0,
            logins: Vec::new(),
            logins_sum: 0,
            sso_ends: Vec::new(),
        }
    }

    /// Devices that have an idle time.
    pub(super) fn with_idle(&self) -> usize {
        self.logins.len()
    }

    /// Devices that are idle at `now` for at most `bound` milliseconds.
    pub(super) fn idle_at_most(&self, bound: Millis, now: Millis) -> usize {
        self.logins.len() - count_before(&self.logins, now.saturating_sub(bound))
    }

    /// The sum of the idle times at `now`, in milliseconds. A login in the future counts as now.
    pub(super) fn idle_sum(&self, now: Millis) -> i128 {
        let past = count_before(&self.logins, now.saturating_add(1));
        let future: i128 = self.logins[past..].iter().map(|login| i128::from(*login)).sum();
        i128::from(now) * past as i128 - (self.logins_sum - future)
    }

    /// Devices that are idle at `now` for longer than the SSO limit of their user.
    pub(super) fn sso_expired(&self, now: Millis) -> usize {
        count_before(&self.sso_ends, now)
    }

    /// Devices whose SSO session has not expired at `now` and ends within `horizon` milliseconds.
    pub(super) fn sso_expiring(&self, horizon: Millis, now: Millis) -> usize {
        let end = now.saturating_add(horizon).saturating_add(1);
        count_before(&self.sso_ends, end) - self.sso_expired(now)
    }
}

/// How many of `times`, which are ascending, are before `time`. Often all are: then this reads only the
/// last one. In a large network, most of the time of a scrape is waiting for memory.
fn count_before(times: &[Millis], time: Millis) -> usize {
    match times.last() {
        Some(last) if *last >= time => times.partition_point(|other| *other < time),
        _ => times.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wickr::Device;

    #[test]
    fn bounds_are_inclusive() {
        const LIMIT: Duration = Duration::from_secs(1);
        let device = |created, last_login| Device {
            created,
            last_login,
            ..crate::inventory::fixtures::device("a")
        };
        let devices = vec![
            device(ApiTimestamp::INVALID, ApiTimestamp::at_millis(5_000)),
            device(ApiTimestamp::NEVER, ApiTimestamp::INVALID),
        ];
        let data = |at| UserData { at, devices: devices.clone().into() };
        let user = |id: &str, at| UserRecord {
            id: id.parse().unwrap(),
            failure: None,
            restored: false,
            poll: 0,
            facts: Some(Arc::new(super::super::UserFacts {
                sso_max_idle: Some(LIMIT),
                ..Default::default()
            })),
            last: Some(data(at)),
            expired: false,
            in_other_timezone: false,
            overdue_since: Some(at),
        };
        let users = [user("1", 5_000), user("2", 9_000)];
        let stats = BlockStats::new(users.iter().map(|user| (user, user.last.as_ref())));
        assert_eq!((stats.invalid_created, stats.invalid_last_login), (2, 2));
        let type_stats = &stats.types[0];
        // Idle for exactly one second, and for one millisecond more.
        assert_eq!((type_stats.idle_at_most(1_000, 6_000), type_stats.sso_expired(6_000)), (2, 0));
        assert_eq!((type_stats.idle_at_most(1_000, 6_001), type_stats.sso_expired(6_001)), (0, 2));
        // The sessions end at 6,000.
        let expiring = [(1_000, 4_999), (1_000, 5_000), (0, 6_000), (1_000, 6_001)];
        let expiring = expiring.map(|(horizon, now)| type_stats.sso_expiring(horizon, now));
        assert_eq!(expiring, [0, 2, 2, 0]);
        assert_eq!(stats.sso_period(6_000), (Millis::MIN, 6_000));
        assert_eq!(stats.sso_period(6_001), (6_001, Millis::MAX));
        let stale_after = Duration::from_secs(4);
        for (now, expected) in [(5_000, true), (9_000, true), (9_001, false)] {
            assert_eq!(stats.is_unexpired(now, stale_after), expected, "{now}");
        }
    }
}
