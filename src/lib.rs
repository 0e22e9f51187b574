//! wickr-exporter: a Prometheus exporter for the devices of AWS Wickr networks.
//!
//! Data flows one way:
//!
//! ```text
//!  config ──► poll ───► inventory ───► exposition ───► web ──► Prometheus
//!               │ ▲      publisher │    snapshot at      ▲
//!               ▼ │        ▼ reader┘    one moment       │
//!             wickr ◄──► the Wickr Admin API           telemetry
//!                        (or the simulator)
//! ```
//!
//! In reading order:
//!
//! 1. [`config`]: a TOML file to a [`config::Config`], or every mistake in it at once.
//! 2. [`wickr`]: the API client. Signing, retries, rate, paging, and what the answers mean.
//! 3. [`poll`]: when a network is polled, and one poll from its first user to its last.
//! 4. [`inventory`]: what is known, how fresh it is, and figures worked out from it.
//! 5. [`exposition`]: from a snapshot of the inventory to text, in either format.
//! 6. [`query`]: the devices behind a figure, filtered, sorted and paged, for pages, API and command.
//! 7. [`web`]: routes, pages, sockets, and the doors that requests come through.
//! 8. [`app`]: the wiring of all that, and what each command does with it. [`cli`] and
//!    [`commands`] are what stands between it and `main`.
//!
//! Beside the flow: [`lifecycle`] (reload requests), [`telemetry`] (logs and the exporter's own
//! metrics), `text` (characters in text from outside), [`clock`] and [`shutdown`] (time and signals
//! as arguments), and [`simulator`], a Wickr Admin API of our own for the
//! demo and the tests, which shares nothing with the client.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod exposition;
pub mod inventory;
pub mod lifecycle;
pub mod poll;
pub mod query;
pub mod shutdown;
pub mod simulator;
pub mod telemetry;
mod text;
pub mod web;
pub mod wickr;
