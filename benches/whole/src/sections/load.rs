//! More clients than anybody has, worse ones than anybody wants, and a long row of requests.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::note;
use crate::{
    exporter::{Exporter, Settings},
    load::{Giant, Outcome, crowd, row, slow, watch},
    plan::Plan,
    report::{self, Report, Table, seconds, size},
    simulator::{Simulator, Size},
    usage::Usage,
};

/// How often each of the crowd scrapes.
const TIMES: u32 = 4;
/// Everything that a browser, a probe and a scraper ask for, and what is not there.
const PATHS: [(&str, u16); 8] = [
    ("/-/healthy", 200),
    ("/metrics?collect[]=network", 200),
    ("/-/ready", 200),
    ("/nothing", 404),
    ("/-/healthy", 200),
    ("/metrics?collect[]=exporter", 200),
    ("/api/v1/devices?limit=1", 200),
    ("/", 200),
];
/// After this, everything is as it was before.
const SETTLED: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    let load = plan.load;
    let fleet = Size { churn: 20, ..load.fleet };
    let simulator = Simulator::start(program, fleet).await?;
    // Polled all the time: it must go on.
    let settings = Settings { interval: Duration::from_secs(1), ..Settings::ONCE };
    let exporter = Exporter::start(program, &simulator, settings).await?;
    let mut rows = Vec::new();
    let mut memory = Vec::new();

    note(&format!("bearing a load: {} scrapers at once", load.scrapers));
    let before = Before::of(&exporter).await?;
    let outcome = crowd(exporter.address, load.scrapers, TIMES).await?;
    ensure!(outcome.count(200) + outcome.count(503) == outcome.total(), "{:?}", outcome.statuses);
    report.keep("load.crowd.answered", Some(outcome.count(200) as f64));
    report.keep("load.crowd.busy", Some(outcome.count(503) as f64));
    rows.push(told(format!("{} scrapers at once, {TIMES} times each", load.scrapers), &outcome));
    memory.push(before.after("the crowd", &exporter).await?);

    note(&format!("bearing a load: {} slow clients", load.slow_clients));
    let before = Before::of(&exporter).await?;
    let (sent_away, scrapes, probes) = tokio::join!(
        slow(exporter.address, load.slow_clients, load.held),
        watch(exporter.address, "/metrics", load.held),
        watch(exporter.address, "/-/healthy", load.held),
    );
    let (sent_away, scrapes, probes) = (sent_away?, scrapes?, probes?);
    report.keep("load.slow.sent_away", Some(sent_away as f64));
    report.keep("load.slow.scrapes", Some(scrapes.count(200) as f64));
    report.keep("load.slow.scrapes_failed", Some((scrapes.total() - scrapes.count(200)) as f64));
    report.keep("load.slow.scrape", scrapes.spread().and_then(|s| report::of(s.median)));
    let among = format!("among {} slow clients", load.slow_clients);
    rows.push(told(format!("a scraper {among}"), &scrapes));
    rows.push(told(format!("a probe of `/-/healthy` {among}"), &probes));
    memory.push(before.after("the slow ones", &exporter).await?);

    note("bearing a load: requests of 10 MB");
    let before = Before::of(&exporter).await?;
    let mut giants = Vec::new();
    for giant in Giant::all() {
        let (status, sent) = giant.send(exporter.address).await?;
        let status = status.map_or("none".to_owned(), |status| status.to_string());
        giants.push(vec![giant.what.to_owned(), status, size(Some(sent as f64))]);
    }
    memory.push(before.after("those of 10 MB", &exporter).await?);

    note(&format!("bearing a load: {} requests", load.requests));
    let before = Before::of(&exporter).await?;
    let begun = Instant::now();
    let outcome = row(exporter.address, load.requests, &PATHS).await?;
    let took = begun.elapsed();
    ensure!(outcome.total() == load.requests, "{:?}", outcome.statuses);
    let rate = load.requests as f64 / took.as_secs_f64();
    report.keep("load.row.requests", Some(load.requests as f64));
    report.keep("load.row.rate", Some(rate));
    memory.push(before.after("the long row", &exporter).await?);

    exporter.end().await?;
    simulator.end().await?;
    let fleet = format!("{} users, polled every second", load.fleet.users);
    report.tables.push(Table {
        title: format!("Under load ({fleet})"),
        columns: vec!["", "answered", "503", "other", "median", "99 %", "most"],
        rows,
    });
    report.tables.push(Table {
        title: "Requests that are too large".to_owned(),
        columns: vec!["", "status", "sent before that"],
        rows: giants,
    });
    report.tables.push(Table {
        title: format!("A row of {} requests on 8 connections", load.requests),
        columns: vec!["", "requests a second", "200 and 404", "503"],
        rows: vec![vec![
            "none answered otherwise than it should be".to_owned(),
            format!("{rate:.0}"),
            (outcome.total() - outcome.count(503)).to_string(),
            outcome.count(503).to_string(),
        ]],
    });
    report.tables.push(Table {
        title: "What is left of it".to_owned(),
        columns: vec!["", "memory before", "at most", "after", "files", "threads", "polls"],
        rows: memory,
    });
    Ok(())
}

fn told(what: String, outcome: &Outcome) -> Vec<String> {
    let (spread, answered, busy) = (outcome.spread(), outcome.count(200), outcome.count(503));
    let time = |time: Option<Duration>| seconds(time.and_then(report::of));
    vec![
        what,
        answered.to_string(),
        busy.to_string(),
        (outcome.total() - answered - busy).to_string(),
        time(spread.map(|spread| spread.median)),
        time(outcome.p99()),
        time(spread.map(|spread| spread.most)),
    ]
}

/// How the exporter was before it was troubled.
struct Before {
    usage: Option<Usage>,
    good_polls: u64,
}

impl Before {
    async fn of(exporter: &Exporter) -> Result<Before> {
        Ok(Before { usage: exporter.usage(), good_polls: exporter.doings().await?.good_polls })
    }

    /// How it is after it has settled: what was opened is closed, and polls have gone on.
    async fn after(self, what: &str, exporter: &Exporter) -> Result<Vec<String>> {
        let until = Instant::now() + SETTLED;
        let files = |usage: Option<Usage>| usage.map_or(0, |usage| usage.files);
        let peak = exporter.usage().map(|usage| usage.peak as f64);
        while files(exporter.usage()) > files(self.usage) + 2 {
            ensure!(Instant::now() < until, "connections stay open after {what}");
            sleep(Duration::from_millis(100)).await;
        }
        let (usage, doings) = (exporter.usage(), exporter.doings().await?);
        let polls = doings.good_polls - self.good_polls;
        ensure!(doings.polls == doings.good_polls, "polls failed during {what}");
        let pair = |of: fn(Usage) -> u64| {
            let of = |usage: Option<Usage>| usage.map_or("-".to_owned(), |u| of(u).to_string());
            format!("{} → {}", of(self.usage), of(usage))
        };
        Ok(vec![
            what.to_owned(),
            size(self.usage.map(|usage| usage.rss as f64)),
            size(peak),
            size(usage.map(|usage| usage.rss as f64)),
            pair(|usage| usage.files),
            pair(|usage| usage.threads),
            format!("{polls} good ones"),
        ])
    }
}
