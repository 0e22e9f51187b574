//! What a poll costs: CPU time a request, time against the ideal, memory over many polls.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    exporter::{Exporter, Settings},
    fleet::Fleet,
    scrape::{Ask, Server, Spread, checked},
    simulator::Simulator,
    usage,
};

/// What was measured of one poller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    /// CPU time of the poller, a request; none where the system does not tell.
    pub(crate) cpu: Option<Duration>,
    /// From the first request of a poll to its last answer.
    pub(crate) times: Spread,
    pub(crate) requests: u64,
}

/// How to poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) in_flight: u32,
    pub(crate) page_size: u32,
    /// Polls that are measured, after one that is not.
    pub(crate) polls: u32,
}

/// The exporter: over whole polls, with all that it does between them.
pub(crate) async fn exporter(
    program: &Path,
    simulator: &Simulator,
    fleet: &Fleet,
    how: How,
) -> Result<Poll> {
    // Listed by their ids, so that nothing but devices is asked for.
    let settings = Settings {
        concurrency: how.in_flight,
        page_size: how.page_size,
        users: Some(simulator.size.users),
        ..Settings::POLLING
    };
    let exporter = Exporter::start(program, simulator, settings).await?;
    let first = exporter.doings().await?;
    let (before, used_before) = (exporter.polled(first.polls + 1).await?, exporter.usage());
    let (mut took, mut after) = (Vec::new(), before);
    for _ in 0..how.polls {
        after = exporter.polled(after.polls + 1).await?;
        took.push(after.last_poll);
    }
    let cpu = usage::cpu_between(used_before, exporter.usage());
    ensure!(after.good_polls == after.polls, "a poll of the exporter's failed");
    ensure!(
        after.devices == fleet.devices,
        "the exporter has read {} devices, not {}",
        after.devices,
        fleet.devices
    );
    let (requests, polls) = (after.requests - before.requests, after.polls - before.polls);
    // A poll under way at either end makes less than one poll's difference.
    ensure!(
        requests.abs_diff(fleet.requests * polls) < fleet.requests,
        "{requests} requests in {polls} polls, where one takes {}",
        fleet.requests
    );
    exporter.end().await?;
    let requests_u32 = u32::try_from(requests).context("too many requests")?;
    let cpu = cpu.map(|cpu| cpu / requests_u32);
    Ok(Poll { cpu, times: Spread::of(took)?, requests: fleet.requests })
}

/// The exporter's memory after so many polls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) polls: u64,
    pub(crate) rss: u64,
}

/// Memory over `polls` polls of a fleet that changes, scraped at each of some twenty points as
/// Prometheus would. Empty where the system does not tell.
pub(crate) async fn memory(
    program: &Path,
    simulator: &Simulator,
    polls: u64,
) -> Result<Vec<Point>> {
    const POINTS: u64 = 20;
    let exporter = Exporter::start(program, simulator, Settings::POLLING).await?;
    let server = Server { address: exporter.address, pid: exporter.pid() };
    let mut points = Vec::new();
    let mut done = exporter.doings().await?.polls;
    while done < polls {
        done = exporter.polled(polls.min(done + polls.div_ceil(POINTS))).await?.polls;
        // The fleet changes: only that the exposition is whole can be seen.
        checked(server, Ask::GZIP, &[]).await?;
        if let Some(usage) = exporter.usage() {
            points.push(Point { polls: done, rss: usage.rss });
        }
    }
    exporter.end().await?;
    Ok(points)
}
