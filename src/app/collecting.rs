//! Runs the collectors of each network next to its poller, in one task for each network.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    AppError, accounts::AccountSettings, network_plan::NetworkPlan, pollers::PollerFactory,
};
use crate::{
    collectors::{self, Api, Discovered, Schedule},
    config::{CollectorsConfig, Config, NetworkConfig, NetworkSelector, ShardConfig, SsoMaxIdle},
    inventory::CollectorRecorder,
    wickr::{Client, NetworkId, NetworkLimiter, Operation},
};

/// Delay between the first runs of two networks. At the default rate of 10 requests per second, those of
/// one network's collectors then use about a tenth of the rate.
const START_SPACING: Duration = Duration::from_secs(10);

/// The delay of the first runs of the network with this index among those that start together.
fn start_delay(index: usize, interval: Duration) -> Duration {
    let spacing = START_SPACING.as_millis().saturating_mul(index as u128);
    // Also below the interval, so that every network has values after one interval.
    Duration::from_millis((spacing % interval.as_millis().max(1)) as u64)
}

/// Everything that determines a task. It restarts only if this changes.
#[derive(Debug, Clone, PartialEq)]
struct CollectorPlan {
    account: AccountSettings,
    is_discovered: bool,
    shares_lookups: bool,
    collectors: CollectorsConfig,
}

#[derive(Debug)]
struct RunningCollectors {
    plan: CollectorPlan,
    stop: CancellationToken,
    recorder: Arc<CollectorRecorder>,
}

/// The collectors of all networks.
#[derive(Debug, Default)]
pub(super) struct CollectorTasks {
    running: BTreeMap<NetworkId, RunningCollectors>,
    tasks: JoinSet<NetworkId>,
}

impl CollectorTasks {
    /// Starts and stops collectors so that they match the configuration. Collectors that stay
    /// enabled keep their records.
    pub(super) async fn reconcile(
        &mut self,
        networks: &BTreeMap<NetworkId, NetworkPlan>,
        config: &Config,
        factory: &mut PollerFactory,
    ) -> Result<(), AppError> {
        let collectors = &of_shard(config);
        let mut recorders = BTreeMap::new();
        let plan = |network: &NetworkPlan| CollectorPlan {
            account: AccountSettings::of(&network.network),
            is_discovered: network.is_discovered(),
            shares_lookups: shares_lookups(config),
            collectors: collectors.clone(),
        };
        let wanted =
            |id: &NetworkId| networks.get(id).filter(|_| !collectors.enable.is_empty()).map(plan);
        let changed: Vec<_> = self
            .running
            .iter()
            .filter(|(id, running)| wanted(id).as_ref() != Some(&running.plan))
            .map(|(id, _)| id.clone())
            .collect();
        for running in changed.iter().filter_map(|id| self.running.get(id)) {
            running.stop.cancel();
        }
        for _ in &changed {
            if let Some(Err(error)) = self.tasks.join_next().await {
                return Err(ended(Err(error)));
            }
        }
        for id in changed {
            if let Some(running) = self.running.remove(&id) {
                recorders.insert(id, running.recorder);
            }
        }
        let mut started = 0;
        for (id, network) in networks {
            if self.running.contains_key(id) {
                continue;
            }
            let Some(plan) = wanted(id) else { continue };
            let recorder =
                recorders.remove(id).unwrap_or_else(|| Arc::new(factory.add_collectors(id)));
            let delay = start_delay(started, collectors.interval);
            let schedule = schedule(id, collectors, delay);
            started += 1;
            let connection = Connection::new(network, factory, collectors, plan.shares_lookups)?;
            let (stop, clock) = (CancellationToken::new(), factory.clock.clone());
            let (id, stopped, records) = (id.clone(), stop.clone(), recorder.clone());
            self.running.insert(id.clone(), RunningCollectors { plan, stop, recorder });
            self.tasks.spawn(async move {
                let collect = |collector| connection.collect(collector);
                let runs = collectors::run(&schedule, &records, &clock, collect);
                stopped.run_until_cancelled(runs).await;
                id
            });
        }
        for recorder in recorders.into_values() {
            recorder.withdraw();
        }
        Ok(())
    }

    /// The error of a task that ended without being stopped. None without tasks.
    pub(super) async fn next_end(&mut self) -> Option<AppError> {
        self.tasks.join_next().await.map(ended)
    }

    /// Stops all tasks. Their records stay.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Prepares one run of the collectors of all networks. The result runs them.
pub(super) async fn run_once(
    networks: &BTreeMap<NetworkId, NetworkPlan>,
    collectors: &CollectorsConfig,
    factory: &mut PollerFactory,
) -> Result<impl Future<Output = ()>, AppError> {
    let mut runs = Vec::new();
    for (id, network) in networks.iter().filter(|_| !collectors.enable.is_empty()) {
        let connection = Connection::new(network, factory, collectors, true)?;
        let (recorder, clock) = (factory.add_collectors(id), factory.clock.clone());
        let schedule = schedule(id, collectors, Duration::ZERO);
        runs.push(async move {
            let collect = |collector| connection.collect(collector);
            collectors::run_once(&schedule, &recorder, &clock, collect).await;
        });
    }
    Ok(async move { _ = join_all(runs).await })
}

/// The collectors of this process. The first shard runs all: their values cover all users of a
/// network, and must not be counted once for each shard.
pub(super) fn of_shard(config: &Config) -> CollectorsConfig {
    match config.shard {
        ShardConfig::Of { index: 1.., .. } => CollectorsConfig::default(),
        _ => config.collectors.clone(),
    }
}

/// Whether collectors take what discovery reads. Discovery must be as frequent, so that a successful run
/// never has older data than its interval.
fn shares_lookups(config: &Config) -> bool {
    config.discovery.interval <= config.collectors.interval
}

/// The operation with which discovery reads what collectors of `networks` would request with `operation`.
pub(super) fn discovered_with<'a>(
    operation: Operation,
    config: &Config,
    mut networks: impl Iterator<Item = &'a NetworkConfig>,
) -> Option<Operation> {
    match operation {
        _ if !shares_lookups(config) => None,
        Operation::ListSecurityGroups if config.sso == Some(SsoMaxIdle::SecurityGroups) => {
            Some(operation)
        }
        Operation::GetNetwork if networks.all(|network| network.id == NetworkSelector::All) => {
            Some(Operation::ListNetworks)
        }
        _ => None,
    }
}

fn schedule(id: &NetworkId, collectors: &CollectorsConfig, delay: Duration) -> Schedule {
    Schedule {
        network: id.clone(),
        collectors: collectors.enable.clone(),
        interval: collectors.interval,
        delay,
    }
}

fn ended(ended: Result<NetworkId, JoinError>) -> AppError {
    AppError::TaskEnded(match ended {
        Ok(id) => format!("collectors of network {id}"),
        Err(error) => format!("collectors ({error})"),
    })
}

/// What the collectors of a network send requests with.
struct Connection {
    client: Arc<Client>,
    network: NetworkId,
    limiter: Arc<NetworkLimiter>,
    discovered: Discovered,
}

impl Connection {
    fn new(
        network: &NetworkPlan,
        factory: &mut PollerFactory,
        collectors: &CollectorsConfig,
        shares_lookups: bool,
    ) -> Result<Connection, AppError> {
        let (client, limiter) =
            factory.collector_client(&network.network).map_err(AppError::Setup)?;
        let discovered = match shares_lookups {
            true => factory.discovered(network, &collectors.enable),
            false => Discovered::default(),
        };
        Ok(Connection { client, network: network.id.clone(), limiter, discovered })
    }

    fn collect(
        &self,
        collector: collectors::CollectorRef,
    ) -> impl Future<Output = Result<crate::inventory::Collection, crate::wickr::Error>> + Send
    {
        let Connection { client, network, limiter, discovered } = self;
        collector.get().collect(Api { client, network, limiter, discovered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_runs_of_networks_are_spread_over_the_interval() {
        let hour = Duration::from_secs(3600);
        let delays: Vec<_> = [0, 1, 2, 359, 360, 361]
            .map(|index| start_delay(index, hour).as_secs())
            .into_iter()
            .collect();
        assert_eq!(delays, [0, 10, 20, 3590, 0, 10]);
        assert_eq!(start_delay(3, Duration::from_secs(7)), Duration::from_secs(2));
    }
}
