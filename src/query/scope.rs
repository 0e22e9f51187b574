//! The networks and users behind a list of devices, and whether the list is complete.

use serde::{Deserialize, Serialize};

use super::Filter;
use crate::{
    clock::Moment,
    inventory::{Account, NetworkView, PollResult, ShardInfo, Snapshot},
    text::counted,
    wickr::{NetworkId, UserId},
};

/// The networks and users that a filter matches, and the state of their data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The number of networks.
    pub networks: usize,
    /// Networks whose users are unknown: the first poll has not ended, or the users could not be
    /// looked up.
    #[serde(rename = "unsettled_networks")]
    pub unsettled: usize,
    /// Users by the state of their data.
    pub users: UserCounts,
    /// Ids in the filter without data.
    pub not_known: NotKnown,
    /// Failing lookups. Absent from older exporters.
    #[serde(default)]
    pub discovery: DiscoveryState,
    /// This process's shard, if other shards can have users that the filter matches.
    #[serde(default)]
    pub shard: Option<ShardInfo>,
}

/// Failing lookups: more networks or users can exist than are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryState {
    /// Accounts and regions whose networks cannot be looked up.
    pub failing_accounts: usize,
    /// Networks whose users cannot be looked up.
    pub failing_users: usize,
    /// Networks whose SSO limits cannot be looked up.
    pub failing_sso_limits: usize,
}

/// Users by the state of their data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCounts {
    /// Read in the last poll.
    pub fresh: usize,
    /// With last known data.
    pub stale: usize,
    /// Without data.
    pub missing: usize,
    /// Not read yet.
    pub pending: usize,
}

/// Ids in a filter without data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotKnown {
    /// Networks that are not polled.
    pub network_id: Vec<String>,
    /// Users that are not polled in any of the networks, or have not been polled yet.
    pub user_id: Vec<String>,
}

impl UserCounts {
    /// Counts the users of a network.
    pub fn of(network: &NetworkView, now: Moment) -> UserCounts {
        let [fresh, stale, missing] = network.users_by_freshness(now);
        UserCounts { fresh, stale, missing, pending: pending(network) }
    }
}

/// Users of the current poll without a record.
fn pending(network: &NetworkView) -> usize {
    // The start of the poll removed all users that it does not poll.
    network.polls.progress.map_or(0, |poll| poll.total.saturating_sub(network.users.len()))
}

fn is_unsettled(network: &NetworkView) -> bool {
    let failed = network.polls.last.is_none_or(|last| last.result == PollResult::Failure);
    !network.is_known() || (network.users.is_empty() && failed)
}

impl Scope {
    pub(super) fn of(snapshot: &Snapshot, now: Moment, filter: &Filter) -> Scope {
        let mut scope = Scope::default();
        let mut unknown = filter.users.clone();
        for network in snapshot.networks.iter().filter(|network| filter.matches_network(network)) {
            scope.networks += 1;
            scope.unsettled += usize::from(is_unsettled(network));
            let (discovery, lookups) = (&mut scope.discovery, &network.lookups);
            discovery.failing_users += usize::from(lookups.users.failure.is_some());
            discovery.failing_sso_limits += usize::from(lookups.limits_failure().is_some());
            // A pending user has no record to compare with the filter.
            scope.users.pending += pending(network);
            for user in network.users.iter().filter(|user| filter.matches_user(user)) {
                let counts =
                    [&mut scope.users.fresh, &mut scope.users.stale, &mut scope.users.missing];
                *counts[network.freshness_of(user, now) as usize] += 1;
                unknown.retain(|id| *id != user.id);
            }
        }
        // A filter by network excludes networks that are not known.
        if filter.networks.is_empty() {
            let failing = |account: &&Account| account.lookup.failure.is_some();
            scope.discovery.failing_accounts = snapshot.accounts.iter().filter(failing).count();
        }
        // Users of one network are reported as unknown instead. In several networks, the same id
        // can belong to different users and shards.
        let selects_users = !filter.users.is_empty() && filter.networks.len() == 1;
        scope.shard = snapshot.shard.filter(|_| !selects_users);
        let is_known =
            |id: &NetworkId| snapshot.networks.iter().any(|network| network.identity.id == *id);
        scope.not_known = NotKnown {
            network_id: filter
                .networks
                .iter()
                .filter(|id| !is_known(id))
                .map(NetworkId::to_string)
                .collect(),
            user_id: unknown.iter().map(UserId::to_string).collect(),
        };
        scope
    }

    /// Whether there is data, fresh or stale, for every user that the filter matches, and no other
    /// shard or failing lookup can add users.
    pub fn is_complete(&self) -> bool {
        self.shard.is_none() && self.is_read()
    }

    /// Like [`is_complete`](Self::is_complete), for this shard only.
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

    /// Sentences on why the list can be incomplete or stale.
    pub fn notes(&self) -> Vec<String> {
        let UserCounts { stale, missing, pending, .. } = self.users;
        let mut notes = Vec::new();
        if let Some(part) = self.shard {
            notes.push(format!("{} Other shards have the rest.", part.description()));
        }
        notes.extend(self.discovery.notes());
        let NotKnown { network_id, user_id } = &self.not_known;
        for (ids, what) in [(network_id, "network"), (user_id, "user")] {
            if !ids.is_empty() {
                let ids = ids.join(", ");
                notes.push(format!("No data for {what} {ids}: not polled here, or not yet."));
            }
        }
        if self.networks == 0 && network_id.is_empty() {
            notes.push("No network is known.".into());
        }
        if self.unsettled > 0 {
            let networks = counted(self.unsettled, "network", "networks");
            notes.push(format!("The users of {networks} are not known yet."));
        }
        if missing > 0 {
            let users = counted(missing, "user", "users");
            notes.push(format!("Devices are missing: no data for {users}."));
        }
        if pending > 0 {
            let users = counted(pending, "user has", "users have");
            notes.push(format!("Devices may be missing: {users} not been read yet."));
        }
        if stale > 0 {
            let users = counted(stale, "user", "users");
            notes.push(format!(
                "The data of {users} is stale: the last read failed, or the data is from before a \
                 restart."
            ));
        }
        notes
    }
}

impl DiscoveryState {
    fn notes(self) -> Vec<String> {
        let DiscoveryState { failing_accounts, failing_users, failing_sso_limits } = self;
        let hint = "see the log or the status page";
        let mut notes = Vec::new();
        if failing_accounts > 0 {
            let accounts = counted(failing_accounts, "account and region", "accounts and regions");
            notes
                .push(format!("Networks may be missing: the lookup for {accounts} fails; {hint}."));
        }
        if failing_users > 0 {
            let networks = counted(failing_users, "network", "networks");
            notes.push(format!("Users may be missing: the lookup for {networks} fails; {hint}."));
        }
        if failing_sso_limits > 0 {
            let networks = counted(failing_sso_limits, "network", "networks");
            notes.push(format!(
                "SSO limits may be missing or out of date: the lookup for {networks} fails; {hint}."
            ));
        }
        notes
    }
}
