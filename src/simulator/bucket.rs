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

    /// Takes a token, or returns the seconds until the next one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), f64> {
        let Some(rate) = self.rate else { return Ok(()) };
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(rate.max(1.0));
        self.refilled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err((1.0 - self.tokens) / rate)
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
            (0..50).filter(|_| bucket.take(now).is_ok()).count()
        };
        assert_eq!(allowed(0), 10);
        assert_eq!(allowed(50), 0);
        assert_eq!(allowed(500), 5);
        assert_eq!(allowed(60_000), 10);
        assert!((bucket.take(start + Duration::from_secs(60)).unwrap_err() - 0.1).abs() < 1e-6);
    }

    #[test]
    fn allows_one_request_at_rates_below_one() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(0.1), start);
        assert!(bucket.take(start).is_ok());
        assert!(bucket.take(start + Duration::from_secs(9)).is_err());
        assert!(bucket.take(start + Duration::from_secs(11)).is_ok());
        let mut unlimited = Bucket::new(None, start);
        assert!((0..1000).all(|_| unlimited.take(start).is_ok()));
    }
}
