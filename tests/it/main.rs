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
//! - `cli`: commands, exit statuses, messages
//! - `peers`: boto3 reads the same fleet; promtool, Python's parsers and a real Prometheus read the
//!   expositions
//! - `health`: asking a running exporter whether it is well
//! - `deploy`: what operators take away, by the tools that read it; `dashboard` and `promql` take
//!   queries apart for it
//! - `helm`: the chart and the plain manifest, by the real Helm, kubectl and schemas
//! - `compose`: the compose files, and what they mount
//! - `image`: the image is built and run, on stand-ins for the images that it is made from
//! - `tools`: finds other people's programs

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Nothing leaves this binary, so what modules share is plain `pub`.
#![allow(unreachable_pub)]

mod cli;
mod client;
mod compose;
mod credentials;
mod dashboard;
mod deploy;
mod harness;
mod health;
mod helm;
mod http;
mod image;
mod organisation;
mod peers;
mod promql;
mod reload;
mod restart;
mod tools;
mod truth;
