//! wickr-exporter: a Prometheus exporter for the devices of AWS Wickr networks.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clock;
pub mod config;
pub mod exposition;
pub mod inventory;
pub mod simulator;
pub mod wickr;
