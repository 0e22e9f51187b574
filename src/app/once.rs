//! One poll of everything, for the command line and for the node exporter's textfile collector.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{
    AppError, groups,
    network_plan::{self, Found},
    pollers::PollerFactory,
    progress::Bar,
};
use crate::{
    clock::Clock,
    config::Config,
    exposition::{Exposition, Format},
    inventory::{self, Account, Attempt, Lookup, PollResult, Reader, Snapshot},
    poll::Observer,
    telemetry::Metrics,
    wickr::{Error, ErrorKind, Interner, Network, NetworkId, Operation},
};

/// How one poll of everything went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All users were read.
    AllRead,
    /// Some were.
    SomeRead,
    /// None was.
    NoneRead,
}

/// What one poll of everything found.
pub(super) struct Polled {
    pub(super) outcome: Outcome,
    pub(super) snapshot: Snapshot,
    metrics: Arc<Metrics>,
}

/// Polls every network of `config` once and gives the exposition in the text format. Each network
/// that is written out names its region. Progress is shown on standard error where that is a
/// terminal.
///
/// The metrics of the process are left out: the node exporter, which may take this up, has its own
/// of the same names.
///
/// # Errors
///
/// When it cannot be set up.
pub async fn once(config: &Config, clock: Clock) -> Result<(Outcome, Vec<u8>), AppError> {
    let Polled { outcome, snapshot, metrics } = poll(config, &clock, |_| true).await?;
    let exposition = Exposition {
        snapshot: &snapshot,
        now: clock.now(),
        idle_buckets: &config.metrics.idle_buckets,
        usernames: config.metrics.username,
        exporter_metrics: &metrics.gather(),
        groups: &groups(config.metrics.detail),
    };
    let text = exposition.text(Format::Text);
    Ok((outcome, text.map_err(|error| AppError::Setup(error.to_string()))?))
}

/// Polls those networks of `config` once that are wanted.
///
/// # Errors
///
/// When it cannot be set up.
pub(super) async fn poll(
    config: &Config,
    clock: &Clock,
    wanted: impl Fn(&NetworkId) -> bool,
) -> Result<Polled, AppError> {
    let metrics = Metrics::new().map_err(|error| AppError::Setup(error.to_string()))?;
    let metrics = Arc::new(metrics);
    metrics.reloaded(true, clock.now());
    let (keeper, reader) = inventory::open();
    let labels = Arc::new(Interner::default());
    let mut fleet =
        PollerFactory::new(None, labels, keeper, metrics.clone(), clock.clone(), HashMap::new());
    fleet.adjust(config);
    let mut found = Found::new();
    let mut lookups = Vec::new();
    let mut all_found = true;
    for (place, network) in network_plan::wholes(config) {
        let (client, lane) = fleet.finder(network).map_err(AppError::Setup)?;
        let networks = client.networks(&lane).await;
        let mut lookup = Lookup::default();
        lookup.record(attempt(&networks), clock.now());
        let region = network.aws.region.clone().unwrap_or_default();
        lookups.push(Account { region, known: networks.is_ok(), lookup });
        match networks {
            Ok((networks, unusable)) => {
                if unusable > 0 {
                    all_found = false;
                    tracing::warn!(unusable, "networks without a usable networkId are not polled");
                }
                found.insert(place, networks);
            }
            Err(error) => {
                all_found = false;
                metrics.discovery_failed(error.operation, error.kind);
                tracing::warn!(%error, remedy = error.kind.remedy(), "cannot look up networks");
            }
        }
    }
    fleet.looked_up(lookups);
    let mut specs = network_plan::specs(config, &found);
    specs.retain(|id, _| wanted(id));
    let pollers: Result<Vec<_>, _> = specs.values().map(|spec| fleet.poller(spec, None)).collect();
    let mut pollers = pollers.map_err(AppError::Setup)?;
    let polls = join_all(pollers.iter_mut().map(|poller| poller.poll()));
    let results = tokio::select! {
        results = polls => results,
        () = show_progress(&reader) => Vec::new(),
    };
    let snapshot = reader.snapshot();
    let good = |result: &PollResult| *result == PollResult::Success;
    let anybody =
        snapshot.networks.iter().flat_map(|network| network.users.iter()).any(|user| user.is_up());
    let outcome = match () {
        () if all_found && results.iter().all(good) => Outcome::AllRead,
        () if anybody || results.iter().any(good) => Outcome::SomeRead,
        () => Outcome::NoneRead,
    };
    Ok(Polled { outcome, snapshot, metrics })
}

/// How a lookup of networks ended: one that tells of networks without their ids did not find them
/// all.
pub(super) fn attempt(networks: &Result<(Vec<Network>, usize), Error>) -> Attempt {
    match networks {
        Ok((_, 0)) => Ok(()),
        Ok(_) => Err((Operation::ListNetworks, ErrorKind::InvalidResponse)),
        Err(error) => Err((Operation::ListNetworks, error.kind)),
    }
}

/// Shows how far the polls are, for as long as it is polled.
async fn show_progress(reader: &Reader) {
    let bar = Bar::new("users");
    loop {
        let (mut done, mut total) = (0, 0);
        for network in &reader.snapshot().networks {
            let all = network.users.len();
            let poll = network.polls.progress.map_or((all, all), |poll| (poll.done, poll.total));
            done += poll.0;
            total += poll.1;
        }
        bar.set(done, total);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
