//! The values of users and their devices.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        expected::{ExpectedDevice, Ms, UserKey},
        scrape::ExposedUser,
        totals::{Totals, device_totals, idle_range},
    },
    Checker, Sso, matches, within,
};

impl Checker<'_> {
    /// Checks that the limit and status of a user were correct at some time.
    pub(super) fn check_limit_and_status(&mut self, key: &UserKey, user: &ExposedUser) {
        if let Some(limit) = user.limit {
            let known = match self.context.sso {
                Sso::No => false,
                Sso::Fixed(seconds) => limit == seconds * 1000,
                Sso::Groups => {
                    let limits = self.context.expected.all_limits.get(key);
                    limits.is_some_and(|limits| limits.contains(&(limit / 1000)))
                }
            };
            self.require(known, || format!("{key:?}: never had a limit of {limit} ms"));
        }
        self.require(user.status.as_deref().is_none_or(|status| status == "active"), || {
            format!("{key:?}: status {:?}", user.status)
        });
    }

    /// Checks a user's devices against those it had when they were read. Returns their totals.
    pub(super) fn check_devices(&mut self, key: &UserKey, user: &ExposedUser) -> Option<Totals> {
        let (scrape, context) = (self.scrape, self.context);
        let read_at = user.read_at?;
        let from = context.read_started(key, read_at);
        let possible = context.possible_devices(key, read_at);
        self.require(!possible.is_empty(), || {
            format!("{key:?}: read at {read_at}, when the user did not exist")
        });
        let in_every_list = |name: &str| {
            possible.iter().all(|devices| devices.iter().any(|device| device.name == name))
        };
        let mut totals = Totals::default();
        let period = (scrape.from, scrape.to);
        for (app_id, exposed) in &user.device_samples {
            let matching: Vec<&ExpectedDevice> = possible
                .iter()
                .flat_map(|devices| devices.iter())
                .filter(|device| {
                    device.app_id.as_deref() == Some(app_id) && matches(exposed, device)
                })
                .map(|device| &**device)
                .collect();
            self.require(!matching.is_empty(), || {
                let expected: Vec<_> = possible
                    .iter()
                    .flat_map(|devices| devices.iter().filter(|d| d.name == *app_id))
                    .collect();
                format!("{key:?}: {app_id} is {exposed:?}, expected one of {expected:?}")
            });
            let idle = exposed.last_login.map(|at| idle_range(at, period));
            let is_in_range =
                exposed.idle.zip(idle).is_none_or(|(value, range)| within(value, range));
            self.require(is_in_range, || {
                format!("{key:?}: {app_id} is idle for {:?} ms, expected {idle:?}", exposed.idle)
            });
            self.require(exposed.idle.is_some() == exposed.last_login.is_some(), || {
                format!("{key:?}: {app_id} has only one of last login and idle time: {exposed:?}")
            });
            let candidates = matching.iter().map(|d| device_totals(d, period, user.limit));
            totals.add_all(Totals::any_of(candidates));
        }
        let mut absent = Vec::new();
        for device in possible.iter().flat_map(|devices| devices.iter()) {
            let Some(app_id) = &device.app_id else { continue };
            if in_every_list(&device.name) && !user.device_samples.contains_key(app_id) {
                absent.push(app_id);
            }
        }
        self.require(absent.is_empty(), || format!("{key:?}: {absent:?} missing"));
        // Devices without an id appear in totals only.
        let without_id = possible.iter().map(|devices| {
            let mut totals = Totals::default();
            for device in devices.iter().filter(|device| device.app_id.is_none()) {
                totals.add_all(device_totals(device, period, user.limit));
            }
            totals
        });
        let mut without_id = Totals::any_of(without_id);
        let (from, to) = (from, read_at);
        if context.pages_repeat.between(from, to).any(|repeat| *repeat) {
            without_id.0.values_mut().for_each(|range| range.1 *= 1e3);
        }
        totals.add_all(without_id);
        self.check_user_totals(key, user, &totals, &possible);
        Some(totals)
    }

    /// Checks a user's counts, last login and idle time.
    fn check_user_totals(
        &mut self,
        key: &UserKey,
        user: &ExposedUser,
        totals: &Totals,
        possible: &[&Vec<Arc<ExpectedDevice>>],
    ) {
        for (name, counts) in [("devices", &user.devices), ("suspended", &user.suspended)] {
            for (device_type, count) in counts {
                let range = totals.get(name, device_type, "");
                self.require((range.0..=range.1).contains(count), || {
                    format!("{key:?}: {count} {name} of {device_type}, expected {range:?}")
                });
            }
        }
        self.require(user.devices.keys().eq(user.suspended.keys()), || {
            format!("{key:?}: devices {:?}, suspended {:?}", user.devices, user.suspended)
        });
        let missing: Vec<_> = totals
            .0
            .iter()
            .filter(|((name, _, _), range)| *name == "devices" && range.0 > 0.0)
            .map(|((_, device_type, _), _)| device_type)
            .filter(|device_type| !user.devices.contains_key(*device_type))
            .collect();
        self.require(missing.is_empty(), || format!("{key:?}: no count of {missing:?}"));
        // With several possible lists, the pages of a read can be from different ones.
        let is_expiry = |devices: &&Vec<Arc<ExpectedDevice>>| {
            let logins = devices.iter().filter_map(|device| device.last_login.at());
            let ends: Vec<Ms> = logins.filter_map(|at| Some(at + user.limit?)).collect();
            let (from, to) = (self.scrape.from, self.scrape.to);
            match user.expiry {
                None => ends.iter().all(|end| *end < to),
                Some(expiry) => {
                    let is_next = |end: &Ms| *end < to || *end >= expiry;
                    expiry >= from && ends.contains(&expiry) && ends.iter().all(is_next)
                }
            }
        };
        let is_correct = possible.len() > 1 || possible.iter().any(is_expiry);
        self.require(is_correct, || format!("{key:?}: expiry {:?}", user.expiry));
        let newest = |devices: &Vec<Arc<ExpectedDevice>>| {
            devices.iter().filter_map(|device| device.last_login.at()).max()
        };
        let possible: BTreeSet<Option<Ms>> = possible.iter().map(|d| newest(d)).collect();
        // With several possible lists, the pages of a read can be from different ones.
        self.require(possible.len() > 1 || possible.contains(&user.last_login), || {
            format!("{key:?}: last login {:?}, expected {possible:?}", user.last_login)
        });
        let period = (self.scrape.from, self.scrape.to);
        let idle = user.last_login.map(|at| idle_range(at, period));
        self.require(
            user.idle.is_some() == idle.is_some()
                && user.idle.zip(idle).is_none_or(|(value, range)| within(value, range)),
            || format!("{key:?}: idle for {:?} ms, expected {idle:?}", user.idle),
        );
    }
}
