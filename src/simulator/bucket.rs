//! The service's rate limit: a token bucket over all requests.

use std::time::Instant;

/// Refills at `rate` tokens per second, up to the larger of one second's worth and one token.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    /// Starts full. A rate that is not a positive, finite number is no limit.
    pub(super) fn new(rate: Option<f64>, now: Instant) -> Self {
        let rate = rate.filter(|rate| *rate > 0.0 && rate.is_finite());
        Self { rate, tokens: rate.unwrap_or(0.0).max(1.0), refilled: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(rate.max(1.0));
        self.refilled = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn allows_a_burst_of_one_second_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(10.0), start);
        let mut allowed = |after_ms| {
            let now = start + Duration::from_millis(after_ms);
            (0..50).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(allowed(0), 10);
        assert_eq!(allowed(50), 0);
        assert_eq!(allowed(500), 5);
        assert_eq!(allowed(60_000), 10);
    }

    #[test]
    fn allows_one_request_at_rates_below_one() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(0.1), start);
        assert!(bucket.take(start));
        assert!(!bucket.take(start + Duration::from_secs(9)));
        assert!(bucket.take(start + Duration::from_secs(11)));
        let mut unlimited = Bucket::new(None, start);
        assert!((0..1000).all(|_| unlimited.take(start)));
    }
}
