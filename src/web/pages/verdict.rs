//! Can the numbers be trusted? One word, and one sentence why.

use serde::Serialize;

use super::{
    status::NetworkStatus,
    words::{counted, grouped, span},
};
use crate::{
    clock::Millis,
    inventory::{Account, LastPoll, LookupFailure, NetworkView, PollResult, ShardInfo},
    query::UserCounts,
    wickr::Operation,
};

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

impl Verdict {
    fn new(level: Level, text: impl Into<String>) -> Verdict {
        Verdict { level, text: text.into() }
    }

    /// There is this to be said, too.
    fn and(self, level: Level, text: &str) -> Verdict {
        let joint = if self.text.is_empty() { "" } else { " " };
        let text = format!("{}{joint}{text}", self.text);
        Verdict { level: self.level.max(level), text }
    }
}

/// The verdict on all there is: on the networks, on whether they are all, and on whose users they
/// are.
pub(super) fn overall(
    networks: &[NetworkStatus],
    accounts: &[Account],
    part: Option<ShardInfo>,
    now: Millis,
) -> Verdict {
    let failing = accounts.iter().any(|account| account.lookup.failure.is_some());
    let mut verdict = match networks {
        [] if failing => Verdict::new(Level::Bad, ""),
        [] if accounts.iter().any(|account| account.lookup.last_success.is_some()) => {
            Verdict::new(Level::Care, "No network was found. Is this the right account and region?")
        }
        [] => Verdict::new(
            Level::Waiting,
            "No network is known yet. If it stays so, the log says why they cannot be looked up.",
        ),
        [one] => one.verdict.clone(),
        several => of_several(several),
    };
    for account in accounts {
        if let Some(failure) = account.lookup.failure {
            let (level, text) = of_account(account, failure, now);
            verdict = verdict.and(level, &text);
        }
    }
    match part {
        Some(part) => verdict.and(Level::Good, &part.description()),
        None => verdict,
    }
}

/// What it means that an account's networks cannot be looked up.
fn of_account(account: &Account, failure: LookupFailure, now: Millis) -> (Level, String) {
    let Account { region, known, .. } = account;
    let place = if region.is_empty() { "this account" } else { region };
    let (level, what) = match known {
        true => (Level::Care, "new ones may be missing"),
        false => (Level::Bad, "what is not written out is missing"),
    };
    (
        level,
        format!("The networks of {place} {}: {what}. {}", cannot(failure, now), remedy(failure)),
    )
}

/// That something cannot be looked up, since when, and why.
fn cannot(failure: LookupFailure, now: Millis) -> String {
    let since = span(now.saturating_sub(failure.since));
    format!(
        "cannot be looked up, for {since} by now ({}: {})",
        failure.operation.as_str(),
        failure.kind.as_str().replace('_', " ")
    )
}

fn remedy(failure: LookupFailure) -> String {
    failure.kind.remedy().replace('`', "")
}

/// The verdict on several networks: the worst decides.
fn of_several(networks: &[NetworkStatus]) -> Verdict {
    let worst = networks.iter().map(|network| network.verdict.level).max();
    let level = worst.unwrap_or(Level::Waiting);
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
        Level::Care => format!("Some of it is not fresh or not sure, in {which}; see below."),
        Level::Waiting => format!("The first poll has not ended in {which}."),
        Level::Bad => format!("Devices are missing in {which}; see below."),
    };
    Verdict { level, text }
}

/// How far a network's numbers can be trusted.
pub(super) fn verdict(
    view: &NetworkView,
    users: UserCounts,
    oldest: Option<Millis>,
    now: Millis,
) -> Verdict {
    let verdict = match view.polls.last {
        None => of_first_poll(view),
        Some(last) => of_users(view, last, users, oldest, now),
    };
    with_lookups(verdict, view, now)
}

fn of_first_poll(view: &NetworkView) -> Verdict {
    let text = match view.polls.progress {
        Some(poll) => format!(
            "The first poll is under way: {} of {} so far.",
            grouped(poll.done),
            counted(poll.total, "user", "users")
        ),
        None => "The first poll has not begun: it is being found out who the users are.".into(),
    };
    Verdict::new(Level::Waiting, text)
}

/// What follows from how much is known of each user.
fn of_users(
    view: &NetworkView,
    last: LastPoll,
    users: UserCounts,
    oldest: Option<Millis>,
    now: Millis,
) -> Verdict {
    let say = |level, text: String| Verdict::new(level, text);
    let UserCounts { fresh, stale, missing, pending } = users;
    let all = fresh + stale + missing;
    let age = oldest.map_or(0, |at| now.saturating_sub(at));
    if all == 0 && last.result == PollResult::Failure {
        return say(Level::Bad, "It is not known who the users are.".into());
    }
    if missing > 0 {
        return say(Level::Bad, of_missing(missing, all));
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
        let text =
            "The last poll did not read everybody, but by now whoever is known has been read.";
        return say(Level::Care, text.into());
    }
    let text = match all {
        1 => format!("The one user was read {} ago.", span(age)),
        all => format!("Each of the {} users was read, the first {} ago.", grouped(all), span(age)),
    };
    say(Level::Good, text)
}

fn of_missing(missing: usize, all: usize) -> String {
    if missing == all {
        return "No user could be read, and nothing is known of their devices.".into();
    }
    let all = counted(all, "user", "users");
    format!("Nothing is known of {} of {all}: their devices are missing.", grouped(missing))
}

/// What cannot be looked up is no user's failure, and still there may be more than is known.
fn with_lookups(mut verdict: Verdict, view: &NetworkView, now: Millis) -> Verdict {
    let lookups = &view.lookups;
    if let Some(failure) = lookups.users.failure {
        let text = format!(
            "The users {}: new ones may be missing. {}",
            cannot(failure, now),
            remedy(failure)
        );
        verdict = verdict.and(Level::Care, &text);
    }
    if let Some(failure) = lookups.limits_failure() {
        let effect = match (failure.operation, view.sso.is_some()) {
            (Operation::ListSecurityGroups, true) => "they may be out of date",
            (_, true) => "they may be those of other groups",
            (_, false) => "it is not known which sessions have expired",
        };
        let text =
            format!("The SSO limits {}: {effect}. {}", cannot(failure, now), remedy(failure));
        verdict = verdict.and(Level::Care, &text);
    }
    verdict
}
