//! Asking for a reload: on SIGHUP, and when the file's content has changed.

use std::{path::Path, time::Duration};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::ReloadHandle;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Asks for a reload at each SIGHUP, until `stop`. What comes of it is logged by who reloads.
///
/// # Errors
///
/// The system's, when it lets the signal not be handled.
#[cfg(unix)]
pub(super) fn on_hangup(
    reloads: ReloadHandle,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
            tracing::info!("SIGHUP: loading the configuration anew");
            let _told_by_the_log = reloads.reload().await;
        }
    })
}

/// Asks for a reload whenever the file's content has changed, until `stop`. The content counts, not
/// the file: a ConfigMap is swapped by a link.
pub(super) async fn on_change(
    file: std::path::PathBuf,
    content: Content,
    reloads: ReloadHandle,
    stop: CancellationToken,
) {
    let mut known = content;
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            return;
        }
        let now = Content::of(&file).await;
        // A file that is away for a moment is no configuration, and no reason to try.
        if now.0.is_some() && now != known {
            known = now;
            tracing::info!(file = %file.display(), "the configuration has changed, loading it anew");
            let _told_by_the_log = reloads.reload().await;
        }
    }
}

/// What tells one content of a file from another; none if it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(Option<[u8; 32]>);

impl Content {
    /// That of a file now.
    pub async fn of(file: &Path) -> Content {
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        Content(read.ok().and_then(Result::ok).map(|bytes| Sha256::digest(bytes).into()))
    }
}
