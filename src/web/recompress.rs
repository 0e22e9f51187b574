//! Compresses what a poll has changed before a scrape waits for it.

use std::{
    io,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::DisplaySettings;
use crate::{
    clock::Clock,
    exposition::{CompressionCache, Exposition},
    inventory::{Reader, Snapshot},
};

/// A poll publishes results ten times a second. Most are in blocks that the next result changes again.
const INTERVAL: Duration = Duration::from_millis(250);
/// After this much work, the thread sleeps for as long, so that it uses half a core at most.
const SLICE: Duration = Duration::from_millis(5);

/// Compresses changed data until `stop`, if scrapes have requested it lately.
pub async fn recompress(
    reader: Reader,
    settings: Arc<ArcSwap<DisplaySettings>>,
    clock: Clock,
    cache: Arc<CompressionCache>,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(reader.changed()).await.is_some() {
        let (snapshot, settings, clock) = (reader.snapshot(), settings.clone(), clock.clone());
        let (cache, stopped) = (cache.clone(), stop.clone());
        let work = move || run(&snapshot, &settings.load(), &clock, &cache, &stopped);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "compression ended early"),
            Err(error) => tracing::error!(%error, "compression failed"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

fn run(
    snapshot: &Snapshot,
    settings: &DisplaySettings,
    clock: &Clock,
    cache: &CompressionCache,
    stop: &CancellationToken,
) -> io::Result<()> {
    let exposition = Exposition {
        snapshot,
        now: clock.moment(),
        idle_buckets: &settings.idle_buckets,
        sso_horizons: &settings.sso_horizons,
        usernames: settings.usernames,
        exporter_metrics: &[],
        groups: &settings.groups,
    };
    let mut started = Instant::now();
    exposition.recompress(cache, || {
        if stop.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the exporter stops"));
        }
        let worked = started.elapsed();
        if worked >= SLICE {
            sleep(worked);
            started = Instant::now();
        }
        Ok(())
    })
}
