//! The story of a run, part by part. Each part starts what it needs, measures, ends what it started
//! and leaves its tables and figures in the report.

mod aims;
mod load;
mod polls;
mod scrapes;

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    plan::{Options, Part, Plan},
    program,
    report::{self, Report, Table},
    start,
};

/// Everything that was planned.
pub(crate) async fn run(options: &Options) -> Result<Report> {
    let plan = Plan::of(options);
    let program = &program::find(options.binary.as_deref())?;
    let machine = report::machine(&program::version(program)?);
    let mut report = Report { quick: options.quick, machine, ..Report::default() };
    let begun = Instant::now();
    if plan.has(Part::Start) {
        starts(&plan, program, &mut report).await.context("starting")?;
    }
    if plan.has(Part::Scrape) {
        scrapes::run(&plan, program, &mut report).await.context("scraping")?;
    }
    if plan.has(Part::Poll) {
        polls::cost(&plan, program, &mut report).await.context("polling")?;
    }
    if plan.has(Part::Latency) {
        polls::latency(&plan, program, &mut report).await.context("polling a slow service")?;
    }
    if plan.has(Part::Memory) {
        polls::memory(&plan, program, &mut report).await.context("polling for long")?;
    }
    if plan.has(Part::Load) {
        load::run(&plan, program, &mut report).await.context("bearing a load")?;
    }
    if cfg!(not(target_os = "linux")) {
        report.missing.push("CPU time and memory: only Linux tells them".to_owned());
    }
    report.aims = aims::of(&report);
    note(&format!("done in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(report)
}

/// Tells whoever waits what is going on.
fn note(what: &str) {
    eprintln!("{what}");
}

async fn starts(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    note("starting the demo, again and again");
    let size = std::fs::metadata(program)?.len() as f64;
    let start = start::measure(program, plan.starts).await?;
    report.keep("start.size", Some(size));
    report.keep("start.serving", report::of(start.serving.median));
    report.keep("start.ready", report::of(start.ready.median));
    let row = |what: &str, spread: crate::scrape::Spread| {
        let figures = [spread.median, spread.least, spread.most];
        let figures = figures.map(|figure| report::seconds(report::of(figure)));
        [vec![what.to_owned()], figures.to_vec()].concat()
    };
    report.tables.push(Table {
        title: format!("Start of the demo ({} times)", plan.starts),
        columns: vec!["", "median", "least", "most"],
        rows: vec![
            row("serving `/-/healthy`", start.serving),
            row("ready: 40 users polled at 100 requests a second", start.ready),
        ],
    });
    Ok(())
}
