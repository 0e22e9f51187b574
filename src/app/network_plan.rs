//! From the configuration to networks that can be polled: `all` replaced by what was found.

use std::{collections::BTreeMap, sync::Arc};

use super::{accounts, selector};
use crate::{
    config::{self, Config, FilterConfig, NetworkSelector, SsoMaxIdle, UsersConfig},
    inventory::NetworkIdentity,
    poll::{Shard, SsoLimits, UserFilter, UserListPlan, UserSelector, UsernameMatcher},
    wickr::{Network, NetworkId},
};

/// All that decides how one network is polled. Equal ones need no restart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NetworkPlan {
    pub(super) id: NetworkId,
    /// Users, account and times; its id may be `all`, where this network was found.
    pub(super) network: config::Network,
    sso: Option<SsoMaxIdle>,
    discovery: config::Discovery,
    shard: config::Shard,
    usernames: bool,
}

impl NetworkPlan {
    fn new(id: NetworkId, network: config::Network, config: &Config) -> NetworkPlan {
        let Config { sso, discovery, shard, .. } = *config;
        NetworkPlan { id, network, sso, discovery, shard, usernames: config.metrics.username }
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
                UsersConfig::All(filter) => UserSelector::All(pass(filter)),
            },
            shard: match self.shard {
                config::Shard::Of { index, total } => Shard { index, total },
                // Completed configurations have none of it; see `complete`.
                config::Shard::Auto => Shard::default(),
            },
            sso: match self.sso {
                None => SsoLimits::Off,
                Some(SsoMaxIdle::Fixed(limit)) => SsoLimits::Fixed(limit),
                Some(SsoMaxIdle::SecurityGroups) => SsoLimits::Groups,
            },
            usernames: self.usernames,
            refresh: self.discovery.interval,
            selector_id: selector::id(&self.network.users, self.shard),
            former_selector_id: selector::former_id(&self.network.users, self.shard),
        }
    }
}

fn pass(filter: &FilterConfig) -> UserFilter {
    UserFilter {
        status: filter.status.map(config::UserStatus::as_number),
        groups: filter.groups.clone(),
        username: filter
            .username
            .clone()
            .map(|pattern| UsernameMatcher(Arc::new(move |name: &str| pattern.is_match(name)))),
    }
}

/// The networks found for each `id = "all"`, by its place in the configuration.
pub(super) type Found = BTreeMap<usize, Vec<Network>>;

/// The places in the configuration where all networks are to be looked up.
pub(super) fn wholes(config: &Config) -> impl Iterator<Item = (usize, &config::Network)> {
    config.networks.iter().enumerate().filter(|(_, network)| network.id == NetworkSelector::All)
}

/// The networks to poll, by id: those that are written out, and of those found the others.
pub(super) fn specs(config: &Config, found: &Found) -> BTreeMap<NetworkId, NetworkPlan> {
    let mut specs = BTreeMap::new();
    for network in &config.networks {
        if let NetworkSelector::One(id) = &network.id {
            specs.insert(id.clone(), NetworkPlan::new(id.clone(), network.clone(), config));
        }
    }
    for (place, networks) in found {
        let Some(whole) = config.networks.get(*place) else { continue };
        for Network { id, name, .. } in networks {
            match specs.get(id) {
                None => {
                    let network = config::Network { name: name.clone(), ..whole.clone() };
                    specs.insert(id.clone(), NetworkPlan::new(id.clone(), network, config));
                }
                // What is written out wins, and of several accounts the first.
                Some(known) if known.network.id == NetworkSelector::All => {
                    tracing::warn!(network_id = %id, "found in several accounts, polled in the first");
                }
                Some(_) => {}
            }
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        config::parse(text, "test").unwrap()
    }

    #[test]
    fn what_is_written_out_wins_over_what_is_found() {
        let config = parsed(
            "[[network]]\nid = \"all\"\nusers = \"all\"\n\
             [[network]]\nid = \"12345678\"\nname = \"mine\"\nusers = [\"1\"]\n",
        );
        let network = |id: &str| Network {
            id: id.parse().unwrap(),
            name: Some(format!("found {id}")),
            account: None,
        };
        let found = Found::from([(0, vec![network("12345678"), network("87654321")])]);
        let specs = specs(&config, &found);
        let names: Vec<_> =
            specs.values().map(|spec| (spec.id.as_str(), spec.identity().name)).collect();
        assert_eq!(
            names,
            [("12345678", "mine".to_owned()), ("87654321", "found 87654321".to_owned())]
        );
        assert_eq!(wholes(&config).map(|(place, _)| place).collect::<Vec<_>>(), [0]);
    }
}
