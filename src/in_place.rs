//! Work that keeps a thread for long.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Work on fewer users takes at most a few milliseconds, too short to use another thread.
const MANY: usize = 4_096;

/// Runs work that may wait or take long. Another thread runs the other tasks of this thread meanwhile.
pub(crate) fn run<T>(work: impl FnOnce() -> T) -> T {
    let is_multi_threaded = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_multi_threaded { block_in_place(work) } else { work() }
}

/// Runs work on `users` users, [in place](run) if they are many: for a million users the work takes up to
/// seconds, and must not delay requests.
pub(crate) fn for_users<T>(users: usize, work: impl FnOnce() -> T) -> T {
    if users >= MANY { run(work) } else { work() }
}
