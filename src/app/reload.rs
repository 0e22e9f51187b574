//! Requests a reload on SIGHUP, and when the content of the configuration file changes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::ReloadHandle;

/// How often the file is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Requests a reload at each SIGHUP, until `stop`. The supervisor logs the result.
///
/// # Errors
///
/// The signal cannot be handled.
#[cfg(unix)]
pub(super) fn on_hangup(
    reloads: ReloadHandle,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
            tracing::info!("received SIGHUP, reloading the configuration");
            let _ = reloads.reload().await;
        }
    })
}

/// Requests a reload when the content of the file changes, until `stop`. File metadata does not matter: a
/// ConfigMap changes by a link.
pub(super) async fn on_change(
    file: PathBuf,
    mut loaded: FileDigest,
    reloads: ReloadHandle,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
        let current = FileDigest::of(&file).await;
        // A file that is being replaced can be missing for a moment.
        if current.0.is_some() && current != loaded {
            loaded = current;
            tracing::info!(file = %file.display(), "configuration file changed, reloading");
            let _ = reloads.reload().await;
        }
    }
}

/// The SHA-256 digest of a file, or `None` if it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest(Option<[u8; 32]>);

impl FileDigest {
    /// The digest of the current content.
    pub async fn of(file: &Path) -> FileDigest {
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        FileDigest(read.ok().and_then(Result::ok).map(|bytes| Sha256::digest(bytes).into()))
    }
}
