//! Creates pollers from accounts, limiters, the inventory's registrar and restored state.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Notify;

use super::{accounts::Accounts, network_plan::NetworkPlan};
use crate::{
    clock::Clock,
    config::{self, Config},
    inventory::{
        Account, CollectorRecorder, Publisher, Registrar, ShardInfo, state::RestoredNetwork,
    },
    poll::{self, NetworkPoller},
    telemetry::Metrics,
    wickr::{Client, ConcurrencyLimiter, CredentialSource, Interner, NetworkId, NetworkLimiter},
};

#[derive(Debug)]
pub(super) struct PollerFactory {
    accounts: Accounts,
    limiter: Arc<ConcurrencyLimiter>,
    /// Shared by all collectors, which therefore take as many permits as one more network. None
    /// without collectors.
    collector_limiter: Option<Arc<NetworkLimiter>>,
    registrar: Registrar,
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
        config.networks.iter().try_for_each(|network| self.accounts.client(network).map(drop))
    }

    /// A poller for a network. `publisher` has the data of its previous poller.
    pub(super) fn poller(
        &mut self,
        network: &NetworkPlan,
        publisher: Option<Publisher>,
    ) -> Result<NetworkPoller<Client>, String> {
        let plan = poll::Plan {
            identity: network.identity(),
            user_list: network.user_list(),
            source: self.accounts.client(&network.network)?,
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
        publisher.set_timezone(network.network.aws.timezone_name());
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
        self.restored = HashMap::new();
    }
}
