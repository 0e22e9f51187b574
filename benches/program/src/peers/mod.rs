//! Programs to compare with. Each peer is a separate process, to measure its CPU time and memory.
//! The Rust peers are this program with a hidden command.

#[cfg(feature = "peers")]
mod bare;
pub(crate) mod golang;
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
    poll::{Poll, PollSettings},
    scrape::{Server, Spread},
    simulator::Simulator,
};

/// Peers are slower than the exporter.
const TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// Serve the series of a saved scrape with the prometheus crate
    Prometheus {
        /// The scrape
        file: PathBuf,
    },
    /// Poll with aws-sdk-wickr
    Sdk(PollArgs),
    /// Poll with a loop of reqwest, aws-sigv4 and serde_json
    Bare(PollArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PollArgs {
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

/// The result of a peer, which it prints as a line of JSON.
#[derive(Debug, Deserialize, Serialize)]
struct PollResult {
    /// Of all polls, with the first.
    requests: u64,
    devices: u64,
    /// CPU time of the process until the end of the first poll.
    first_cpu: Option<Duration>,
    /// CPU time of the polls after the first.
    cpu: Option<Duration>,
    /// Of the polls after the first.
    durations: Vec<Duration>,
}

#[cfg(feature = "peers")]
pub(crate) fn run(peer: Peer) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match peer {
            Peer::Prometheus { file } => prometheus::serve(&file).await,
            Peer::Sdk(args) => poller::run(&args, sdk::Source::new(&args)?).await,
            Peer::Bare(args) => poller::run(&args, bare::Source::new(&args)?).await,
        }
    })
}

#[cfg(not(feature = "peers"))]
pub(crate) fn run(_: Peer) -> Result<()> {
    anyhow::bail!("built without the feature `peers`")
}

/// A running peer that serves a scrape.
#[derive(Debug)]
pub(crate) struct ServingPeer {
    child: Child,
    pub(crate) server: Server,
    /// Contains the served files.
    _folder: Option<tempfile::TempDir>,
}

impl ServingPeer {
    async fn start(name: &str, command: Command) -> Result<ServingPeer> {
        let mut child = Child::start(name, command)?;
        let address = |line: &str| line.strip_prefix("listening on ")?.parse().ok();
        let address = child.wait_for("its address", TIMEOUT, address).await?;
        let server = Server { address, pid: child.pid };
        Ok(ServingPeer { child, server, _folder: None })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.child.stop().await
    }
}

/// Serves the series of a saved scrape with the `prometheus` crate.
pub(crate) async fn prometheus(scrape: &Path) -> Result<ServingPeer> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["peer", "prometheus"]).arg(scrape);
    ServingPeer::start("the prometheus crate's server", command).await
}

/// Measures the polls of a peer after its first.
pub(crate) async fn poll(
    name: &str,
    simulator: &Simulator,
    fleet: &Fleet,
    settings: PollSettings,
) -> Result<Poll> {
    let result = run_poller(name, simulator, fleet, settings).await?;
    let requests = u32::try_from(fleet.requests).context("too many requests")? * settings.polls;
    Ok(Poll { cpu: result.cpu.map(|cpu| cpu / requests), times: Spread::new(result.durations)? })
}

/// CPU time of a peer from its start to the end of its first poll.
pub(crate) async fn first_poll(
    name: &str,
    simulator: &Simulator,
    fleet: &Fleet,
    settings: PollSettings,
) -> Result<Option<Duration>> {
    let settings = PollSettings { polls: 0, ..settings };
    Ok(run_poller(name, simulator, fleet, settings).await?.first_cpu)
}

async fn run_poller(
    name: &str,
    simulator: &Simulator,
    fleet: &Fleet,
    settings: PollSettings,
) -> Result<PollResult> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["peer", name])
        .arg(format!("--endpoint={}", simulator.address))
        .arg(format!("--network={}", simulator.network))
        .arg(format!("--region={}", simulator.credentials.region))
        .arg(format!("--key-id={}", simulator.credentials.key_id))
        .arg(format!("--secret={}", simulator.credentials.secret))
        .arg(format!("--users={}", simulator.size.users))
        .arg(format!("--in-flight={}", settings.in_flight))
        .arg(format!("--page-size={}", settings.page_size))
        .arg(format!("--polls={}", settings.polls));
    let mut child = Child::start(name, command)?;
    let result = child
        .wait_for("its result", TIMEOUT, |line| serde_json::from_str::<PollResult>(line).ok())
        .await?;
    let polls = u64::from(settings.polls) + 1;
    if (result.requests, result.devices) != (fleet.requests * polls, fleet.devices * polls) {
        return Err(child.error(&format!("read a different fleet: {result:?}, {fleet:?}")));
    }
    child.stop().await?;
    Ok(result)
}
