//! The integration tests, in one binary so that they link once. They run the program against the
//! simulator, and check its output with third-party programs.
//!
//! - `harness`: starts, scrapes and stops the program; `tools`: finds and runs third-party programs
//! - `failures`: the exposition during failures; `campaign`: random faults, with each value checked
//! - `changes`: counters and log lines of device changes
//! - `client`: requests, pages, retries, clock correction; `credentials`: sources and renewal
//! - `clocks`: wrong clocks and steps, with `faketime`; `http2`: a stalled connection to AWS
//! - `collectors`: what is read beyond devices
//! - `hosts`: which hosts are contacted, compared with botocore; `providers`: each provider of
//!   credentials, against `identity`; `metadata`: the addresses of EC2, ECS and EKS; `connections`:
//!   proxies (`connect_log`, `inspecting_proxy`), authorities and failed connections
//! - `organisation`: discovery, SSO limits, accounts, shards
//! - `reload`, `restart`; `upgrades`: files of released versions
//! - `service`: systemd's notification protocol; `health`: the command;
//!   `sockets`: sockets of systemd
//! - `http`: routes, formats, compression, shutdown; `compression`: other decoders
//! - `prefix`: below another path, behind nginx
//! - `web_auth`: TLS, passwords, client certificates, hostile clients; `keys`: certificates for tests
//! - `pages`: the pages and the API; `browser`: the pages in Chromium
//! - `cli` and `devices`: commands, exit statuses, messages
//! - `peers`: comparison with boto3, and parsers of the exposition formats
//! - `deploy`: the files of `deploy/`, with `aws`, `compose`, `dashboard`, `helm`, `image`, `package`,
//!   `scrapers`, `systemd`, `terraform` and `workflows`
//! - `alerting`: from a device in the simulator to a notification of Alertmanager
//! - `prometheus`: a Prometheus server; `stage`: exporters and a Prometheus for queries;
//!   `promql`: the metric names in an expression
//! - `docs`: the documentation agrees with the code; `threats`: the claims of SECURITY.md
//! - `sbom`: the SBOM agrees with Cargo
//! - `targets`: properties of each parser of outside input; `corpora`: the fuzzer's inputs

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so shared items are plain `pub`.
#![allow(unreachable_pub)]

mod alerting;
mod aws;
mod browser;
mod campaign;
mod changes;
mod cli;
mod client;
mod clocks;
mod collectors;
mod compose;
mod compression;
mod connect_log;
mod connections;
mod corpora;
mod credentials;
mod dashboard;
mod deploy;
mod devices;
mod docs;
mod failures;
mod harness;
mod health;
mod helm;
mod hosts;
mod http;
mod http2;
mod identity;
mod image;
mod inspecting_proxy;
mod keys;
mod metadata;
mod organisation;
mod package;
mod pages;
mod peers;
mod prefix;
mod prometheus;
mod promql;
mod providers;
mod reload;
mod restart;
mod sbom;
mod scrapers;
mod service;
mod sockets;
mod stage;
mod systemd;
mod targets;
mod terraform;
mod threats;
mod tools;
mod upgrades;
mod web_auth;
mod workflows;
