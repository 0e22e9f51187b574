//! Counts and logs panics. Each panic is a bug, even if its task is restarted or ignored.

use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Installs a panic hook for the process.
pub fn watch_panics() {
    // Tests need the default output.
    #[cfg(test)]
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        // A formatted message can contain secrets. Only a static message is logged.
        let error = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
        tracing::error!(location, error, "panic; please report this bug");
        #[cfg(test)]
        default_hook(panic);
    }));
}

/// Panics since the process started.
pub(super) fn panic_count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}
