//! Panics. Each is a bug of the program, so each is counted and told in a line of the log, whoever
//! catches it and whatever becomes of the task.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the process was started.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Counts and logs every panic of the process from now on.
pub fn watch_panics() {
    // Tests need the text of those that fail.
    #[cfg(test)]
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        SEEN.fetch_add(1, Ordering::Relaxed);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // A text that was put together may quote anything, secrets too: the place must do then.
        let why = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
        tracing::error!(place, why, "this is a bug of wickr-exporter, please report it");
        #[cfg(test)]
        former(panic);
    }));
}

/// How many there were.
pub(super) fn panics_seen() -> u64 {
    SEEN.load(Ordering::Relaxed)
}
