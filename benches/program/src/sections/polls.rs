//! Polls: CPU time per request, duration with latency, and memory over time.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::note;
use crate::{
    fleet::Fleet,
    peers,
    plan::Plan,
    poll::{self, Poll, PollSettings},
    report::{self, Report, Table, format_ratio, format_seconds, format_size},
    scrape::Spread,
    simulator::{Simulator, Size},
    usage,
};

/// The pollers: name in the report, and command of the peer.
const POLLERS: [(&str, Option<&str>); 3] =
    [("exporter", None), ("aws-sdk-wickr", Some("sdk")), ("bare loop", Some("bare"))];

const IN_FLIGHT: [u32; 2] = [16, 64];
const PAGE_SIZE: u32 = 100;

/// CPU time per request, with one page per user and with several.
pub(super) async fn cpu(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    note_missing_peers(report);
    for (name, size) in [("one page", plan.fleet), ("many pages", plan.many_pages)] {
        let fleet = PolledFleet::start(program, size, PAGE_SIZE).await?;
        let mut rows = Vec::new();
        for in_flight in IN_FLIGHT {
            let settings = PollSettings { in_flight, page_size: PAGE_SIZE, polls: plan.polls };
            let mut polls: Vec<Vec<Poll>> = vec![Vec::new(); POLLERS.len()];
            for round in 1..=plan.rounds {
                for ((who, peer), polls) in pollers().zip(&mut polls) {
                    note(&format!("polls: {who}, {name}, {in_flight} in flight, round {round}"));
                    polls.push(fleet.poll(program, peer, settings).await.context(who)?);
                }
            }
            let key = |who: &str, value: &str| format!("poll.{name}.{who}.{in_flight}.{value}");
            for ((who, _), polls) in pollers().zip(&polls) {
                report.set(&key(who, "cpu"), median(polls.iter().map(|poll| poll.cpu))?);
                let times = polls.iter().map(|poll| Some(poll.times.median));
                report.set(&key(who, "median"), median(times)?);
            }
            for (who, _) in pollers() {
                rows.push(vec![
                    who.to_owned(),
                    in_flight.to_string(),
                    format_seconds(report.value(&key(who, "cpu"))),
                    format_ratio(report.ratio(&key("exporter", "cpu"), &key(who, "cpu"))),
                    format_seconds(report.value(&key(who, "median"))),
                    fleet.fleet.requests.to_string(),
                ]);
            }
        }
        report.tables.push(Table {
            title: format!(
                "Polls of {} users with {} devices each, pages of 100 (median of {} x {} polls)",
                size.users, size.devices_per_user, plan.rounds, plan.polls
            ),
            columns: vec![
                "",
                "in flight",
                "CPU per request",
                "exporter vs this",
                "poll, median",
                "requests",
            ],
            rows,
        });
        fleet.simulator.stop().await?;
    }
    Ok(())
}

/// CPU time of processes that poll once, from their start.
pub(super) async fn once(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    let fleet = PolledFleet::start(program, plan.once, PAGE_SIZE).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let settings = PollSettings { in_flight, page_size: PAGE_SIZE, polls: 1 };
        let mut times = vec![Vec::new(); POLLERS.len()];
        for round in 1..=plan.rounds {
            for ((who, peer), times) in pollers().zip(&mut times) {
                note(&format!("one poll: {who}, {in_flight} in flight, round {round}"));
                times.push(fleet.first_poll(program, peer, settings).await.context(who)?);
            }
        }
        let key = |who: &str| format!("once.{who}.{in_flight}.cpu");
        for ((who, _), times) in pollers().zip(times) {
            report.set(&key(who), median(times)?);
        }
        let requests = f64::from(u32::try_from(fleet.fleet.requests).context("too many requests")?);
        for (who, _) in pollers() {
            let cpu = report.value(&key(who));
            rows.push(vec![
                who.to_owned(),
                in_flight.to_string(),
                format_seconds(cpu),
                format_seconds(cpu.map(|cpu| cpu / requests)),
                format_ratio(report.ratio(&key("exporter"), &key(who))),
            ]);
        }
    }
    report.tables.push(Table {
        title: format!(
            "Processes from their start to the end of one poll of {} users with {} devices each \
             (median of {})",
            plan.once.users, plan.once.devices_per_user, plan.rounds
        ),
        columns: vec!["", "in flight", "CPU", "CPU per request", "exporter vs this"],
        rows,
    });
    fleet.simulator.stop().await
}

/// The median in seconds; `None` if a value is not available.
fn median(times: impl IntoIterator<Item = Option<Duration>>) -> Result<Option<f64>> {
    let Some(times) = times.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    Ok(report::as_seconds(Spread::new(times)?.median))
}

/// Duration of a poll compared with the ideal: always IN_FLIGHT requests, each with exactly the
/// latency.
pub(super) async fn latency(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    const IN_FLIGHT: u32 = 64;
    /// Three pages for five devices.
    const PAGE_SIZE: u32 = 2;
    note_missing_peers(report);
    let fleet = PolledFleet::start(program, plan.slow, PAGE_SIZE).await?;
    let latency = plan.slow.latency;
    let requests = f64::from(u32::try_from(fleet.fleet.requests).context("too many requests")?);
    let ideal = latency.as_secs_f64() * requests / f64::from(IN_FLIGHT);
    report.set("latency.ideal", Some(ideal));
    let mut rows = vec![
        [vec!["ideal".to_owned(), format_seconds(Some(ideal))], vec![String::new(); 3]].concat(),
    ];
    for (who, peer) in pollers() {
        note(&format!("polls with latency: {who}"));
        let settings =
            PollSettings { in_flight: IN_FLIGHT, page_size: PAGE_SIZE, polls: plan.polls.min(3) };
        let (before, started) = (usage::of(fleet.simulator.pid()), Instant::now());
        let poll = fleet.poll(program, peer, settings).await.context(who)?;
        let busy = usage::cpu_between(before, usage::of(fleet.simulator.pid()));
        let busy = busy.map(|cpu| cpu.as_secs_f64() / started.elapsed().as_secs_f64());
        let key = format!("latency.{who}.median");
        report.set(&key, report::as_seconds(poll.times.median));
        rows.push(vec![
            who.to_owned(),
            format_seconds(report::as_seconds(poll.times.median)),
            format_ratio(report.ratio(&key, "latency.ideal")),
            format_seconds(poll.cpu.and_then(report::as_seconds)),
            busy.map(|cores| format!("{cores:.2} cores")).unwrap_or_default(),
        ]);
    }
    report.tables.push(Table {
        title: format!(
            "Polls with {} ms of latency: {} users, three pages each, {} requests, {IN_FLIGHT} in flight",
            latency.as_millis(),
            plan.slow.users,
            fleet.fleet.requests
        ),
        columns: vec!["", "poll, median", "vs ideal", "CPU per request", "simulator"],
        rows,
    });
    fleet.simulator.stop().await
}

pub(super) async fn memory(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    const WIDTH: f64 = 40.0;
    note(&format!("memory: {} polls", plan.memory_polls));
    let simulator = Simulator::start(program, plan.changing).await?;
    let samples = poll::memory(program, &simulator, plan.memory_polls.into()).await?;
    simulator.stop().await?;
    let max = samples.iter().map(|sample| sample.rss).max().unwrap_or_default();
    let rows = samples.iter().map(|sample| {
        let fraction = sample.rss as f64 / max as f64;
        let bar = "#".repeat((fraction * WIDTH).round() as usize);
        vec![sample.polls.to_string(), format_size(Some(sample.rss as f64)), format!("{bar:<40}")]
    });
    report.tables.push(Table {
        title: format!(
            "Resident memory over {} polls, with a scrape at each sample: {} users, {} changes per second",
            plan.memory_polls, plan.changing.users, plan.changing.churn
        ),
        columns: vec!["after polls", "resident", ""],
        rows: rows.collect(),
    });
    // The first quarter is warm-up.
    let max_rss = |from: usize, to: usize| {
        let count = samples.len();
        let part = samples.get(count * from / 4..count * to / 4).unwrap_or_default();
        part.iter().map(|sample| sample.rss as f64).reduce(f64::max)
    };
    report.set("memory.polls", Some(plan.memory_polls.into()));
    report.set("memory.second_quarter", max_rss(1, 2));
    report.set("memory.last_quarter", max_rss(3, 4));
    Ok(())
}

struct PolledFleet {
    simulator: Simulator,
    fleet: Fleet,
}

impl PolledFleet {
    async fn start(program: &Path, size: Size, page_size: u32) -> Result<PolledFleet> {
        let simulator = Simulator::start(program, size).await?;
        // The fleet does not depend on the latency, and is read faster without.
        let fleet = if size.latency.is_zero() {
            Fleet::read(&simulator, page_size).await?
        } else {
            let fast = Size { latency: Duration::ZERO, ..size };
            let other = Simulator::start(program, fast).await?;
            let fleet = Fleet::read(&other, page_size).await?;
            other.stop().await?;
            fleet
        };
        Ok(PolledFleet { simulator, fleet })
    }

    async fn poll(
        &self,
        program: &Path,
        peer: Option<&str>,
        settings: PollSettings,
    ) -> Result<Poll> {
        match peer {
            None => poll::exporter(program, &self.simulator, &self.fleet, settings).await,
            Some(peer) => peers::poll(peer, &self.simulator, &self.fleet, settings).await,
        }
    }

    async fn first_poll(
        &self,
        program: &Path,
        peer: Option<&str>,
        settings: PollSettings,
    ) -> Result<Option<Duration>> {
        let (simulator, fleet) = (&self.simulator, &self.fleet);
        match peer {
            None => poll::exporter_first(program, simulator, fleet, settings).await,
            Some(peer) => peers::first_poll(peer, simulator, fleet, settings).await,
        }
    }
}

/// The pollers of this build.
fn pollers() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    POLLERS.into_iter().filter(|(_, peer)| cfg!(feature = "peers") || peer.is_none())
}

fn note_missing_peers(report: &mut Report) {
    let reason = "aws-sdk-wickr and the bare loop: built without `peers`";
    if cfg!(not(feature = "peers")) && !report.missing.iter().any(|other| other == reason) {
        report.missing.push(reason.to_owned());
    }
}
