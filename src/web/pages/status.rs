//! How things stand, in figures and in words: what the status page and `/api/v1/status` show.
//!
//! The names of the fields are a promise: see `docs/api.md`.

use std::time::Duration;

use serde::Serialize;

use super::words::{counted, grouped, span};
use crate::{
    clock::Millis,
    drill::{UserCounts, iso},
    inventory::{LastPoll, NetworkView, PollResult, Reader, Summary, TypeSummary},
    wickr::ErrorKind,
};

/// Of those that failed for a reason, so many are named.
const EXAMPLES: usize = 10;

/// How far the numbers can be trusted, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Complete and fresh.
    Good,
    /// Complete, but some of it is not fresh, or there is nobody to ask for.
    Care,
    /// Not complete yet.
    Waiting,
    /// Not complete.
    Bad,
}

/// How far, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) text: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) generated_at: String,
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) started_at: String,
    pub(super) uptime_seconds: f64,
    pub(super) ready: bool,
    pub(super) verdict: Verdict,
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
        let networks: Vec<_> = reader
            .snapshot()
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
            verdict: overall(&networks),
            networks,
            now,
            started,
        }
    }
}

/// The verdict on all networks: the worst decides.
fn overall(networks: &[NetworkStatus]) -> Verdict {
    let worst = networks.iter().map(|network| network.verdict.level).max();
    let Some(level) = worst else {
        let text =
            "No network is known yet. If it stays so, the log says why they cannot be looked up.";
        return Verdict { level: Level::Waiting, text: text.into() };
    };
    if let [one] = networks {
        return one.verdict.clone();
    }
    let of_level = networks.iter().filter(|network| network.verdict.level == level);
    let (count, all) = (of_level.clone().count(), networks.len());
    let which = if count == all {
        format!("all {} networks", grouped(all))
    } else {
        format!("{} of {} networks", grouped(count), grouped(all))
    };
    let text = match level {
        Level::Good => {
            let users = networks.iter().map(|network| network.users.fresh).sum();
            let users = counted(users, "user", "users");
            format!("Every user of {which} was read in the last poll: {users}.")
        }
        Level::Care => format!("Some of it is not fresh, in {which}; see below."),
        Level::Waiting => format!("The first poll has not ended in {which}."),
        Level::Bad => format!("Devices are missing in {which}; see below."),
    };
    Verdict { level, text }
}

impl NetworkStatus {
    fn of(view: &NetworkView, idle_buckets: &[Duration], now: Millis) -> NetworkStatus {
        let (identity, polls) = (&view.identity, &view.polls);
        let users = UserCounts::of(view, now);
        let oldest = view.readings(now).map(|(_, reading)| reading.at).min();
        NetworkStatus {
            network_id: identity.id.to_string(),
            network_name: identity.name.clone(),
            region: identity.region.clone(),
            verdict: verdict(view, users, oldest, now),
            up: view.was_polled().then(|| view.is_up(now)),
            users,
            oldest_read_at: oldest.map(iso),
            last_poll: polls.last.map(|last| PollStatus {
                ended_at: iso(last.at),
                duration_seconds: last.took.as_secs_f64(),
                result: last.result.as_str(),
            }),
            last_success_at: polls.last_success.map(iso),
            next_poll_at: polls.next.map(iso),
            poll_under_way: polls
                .under_way
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

/// How far a network's numbers can be trusted.
fn verdict(view: &NetworkView, users: UserCounts, oldest: Option<Millis>, now: Millis) -> Verdict {
    let say = |level, text| Verdict { level, text };
    let UserCounts { fresh, stale, missing, pending } = users;
    let all = fresh + stale + missing;
    let age = oldest.map_or(0, |at| now.saturating_sub(at));
    let Some(last) = view.polls.last else {
        let text = match view.polls.under_way {
            Some(poll) => format!(
                "The first poll is under way: {} of {} so far.",
                grouped(poll.done),
                counted(poll.total, "user", "users")
            ),
            None => "The first poll has not begun: it is being found out who the users are.".into(),
        };
        return say(Level::Waiting, text);
    };
    if all == 0 && last.result == PollResult::Failure {
        let text =
            "It is not known who the users are: they cannot be looked up, and the log says why.";
        return say(Level::Bad, text.into());
    }
    if missing > 0 {
        let text = if missing == all {
            "No user could be read, and nothing is known of their devices.".into()
        } else {
            let all = counted(all, "user", "users");
            format!("Nothing is known of {} of {all}: their devices are missing.", grouped(missing))
        };
        return say(Level::Bad, text);
    }
    if stale > 0 {
        let since = if view.was_polled() { "" } else { " They are from before the restart." };
        let text = format!(
            "The last known devices are shown of {} of {}, up to {} old.{since}",
            grouped(stale),
            counted(all, "user", "users"),
            span(age)
        );
        return say(Level::Care, text);
    }
    if pending > 0 {
        let text =
            format!("{} to be read for the first time.", counted(pending, "user is", "users are"));
        return say(Level::Waiting, text);
    }
    if all == 0 {
        return say(Level::Care, "There are no users to ask for. Is the filter too narrow?".into());
    }
    if !view.is_up(now) {
        return say(
            Level::Care,
            "The last poll failed, but by now every user has been read.".into(),
        );
    }
    let text = match all {
        1 => format!("The one user was read {} ago.", span(age)),
        all => format!("Each of the {} users was read, the first {} ago.", grouped(all), span(age)),
    };
    say(Level::Good, text)
}

impl DeviceStatus {
    fn of(view: &NetworkView, idle_buckets: &[Duration], now: Millis) -> DeviceStatus {
        let bounds: Vec<i64> = idle_buckets
            .iter()
            .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX))
            .collect();
        let summary = Summary::of(view, now, &bounds);
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
mod tests {
    use super::*;
    use crate::{
        inventory::{NetworkIdentity, Publisher, open, state::RestoredNetwork},
        wickr::{Device, Stamp, UserId},
    };

    const NOW: Millis = 1_700_000_000_000;

    fn identity(id: &str) -> NetworkIdentity {
        NetworkIdentity {
            id: id.parse().unwrap(),
            name: "production".into(),
            region: "us-east-1".into(),
            account: String::new(),
            interval: Duration::from_secs(60),
            stale_after: Duration::from_secs(180),
        }
    }

    fn users() -> Vec<UserId> {
        ["1", "2"].map(|id| id.parse().unwrap()).into()
    }

    fn idle(days: i64) -> Device {
        Device {
            app_id: Some(days.to_string().into()),
            device_type: "iOS".into(),
            status: "Active".into(),
            suspended: None,
            created: Stamp::NEVER,
            last_login: Stamp::at_millis(NOW - days * 86_400_000),
        }
    }

    fn status(reader: &Reader, after: i64) -> Status {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Status::of(reader, &[days(1), days(30)], NOW - 90_000, NOW + after)
    }

    fn read(publisher: &mut Publisher, failed: usize) {
        publisher.begin(&users());
        for (place, user) in users().iter().enumerate() {
            match place < failed {
                true => publisher.failed(user, ErrorKind::Forbidden),
                false => publisher.read(user, vec![idle(0), idle(20), idle(40), idle(50)], NOW),
            }
        }
        publisher.end(NOW, Duration::from_secs(2), true);
    }

    #[test]
    fn the_verdict_follows_what_is_known() {
        let (keeper, reader) = open();
        let level = |after| status(&reader, after).verdict.level;
        assert_eq!(level(0), Level::Waiting, "no network");
        let mut publisher = keeper.add(identity("12345678"), None);
        assert_eq!(level(0), Level::Waiting, "no poll");
        publisher.begin(&users());
        publisher.read(&users()[0], vec![], NOW);
        publisher.flush();
        let waiting = status(&reader, 0);
        assert_eq!(waiting.verdict.level, Level::Waiting);
        assert!(waiting.verdict.text.contains("1 of 2 users"), "{}", waiting.verdict.text);
        assert!(waiting.networks[0].devices.is_none(), "nothing is said before the poll has ended");
        read(&mut publisher, 0);
        assert_eq!(level(0), Level::Good);
        assert_eq!(status(&reader, 0).networks[0].up, Some(true));
        read(&mut publisher, 1);
        assert_eq!(level(0), Level::Care);
        assert_eq!(level(180_001), Level::Bad, "stale data goes by the clock");
        read(&mut publisher, 2);
        let none = status(&reader, 180_001);
        assert_eq!(none.verdict.level, Level::Bad);
        assert!(none.networks[0].devices.is_none(), "no device of nobody is not no device");
        let failure = &none.networks[0].failures[0];
        assert_eq!((failure.reason, failure.users, failure.user_ids.len()), ("forbidden", 2, 2));
        publisher.retain(|_| false);
        publisher.end(NOW, Duration::ZERO, false);
        assert_eq!(level(0), Level::Bad, "nobody knows who the users are");
        // Of several, the worst counts.
        let mut other = keeper.add(identity("87654321"), None);
        read(&mut other, 0);
        let both = status(&reader, 0).verdict;
        assert_eq!(both.level, Level::Bad);
        assert!(both.text.contains("1 of 2 networks"), "{}", both.text);
    }

    #[test]
    fn restored_data_is_no_fresh_data() {
        let (keeper, reader) = open();
        let mut publisher = keeper.add(identity("12345678"), None);
        read(&mut publisher, 0);
        let view = reader.snapshot().networks[0].clone();
        let users = view.readings(NOW).map(|(user, reading)| {
            crate::inventory::state::RestoredUser { id: user.id.clone(), reading: reading.clone() }
        });
        let restored = RestoredNetwork {
            name: String::new(),
            account: String::new(),
            users: users.collect(),
            types: view.types.clone(),
            last_poll: view.polls.last,
            last_success: view.polls.last_success,
        };
        drop(publisher);
        let _publisher = keeper.add(identity("12345678"), Some(restored));
        let status = status(&reader, 1000);
        assert_eq!(status.verdict.level, Level::Care);
        assert!(status.verdict.text.contains("before the restart"), "{}", status.verdict.text);
        assert_eq!(status.networks[0].up, None, "whether it is up, nobody has asked yet");
    }

    #[test]
    fn buckets_hold_what_lies_between_their_bounds() {
        let (keeper, reader) = open();
        let mut publisher = keeper.add(identity("12345678"), None);
        read(&mut publisher, 0);
        let status = status(&reader, 0);
        let devices = status.networks[0].devices.as_ref().unwrap();
        let counts: Vec<_> = devices.idle.iter().map(|bucket| bucket.devices).collect();
        assert_eq!((counts, devices.total), (vec![2, 2, 4], 8));
        assert_eq!(devices.idle[1].over_seconds, devices.idle[0].up_to_seconds);
        assert_eq!((devices.idle[0].over_seconds, devices.idle[2].up_to_seconds), (None, None));
        assert_eq!((devices.sso_expired, status.uptime_seconds), (None, 90.0));
    }
}
