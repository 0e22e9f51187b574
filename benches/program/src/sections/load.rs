//! Load: concurrent scrapers, slow clients, oversized requests and many requests.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::note;
use crate::{
    exporter::{Exporter, Settings},
    load::{Outcome, OversizedRequest, concurrent_scrapes, many_requests, probe, slow_clients},
    plan::Plan,
    report::{self, Report, Table, format_seconds, format_size},
    simulator::{Simulator, Size},
    usage::Usage,
};

/// Scrapes of each concurrent scraper.
const SCRAPES: u32 = 4;
/// Requests of a browser, a probe and a scraper, with the expected status.
const PATHS: [(&str, u16); 8] = [
    ("/-/healthy", 200),
    ("/metrics?collect[]=network", 200),
    ("/-/ready", 200),
    ("/unknown", 404),
    ("/-/healthy", 200),
    ("/metrics?collect[]=exporter", 200),
    ("/api/v1/devices?limit=1", 200),
    ("/", 200),
];
/// Limit for closing connections after the load.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    let load = plan.load;
    let fleet = Size { churn: 20, ..load.fleet };
    let simulator = Simulator::start(program, fleet).await?;
    // Polls must continue under load.
    let settings = Settings { interval: Duration::from_secs(1), ..Settings::ONCE };
    let exporter = Exporter::start(program, &simulator, settings).await?;
    let mut rows = Vec::new();
    let mut memory = Vec::new();

    note(&format!("load: {} concurrent scrapers", load.scrapers));
    let before = Before::load(&exporter).await?;
    let outcome = concurrent_scrapes(exporter.address, load.scrapers, SCRAPES).await?;
    ensure!(outcome.count(200) + outcome.count(503) == outcome.total(), "{:?}", outcome.statuses);
    report.set("load.concurrent.ok", Some(outcome.count(200) as f64));
    report.set("load.concurrent.busy", Some(outcome.count(503) as f64));
    rows.push(outcome_row(
        format!("{} concurrent scrapers, {SCRAPES} times each", load.scrapers),
        &outcome,
    ));
    memory.push(before.after("concurrent scrapers", &exporter).await?);

    note(&format!("load: {} slow clients", load.slow_clients));
    let before = Before::load(&exporter).await?;
    let (disconnects, scrapes, probes) = tokio::join!(
        slow_clients(exporter.address, load.slow_clients, load.slow_duration),
        probe(exporter.address, "/metrics", load.slow_duration),
        probe(exporter.address, "/-/healthy", load.slow_duration),
    );
    let (disconnects, scrapes, probes) = (disconnects?, scrapes?, probes?);
    report.set("load.slow.disconnects", Some(disconnects as f64));
    report.set("load.slow.scrapes", Some(scrapes.count(200) as f64));
    report.set("load.slow.scrapes_failed", Some((scrapes.total() - scrapes.count(200)) as f64));
    report.set("load.slow.scrape", scrapes.spread().and_then(|s| report::as_seconds(s.median)));
    let beside = format!("beside {} slow clients", load.slow_clients);
    rows.push(outcome_row(format!("a scraper {beside}"), &scrapes));
    rows.push(outcome_row(format!("a probe of `/-/healthy` {beside}"), &probes));
    memory.push(before.after("slow clients", &exporter).await?);

    note("load: requests of 10 MB");
    let before = Before::load(&exporter).await?;
    let mut oversized = Vec::new();
    for request in OversizedRequest::all() {
        let (status, sent) = request.send(exporter.address).await?;
        let status = status.map_or("none".to_owned(), |status| status.to_string());
        oversized.push(vec![request.name.to_owned(), status, format_size(Some(sent as f64))]);
    }
    memory.push(before.after("oversized requests", &exporter).await?);

    note(&format!("load: {} requests", load.requests));
    let before = Before::load(&exporter).await?;
    let start = Instant::now();
    let outcome = many_requests(exporter.address, load.requests, &PATHS).await?;
    let elapsed = start.elapsed();
    ensure!(outcome.total() == load.requests, "{:?}", outcome.statuses);
    let rate = load.requests as f64 / elapsed.as_secs_f64();
    report.set("load.requests", Some(load.requests as f64));
    report.set("load.requests_per_second", Some(rate));
    memory.push(before.after("many requests", &exporter).await?);

    exporter.stop().await?;
    simulator.stop().await?;
    let fleet = format!("{} users, polled every second", load.fleet.users);
    report.tables.push(Table {
        title: format!("Under load ({fleet})"),
        columns: vec!["", "200", "503", "other", "median", "p99", "max"],
        rows,
    });
    report.tables.push(Table {
        title: "Oversized requests".to_owned(),
        columns: vec!["", "status", "sent"],
        rows: oversized,
    });
    report.tables.push(Table {
        title: format!("{} requests on 8 connections", load.requests),
        columns: vec!["requests per second", "200 and 404", "503"],
        rows: vec![vec![
            format!("{rate:.0}"),
            (outcome.total() - outcome.count(503)).to_string(),
            outcome.count(503).to_string(),
        ]],
    });
    report.tables.push(Table {
        title: "After the load".to_owned(),
        columns: vec!["", "memory before", "peak", "after", "files", "threads", "polls"],
        rows: memory,
    });
    Ok(())
}

fn outcome_row(name: String, outcome: &Outcome) -> Vec<String> {
    let (spread, ok, busy) = (outcome.spread(), outcome.count(200), outcome.count(503));
    let time = |time: Option<Duration>| format_seconds(time.and_then(report::as_seconds));
    vec![
        name,
        ok.to_string(),
        busy.to_string(),
        (outcome.total() - ok - busy).to_string(),
        time(spread.map(|spread| spread.median)),
        time(outcome.p99()),
        time(spread.map(|spread| spread.max)),
    ]
}

/// The exporter's state before a load.
struct Before {
    usage: Option<Usage>,
    good_polls: u64,
}

impl Before {
    async fn load(exporter: &Exporter) -> Result<Before> {
        Ok(Before { usage: exporter.usage(), good_polls: exporter.stats().await?.good_polls })
    }

    /// Waits for the connections to close and checks that polls continued. Returns a table row.
    async fn after(self, load: &str, exporter: &Exporter) -> Result<Vec<String>> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let files = |usage: Option<Usage>| usage.map_or(0, |usage| usage.files);
        let peak = exporter.usage().map(|usage| usage.peak as f64);
        while files(exporter.usage()) > files(self.usage) + 2 {
            ensure!(Instant::now() < deadline, "connections stay open after {load}");
            sleep(Duration::from_millis(100)).await;
        }
        let (usage, stats) = (exporter.usage(), exporter.stats().await?);
        let polls = stats.good_polls - self.good_polls;
        ensure!(stats.polls == stats.good_polls, "polls failed during {load}");
        let pair = |field: fn(Usage) -> u64| {
            let text =
                |usage: Option<Usage>| usage.map_or("-".to_owned(), |u| field(u).to_string());
            format!("{} → {}", text(self.usage), text(usage))
        };
        Ok(vec![
            load.to_owned(),
            format_size(self.usage.map(|usage| usage.rss as f64)),
            format_size(peak),
            format_size(usage.map(|usage| usage.rss as f64)),
            pair(|usage| usage.files),
            pair(|usage| usage.threads),
            format!("{polls} succeeded"),
        ])
    }
}
