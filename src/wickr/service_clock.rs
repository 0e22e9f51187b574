//! The service's clock, for signatures and the expiry of credentials.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_smithy_async::time::TimeSource;

use crate::clock::{Clock, Millis, Moment};

/// The clock of one account's service. The process's clock learns from it only what the service has
/// proven, so an endpoint with a wrong clock, or one that verifies no signatures, does not affect other
/// accounts.
#[derive(Debug, Clone)]
pub(super) struct ServiceClock {
    account: Clock,
    process: Clock,
    /// Whether it was logged that the local clock is wrong.
    logged: Arc<AtomicBool>,
}

impl ServiceClock {
    pub(super) fn new(process: Clock) -> ServiceClock {
        ServiceClock { account: process.fork(), process, logged: Arc::default() }
    }

    /// The time of a signature: now, from this clock or from an earlier `server_time`.
    pub(super) fn signing_time(&self, server_time: Option<Moment>) -> Moment {
        let now = self.account.moment();
        server_time.map_or(now, |earlier| Moment { time: earlier.time_at(now.steady), ..now })
    }

    /// The service accepted a signature of this time. `verified`: it would have rejected another time.
    pub(super) fn accepted(&self, signed: Moment, verified: bool) {
        self.account.prove(signed);
        if verified {
            self.process.prove(signed);
        } else {
            self.process.suggest(signed);
        }
        let behind = self.account.behind();
        if self.logged.swap(behind != 0, Ordering::Relaxed) == (behind != 0) {
            return;
        }
        if behind == 0 {
            tracing::info!("the local clock is correct again");
        } else {
            let seconds_behind = behind / 1000;
            tracing::warn!(
                seconds_behind,
                "the local clock is wrong, using the time of the service"
            );
        }
    }
}

impl TimeSource for ServiceClock {
    fn now(&self) -> SystemTime {
        system_time(self.account.now())
    }
}

/// A time before 1970 counts as 1970.
pub(super) fn system_time(at: Millis) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0))
}
