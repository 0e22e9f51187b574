//! Polls: what a request costs, how near to the ideal a slow service is polled, and whether memory
//! stays level.

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
    poll::{self, How, Poll},
    report::{self, Report, Table, seconds, size, times},
    simulator::{Simulator, Size},
    usage,
};

/// Who polls: what it is called here, and the command of the peer that does it.
const POLLERS: [(&str, Option<&str>); 3] =
    [("exporter", None), ("aws-sdk-wickr", Some("sdk")), ("bare loop", Some("bare"))];

/// CPU time a request, with one page a user and with several.
pub(super) async fn cost(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    without_peers(report);
    for (name, size) in [("one page", plan.fleet), ("pages", plan.pages)] {
        let fleet = Polled::start(program, size, 100).await?;
        let mut rows = Vec::new();
        for in_flight in [16, 64] {
            for (who, peer) in pollers() {
                note(&format!("polling: {who}, {name}, {in_flight} in flight"));
                let how = How { in_flight, page_size: 100, polls: plan.polls };
                let poll = fleet.by(program, peer, how).await.context(who)?;
                let key =
                    |who: &str, figure: &str| format!("poll.{name}.{who}.{in_flight}.{figure}");
                report.keep(&key(who, "cpu"), poll.cpu.and_then(report::of));
                report.keep(&key(who, "median"), report::of(poll.times.median));
                rows.push(vec![
                    who.to_owned(),
                    in_flight.to_string(),
                    seconds(poll.cpu.and_then(report::of)),
                    times(report.ratio(&key(who, "cpu"), &key("exporter", "cpu"))),
                    seconds(report::of(poll.times.median)),
                    poll.requests.to_string(),
                ]);
            }
        }
        report.tables.push(Table {
            title: format!(
                "Polls of {} users with {} devices each, pages of 100 ({} polls each)",
                size.users, size.devices_per_user, plan.polls
            ),
            columns: vec![
                "",
                "in flight",
                "CPU a request",
                "of the exporter",
                "a poll, median",
                "requests",
            ],
            rows,
        });
        fleet.simulator.end().await?;
    }
    Ok(())
}

/// How near to the ideal: all requests in flight all the time, each as long as the service takes.
pub(super) async fn latency(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    const IN_FLIGHT: u32 = 64;
    /// Three pages for five devices.
    const PAGE_SIZE: u32 = 2;
    without_peers(report);
    let fleet = Polled::start(program, plan.slow, PAGE_SIZE).await?;
    let latency = plan.slow.latency;
    let requests = f64::from(u32::try_from(fleet.fleet.requests).context("too many requests")?);
    let ideal = latency.as_secs_f64() * requests / f64::from(IN_FLIGHT);
    report.keep("latency.ideal", Some(ideal));
    let mut rows =
        vec![[vec!["the ideal".to_owned(), seconds(Some(ideal))], vec![String::new(); 3]].concat()];
    for (who, peer) in pollers() {
        note(&format!("polling a slow service: {who}"));
        let how = How { in_flight: IN_FLIGHT, page_size: PAGE_SIZE, polls: plan.polls.min(3) };
        let (before, started) = (usage::of(fleet.simulator.pid()), Instant::now());
        let poll = fleet.by(program, peer, how).await.context(who)?;
        let busy = usage::cpu_between(before, usage::of(fleet.simulator.pid()));
        let busy = busy.map(|cpu| cpu.as_secs_f64() / started.elapsed().as_secs_f64());
        let key = format!("latency.{who}.median");
        report.keep(&key, report::of(poll.times.median));
        rows.push(vec![
            who.to_owned(),
            seconds(report::of(poll.times.median)),
            times(report.ratio(&key, "latency.ideal")),
            seconds(poll.cpu.and_then(report::of)),
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
        columns: vec!["", "a poll, median", "of the ideal", "CPU a request", "simulator"],
        rows,
    });
    fleet.simulator.end().await
}

/// The curve of memory.
pub(super) async fn memory(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    const WIDTH: f64 = 40.0;
    note(&format!("polling {} times", plan.long));
    let simulator = Simulator::start(program, plan.changing).await?;
    let points = poll::memory(program, &simulator, plan.long.into()).await?;
    simulator.end().await?;
    let most = points.iter().map(|point| point.rss).max().unwrap_or_default();
    let rows = points.iter().map(|point| {
        let share = point.rss as f64 / most as f64;
        let bar = "#".repeat((share * WIDTH).round() as usize);
        vec![point.polls.to_string(), size(Some(point.rss as f64)), format!("{bar:<40}")]
    });
    report.tables.push(Table {
        title: format!(
            "Resident memory over {} polls, with a scrape at each point: {} users, {} changes a second",
            plan.long, plan.changing.users, plan.changing.churn
        ),
        columns: vec!["after polls", "resident", ""],
        rows: rows.collect(),
    });
    // What comes in the first quarter is warming up.
    let part = |from: usize, to: usize| {
        let count = points.len();
        let of = points.get(count * from / 4..count * to / 4).unwrap_or_default();
        of.iter().map(|point| point.rss as f64).reduce(f64::max)
    };
    report.keep("memory.polls", Some(plan.long.into()));
    report.keep("memory.second_quarter", part(1, 2));
    report.keep("memory.last_quarter", part(3, 4));
    Ok(())
}

/// A fleet to poll.
struct Polled {
    simulator: Simulator,
    fleet: Fleet,
}

impl Polled {
    async fn start(program: &Path, size: Size, page_size: u32) -> Result<Polled> {
        let simulator = Simulator::start(program, size).await?;
        // How much there is does not depend on how long an answer takes: without latency it is
        // read sooner.
        let fleet = if size.latency.is_zero() {
            Fleet::read(&simulator, page_size).await?
        } else {
            let fast = Size { latency: Duration::ZERO, ..size };
            let other = Simulator::start(program, fast).await?;
            let fleet = Fleet::read(&other, page_size).await?;
            other.end().await?;
            fleet
        };
        Ok(Polled { simulator, fleet })
    }

    async fn by(&self, program: &Path, peer: Option<&str>, how: How) -> Result<Poll> {
        match peer {
            None => poll::exporter(program, &self.simulator, &self.fleet, how).await,
            Some(peer) => peers::poll(peer, &self.simulator, &self.fleet, how).await,
        }
    }
}

/// Those that this build has.
fn pollers() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    POLLERS.into_iter().filter(|(_, peer)| cfg!(feature = "peers") || peer.is_none())
}

fn without_peers(report: &mut Report) {
    let why = "aws-sdk-wickr and the bare loop: built without `peers`";
    if cfg!(not(feature = "peers")) && !report.missing.iter().any(|other| other == why) {
        report.missing.push(why.to_owned());
    }
}
