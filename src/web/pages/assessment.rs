//! How complete and fresh the data is: a level, and sentences that explain it.

use serde::Serialize;

use super::format::{counted, duration, grouped};
use crate::{
    clock::{Millis, Moment},
    inventory::{Account, LastPoll, LookupFailure, NetworkView, PollResult, ShardInfo},
    query::UserCounts,
    wickr::Operation,
};

/// The levels of the API and the style sheet, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Complete and fresh.
    Good,
    /// Complete as far as known, but stale, without users, or with a failing lookup.
    Warning,
    /// Not complete yet.
    Waiting,
    /// Not complete.
    Bad,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Warning => "warning",
            Level::Waiting => "waiting",
            Level::Bad => "bad",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Assessment {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Assessment {
    fn new(level: Level, text: impl Into<String>) -> Assessment {
        Assessment { level, text: text.into() }
    }

    /// Appends a sentence. The worse level applies.
    fn and(self, level: Level, text: &str) -> Assessment {
        let separator = if self.text.is_empty() { "" } else { " " };
        let text = format!("{}{separator}{text}", self.text);
        Assessment { level: self.level.max(level), text }
    }
}

/// Assesses the networks, the lookups of networks, and the shard.
pub(super) fn overall(
    networks: &[(&Assessment, UserCounts)],
    accounts: &[Account],
    shard: Option<ShardInfo>,
    now: Moment,
) -> Assessment {
    let is_failing = accounts.iter().any(|account| account.lookup.failure.is_some());
    let mut assessment = match networks {
        [] if is_failing => Assessment::new(Level::Bad, ""),
        [] if accounts.iter().any(|account| account.lookup.last_success.is_some()) => {
            Assessment::new(
                Level::Warning,
                "No network was found. Check the account and the region.",
            )
        }
        [] => Assessment::new(
            Level::Waiting,
            "No network is known yet. If this does not change, see the log.",
        ),
        [(assessment, _)] => (*assessment).clone(),
        networks => worst(networks),
    };
    for account in accounts {
        if let Some(failure) = account.lookup.failure {
            let (level, text) = account_failure(account, failure, now);
            assessment = assessment.and(level, &text);
        }
    }
    match shard {
        Some(shard) => assessment.and(Level::Good, &shard.description()),
        None => assessment,
    }
}

fn account_failure(account: &Account, failure: LookupFailure, now: Moment) -> (Level, String) {
    let region = if account.region.is_empty() { "this account" } else { &account.region };
    let (level, effect) = match account.known {
        true => (Level::Warning, "new networks may be missing"),
        false => (Level::Bad, "only networks with a configured id are shown"),
    };
    (level, failed_lookup(&format!("The networks of {region}"), failure, effect, now))
}

fn failed_lookup(subject: &str, failure: LookupFailure, effect: &str, now: Moment) -> String {
    let LookupFailure { operation, kind, since } = failure;
    format!(
        "{subject} cannot be looked up ({}: {}, for {}): {effect}. {}",
        operation.as_str(),
        kind.as_str().replace('_', " "),
        duration(now.steady.saturating_sub(since.steady)),
        kind.remedy().replace('`', "")
    )
}

/// Several networks have the worst level among them.
fn worst(networks: &[(&Assessment, UserCounts)]) -> Assessment {
    let level = networks.iter().map(|(network, _)| network.level).max().unwrap_or(Level::Waiting);
    let count = networks.iter().filter(|(network, _)| network.level == level).count();
    let which = if count == networks.len() {
        format!("all {} networks", grouped(count))
    } else {
        format!("{} of {} networks", grouped(count), grouped(networks.len()))
    };
    let text = match level {
        Level::Good => {
            let users = networks.iter().map(|(_, users)| users.fresh).sum();
            let users = counted(users, "user", "users");
            format!("The last polls read every user of {which}: {users}.")
        }
        Level::Warning => format!("Data may be incomplete or stale in {which}; see below."),
        Level::Waiting => format!("The first poll has not ended in {which}."),
        Level::Bad => format!("Devices are missing in {which}; see below."),
    };
    Assessment { level, text }
}

/// Assesses a network. `oldest` is when its oldest data was read.
pub(super) fn of_network(
    view: &NetworkView,
    users: UserCounts,
    oldest: Option<Millis>,
    now: Moment,
) -> Assessment {
    let (level, text) = match view.polls.last {
        None => (Level::Waiting, first_poll(view)),
        Some(last) => of_users(view, last, users, oldest, now),
    };
    with_lookups(Assessment { level, text }, view, now)
}

fn first_poll(view: &NetworkView) -> String {
    match view.polls.progress {
        Some(poll) => format!(
            "The first poll is in progress: {} of {} so far.",
            grouped(poll.done),
            counted(poll.total, "user", "users")
        ),
        None => "The first poll has not started: the users are being looked up.".into(),
    }
}

fn of_users(
    view: &NetworkView,
    last: LastPoll,
    users: UserCounts,
    oldest: Option<Millis>,
    now: Moment,
) -> (Level, String) {
    let UserCounts { fresh, stale, missing, pending } = users;
    let total = fresh + stale + missing;
    let age = duration(oldest.map_or(0, |at| now.time.saturating_sub(at)));
    if total == 0 && last.result == PollResult::Failure {
        return (Level::Bad, "The user list could not be read.".into());
    }
    if missing > 0 {
        let text = if missing == total {
            "No user could be read, and there is no earlier data.".into()
        } else {
            let users = counted(total, "user", "users");
            format!("Devices are missing: no data for {} of {users}.", grouped(missing))
        };
        return (Level::Bad, text);
    }
    if stale > 0 {
        let origin = if view.was_polled() { "" } else { " It is from before the restart." };
        let (stale, users) = (grouped(stale), counted(total, "user", "users"));
        let text = format!("The data of {stale} of {users} is stale, up to {age} old.{origin}");
        return (Level::Warning, text);
    }
    if pending > 0 {
        let users = counted(pending, "user has", "users have");
        return (Level::Waiting, format!("{users} not been read yet."));
    }
    if total == 0 {
        return (Level::Warning, "There are no users to poll. Check the user filter.".into());
    }
    if !view.is_up(now) {
        let text = "The last poll did not read every user, but all known users have been read.";
        return (Level::Warning, text.into());
    }
    let text = match total {
        1 => format!("The user was read {age} ago."),
        total => {
            format!("All {} users were read; the oldest data is {age} old.", grouped(total))
        }
    };
    (Level::Good, text)
}

fn with_lookups(mut assessment: Assessment, view: &NetworkView, now: Moment) -> Assessment {
    if let Some(failure) = view.lookups.users.failure {
        let text = failed_lookup("The users", failure, "new users may be missing", now);
        assessment = assessment.and(Level::Warning, &text);
    }
    if let Some(failure) = view.lookups.limits_failure() {
        let effect = match (failure.operation, view.sso.is_some()) {
            (Operation::ListSecurityGroups, true) => "they may be out of date",
            (_, true) => "they may be those of the users' previous groups",
            (_, false) => "expired sessions are not known",
        };
        let text = failed_lookup("The SSO limits", failure, effect, now);
        assessment = assessment.and(Level::Warning, &text);
    }
    assessment
}
