//! How many requests may be in flight, and whose.
//!
//! Each network has a [`NetworkLimiter`]. The networks that are being polled share the requests in flight in
//! equal parts, but for one that stays free for each network that has none: whatever hangs
//! elsewhere, a network's next request finds a place. One that is opened while others have taken
//! every place waits for one of their attempts to end, which is a request time-out at the most.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// The requests in flight of the whole process.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    most: AtomicUsize,
    next_lane: AtomicUsize,
    traffic: Mutex<Traffic>,
    /// Told whenever a lane may have got room.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Traffic {
    /// Requests in flight of each lane.
    in_flight: HashMap<usize, usize>,
    all_in_flight: usize,
    /// How many lanes are being polled.
    polling: usize,
}

impl ConcurrencyLimiter {
    /// At most `most` requests in flight, or one for each lane where there are more lanes.
    pub fn new(most: usize) -> Arc<ConcurrencyLimiter> {
        Arc::new(ConcurrencyLimiter {
            most: AtomicUsize::new(most),
            next_lane: AtomicUsize::new(0),
            traffic: Mutex::default(),
            moved: Notify::new(),
        })
    }

    /// Sets another number of requests in flight.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.moved.notify_waiters();
    }

    /// Opens a lane.
    pub fn open(self: &Arc<ConcurrencyLimiter>) -> NetworkLimiter {
        let id = self.next_lane.fetch_add(1, Ordering::Relaxed);
        self.traffic().in_flight.insert(id, 0);
        NetworkLimiter {
            lanes: self.clone(),
            id,
            resting: AtomicUsize::new(0),
            rested: Notify::new(),
        }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        // Counts are whole whatever a thread that held the lock died of.
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    fn most(&self, lanes: &ConcurrencyLimiter) -> usize {
        lanes.most.load(Ordering::Relaxed).max(self.in_flight.len())
    }

    /// The share of one lane that is being polled.
    fn width(&self, lanes: &ConcurrencyLimiter) -> usize {
        let polling = self.polling.max(1);
        let waiting = self.in_flight.len().saturating_sub(polling);
        (self.most(lanes).saturating_sub(waiting) / polling).max(1)
    }

    fn has_room(&self, lanes: &ConcurrencyLimiter, lane: usize) -> bool {
        let mine = self.in_flight.get(&lane).copied().unwrap_or(0);
        let free = self.most(lanes).saturating_sub(self.all_in_flight);
        if mine == 0 {
            return free > 0;
        }
        let empty = self.in_flight.values().filter(|count| **count == 0).count();
        mine < self.width(lanes) && free > empty
    }
}

/// One network's share. Dropping it gives the share to the others.
#[derive(Debug)]
pub struct NetworkLimiter {
    lanes: Arc<ConcurrencyLimiter>,
    id: usize,
    /// Requests that wait before they are sent again, and so are not in flight.
    resting: AtomicUsize,
    rested: Notify,
}

impl NetworkLimiter {
    /// A poll begins; it ends when what is given is dropped.
    pub fn poll(&self) -> PollGuard<'_> {
        self.lanes.traffic().polling += 1;
        PollGuard(self)
    }

    /// How many of its requests may be in flight now.
    pub fn width(&self) -> usize {
        self.lanes.traffic().width(&self.lanes)
    }

    /// How many requests wait before they are sent again, and may have others go in their place.
    pub fn resting(&self) -> usize {
        self.resting.load(Ordering::Relaxed).min(MOST_RESTING)
    }

    /// Resolves when somebody has begun to rest.
    pub async fn somebody_rests(&self) {
        self.rested.notified().await;
    }

    /// Waits for a place in flight.
    pub(super) async fn enter(&self) -> RequestPermit<'_> {
        loop {
            // Before the look, so that what moves in between is not missed.
            let moved = self.lanes.moved.notified();
            {
                let mut traffic = self.lanes.traffic();
                if traffic.has_room(&self.lanes, self.id) {
                    traffic.all_in_flight += 1;
                    *traffic.in_flight.entry(self.id).or_default() += 1;
                    return RequestPermit(self);
                }
            }
            moved.await;
        }
    }

    /// Waits, and lets others go meanwhile.
    pub(super) async fn rest(&self, wait: Duration) {
        self.resting.fetch_add(1, Ordering::Relaxed);
        self.rested.notify_one();
        let _awake = Awake(self);
        tokio::time::sleep(wait).await;
    }
}

/// Of those who rest, how many may have somebody in their place.
const MOST_RESTING: usize = 64;

impl Drop for NetworkLimiter {
    fn drop(&mut self) {
        let mut traffic = self.lanes.traffic();
        let left = traffic.in_flight.remove(&self.id).unwrap_or(0);
        traffic.all_in_flight -= left;
        self.lanes.moved.notify_waiters();
    }
}

/// A poll under way.
#[derive(Debug)]
pub struct PollGuard<'a>(&'a NetworkLimiter);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.lanes.traffic().polling -= 1;
        self.0.lanes.moved.notify_waiters();
    }
}

/// A place in flight.
#[derive(Debug)]
pub(super) struct RequestPermit<'a>(&'a NetworkLimiter);

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        let mut traffic = self.0.lanes.traffic();
        traffic.all_in_flight -= 1;
        if let Some(count) = traffic.in_flight.get_mut(&self.0.id) {
            *count -= 1;
        }
        self.0.lanes.moved.notify_waiters();
    }
}

struct Awake<'a>(&'a NetworkLimiter);

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters as often as there is room.
    async fn fill(lane: &NetworkLimiter) -> Vec<RequestPermit<'_>> {
        let mut entered = Vec::new();
        while let Ok(place) = tokio::time::timeout(Duration::from_millis(1), lane.enter()).await {
            entered.push(place);
        }
        entered
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_polls_has_all_but_one_for_each_other() {
        let lanes = ConcurrencyLimiter::new(16);
        let (a, b, c) = (lanes.open(), lanes.open(), lanes.open());
        let _polls = a.poll();
        let of_a = fill(&a).await;
        assert_eq!((a.width(), of_a.len()), (14, 14));
        // All of them hang; the others get their place all the same, and share what is left.
        let _b_polls = b.poll();
        assert_eq!(fill(&b).await.len(), 1);
        let _c_polls = c.poll();
        assert_eq!(fill(&c).await.len(), 1);
        assert_eq!(a.width(), 5);
        drop(of_a);
        assert_eq!((fill(&a).await.len(), fill(&b).await.len()), (5, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn every_network_has_a_place_and_gives_it_back() {
        let lanes = ConcurrencyLimiter::new(1);
        let (a, b) = (lanes.open(), lanes.open());
        let (_pa, _pb) = (a.poll(), b.poll());
        let of_a = fill(&a).await;
        assert_eq!((of_a.len(), fill(&b).await.len()), (1, 1));
        drop(of_a);
        assert_eq!(fill(&a).await.len(), 1);
        drop((_pb, ()));
        drop(b);
        assert_eq!(a.width(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_makes_room() {
        let lanes = ConcurrencyLimiter::new(2);
        let lane = lanes.open();
        let _polls = lane.poll();
        assert_eq!((lane.width(), lane.resting()), (2, 0));
        let resting = lane.rest(Duration::from_secs(10));
        tokio::pin!(resting);
        tokio::select! {
            () = &mut resting => panic!("it rests for ten seconds"),
            () = lane.somebody_rests() => {}
        }
        assert_eq!(lane.resting(), 1);
        resting.await;
        assert_eq!(lane.resting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_goes_to_the_others() {
        let lanes = ConcurrencyLimiter::new(8);
        let (a, b) = (lanes.open(), lanes.open());
        let (of_a, of_b) = (a.poll(), b.poll());
        assert_eq!((a.width(), b.width()), (4, 4));
        let taken = fill(&b).await;
        assert_eq!(taken.len(), 4);
        // Its poll has ended: one place is kept for it.
        drop((taken, of_b));
        assert_eq!(a.width(), 7);
        drop(b);
        assert_eq!((a.width(), fill(&a).await.len()), (8, 8));
        drop(of_a);
        assert_eq!(a.width(), 8, "as one that begins to poll would have");
    }

    #[tokio::test(start_paused = true)]
    async fn more_room_lets_those_in_who_wait() {
        let lanes = ConcurrencyLimiter::new(1);
        let lane = lanes.open();
        let _polls = lane.poll();
        let _first = lane.enter().await;
        let second = lane.enter();
        tokio::pin!(second);
        let long = Duration::from_secs(60);
        assert!(tokio::time::timeout(long, &mut second).await.is_err());
        lanes.set_most(2);
        assert!(tokio::time::timeout(long, &mut second).await.is_ok());
        lanes.set_most(1);
        assert_eq!(lane.width(), 1);
    }
}
