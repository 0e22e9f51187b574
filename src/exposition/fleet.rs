//! The families that are worked out from the inventory, each written by a function of its own.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{
    family::{self, Group},
    writer::{FamilyWriter, Labels, Value, Writer},
};
use crate::{
    clock::Millis,
    inventory::{
        Facts, Freshness, NetworkView, PollResult, Reading, Snapshot, Summary, UserRecord,
        idle_millis,
    },
    wickr::{Device, ErrorKind},
};

/// What the fleet's families are worked out from.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    pub(super) networks: Vec<Network<'a>>,
    now: Millis,
    idle_bounds: Vec<i64>,
    usernames: bool,
}

/// One network, with what several families need of it.
#[derive(Debug)]
pub(super) struct Network<'a> {
    view: &'a NetworkView,
    labels: Labels,
    summary: Summary,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        now: Millis,
        idle_buckets: &[Duration],
        usernames: bool,
    ) -> Fleet<'a> {
        let idle_bounds: Vec<i64> = idle_buckets
            .iter()
            .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX))
            .collect();
        let networks = snapshot.networks.iter().map(|view| Network {
            view,
            labels: Labels::of(&[("network_id", view.identity.id.as_str())]),
            summary: Summary::of(view, now, &idle_bounds),
        });
        Fleet { networks: networks.collect(), now, idle_bounds, usernames }
    }

    /// Writes the families of one group.
    pub(super) fn write<W: Write>(&self, group: Group, out: &mut Writer<W>) -> io::Result<()> {
        match group {
            Group::Network => self.network_families(out),
            Group::User => self.user_families(out),
            Group::Device => self.device_families(out),
            Group::Exporter => self.exporter_families(out),
        }
    }

    /// Networks whose first poll has ended: before that, nothing is said of a network.
    fn known(&self) -> impl Iterator<Item = &Network<'a>> {
        self.networks.iter().filter(|network| network.view.is_known())
    }

    fn network_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let mut up = out.family(&family::UP);
        for network in self.known().filter(|network| network.view.was_polled()) {
            up.sample(&network.labels, network.view.is_up(self.now).into())?;
        }
        let mut info = out.family(&family::NETWORK_INFO);
        for network in self.known() {
            let identity = &network.view.identity;
            let pairs = [("network_name", &*identity.name), ("region", &identity.region)];
            info.sample(&network.labels.with(&pairs), Value::Count(1))?;
        }
        let mut users = out.family(&family::NETWORK_USERS);
        for network in self.known() {
            let counts = network.view.users_by_freshness(self.now);
            for (freshness, count) in Freshness::ALL.into_iter().zip(counts) {
                let labels = network.labels.with(&[("freshness", freshness.as_str())]);
                users.sample(&labels, count.into())?;
            }
        }
        for (family, count) in [
            (
                &family::NETWORK_DEVICES,
                (|t| t.devices) as fn(&crate::inventory::TypeSummary) -> u64,
            ),
            (&family::NETWORK_DEVICES_SUSPENDED, |t| t.suspended),
            (&family::NETWORK_DEVICES_RESET, |t| t.reset),
            (&family::NETWORK_DEVICES_NEVER_LOGGED_IN, |t| t.never_logged_in),
        ] {
            let mut family = out.family(family);
            for network in self.known() {
                for of_type in &network.summary.types {
                    let labels = network.labels.with(&[("device_type", &of_type.device_type)]);
                    family.sample(&labels, Value::Count(count(of_type)))?;
                }
            }
        }
        let mut idle = out.family(&family::NETWORK_DEVICE_IDLE_SECONDS);
        for network in self.known() {
            for of_type in &network.summary.types {
                let labels = network.labels.with(&[("device_type", &of_type.device_type)]);
                let bounds = self.idle_bounds.iter().map(|bound| *bound as f64 / 1e3);
                let at_most = bounds.zip(of_type.idle_at_most.iter().copied());
                idle.histogram(
                    &labels,
                    at_most,
                    of_type.with_idle,
                    Value::Millis(of_type.idle_sum),
                )?;
            }
        }
        self.sso_families(out)
    }

    /// What depends on SSO limits; of networks where those are known.
    fn sso_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let known = || self.known().filter_map(|n| Some((n, n.view.sso.as_deref()?)));
        let mut expired = out.family(&family::NETWORK_DEVICES_SSO_EXPIRED);
        for (network, _) in known() {
            for of_type in &network.summary.types {
                let labels = network.labels.with(&[("device_type", &of_type.device_type)]);
                expired.sample(&labels, Value::Count(of_type.sso_expired))?;
            }
        }
        let mut info = out.family(&family::SECURITY_GROUP_INFO);
        for (network, sso) in known() {
            for group in &sso.groups {
                let name = group.name.as_deref().unwrap_or_default();
                let labels = network.labels.with(&[("group_id", &group.id), ("group_name", name)]);
                info.sample(&labels, Value::Count(1))?;
            }
        }
        let mut limit = out.family(&family::SECURITY_GROUP_SSO_MAX_IDLE);
        for (network, sso) in known() {
            for group in &sso.groups {
                if let Some(most) = group.sso_max_idle {
                    let labels = network.labels.with(&[("group_id", &group.id)]);
                    limit.sample(&labels, Value::Count(most.as_secs()))?;
                }
            }
        }
        Ok(())
    }

    /// What discovery told of users.
    fn facts_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let mut info = out.family(&family::USER_INFO);
        self.each_facts(|labels, facts| {
            // A limit that all have was told by the configuration, not by discovery.
            if facts.username.is_none() && facts.status.is_none() {
                return Ok(());
            }
            let mut labels = labels.clone();
            if self.usernames {
                labels.push("username", facts.username.as_deref().unwrap_or_default());
            }
            // The service's numbers in its own words; others as they are.
            match facts.status {
                None => labels.push("status", ""),
                Some(1) => labels.push("status", "pending"),
                Some(2) => labels.push("status", "active"),
                Some(other) => labels.push("status", &other.to_string()),
            }
            info.sample(&labels, Value::Count(1))
        })?;
        let mut limit = out.family(&family::USER_SSO_MAX_IDLE);
        self.each_facts(|labels, facts| match facts.sso_max_idle {
            Some(most) => limit.sample(labels, Value::Count(most.as_secs())),
            None => Ok(()),
        })
    }

    fn user_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let mut up = out.family(&family::USER_UP);
        for network in &self.networks {
            for user in network.view.users.iter() {
                let fresh = network.view.freshness_of(user, self.now) == Freshness::Fresh;
                up.sample(&network.of_user(user), fresh.into())?;
            }
        }
        let mut last_poll = out.family(&family::USER_LAST_POLL);
        self.each_reading(|labels, reading| last_poll.sample(labels, Value::Millis(reading.at)))?;
        self.facts_families(out)?;
        for (family, counts) in [
            (&family::USER_DEVICES, (|_| true) as fn(&Device) -> bool),
            (&family::USER_DEVICES_SUSPENDED, |device| device.suspended == Some(true)),
        ] {
            let mut family = out.family(family);
            for network in &self.networks {
                for (user, reading) in network.view.readings(self.now) {
                    count_by_type(&mut family, network, user, reading, counts)?;
                }
            }
        }
        let mut last_login = out.family(&family::USER_LAST_LOGIN);
        self.each_reading(|labels, reading| {
            let newest =
                reading.devices.iter().filter_map(|device| device.last_login.millis()).max();
            newest.map_or(Ok(()), |newest| last_login.sample(labels, Value::Millis(newest)))
        })?;
        let mut idle = out.family(&family::USER_IDLE);
        self.each_reading(|labels, reading| {
            let least =
                reading.devices.iter().filter_map(|device| idle_millis(device, self.now)).min();
            least.map_or(Ok(()), |least| idle.sample(labels, Value::Millis(least)))
        })
    }

    fn device_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let mut info = out.family(&family::DEVICE_INFO);
        self.each_device(|labels, device| {
            labels.push("status", &device.status);
            info.sample(labels, Value::Count(1))
        })?;
        let mut suspended = out.family(&family::DEVICE_SUSPENDED);
        self.each_device(|labels, device| {
            device.suspended.map_or(Ok(()), |yes| suspended.sample(labels, yes.into()))
        })?;
        for (family, millis) in [
            (
                &family::DEVICE_CREATED,
                (|device, _| device.created.millis()) as fn(&Device, Millis) -> Option<i64>,
            ),
            (&family::DEVICE_LAST_LOGIN, |device, _| device.last_login.millis()),
            (&family::DEVICE_IDLE, idle_millis),
        ] {
            let mut family = out.family(family);
            self.each_device(|labels, device| match millis(device, self.now) {
                Some(millis) => family.sample(labels, Value::Millis(millis)),
                None => Ok(()),
            })?;
        }
        Ok(())
    }

    fn exporter_families<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        let mut polls = out.family(&family::POLLS);
        for network in &self.networks {
            for (result, count) in PollResult::ALL.into_iter().zip(network.view.polls.ended) {
                let labels = network.labels.with(&[("result", result.as_str())]);
                polls.sample(&labels, Value::Count(count))?;
            }
        }
        let mut duration = out.family(&family::POLL_DURATION);
        for network in &self.networks {
            if let Some(last) = network.view.polls.last {
                duration.sample(&network.labels, Value::Float(last.took.as_secs_f64()))?;
            }
        }
        let mut progress = out.family(&family::POLL_PROGRESS);
        for network in &self.networks {
            let ratio = match network.view.polls.under_way {
                Some(poll) if poll.total > 0 => poll.done as f64 / poll.total as f64,
                _ => 1.0,
            };
            progress.sample(&network.labels, Value::Float(ratio))?;
        }
        let mut overruns = out.family(&family::POLL_OVERRUNS);
        for network in &self.networks {
            overruns.sample(&network.labels, Value::Count(network.view.polls.overruns))?;
        }
        let mut last_poll = out.family(&family::LAST_POLL);
        for network in &self.networks {
            if let Some(last) = network.view.polls.last {
                last_poll.sample(&network.labels, Value::Millis(last.at))?;
            }
        }
        let mut last_success = out.family(&family::LAST_SUCCESS);
        for network in &self.networks {
            if let Some(at) = network.view.polls.last_success {
                last_success.sample(&network.labels, Value::Millis(at))?;
            }
        }
        let mut failures = out.family(&family::USER_FAILURES);
        for network in &self.networks {
            for (kind, count) in ErrorKind::ALL.into_iter().zip(network.view.users_by_failure()) {
                failures
                    .sample(&network.labels.with(&[("reason", kind.as_str())]), count.into())?;
            }
        }
        let mut invalid = out.family(&family::INVALID_TIMESTAMPS);
        for network in self.known() {
            let summary = &network.summary;
            for (field, count) in
                [("created", summary.invalid_created), ("lastLogin", summary.invalid_last_login)]
            {
                invalid.sample(&network.labels.with(&[("field", field)]), Value::Count(count))?;
            }
        }
        Ok(())
    }

    /// Calls `write` for every user of whom discovery told anything, with the user's labels.
    fn each_facts(
        &self,
        mut write: impl FnMut(&Labels, &Facts) -> io::Result<()>,
    ) -> io::Result<()> {
        for network in &self.networks {
            for user in network.view.users.iter() {
                if let Some(facts) = &user.facts {
                    write(&network.of_user(user), facts)?;
                }
            }
        }
        Ok(())
    }

    /// Calls `write` for every user that has data, with the user's labels.
    fn each_reading(
        &self,
        mut write: impl FnMut(&Labels, &Reading) -> io::Result<()>,
    ) -> io::Result<()> {
        for network in &self.networks {
            for (user, reading) in network.view.readings(self.now) {
                write(&network.of_user(user), reading)?;
            }
        }
        Ok(())
    }

    /// Calls `write` for every device that can be told from others, with the device's labels, to
    /// which it may add.
    fn each_device(
        &self,
        mut write: impl FnMut(&mut Labels, &Device) -> io::Result<()>,
    ) -> io::Result<()> {
        for network in &self.networks {
            let mut labels = network.labels.clone();
            for (user, reading) in network.view.readings(self.now) {
                labels.push("user_id", user.id.as_str());
                let len_of_user = labels.len();
                for device in reading.devices.iter() {
                    let Some(app_id) = &device.app_id else { continue };
                    labels.push("app_id", app_id);
                    labels.push("device_type", &device.device_type);
                    write(&mut labels, device)?;
                    labels.cut(len_of_user);
                }
                labels.cut(network.labels.len());
            }
        }
        Ok(())
    }
}

impl Network<'_> {
    fn of_user(&self, user: &UserRecord) -> Labels {
        self.labels.with(&[("user_id", user.id.as_str())])
    }
}

/// Writes a user's devices by type: the types that the user has, even where none counts.
fn count_by_type<W: Write>(
    family: &mut FamilyWriter<'_, W>,
    network: &Network<'_>,
    user: &UserRecord,
    reading: &Reading,
    counts: fn(&Device) -> bool,
) -> io::Result<()> {
    for device_type in &network.view.types {
        let mut of_type =
            reading.devices.iter().filter(|device| device.device_type == *device_type).peekable();
        if of_type.peek().is_none() {
            continue;
        }
        let count = of_type.filter(|device| counts(device)).count();
        let labels =
            network.labels.with(&[("user_id", user.id.as_str()), ("device_type", device_type)]);
        family.sample(&labels, count.into())?;
    }
    Ok(())
}
