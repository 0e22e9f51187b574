//! The token bucket of `rate_limit`.

use std::{sync::Mutex, time::Instant};

use super::lock;
use crate::web::web_config::RateLimit;

/// Starts full.
#[derive(Debug)]
pub(in crate::web) struct TokenBucket {
    limit: RateLimit,
    /// The tokens at the time of the last request.
    level: Mutex<(f64, Instant)>,
}

impl TokenBucket {
    pub(in crate::web) fn new(limit: RateLimit, now: Instant) -> TokenBucket {
        TokenBucket { limit, level: Mutex::new((f64::from(limit.burst), now)) }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut level = lock(&self.level);
        let (tokens, since) = *level;
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        let tokens = tokens + elapsed / self.limit.interval.as_secs_f64();
        let tokens = tokens.min(f64::from(self.limit.burst));
        let allowed = tokens >= 1.0;
        *level = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn allows_a_burst_then_one_request_per_interval() {
        let start = Instant::now();
        let limit = RateLimit { interval: Duration::from_secs(2), burst: 3 };
        let bucket = TokenBucket::new(limit, start);
        let allowed = [0, 0, 0, 0, 1_900, 2_100, 2_200, 60_000, 60_000, 60_000, 60_000]
            .map(|millis| bucket.take(start + Duration::from_millis(millis)));
        let expected = [true, true, true, false, false, true, false, true, true, true, false];
        assert_eq!(allowed, expected);
    }
}
