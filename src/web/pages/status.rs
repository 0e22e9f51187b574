//! The status of all networks, for the status page and `/api/v1/status`.
//!
//! The field names are the API: see `docs/api.md`.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    assessment::{self, Assessment},
    collectors::CollectorStatus,
};
use crate::{
    clock::{Millis, Moment},
    inventory::{
        Account, Collected, Lookup, NetworkView, PollResult, Reader, ShardInfo, Summary,
        TypeSummary,
    },
    query::{UserCounts, iso},
    wickr::ErrorKind,
};

/// The number of users that are named for each failure.
const EXAMPLES: usize = 10;

/// Serialized as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Millis);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&iso(self.0))
    }
}

/// Serialized as seconds with a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) generated_at: Time,
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) started_at: Time,
    pub(super) uptime_seconds: Seconds,
    pub(super) ready: bool,
    pub(super) assessment: Assessment,
    pub(super) discovery: Vec<AccountStatus>,
    pub(super) shard: Option<ShardInfo>,
    pub(super) networks: Vec<NetworkStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct NetworkStatus {
    pub(super) network_id: String,
    pub(super) network_name: String,
    pub(super) region: String,
    pub(super) assessment: Assessment,
    /// The value of `wickr_up`.
    pub(super) up: Option<bool>,
    pub(super) users: UserCounts,
    pub(super) discovery: DiscoveryStatus,
    /// When the oldest data was read.
    pub(super) oldest_read_at: Option<Time>,
    pub(super) last_poll: Option<PollStatus>,
    pub(super) last_success_at: Option<Time>,
    /// `None` during a poll.
    pub(super) next_poll_at: Option<Time>,
    pub(super) poll_progress: Option<ProgressStatus>,
    pub(super) polls: PollCounts,
    pub(super) poll_overruns: u64,
    pub(super) interval_seconds: Seconds,
    pub(super) stale_after_seconds: Seconds,
    pub(super) failures: Vec<FailureStatus>,
    /// `None` before the end of the first poll, and if no user has data.
    pub(super) devices: Option<DeviceStatus>,
    /// Empty without collectors.
    pub(super) collectors: Vec<CollectorStatus>,
}

/// The lookup of all networks of an account and region.
#[derive(Debug, Serialize)]
pub(super) struct AccountStatus {
    region: String,
    networks: Option<LookupStatus>,
}

impl AccountStatus {
    fn of(account: &Account, now: Moment) -> AccountStatus {
        let networks = LookupStatus::of(&account.lookup, now);
        AccountStatus { region: account.region.clone(), networks }
    }
}

/// The lookups of a network. `None` if not configured, or not done yet.
#[derive(Debug, Serialize)]
pub(super) struct DiscoveryStatus {
    users: Option<LookupStatus>,
    members: Option<LookupStatus>,
    security_groups: Option<LookupStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct LookupStatus {
    last_success_at: Option<Time>,
    /// `None` after a success.
    failing_since: Option<Time>,
    operation: Option<&'static str>,
    reason: Option<&'static str>,
    remedy: Option<&'static str>,
}

impl LookupStatus {
    fn of(lookup: &Lookup, now: Moment) -> Option<LookupStatus> {
        let Lookup { last_success, failure } = lookup;
        (last_success.is_some() || failure.is_some()).then(|| LookupStatus {
            last_success_at: last_success.map(Time),
            failing_since: failure.map(|failure| Time(now.time_of(failure.since))),
            operation: failure.map(|failure| failure.operation.as_str()),
            reason: failure.map(|failure| failure.kind.as_str()),
            remedy: failure.map(|failure| failure.kind.remedy()),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PollStatus {
    pub(super) ended_at: Time,
    pub(super) duration_seconds: Seconds,
    pub(super) result: &'static str,
}

/// Polls since the start of the process, by result.
#[derive(Debug, Serialize)]
pub(super) struct PollCounts {
    pub(super) success: u64,
    pub(super) partial: u64,
    pub(super) failure: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ProgressStatus {
    pub(super) done: usize,
    pub(super) total: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct FailureStatus {
    pub(super) reason: &'static str,
    pub(super) users: usize,
    /// At most [`EXAMPLES`].
    pub(super) user_ids: Vec<String>,
    pub(super) remedy: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct DeviceStatus {
    pub(super) total: u64,
    pub(super) suspended: u64,
    pub(super) reset: u64,
    pub(super) never_logged_in: u64,
    /// `None` if SSO limits are unknown.
    pub(super) sso_expired: Option<u64>,
    /// Devices whose last login is not a valid time.
    pub(super) invalid_last_login: u64,
    pub(super) types: Vec<TypeStatus>,
    pub(super) idle: Vec<IdleStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct TypeStatus {
    pub(super) device_type: String,
    pub(super) devices: u64,
    pub(super) suspended: u64,
    pub(super) reset: u64,
    pub(super) never_logged_in: u64,
    pub(super) sso_expired: Option<u64>,
}

/// Devices that have been idle for longer than one time and at most another.
#[derive(Debug, Serialize)]
pub(super) struct IdleStatus {
    pub(super) over_seconds: Option<Seconds>,
    pub(super) up_to_seconds: Option<Seconds>,
    pub(super) devices: u64,
}

impl Status {
    pub(super) fn of(
        reader: &Reader,
        idle_buckets: &[Duration],
        started: impl Into<Moment>,
        now: impl Into<Moment>,
    ) -> Status {
        let (started, now) = (started.into(), now.into());
        let snapshot = reader.snapshot();
        let networks: Vec<_> = snapshot
            .networks
            .iter()
            .map(|view| {
                let collected = snapshot.collected.get(&view.identity.id);
                NetworkStatus::of(view, collected.map(|records| &**records), idle_buckets, now)
            })
            .collect();
        let assessments: Vec<_> =
            networks.iter().map(|network| (&network.assessment, network.users)).collect();
        let assessment = assessment::overall(&assessments, &snapshot.accounts, snapshot.shard, now);
        let uptime = u64::try_from(now.steady.saturating_sub(started.steady)).unwrap_or(0);
        Status {
            generated_at: Time(now.time),
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("WICKR_EXPORTER_REVISION"),
            started_at: Time(now.time_of(started)),
            uptime_seconds: Seconds(Duration::from_millis(uptime)),
            ready: reader.is_ready(),
            assessment,
            discovery: snapshot
                .accounts
                .iter()
                .map(|account| AccountStatus::of(account, now))
                .collect(),
            shard: snapshot.shard,
            networks,
        }
    }
}

impl NetworkStatus {
    fn of(
        view: &NetworkView,
        collected: Option<&Collected>,
        idle_buckets: &[Duration],
        now: Moment,
    ) -> NetworkStatus {
        let (identity, polls) = (&view.identity, &view.polls);
        let [success, partial, failure] = polls.ended;
        let users = UserCounts::of(view, now);
        let oldest = view.served_users(now).map(|(_, data)| data.at).min();
        NetworkStatus {
            network_id: identity.id.to_string(),
            network_name: identity.name.clone(),
            region: identity.region.clone(),
            assessment: assessment::of_network(view, users, oldest, now),
            up: view.was_polled().then(|| view.is_up(now)),
            users,
            discovery: DiscoveryStatus {
                users: LookupStatus::of(&view.lookups.users, now),
                members: LookupStatus::of(&view.lookups.members, now),
                security_groups: LookupStatus::of(&view.lookups.groups, now),
            },
            oldest_read_at: oldest.map(Time),
            last_poll: polls.last.map(|last| PollStatus {
                ended_at: Time(polls.last_at(now).unwrap_or(last.at)),
                duration_seconds: Seconds(last.duration),
                result: last.result.as_str(),
            }),
            last_success_at: polls.last_success.map(Time),
            next_poll_at: polls.next.map(|at| Time(now.time_of(at))),
            poll_progress: polls
                .progress
                .map(|poll| ProgressStatus { done: poll.done, total: poll.total }),
            polls: PollCounts { success, partial, failure },
            poll_overruns: polls.overruns,
            interval_seconds: Seconds(identity.interval),
            stale_after_seconds: Seconds(identity.stale_after),
            failures: failures(view),
            devices: has_data(view, users).then(|| DeviceStatus::of(view, idle_buckets, now)),
            collectors: CollectorStatus::all(collected, now),
        }
    }
}

/// Whether device counts are meaningful: there is data, or the network has no users.
fn has_data(view: &NetworkView, users: UserCounts) -> bool {
    let empty = users.missing == 0
        && view.polls.last.is_some_and(|last| last.result == PollResult::Success);
    view.is_known() && (users.fresh + users.stale > 0 || empty)
}

fn failures(view: &NetworkView) -> Vec<FailureStatus> {
    let counts = ErrorKind::ALL.into_iter().zip(view.users_by_failure());
    let failed = counts.filter(|(_, users)| *users > 0).map(|(kind, users)| FailureStatus {
        reason: kind.as_str(),
        users,
        user_ids: view
            .users
            .iter()
            .filter(|user| user.failure == Some(kind))
            .take(EXAMPLES)
            .map(|user| user.id.to_string())
            .collect(),
        remedy: kind.remedy(),
    });
    failed.collect()
}

impl DeviceStatus {
    fn of(view: &NetworkView, idle_buckets: &[Duration], now: Moment) -> DeviceStatus {
        let bounds: Vec<i64> = idle_buckets
            .iter()
            .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX))
            .collect();
        let summary = Summary::new(view, now, &bounds, &[]);
        let sum = |field: fn(&TypeSummary) -> u64| summary.types.iter().map(field).sum();
        let sso = view.sso.is_some();
        let mut idle = Vec::new();
        let (mut over, mut below) = (None, 0);
        for (index, bound) in idle_buckets.iter().enumerate() {
            let at_most: u64 = summary.types.iter().map(|t| t.idle_at_most[index]).sum();
            let up_to = Some(Seconds(*bound));
            let devices = at_most - below;
            idle.push(IdleStatus { over_seconds: over, up_to_seconds: up_to, devices });
            (over, below) = (up_to, at_most);
        }
        let devices = sum(|of_type| of_type.with_idle) - below;
        idle.push(IdleStatus { over_seconds: over, up_to_seconds: None, devices });
        DeviceStatus {
            total: sum(|of_type| of_type.devices),
            suspended: sum(|of_type| of_type.suspended),
            reset: sum(|of_type| of_type.reset),
            never_logged_in: sum(|of_type| of_type.never_logged_in),
            sso_expired: sso.then(|| sum(|of_type| of_type.sso_expired)),
            invalid_last_login: summary.invalid_last_login,
            types: summary
                .types
                .iter()
                .map(|of_type| TypeStatus {
                    device_type: of_type.device_type.to_string(),
                    devices: of_type.devices,
                    suspended: of_type.suspended,
                    reset: of_type.reset,
                    never_logged_in: of_type.never_logged_in,
                    sso_expired: sso.then_some(of_type.sso_expired),
                })
                .collect(),
            idle,
        }
    }
}

#[cfg(test)]
mod tests;
