//! The state file: read at the start, written after polls and at shutdown.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::files::{self, Previous};
use crate::{
    clock::Clock,
    inventory::{
        Reader, Snapshot,
        state::{self, RestoredNetwork},
    },
    telemetry::Metrics,
    wickr::{Interner, NetworkId},
};

/// Minimum time between two writes, because many small networks end many polls.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for which changes of devices are not saved, and so not exposed.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Only the exporter can read it: it contains users and devices.
const MODE: u32 = 0o600;

#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: Arc<PathBuf>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Serializes writes, so that the write that starts last wins.
    write_lock: Arc<Mutex<()>>,
    /// The existing file cannot be read, perhaps because a newer version wrote it. It is kept until there
    /// is data to save, and then backed up.
    back_up: Arc<AtomicBool>,
}

impl StateFile {
    pub(super) fn new(path: PathBuf, metrics: Arc<Metrics>, clock: Clock) -> StateFile {
        StateFile {
            path: Arc::new(path),
            metrics,
            clock,
            write_lock: Arc::default(),
            back_up: Arc::default(),
        }
    }

    /// Restores the state. A damaged or incompatible file is ignored with a warning.
    pub(super) fn load(&self, labels: &Interner) -> HashMap<NetworkId, RestoredNetwork> {
        let read = files::open_owned(&self.path).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        if read.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound) {
            files::remove_temporary_files(&self.path);
        }
        let error = match read {
            Ok(bytes) => match state::decode(&bytes, labels) {
                Ok(mut networks) => {
                    // After a clock error, data from the future would never become stale.
                    let now = self.clock.now();
                    for user in networks.values_mut().flat_map(|network| &mut network.users) {
                        user.data.at = user.data.at.min(now);
                    }
                    let users: usize = networks.values().map(|network| network.users.len()).sum();
                    tracing::info!(networks = networks.len(), users, "restored the state file");
                    return networks;
                }
                Err(error) => error.to_string(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            path = %self.path.display(),
            error,
            "state file ignored; the next save keeps it with the suffix .old"
        );
        self.back_up.store(true, Ordering::Relaxed);
        HashMap::new()
    }

    /// Saves a snapshot. A failure is logged, and the existing file stays.
    pub(super) async fn save(&self, snapshot: Snapshot) {
        let has_data = || {
            let mut users = snapshot.networks.iter().flat_map(|network| network.users.iter());
            users.any(|user| user.has_data())
        };
        if self.back_up.load(Ordering::Relaxed) && !has_data() {
            return;
        }
        let (this, saved) = (self.clone(), snapshot.clone());
        let saving = tokio::task::spawn_blocking(move || this.write(&snapshot));
        match saving.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => self.metrics.state_saved(self.clock.now()),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), error, "saving the state file failed");
            }
        }
        // After a failure, too: changes that stay hidden would be worse than a wrong sum after a crash.
        saved.expose_changes();
    }

    fn write(&self, snapshot: &Snapshot) -> Result<(), String> {
        let _guard = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = state::encode(snapshot)?;
        let back_up = self.back_up.load(Ordering::Relaxed);
        let previous = if back_up { Previous::Keep } else { Previous::Remove };
        files::replace(&self.path, &bytes, MODE, previous).map_err(|error| error.to_string())?;
        self.back_up.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Saves after polls, and changes of devices also during long polls, until `stop`. It does not wait
    /// for a write that blocks.
    pub(super) async fn save_after_polls(
        self,
        reader: Reader,
        polled: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let saving = async {
            loop {
                let polled = tokio::time::timeout(MAX_DELAY, polled.notified()).await;
                let snapshot = reader.snapshot();
                if polled.is_ok() || snapshot.has_unexposed_changes() {
                    self.save(snapshot).await;
                    tokio::time::sleep(MIN_INTERVAL).await;
                }
            }
        };
        stop.run_until_cancelled(saving).await;
    }
}
