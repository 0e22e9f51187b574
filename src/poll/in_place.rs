//! Work that takes time for each user of a network.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Work on fewer users takes at most a few milliseconds, too short to use another thread.
const MANY: usize = 4_096;

/// Runs work on `users` users. With many users, another thread runs the other tasks of this thread
/// meanwhile: for a million users the work takes up to seconds, and must not delay requests.
pub(super) fn in_place<T>(users: usize, work: impl FnOnce() -> T) -> T {
    let is_multi_threaded = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if users >= MANY && is_multi_threaded() { block_in_place(work) } else { work() }
}
