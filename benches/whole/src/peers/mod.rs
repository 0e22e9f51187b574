//! What else does the same work, to compare with. Each peer is a process of its own, so that its
//! CPU time and memory are its own; those in Rust are this program, started with a hidden command.

#[cfg(feature = "peers")]
mod bare;
pub(crate) mod nginx;
#[cfg(feature = "peers")]
mod poller;
#[cfg(feature = "peers")]
mod prometheus;
pub(crate) mod python;
#[cfg(feature = "peers")]
mod sdk;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    children::Child,
    fleet::Fleet,
    poll::{How, Poll},
    scrape::{Server, Spread},
    simulator::Simulator,
};

/// A peer takes longer than the exporter, but not without end.
const PATIENCE: Duration = Duration::from_secs(900);

/// The peers that are this program.
#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// Serves the series of a saved scrape by the prometheus crate
    Prometheus {
        /// The scrape
        file: PathBuf,
    },
    /// Polls by aws-sdk-wickr
    Sdk(Polling),
    /// Polls by a loop of reqwest, aws-sigv4 and serde_json
    Bare(Polling),
}

/// What a polling peer is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Polling {
    #[arg(long)]
    endpoint: SocketAddr,
    #[arg(long)]
    network: String,
    #[arg(long)]
    region: String,
    #[arg(long)]
    key_id: String,
    #[arg(long)]
    secret: String,
    #[arg(long)]
    users: u32,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    page_size: u32,
    #[arg(long)]
    polls: u32,
}

/// What a polling peer tells at its end, in JSON on one line.
#[derive(Debug, Deserialize, Serialize)]
struct Polled {
    /// Of all polls but the first.
    requests: u64,
    devices: u64,
    /// CPU time of the process meanwhile.
    cpu: Option<Duration>,
    /// Of each poll.
    took: Vec<Duration>,
}

/// Runs as a peer.
#[cfg(feature = "peers")]
pub(crate) fn run(peer: Peer) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match peer {
            Peer::Prometheus { file } => prometheus::serve(&file).await,
            Peer::Sdk(polling) => poller::run(&polling, sdk::Source::new(&polling)?).await,
            Peer::Bare(polling) => poller::run(&polling, bare::Source::new(&polling)?).await,
        }
    })
}

/// Without the feature there are none.
#[cfg(not(feature = "peers"))]
pub(crate) fn run(_: Peer) -> Result<()> {
    anyhow::bail!("built without the feature `peers`")
}

/// A peer that serves.
#[derive(Debug)]
pub(crate) struct Serving {
    child: Child,
    pub(crate) server: Server,
    /// Keeps what it serves.
    _folder: Option<tempfile::TempDir>,
}

impl Serving {
    async fn start(name: &str, command: Command) -> Result<Serving> {
        let mut child = Child::start(name, command)?;
        let address = |line: &str| line.strip_prefix("listening on ")?.parse().ok();
        let address = child.told("where it listens", PATIENCE, address).await?;
        let server = Server { address, pid: child.pid };
        Ok(Serving { child, server, _folder: None })
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.child.end().await
    }
}

/// Serves the series of a saved scrape by the `prometheus` crate.
pub(crate) async fn prometheus(scrape: &Path) -> Result<Serving> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["peer", "prometheus"]).arg(scrape);
    Serving::start("the prometheus crate's server", command).await
}

/// Polls with one of the peers, by its command's name.
pub(crate) async fn poll(
    name: &str,
    simulator: &Simulator,
    fleet: &Fleet,
    how: How,
) -> Result<Poll> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["peer", name])
        .arg(format!("--endpoint={}", simulator.address))
        .arg(format!("--network={}", simulator.network))
        .arg(format!("--region={}", simulator.access.region))
        .arg(format!("--key-id={}", simulator.access.key_id))
        .arg(format!("--secret={}", simulator.access.secret))
        .arg(format!("--users={}", simulator.size.users))
        .arg(format!("--in-flight={}", how.in_flight))
        .arg(format!("--page-size={}", how.page_size))
        .arg(format!("--polls={}", how.polls));
    let mut child = Child::start(name, command)?;
    let polled = child
        .told("what it polled", PATIENCE, |line| serde_json::from_str::<Polled>(line).ok())
        .await?;
    let polls = u64::from(how.polls);
    if (polled.requests, polled.devices) != (fleet.requests * polls, fleet.devices * polls) {
        return Err(child.failed(&format!("has not read what there is: {polled:?}, {fleet:?}")));
    }
    child.end().await?;
    let requests = u32::try_from(polled.requests).context("too many requests")?;
    Ok(Poll {
        cpu: polled.cpu.map(|cpu| cpu / requests),
        times: Spread::of(polled.took)?,
        requests: fleet.requests,
    })
}
