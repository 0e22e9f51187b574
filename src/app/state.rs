//! The state files, one for each network: read at the start, written after polls and at shutdown.
//!
//! With the configured path `state`, the state of network 12345678 is in `state.12345678`.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::files::{self, Previous};
use crate::{
    clock::Clock,
    inventory::{
        Collected, LastPoll, NetworkView, Reader, Snapshot,
        state::{self, RestoredNetwork},
    },
    telemetry::Metrics,
    wickr::{Interner, NetworkId},
};

/// Minimum time between two saves, because many small networks end many polls.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for which changes of devices are not saved, and so not exposed.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Only the exporter can read them: they contain users and devices.
const MODE: u32 = 0o600;

#[derive(Debug, Clone)]
pub(super) struct StateFiles {
    path: Arc<PathBuf>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Serializes saves, so that the save that starts last wins.
    files: Arc<Mutex<Files>>,
}

/// The files that exist.
#[derive(Debug, Default)]
struct Files {
    saved: HashMap<NetworkId, Saved>,
    /// Networks whose file cannot be read, perhaps because a newer version wrote it. It is kept until
    /// there is data to save, and then backed up.
    unreadable: HashSet<NetworkId>,
}

/// What the file of a network contains.
#[derive(Debug)]
struct Saved {
    last_poll: Option<LastPoll>,
    /// None if an earlier process wrote it. Weak, so that superseded blocks are freed.
    view: Weak<NetworkView>,
    /// The same for its collectors. None if it has none.
    collected: Option<Weak<Collected>>,
}

/// Which networks a save writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// Those with a poll that has ended.
    LastPoll,
    /// Those, and those with changes of devices that are not exposed.
    UnexposedChange,
    /// Those that have changed at all.
    LastChange,
}

impl StateFiles {
    pub(super) fn new(path: &Path, metrics: Arc<Metrics>, clock: Clock) -> StateFiles {
        let path = Arc::new(files::follow_own_link(path));
        StateFiles { path, metrics, clock, files: Arc::default() }
    }

    /// Restores the state. A damaged or incompatible file is ignored with a warning.
    pub(super) fn load(&self, labels: &Interner) -> HashMap<NetworkId, RestoredNetwork> {
        let mut files = self.lock();
        let (mut networks, mut all_readable) = (HashMap::new(), true);
        for id in self.networks_with_files() {
            let path = self.file(&id);
            let found = read(&path, labels).and_then(|found| match found {
                None => Ok(None),
                Some(mut found) => match found.remove(&id) {
                    None => Err(format!("it does not contain network {id}")),
                    found => Ok(found),
                },
            });
            match found {
                Ok(None) => {}
                Ok(Some(network)) => {
                    let saved =
                        Saved { last_poll: network.last_poll, view: Weak::new(), collected: None };
                    files.saved.insert(id.clone(), saved);
                    networks.insert(id, network);
                }
                Err(error) => {
                    tracing::warn!(
                        path = %path.display(),
                        error,
                        "state file ignored; the next save keeps it with the suffix .old"
                    );
                    files.unreadable.insert(id);
                    all_readable = false;
                }
            }
        }
        // With a file of another user, they can be that user's.
        if all_readable {
            files::remove_temporary_files(&self.path, |id| id.parse::<NetworkId>().is_ok());
        }
        if !networks.is_empty() {
            let users: usize = networks.values().map(|network| network.users.len()).sum();
            tracing::info!(networks = networks.len(), users, "restored the state files");
        }
        networks
    }

    /// Saves the networks that have changed. A failure is logged, and the existing file stays.
    pub(super) async fn save(&self, snapshot: Snapshot, since: Since) {
        let this = self.clone();
        let saving = tokio::task::spawn_blocking(move || this.write(&snapshot, since));
        match saving.await.unwrap_or_else(|error| Err((self.path.to_path_buf(), error.to_string())))
        {
            // If nothing has changed, the files are up to date.
            Ok(true) => self.metrics.state_saved(self.clock.now()),
            Ok(false) => {}
            Err((path, error)) => {
                tracing::warn!(path = %path.display(), error, "saving the state file failed");
            }
        }
    }

    /// Writes the files of changed networks, and removes those of others. Returns whether every network
    /// is saved: an unreadable file is kept while there is no data to save. A failure concerns one file;
    /// the first is returned.
    fn write(&self, snapshot: &Snapshot, since: Since) -> Result<bool, (PathBuf, String)> {
        let mut files = self.lock();
        let mut result = Ok(());
        let mut failed = |path: PathBuf, error: String| {
            if result.is_ok() {
                result = Err((path, error));
            }
        };
        for view in &snapshot.networks {
            let path = self.file(&view.identity.id);
            if let Err(error) = files.write(&path, view, snapshot, since) {
                failed(path, error);
            }
        }
        let networks = &snapshot.networks;
        let is_gone =
            |id: &NetworkId| networks.binary_search_by(|view| view.identity.id.cmp(id)).is_err();
        let gone: Vec<NetworkId> = files.saved.keys().filter(|id| is_gone(id)).cloned().collect();
        for id in gone {
            let path = self.file(&id);
            match remove(&path) {
                Ok(()) => drop(files.saved.remove(&id)),
                Err(error) => failed(path, error),
            }
        }
        let all_saved = networks.iter().all(|view| files.saved.contains_key(&view.identity.id));
        result.map(|()| all_saved)
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
            let mut due = Instant::now() + MAX_DELAY;
            loop {
                let polled = tokio::time::timeout_at(due, polled.notified()).await.is_ok();
                let snapshot = reader.snapshot();
                let mut since = Since::LastPoll;
                if due <= Instant::now() {
                    due = Instant::now() + MAX_DELAY;
                    since = Since::UnexposedChange;
                }
                if polled || snapshot.has_unexposed_changes() {
                    self.save(snapshot, since).await;
                    tokio::time::sleep(MIN_INTERVAL).await;
                }
            }
        };
        stop.run_until_cancelled(saving).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Files> {
        // After a panic, at worst a file is written again.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a network.
    fn file(&self, id: &NetworkId) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(format!(".{id}"));
        path.into()
    }

    /// The networks whose file exists, of any type.
    fn networks_with_files(&self) -> Vec<NetworkId> {
        let Ok(entries) = files::folder(&self.path).read_dir() else { return Vec::new() };
        let own = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let network = |name: &[u8]| {
            let id = name.strip_prefix(own)?.strip_prefix(b".")?;
            std::str::from_utf8(id).ok()?.parse().ok()
        };
        entries
            .flatten()
            .filter_map(|entry| network(entry.file_name().as_encoded_bytes()))
            .collect()
    }
}

impl Files {
    /// Writes the file of a network unless it is up to date.
    fn write(
        &mut self,
        path: &Path,
        view: &Arc<NetworkView>,
        snapshot: &Snapshot,
        since: Since,
    ) -> Result<(), String> {
        let id = &view.identity.id;
        let current = Saved {
            last_poll: view.polls.last,
            view: Arc::downgrade(view),
            collected: snapshot.collected.get(id).map(Arc::downgrade),
        };
        let is_current = |saved: &Saved| match since {
            Since::LastPoll => saved.last_poll == current.last_poll,
            Since::UnexposedChange => {
                saved.last_poll == current.last_poll && !view.has_unexposed_changes()
            }
            Since::LastChange => {
                let collected = match (&saved.collected, &current.collected) {
                    (Some(saved), Some(current)) => saved.ptr_eq(current),
                    (saved, current) => saved.is_none() && current.is_none(),
                };
                collected && saved.view.ptr_eq(&current.view)
            }
        };
        if self.saved.get(id).is_some_and(is_current) {
            return Ok(());
        }
        let result = self.replace(path, view, snapshot, current);
        // After a failure, too: hidden changes are worse than a decrease of the counter after a crash.
        view.expose_changes();
        result
    }

    fn replace(
        &mut self,
        path: &Path,
        view: &Arc<NetworkView>,
        snapshot: &Snapshot,
        current: Saved,
    ) -> Result<(), String> {
        let id = &view.identity.id;
        let unreadable = self.unreadable.contains(id);
        if unreadable && !view.users.iter().any(|user| user.has_data()) {
            return Ok(());
        }
        let network = Snapshot { networks: vec![view.clone()], ..snapshot.clone() };
        let bytes = state::encode(&network)?;
        let previous = if unreadable { Previous::Keep } else { Previous::Remove };
        files::replace(path, &bytes, MODE, previous).map_err(|error| error.to_string())?;
        self.unreadable.remove(id);
        self.saved.insert(id.clone(), current);
        Ok(())
    }
}

/// Reads a state file. None if it does not exist.
fn read(
    path: &Path,
    labels: &Interner,
) -> Result<Option<HashMap<NetworkId, RestoredNetwork>>, String> {
    let read = files::open_owned(path).and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => state::decode(&bytes, labels).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
