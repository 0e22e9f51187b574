//! Measures the wickr-exporter process over loopback and compares it with peers that do the same
//! work in the same run. Absolute values depend on the machine; ratios are stable.
//!
//! In reading order: [`plan`] (what to measure), [`sections`] (the parts of a run), [`scrape`],
//! [`curl`], [`poll`], [`start`] and [`load`] (the measurements), [`peers`] (programs to compare with),
//! [`report`]. Below them: [`simulator`], [`exporter`] and [`children`] (processes), [`fleet`] and
//! [`verify`] (correctness of the responses), [`http`], [`sign`] and [`usage`].
//!
//! It shares no code with the exporter.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod children;
mod curl;
mod exporter;
mod fleet;
mod http;
mod load;
mod peers;
mod plan;
mod poll;
mod program;
mod report;
mod scrape;
mod sections;
mod sign;
mod simulator;
mod start;
mod usage;
mod verify;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    plan::{Cli, Command},
    report::Report,
};

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Peer { peer }) = cli.command {
        return peers::run(peer);
    }
    // One thread leaves the other cores to the measured program.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let report = tokio::select! {
            report = sections::run(&cli.options) => report,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow!("terminated")),
        };
        if report.is_err() {
            // Lets the runtime reap the children, which were killed on drop.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        report
    })?;
    output(&report, cli.options.markdown.as_deref(), cli.options.json.as_deref())
}

fn output(report: &Report, markdown: Option<&Path>, json: Option<&Path>) -> Result<()> {
    let text = report.markdown();
    println!("{text}");
    let write = |path: &Path, text: &str| {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = markdown {
        write(path, &text)?;
    }
    if let Some(path) = json {
        write(path, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    Ok(())
}
