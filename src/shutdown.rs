//! The signals that end the process, as a future.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves with the signal's name on the first SIGTERM or SIGINT.
///
/// # Errors
///
/// If a signal handler cannot be installed.
pub fn signals() -> io::Result<impl Future<Output = &'static str> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
