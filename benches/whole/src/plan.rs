//! The command line, and what follows from it: what is measured, and how large.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{peers::Peer, simulator::Size};

/// Measures wickr-exporter as a whole, beside its peers
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
    /// Runs as a peer of the exporter's
    #[command(hide = true)]
    Peer {
        #[command(subcommand)]
        peer: Peer,
    },
}

/// What can be chosen.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The program to measure; without it, the release is built
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
    /// A small fleet and few repetitions: whether everything works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure this part alone; repeatable
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Users of the fleet that is scraped and polled [default: 20000; quick: 400]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: Option<u32>,
    /// Devices of each of them; one user in fifty has not come yet and has none
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices_per_user: u32,
    /// Scrapes of each kind [default: 7; quick: 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    scrapes: Option<u32>,
    /// Polls over which memory is watched [default: 100; quick: 5]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    polls: Option<u32>,
    /// Requests in the long row of them [default: 1000000; quick: 5000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    requests: Option<u64>,
    /// Write the tables to this file, too
    #[arg(long, value_name = "PATH")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write everything to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Time from start to serving, and the size of the program
    Start,
    /// Scrapes, beside nginx, the prometheus crate and Python's prometheus_client
    Scrape,
    /// CPU time of polls, beside aws-sdk-wickr and a bare loop
    Poll,
    /// Polls of a service that takes 20 ms an answer
    Latency,
    /// Memory over many polls
    Memory,
    /// A crowd of scrapers, slow clients, heads of megabytes, and a million requests
    Load,
}

/// What is done.
#[derive(Debug)]
pub(crate) struct Plan {
    only: Vec<Part>,
    /// Starts of the program.
    pub(crate) starts: u32,
    /// Scraped and polled.
    pub(crate) fleet: Size,
    /// Few users with several pages each.
    pub(crate) pages: Size,
    /// Likewise, by small pages, of a service that takes its time: the simulator must have time to
    /// spare, or it is what is measured.
    pub(crate) slow: Size,
    /// What is polled again and again.
    pub(crate) changing: Size,
    pub(crate) scrapes: u32,
    /// Polls of which CPU time is measured.
    pub(crate) polls: u32,
    /// Polls over which memory is watched.
    pub(crate) long: u32,
    pub(crate) load: Load,
}

/// How much the exporter has to bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Polled and changing meanwhile.
    pub(crate) fleet: Size,
    /// At once.
    pub(crate) scrapers: u32,
    /// At once.
    pub(crate) slow_clients: u32,
    /// For how long the slow ones stay.
    pub(crate) held: Duration,
    /// One after another, on a few connections.
    pub(crate) requests: u64,
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Plan {
        let quick = options.quick;
        let pick = |usual: u32, small: u32| if quick { small } else { usual };
        let size = |users, devices_per_user| Size { users, devices_per_user, ..Size::default() };
        Plan {
            only: options.only.clone(),
            starts: pick(10, 2),
            fleet: size(options.users.unwrap_or(pick(20_000, 400)), options.devices_per_user),
            pages: size(pick(500, 20), 250),
            slow: Size { latency: Duration::from_millis(20), ..size(pick(4000, 300), 5) },
            changing: Size { churn: 50, ..size(pick(2000, 100), 5) },
            scrapes: options.scrapes.unwrap_or(pick(7, 2)),
            polls: pick(5, 2),
            long: options.polls.unwrap_or(pick(100, 5)),
            load: Load {
                fleet: size(pick(200, 50), 5),
                scrapers: pick(500, 50),
                slow_clients: pick(1000, 60),
                held: Duration::from_secs(pick(30, 2).into()),
                requests: options.requests.unwrap_or(pick(1_000_000, 5_000).into()),
            },
        }
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
