//! Compressed chunks, cached between scrapes.
//!
//! Compression dominates the cost of a scrape, and most lines change only when a poll finds a change.
//! The chunk of a block and family is cached until the block changes. A chunk that depends on the
//! ends of SSO sessions is cached for the period in which it is valid. Idle times, which are valid for one
//! moment, are not cached.
//! Concurrent scrapes compress a chunk once. What scrapes have requested lately is compressed again when
//! a poll changes it, so that the next scrape does not wait for it; see
//! [`Exposition::recompress`](super::Exposition::recompress).
//!
//! The cache is bounded: one chunk for each block, family and encoding requested in the last minutes.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::compression::{CompressedChunk, Encoding};
use crate::{clock::Millis, inventory::Snapshot};

/// Chunks that no scrape requests are dropped after this time, longer than any common scrape interval.
const MAX_UNUSED: Millis = 600_000;

/// A family as a scrape requests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) family: &'static str,
    pub(super) encoding: Encoding,
    pub(super) usernames: bool,
}

/// What the lines of a block and family depend on, besides the request and whether data has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Version {
    /// One of the numbers of a [`BlockVersion`](crate::inventory::BlockVersion).
    pub(super) block: u64,
    /// The first and the last time of the lines, if they depend on the ends of SSO sessions.
    pub(super) period: Option<(Millis, Millis)>,
}

/// Everything that a chunk depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) version: Version,
    pub(super) request: Request,
}

/// None until it is compressed.
type CachedChunk = Mutex<Option<Arc<CompressedChunk>>>;

/// The chunks of all scrapes.
#[derive(Default)]
pub struct CompressionCache {
    slots: Mutex<HashMap<Key, Arc<CachedChunk>>>,
    /// The time of the last scrape with each request.
    requests: Mutex<HashMap<Request, Millis>>,
}

impl fmt::Debug for CompressionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionCache").field("slots", &lock(&self.slots).len()).finish()
    }
}

impl CompressionCache {
    /// A scrape at `now` has a request.
    pub(super) fn record(&self, request: Request, now: Millis) {
        lock(&self.requests).insert(request, now);
    }

    /// The requests of the last minutes.
    pub(super) fn requests(&self, now: Millis) -> HashSet<Request> {
        let mut requests = lock(&self.requests);
        requests.retain(|_, last| now.abs_diff(*last) < MAX_UNUSED.unsigned_abs());
        requests.keys().copied().collect()
    }

    /// Drops the chunks of earlier block versions, of earlier periods, and those that are not requested.
    pub(super) fn evict(&self, snapshot: &Snapshot, now: Millis) {
        let blocks = snapshot.networks.iter().flat_map(|network| network.users.blocks());
        let live: HashSet<u64> = blocks
            .map(|block| block.version())
            .flat_map(|version| [version.any, version.logins, version.content])
            .collect();
        let requests = self.requests(now);
        lock(&self.slots).retain(|key, _| {
            let Version { block, period } = key.version;
            live.contains(&block)
                && period.is_none_or(|(first, last)| (first..=last).contains(&now))
                && requests.contains(&key.request)
        });
    }

    /// The cached chunk, or a new one from `compress`.
    pub(super) fn get(
        &self,
        key: Key,
        compress: impl FnOnce() -> io::Result<CompressedChunk>,
    ) -> io::Result<Arc<CompressedChunk>> {
        let slot = lock(&self.slots).entry(key).or_default().clone();
        // Only scrapes that need this chunk wait here.
        let mut chunk = lock(&slot);
        match &*chunk {
            Some(chunk) => Ok(chunk.clone()),
            None => Ok(chunk.insert(Arc::new(compress()?)).clone()),
        }
    }
}

#[cfg(test)]
impl CompressionCache {
    pub(super) fn chunks(&self) -> Vec<Arc<CompressedChunk>> {
        let slots: Vec<Arc<CachedChunk>> = lock(&self.slots).values().cloned().collect();
        slots.iter().filter_map(|slot| lock(slot).clone()).collect()
    }
}

/// Ignores poisoning: every value is valid even if a thread panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
