//! wickr-exporter: a Prometheus exporter for the devices of AWS Wickr networks.
//!
//! Data flows one way:
//!
//! ```text
//!  config ──► poll ──► inventory ──► exposition ──► web ──► Prometheus
//!              │ ▲                                   ▲
//!              ▼ │                                   │
//!             wickr ◄──► Wickr Admin API          telemetry
//!                        or simulator
//! ```
//!
//! In reading order:
//!
//! 1. [`config`]: reads a TOML file into a [`config::Config`], or reports all its problems.
//! 2. [`wickr`]: the API client: signing, retries, rate limits, paging and responses.
//! 3. [`poll`]: the schedule, discovery, and one poll of one network.
//!    [`collectors`]: everything except devices, one collector per topic, on its own schedule.
//! 4. [`inventory`]: networks, users and devices, their freshness, and the state file.
//! 5. [`exposition`]: renders a snapshot of the inventory as Prometheus text or OpenMetrics.
//! 6. [`query`]: filters, sorts and paginates devices for the pages, the API and `devices`.
//! 7. [`web`]: routes, pages, TLS and authentication.
//! 8. [`app`]: wires the modules and runs each command. [`cli`] and [`commands`] connect it to `main`.
//!
//! Outside the data flow: [`lifecycle`] (reload requests), [`telemetry`] (logs and the exporter's own
//! metrics), [`family`] (metric families), `diagnostics` (configuration files and their problems),
//! `files` (bounded reads), `named` (enums with names), `text` (escaping of untrusted text), [`clock`]
//! and [`shutdown`] (time and signals as arguments), and `simulator`, a Wickr Admin API for the demo
//! and the tests. The simulator shares no code with the client, and is compiled with the default
//! feature `simulator`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod cli;
pub mod clock;
pub mod collectors;
pub mod commands;
pub mod config;
mod diagnostics;
pub mod exposition;
pub mod family;
mod files;
mod in_place;
pub mod inventory;
pub mod lifecycle;
mod named;
pub mod poll;
pub mod query;
pub mod shutdown;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod telemetry;
mod text;
pub mod web;
pub mod wickr;
