//! Requests a reload on SIGHUP, and when the content of the configuration file changes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::ReloadHandle;

/// How often the file is read.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The delay before a failed reload is retried. It doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LAST_RETRY: Duration = Duration::from_secs(3600);

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

/// Requests a reload when the content of the file changes, until `stop`. A failed reload is retried,
/// because its cause can be outside the file. File metadata is not compared: Kubernetes changes a
/// ConfigMap by replacing a symbolic link.
pub(super) async fn on_change(
    file: PathBuf,
    mut loaded: FileDigest,
    reloads: ReloadHandle,
    stop: CancellationToken,
) {
    let mut retry: Option<ReloadRetry> = None;
    while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
        let current = FileDigest::of(&file).await;
        // A file that is being replaced can be missing for a moment.
        let changed = current.0.is_some() && current != loaded;
        if changed {
            loaded = current;
            retry = None;
            tracing::info!(file = %file.display(), "configuration file changed, reloading");
        } else if retry.as_ref().is_none_or(|retry| retry.at > Instant::now()) {
            continue;
        }
        let failed = reloads.reload().await.is_err();
        retry = failed.then(|| ReloadRetry::after(retry.as_ref()));
    }
}

/// When a failed reload is requested again.
struct ReloadRetry {
    delay: Duration,
    at: Instant,
}

impl ReloadRetry {
    fn after(previous: Option<&ReloadRetry>) -> ReloadRetry {
        let delay = previous.map_or(FIRST_RETRY, |retry| (retry.delay * 2).min(LAST_RETRY));
        ReloadRetry { delay, at: Instant::now() + delay }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle;

    #[tokio::test(start_paused = true)]
    async fn retries_a_failed_reload_until_it_succeeds_or_the_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "1").unwrap();
        let (handle, mut requests) = lifecycle::channel();
        let loaded = FileDigest::of(&file).await;
        let stop = CancellationToken::new();
        let watcher = tokio::spawn(on_change(file.clone(), loaded, handle, stop.clone()));
        let mut expect = async |result: Result<(), &str>| {
            let started = Instant::now();
            let request = requests.next().await.unwrap();
            request.answer(result.map_err(Into::into));
            started.elapsed().as_secs()
        };
        std::fs::write(&file, "2").unwrap();
        assert!(expect(Err("no credentials")).await <= 5);
        for minutes in [1, 2, 4] {
            let waited = expect(Err("no credentials")).await;
            assert!((minutes * 60..=minutes * 60 + 5).contains(&waited), "{minutes}: {waited}");
        }
        std::fs::write(&file, "3").unwrap();
        assert!(expect(Err("invalid")).await <= 5);
        assert!((60..=65).contains(&expect(Ok(())).await));
        let silent = tokio::time::timeout(Duration::from_secs(86_400), requests.next()).await;
        assert!(silent.is_err(), "retried after a success");
        stop.cancel();
        watcher.await.unwrap();
    }
}
