//! How fast requests may go out: a ceiling by configuration, and below it what the service bears.
//!
//! Requests are spaced evenly. When the service throttles, the rate is halved, at most once for
//! the requests that were under way together; then it grows again by a fixed share of the ceiling
//! a second (additive increase, multiplicative decrease, as TCP does).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The share of the ceiling that the rate regains in a second without throttling.
const RECOVERY: f64 = 0.05;
/// The rate never falls below this, or below the ceiling where that is less, in requests a
/// second: enough to notice that the service has recovered.
const FLOOR: f64 = 0.5;
/// How far behind its time a request may go out without pushing back those after it. Without it,
/// the coarseness of the timer would cap the rate at a thousand a second.
const SLACK: Duration = Duration::from_millis(10);

/// The allowance of one account and region, shared by all that send requests to it.
#[derive(Debug)]
pub struct RateLimiter {
    /// Held while waiting, so that requests go out in the order in which they asked and each is
    /// spaced by the rate of the moment when its turn comes.
    turn: tokio::sync::Mutex<Option<Instant>>,
    pace: Mutex<Pace>,
}

/// The rate as it was at a time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    ceiling: f64,
    rate: f64,
    since: Instant,
    /// When it was last lowered.
    lowered: Option<Instant>,
}

/// When a request was let through.
#[derive(Debug, Clone, Copy)]
pub struct RateToken {
    at: Instant,
}

impl RateLimiter {
    /// An allowance of at most `ceiling` requests a second.
    pub fn new(ceiling: f64) -> RateLimiter {
        RateLimiter {
            turn: tokio::sync::Mutex::new(None),
            pace: Mutex::new(Pace { ceiling, rate: ceiling, since: Instant::now(), lowered: None }),
        }
    }

    /// Sets another ceiling. A rate that was at the old one is at the new one.
    pub fn set_ceiling(&self, ceiling: f64) {
        let mut pace = self.pace();
        let now = Instant::now();
        let rate = pace.rate_at(now);
        let rate = if rate >= pace.ceiling { ceiling } else { rate.min(ceiling) };
        *pace = Pace { ceiling, rate, since: now, ..*pace };
    }

    /// Requests a second that are allowed now.
    pub fn rate(&self) -> f64 {
        self.pace().rate_at(Instant::now())
    }

    /// Waits for the next request's turn.
    pub async fn pass(&self) -> RateToken {
        let mut next = self.turn.lock().await;
        if let Some(at) = *next
            && at > Instant::now()
        {
            sleep_until(at).await;
        }
        let now = Instant::now();
        let due = next.map_or(now, |at| at.max(now - SLACK));
        let rate = self.pace().rate_at(now);
        *next = Some(due + Duration::from_secs_f64(1.0 / rate));
        RateToken { at: now }
    }

    /// The service throttled the request of `pass`.
    pub fn throttled(&self, pass: RateToken) {
        let mut pace = self.pace();
        // What was sent before the last cut tells nothing about the rate since.
        if pace.lowered.is_some_and(|lowered| pass.at < lowered) {
            return;
        }
        let now = Instant::now();
        let rate = (pace.rate_at(now) / 2.0).max(FLOOR.min(pace.ceiling));
        *pace = Pace { rate, since: now, lowered: Some(now), ..*pace };
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // A pace is whole whatever a thread that held the lock died of.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn rate_at(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        (self.rate + seconds * RECOVERY * self.ceiling).min(self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_evenly_from_the_first() {
        let limiter = RateLimiter::new(10.0);
        let start = Instant::now();
        for _ in 0..21 {
            limiter.pass().await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((1.99..=2.02).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_not_saved_up() {
        let limiter = RateLimiter::new(10.0);
        limiter.pass().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..11 {
            limiter.pass().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(980), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_rate_is_reached_in_spite_of_the_timer() {
        let limiter = RateLimiter::new(5000.0);
        let start = Instant::now();
        for _ in 0..5000 {
            limiter.pass().await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((0.98..=1.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_once_for_requests_under_way_together() {
        let limiter = RateLimiter::new(16.0);
        let together = [limiter.pass().await, limiter.pass().await, limiter.pass().await];
        tokio::time::advance(Duration::from_millis(10)).await;
        for pass in together {
            limiter.throttled(pass);
        }
        assert_eq!(limiter.rate(), 8.0);
        let later = limiter.pass().await;
        limiter.throttled(later);
        assert!(limiter.rate() < 4.2, "{}", limiter.rate());
    }

    #[tokio::test(start_paused = true)]
    async fn another_ceiling_holds_at_once_and_a_lowered_rate_stays_lowered() {
        let limiter = RateLimiter::new(10.0);
        limiter.set_ceiling(40.0);
        assert_eq!(limiter.rate(), 40.0);
        let pass = limiter.pass().await;
        limiter.throttled(pass);
        limiter.set_ceiling(30.0);
        assert_eq!(limiter.rate(), 20.0);
        limiter.set_ceiling(5.0);
        assert_eq!(limiter.rate(), 5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_recovers_evenly_up_to_the_ceiling_and_has_a_floor() {
        let limiter = RateLimiter::new(10.0);
        for _ in 0..20 {
            let pass = limiter.pass().await;
            limiter.throttled(pass);
        }
        assert!(limiter.rate() >= FLOOR && limiter.rate() < 2.0, "{}", limiter.rate());
        let low = limiter.rate();
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!((limiter.rate() - low - 2.0).abs() < 0.01);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.rate(), 10.0);
    }
}
