//! A block of users and their devices in figures that hold as time goes by.
//!
//! Idle times change with every moment and times of login do not, so the latter are kept, sorted:
//! how many devices are idle for at most an hour is then a matter of looking up one place.

use std::time::Duration;

use super::user::{UserData, UserRecord};
use crate::{
    clock::Millis,
    wickr::{ApiTimestamp, InternedStr},
};

/// Figures of some users, all of whose data is served, and of their devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// How many users are fresh, stale and missing, in the order of
    /// [`Freshness::ALL`](super::Freshness::ALL).
    pub(super) users: [usize; 3],
    /// How many users' last attempt failed so, in the order of
    /// [`ErrorKind::ALL`](crate::wickr::ErrorKind::ALL).
    pub(super) failures: [usize; 9],
    /// By type, in no order.
    pub(super) types: Vec<TypeFigures>,
    /// Devices whose creation time cannot be read.
    pub(super) invalid_created: u64,
    /// Devices whose last login cannot be read.
    pub(super) invalid_last_login: u64,
    /// The earliest and the latest time since when data is overdue; None where none is.
    overdue_since: Option<(Millis, Millis)>,
}

/// The devices of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeFigures {
    pub(super) device_type: InternedStr,
    pub(super) devices: u64,
    pub(super) suspended: u64,
    pub(super) reset: u64,
    pub(super) never_logged_in: u64,
    /// When somebody last logged in on each, ascending.
    logins: Vec<Millis>,
    logins_sum: i128,
    /// When the SSO session ends of each that has a limit, ascending.
    sso_ends: Vec<Millis>,
}

impl Figures {
    /// Figures of users and the data of theirs that is served.
    pub(super) fn of<'a>(
        users: impl Iterator<Item = (&'a UserRecord, Option<&'a UserData>)>,
    ) -> Figures {
        let mut figures = Figures::default();
        for (user, reading) in users {
            figures.add(user, reading);
        }
        for of_type in &mut figures.types {
            of_type.logins.sort_unstable();
            of_type.logins.shrink_to_fit();
            of_type.sso_ends.sort_unstable();
            of_type.sso_ends.shrink_to_fit();
        }
        figures
    }

    fn add(&mut self, user: &UserRecord, reading: Option<&UserData>) {
        if let Some(kind) = user.failure {
            self.failures[kind as usize] += 1;
        }
        let Some(reading) = reading else {
            self.users[2] += 1;
            return;
        };
        self.users[usize::from(!user.is_up())] += 1;
        if let Some(since) = user.overdue_since {
            let (first, last) = self.overdue_since.unwrap_or((since, since));
            self.overdue_since = Some((first.min(since), last.max(since)));
        }
        let limit = user.sso_max_idle().map(millis);
        for device in reading.devices.iter() {
            self.invalid_created += u64::from(device.created == ApiTimestamp::INVALID);
            self.invalid_last_login += u64::from(device.last_login == ApiTimestamp::INVALID);
            let of_type = self.of_type(&device.device_type);
            of_type.devices += 1;
            of_type.suspended += u64::from(device.suspended == Some(true));
            of_type.reset += u64::from(device.is_reset());
            of_type.never_logged_in += u64::from(device.last_login == ApiTimestamp::NEVER);
            if let Some(login) = device.last_login.millis() {
                of_type.logins.push(login);
                of_type.logins_sum += i128::from(login);
                of_type.sso_ends.extend(limit.map(|limit| login.saturating_add(limit)));
            }
        }
    }

    fn of_type(&mut self, device_type: &InternedStr) -> &mut TypeFigures {
        // A handful of types: looking through them beats hashing.
        let known = self.types.iter().position(|of_type| of_type.device_type == *device_type);
        let at = known.unwrap_or_else(|| {
            self.types.push(TypeFigures::none(device_type));
            self.types.len() - 1
        });
        &mut self.types[at]
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.types.iter().map(|of_type| of_type.devices as usize).sum()
    }

    /// Whether all data is served at `now`.
    pub fn hold_at(&self, now: Millis, stale_after: Duration) -> bool {
        self.overdue_since.is_none_or(|(first, last)| {
            u128::from(now.abs_diff(first).max(now.abs_diff(last))) <= stale_after.as_millis()
        })
    }
}

impl TypeFigures {
    fn none(device_type: &InternedStr) -> TypeFigures {
        TypeFigures {
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

    /// How many devices have an idle time.
    pub(super) fn with_idle(&self) -> usize {
        self.logins.len()
    }

    /// How many devices are idle at `now` for at most `bound`.
    pub(super) fn idle_at_most(&self, bound: Millis, now: Millis) -> usize {
        let since = now.saturating_sub(bound);
        self.logins.len() - self.logins.partition_point(|login| *login < since)
    }

    /// The sum of the idle times at `now`; a login that lies ahead of the clock is now.
    pub(super) fn idle_sum(&self, now: Millis) -> i128 {
        let past = self.logins.partition_point(|login| *login <= now);
        let ahead: i128 = self.logins[past..].iter().map(|login| i128::from(*login)).sum();
        i128::from(now) * past as i128 - (self.logins_sum - ahead)
    }

    /// How many devices have been idle at `now` for longer than SSO sessions may be.
    pub(super) fn sso_expired(&self, now: Millis) -> usize {
        self.sso_ends.partition_point(|end| *end < now)
    }
}

/// A duration in milliseconds; one that is too long for that is for ever.
fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wickr::Device;

    #[test]
    fn bounds_belong_to_what_they_bound_and_sums_forget_nobody() {
        const LIMIT: Duration = Duration::from_secs(1);
        let device = |created, last_login| Device {
            app_id: None,
            device_type: "iOS".into(),
            status: "Active".into(),
            suspended: None,
            created,
            last_login,
        };
        let devices = vec![
            device(ApiTimestamp::INVALID, ApiTimestamp::at_millis(5_000)),
            device(ApiTimestamp::NEVER, ApiTimestamp::INVALID),
        ];
        let reading = |at| UserData { at, devices: devices.clone().into() };
        let user = |id: &str, at| UserRecord {
            id: id.parse().unwrap(),
            failure: None,
            restored: false,
            facts: Some(Arc::new(super::super::UserFacts {
                sso_max_idle: Some(LIMIT),
                ..Default::default()
            })),
            last: Some(reading(at)),
            overdue_since: Some(at),
        };
        let users = [user("1", 5_000), user("2", 9_000)];
        let figures = Figures::of(users.iter().map(|user| (user, user.last.as_ref())));
        assert_eq!((figures.invalid_created, figures.invalid_last_login), (2, 2));
        let of_type = &figures.types[0];
        // Idle for exactly a second, and for a millisecond more.
        assert_eq!((of_type.idle_at_most(1_000, 6_000), of_type.sso_expired(6_000)), (2, 0));
        assert_eq!((of_type.idle_at_most(1_000, 6_001), of_type.sso_expired(6_001)), (0, 2));
        // The first is overdue for too long, or the last where the clock was set back.
        let stale_after = Duration::from_secs(4);
        for (now, holds) in [(4_999, false), (5_000, true), (9_000, true), (9_001, false)] {
            assert_eq!(figures.hold_at(now, stale_after), holds, "{now}");
        }
    }
}
