//! Keeps as many pollers as there are networks: starts them, stops them, and lets those be that
//! nothing has changed for, whatever is found or loaded anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    AppError, accounts,
    network_plan::{self, Found, NetworkPlan},
    notify::{Beats, Manager},
    once,
    pollers::PollerFactory,
    resolve, shown,
};
use crate::{
    config::{Config, ListenAddress},
    inventory::{Account, Lookup, Publisher},
    lifecycle::{ReloadRequests, ReloadResult},
    poll::Observer,
    web::{AccessControl, Shown, WebConfig},
    wickr::{Client, Error, ErrorKind, Network, NetworkId, NetworkLimiter, Operation},
};

/// What could not be looked up is looked up again after this, or at the interval if that is less.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What a lookup of networks gave, for a place in the configuration of one generation.
struct Find {
    generation: u64,
    place: usize,
    networks: Result<(Vec<Network>, usize), Error>,
}

/// A configuration that was loaded anew, and the web configuration to go with it.
struct Loaded {
    config: Config,
    web_config: Option<WebConfig>,
}

struct Running {
    spec: NetworkPlan,
    stop: CancellationToken,
    task: Id,
}

/// Keeps the pollers.
pub(super) struct Supervisor {
    fleet: PollerFactory,
    config: Config,
    /// The configuration's file, if it can be loaded anew.
    file: Option<PathBuf>,
    shown: Arc<ArcSwap<Shown>>,
    /// Reloaded with the configuration, where there are any.
    access: Option<Arc<AccessControl>>,
    /// What was in force at the start, and stays so.
    fixed: (Vec<ListenAddress>, Option<PathBuf>),
    running: BTreeMap<NetworkId, Running>,
    pollers: JoinSet<(NetworkId, Publisher)>,
    /// Networks found for each `id = "all"`.
    found: Found,
    /// How each of those lookups went, by its place.
    lookups: BTreeMap<usize, Lookup>,
    /// Places of `id = "all"` of whose networks nothing is known yet, not even that they cannot be
    /// looked up.
    unknown: BTreeSet<usize>,
    finders: JoinSet<()>,
    finds: (mpsc::Sender<Find>, mpsc::Receiver<Find>),
    /// Counts the configurations: a find for an earlier one is of no use.
    generation: u64,
}

impl Supervisor {
    pub(super) fn new(
        fleet: PollerFactory,
        config: Config,
        file: Option<PathBuf>,
        shown: Arc<ArcSwap<Shown>>,
    ) -> Supervisor {
        Supervisor {
            fleet,
            fixed: (config.web.listen.clone(), config.state.clone()),
            config,
            file,
            shown,
            access: None,
            running: BTreeMap::new(),
            pollers: JoinSet::new(),
            found: Found::new(),
            lookups: BTreeMap::new(),
            unknown: BTreeSet::new(),
            finders: JoinSet::new(),
            finds: mpsc::channel(16),
            generation: 0,
        }
    }

    /// Reloads this access control with the configuration.
    pub(super) fn set_access(&mut self, access: Arc<AccessControl>) {
        self.access = Some(access);
    }

    /// Starts the pollers. What an earlier process found is taken for found.
    ///
    /// # Errors
    ///
    /// When something on this machine cannot be set up.
    pub(super) async fn start(&mut self) -> Result<(), AppError> {
        let restored = self.fleet.restored();
        for (place, network) in network_plan::wholes(&self.config) {
            let account = accounts::key(&network.aws);
            let of_account = restored.iter().filter(|(_, known)| known.account == account);
            let networks: Vec<_> = of_account
                .map(|(id, known)| Network {
                    id: id.clone(),
                    name: Some(known.name.clone()).filter(|name| !name.is_empty()),
                    account: None,
                })
                .collect();
            if !networks.is_empty() {
                self.found.insert(place, networks);
            }
        }
        self.begin().await
    }

    /// Goes on until `stop`, or until something dies.
    pub(super) async fn run(
        mut self,
        mut requests: ReloadRequests,
        (manager, mut beats): (Manager, Beats),
        stop: CancellationToken,
    ) -> Result<(), AppError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(find) = self.finds.1.recv() => self.learn(find).await?,
                Some(()) = beats.answer() => {}
                Some(request) = requests.next() => {
                    manager.reloading().await;
                    // What is dropped here has changed nothing yet.
                    let loaded = beats.during(stop.run_until_cancelled(self.load())).await;
                    let Some(loaded) = loaded else { break };
                    let reloaded = self.reload(loaded).await?;
                    manager.reloaded(reloaded.is_ok()).await;
                    request.answer(reloaded);
                }
                Some(ended) = self.pollers.join_next() => {
                    return Err(AppError::Died(match ended {
                        Ok((id, _)) => format!("the polling of network {id}"),
                        Err(error) => format!("the polling of a network ({error})"),
                    }));
                }
                Some(Err(error)) = self.finders.join_next() => {
                    return Err(AppError::Died(format!("the lookup of networks ({error})")));
                }
            }
        }
        let running = std::mem::take(&mut self.running);
        for running in running.values() {
            running.stop.cancel();
        }
        while let Some(ended) = self.pollers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the polling of a network ended badly");
            }
        }
        self.finders.shutdown().await;
        Ok(())
    }

    /// Takes the configuration up: limits, lookups, pollers.
    async fn begin(&mut self) -> Result<(), AppError> {
        self.generation += 1;
        self.fleet.adjust(&self.config);
        self.finders.shutdown().await;
        let wholes: Vec<_> = network_plan::wholes(&self.config)
            .map(|(place, network)| (place, network.clone()))
            .collect();
        self.lookups.retain(|place, _| wholes.iter().any(|(whole, _)| whole == place));
        self.found.retain(|place, _| wholes.iter().any(|(whole, _)| whole == place));
        self.unknown = wholes
            .iter()
            .map(|(place, _)| *place)
            .filter(|p| !self.found.contains_key(p))
            .collect();
        for (place, network) in wholes {
            let (client, lane) = self.fleet.finder(&network).map_err(AppError::Setup)?;
            let (sender, generation) = (self.finds.0.clone(), self.generation);
            let interval = self.config.discovery.interval;
            self.finders.spawn(find(client, lane, interval, move |networks| {
                let sender = sender.clone();
                async move { sender.send(Find { generation, place, networks }).await.is_ok() }
            }));
        }
        self.reconcile().await
    }

    /// Takes up what a lookup gave.
    async fn learn(&mut self, find: Find) -> Result<(), AppError> {
        if find.generation != self.generation {
            return Ok(());
        }
        let lookup = self.lookups.entry(find.place).or_default();
        lookup.record(once::attempt(&find.networks), self.fleet.clock().now());
        match find.networks {
            Ok((mut networks, unusable)) => {
                tracing::info!(networks = networks.len(), "looked up networks");
                if unusable > 0 {
                    // It may be one of those that were found before: they stay.
                    let kind = ErrorKind::InvalidResponse;
                    self.fleet.metrics().discovery_failed(Operation::ListNetworks, kind);
                    tracing::warn!(unusable, "networks without a usable networkId are not polled");
                    let former = self.found.remove(&find.place).unwrap_or_default();
                    let gone = |known: &Network| networks.iter().all(|now| now.id != known.id);
                    let former: Vec<_> = former.into_iter().filter(gone).collect();
                    networks.extend(former);
                }
                self.found.insert(find.place, networks);
            }
            Err(error) => {
                self.fleet.metrics().discovery_failed(Operation::ListNetworks, error.kind);
                tracing::warn!(
                    operation = Operation::ListNetworks.as_str(),
                    %error,
                    remedy = error.kind.remedy(),
                    "discovery failed; the last result stays in use"
                );
            }
        }
        self.unknown.remove(&find.place);
        self.reconcile().await
    }

    /// Makes the pollers be those that there should be.
    async fn reconcile(&mut self) -> Result<(), AppError> {
        let mut wanted = network_plan::specs(&self.config, &self.found);
        let now: Vec<NetworkId> = self.running.keys().cloned().collect();
        for id in now {
            match (self.running.get(&id), wanted.get(&id)) {
                (Some(running), Some(spec)) if running.spec == *spec => {
                    wanted.remove(&id);
                }
                // What it knows is kept if it is to be polled in another way, and goes otherwise.
                _ => {
                    let publisher = self.stop(&id).await?;
                    match wanted.remove(&id) {
                        Some(spec) => self.poll(spec, publisher)?,
                        None => drop(publisher.map(Publisher::withdraw)),
                    }
                }
            }
        }
        for spec in wanted.into_values() {
            self.poll(spec, None)?;
        }
        self.fleet.looked_up(self.accounts());
        if self.unknown.is_empty() {
            self.fleet.settle();
        }
        Ok(())
    }

    /// Where networks are looked up, and how that goes.
    fn accounts(&self) -> Vec<Account> {
        let accounts = network_plan::wholes(&self.config).map(|(place, network)| Account {
            region: network.aws.region.clone().unwrap_or_default(),
            known: self.found.contains_key(&place),
            lookup: self.lookups.get(&place).copied().unwrap_or_default(),
        });
        accounts.collect()
    }

    fn poll(&mut self, spec: NetworkPlan, publisher: Option<Publisher>) -> Result<(), AppError> {
        let poller = self.fleet.poller(&spec, publisher).map_err(AppError::Setup)?;
        let stop = CancellationToken::new();
        let (id, stopped) = (spec.id.clone(), stop.clone());
        let task = self.pollers.spawn(async move { (id, poller.run(stopped).await) }).id();
        self.running.insert(spec.id.clone(), Running { spec, stop, task });
        Ok(())
    }

    /// Stops a poller and takes what it knows.
    async fn stop(&mut self, id: &NetworkId) -> Result<Option<Publisher>, AppError> {
        let Some(running) = self.running.remove(id) else { return Ok(None) };
        running.stop.cancel();
        match self.pollers.join_next_with_id().await {
            Some(Ok((task, (_, publisher)))) if task == running.task => Ok(Some(publisher)),
            Some(Ok((_, (id, _)))) => Err(AppError::Died(format!("the polling of network {id}"))),
            Some(Err(error)) => Err(AppError::Died(format!("the polling of a network ({error})"))),
            None => Ok(None),
        }
    }

    /// Loads the configuration anew, which changes nothing yet.
    async fn load(&self) -> Result<Loaded, String> {
        let file = self.file.as_ref().ok_or("there is no configuration file to load anew")?;
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

    /// Takes a configuration up that was loaded anew. A bad one changes nothing.
    async fn reload(&mut self, loaded: Result<Loaded, String>) -> Result<ReloadResult, AppError> {
        // All that can go wrong with it goes wrong here, or not at all.
        let loaded = loaded.and_then(|new| self.fleet.prepare(&new.config).map(|()| new));
        let now = self.fleet.clock().now();
        self.fleet.metrics().reloaded(loaded.is_ok(), now);
        let config = match loaded {
            Ok(Loaded { config, web_config }) => {
                if let (Some(access), Some(web_config)) = (&self.access, web_config) {
                    access.reload(web_config, self.fleet.clock());
                }
                config
            }
            Err(problems) => {
                tracing::error!(
                    problems,
                    "the configuration cannot be loaded, the former one stays"
                );
                return Ok(Err(problems));
            }
        };
        if (&config.web.listen, &config.state) != (&self.fixed.0, &self.fixed.1) {
            tracing::warn!("web.listen and state.path take effect at the next start only");
        }
        let former = std::mem::replace(&mut self.config, config);
        self.carry_over(&former);
        self.shown.store(Arc::new(shown(&self.config)));
        self.begin().await?;
        tracing::info!(networks = self.config.networks.len(), "the configuration was loaded anew");
        Ok(Ok(()))
    }

    /// What was found for an `id = "all"` stays found if it stands in another place now; and what
    /// was written out until now is taken for found, so that nothing is lost before the lookup.
    fn carry_over(&mut self, former: &Config) {
        let (mut found, mut lookups) = (Found::new(), BTreeMap::new());
        for (place, network) in network_plan::wholes(&self.config) {
            let account = accounts::key(&network.aws);
            let before = network_plan::wholes(former)
                .find(|(_, before)| accounts::key(&before.aws) == account);
            let found_before = before.and_then(|(before, _)| self.found.get(&before));
            let networks = found_before.cloned().unwrap_or_else(|| self.polled_as(&account));
            if found_before.is_some() || !networks.is_empty() {
                found.insert(place, networks);
            }
            let Some((before, _)) = before else { continue };
            if let Some(lookup) = self.lookups.get(&before) {
                lookups.insert(place, *lookup);
            }
        }
        (self.found, self.lookups) = (found, lookups);
    }

    /// The networks that are polled for an account.
    fn polled_as(&self, account: &str) -> Vec<Network> {
        let specs = self.running.values().map(|running| &running.spec);
        specs
            .filter(|spec| accounts::key(&spec.network.aws) == account)
            .map(|spec| Network {
                id: spec.id.clone(),
                name: spec.network.name.clone(),
                account: None,
            })
            .collect()
    }
}

/// Looks networks up again and again, for as long as anybody wants to know.
async fn find<F: Future<Output = bool>>(
    client: Arc<Client>,
    lane: NetworkLimiter,
    interval: Duration,
    tell: impl Fn(Result<(Vec<Network>, usize), Error>) -> F,
) {
    loop {
        let networks = client.networks(&lane).await;
        let wait = if networks.is_ok() { interval } else { interval.min(RETRY_AFTER) };
        if !tell(networks).await {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}
