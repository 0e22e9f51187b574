//! Limits the number of requests in flight, for the process and for each network.
//!
//! Polled networks share the permits equally. One permit is reserved for each network without a
//! request in flight, so that no network can block another. A network that is added while all permits
//! are in use waits for one request, at most the request timeout.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// Limits the requests of the process.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    limit: AtomicUsize,
    next_id: AtomicUsize,
    usage: Mutex<Usage>,
    /// Notified when a permit can have become available.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Usage {
    /// Requests in flight by network limiter.
    in_flight: BTreeMap<usize, usize>,
    total_in_flight: usize,
    /// Number of polls that are running.
    polls: usize,
}

impl ConcurrencyLimiter {
    /// Allows `limit` requests in flight, or one for each network if there are more networks.
    pub fn new(limit: usize) -> Arc<ConcurrencyLimiter> {
        Arc::new(ConcurrencyLimiter {
            limit: AtomicUsize::new(limit),
            next_id: AtomicUsize::new(0),
            usage: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Changes the limit.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Adds a network.
    pub fn open(self: &Arc<ConcurrencyLimiter>) -> NetworkLimiter {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.usage().in_flight.insert(id, 0);
        NetworkLimiter {
            limiter: self.clone(),
            id,
            backing_off: AtomicUsize::new(0),
            backoff_started: Notify::new(),
        }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        // A panic leaves the counts consistent.
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn limit(&self, limiter: &ConcurrencyLimiter) -> usize {
        limiter.limit.load(Ordering::Relaxed).max(self.in_flight.len())
    }

    /// The limit of one polled network.
    fn network_limit(&self, limiter: &ConcurrencyLimiter) -> usize {
        let polls = self.polls.max(1);
        let reserved = self.in_flight.len().saturating_sub(polls);
        (self.limit(limiter).saturating_sub(reserved) / polls).max(1)
    }

    fn is_available(&self, limiter: &ConcurrencyLimiter, id: usize) -> bool {
        let in_flight = self.in_flight.get(&id).copied().unwrap_or(0);
        let available = self.limit(limiter).saturating_sub(self.total_in_flight);
        if in_flight == 0 {
            return available > 0;
        }
        let reserved = self.in_flight.values().filter(|count| **count == 0).count();
        in_flight < self.network_limit(limiter) && available > reserved
    }
}

/// Limits the requests of one network.
#[derive(Debug)]
pub struct NetworkLimiter {
    limiter: Arc<ConcurrencyLimiter>,
    id: usize,
    /// Number of requests that wait for a retry, without a permit.
    backing_off: AtomicUsize,
    backoff_started: Notify,
}

impl NetworkLimiter {
    /// Marks the network as polled until the guard is dropped.
    pub fn poll(&self) -> PollGuard<'_> {
        self.limiter.usage().polls += 1;
        PollGuard(self)
    }

    /// The current limit of requests in flight.
    pub fn limit(&self) -> usize {
        self.limiter.usage().network_limit(&self.limiter)
    }

    /// Number of requests that wait for a retry and can be replaced by others, at most 64.
    pub fn backing_off(&self) -> usize {
        self.backing_off.load(Ordering::Relaxed).min(MAX_BACKING_OFF)
    }

    /// Resolves when a request starts to wait for its retry.
    pub async fn backoff_started(&self) {
        self.backoff_started.notified().await;
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> RequestPermit<'_> {
        loop {
            // Created before the check, so that no notification is lost.
            let changed = self.limiter.changed.notified();
            {
                let mut usage = self.limiter.usage();
                if usage.is_available(&self.limiter, self.id) {
                    usage.total_in_flight += 1;
                    *usage.in_flight.entry(self.id).or_default() += 1;
                    return RequestPermit(self);
                }
            }
            changed.await;
        }
    }

    /// Waits before a retry. The caller must have released its permit.
    pub(super) async fn back_off(&self, wait: Duration) {
        self.backing_off.fetch_add(1, Ordering::Relaxed);
        self.backoff_started.notify_one();
        let _guard = BackoffGuard(self);
        tokio::time::sleep(wait).await;
    }
}

/// Limit of requests that replace requests in backoff.
const MAX_BACKING_OFF: usize = 64;

impl Drop for NetworkLimiter {
    fn drop(&mut self) {
        let mut usage = self.limiter.usage();
        let in_flight = usage.in_flight.remove(&self.id).unwrap_or(0);
        usage.total_in_flight -= in_flight;
        self.limiter.changed.notify_waiters();
    }
}

/// A running poll.
#[derive(Debug)]
pub struct PollGuard<'a>(&'a NetworkLimiter);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.limiter.usage().polls -= 1;
        self.0.limiter.changed.notify_waiters();
    }
}

/// Permission for one request in flight.
#[derive(Debug)]
pub(super) struct RequestPermit<'a>(&'a NetworkLimiter);

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        let mut usage = self.0.limiter.usage();
        usage.total_in_flight -= 1;
        if let Some(count) = usage.in_flight.get_mut(&self.0.id) {
            *count -= 1;
        }
        self.0.limiter.changed.notify_waiters();
    }
}

struct BackoffGuard<'a>(&'a NetworkLimiter);

impl Drop for BackoffGuard<'_> {
    fn drop(&mut self) {
        self.0.backing_off.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Acquires all available permits.
    fn acquire_all(limiter: &NetworkLimiter) -> Vec<RequestPermit<'_>> {
        std::iter::from_fn(|| limiter.acquire().now_or_never()).collect()
    }

    #[test]
    fn reserves_one_permit_for_each_other_network() {
        let limiter = ConcurrencyLimiter::new(16);
        let (a, b, c) = (limiter.open(), limiter.open(), limiter.open());
        let _poll_a = a.poll();
        let permits_a = acquire_all(&a);
        assert_eq!((a.limit(), permits_a.len()), (14, 14));
        let _poll_b = b.poll();
        assert_eq!(acquire_all(&b).len(), 1);
        let _poll_c = c.poll();
        assert_eq!(acquire_all(&c).len(), 1);
        assert_eq!(a.limit(), 5);
        drop(permits_a);
        assert_eq!((acquire_all(&a).len(), acquire_all(&b).len()), (5, 5));
    }

    #[test]
    fn allows_one_request_for_each_network_above_the_limit() {
        let limiter = ConcurrencyLimiter::new(1);
        let (a, b) = (limiter.open(), limiter.open());
        let (_poll_a, poll_b) = (a.poll(), b.poll());
        let permits_a = acquire_all(&a);
        assert_eq!((permits_a.len(), acquire_all(&b).len()), (1, 1));
        drop(permits_a);
        assert_eq!(acquire_all(&a).len(), 1);
        drop(poll_b);
        drop(b);
        assert_eq!(a.limit(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_requests_in_backoff() {
        let limiter = ConcurrencyLimiter::new(2).open();
        let _poll = limiter.poll();
        assert_eq!((limiter.limit(), limiter.backing_off()), (2, 0));
        let backoff = limiter.back_off(Duration::from_secs(10));
        tokio::pin!(backoff);
        tokio::select! {
            () = &mut backoff => panic!("the backoff takes ten seconds"),
            () = limiter.backoff_started() => {}
        }
        assert_eq!(limiter.backing_off(), 1);
        backoff.await;
        assert_eq!(limiter.backing_off(), 0);
    }

    #[test]
    fn released_permits_are_available_to_other_networks() {
        let limiter = ConcurrencyLimiter::new(8);
        let (a, b) = (limiter.open(), limiter.open());
        let (poll_a, poll_b) = (a.poll(), b.poll());
        assert_eq!((a.limit(), b.limit()), (4, 4));
        let permits_b = acquire_all(&b);
        assert_eq!(permits_b.len(), 4);
        drop((permits_b, poll_b));
        assert_eq!(a.limit(), 7, "one is reserved for b");
        drop(b);
        assert_eq!((a.limit(), acquire_all(&a).len()), (8, 8));
        drop(poll_a);
        assert_eq!(a.limit(), 8, "the limit of the next poll");
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_limit_wakes_waiting_requests() {
        let limiter = ConcurrencyLimiter::new(1);
        let network = limiter.open();
        let _poll = network.poll();
        let _first = network.acquire().await;
        let second = network.acquire();
        tokio::pin!(second);
        let long = Duration::from_secs(60);
        assert!(tokio::time::timeout(long, &mut second).await.is_err());
        limiter.set_limit(2);
        assert!(tokio::time::timeout(long, &mut second).await.is_ok());
        limiter.set_limit(1);
        assert_eq!(network.limit(), 1);
    }
}
