//! How things stand, in figures and in words: what the status page and `/api/v1/status` show.
//!
//! The names of the fields are a promise: see `docs/api.md`.

use std::time::Duration;

use serde::Serialize;

use super::verdict::{Verdict, overall, verdict};
use crate::{
    clock::Millis,
    inventory::{
        Account, LastPoll, Lookup, NetworkView, PollResult, Reader, ShardInfo, Summary, TypeSummary,
    },
    query::{UserCounts, iso},
    wickr::ErrorKind,
};

/// Of those that failed for a reason, so many are named.
const EXAMPLES: usize = 10;

#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) generated_at: String,
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) started_at: String,
    pub(super) uptime_seconds: f64,
    pub(super) ready: bool,
    pub(super) verdict: Verdict,
    /// Where networks are looked up, and how that goes.
    pub(super) discovery: Vec<AccountStatus>,
    /// The part of all users that is this process's; none where it has them all.
    pub(super) shard: Option<ShardInfo>,
    pub(super) networks: Vec<NetworkStatus>,
    /// For the page, which counts from it.
    #[serde(skip)]
    pub(super) now: Millis,
    #[serde(skip)]
    pub(super) started: Millis,
}

#[derive(Debug, Serialize)]
pub(super) struct NetworkStatus {
    pub(super) network_id: String,
    pub(super) network_name: String,
    pub(super) region: String,
    pub(super) verdict: Verdict,
    /// As `wickr_up`: none where that is absent.
    pub(super) up: Option<bool>,
    pub(super) users: UserCounts,
    pub(super) discovery: DiscoveryStatus,
    /// When the oldest data that is served was read.
    pub(super) oldest_read_at: Option<String>,
    pub(super) last_poll: Option<PollStatus>,
    pub(super) last_success_at: Option<String>,
    /// None while a poll is under way.
    pub(super) next_poll_at: Option<String>,
    pub(super) poll_under_way: Option<ProgressStatus>,
    pub(super) polls: PollCounts,
    pub(super) poll_overruns: u64,
    pub(super) interval_seconds: f64,
    pub(super) stale_after_seconds: f64,
    pub(super) failures: Vec<FailureStatus>,
    /// None before the first poll has ended, and where nothing is known of anybody.
    pub(super) devices: Option<DeviceStatus>,
    #[serde(skip)]
    pub(super) polls_at: Times,
}

/// The lookup of all networks of an account and region.
#[derive(Debug, Serialize)]
pub(super) struct AccountStatus {
    region: String,
    networks: Option<LookupStatus>,
}

impl AccountStatus {
    fn of(account: &Account) -> AccountStatus {
        let networks = LookupStatus::of(&account.lookup);
        AccountStatus { region: account.region.clone(), networks }
    }
}

/// What is looked up for a network; none of what is not, or was not yet.
#[derive(Debug, Serialize)]
pub(super) struct DiscoveryStatus {
    users: Option<LookupStatus>,
    members: Option<LookupStatus>,
    security_groups: Option<LookupStatus>,
}

/// How a lookup goes.
#[derive(Debug, Serialize)]
pub(super) struct LookupStatus {
    last_success_at: Option<String>,
    /// None while it does not fail.
    failing_since: Option<String>,
    operation: Option<&'static str>,
    reason: Option<&'static str>,
    remedy: Option<&'static str>,
}

impl LookupStatus {
    fn of(lookup: &Lookup) -> Option<LookupStatus> {
        let Lookup { last_success, failure } = lookup;
        (last_success.is_some() || failure.is_some()).then(|| LookupStatus {
            last_success_at: last_success.map(iso),
            failing_since: failure.map(|failure| iso(failure.since)),
            operation: failure.map(|failure| failure.operation.as_str()),
            reason: failure.map(|failure| failure.kind.as_str()),
            remedy: failure.map(|failure| failure.kind.remedy()),
        })
    }
}

/// Times that the page shows in words.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) last: Option<LastPoll>,
    pub(super) last_success: Option<Millis>,
    pub(super) next: Option<Millis>,
    pub(super) oldest: Option<Millis>,
}

#[derive(Debug, Serialize)]
pub(super) struct PollStatus {
    ended_at: String,
    duration_seconds: f64,
    pub(super) result: &'static str,
}

/// Polls that ended since the start of the process, by how they did.
#[derive(Debug, Serialize)]
pub(super) struct PollCounts {
    pub(super) success: u64,
    pub(super) partial: u64,
    pub(super) failure: u64,
}

impl PollCounts {
    fn of([success, partial, failure]: [u64; 3]) -> PollCounts {
        PollCounts { success, partial, failure }
    }
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
    /// Some of them.
    pub(super) user_ids: Vec<String>,
    pub(super) remedy: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct DeviceStatus {
    pub(super) total: u64,
    pub(super) suspended: u64,
    pub(super) reset: u64,
    pub(super) never_logged_in: u64,
    /// None where SSO limits are not known.
    pub(super) sso_expired: Option<u64>,
    /// Devices whose last login cannot be read.
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

/// Devices that have been idle for longer than one time and up to another.
#[derive(Debug, Serialize)]
pub(super) struct IdleStatus {
    pub(super) over_seconds: Option<f64>,
    pub(super) up_to_seconds: Option<f64>,
    pub(super) devices: u64,
    #[serde(skip)]
    pub(super) over: Option<Duration>,
    #[serde(skip)]
    pub(super) up_to: Option<Duration>,
}

impl Status {
    pub(super) fn of(
        reader: &Reader,
        idle_buckets: &[Duration],
        started: Millis,
        now: Millis,
    ) -> Status {
        let snapshot = reader.snapshot();
        let networks: Vec<_> = snapshot
            .networks
            .iter()
            .map(|view| NetworkStatus::of(view, idle_buckets, now))
            .collect();
        Status {
            generated_at: iso(now),
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("WICKR_EXPORTER_REVISION"),
            started_at: iso(started),
            uptime_seconds: now.saturating_sub(started).max(0) as f64 / 1e3,
            ready: reader.is_ready(),
            verdict: overall(&networks, &snapshot.accounts, snapshot.shard, now),
            discovery: snapshot.accounts.iter().map(AccountStatus::of).collect(),
            shard: snapshot.shard,
            networks,
            now,
            started,
        }
    }
}

impl NetworkStatus {
    fn of(view: &NetworkView, idle_buckets: &[Duration], now: Millis) -> NetworkStatus {
        let (identity, polls) = (&view.identity, &view.polls);
        let users = UserCounts::of(view, now);
        let oldest = view.served_users(now).map(|(_, data)| data.at).min();
        NetworkStatus {
            network_id: identity.id.to_string(),
            network_name: identity.name.clone(),
            region: identity.region.clone(),
            verdict: verdict(view, users, oldest, now),
            up: view.was_polled().then(|| view.is_up(now)),
            users,
            discovery: DiscoveryStatus {
                users: LookupStatus::of(&view.lookups.users),
                members: LookupStatus::of(&view.lookups.members),
                security_groups: LookupStatus::of(&view.lookups.groups),
            },
            oldest_read_at: oldest.map(iso),
            last_poll: polls.last.map(|last| PollStatus {
                ended_at: iso(last.at),
                duration_seconds: last.duration.as_secs_f64(),
                result: last.result.as_str(),
            }),
            last_success_at: polls.last_success.map(iso),
            next_poll_at: polls.next.map(iso),
            poll_under_way: polls
                .progress
                .map(|poll| ProgressStatus { done: poll.done, total: poll.total }),
            polls: PollCounts::of(polls.ended),
            poll_overruns: polls.overruns,
            interval_seconds: identity.interval.as_secs_f64(),
            stale_after_seconds: identity.stale_after.as_secs_f64(),
            failures: failures(view),
            devices: is_anything_known(view, users)
                .then(|| DeviceStatus::of(view, idle_buckets, now)),
            polls_at: Times {
                last: polls.last,
                last_success: polls.last_success,
                next: polls.next,
                oldest,
            },
        }
    }
}

/// Whether figures say anything: no device of nobody is not no device.
fn is_anything_known(view: &NetworkView, users: UserCounts) -> bool {
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
    fn of(view: &NetworkView, idle_buckets: &[Duration], now: Millis) -> DeviceStatus {
        let bounds: Vec<i64> = idle_buckets
            .iter()
            .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX))
            .collect();
        let summary = Summary::new(view, now, &bounds);
        let sum = |of: fn(&TypeSummary) -> u64| summary.types.iter().map(of).sum();
        let sso = view.sso.is_some();
        let with_idle: u64 = sum(|of_type| of_type.with_idle);
        let mut idle = Vec::new();
        let (mut over, mut below) = (None, 0);
        for (place, bound) in idle_buckets.iter().enumerate() {
            let at_most: u64 = summary.types.iter().map(|t| t.idle_at_most[place]).sum();
            idle.push(IdleStatus::new(over, Some(*bound), at_most - below));
            (over, below) = (Some(*bound), at_most);
        }
        idle.push(IdleStatus::new(over, None, with_idle - below));
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

impl IdleStatus {
    fn new(over: Option<Duration>, up_to: Option<Duration>, devices: u64) -> IdleStatus {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        IdleStatus {
            over_seconds: seconds(over),
            up_to_seconds: seconds(up_to),
            devices,
            over,
            up_to,
        }
    }
}

#[cfg(test)]
mod tests;
