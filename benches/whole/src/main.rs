//! Measures wickr-exporter as its users meet it: whole processes that talk over loopback, beside
//! peers that do the same work in the same run. Absolute figures are this machine's; ratios hold.
//!
//! In reading order: [`plan`] (what is measured, and how large), [`sections`] (the story of the run,
//! part by part), [`scrape`], [`poll`] and [`start`] (how one thing is measured), [`peers`] (what is
//! measured beside it), [`report`]. Beneath them: [`simulator`], [`exporter`] and [`children`] (the
//! processes), [`fleet`] and [`verify`] (whether what is measured is right), [`http`], [`sign`] and
//! [`usage`].
//!
//! It shares no code with the exporter and knows it only from the outside.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod children;
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
    // One thread: what is measured wants the others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // Whatever ends first: what was started for the run ends with it.
        let report = tokio::select! {
            report = sections::run(&cli.options) => report,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow!("terminated")),
        };
        if report.is_err() {
            // What was killed by being dropped is laid to rest meanwhile.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        report
    })?;
    show(&report, cli.options.markdown.as_deref(), cli.options.json.as_deref())
}

fn show(report: &Report, markdown: Option<&Path>, json: Option<&Path>) -> Result<()> {
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
