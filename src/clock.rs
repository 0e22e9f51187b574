//! The wall clock, which tests replace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// A wall clock.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that only tests move.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The current time. A time before 1970 counts as 1970.
    pub fn now(&self) -> Millis {
        match self {
            Clock::System => {
                to_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            }
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}

/// A duration in milliseconds, at most [`Millis::MAX`].
pub fn to_millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
