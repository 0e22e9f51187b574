//! The service's rate limit: a token bucket over all requests.

use std::time::Instant;

/// Fills at `rate` requests a second up to one second's worth, but to one at least.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one; no rate, or one that is no positive number, is no limit.
    pub(super) fn new(rate: Option<f64>, now: Instant) -> Self {
        let rate = rate.filter(|rate| *rate > 0.0 && rate.is_finite());
        Self { rate, tokens: rate.unwrap_or(0.0).max(1.0), filled: now }
    }

    /// Lets one request through, or says in how many seconds the next may come.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), f64> {
        let Some(rate) = self.rate else { return Ok(()) };
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(rate.max(1.0));
        self.filled = now;
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
    fn a_second_in_reserve_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(10.0), start);
        let mut passed = |after_ms| {
            let now = start + Duration::from_millis(after_ms);
            (0..50).filter(|_| bucket.take(now).is_ok()).count()
        };
        assert_eq!(passed(0), 10);
        assert_eq!(passed(50), 0);
        assert_eq!(passed(500), 5);
        assert_eq!(passed(60_000), 10);
        assert!((bucket.take(start + Duration::from_secs(60)).unwrap_err() - 0.1).abs() < 1e-6);
    }

    #[test]
    fn slow_rates_still_let_one_through() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(0.1), start);
        assert!(bucket.take(start).is_ok());
        assert!(bucket.take(start + Duration::from_secs(9)).is_err());
        assert!(bucket.take(start + Duration::from_secs(11)).is_ok());
        let mut none = Bucket::new(None, start);
        assert!((0..1000).all(|_| none.take(start).is_ok()));
    }
}
