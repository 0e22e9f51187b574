//! The command line and the resulting plan.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{peers::Peer, simulator::Size};

/// Measures wickr-exporter and compares it with its peers
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run as a peer of the exporter
    #[command(hide = true)]
    Peer {
        #[command(subcommand)]
        peer: Peer,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The program to measure [default: build a release]
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
    /// A small fleet and few repetitions: checks that everything works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only this part; repeatable
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Users of the fleet for scrapes and polls [default: 20000; quick: 400]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: Option<u32>,
    /// Devices of each user; one user in fifty is pending and has none
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices_per_user: u32,
    /// Scrapes of each kind [default: 7; quick: 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    scrapes: Option<u32>,
    /// Polls of the memory part [default: 100; quick: 5]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    polls: Option<u32>,
    /// Requests of the load part [default: 1000000; quick: 5000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    requests: Option<u64>,
    /// Also write the tables to this file
    #[arg(long, value_name = "PATH")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write all values to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Time from start to serving, and the size of the program
    Start,
    /// Scrapes, compared with nginx, the prometheus crate and Python's prometheus_client
    Scrape,
    /// CPU time of polls and of a process with one poll, compared with aws-sdk-wickr and a bare loop
    Poll,
    /// Polls of a service with a latency of 20 ms
    Latency,
    /// Memory over many polls
    Memory,
    /// Concurrent scrapers, slow clients, oversized requests, and a million requests
    Load,
}

#[derive(Debug)]
pub(crate) struct Plan {
    only: Vec<Part>,
    pub(crate) starts: u32,
    /// For scrapes and polls.
    pub(crate) fleet: Size,
    /// Few users with several pages each.
    pub(crate) many_pages: Size,
    /// Polled once by each process.
    pub(crate) once: Size,
    /// With latency. It is small, so that the simulator does not limit the poll.
    pub(crate) slow: Size,
    /// With churn, for the memory part.
    pub(crate) changing: Size,
    pub(crate) scrapes: u32,
    pub(crate) polls: u32,
    /// How often CPU times of polls are measured, in turn for each poller.
    pub(crate) rounds: u32,
    /// Polls of the memory part.
    pub(crate) memory_polls: u32,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) fleet: Size,
    pub(crate) scrapers: u32,
    pub(crate) slow_clients: u32,
    /// How long the slow clients connect.
    pub(crate) slow_duration: Duration,
    pub(crate) requests: u64,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Plan {
        let quick = options.quick;
        let pick = |default: u32, small: u32| if quick { small } else { default };
        let size = |users, devices_per_user| Size { users, devices_per_user, ..Size::default() };
        Plan {
            only: options.only.clone(),
            starts: pick(10, 2),
            fleet: size(options.users.unwrap_or(pick(20_000, 400)), options.devices_per_user),
            many_pages: size(pick(500, 20), 250),
            once: size(pick(4000, 200), 5),
            slow: Size { latency: Duration::from_millis(20), ..size(pick(4000, 300), 5) },
            changing: Size { churn: 50, ..size(pick(2000, 100), 5) },
            scrapes: options.scrapes.unwrap_or(pick(7, 2)),
            polls: pick(3, 2),
            rounds: pick(3, 1),
            memory_polls: options.polls.unwrap_or(pick(100, 5)),
            load: Load {
                fleet: size(pick(200, 50), 5),
                scrapers: pick(500, 50),
                slow_clients: pick(1000, 60),
                slow_duration: Duration::from_secs(pick(30, 2).into()),
                requests: options.requests.unwrap_or(pick(1_000_000, 5_000).into()),
            },
        }
    }

    pub(crate) fn includes(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
