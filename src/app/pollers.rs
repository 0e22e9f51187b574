//! Creates pollers from accounts, limiters, the inventory's registrar and restored state.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{
    accounts::{self, Accounts},
    network_plan::{self, NetworkPlan},
    network_source::NetworkSource,
};
use crate::{
    clock::Clock,
    collectors::{CollectorRef, Discovered, LastLookup},
    config::{self, Config},
    in_place,
    inventory::{
        Account, CollectorRecorder, Publisher, Registrar, ShardInfo, state::RestoredNetwork,
    },
    poll::{self, NetworkPoller},
    telemetry::Metrics,
    wickr::{
        Client, ConcurrencyLimiter, CredentialSource, Interner, Network, NetworkId, NetworkLimiter,
        Operation, SecurityGroupItem,
    },
};

#[derive(Debug)]
pub(super) struct PollerFactory {
    accounts: Accounts,
    limiter: Arc<ConcurrencyLimiter>,
    /// Shared by all collectors, which therefore take as many permits as one more network. None
    /// without collectors.
    collector_limiter: Option<Arc<NetworkLimiter>>,
    registrar: Registrar,
    /// What discovery reads for collectors: the networks of each account, and the security groups of each
    /// network, with its account.
    networks: HashMap<String, Arc<LastLookup<Network>>>,
    groups: HashMap<NetworkId, (String, Arc<LastLookup<SecurityGroupItem>>)>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Notified when a poll ends.
    pub(super) polled: Arc<Notify>,
    /// Restored networks without a poller so far.
    pub(super) restored: HashMap<NetworkId, RestoredNetwork>,
}

impl PollerFactory {
    pub(super) fn new(
        credentials: Option<CredentialSource>,
        labels: Arc<Interner>,
        registrar: Registrar,
        metrics: Arc<Metrics>,
        clock: Clock,
        restored: HashMap<NetworkId, RestoredNetwork>,
    ) -> PollerFactory {
        PollerFactory {
            accounts: Accounts::new(credentials, labels, metrics.clone(), clock.clone()),
            limiter: ConcurrencyLimiter::new(1),
            collector_limiter: None,
            registrar,
            networks: HashMap::new(),
            groups: HashMap::new(),
            metrics,
            clock,
            polled: Arc::default(),
            restored,
        }
    }

    /// Applies the limits of `config` to all networks.
    pub(super) fn set_limits(&mut self, config: &Config) {
        self.limiter.set_limit(config.poll.concurrency);
        self.collector_limiter = match self.collector_limiter.take() {
            _ if config.collectors.enable.is_empty() => None,
            None => Some(Arc::new(self.limiter.open())),
            limiter => limiter,
        };
        if let config::ShardConfig::Of { index, total } = config.shard {
            self.metrics.set_shard(index, total);
            self.registrar.set_shard((total > 1).then_some(ShardInfo { index, total }));
        }
        self.registrar.set_log_changes(config.log_changes);
        self.metrics.show_rates(self.accounts.set_limits(config));
    }

    /// Creates all clients of `config`, so that `poller` and `client` do not fail later.
    pub(super) fn prepare(&mut self, config: &Config) -> Result<(), String> {
        // Each new client parses the CA certificates.
        in_place::run(|| {
            config.networks.iter().try_for_each(|network| self.accounts.client(network).map(drop))
        })
    }

    /// A poller for a network. `publisher` has the data of its previous poller.
    pub(super) fn poller(
        &mut self,
        network: &NetworkPlan,
        publisher: Option<Publisher>,
    ) -> Result<NetworkPoller<NetworkSource>, String> {
        let groups = self.groups(network);
        groups.restart(network.reads_groups());
        let client = self.accounts.client(&network.network)?;
        let plan = poll::Plan {
            identity: network.identity(),
            user_list: network.user_list(),
            source: Arc::new(NetworkSource { client, groups }),
            limiter: Arc::new(self.limiter.open()),
            observer: self.metrics.clone(),
            polled: self.polled.clone(),
            clock: self.clock.clone(),
        };
        let mut publisher = match publisher {
            Some(mut publisher) => {
                publisher.set_identity(network.identity());
                publisher
            }
            None => self.registrar.add(network.identity(), self.restored.remove(&network.id)),
        };
        in_place::for_users(publisher.user_count(), || {
            publisher.set_timezone(network.network.aws.timezone_name());
        });
        Ok(NetworkPoller::new(plan, publisher))
    }

    /// A client and a limiter for the collectors of a network.
    pub(super) fn collector_client(
        &mut self,
        network: &config::NetworkConfig,
    ) -> Result<(Arc<Client>, Arc<NetworkLimiter>), String> {
        let limiter = self.collector_limiter.get_or_insert_with(|| Arc::new(self.limiter.open()));
        Ok((self.accounts.client(network)?, limiter.clone()))
    }

    /// What discovery reads for these collectors of a network.
    pub(super) fn discovered(
        &mut self,
        network: &NetworkPlan,
        collectors: &[CollectorRef],
    ) -> Discovered {
        let mut discovered = Discovered::default();
        if network.is_discovered() {
            discovered.networks = self.networks(&network.network.aws).reader();
        }
        // The settings of many groups take memory, and are kept only with a reader.
        let needs_groups = |collector: &CollectorRef| {
            collector.operations().contains(&Operation::ListSecurityGroups)
        };
        if collectors.iter().any(needs_groups) {
            discovered.groups = self.groups(network).reader();
        }
        discovered
    }

    /// The last list of the networks of an account.
    pub(super) fn networks(&mut self, aws: &config::Aws) -> Arc<LastLookup<Network>> {
        let lookup = self.networks.entry(accounts::key(aws));
        lookup.or_insert_with(|| Arc::new(LastLookup::new(false))).clone()
    }

    /// The last list of the security groups of a network.
    fn groups(&mut self, network: &NetworkPlan) -> Arc<LastLookup<SecurityGroupItem>> {
        let account = accounts::key(&network.network.aws);
        match self.groups.get(&network.id) {
            Some((known, groups)) if *known == account => groups.clone(),
            _ => {
                let groups = Arc::new(LastLookup::new(network.reads_groups()));
                self.groups.insert(network.id.clone(), (account, groups.clone()));
                groups
            }
        }
    }

    /// Forgets what was read for accounts that `config` does not look up, and for networks without a plan.
    pub(super) fn forget_others(
        &mut self,
        config: &Config,
        plans: &BTreeMap<NetworkId, NetworkPlan>,
    ) {
        let looked_up = network_plan::discovered(config);
        let accounts: HashSet<_> =
            looked_up.map(|(_, network)| accounts::key(&network.aws)).collect();
        self.networks.retain(|account, _| accounts.contains(account));
        self.groups.retain(|id, _| plans.contains_key(id));
    }

    /// Adds records of a network's collectors.
    pub(super) fn add_collectors(&mut self, network: &NetworkId) -> CollectorRecorder {
        let restored = self.restored.get_mut(network);
        let restored = restored.map(|network| std::mem::take(&mut network.collectors));
        self.registrar.add_collectors(network.clone(), restored.unwrap_or_default())
    }

    /// A client and a limiter to look up networks.
    pub(super) fn client(
        &mut self,
        network: &config::NetworkConfig,
    ) -> Result<(Arc<Client>, NetworkLimiter), String> {
        Ok((self.accounts.client(network)?, self.limiter.open()))
    }

    /// Publishes the accounts in which networks are looked up.
    pub(super) fn set_accounts(&self, accounts: Vec<Account>) {
        self.registrar.set_accounts(accounts);
    }

    /// Marks the list of networks as complete, and drops the restored data of other networks.
    pub(super) fn settle(&mut self) {
        self.registrar.mark_complete();
        let restored = std::mem::take(&mut self.restored);
        let users = restored.values().map(|network| network.users.len()).sum();
        in_place::for_users(users, || drop(restored));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{inventory, wickr::NetworkDetails};

    fn factory() -> PollerFactory {
        PollerFactory::new(
            None,
            Arc::default(),
            inventory::open().0,
            Arc::new(Metrics::new().unwrap()),
            Clock::system(),
            HashMap::new(),
        )
    }

    #[test]
    fn keeps_security_groups_only_for_collectors_that_need_them() {
        let network = "[[network]]\nid = \"12345678\"\nusers = [\"1\"]\n";
        let config = config::parse(network, "test").unwrap();
        let plans = network_plan::plans(&config, &Default::default());
        let (mut factory, plan) = (factory(), plans.values().next().unwrap());
        let mut is_read = |collectors: &[&str]| {
            let collectors: Vec<_> = collectors.iter().map(|name| name.parse().unwrap()).collect();
            let _discovered = factory.discovered(plan, &collectors);
            factory.groups(plan).is_read()
        };
        assert!(!is_read(&["network", "sso"]));
        assert!(is_read(&["network", "security-groups"]));
        assert!(!is_read(&[]));
    }

    #[test]
    fn forgets_lookups_of_removed_accounts_and_networks() {
        let config = |regions: &[&str]| {
            let network = |region: &&str| {
                format!("[[network]]\nid = \"all\"\nusers = \"all\"\naws.region = \"{region}\"\n")
            };
            config::parse(&regions.iter().map(network).collect::<String>(), "test").unwrap()
        };
        let mut factory = factory();
        let mut read = |regions: &[&str], found: &[(usize, &str)]| {
            let config = config(regions);
            for (_, network) in network_plan::discovered(&config) {
                factory.networks(&network.aws);
            }
            let network = |id: &str| Network {
                id: id.parse().unwrap(),
                name: None,
                details: NetworkDetails::default(),
            };
            let found = found.iter().map(|(index, id)| (*index, vec![network(id)])).collect();
            let plans = network_plan::plans(&config, &found);
            for plan in plans.values() {
                factory.groups(plan);
            }
            factory.forget_others(&config, &plans);
            (factory.networks.len(), factory.groups.len())
        };
        let both = ["us-east-1", "eu-central-1"];
        assert_eq!(read(&both, &[(0, "12345678"), (1, "23456789")]), (2, 2));
        assert_eq!(read(&both, &[(0, "12345678")]), (2, 1), "an account without networks stays");
        assert_eq!(read(&both[..1], &[(0, "12345678")]), (1, 1));
    }
}
