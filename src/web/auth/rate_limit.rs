//! The toolkit's `rate_limit`: a bucket of so many requests that fills up with time.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::web::web_config::rate_limit::RateWritten;

/// How many requests may come at present.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: RateWritten,
    /// How many requests may come, and when that was so.
    level: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn full(rate: RateWritten, now: Instant) -> Bucket {
        Bucket { rate, level: Mutex::new((f64::from(rate.burst), now)) }
    }

    /// Whether one more request may come.
    pub(crate) fn take(&self, now: Instant) -> bool {
        // Two numbers are whole whatever a thread that held the lock died of.
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = *level;
        let filled = now.saturating_duration_since(at).as_secs_f64();
        let left = left + filled / self.rate.interval.as_secs_f64();
        let left = left.min(f64::from(self.rate.burst));
        let allowed = left >= 1.0;
        *level = (if allowed { left - 1.0 } else { left }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let start = Instant::now();
        let rate = RateWritten { interval: Duration::from_secs(2), burst: 3 };
        let bucket = Bucket::full(rate, start);
        let at = |millis| start + Duration::from_millis(millis);
        let taken: Vec<_> = [0, 0, 0, 0, 1_900, 2_100, 2_200, 60_000, 60_000, 60_000, 60_000]
            .map(|millis| bucket.take(at(millis)))
            .into();
        let expected =
            [true, true, true, false, false, true, false, true, true, true, false].to_vec();
        assert_eq!(taken, expected);
    }
}
