//! The integration tests: one binary, so that they link once. The real program runs against the
//! simulator, and other people's programs judge what it says.
//!
//! - `harness`: starts the program, scrapes it, waits for what should come true
//! - `truth`: what is exposed while things go wrong
//! - `client`: requests, pages, retries and clocks, as the service sees them
//! - `credentials`: where they come from, and when they are replaced
//! - `organisation`: discovery, SSO limits, accounts, shards
//! - `reload`: another configuration while it runs
//! - `restart`: what outlives the process
//! - `http`: routes, formats, compression, shutdown
//! - `pages`: the pages and the API; `browser` looks at them with a real one
//! - `devices`: the command of that name
//! - `cli`: commands, exit statuses, messages
//! - `peers`: boto3 reads the same fleet; promtool, Python's parsers and a real Prometheus read the
//!   expositions
//! - `deploy`: what operators take away, by the tools that read it; `dashboard` and `promql` take
//!   queries apart for it
//! - `tools`: finds other people's programs

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Nothing leaves this binary, so what modules share is plain `pub`.
#![allow(unreachable_pub)]

mod browser;
mod cli;
mod client;
mod credentials;
mod dashboard;
mod deploy;
mod devices;
mod harness;
mod http;
mod organisation;
mod pages;
mod peers;
mod promql;
mod reload;
mod restart;
mod tools;
mod truth;
