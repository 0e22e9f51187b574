//! Slots for large responses, such as scrapes and lists of devices.
//!
//! A response keeps its slot until its last byte is handed to the connection. If all slots are in use,
//! a slow client gives way: one that reads nothing for [`BLOCKED`], or that did not read for
//! [`BLOCKED_IN_CROWD`] in total while its address has more responses in progress than the new client's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{auth::Peer, lock};

const BLOCKED: Duration = Duration::from_secs(2);
const BLOCKED_IN_CROWD: Duration = Duration::from_millis(200);
/// How long a request waits for a slot while another address has more responses in progress.
const MAX_WAIT: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A limit on responses that are sent at the same time.
#[derive(Debug)]
pub struct ResponseSlots {
    max: usize,
    in_use: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    next_id: u64,
    responses: BTreeMap<u64, Arc<ResponseProgress>>,
}

/// The progress of one response.
#[derive(Debug)]
struct ResponseProgress {
    peer: Peer,
    blocked: Mutex<Blocked>,
    evicted: CancellationToken,
}

/// How long the writer has waited for the client in total.
#[derive(Debug, Default)]
struct Blocked {
    before: Duration,
    since: Option<Instant>,
}

/// What a request without a slot does.
enum Attempt {
    Acquired { slot: Slot, evicted: bool },
    Wait,
    Refused,
}

impl ResponseSlots {
    /// At most `max` responses at the same time.
    pub fn new(max: usize) -> Arc<ResponseSlots> {
        Arc::new(ResponseSlots { max, in_use: Mutex::default() })
    }

    /// A slot for a response to `peer`, and whether another response was ended for it. None if all
    /// slots stay in use.
    pub(super) async fn acquire(self: &Arc<Self>, peer: Peer) -> Option<(Slot, bool)> {
        let started = Instant::now();
        loop {
            match self.try_acquire(peer) {
                Attempt::Acquired { slot, evicted } => return Some((slot, evicted)),
                Attempt::Wait if started.elapsed() < MAX_WAIT => {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Attempt::Wait | Attempt::Refused => return None,
            }
        }
    }

    fn try_acquire(self: &Arc<Self>, peer: Peer) -> Attempt {
        let mut in_use = lock(&self.in_use);
        let mut evicted = false;
        if in_use.responses.len() >= self.max {
            let mut per_peer: HashMap<Peer, usize> = HashMap::new();
            for response in in_use.responses.values() {
                *per_peer.entry(response.peer).or_default() += 1;
            }
            let count = |peer: Peer| per_peer.get(&peer).copied().unwrap_or(0);
            let has_more = |response: &ResponseProgress| count(response.peer) > count(peer) + 1;
            let slowest = in_use
                .responses
                .iter()
                .map(|(id, response)| (response, *id, lock(&response.blocked)))
                .filter(|(response, _, blocked)| match has_more(response) {
                    true => blocked.total() >= BLOCKED_IN_CROWD,
                    false => blocked.current() >= BLOCKED,
                })
                .max_by_key(|(response, _, blocked)| (count(response.peer), blocked.total()))
                .map(|(_, id, _)| id);
            let Some(response) = slowest.and_then(|id| in_use.responses.remove(&id)) else {
                let crowded = in_use.responses.values().any(|response| has_more(response));
                return if crowded { Attempt::Wait } else { Attempt::Refused };
            };
            response.evicted.cancel();
            evicted = true;
        }
        let id = in_use.next_id;
        in_use.next_id += 1;
        let (blocked, token) = (Mutex::default(), CancellationToken::new());
        let progress = Arc::new(ResponseProgress { peer, blocked, evicted: token });
        in_use.responses.insert(id, progress.clone());
        Attempt::Acquired { slot: Slot { slots: self.clone(), id, progress }, evicted }
    }
}

impl Blocked {
    fn current(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn total(&self) -> Duration {
        self.before + self.current()
    }
}

/// The slot of one response, released when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<ResponseSlots>,
    id: u64,
    progress: Arc<ResponseProgress>,
}

impl Slot {
    /// Counts the time until the guard is dropped as time in which the client did not read.
    pub(super) fn block(&self) -> BlockedGuard<'_> {
        lock(&self.progress.blocked).since = Some(Instant::now());
        BlockedGuard(&self.progress)
    }

    /// Resolves when the response has to give way to another one.
    pub(super) async fn evicted(&self) {
        self.progress.evicted.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.slots.in_use).responses.remove(&self.id);
    }
}

/// See [`Slot::block`].
#[derive(Debug)]
pub(super) struct BlockedGuard<'a>(&'a ResponseProgress);

impl Drop for BlockedGuard<'_> {
    fn drop(&mut self) {
        let mut blocked = lock(&self.0.blocked);
        blocked.before = blocked.total();
        blocked.since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([127, 0, 0, last]))
    }

    fn acquired(attempt: Attempt) -> Option<(Slot, bool)> {
        match attempt {
            Attempt::Acquired { slot, evicted } => Some((slot, evicted)),
            Attempt::Wait | Attempt::Refused => None,
        }
    }

    #[test]
    fn releases_a_slot_when_it_is_dropped() {
        let slots = ResponseSlots::new(1);
        let first = acquired(slots.try_acquire(peer(1)));
        assert!(matches!(slots.try_acquire(peer(1)), Attempt::Refused));
        assert!(matches!(slots.try_acquire(peer(2)), Attempt::Refused), "one response each");
        drop(first);
        assert!(acquired(slots.try_acquire(peer(2))).is_some_and(|(_, evicted)| !evicted));
    }

    #[test]
    fn evicts_a_blocked_client_of_an_address_with_more_responses() {
        let slots = ResponseSlots::new(3);
        let crowd = [1, 1, 1].map(|last| acquired(slots.try_acquire(peer(last))).unwrap().0);
        assert!(matches!(slots.try_acquire(peer(1)), Attempt::Refused));
        assert!(matches!(slots.try_acquire(peer(2)), Attempt::Wait));
        let guard = crowd[1].block();
        std::thread::sleep(BLOCKED_IN_CROWD);
        drop(guard);
        assert!(matches!(slots.try_acquire(peer(1)), Attempt::Refused));
        assert!(acquired(slots.try_acquire(peer(2))).is_some_and(|(_, evicted)| evicted));
        let evicted = crowd.each_ref().map(|slot| slot.progress.evicted.is_cancelled());
        assert_eq!(evicted, [false, true, false]);
    }

    #[test]
    fn evicts_any_client_that_is_blocked_for_long() {
        let slots = ResponseSlots::new(1);
        let (slow, _) = acquired(slots.try_acquire(peer(1))).unwrap();
        let _guard = slow.block();
        lock(&slow.progress.blocked).since = Instant::now().checked_sub(BLOCKED);
        assert!(acquired(slots.try_acquire(peer(1))).is_some_and(|(_, evicted)| evicted));
        assert!(slow.progress.evicted.is_cancelled());
    }
}
