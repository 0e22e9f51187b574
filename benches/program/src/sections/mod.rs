//! The parts of a run. Each starts the processes that it needs and adds its results to the report.

mod load;
mod polls;
mod scrapes;
mod targets;

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    plan::{Options, Part, Plan},
    program,
    report::{self, Report, Table},
    start,
};

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let plan = Plan::new(options);
    let program = &program::find(options.binary.as_deref())?;
    let machine = report::machine(&program::version(program)?);
    let mut report = Report { quick: options.quick, machine, ..Report::default() };
    let start = Instant::now();
    if plan.includes(Part::Start) {
        measure_start(&plan, program, &mut report).await.context("start")?;
    }
    if plan.includes(Part::Scrape) {
        scrapes::run(&plan, program, &mut report).await.context("scrapes")?;
    }
    if plan.includes(Part::Poll) {
        polls::cpu(&plan, program, &mut report).await.context("polls")?;
        polls::once(&plan, program, &mut report).await.context("processes with one poll")?;
    }
    if plan.includes(Part::Latency) {
        polls::latency(&plan, program, &mut report).await.context("polls with latency")?;
    }
    if plan.includes(Part::Memory) {
        polls::memory(&plan, program, &mut report).await.context("memory")?;
    }
    if plan.includes(Part::Load) {
        load::run(&plan, program, &mut report).await.context("load")?;
    }
    if cfg!(not(target_os = "linux")) {
        report.missing.push("CPU time and memory: available only on Linux".to_owned());
    }
    report.targets = targets::evaluate(&report);
    note(&format!("done in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(report)
}

/// Reports progress.
fn note(step: &str) {
    eprintln!("{step}");
}

async fn measure_start(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    note("start: the demo");
    let size = std::fs::metadata(program)?.len() as f64;
    let start = start::measure(program, plan.starts).await?;
    report.set("start.size", Some(size));
    report.set("start.serving", report::as_seconds(start.serving.median));
    report.set("start.ready", report::as_seconds(start.ready.median));
    let row = |name: &str, spread: crate::scrape::Spread| {
        let times = [spread.median, spread.min, spread.max]
            .map(|time| report::format_seconds(report::as_seconds(time)));
        [vec![name.to_owned()], times.to_vec()].concat()
    };
    report.tables.push(Table {
        title: format!("Start of the demo ({} times)", plan.starts),
        columns: vec!["", "median", "min", "max"],
        rows: vec![
            row("serving `/-/healthy`", start.serving),
            row("ready: 40 users polled at 100 requests per second", start.ready),
        ],
    });
    Ok(())
}
