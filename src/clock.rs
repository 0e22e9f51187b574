//! The time of day, as an argument: a test owns it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// A point in time: milliseconds after 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Tells the time of day.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    System,
    /// One that stands until it is moved.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Millis {
        match self {
            Clock::System => {
                // Before 1970 there is nothing to tell.
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
            }
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}
