//! The fault campaign runs the exporter against the simulator and injects random faults. Each value
//! that the exporter exposes must be correct, marked as not fresh, or absent. No known data may be
//! lost, no request may hang, and memory must not grow.
//!
//! - `expected`: an independent record of the true state, with the time of each change
//! - `changes`: the same for changes of devices
//! - `organisation`: the same for what collectors read
//! - `faults`, `disk`: the faults
//! - `environment`: a simulator and an exporter, and the random events that affect them
//! - `scrape`, `totals`, `checker`: parse a scrape and compare it with the expected state
//! - `saves`: the data that a killed exporter must have saved
//! - `alerts`: evaluates the shipped alerts on all scrapes
//!
//! In `cargo test` the campaign lasts some seconds. `WICKR_TEST_CAMPAIGN=1h` sets another duration
//! and uses random seeds. `WICKR_TEST_CAMPAIGN_SEED=7` repeats the events of one seed, but not their
//! exact timing.

mod alerts;
mod changes;
mod checker;
mod disk;
mod environment;
mod expected;
mod faults;
mod organisation;
mod saves;
mod scrape;
mod totals;

use std::time::{Duration, Instant};

use environment::{Environment, FailureReport, Statistics};
use tokio::task::JoinSet;

/// The duration in `cargo test`.
const DEFAULT_DURATION: Duration = Duration::from_secs(20);
/// The lifetime of an environment. Then a new one starts.
const LIFETIME: Duration = Duration::from_secs(180);
/// The number of concurrent environments.
const CONCURRENCY: u64 = 4;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn exposes_only_correct_or_marked_values_during_random_faults() {
    let duration = variable("WICKR_TEST_CAMPAIGN");
    let time =
        duration.as_ref().map_or(DEFAULT_DURATION, |text| humantime::parse_duration(text).unwrap());
    let seed = variable("WICKR_TEST_CAMPAIGN_SEED").map(|text| text.parse::<u64>().unwrap());
    let first = if duration.is_some() { fastrand::u64(..1 << 32) } else { 1 };
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    match seed {
        Some(seed) => drop(tasks.spawn(run_environments(vec![seed], until, true))),
        None => {
            for task in 0..CONCURRENCY {
                let seeds = (first + task..).step_by(CONCURRENCY as usize).take(1000).collect();
                // The first environment runs until the end without restarts, to measure its memory.
                tasks.spawn(run_environments(seeds, until, task > 0));
            }
        }
    }
    let mut total = Statistics::default();
    let mut failures = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (statistics, reports) = task.unwrap();
        total = total.and(statistics);
        failures.extend(reports);
    }
    println!("{total:?}");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n\n"));
    assert!(total.polls > 50 && total.recoveries > 0, "too few events: {total:?}");
}

/// Runs one environment after another, and continues after a failure.
async fn run_environments(
    seeds: Vec<u64>,
    until: Instant,
    restarts: bool,
) -> (Statistics, Vec<String>) {
    let (mut total, mut failures) = (Statistics::default(), Vec::new());
    for seed in seeds {
        let end = if restarts { until.min(Instant::now() + LIFETIME) } else { until };
        let mut environment = Environment::new(seed, restarts).await;
        let result = environment.run(end).await;
        let statistics = environment.statistics;
        total = total.and(statistics);
        if variable("WICKR_TEST_CAMPAIGN").is_some() {
            println!("seed {seed}: {statistics:?}, memory {:?} MB", environment.memory());
        }
        if let Err(FailureReport(text)) = result {
            let text = format!("WICKR_TEST_CAMPAIGN_SEED={seed} after {statistics:?}:\n{text}");
            println!("{text}");
            failures.push(text);
        }
        if Instant::now() >= until {
            break;
        }
    }
    (total, failures)
}
