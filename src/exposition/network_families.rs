//! Computes the families that come from the inventory.

use std::{io, time::Duration};

use super::{
    cache::{CompressionCache, Key, Request},
    columns::{self, Column, Context, LinePrefix},
    compression::{Compressor, Encoding},
    family::{self, Family, Group},
    value::Value,
    writer::{Labels, Sink, Writer, cached_chunk},
};
use crate::{
    clock::{Moment, to_millis},
    inventory::{
        Block, ChangeKind, Collected, Freshness, ListedCounts, NetworkView, PollResult, Snapshot,
        Sso, Summary, TypeSummary,
    },
    text::format_duration,
    wickr::ErrorKind,
};

/// Smaller blocks are not cached: their lines compress better together with others.
const CACHE_MIN_USERS: usize = 64;
/// Blocks with more devices are not cached: while they are compressed, all lines of a family are in
/// memory, half a megabyte at this size.
const CACHE_MAX_DEVICES: usize = 4096;

/// The value of a family with at most one sample for each network.
type NetworkValue = fn(&NetworkView, Moment) -> Option<Value>;
type ListedCount = fn(&ListedCounts) -> Option<u64>;

#[derive(Debug)]
pub(super) struct NetworkFamilies<'a> {
    pub(super) networks: Vec<NetworkContext<'a>>,
    pub(super) now: Moment,
    usernames: bool,
    idle_bounds: Vec<i64>,
    /// Values of the label `within`.
    horizons: Vec<String>,
}

#[derive(Debug)]
pub(super) struct NetworkContext<'a> {
    view: &'a NetworkView,
    /// The label `network_id`.
    pub(super) labels: Labels,
    summary: Summary,
    /// None if the network has no collectors.
    pub(super) collected: Option<&'a Collected>,
}

impl<'a> NetworkContext<'a> {
    /// A label of `wickr_network_info` from a collector.
    fn info(&self, label: &str, now: Moment) -> &'a str {
        self.collected.map_or("", |collected| collected.info(label, now))
    }
}

impl<'a> NetworkFamilies<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        now: Moment,
        idle_buckets: &[Duration],
        sso_horizons: &[Duration],
        usernames: bool,
    ) -> NetworkFamilies<'a> {
        let idle_bounds: Vec<i64> = idle_buckets.iter().copied().map(to_millis).collect();
        let horizon_bounds: Vec<i64> = sso_horizons.iter().copied().map(to_millis).collect();
        let networks = snapshot.networks.iter().map(|view| NetworkContext {
            view,
            labels: Labels::new(&[("network_id", view.identity.id.as_str())]),
            summary: Summary::new(view, now, &idle_bounds, &horizon_bounds),
            collected: snapshot.collected.get(&view.identity.id).map(|collected| &**collected),
        });
        let networks = networks.collect();
        let horizons = sso_horizons.iter().copied().map(format_duration).collect();
        NetworkFamilies { networks, now, usernames, idle_bounds, horizons }
    }

    /// Writes the families of one group.
    pub(super) fn write<S: Sink>(&self, group: Group, out: &mut Writer<'_, S>) -> io::Result<()> {
        match group {
            Group::Network => self.network_families(out),
            Group::User => self.columns(columns::USER_COLUMNS, out),
            Group::Device => self.columns(columns::DEVICE_COLUMNS, out),
            Group::Exporter => self.exporter_families(out),
        }
    }

    fn columns<S: Sink>(&self, columns: &[Column], out: &mut Writer<'_, S>) -> io::Result<()> {
        for column in columns {
            let request = self.request(column, out.encoding());
            if let Some(cache) = out.cache() {
                cache.record(request, self.now.time);
            }
            let mut family = out.family(column.family);
            for network in &self.networks {
                let (mut prefix, context) = self.lines_of(column, network);
                for block in network.view.users.blocks() {
                    let users = column.users(block.users());
                    let write =
                        |user, text: &mut Vec<u8>| column.write(&mut prefix, user, context, text);
                    match self.cache_key(column, network.view, block, request) {
                        Some(key) => family.cached_lines(key, users, write)?,
                        None => family.lines(users, write)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Compresses what scrapes have requested, except lines that are valid for one moment. Calls `pause`
    /// after each block.
    pub(super) fn recompress(
        &self,
        encoding: Encoding,
        cache: &CompressionCache,
        pause: &mut impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let requests = cache.requests(self.now.time);
        if !requests.iter().any(|request| request.encoding == encoding) {
            return Ok(());
        }
        let Some(mut compressor) = Compressor::new(encoding)? else { return Ok(()) };
        for column in columns::USER_COLUMNS.iter().chain(columns::DEVICE_COLUMNS) {
            let request = self.request(column, encoding);
            if !requests.contains(&request) {
                continue;
            }
            for network in &self.networks {
                let (mut prefix, context) = self.lines_of(column, network);
                for block in network.view.users.blocks() {
                    if let Some(key) = self.cache_key(column, network.view, block, request) {
                        let users = column.users(block.users());
                        cached_chunk(cache, &mut compressor, key, users, |user, text| {
                            column.write(&mut prefix, user, context, text);
                        })?;
                        pause()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn request(&self, column: &Column, encoding: Encoding) -> Request {
        let usernames = self.usernames && column.has_usernames();
        Request { family: column.family.name, encoding, usernames }
    }

    /// What [`Column::write`] needs for a network.
    fn lines_of(&self, column: &Column, network: &NetworkContext<'_>) -> (LinePrefix, Context) {
        let stale_after = network.view.identity.stale_after;
        let context = Context { now: self.now, usernames: self.usernames, stale_after };
        (LinePrefix::new(column, &network.labels), context)
    }

    /// None if the lines of the block are not cached.
    fn cache_key(
        &self,
        column: &Column,
        view: &NetworkView,
        block: &Block,
        request: Request,
    ) -> Option<Key> {
        let version = column.version(block, self.now.time)?;
        let is_cached = block.users().len() >= CACHE_MIN_USERS
            && block.stats().devices() <= CACHE_MAX_DEVICES
            && view.is_unexpired(block, self.now);
        is_cached.then_some(Key { version, request })
    }

    /// The networks whose first poll has ended. Before that, network families have no samples.
    fn known(&self) -> impl Iterator<Item = &NetworkContext<'a>> {
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
            let mut labels = network
                .labels
                .with(&[("network_name", &*identity.name), ("region", &identity.region)]);
            for label in ["account_id", "access_level"] {
                let text = network.info(label, self.now);
                if !text.is_empty() {
                    labels.push(label, text);
                }
            }
            info.sample(&labels, Value::Count(1))?;
        }
        let mut users = out.family(&family::NETWORK_USERS);
        for network in self.known() {
            for (freshness, count) in Freshness::ALL.into_iter().zip(network.summary.users) {
                let labels = network.labels.with(&[("freshness", freshness.as_str())]);
                users.sample(&labels, count.into())?;
            }
        }
        let counts: [(_, ListedCount); 3] = [
            (&family::NETWORK_USERS_SUSPENDED, |counts| counts.suspended),
            (&family::NETWORK_ADMINS, |counts| counts.admins),
            (&family::NETWORK_INVITES_EXPIRED, |counts| counts.invites_expired),
        ];
        for (family, count) in counts {
            let mut family = out.family(family);
            for network in self.known() {
                if let Some(count) = network.view.counts.as_ref().and_then(count) {
                    family.sample(&network.labels, Value::Count(count))?;
                }
            }
        }
        self.by_type(&family::NETWORK_DEVICES, self.known(), |t| t.devices, out)?;
        self.by_type(&family::NETWORK_DEVICES_SUSPENDED, self.known(), |t| t.suspended, out)?;
        self.by_type(&family::NETWORK_DEVICES_RESET, self.known(), |t| t.reset, out)?;
        let never = &family::NETWORK_DEVICES_NEVER_LOGGED_IN;
        self.by_type(never, self.known(), |t| t.never_logged_in, out)?;
        let mut idle = out.family(&family::NETWORK_DEVICE_IDLE_SECONDS);
        for network in self.known() {
            for summary in &network.summary.types {
                let labels = network.labels.with(&[("device_type", &summary.device_type)]);
                let bounds = self.idle_bounds.iter().map(|bound| *bound as f64 / 1e3);
                let buckets = bounds.zip(summary.idle_at_most.iter().copied());
                let sum = Value::Millis(summary.idle_sum);
                idle.histogram(&labels, buckets, summary.with_idle, sum)?;
            }
        }
        let with_sso = || self.known().filter(|network| network.view.sso.is_some());
        self.by_type(&family::NETWORK_DEVICES_SSO_EXPIRED, with_sso(), |t| t.sso_expired, out)?;
        let mut expiring = out.family(&family::NETWORK_DEVICES_SSO_EXPIRING);
        for NetworkContext { labels, summary, .. } in with_sso() {
            for summary in &summary.types {
                for (within, count) in self.horizons.iter().zip(&summary.sso_expiring) {
                    let pairs = [("device_type", &*summary.device_type), ("within", within)];
                    expiring.sample(&labels.with(&pairs), Value::Count(*count))?;
                }
            }
        }
        let mut changes = out.family(&family::NETWORK_DEVICE_CHANGES);
        for NetworkContext { view, labels, .. } in self.known() {
            for (kind, count) in ChangeKind::ALL.into_iter().zip(view.exposed_changes()) {
                let labels = labels.with(&[("change", kind.as_str())]);
                changes.sample(&labels, Value::Count(count))?;
            }
        }
        self.security_group_families(out)?;
        self.collected_families(out)
    }

    /// Writes a family with a sample for each network and device type.
    fn by_type<'n, S: Sink>(
        &self,
        family: &Family,
        networks: impl Iterator<Item = &'n NetworkContext<'n>>,
        count: fn(&TypeSummary) -> u64,
        out: &mut Writer<'_, S>,
    ) -> io::Result<()> {
        let mut family = out.family(family);
        for network in networks {
            for summary in &network.summary.types {
                let labels = network.labels.with(&[("device_type", &summary.device_type)]);
                family.sample(&labels, Value::Count(count(summary)))?;
            }
        }
        Ok(())
    }

    fn security_group_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
        let groups = || {
            self.known().flat_map(|network| {
                let groups = network.view.sso.as_deref().map_or(&[][..], Sso::groups);
                groups.iter().map(|group| (&network.labels, group))
            })
        };
        let mut info = out.family(&family::SECURITY_GROUP_INFO);
        for network in &self.networks {
            // With `[sso]`, discovery reads the groups; otherwise the collector may have read them.
            let sso = network.view.sso.as_deref().filter(|_| network.view.is_known());
            let groups = sso.map_or(&[][..], Sso::groups);
            for group in groups {
                let name = group.name.as_deref().unwrap_or_default();
                let labels = network.labels.with(&[("group_id", &group.id), ("group_name", name)]);
                info.sample(&labels, Value::Count(1))?;
            }
            if groups.is_empty() {
                self.shared_samples(network, &family::SECURITY_GROUP_INFO, &mut info)?;
            }
        }
        let mut limits = out.family(&family::SECURITY_GROUP_SSO_MAX_IDLE);
        for (labels, group) in groups() {
            if let Some(limit) = group.sso_max_idle {
                let labels = labels.with(&[("group_id", &group.id)]);
                limits.sample(&labels, Value::Count(limit.as_secs()))?;
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
        let families: [(_, NetworkValue); 6] = [
            (&family::POLL_DURATION, |view, _| {
                view.polls.last.map(|last| Value::Float(last.duration.as_secs_f64()))
            }),
            (&family::POLL_INTERVAL, |view, _| {
                Some(Value::Float(view.identity.interval.as_secs_f64()))
            }),
            (&family::POLL_PROGRESS, |view, _| {
                Some(Value::Float(match view.polls.progress {
                    Some(poll) if poll.total > 0 => poll.done as f64 / poll.total as f64,
                    _ => 1.0,
                }))
            }),
            (&family::POLL_OVERRUNS, |view, _| Some(Value::Count(view.polls.overruns))),
            (&family::LAST_POLL, |view, now| view.polls.last_at(now).map(Value::Millis)),
            (&family::LAST_SUCCESS, |view, _| view.polls.last_success.map(Value::Millis)),
        ];
        for (family, value) in families {
            let mut family = out.family(family);
            for network in &self.networks {
                if let Some(value) = value(network.view, self.now) {
                    family.sample(&network.labels, value)?;
                }
            }
        }
        let mut failures = out.family(&family::USER_FAILURES);
        for network in &self.networks {
            for (kind, count) in ErrorKind::ALL.into_iter().zip(network.view.users_by_failure()) {
                failures
                    .sample(&network.labels.with(&[("reason", kind.as_str())]), count.into())?;
            }
        }
        self.collector_families(out)?;
        let mut invalid = out.family(&family::INVALID_TIMESTAMPS);
        for NetworkContext { view, labels, summary, collected } in &self.networks {
            let of_devices =
                [("created", summary.invalid_created), ("lastLogin", summary.invalid_last_login)];
            let of_devices = of_devices.into_iter().filter(|_| view.is_known());
            let others = collected.iter().flat_map(|records| records.invalid_times(self.now));
            for (field, count) in of_devices.chain(others) {
                invalid.sample(&labels.with(&[("field", field)]), Value::Count(count))?;
            }
        }
        Ok(())
    }
}
