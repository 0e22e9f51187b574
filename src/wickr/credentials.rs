//! Caches AWS credentials until shortly before they expire or until the service refuses them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_smithy_async::time::TimeSource as _;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::{sync::Mutex, time::Instant};

use super::{
    credential_source::{CredentialError, CredentialSource},
    error::shortened,
    service_clock::ServiceClock,
};
use crate::clock::Clock;

/// Time before expiry when credentials are replaced, at most a tenth of their lifetime.
const REFRESH_MARGIN: Duration = Duration::from_secs(300);
/// Timeout of the default chain. The instance metadata alone can take seconds to time out.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum time between two fetches after refusals, and after a failed fetch. Without it, a policy that
/// forbids a thousand users would cause a thousand calls to STS.
const FETCH_BACKOFF: Duration = Duration::from_secs(10);

/// Characters of an error, which has the reason of each provider.
const MAX_ERROR: usize = 1200;

/// How long credentials are used that are already expired when fetched.
const UNVERIFIED_LIFE: Duration = Duration::from_secs(30);

/// Credentials with their times of refresh and expiry.
#[derive(Debug)]
pub(super) struct CachedCredentials {
    pub(super) credentials: Credentials,
    /// The same, as aws-sigv4 takes them.
    pub(super) identity: Identity,
    /// Until when they are used although the clock says that they are expired.
    unverified_until: Option<Instant>,
    refresh_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
}

impl CachedCredentials {
    /// Credentials fetched at `now`. If they are already expired, the local clock can be wrong: they
    /// are used for [`UNVERIFIED_LIFE`], and the service's response corrects the clock.
    fn new(credentials: Credentials, now: SystemTime) -> CachedCredentials {
        let expires_at = credentials.expiry();
        let refresh_at = expires_at.map(|expiry| {
            let life = expiry.duration_since(now).unwrap_or_default();
            expiry - REFRESH_MARGIN.min(life / 10)
        });
        let identity = credentials.clone().into();
        let expired = expires_at.is_some_and(|expiry| expiry <= now);
        let unverified_until = expired.then(|| Instant::now() + UNVERIFIED_LIFE);
        CachedCredentials { credentials, identity, unverified_until, refresh_at, expires_at }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.refresh_at.is_none_or(|at| now < at) || self.is_unverified()
    }

    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| now >= at) && !self.is_unverified()
    }

    fn is_unverified(&self) -> bool {
        self.unverified_until.is_some_and(|until| Instant::now() < until)
    }
}

/// The cached credentials of one account.
#[derive(Debug)]
pub struct CredentialStore {
    source: CredentialSource,
    clock: ServiceClock,
    current: ArcSwapOption<CachedCredentials>,
    /// Held during a fetch: others wait for its result.
    last_fetch: Mutex<Option<LastFetch>>,
}

#[derive(Debug)]
struct LastFetch {
    at: Instant,
    error: Option<CredentialError>,
    /// Whether it followed a refusal.
    after_refusal: bool,
}

impl LastFetch {
    fn in_backoff(&self) -> bool {
        self.at.elapsed() < FETCH_BACKOFF
    }
}

impl CredentialStore {
    /// Creates an empty store. The first request fetches credentials. `clock` is corrected by what the
    /// service proves.
    pub fn new(source: CredentialSource, clock: Clock) -> CredentialStore {
        CredentialStore {
            source,
            clock: ServiceClock::new(clock),
            current: ArcSwapOption::empty(),
            last_fetch: Mutex::new(None),
        }
    }

    /// The clock of the account's service.
    pub(super) fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    /// Returns credentials that have not expired.
    pub(super) async fn get(&self) -> Result<Arc<CachedCredentials>, CredentialError> {
        if let Some(cached) = self.fresh() {
            return Ok(cached);
        }
        // During a fetch, other requests use the cached credentials until they expire.
        let mut last = match (self.unexpired(), self.last_fetch.try_lock()) {
            (_, Ok(last)) => last,
            (Some(cached), Err(_)) => return Ok(cached),
            (None, Err(_)) => self.last_fetch.lock().await,
        };
        if let Some(cached) = self.fresh() {
            return Ok(cached);
        }
        if !last.as_ref().is_some_and(|last| last.error.is_some() && last.in_backoff()) {
            self.fetch(&mut last, false).await;
        }
        self.unexpired().ok_or_else(|| {
            let error = last.as_ref().and_then(|last| last.error.clone());
            error.unwrap_or_else(|| CredentialError::new("they have expired"))
        })
    }

    /// Fetches new credentials because the service refused `refused`, unless they were just replaced.
    pub(super) async fn replace(&self, refused: &Arc<CachedCredentials>) {
        let mut last = self.last_fetch.lock().await;
        let replaced = self.current.load().as_ref().is_none_or(|now| !Arc::ptr_eq(now, refused));
        let in_backoff = last
            .as_ref()
            .is_some_and(|last| (last.after_refusal || last.error.is_some()) && last.in_backoff());
        if !replaced && !in_backoff {
            self.fetch(&mut last, true).await;
        }
    }

    fn fresh(&self) -> Option<Arc<CachedCredentials>> {
        self.current.load_full().filter(|cached| cached.is_fresh(self.clock.now()))
    }

    fn unexpired(&self) -> Option<Arc<CachedCredentials>> {
        self.current.load_full().filter(|cached| !cached.has_expired(self.clock.now()))
    }

    async fn fetch(&self, last: &mut Option<LastFetch>, after_refusal: bool) {
        // Boxed: this future has 15 kB, which every request would otherwise allocate and copy.
        let fetch = Box::pin(self.source.fetch(&self.clock));
        let result = tokio::time::timeout(FETCH_TIMEOUT, fetch).await.unwrap_or_else(|_| {
            let seconds = FETCH_TIMEOUT.as_secs();
            Err(CredentialError::new(format!("no response within {seconds} s")))
        });
        let error = match result {
            Ok(credentials) => {
                let now = self.clock.now();
                if let Some(expiry) = credentials.expiry().filter(|expiry| *expiry <= now) {
                    tracing::warn!(
                        expired_at = humantime::format_rfc3339_seconds(expiry).to_string(),
                        "the AWS credentials are expired, or the local clock is wrong"
                    );
                }
                self.current.store(Some(Arc::new(CachedCredentials::new(credentials, now))));
                None
            }
            Err(CredentialError { message, step }) => {
                let error = shortened(&message, MAX_ERROR);
                tracing::warn!(error, remedy = step.remedy(), "cannot get AWS credentials");
                Some(CredentialError { message: error, step })
            }
        };
        *last = Some(LastFetch { at: Instant::now(), error, after_refusal });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(lifetime: Option<u64>) -> CachedCredentials {
        let now = SystemTime::now();
        let expiry = lifetime.map(|seconds| now + Duration::from_secs(seconds));
        CachedCredentials::new(Credentials::new("a", "b", None, expiry, "test"), now)
    }

    #[test]
    fn refreshes_credentials_before_they_expire() {
        let margin = |cached: &CachedCredentials| {
            cached.expires_at.unwrap().duration_since(cached.refresh_at.unwrap()).unwrap().as_secs()
        };
        assert_eq!(margin(&credentials(Some(3600))), 300);
        assert!((5..=6).contains(&margin(&credentials(Some(60)))));
        assert_eq!(margin(&credentials(Some(10))), 1);
        let now = SystemTime::now();
        let unlimited = credentials(None);
        assert!(unlimited.is_fresh(now) && !unlimited.has_expired(now));
        let hour = credentials(Some(3600));
        let later = now + Duration::from_secs(3595);
        assert!(hour.is_fresh(now) && !hour.is_fresh(later) && !hour.has_expired(later));
        assert!(hour.has_expired(now + Duration::from_secs(3605)));
    }

    #[tokio::test(start_paused = true)]
    async fn uses_credentials_that_are_expired_when_fetched_for_a_short_time() {
        let expired = credentials(Some(0));
        let now = SystemTime::now();
        assert!(expired.is_fresh(now) && !expired.has_expired(now));
        tokio::time::advance(UNVERIFIED_LIFE).await;
        assert!(!expired.is_fresh(now) && expired.has_expired(now));
    }

    #[tokio::test(start_paused = true)]
    async fn renews_credentials_by_a_clock_that_was_corrected_after_the_fetch() {
        // The local clock is 30 days ahead, so credentials for an hour seem expired when fetched.
        let real = SystemTime::now();
        let (hour, wrong) = (Duration::from_secs(3600), Duration::from_secs(30 * 86_400));
        let new = Credentials::new("a", "b", None, Some(real + hour), "test");
        let cached = CachedCredentials::new(new, real + wrong);
        tokio::time::advance(UNVERIFIED_LIFE).await;
        assert!(cached.is_fresh(real + UNVERIFIED_LIFE));
        assert!(!cached.is_fresh(real + hour) && cached.has_expired(real + hour));
    }

    #[tokio::test]
    async fn replaces_refused_credentials_once_within_the_backoff() {
        let source = CredentialSource::Fixed {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "hunter2".into(),
        };
        assert!(!format!("{source:?}").contains("hunter2"));
        let store = CredentialStore::new(source, Clock::system());
        let first = store.get().await.unwrap();
        assert!(Arc::ptr_eq(&first, &store.get().await.unwrap()));
        store.replace(&first).await;
        let second = store.get().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        store.replace(&second).await;
        assert!(Arc::ptr_eq(&second, &store.get().await.unwrap()), "within the backoff");
        store.replace(&first).await;
        assert!(Arc::ptr_eq(&second, &store.get().await.unwrap()), "already replaced");
    }
}
