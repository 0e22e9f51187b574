//! The fault campaign: whatever goes wrong, in whatever mixture, every number that is exposed is
//! true or marked as not fresh, nothing that is known is lost, nothing hangs, and no memory grows.
//!
//! - `truth`: what is true, and since when, written down as it is made so
//! - `trouble`, `disk`: what can go wrong
//! - `world`: a service, an exporter, and what befalls them, by a seed
//! - `scrape`, `tally`, `judge`: what is told, held against the truth
//!
//! In `cargo test` it goes on for some seconds. `WICKR_TEST_CAMPAIGN=1h` makes it go on for an hour,
//! with seeds that differ each time; `WICKR_TEST_CAMPAIGN_SEED=7` does again what that seed did. The
//! same things befall the exporter then, though not to the millisecond.

mod disk;
mod judge;
mod scrape;
mod tally;
mod trouble;
mod truth;
mod world;

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use world::{Report, Tally, World};

/// How long it goes on in `cargo test`.
const SHORT: Duration = Duration::from_secs(30);
/// A world ends after this, and another one begins.
const WORLD: Duration = Duration::from_secs(180);
/// How many there are at a time.
const LANES: u64 = 4;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_every_number_is_true_or_marked_as_not_fresh() {
    let wanted = variable("WICKR_TEST_CAMPAIGN");
    let time = wanted.as_ref().map_or(SHORT, |text| humantime::parse_duration(text).unwrap());
    let seed = variable("WICKR_TEST_CAMPAIGN_SEED").map(|text| text.parse::<u64>().unwrap());
    let first = if wanted.is_some() { fastrand::u64(..1 << 32) } else { 1 };
    let until = Instant::now() + time;
    let mut lanes = JoinSet::new();
    match seed {
        Some(seed) => drop(lanes.spawn(worlds(vec![seed], until, true))),
        None => {
            for lane in 0..LANES {
                let seeds: Vec<_> = (first + lane..).step_by(LANES as usize).take(1000).collect();
                // One world lasts from beginning to end, for its memory to be watched.
                lanes.spawn(worlds(seeds, until, lane > 0));
            }
        }
    }
    let mut all = Tally::default();
    let mut failed = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        let (told, reports) = lane.unwrap();
        all = all.and(told);
        failed.extend(reports);
    }
    println!("{all:?}");
    assert!(failed.is_empty(), "{} of the worlds failed:\n{}", failed.len(), failed.join("\n\n"));
    assert!(all.polls > 50 && all.calms > 0, "next to nothing happened: {all:?}");
}

/// One world after another, whatever becomes of them.
async fn worlds(seeds: Vec<u64>, until: Instant, restarts: bool) -> (Tally, Vec<String>) {
    let (mut all, mut failed) = (Tally::default(), Vec::new());
    for seed in seeds {
        let end = if restarts { until.min(Instant::now() + WORLD) } else { until };
        let mut world = World::new(seed, restarts).await;
        let ended = world.run(end).await;
        let tally = world.tally;
        all = all.and(tally);
        if variable("WICKR_TEST_CAMPAIGN").is_some() {
            println!("seed {seed}: {tally:?}, memory {:?} MB", world.memory());
        }
        if let Err(Report(text)) = ended {
            let text = format!("WICKR_TEST_CAMPAIGN_SEED={seed} after {tally:?}:\n{text}");
            println!("{text}");
            failed.push(text);
        }
        if Instant::now() >= until {
            break;
        }
    }
    (all, failed)
}
