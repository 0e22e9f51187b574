//! The families that are worked out from the inventory, each written by a function of its own.

use std::{io, time::Duration};

use super::{
    cache::Key,
    columns::{self, At, Column, Stem},
    family::{self, Group},
    value::Value,
    writer::{Labels, Sink, Writer},
};
use crate::{
    clock::Millis,
    inventory::{Freshness, NetworkView, PollResult, Snapshot, Summary},
    wickr::ErrorKind,
};

/// Users in a block whose lines, packed, are kept.
const KEPT_FROM: usize = 64;
/// Devices in one: the lines of a family are whole in memory while they are packed, half a megabyte.
const KEPT_UP_TO: usize = 4096;

/// What the fleet's families are worked out from.
#[derive(Debug)]
pub(super) struct NetworkFamilies<'a> {
    pub(super) networks: Vec<Network<'a>>,
    now: Millis,
    usernames: bool,
    idle_bounds: Vec<i64>,
}

/// One network, with what several families need of it.
#[derive(Debug)]
pub(super) struct Network<'a> {
    view: &'a NetworkView,
    labels: Labels,
    summary: Summary,
}

impl<'a> NetworkFamilies<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        now: Millis,
        idle_buckets: &[Duration],
        usernames: bool,
    ) -> NetworkFamilies<'a> {
        let idle_bounds: Vec<i64> = idle_buckets
            .iter()
            .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX))
            .collect();
        let networks = snapshot.networks.iter().map(|view| Network {
            view,
            labels: Labels::of(&[("network_id", view.identity.id.as_str())]),
            summary: Summary::of(view, now, &idle_bounds),
        });
        NetworkFamilies { networks: networks.collect(), now, usernames, idle_bounds }
    }

    /// Writes the families of one group.
    pub(super) fn write<S: Sink>(&self, group: Group, out: &mut Writer<'_, S>) -> io::Result<()> {
        match group {
            Group::Network => self.network_families(out),
            Group::User => self.columns(columns::OF_USERS, out),
            Group::Device => self.columns(columns::OF_DEVICES, out),
            Group::Exporter => self.exporter_families(out),
        }
    }

    /// Writes families that have a sample for each user or device.
    fn columns<S: Sink>(&self, columns: &[Column], out: &mut Writer<'_, S>) -> io::Result<()> {
        let (now, usernames, encoding) = (self.now, self.usernames, out.encoding());
        for column in columns {
            let mut family = out.family(column.family);
            for network in &self.networks {
                let mut stem = Stem::new(column, &network.labels);
                for block in network.view.users.blocks() {
                    let users = block.users();
                    let at = At { now, usernames, stale_after: network.view.identity.stale_after };
                    let write = |user, text: &mut Vec<u8>| column.write(&mut stem, user, at, text);
                    // Few users are packed better together with others than by themselves.
                    if users.len() < KEPT_FROM
                        || block.figures().devices() > KEPT_UP_TO
                        || !network.view.is_whole(block, now)
                    {
                        family.lines(users, write)?;
                        continue;
                    }
                    let key = Key {
                        version: column.version(block.version()),
                        family: column.family.name,
                        encoding,
                        usernames: usernames && column.tells_usernames(),
                        at: column.moves().then_some(now),
                    };
                    family.kept_lines(key, users, write)?;
                }
            }
        }
        Ok(())
    }

    /// Networks whose first poll has ended: before that, nothing is said of a network.
    fn known(&self) -> impl Iterator<Item = &Network<'a>> {
        self.networks.iter().filter(|network| network.view.is_known())
    }

    fn network_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
        let mut up = out.family(&family::UP);
        for network in self.known().filter(|network| network.view.was_polled()) {
            up.sample(&network.labels, network.view.is_up_with(network.summary.users).into())?;
        }
        let mut info = out.family(&family::NETWORK_INFO);
        for network in self.known() {
            let identity = &network.view.identity;
            let pairs = [("network_name", &*identity.name), ("region", &identity.region)];
            info.sample(&network.labels.with(&pairs), Value::Count(1))?;
        }
        let mut users = out.family(&family::NETWORK_USERS);
        for network in self.known() {
            for (freshness, count) in Freshness::ALL.into_iter().zip(network.summary.users) {
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
    fn sso_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
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
            for group in sso.groups() {
                let name = group.name.as_deref().unwrap_or_default();
                let labels = network.labels.with(&[("group_id", &group.id), ("group_name", name)]);
                info.sample(&labels, Value::Count(1))?;
            }
        }
        let mut limit = out.family(&family::SECURITY_GROUP_SSO_MAX_IDLE);
        for (network, sso) in known() {
            for group in sso.groups() {
                if let Some(most) = group.sso_max_idle {
                    let labels = network.labels.with(&[("group_id", &group.id)]);
                    limit.sample(&labels, Value::Count(most.as_secs()))?;
                }
            }
        }
        Ok(())
    }

    fn exporter_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
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
}
