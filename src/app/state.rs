//! The state file: read at the start, written after polls and at the end.

use std::{collections::HashMap, io, path::Path, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::files::write_atomically;
use crate::{
    clock::Clock,
    inventory::{
        Reader, Snapshot,
        state::{self, RestoredNetwork},
    },
    telemetry::Metrics,
    wickr::{Labels, NetworkId},
};

/// The least time between two writes, so that many small networks do not mean many writes.
const REST: Duration = Duration::from_secs(1);
/// Nobody but the exporter reads it: it tells who has which devices.
const MODE: u32 = 0o600;

/// What an earlier process left; nothing, with a warning, if that is of no use.
pub(super) fn load(path: &Path, labels: &Labels) -> HashMap<NetworkId, RestoredNetwork> {
    let why = match std::fs::read(path) {
        Ok(bytes) => match state::decode(&bytes, labels) {
            Ok(networks) => {
                let users: usize = networks.values().map(|network| network.users.len()).sum();
                tracing::info!(networks = networks.len(), users, "restored the last data");
                return networks;
            }
            Err(bad) => bad.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(path = %path.display(), why, "the state file is of no use, starting without it");
    HashMap::new()
}

/// Saves what is known. A failure is logged, and the former file stays.
pub(super) async fn save(path: &Path, snapshot: Snapshot, metrics: &Metrics, clock: &Clock) {
    let target = path.to_owned();
    let saving = tokio::task::spawn_blocking(move || {
        let bytes = state::encode(&snapshot)?;
        write_atomically(&target, &bytes, MODE).map_err(|error| error.to_string())
    });
    let saved = saving.await.unwrap_or_else(|error| Err(error.to_string()));
    match saved {
        Ok(()) => metrics.state_saved(clock.now()),
        Err(why) => tracing::warn!(why, "the state cannot be saved"),
    }
}

/// Saves after polls, until `stop`.
pub(super) async fn save_after_polls(
    path: std::path::PathBuf,
    reader: Reader,
    polled: Arc<Notify>,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(polled.notified()).await.is_some() {
        save(&path, reader.snapshot(), &metrics, &clock).await;
        if stop.run_until_cancelled(tokio::time::sleep(REST)).await.is_none() {
            return;
        }
    }
}
