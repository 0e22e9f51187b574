//! The state file: read at the start, written after polls and at the end.

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

use super::files::{self, Former};
use crate::{
    clock::Clock,
    inventory::{
        Reader, Snapshot,
        state::{self, RestoredNetwork},
    },
    telemetry::Metrics,
    wickr::{Interner, NetworkId},
};

/// The least time between two writes, so that many small networks do not mean many writes.
const REST: Duration = Duration::from_secs(1);
/// Nobody but the exporter reads it: it tells who has which devices.
const MODE: u32 = 0o600;

/// The state file.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: Arc<PathBuf>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Held while it is written: of two writes the one that began later is the one that stays.
    writing: Arc<Mutex<()>>,
    /// There is a file that cannot be read, perhaps of a newer version to which one will go back: it
    /// makes way for what is known, not for nothing, and is kept beside it.
    spared: Arc<AtomicBool>,
}

impl StateFile {
    pub(super) fn new(path: PathBuf, metrics: Arc<Metrics>, clock: Clock) -> StateFile {
        StateFile {
            path: Arc::new(path),
            metrics,
            clock,
            writing: Arc::default(),
            spared: Arc::default(),
        }
    }

    /// What an earlier process left; nothing, with a warning, if that is of no use.
    pub(super) fn load(&self, labels: &Interner) -> HashMap<NetworkId, RestoredNetwork> {
        let read = files::open_ours(&self.path).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        if read.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound) {
            files::remove_leftovers(&self.path);
        }
        let why = match read {
            Ok(bytes) => match state::decode(&bytes, labels) {
                Ok(mut networks) => {
                    // What was read in the future, by a clock that was wrong, would never grow old.
                    let now = self.clock.now();
                    for user in networks.values_mut().flat_map(|network| &mut network.users) {
                        user.data.at = user.data.at.min(now);
                    }
                    let users: usize = networks.values().map(|network| network.users.len()).sum();
                    tracing::info!(networks = networks.len(), users, "restored the last data");
                    return networks;
                }
                Err(bad) => bad.to_string(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
            Err(error) => error.to_string(),
        };
        let path = self.path.display();
        tracing::warn!(
            %path,
            why,
            "the state file is of no use, starting without it; a file is kept, with .old after its \
             name, once something is known"
        );
        self.spared.store(true, Ordering::Relaxed);
        HashMap::new()
    }

    /// Saves what is known. A failure is logged, and the former file stays.
    pub(super) async fn save(&self, snapshot: Snapshot) {
        let has_news = || {
            let mut users = snapshot.networks.iter().flat_map(|network| network.users.iter());
            users.any(|user| user.has_data())
        };
        if self.spared.load(Ordering::Relaxed) && !has_news() {
            return;
        }
        let this = self.clone();
        let saving = tokio::task::spawn_blocking(move || this.write(&snapshot));
        match saving.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => self.metrics.state_saved(self.clock.now()),
            Err(why) => {
                tracing::warn!(path = %self.path.display(), why, "the state cannot be saved");
            }
        }
    }

    fn write(&self, snapshot: &Snapshot) -> Result<(), String> {
        // Nothing is guarded by it but the order.
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = state::encode(snapshot)?;
        let spared = self.spared.load(Ordering::Relaxed);
        let former = if spared { Former::IsKept } else { Former::Goes };
        files::replace(&self.path, &bytes, MODE, former).map_err(|error| error.to_string())?;
        self.spared.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Saves after polls, until `stop`. It does not wait for a write that hangs.
    pub(super) async fn save_after_polls(
        self,
        reader: Reader,
        polled: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let saving = async {
            loop {
                polled.notified().await;
                self.save(reader.snapshot()).await;
                tokio::time::sleep(REST).await;
            }
        };
        stop.run_until_cancelled(saving).await;
    }
}
