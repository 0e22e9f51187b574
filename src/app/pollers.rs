//! What pollers are made of: accounts, lanes, the inventory's keeper, and what an earlier process
//! left.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Notify;

use super::{accounts::Accounts, network_plan::NetworkPlan};
use crate::{
    clock::Clock,
    config::{self, Config},
    inventory::{Account, Publisher, Registrar, ShardInfo, state::RestoredNetwork},
    poll::{self, NetworkPoller},
    telemetry::Metrics,
    wickr::{Client, ConcurrencyLimiter, CredentialSource, Interner, NetworkId, NetworkLimiter},
};

/// Makes pollers.
#[derive(Debug)]
pub(super) struct PollerFactory {
    accounts: Accounts,
    lanes: Arc<ConcurrencyLimiter>,
    keeper: Registrar,
    metrics: Arc<Metrics>,
    clock: Clock,
    polled: Arc<Notify>,
    restored: HashMap<NetworkId, RestoredNetwork>,
}

impl PollerFactory {
    pub(super) fn new(
        credentials: Option<CredentialSource>,
        labels: Arc<Interner>,
        keeper: Registrar,
        metrics: Arc<Metrics>,
        clock: Clock,
        restored: HashMap<NetworkId, RestoredNetwork>,
    ) -> PollerFactory {
        PollerFactory {
            accounts: Accounts::new(credentials, labels, metrics.clone()),
            lanes: ConcurrencyLimiter::new(1),
            keeper,
            metrics,
            clock,
            polled: Arc::default(),
            restored,
        }
    }

    /// Sets the limits that `config` sets for all networks.
    pub(super) fn adjust(&mut self, config: &Config) {
        self.lanes.set_limit(config.poll.concurrency);
        self.keeper.share(match config.shard {
            config::Shard::Of { index, total } if total > 1 => Some(ShardInfo { index, total }),
            _ => None,
        });
        self.metrics.show_rates(self.accounts.adjust(config));
    }

    /// Makes every client that `config` needs, so that nothing can go wrong later.
    pub(super) fn prepare(&mut self, config: &Config) -> Result<(), String> {
        config.networks.iter().try_for_each(|network| self.accounts.client(network).map(drop))
    }

    /// A poller of a network. `publisher` has what is known of it, if it was polled before.
    pub(super) fn poller(
        &mut self,
        spec: &NetworkPlan,
        publisher: Option<Publisher>,
    ) -> Result<NetworkPoller<Client>, String> {
        let plan = poll::Plan {
            identity: spec.identity(),
            user_list: spec.user_list(),
            source: self.accounts.client(&spec.network)?,
            limiter: Arc::new(self.lanes.open()),
            observer: self.metrics.clone(),
            polled: self.polled.clone(),
            clock: self.clock.clone(),
        };
        let publisher = match publisher {
            Some(mut publisher) => {
                publisher.rename(spec.identity());
                publisher
            }
            None => self.keeper.add(spec.identity(), self.restored.remove(&spec.id)),
        };
        Ok(NetworkPoller::new(plan, publisher))
    }

    /// A client and a lane to look up networks with.
    pub(super) fn finder(
        &mut self,
        network: &config::Network,
    ) -> Result<(Arc<Client>, NetworkLimiter), String> {
        Ok((self.accounts.client(network)?, self.lanes.open()))
    }

    /// Tells where networks are looked up, and how that goes.
    pub(super) fn looked_up(&self, accounts: Vec<Account>) {
        self.keeper.looked_up(accounts);
    }

    /// All networks are there that there are for now. What an earlier process knew of others is of no
    /// use any more.
    pub(super) fn settle(&mut self) {
        self.keeper.settle();
        self.restored = HashMap::new();
    }

    /// Told whenever a poll has ended.
    pub(super) fn polled(&self) -> Arc<Notify> {
        self.polled.clone()
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Networks that an earlier process knew.
    pub(super) fn restored(&self) -> &HashMap<NetworkId, RestoredNetwork> {
        &self.restored
    }
}
