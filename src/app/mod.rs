//! The wiring: the only place that knows all the rooms, and what each command does with them.
//!
//! `accounts` makes clients out of the configuration, `Exporter` puts pollers, inventory and
//! metrics around them, and the commands run it: `daemon`, `once`, `check` and `demo`.

mod accounts;
mod check;
mod daemon;
mod demo;
mod once;

use std::{io, sync::Arc};

pub use accounts::{Regions, with_regions};
pub use check::{Policy, check, check_online, iam_policy};
pub use daemon::{Daemon, Serving};
pub use demo::{demo, simulate};
pub use once::{Outcome, once, write_atomically};

use crate::{
    clock::Clock,
    config::{Config, Detail},
    exposition::Group,
    inventory::{self, NetworkIdentity, Reader},
    poll::NetworkPoller,
    telemetry::Metrics,
    wickr::{Client, CredentialSource, Lanes},
};
use accounts::Accounts;

/// Why the exporter could not start or go on. Each is told once, by `main`.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; --web.listen-address chooses another address")]
    Listen {
        /// As it was written.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// Something that was to be set up could not be.
    #[error("{0}")]
    Setup(String),
    /// A part that must run as long as the process ended before it.
    #[error("{0} ended unexpectedly; this is a bug")]
    Died(String),
    /// A file could not be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Where.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Everything that polls and knows, ready to run.
struct Exporter {
    pollers: Vec<NetworkPoller<Client>>,
    reader: Reader,
    metrics: Arc<Metrics>,
}

impl Exporter {
    /// Wires an exporter for `config`, every network of which names its region. `credentials` are
    /// for all networks in place of the configured ones. With `process`, the metrics of the
    /// process are among its own.
    fn new(
        config: &Config,
        credentials: Option<&CredentialSource>,
        clock: &Clock,
        process: bool,
    ) -> Result<Exporter, AppError> {
        let limiters = accounts::limiters(config);
        let own = Metrics::new(limiters.iter().map(|(account, limiter)| {
            (account.region.as_str(), account.role_arn.as_str(), limiter.clone())
        }));
        let own = if process { own.and_then(Metrics::with_process) } else { own };
        let metrics = Arc::new(own.map_err(|error| AppError::Setup(error.to_string()))?);
        let mut accounts = Accounts::new(credentials, limiters, metrics.clone());
        let lanes = Lanes::new(config.poll.concurrency);
        let (publishers, reader) = inventory::open(config.networks.iter().map(identity));
        let mut pollers = Vec::new();
        for (network, publisher) in config.networks.iter().zip(publishers) {
            let source = accounts.client(network).map_err(AppError::Setup)?;
            let poller = NetworkPoller {
                identity: identity(network),
                users: network.users.clone(),
                source,
                lane: lanes.open(),
                publisher,
                clock: clock.clone(),
            };
            pollers.push(poller);
        }
        Ok(Exporter { pollers, reader, metrics })
    }
}

fn identity(network: &crate::config::Network) -> NetworkIdentity {
    NetworkIdentity {
        id: network.id.clone(),
        name: network.name.clone().unwrap_or_default(),
        region: network.aws.region.clone().unwrap_or_default(),
        interval: network.poll.interval,
        stale_after: network.poll.stale_after,
    }
}

/// The parts of the exposition that a detail allows, ascending.
fn groups(detail: Detail) -> Vec<Group> {
    let deepest = match detail {
        Detail::Network => Group::Network,
        Detail::User => Group::User,
        Detail::Device => Group::Device,
    };
    Group::ALL.into_iter().filter(|group| *group <= deepest || *group == Group::Exporter).collect()
}
