//! CompressedChunk pieces that are kept from one scrape to the next.
//!
//! Packing takes longer than everything else, and most of what is told changes only when a poll
//! finds something new. What a block of users comes to in one family is therefore kept until the
//! block changes; what moves with the clock is kept for scrapes of the same moment, and a moment
//! lasts a second. Two scrapes that want the same piece at the same time make it once.
//!
//! What is kept is bounded: a piece for each block, family and encoding that somebody has asked for in
//! the last minutes.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::compression::{CompressedChunk, Encoding};
use crate::{clock::Millis, inventory::Snapshot};

/// How long scrapes are of the same moment.
const MOMENT: Millis = 1000;
/// How long a piece is kept that nobody asks for: longer than anybody waits between two scrapes.
const UNUSED: Millis = 600_000;

/// What a piece is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// That of the block, or of its content.
    pub(super) version: u64,
    pub(super) family: &'static str,
    pub(super) encoding: Encoding,
    pub(super) usernames: bool,
    /// The moment, if it moves with the clock.
    pub(super) at: Option<Millis>,
}

/// Where a piece is, or will be.
#[derive(Default)]
struct Slot {
    piece: Mutex<Option<Arc<CompressedChunk>>>,
    /// When it was last asked for.
    used: AtomicI64,
}

/// The pieces, for all scrapes.
#[derive(Default)]
pub struct CompressionCache {
    pieces: Mutex<HashMap<Key, Arc<Slot>>>,
    moment: Mutex<Option<Millis>>,
}

impl fmt::Debug for CompressionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionCache").field("pieces", &locked(&self.pieces).len()).finish()
    }
}

impl CompressionCache {
    /// The moment that `now` belongs to: that of a scrape that began less than a second ago.
    pub fn moment(&self, now: Millis) -> Millis {
        let mut moment = locked(&self.moment);
        match *moment {
            Some(began) if of_moment(began, now) => began,
            _ => *moment.insert(now),
        }
    }

    /// Lets go of the pieces of blocks that are no more, of moments that are over at `now`, and of
    /// what nobody asks for any more.
    pub(super) fn sweep(&self, snapshot: &Snapshot, now: Millis) {
        let blocks = snapshot.networks.iter().flat_map(|network| network.users.blocks());
        let live: HashSet<u64> = blocks
            .map(|block| block.version())
            .flat_map(|version| [version.whole, version.logins, version.content])
            .collect();
        locked(&self.pieces).retain(|key, slot| {
            live.contains(&key.version)
                && key.at.is_none_or(|at| of_moment(at, now))
                && now.abs_diff(slot.used.load(Ordering::Relaxed)) < UNUSED.unsigned_abs()
        });
    }

    /// The piece, made if it is not there.
    pub(super) fn get(
        &self,
        key: Key,
        now: Millis,
        make: impl FnOnce() -> io::Result<CompressedChunk>,
    ) -> io::Result<Arc<CompressedChunk>> {
        let slot = locked(&self.pieces).entry(key).or_default().clone();
        slot.used.store(now, Ordering::Relaxed);
        // Whoever wants the same piece waits for it here, and nobody else.
        let mut piece = locked(&slot.piece);
        match &*piece {
            Some(piece) => Ok(piece.clone()),
            None => Ok(piece.insert(Arc::new(make()?)).clone()),
        }
    }
}

#[cfg(test)]
impl CompressionCache {
    /// All pieces that there are.
    pub(super) fn pieces(&self) -> Vec<Arc<CompressedChunk>> {
        let slots: Vec<Arc<Slot>> = locked(&self.pieces).values().cloned().collect();
        slots.iter().filter_map(|slot| locked(&slot.piece).clone()).collect()
    }
}

/// Whether a scrape at `now` is of the moment that began at `began`.
fn of_moment(began: Millis, now: Millis) -> bool {
    (0..MOMENT).contains(&now.saturating_sub(began))
}

/// A lock whose content is whole whatever a thread that held it died of.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_lasts_a_second_and_a_clock_that_is_set_back_begins_another() {
        let kept = CompressionCache::default();
        assert_eq!(kept.moment(5_000), 5_000);
        assert_eq!(kept.moment(5_999), 5_000);
        assert_eq!(kept.moment(6_000), 6_000);
        assert_eq!(kept.moment(5_999), 5_999);
    }
}
