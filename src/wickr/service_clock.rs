//! The service's clock, for signatures and the expiry of credentials.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_smithy_async::time::TimeSource;

use super::response::RequestTimes;

/// The local clock, corrected by the difference that the service has reported.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceClock {
    /// Seconds by which the service's clock is ahead. Shared by all clones.
    ahead: Arc<AtomicI64>,
}

impl ServiceClock {
    pub(super) fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn times(&self) -> RequestTimes {
        let local = SystemTime::now();
        RequestTimes { local, signed: self.corrected(local) }
    }

    fn corrected(&self, local: SystemTime) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let difference = Duration::from_secs(ahead.unsigned_abs());
        // A time that cannot be represented is replaced by the local one.
        if ahead < 0 { local.checked_sub(difference) } else { local.checked_add(difference) }
            .unwrap_or(local)
    }
}

impl TimeSource for ServiceClock {
    fn now(&self) -> SystemTime {
        self.times().signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrects_the_local_clock_in_both_directions() {
        let clock = ServiceClock::default();
        let local = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(clock.corrected(local), local);
        for (ahead, seconds) in [(7_200, 1_007_200), (-7_200, 992_800)] {
            clock.set_ahead(ahead);
            assert_eq!(
                clock.corrected(local),
                SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
            );
        }
        clock.set_ahead(i64::MAX);
        assert_eq!(clock.corrected(local), local, "not representable");
    }
}
