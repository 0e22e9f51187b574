//! The wiring: the only place that knows all the rooms, and what each command does with them.
//!
//! `complete` adds to the configuration what its file leaves to the environment. `spec` turns it into
//! networks that can be polled, `accounts` makes clients for them, `fleet` pollers, and the
//! `supervisor` keeps those going, whatever is found or loaded anew (`reload`). `state` outlives a
//! restart, and `notify` tells the service manager. The commands run it: `daemon`, `once`, `devices`
//! (with `remote` and `sound`), `check` (with `trial` and `policy`) and `demo`. `health` asks a process that runs
//! already.

mod accounts;
mod check;
mod daemon;
mod demo;
mod devices;
mod files;
mod health;
mod network_plan;
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
mod state;
mod supervisor;
mod validate;

use std::io;

pub use check::check;
pub use daemon::{Daemon, Origin, Serving};
pub use demo::{demo, simulate};
pub use devices::{Devices, Print, devices, devices_from};
pub use files::write_atomically;
pub use health::{Question, health};
pub use once::{Outcome, once};
pub use policy::{Identity, Policy, iam_policies};
pub use probe::check_online;
pub use reload::Content;
pub use remote::Remote;
pub use resolve::{Regions, completed, load};

use crate::{
    config::{Config, Detail},
    exposition::Group,
    web::{ResponseSlots, Shown},
};

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
    /// A running exporter is not well, or none answers.
    #[error("{url}: {why}")]
    Unwell {
        /// What was asked.
        url: String,
        /// What it said, or why it said nothing.
        why: String,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Where.
        path: String,
        /// What the system said.
        error: io::Error,
    },
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

/// What a configuration lets be shown.
fn shown(config: &Config) -> Shown {
    Shown {
        groups: groups(config.metrics.detail),
        idle_buckets: config.metrics.idle_buckets.clone(),
        usernames: config.metrics.username,
        scrapes: ResponseSlots::new(config.web.max_concurrent_scrapes),
    }
}
