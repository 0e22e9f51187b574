//! Work that takes time for each user of a network.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Work on fewer users takes at most a few milliseconds, and another thread is not worth it.
const MANY: usize = 4_096;

/// Does work on `users` users. For many, another thread takes over the other tasks of this thread
/// meanwhile: for a million users the work takes up to seconds, and requests must not wait for it.
pub(super) fn in_place<T>(users: usize, work: impl FnOnce() -> T) -> T {
    let is_multi_threaded = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if users >= MANY && is_multi_threaded() { block_in_place(work) } else { work() }
}
