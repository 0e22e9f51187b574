//! What a list of devices was looked for among: whether it can be all that there are.

use serde::{Deserialize, Serialize};

use super::{Filter, counted};
use crate::{
    clock::Millis,
    inventory::{Account, NetworkView, PollResult, ShardInfo, Snapshot},
    wickr::NetworkId,
};

/// The networks and users that a filter lets pass, and how much is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// How many networks.
    pub networks: usize,
    /// Networks of whose users nothing is known for sure: their first poll has not ended, or could
    /// not find out who the users are.
    #[serde(rename = "unsettled_networks")]
    pub unsettled: usize,
    /// Users, by what is known of them.
    pub users: UserCounts,
    /// What the filter names, but nothing is known of.
    pub not_known: NotKnown,
    /// What cannot be looked up now. An older exporter says nothing of it.
    #[serde(default)]
    pub discovery: Discovery,
    /// The part of all users that is this process's, where others have the rest of those that the
    /// filter lets pass.
    #[serde(default)]
    pub shard: Option<ShardInfo>,
}

/// What cannot be looked up now, so that there may be more than is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// Accounts and regions whose networks cannot be.
    pub failing_accounts: usize,
    /// Networks whose users cannot be.
    pub failing_users: usize,
    /// Networks whose SSO limits cannot be.
    pub failing_sso_limits: usize,
}

/// Users by what is known of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCounts {
    /// Read in the last poll.
    pub fresh: usize,
    /// Last known data is served.
    pub stale: usize,
    /// Nothing is known of them.
    pub missing: usize,
    /// To be asked for, for the first time.
    pub pending: usize,
}

/// What a filter names, but nothing is known of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotKnown {
    /// Networks that are not polled.
    pub network_id: Vec<String>,
    /// Users that are not polled in any of the networks, or not yet.
    pub user_id: Vec<String>,
}

impl UserCounts {
    /// The counts of a network.
    pub fn of(network: &NetworkView, now: Millis) -> UserCounts {
        let [fresh, stale, missing] = network.users_by_freshness(now);
        UserCounts { fresh, stale, missing, pending: pending(network) }
    }
}

/// Users of the poll under way of whom nothing was ever known.
fn pending(network: &NetworkView) -> usize {
    // Whoever is not to be polled any more went when it began.
    network.polls.progress.map_or(0, |poll| poll.total.saturating_sub(network.users.len()))
}

/// Whether it is not even known who the users are.
fn is_unsettled(network: &NetworkView) -> bool {
    let failed = network.polls.last.is_none_or(|last| last.result == PollResult::Failure);
    !network.is_known() || (network.users.is_empty() && failed)
}

impl Scope {
    pub(super) fn of(snapshot: &Snapshot, now: Millis, filter: &Filter) -> Scope {
        let mut scope = Scope::default();
        let mut unknown = filter.users.clone();
        for network in snapshot.networks.iter().filter(|network| filter.network(network)) {
            scope.networks += 1;
            scope.unsettled += usize::from(is_unsettled(network));
            let (discovery, lookups) = (&mut scope.discovery, &network.lookups);
            discovery.failing_users += usize::from(lookups.users.failure.is_some());
            discovery.failing_sso_limits += usize::from(lookups.limits_failure().is_some());
            // Who is still to be asked for may be anybody.
            scope.users.pending += pending(network);
            for user in network.users.iter().filter(|user| filter.user(user)) {
                let counts =
                    [&mut scope.users.fresh, &mut scope.users.stale, &mut scope.users.missing];
                *counts[network.freshness_of(user, now) as usize] += 1;
                unknown.retain(|id| *id != user.id);
            }
        }
        // Whoever names networks does not ask for others.
        if filter.networks.is_empty() {
            let failing = |account: &&Account| account.lookup.failure.is_some();
            scope.discovery.failing_accounts = snapshot.accounts.iter().filter(failing).count();
        }
        // The same id may be somebody else in another network, and fall to another part.
        let named = !filter.users.is_empty() && filter.networks.len() == 1;
        scope.shard = snapshot.shard.filter(|_| !named);
        let is_there =
            |id: &NetworkId| snapshot.networks.iter().any(|network| network.identity.id == *id);
        scope.not_known = NotKnown {
            network_id: filter.networks.iter().filter(|id| !is_there(id)).map(text).collect(),
            user_id: unknown.iter().map(text).collect(),
        };
        scope
    }

    /// Whether there is data, fresh or stale, of every user that the filter lets pass, so that the
    /// list is all that there is: of no list is that said where another process has a part of it,
    /// or where it cannot be found out who else there is.
    pub fn is_complete(&self) -> bool {
        self.shard.is_none() && self.is_read()
    }

    /// Likewise, but of this process's part of the users.
    pub fn is_read(&self) -> bool {
        let UserCounts { missing, pending, .. } = self.users;
        self.networks > 0
            && self.unsettled == 0
            && missing == 0
            && pending == 0
            && self.discovery.failing_accounts == 0
            && self.discovery.failing_users == 0
            && self.not_known == NotKnown::default()
    }

    /// Why the list may not be all that there is, or not be fresh, in words.
    pub fn notes(&self) -> Vec<String> {
        let UserCounts { stale, missing, pending, .. } = self.users;
        let mut notes = Vec::new();
        if let Some(part) = self.shard {
            notes.push(format!("{} The rest is to be asked of the others.", part.description()));
        }
        notes.extend(self.discovery.notes());
        let NotKnown { network_id, user_id } = &self.not_known;
        for (ids, what) in [(network_id, "network"), (user_id, "user")] {
            if !ids.is_empty() {
                let ids = ids.join(", ");
                notes.push(format!(
                    "Nothing is known of {what} {ids}: not polled here, or not yet."
                ));
            }
        }
        if self.networks == 0 && network_id.is_empty() {
            notes.push("No network is known.".into());
        }
        if self.unsettled > 0 {
            let networks = counted(self.unsettled, "network has", "networks have");
            notes.push(format!("{networks} users that were not found out or not asked for yet."));
        }
        if missing > 0 {
            let users = counted(missing, "user", "users");
            notes.push(format!("Devices are missing: there is no data of {users}."));
        }
        if pending > 0 {
            let users = counted(pending, "user is", "users are");
            notes.push(format!(
                "Devices may be missing: {users} still to be read for the first time."
            ));
        }
        if stale > 0 {
            let users = counted(stale, "user", "users");
            notes.push(format!(
                "The last known devices stand for {users}, marked as stale: the last attempt to \
                 read them failed, or they are from before a restart."
            ));
        }
        notes
    }
}

impl Discovery {
    fn notes(self) -> Vec<String> {
        let Discovery { failing_accounts, failing_users, failing_sso_limits } = self;
        let why = "the log and the status page say why";
        let mut notes = Vec::new();
        if failing_accounts > 0 {
            let places = counted(failing_accounts, "account and region", "accounts and regions");
            notes.push(format!(
                "Networks may be missing: those of {places} cannot be looked up; {why}."
            ));
        }
        if failing_users > 0 {
            let networks = counted(failing_users, "network", "networks");
            notes.push(format!(
                "Users may be missing: those of {networks} cannot be looked up; {why}."
            ));
        }
        if failing_sso_limits > 0 {
            let networks = counted(failing_sso_limits, "network", "networks");
            notes.push(format!(
                "SSO limits may be missing or out of date: those of {networks} cannot be looked \
                 up; {why}."
            ));
        }
        notes
    }
}

fn text(id: impl ToString) -> String {
    id.to_string()
}
