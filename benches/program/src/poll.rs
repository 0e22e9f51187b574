//! Polls: CPU time per request, duration, and memory over many polls.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    exporter::{Exporter, Settings},
    fleet::Fleet,
    scrape::{Server, Spread, Variant, verified},
    simulator::Simulator,
    usage,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    /// CPU time of the poller per request, if available.
    pub(crate) cpu: Option<Duration>,
    /// Durations of the polls.
    pub(crate) times: Spread,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PollSettings {
    pub(crate) in_flight: u32,
    pub(crate) page_size: u32,
    /// Measured polls, after one warm-up poll.
    pub(crate) polls: u32,
}

/// Measures the exporter, including its work between polls.
pub(crate) async fn exporter(
    program: &Path,
    simulator: &Simulator,
    fleet: &Fleet,
    settings: PollSettings,
) -> Result<Poll> {
    // Listed users, so that no discovery request is counted.
    let config = Settings {
        concurrency: settings.in_flight,
        page_size: settings.page_size,
        users: Some(simulator.size.users),
        ..Settings::POLLING
    };
    let exporter = Exporter::start(program, simulator, config).await?;
    let first = exporter.stats().await?;
    let (before, usage_before) = (exporter.wait_polls(first.polls + 1).await?, exporter.usage());
    let (mut durations, mut after) = (Vec::new(), before);
    for _ in 0..settings.polls {
        after = exporter.wait_polls(after.polls + 1).await?;
        durations.push(after.last_poll);
    }
    let cpu = usage::cpu_between(usage_before, exporter.usage());
    ensure!(after.good_polls == after.polls, "a poll failed");
    ensure!(
        after.devices == fleet.devices,
        "the exporter has {} devices instead of {}",
        after.devices,
        fleet.devices
    );
    let (requests, polls) = (after.requests - before.requests, after.polls - before.polls);
    // Incomplete polls at start and end add up to less than one poll.
    ensure!(
        requests.abs_diff(fleet.requests * polls) < fleet.requests,
        "{requests} requests in {polls} polls of {} each",
        fleet.requests
    );
    exporter.stop().await?;
    let requests_u32 = u32::try_from(requests).context("too many requests")?;
    let cpu = cpu.map(|cpu| cpu / requests_u32);
    Ok(Poll { cpu, times: Spread::new(durations)? })
}

/// CPU time of the exporter from its start to the end of its first poll.
pub(crate) async fn exporter_first(
    program: &Path,
    simulator: &Simulator,
    fleet: &Fleet,
    settings: PollSettings,
) -> Result<Option<Duration>> {
    let config = Settings {
        concurrency: settings.in_flight,
        page_size: settings.page_size,
        users: Some(simulator.size.users),
        ..Settings::ONCE
    };
    let exporter = Exporter::start(program, simulator, config).await?;
    let usage = exporter.usage();
    let stats = exporter.stats().await?;
    ensure!(
        (stats.good_polls, stats.requests, stats.devices) == (1, fleet.requests, fleet.devices),
        "the exporter read a different fleet: {stats:?}, {fleet:?}"
    );
    exporter.stop().await?;
    Ok(usage.map(|usage| usage.cpu))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MemorySample {
    pub(crate) polls: u64,
    pub(crate) rss: u64,
}

/// Measures memory about twenty times over `polls` polls of a changing fleet, with a scrape each
/// time. Empty if it is not available.
pub(crate) async fn memory(
    program: &Path,
    simulator: &Simulator,
    polls: u64,
) -> Result<Vec<MemorySample>> {
    const SAMPLES: u64 = 20;
    let exporter = Exporter::start(program, simulator, Settings::POLLING).await?;
    let server = Server { address: exporter.address, pid: exporter.pid() };
    let mut samples = Vec::new();
    let mut done = exporter.stats().await?.polls;
    while done < polls {
        done = exporter.wait_polls(polls.min(done + polls.div_ceil(SAMPLES))).await?.polls;
        // The series are unknown because the fleet changes.
        verified(server, Variant::GZIP, &[]).await?;
        if let Some(usage) = exporter.usage() {
            samples.push(MemorySample { polls: done, rss: usage.rss });
        }
    }
    exporter.stop().await?;
    Ok(samples)
}
