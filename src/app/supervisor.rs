//! Runs a poller for each network. Discovery and reloads start and stop pollers; a poller whose plan
//! is unchanged continues.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    AppError, accounts,
    collecting::CollectorTasks,
    network_plan::{self, NetworkPlan, NetworksByEntry},
    notify::{Manager, Responder},
    once,
    pollers::PollerFactory,
    resolve, shown,
};
use crate::{
    config::{Config, ListenAddress},
    inventory::{Account, Lookup, Publisher},
    lifecycle::{ReloadRequests, ReloadResult},
    poll::DiscoveryObserver,
    web::{AccessControl, DisplaySettings, WebConfig},
    wickr::{Error, ErrorKind, Network, NetworkDetails, NetworkId, Operation},
};

/// Delay after a failed lookup, if the interval is not shorter.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The result of looking up the networks of an `id = "all"` entry.
struct NetworksLookup {
    generation: u64,
    /// Index of the entry in the configuration.
    index: usize,
    networks: Result<(Vec<Network>, usize), Error>,
}

/// A validated configuration that is not in use yet.
struct Loaded {
    config: Config,
    web_config: Option<WebConfig>,
}

struct RunningPoller {
    plan: NetworkPlan,
    stop: CancellationToken,
    task: Id,
}

pub(super) struct Supervisor {
    factory: PollerFactory,
    config: Config,
    /// The configuration file, if the configuration can be reloaded.
    file: Option<PathBuf>,
    shown: Arc<ArcSwap<DisplaySettings>>,
    /// Reloaded together with the configuration.
    access: Option<Arc<AccessControl>>,
    /// `web.listen` and `state.path` at the start; changes require a restart.
    fixed: (Vec<ListenAddress>, Option<PathBuf>),
    running: BTreeMap<NetworkId, RunningPoller>,
    collectors: CollectorTasks,
    pollers: JoinSet<(NetworkId, Publisher)>,
    /// Networks of each `id = "all"` entry.
    found: NetworksByEntry,
    /// Results of the lookups, by index of the entry.
    lookups: BTreeMap<usize, Lookup>,
    /// Entries without networks whose first lookup has not ended.
    pending: BTreeSet<usize>,
    discoverers: JoinSet<()>,
    discoveries: (mpsc::Sender<NetworksLookup>, mpsc::Receiver<NetworksLookup>),
    /// Incremented at each reload. Discoveries of earlier generations are ignored.
    generation: u64,
}

impl Supervisor {
    pub(super) fn new(
        factory: PollerFactory,
        config: Config,
        file: Option<PathBuf>,
        shown: Arc<ArcSwap<DisplaySettings>>,
    ) -> Supervisor {
        Supervisor {
            factory,
            fixed: (config.web.listen.clone(), config.state.clone()),
            config,
            file,
            shown,
            access: None,
            running: BTreeMap::new(),
            collectors: CollectorTasks::default(),
            pollers: JoinSet::new(),
            found: NetworksByEntry::new(),
            lookups: BTreeMap::new(),
            pending: BTreeSet::new(),
            discoverers: JoinSet::new(),
            discoveries: mpsc::channel(16),
            generation: 0,
        }
    }

    /// Sets the access control to reload together with the configuration.
    pub(super) fn set_access(&mut self, access: Arc<AccessControl>) {
        self.access = Some(access);
    }

    /// Starts the pollers. Restored networks of an account count as discovered.
    ///
    /// # Errors
    ///
    /// Setup failed.
    pub(super) async fn start(&mut self) -> Result<(), AppError> {
        let restored = &self.factory.restored;
        for (index, network) in network_plan::discovered(&self.config) {
            let account = accounts::key(&network.aws);
            let in_account = restored.iter().filter(|(_, network)| network.account == account);
            let networks: Vec<_> = in_account
                .map(|(id, network)| Network {
                    id: id.clone(),
                    name: Some(network.name.clone()).filter(|name| !name.is_empty()),
                    details: NetworkDetails::default(),
                })
                .collect();
            if !networks.is_empty() {
                self.found.insert(index, networks);
            }
        }
        self.apply_config().await
    }

    /// Runs until `stop`, or until a task fails.
    pub(super) async fn run(
        mut self,
        mut requests: ReloadRequests,
        (manager, mut responder): (Manager, Responder),
        stop: CancellationToken,
    ) -> Result<(), AppError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(discovery) = self.discoveries.1.recv() => self.apply(discovery).await?,
                Some(()) = responder.respond() => {}
                Some(request) = requests.next() => {
                    manager.reloading().await;
                    // Loading changes nothing, so it can be cancelled.
                    let loaded = responder.during(stop.run_until_cancelled(self.load())).await;
                    let Some(loaded) = loaded else { break };
                    let reloaded = self.reload(loaded).await?;
                    manager.reloaded(reloaded.is_ok()).await;
                    request.answer(reloaded);
                }
                Some(ended) = self.pollers.join_next() => {
                    return Err(poller_ended(ended.map(|(id, _)| id)));
                }
                Some(error) = self.collectors.next_end() => return Err(error),
                Some(Err(error)) = self.discoverers.join_next() => {
                    return Err(AppError::TaskEnded(format!("network discovery ({error})")));
                }
            }
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
        while let Some(ended) = self.pollers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "poller failed");
            }
        }
        self.discoverers.shutdown().await;
        self.collectors.shutdown().await;
        Ok(())
    }

    /// Applies limits, and restarts discovery and changed pollers.
    async fn apply_config(&mut self) -> Result<(), AppError> {
        self.generation += 1;
        self.factory.set_limits(&self.config);
        self.discoverers.shutdown().await;
        let entries: BTreeMap<_, _> = network_plan::discovered(&self.config)
            .map(|(index, network)| (index, network.clone()))
            .collect();
        self.lookups.retain(|index, _| entries.contains_key(index));
        self.found.retain(|index, _| entries.contains_key(index));
        self.pending =
            entries.keys().copied().filter(|index| !self.found.contains_key(index)).collect();
        for (index, network) in entries {
            let (client, limiter) = self.factory.client(&network).map_err(AppError::Setup)?;
            let (sender, generation) = (self.discoveries.0.clone(), self.generation);
            let interval = self.config.discovery.interval;
            let last = self.factory.networks(&network.aws);
            last.restart(true);
            self.discoverers.spawn(async move {
                loop {
                    let networks = client.networks(&limiter).await;
                    last.set(networks.as_ref().map(|(networks, _)| &networks[..]));
                    let delay = if networks.is_ok() { interval } else { interval.min(RETRY_DELAY) };
                    if sender.send(NetworksLookup { generation, index, networks }).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(delay).await;
                }
            });
        }
        self.reconcile().await
    }

    /// Applies the result of a lookup.
    async fn apply(&mut self, discovery: NetworksLookup) -> Result<(), AppError> {
        let NetworksLookup { generation, index, networks } = discovery;
        if generation != self.generation {
            return Ok(());
        }
        let lookup = self.lookups.entry(index).or_default();
        lookup.record(once::attempt(&networks), self.factory.clock.moment());
        match networks {
            Ok((mut networks, unusable)) => {
                tracing::info!(networks = networks.len(), "discovered networks");
                if unusable > 0 {
                    let kind = ErrorKind::InvalidResponse;
                    self.factory.metrics.discovery_failed(Operation::ListNetworks, kind);
                    tracing::warn!(unusable, "networks without a usable networkId are not polled");
                    // An unusable entry can be one of the previous networks, so these stay.
                    let previous = self.found.remove(&index).unwrap_or_default();
                    let gone: Vec<_> = previous
                        .into_iter()
                        .filter(|old| networks.iter().all(|new| new.id != old.id))
                        .collect();
                    networks.extend(gone);
                }
                self.found.insert(index, networks);
            }
            Err(error) => {
                self.factory.metrics.discovery_failed(Operation::ListNetworks, error.kind);
                tracing::warn!(
                    operation = Operation::ListNetworks.as_str(),
                    %error,
                    remedy = error.remedy(),
                    "discovery failed; the last result stays in use"
                );
            }
        }
        self.pending.remove(&index);
        self.reconcile().await
    }

    /// Starts and stops pollers so that they match the plans.
    async fn reconcile(&mut self) -> Result<(), AppError> {
        let mut plans = network_plan::plans(&self.config, &self.found);
        self.factory.forget_others(&self.config, &plans);
        self.collectors.reconcile(&plans, &self.config, &mut self.factory).await?;
        let running: Vec<NetworkId> = self.running.keys().cloned().collect();
        for id in running {
            match (self.running.get(&id), plans.get(&id)) {
                (Some(running), Some(plan)) if running.plan == *plan => {
                    plans.remove(&id);
                }
                // A changed network keeps its data; a removed one loses it.
                _ => {
                    let publisher = self.stop(&id).await?;
                    match plans.remove(&id) {
                        Some(plan) => self.poll(plan, publisher)?,
                        None => {
                            if let Some(publisher) = &publisher {
                                publisher.withdraw();
                            }
                            // Freeing the data of a million users must not block the supervisor.
                            tokio::task::spawn_blocking(move || drop(publisher));
                        }
                    }
                }
            }
        }
        for plan in plans.into_values() {
            self.poll(plan, None)?;
        }
        self.factory.set_accounts(self.accounts());
        if self.pending.is_empty() {
            self.factory.settle();
        }
        Ok(())
    }

    /// The accounts in which networks are looked up, with the results.
    fn accounts(&self) -> Vec<Account> {
        let accounts = network_plan::discovered(&self.config).map(|(index, network)| Account {
            region: network.aws.region.clone().unwrap_or_default(),
            known: self.found.contains_key(&index),
            lookup: self.lookups.get(&index).copied().unwrap_or_default(),
        });
        accounts.collect()
    }

    /// Starts a poller.
    fn poll(&mut self, plan: NetworkPlan, publisher: Option<Publisher>) -> Result<(), AppError> {
        let poller = self.factory.poller(&plan, publisher).map_err(AppError::Setup)?;
        let stop = CancellationToken::new();
        let (id, stopped) = (plan.id.clone(), stop.clone());
        let task = self.pollers.spawn(async move { (id, poller.run(stopped).await) }).id();
        self.running.insert(plan.id.clone(), RunningPoller { plan, stop, task });
        Ok(())
    }

    /// Stops a poller and returns its data.
    async fn stop(&mut self, id: &NetworkId) -> Result<Option<Publisher>, AppError> {
        let Some(running) = self.running.remove(id) else { return Ok(None) };
        running.stop.cancel();
        match self.pollers.join_next_with_id().await {
            Some(Ok((task, (_, publisher)))) if task == running.task => Ok(Some(publisher)),
            Some(ended) => Err(poller_ended(ended.map(|(_, (id, _))| id))),
            None => Ok(None),
        }
    }

    /// Loads and validates the configuration without applying it.
    async fn load(&self) -> Result<Loaded, String> {
        let file = self.file.as_ref().ok_or("there is no configuration file to reload")?;
        let web_config = match &self.access {
            Some(access) => access.prepare().await,
            None => Ok(None),
        };
        match (resolve::load(file).await, web_config) {
            (Ok(config), Ok(web_config)) => Ok(Loaded { config, web_config }),
            (Err(problems), Err(more)) => Err(format!("{problems}\n{more}")),
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
        }
    }

    /// Applies a loaded configuration. An invalid one changes nothing.
    async fn reload(&mut self, loaded: Result<Loaded, String>) -> Result<ReloadResult, AppError> {
        // Creating clients is the last step that can fail.
        let loaded = loaded.and_then(|new| self.factory.prepare(&new.config).map(|()| new));
        let now = self.factory.clock.now();
        self.factory.metrics.config_loaded(loaded.is_ok(), now);
        let config = match loaded {
            Ok(Loaded { config, web_config }) => {
                if let (Some(access), Some(web_config)) = (&self.access, web_config) {
                    access.reload(web_config, &self.factory.clock);
                }
                config
            }
            Err(problems) => {
                tracing::error!(problems, "reload failed; the previous configuration stays in use");
                return Ok(Err(problems));
            }
        };
        if (&config.web.listen, &config.state) != (&self.fixed.0, &self.fixed.1) {
            tracing::warn!("changes of web.listen and state.path require a restart");
        }
        let previous = std::mem::replace(&mut self.config, config);
        self.carry_over(&previous);
        self.shown.store(Arc::new(shown(&self.config)));
        self.apply_config().await?;
        tracing::info!(networks = self.config.networks.len(), "configuration reloaded");
        Ok(Ok(()))
    }

    /// Moves discovered networks to the new index of their entry. For a new entry, the networks that are
    /// polled in its account count as discovered, so that their data stays until the first lookup.
    fn carry_over(&mut self, previous: &Config) {
        let (mut found, mut lookups) = (NetworksByEntry::new(), BTreeMap::new());
        for (index, network) in network_plan::discovered(&self.config) {
            let account = accounts::key(&network.aws);
            let old_index = network_plan::discovered(previous)
                .find(|(_, network)| accounts::key(&network.aws) == account)
                .map(|(index, _)| index);
            let old_networks = old_index.and_then(|index| self.found.get(&index));
            let networks = old_networks.cloned().unwrap_or_else(|| self.polled_in(&account));
            if old_networks.is_some() || !networks.is_empty() {
                found.insert(index, networks);
            }
            if let Some(lookup) = old_index.and_then(|index| self.lookups.get(&index)) {
                lookups.insert(index, *lookup);
            }
        }
        (self.found, self.lookups) = (found, lookups);
    }

    /// The networks that are polled in an account.
    fn polled_in(&self, account: &str) -> Vec<Network> {
        let plans = self.running.values().map(|running| &running.plan);
        plans
            .filter(|plan| accounts::key(&plan.network.aws) == account)
            .map(|plan| Network {
                id: plan.id.clone(),
                name: plan.network.name.clone(),
                details: NetworkDetails::default(),
            })
            .collect()
    }
}

fn poller_ended(ended: Result<NetworkId, JoinError>) -> AppError {
    AppError::TaskEnded(match ended {
        Ok(id) => format!("poller of network {id}"),
        Err(error) => format!("poller ({error})"),
    })
}
