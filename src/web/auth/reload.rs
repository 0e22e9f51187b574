//! Reloads the web configuration when its files change.
//!
//! The toolkit reads the files on each request. Here they are compared every second, so that no
//! request waits for the disk. A change that is invalid or weakens protection, as a half-written file
//! does, is logged once and shown by a metric. An explicit reload applies a weaker configuration.

use std::{
    mem,
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::AccessControl;
use crate::{
    clock::Clock,
    web::web_config::{self, AccessSettings, FilesDigest, WebConfig},
};

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A change that was not applied.
struct Rejected {
    digest: FilesDigest,
    problems: String,
    reported: bool,
}

impl AccessControl {
    /// Follows the files until `stop`.
    pub async fn follow(&self, clock: Clock, stop: CancellationToken) {
        let Some(path) = &self.path else { return stop.cancelled().await };
        self.report(true, &clock);
        let mut rejected: Option<Rejected> = None;
        while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
            // An explicit reload may have applied it.
            rejected = rejected.filter(|rejected| rejected.digest != self.digest());
            // A rejected configuration may name other files.
            let known = rejected.as_ref().map_or_else(|| self.digest(), |r| r.digest.clone());
            if recompute(known.clone()).await != known {
                rejected = self.apply_change(path, &clock).await;
            } else if let Some(rejected) = &mut rejected
                && !mem::replace(&mut rejected.reported, true)
            {
                // Unchanged since the last check, so not a certificate whose key is still being written.
                let problems = &rejected.problems;
                tracing::error!(
                    problems,
                    "web configuration reload failed; the previous configuration stays in use"
                );
                self.report(false, &clock);
            }
        }
    }

    async fn apply_change(&self, path: &Path, clock: &Clock) -> Option<Rejected> {
        let (result, digest) = web_config::load(path.to_owned()).await;
        let problems = match result {
            // The change was reverted.
            Ok(_) if digest == self.digest() => {
                self.report(true, clock);
                return None;
            }
            Ok(settings) if !settings.weakens(&self.settings.load()) => {
                self.apply(settings, digest);
                self.report(true, clock);
                tracing::info!("web configuration reloaded");
                return None;
            }
            Ok(_) => {
                "it no longer requires TLS, a password or a client certificate that is required \
                      now; reload explicitly to apply it"
                    .to_owned()
            }
            Err(problems) => problems,
        };
        Some(Rejected { digest, problems, reported: false })
    }

    fn apply(&self, settings: AccessSettings, digest: FilesDigest) {
        let mut current = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        *current = digest;
        self.settings.store(Arc::new(settings));
    }

    fn digest(&self) -> FilesDigest {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Updates the metrics, and warns about an expired certificate.
    fn report(&self, successful: bool, clock: &Clock) {
        if self.path.is_some() {
            let not_after = self.settings.load().tls.as_ref().and_then(|tls| tls.not_after);
            let now = clock.now();
            self.metrics.web_config_loaded(successful, now, not_after);
            let not_after = not_after.and_then(|seconds| i64::try_from(seconds).ok());
            if not_after.is_some_and(|seconds| seconds < now / 1000) {
                tracing::warn!("the server certificate has expired");
            }
        }
    }

    /// Reads the files for an explicit reload, without applying them.
    ///
    /// # Errors
    ///
    /// All problems, one per line.
    pub async fn prepare(&self) -> Result<Option<WebConfig>, String> {
        match &self.path {
            Some(path) => WebConfig::load(path).await.map(Some),
            None => Ok(None),
        }
    }

    /// Applies what [`prepare`](Self::prepare) returned, even if it weakens protection.
    pub fn reload(&self, config: WebConfig, clock: &Clock) {
        if config.settings.weakens(&self.settings.load()) {
            tracing::warn!("the new web configuration weakens protection");
        }
        self.apply(config.settings, config.digest);
        self.report(true, clock);
    }
}

async fn recompute(digest: FilesDigest) -> FilesDigest {
    tokio::task::spawn_blocking(move || digest.recompute()).await.unwrap_or_default()
}
