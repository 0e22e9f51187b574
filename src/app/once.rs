//! `once`: one poll of all networks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{
    AppError, collecting, groups,
    network_plan::{self, NetworksByEntry},
    pollers::PollerFactory,
    progress::Bar,
};
use crate::{
    clock::Clock,
    config::{CollectorsConfig, Config},
    exposition::{Exposition, Format},
    inventory::{self, Account, Attempt, Lookup, PollResult, Reader, Snapshot},
    poll::DiscoveryObserver,
    telemetry::Metrics,
    wickr::{Error, ErrorKind, Interner, Network, NetworkId, Operation},
};

/// The result of one poll of all networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PollOutcome {
    /// All users were read.
    AllRead,
    /// Some users were read.
    SomeRead,
    /// No user was read.
    NoneRead,
}

/// The data of one poll.
pub(super) struct Polled {
    pub(super) outcome: PollOutcome,
    pub(super) snapshot: Snapshot,
    metrics: Arc<Metrics>,
}

/// Polls all networks once and returns the exposition in the text format. Each network must have a
/// region. It has no `process_` metrics, because the node exporter has its own.
///
/// # Errors
///
/// Setup failed.
pub async fn once(config: &Config, clock: Clock) -> Result<(PollOutcome, Vec<u8>), AppError> {
    let Polled { outcome, snapshot, metrics } =
        poll(config, &clock, |_| true, &collecting::of_shard(config)).await?;
    let exposition = Exposition {
        snapshot: &snapshot,
        now: clock.moment(),
        idle_buckets: &config.metrics.idle_buckets,
        sso_horizons: &config.sso_expiring_within,
        usernames: config.metrics.username,
        exporter_metrics: &metrics.gather(),
        groups: &groups(config.metrics.detail),
    };
    Ok((outcome, exposition.text(Format::Text).map_err(AppError::setup)?))
}

/// Polls the networks that `selected` accepts and runs their `collectors` once, with a progress bar.
///
/// # Errors
///
/// Setup failed.
pub(super) async fn poll(
    config: &Config,
    clock: &Clock,
    selected: impl Fn(&NetworkId) -> bool,
    collectors: &CollectorsConfig,
) -> Result<Polled, AppError> {
    let metrics = Arc::new(Metrics::new().map_err(AppError::setup)?);
    metrics.config_loaded(true, clock.now());
    let (registrar, reader) = inventory::open();
    let labels = Arc::new(Interner::default());
    let mut factory =
        PollerFactory::new(None, labels, registrar, metrics.clone(), clock.clone(), HashMap::new());
    factory.set_limits(config);
    let mut found = NetworksByEntry::new();
    let mut lookups = Vec::new();
    let mut all_found = true;
    for (index, network) in network_plan::discovered(config) {
        let (client, limiter) = factory.client(network).map_err(AppError::Setup)?;
        let networks = client.networks(&limiter).await;
        let last = factory.networks(&network.aws);
        last.set(networks.as_ref().map(|(networks, _)| &networks[..]));
        let mut lookup = Lookup::default();
        lookup.record(attempt(&networks), clock.moment());
        let region = network.aws.region.clone().unwrap_or_default();
        lookups.push(Account { region, known: networks.is_ok(), lookup });
        match networks {
            Ok((networks, unusable)) => {
                if unusable > 0 {
                    all_found = false;
                    tracing::warn!(unusable, "networks without a usable networkId are not polled");
                }
                found.insert(index, networks);
            }
            Err(error) => {
                all_found = false;
                metrics.discovery_failed(error.operation, error.kind);
                tracing::warn!(
                    operation = error.operation.as_str(),
                    %error,
                    remedy = error.remedy(),
                    "discovery failed"
                );
            }
        }
    }
    factory.set_accounts(lookups);
    let mut plans = network_plan::plans(config, &found);
    plans.retain(|id, _| selected(id));
    let pollers: Result<Vec<_>, _> =
        plans.values().map(|plan| factory.poller(plan, None)).collect();
    let mut pollers = pollers.map_err(AppError::Setup)?;
    let collecting = collecting::run_once(&plans, collectors, &mut factory).await?;
    let polls = join_all(pollers.iter_mut().map(|poller| poller.poll()));
    let polls = async { tokio::join!(polls, collecting).0 };
    let results = tokio::select! {
        results = polls => results,
        () = show_progress(&reader) => Vec::new(),
    };
    let snapshot = reader.snapshot();
    let succeeded = |result: &PollResult| *result == PollResult::Success;
    let any_user_read =
        snapshot.networks.iter().flat_map(|network| network.users.iter()).any(|user| user.is_up());
    let outcome = match () {
        () if all_found && results.iter().all(succeeded) => PollOutcome::AllRead,
        () if any_user_read || results.iter().any(succeeded) => PollOutcome::SomeRead,
        () => PollOutcome::NoneRead,
    };
    Ok(Polled { outcome, snapshot, metrics })
}

/// The result of a lookup of networks. A list with unusable entries is incomplete, so it failed.
pub(super) fn attempt(networks: &Result<(Vec<Network>, usize), Error>) -> Attempt {
    match networks {
        Ok((_, 0)) => Ok(()),
        Ok(_) => Err((Operation::ListNetworks, ErrorKind::InvalidResponse)),
        Err(error) => Err((Operation::ListNetworks, error.kind)),
    }
}

/// Shows the progress of all polls. Never returns.
async fn show_progress(reader: &Reader) {
    let bar = Bar::new("users");
    loop {
        let (mut done, mut total) = (0, 0);
        for network in &reader.snapshot().networks {
            let users = network.users.len();
            let (polled, all) = match network.polls.progress {
                Some(poll) => (poll.done, poll.total),
                None => (users, users),
            };
            done += polled;
            total += all;
        }
        bar.set(done, total);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
