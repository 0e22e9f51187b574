//! Connects all modules and implements the commands.
//!
//! `resolve` adds values from the environment to the configuration. `network_plan` derives the
//! networks to poll, `accounts` creates their clients, `pollers` their pollers, and `supervisor`
//! runs them, with their collectors (`collecting`), across discovery and reloads (`reload`).
//! `state` reads and writes the state file; `notify` reports to systemd. The commands: `daemon`,
//! `once`, `devices` (with `remote` and `validate`), `check` (with `probe` and `policy`), `demo`
//! and `health`.

mod accounts;
mod check;
mod collecting;
mod daemon;
#[cfg(feature = "simulator")]
mod demo;
mod devices;
mod files;
mod health;
mod network_plan;
mod network_source;
mod notify;
mod once;
mod pem;
mod policy;
mod pollers;
mod probe;
mod progress;
mod reload;
mod remote;
mod resolve;
mod selector;
mod settings_summary;
mod state;
mod supervisor;
mod validate;

use std::io;

pub use check::check;
pub use daemon::{ConfigSource, Daemon, Serving};
#[cfg(feature = "simulator")]
pub use demo::{demo, simulate};
pub use devices::{DeviceReport, OutputFormat, devices, devices_from};
pub use files::write_atomically;
pub use health::{HealthCheck, health};
pub use once::{PollOutcome, once};
pub use policy::{Identity, Policy, iam_policies};
pub use probe::check_online;
pub use reload::FileDigest;
pub use remote::Remote;
pub use resolve::{RegionLookup, load, resolve_environment};

use crate::{
    config::{Config, Detail},
    exposition::Group,
    web::{DisplaySettings, ResponseSlots},
};

/// Why a command failed. `commands` prints it once.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}; --web.listen-address sets another address")]
    Listen {
        /// The address as configured.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// Setup failed.
    #[error("{0}")]
    Setup(String),
    /// A task that must run as long as the process ended.
    #[error("{0} ended unexpectedly; this is a bug")]
    TaskEnded(String),
    /// A running exporter is unhealthy or does not respond.
    #[error("{url}: {reason}")]
    Unhealthy {
        /// The URL, without credentials.
        url: String,
        /// Its response, or why it did not respond.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: String,
        /// The system's error.
        error: io::Error,
    },
}

impl AppError {
    fn setup(error: impl ToString) -> AppError {
        AppError::Setup(error.to_string())
    }
}

/// The groups of a level of detail, in ascending order.
fn groups(detail: Detail) -> Vec<Group> {
    let most_detailed = match detail {
        Detail::Network => Group::Network,
        Detail::User => Group::User,
        Detail::Device => Group::Device,
    };
    Group::ALL
        .into_iter()
        .filter(|group| *group <= most_detailed || *group == Group::Exporter)
        .collect()
}

/// The settings of the HTTP pages and metrics.
fn shown(config: &Config) -> DisplaySettings {
    DisplaySettings {
        groups: groups(config.metrics.detail),
        idle_buckets: config.metrics.idle_buckets.clone(),
        sso_horizons: config.sso_expiring_within.clone(),
        usernames: config.metrics.username,
        scrape_slots: ResponseSlots::new(config.web.max_concurrent_scrapes),
    }
}
