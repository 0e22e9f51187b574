//! The integration tests: one binary, so that they link once. The real program runs against the
//! simulator, and other people's programs judge what it says.
//!
//! - `harness`: starts the program, scrapes it, waits for what should come true
//! - `truth`: what is exposed while things go wrong
//! - `campaign`: everything that can go wrong, at random, and a judge of every number
//! - `client`: requests, pages, retries and clocks, as the service sees them
//! - `credentials`: where they come from, and when they are replaced
//! - `organisation`: discovery, SSO limits, accounts, shards
//! - `reload`: another configuration while it runs
//! - `restart`: what outlives the process; `upgrades`: what earlier versions left
//! - `service`: what a service manager is told
//! - `http`: routes, formats, compression, shutdown
//! - `web_auth`: TLS, passwords, client certificates and attacks; `keys` creates the
//!   certificates
//! - `pages`: the pages and the API; `browser` looks at them with a real one
//! - `devices`: the command of that name
//! - `cli`: commands, exit statuses, messages
//! - `peers`: boto3 reads the same fleet; promtool, Python's parsers and a real Prometheus read the
//!   expositions
//! - `packed`: what is compressed in pieces is read whole by everybody
//! - `deploy`: what operators take away, by the tools that read it; `dashboard` and `promql` take
//!   queries apart for it; `systemd`, `aws` and `package` have what is for those
//! - `alerting`: from a device in the simulator to a notification, by a real Prometheus and a real
//!   Alertmanager
//! - `docs`: what is written is true of the code
//! - `prometheus`: starts a real Prometheus; `stage` gives it a fleet with everything in it
//! - `health`: asking a running exporter whether it is well
//! - `helm`: the chart and the plain manifest, by the real Helm, kubectl and schemas
//! - `compose`: the compose files, and what they mount
//! - `image`: the image is built and run, on stand-ins for the images that it is made from
//! - `threats`: what SECURITY.md claims and no other module shows
//! - `supply`: what the program is made of
//! - `targets`: what is held true of any bytes that come from outside; `corpora` replays what the
//!   fuzzer has kept of them
//! - `tools`: finds other people's programs

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Nothing leaves this binary, so what modules share is plain `pub`.
#![allow(unreachable_pub)]

mod alerting;
mod aws;
mod browser;
mod campaign;
mod cli;
mod client;
mod compose;
mod corpora;
mod credentials;
mod dashboard;
mod deploy;
mod devices;
mod docs;
mod harness;
mod health;
mod helm;
mod http;
mod image;
mod keys;
mod organisation;
mod package;
mod packed;
mod pages;
mod peers;
mod prometheus;
mod promql;
mod reload;
mod restart;
mod service;
mod stage;
mod supply;
mod systemd;
mod targets;
mod threats;
mod tools;
mod truth;
mod upgrades;
mod web_auth;
