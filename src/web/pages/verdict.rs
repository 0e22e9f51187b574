//! Can the numbers be trusted? One word, and one sentence why.

use serde::Serialize;

use super::{
    status::NetworkStatus,
    words::{counted, grouped, span},
};
use crate::{
    clock::Millis,
    drill::UserCounts,
    inventory::{NetworkView, PollResult},
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

/// The verdict on all networks: the worst decides.
pub(super) fn overall(networks: &[NetworkStatus]) -> Verdict {
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

/// How far a network's numbers can be trusted.
pub(super) fn verdict(
    view: &NetworkView,
    users: UserCounts,
    oldest: Option<Millis>,
    now: Millis,
) -> Verdict {
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
