//! Settings that follow their files.
//!
//! The toolkit reads them with each request. Here they are looked at every second, by their content,
//! so that no request waits for the disk. What is new and good is in force from then on; what is
//! broken changes nothing, is logged once and shown by a metric. So is, until somebody asks for it
//! with a reload, what would open a door: a file that is half written, or emptied by mistake, must
//! not turn off what keeps people out.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::AccessControl;
use crate::{
    clock::Clock,
    web::web_config::{Attempt, Prepared, Seen, Settings, attempt},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What did not become the settings.
struct Refused {
    seen: Seen,
    why: String,
    told: bool,
}

impl AccessControl {
    /// Follows the files until `stop`.
    pub async fn follow(&self, clock: Clock, stop: CancellationToken) {
        let Some(path) = &self.path else { return stop.cancelled().await };
        self.tell(true, &clock);
        let mut refused: Option<Refused> = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            // Somebody may have asked for a reload, and got it.
            refused = refused.filter(|refused| refused.seen != self.seen());
            // What a broken configuration names may be other files.
            let before = refused.as_ref().map_or_else(|| self.seen(), |r| r.seen.clone());
            if again(before.clone()).await != before {
                refused = self.try_anew(path, &clock).await;
            } else if let Some(refused) = &mut refused
                && !std::mem::replace(&mut refused.told, true)
            {
                // The same for two looks, so it is no certificate that its key follows in a moment.
                let problems = &refused.why;
                tracing::error!(
                    problems,
                    "the web configuration has changed and is not taken up; the former one stays"
                );
                self.tell(false, &clock);
            }
        }
    }

    /// Takes up what the files say now, unless that cannot or should not be.
    async fn try_anew(&self, path: &Path, clock: &Clock) -> Option<Refused> {
        let (result, seen) = match attempt(path.to_owned()).await {
            Ok(Attempt { result, seen }) => (result, seen),
            Err(why) => (Err(why), Seen::default()),
        };
        let why = match result {
            // All is again as it was.
            Ok(_) if seen == self.seen() => {
                self.tell(true, clock);
                return None;
            }
            Ok(settings) if !settings.opens(&self.settings.load()) => {
                self.take_up(settings, seen, clock);
                return None;
            }
            Ok(_) => "it no longer asks for what is asked for now (TLS, a password or a client \
                      certificate); a reload takes it up all the same"
                .to_owned(),
            Err(problems) => problems,
        };
        Some(Refused { seen, why, told: false })
    }

    fn take_up(&self, settings: Settings, seen: Seen, clock: &Clock) {
        self.put_in_force(settings, seen);
        self.tell(true, clock);
        tracing::info!("the web configuration or a file that it names was loaded anew");
    }

    fn put_in_force(&self, settings: Settings, seen: Seen) {
        let mut kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = seen;
        self.settings.store(Arc::new(settings));
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells by the metrics whether the files are followed, and until when the certificate is valid.
    fn tell(&self, successful: bool, clock: &Clock) {
        if self.path.is_some() {
            let valid_until = self.settings.load().tls.as_ref().and_then(|tls| tls.valid_until);
            let now = clock.now();
            self.metrics.web_config_loaded(successful, now, valid_until);
            let until = valid_until.and_then(|seconds| i64::try_from(seconds).ok());
            if until.is_some_and(|seconds| seconds < now / 1000) {
                tracing::warn!("the certificate that is shown to clients has expired");
            }
        }
    }

    /// Reads the files because somebody asked for it, which changes nothing yet.
    ///
    /// # Errors
    ///
    /// All that is wrong with them, a line each.
    pub async fn prepare(&self) -> Result<Prepared, String> {
        let Some(path) = self.path.clone() else { return Ok(Prepared(None)) };
        let Attempt { result, seen } = attempt(path).await?;
        Ok(Prepared(Some((result?, seen))))
    }

    /// Puts in force what was prepared, even if it opens a door.
    pub fn reload(&self, prepared: Prepared, clock: &Clock) {
        if let Some((settings, seen)) = prepared.0 {
            if settings.opens(&self.settings.load()) {
                tracing::warn!("by the web configuration, less is asked of clients than before");
            }
            self.put_in_force(settings, seen);
            self.tell(true, clock);
        }
    }
}

async fn again(seen: Seen) -> Seen {
    let look = tokio::task::spawn_blocking(move || seen.again()).await;
    look.unwrap_or_default()
}
