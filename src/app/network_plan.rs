//! Derives the networks to poll from the configuration and the discovered networks.

use std::{collections::BTreeMap, sync::Arc};

use super::{accounts, selector};
use crate::{
    config::{self, Config, FilterConfig, NetworkSelector, SsoMaxIdle, UsersConfig},
    inventory::NetworkIdentity,
    poll::{Shard, SsoLimits, UserFilter, UserListPlan, UserSelector, UsernameMatcher},
    wickr::{Network, NetworkId},
};

/// Everything that determines how a network is polled. A poller restarts only if its plan changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NetworkPlan {
    pub(super) id: NetworkId,
    /// The configuration. For a discovered network, its id is `all`.
    pub(super) network: config::NetworkConfig,
    sso: Option<SsoMaxIdle>,
    discovery: config::DiscoveryConfig,
    shard: config::ShardConfig,
    usernames: bool,
}

impl NetworkPlan {
    fn new(id: NetworkId, network: config::NetworkConfig, config: &Config) -> NetworkPlan {
        let Config { sso, discovery, shard, .. } = *config;
        NetworkPlan { id, network, sso, discovery, shard, usernames: config.metrics.username }
    }

    /// Whether discovery found the network.
    pub(super) fn is_discovered(&self) -> bool {
        self.network.id == NetworkSelector::All
    }

    /// Whether discovery reads its security groups.
    pub(super) fn reads_groups(&self) -> bool {
        self.sso == Some(SsoMaxIdle::SecurityGroups)
    }

    pub(super) fn identity(&self) -> NetworkIdentity {
        NetworkIdentity {
            id: self.id.clone(),
            name: self.network.name.clone().unwrap_or_default(),
            region: self.network.aws.region.clone().unwrap_or_default(),
            account: accounts::key(&self.network.aws),
            interval: self.network.poll.interval,
            stale_after: self.network.poll.stale_after,
        }
    }

    pub(super) fn user_list(&self) -> UserListPlan {
        UserListPlan {
            users: match &self.network.users {
                UsersConfig::Listed(users) => UserSelector::Listed(users.clone()),
                UsersConfig::All(filter) => UserSelector::All(user_filter(filter)),
            },
            shard: match self.shard {
                config::ShardConfig::Of { index, total } => Shard { index, total },
                // Does not occur: `resolve_environment` replaces it.
                config::ShardConfig::Auto => Shard::default(),
            },
            sso: match self.sso {
                None => SsoLimits::Off,
                Some(SsoMaxIdle::Fixed(limit)) => SsoLimits::Fixed(limit),
                Some(SsoMaxIdle::SecurityGroups) => SsoLimits::Groups,
            },
            usernames: self.usernames,
            refresh: self.discovery.interval,
            selector_id: selector::id(&self.network.users, self.shard),
        }
    }
}

fn user_filter(filter: &FilterConfig) -> UserFilter {
    UserFilter {
        status: filter.status.map(config::UserStatus::as_number),
        groups: filter.groups.clone(),
        username: filter
            .username
            .clone()
            .map(|pattern| UsernameMatcher(Arc::new(move |name: &str| pattern.is_match(name)))),
    }
}

/// The networks discovered for each `id = "all"`, by its index in the configuration.
pub(super) type NetworksByEntry = BTreeMap<usize, Vec<Network>>;

/// The entries with `id = "all"`, with their index.
pub(super) fn discovered(config: &Config) -> impl Iterator<Item = (usize, &config::NetworkConfig)> {
    config.networks.iter().enumerate().filter(|(_, network)| network.id == NetworkSelector::All)
}

/// The networks to poll: configured networks, and discovered networks with other ids.
pub(super) fn plans(config: &Config, found: &NetworksByEntry) -> BTreeMap<NetworkId, NetworkPlan> {
    let mut plans = BTreeMap::new();
    for network in &config.networks {
        if let NetworkSelector::One(id) = &network.id {
            plans.insert(id.clone(), NetworkPlan::new(id.clone(), network.clone(), config));
        }
    }
    for (index, networks) in found {
        let Some(entry) = config.networks.get(*index) else { continue };
        for Network { id, name, .. } in networks {
            match plans.get(id) {
                None => {
                    let network = config::NetworkConfig { name: name.clone(), ..entry.clone() };
                    plans.insert(id.clone(), NetworkPlan::new(id.clone(), network, config));
                }
                Some(other) if other.network.id == NetworkSelector::All => {
                    tracing::warn!(network_id = %id, "network found in several accounts, polled in the first");
                }
                Some(_) => {}
            }
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::NetworkDetails;

    fn parsed(text: &str) -> Config {
        config::parse(text, "test").unwrap()
    }

    #[test]
    fn configured_networks_override_discovered_ones() {
        let config = parsed(
            "[[network]]\nid = \"all\"\nusers = \"all\"\n\
             [[network]]\nid = \"12345678\"\nname = \"mine\"\nusers = [\"1\"]\n",
        );
        let network = |id: &str| Network {
            id: id.parse().unwrap(),
            name: Some(format!("found {id}")),
            details: NetworkDetails::default(),
        };
        let found = NetworksByEntry::from([(0, vec![network("12345678"), network("87654321")])]);
        let plans = plans(&config, &found);
        let names: Vec<_> =
            plans.values().map(|plan| (plan.id.as_str(), plan.identity().name)).collect();
        assert_eq!(
            names,
            [("12345678", "mine".to_owned()), ("87654321", "found 87654321".to_owned())]
        );
        assert_eq!(discovered(&config).map(|(index, _)| index).collect::<Vec<_>>(), [0]);
    }
}
