//! Limits the request rate.
//!
//! Requests are evenly spaced. Throttling halves the rate, at most once for requests that were in
//! flight together; then the rate recovers linearly (additive increase, multiplicative decrease).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Fraction of the ceiling that the rate recovers in a second.
const RECOVERY: f64 = 0.05;
/// Minimum rate in requests per second, unless the ceiling is lower. It is high enough to notice that
/// the service has recovered.
const FLOOR: f64 = 0.5;
/// A request that is late by up to this time does not delay later requests. Without it, the timer
/// resolution of 1 ms would limit the rate to 1,000 requests per second.
const SLACK: Duration = Duration::from_millis(10);

/// The rate limit of one account and region.
#[derive(Debug)]
pub struct RateLimiter {
    /// When the next request is due. The lock is held during the wait: requests are sent in the order
    /// of their calls, each spaced by the rate at that time.
    next: tokio::sync::Mutex<Option<Instant>>,
    rate: Mutex<Rate>,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    ceiling: f64,
    /// The rate at `since`.
    rate: f64,
    since: Instant,
    /// When the rate was last halved.
    lowered: Option<Instant>,
}

/// Permission to send one request now.
#[derive(Debug, Clone, Copy)]
pub struct RateToken {
    at: Instant,
}

impl RateLimiter {
    /// Allows at most `ceiling` requests per second.
    pub fn new(ceiling: f64) -> RateLimiter {
        let rate = Rate { ceiling, rate: ceiling, since: Instant::now(), lowered: None };
        RateLimiter { next: tokio::sync::Mutex::new(None), rate: Mutex::new(rate) }
    }

    /// Changes the ceiling. A rate at the ceiling follows it; a lower rate stays.
    pub fn set_ceiling(&self, ceiling: f64) {
        let mut current = self.current();
        let now = Instant::now();
        let rate = current.at(now);
        let rate = if rate >= current.ceiling { ceiling } else { rate.min(ceiling) };
        *current = Rate { ceiling, rate, since: now, ..*current };
    }

    /// The current rate in requests per second.
    pub fn rate(&self) -> f64 {
        self.current().at(Instant::now())
    }

    /// Waits until the next request can be sent.
    pub async fn acquire(&self) -> RateToken {
        let mut next = self.next.lock().await;
        if let Some(at) = *next
            && at > Instant::now()
        {
            sleep_until(at).await;
        }
        let now = Instant::now();
        let due = next.map_or(now, |at| at.max(now - SLACK));
        let rate = self.current().at(now);
        *next = Some(due + Duration::from_secs_f64(1.0 / rate));
        RateToken { at: now }
    }

    /// Lowers the rate because the service throttled the request of `token`.
    pub fn throttled(&self, token: RateToken) {
        let mut current = self.current();
        // Requests from before the last reduction do not lower the rate again.
        if current.lowered.is_some_and(|lowered| token.at < lowered) {
            return;
        }
        let now = Instant::now();
        let rate = (current.at(now) / 2.0).max(FLOOR.min(current.ceiling));
        *current = Rate { rate, since: now, lowered: Some(now), ..*current };
    }

    fn current(&self) -> MutexGuard<'_, Rate> {
        // A panic leaves the rate consistent.
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    fn at(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        (self.rate + seconds * RECOVERY * self.ceiling).min(self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until `count` requests are sent.
    async fn seconds(limiter: &RateLimiter, count: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..count {
            limiter.acquire().await;
        }
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn spaces_requests_evenly() {
        let limiter = RateLimiter::new(10.0);
        let took = seconds(&limiter, 21).await;
        assert!((1.99..=2.02).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_does_not_allow_a_burst() {
        let limiter = RateLimiter::new(10.0);
        limiter.acquire().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let took = seconds(&limiter, 11).await;
        assert!(took >= 0.98, "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn reaches_rates_above_the_timer_resolution() {
        let took = seconds(&RateLimiter::new(5000.0), 5000).await;
        assert!((0.98..=1.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn halves_the_rate_once_for_concurrent_requests() {
        let limiter = RateLimiter::new(16.0);
        let tokens = [limiter.acquire().await, limiter.acquire().await, limiter.acquire().await];
        tokio::time::advance(Duration::from_millis(10)).await;
        for token in tokens {
            limiter.throttled(token);
        }
        assert_eq!(limiter.rate(), 8.0);
        let later = limiter.acquire().await;
        limiter.throttled(later);
        assert!(limiter.rate() < 4.2, "{}", limiter.rate());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_ceiling_applies_at_once_and_keeps_a_lowered_rate() {
        let limiter = RateLimiter::new(10.0);
        limiter.set_ceiling(40.0);
        assert_eq!(limiter.rate(), 40.0);
        let token = limiter.acquire().await;
        limiter.throttled(token);
        limiter.set_ceiling(30.0);
        assert_eq!(limiter.rate(), 20.0);
        limiter.set_ceiling(5.0);
        assert_eq!(limiter.rate(), 5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn recovers_linearly_from_the_floor_to_the_ceiling() {
        let limiter = RateLimiter::new(10.0);
        for _ in 0..20 {
            let token = limiter.acquire().await;
            limiter.throttled(token);
        }
        let lowest = limiter.rate();
        assert!((FLOOR..2.0).contains(&lowest), "{lowest}");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!((limiter.rate() - lowest - 2.0).abs() < 0.01);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.rate(), 10.0);
    }
}
