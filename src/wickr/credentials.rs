//! Where credentials come from, and how long they are kept.
//!
//! Finding them is aws-config's work: its default chain reads the environment, profiles, SSO, web
//! identity, ECS and EKS, and the instance's metadata, and assumes a role on top where one is
//! configured. That chain keeps nothing, so what it finds is kept here: until shortly before it
//! expires, or until the service refuses it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_config::{
    BehaviorVersion, Region,
    default_provider::region::DefaultRegionChain,
    environment::region::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain,
    profile::{ProfileFileCredentialsProvider, region::ProfileFileRegionProvider},
    provider_config::ProviderConfig,
    sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_smithy_async::time::TimeSource as _;
use std::sync::Arc;
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::{chain, one_line},
    service_clock::ServiceClock,
};

/// Credentials are replaced when this much of their life is left, or a tenth of a short life.
const MARGIN: Duration = Duration::from_secs(300);
/// How long the chain may take; the instance's metadata alone may take seconds to be absent.
const LONGEST_FETCH: Duration = Duration::from_secs(30);
/// The least time between two fetches that refusals ask for, and from a failed one to the next: a
/// policy that forbids some users of a thousand must not become a thousand calls to STS.
const REST: Duration = Duration::from_secs(10);

/// How long credentials are used that are expired as soon as they are fetched.
const UNVERIFIED_LIFE: Duration = Duration::from_secs(30);

/// Which credentials to use.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// The SDK's own default chain.
    Chain {
        /// A profile of the shared configuration, else the chain's own choice.
        profile: Option<String>,
        /// A role to assume with what the chain finds.
        role: Option<Role>,
        /// The region whose STS is asked.
        region: String,
    },
    /// A fixed pair, for the demo.
    Fixed {
        /// The access key's id.
        access_key_id: String,
        /// The secret key.
        secret_access_key: String,
    },
}

/// A role to assume.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialSource::Chain { profile, role, region } => f
                .debug_struct("Chain")
                .field("profile", profile)
                .field("role", role)
                .field("region", region)
                .finish(),
            CredentialSource::Fixed { access_key_id, .. } => f
                .debug_struct("Fixed")
                .field("access_key_id", access_key_id)
                .finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// The region that the SDK's own chain names: `AWS_REGION`, the profile, and, only if `instance`,
/// the machine's metadata service.
pub async fn region_of_chain(profile: Option<&str>, instance: bool) -> Option<String> {
    let found = async {
        if instance {
            let mut chain = DefaultRegionChain::builder();
            if let Some(profile) = profile {
                chain = chain.profile_name(profile);
            }
            return chain.build().region().await;
        }
        let mut of_profile = ProfileFileRegionProvider::builder();
        if let Some(profile) = profile {
            of_profile = of_profile.profile_name(profile);
        }
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(of_profile.build())
            .region()
            .await
    };
    let region = tokio::time::timeout(LONGEST_FETCH, found).await.ok()??;
    // An empty variable names nothing.
    Some(region.as_ref().to_owned()).filter(|region| !region.is_empty())
}

impl CredentialSource {
    /// Builds the chain anew at each fetch: a chain remembers the files that it has read, and
    /// the very reason to fetch may be that they have changed.
    async fn fetch(&self, clock: &ServiceClock) -> Result<Credentials, String> {
        let (profile, role, region) = match self {
            CredentialSource::Fixed { access_key_id, secret_access_key } => {
                return Ok(Credentials::new(access_key_id, secret_access_key, None, None, "fixed"));
            }
            CredentialSource::Chain { profile, role, region } => (profile, role, region),
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .time_source(clock.clone());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        let provider = match profile {
            // As for the AWS command line, a profile that is named beats the environment.
            Some(profile) => SharedCredentialsProvider::new(
                ProfileFileCredentialsProvider::builder()
                    .profile_name(profile)
                    .configure(
                        &ProviderConfig::without_region()
                            .with_region(Some(Region::new(region.clone())))
                            .with_time_source(clock.clone()),
                    )
                    .build(),
            ),
            None => config.credentials_provider().ok_or("the SDK offers no credentials")?,
        };
        let found = match role {
            None => provider.provide_credentials().await,
            Some(role) => {
                let mut assume = AssumeRoleProvider::builder(&role.arn)
                    .configure(&config)
                    .region(Region::new(region.clone()))
                    .session_name("wickr-exporter");
                if let Some(external_id) = &role.external_id {
                    assume = assume.external_id(external_id);
                }
                assume.build_from_provider(provider).await.provide_credentials().await
            }
        };
        found.map_err(|error| chain(&error))
    }
}

/// Credentials as they were at one fetch.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) credentials: Credentials,
    replace_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
}

impl Kept {
    /// Credentials that a provider has just returned, at `now`. If they are expired by then, the clock
    /// may be wrong: they are used for a short time, and the service's response corrects the clock.
    fn new(credentials: Credentials, now: SystemTime) -> Kept {
        let expires_at = credentials.expiry().map(|expiry| expiry.max(now + UNVERIFIED_LIFE));
        let replace_at = expires_at.map(|expiry| {
            let life = expiry.duration_since(now).unwrap_or_default();
            expiry - MARGIN.min(life / 10)
        });
        Kept { credentials, replace_at, expires_at }
    }

    fn is_good(&self, now: SystemTime) -> bool {
        self.replace_at.is_none_or(|at| now < at)
    }

    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| now >= at)
    }
}

/// The credentials of one account: found once, shared by all requests.
#[derive(Debug)]
pub struct CredentialStore {
    source: CredentialSource,
    clock: ServiceClock,
    current: ArcSwapOption<Kept>,
    /// One fetch at a time; the rest wait for its result. Holds how the last one went.
    fetching: Mutex<Option<LastFetch>>,
}

#[derive(Debug)]
struct LastFetch {
    at: Instant,
    failure: Option<String>,
    /// A refusal asked for it.
    replacing: bool,
}

impl CredentialStore {
    /// A store that has nothing yet: the first request fetches.
    pub fn new(source: CredentialSource) -> CredentialStore {
        CredentialStore {
            source,
            clock: ServiceClock::default(),
            current: ArcSwapOption::empty(),
            fetching: Mutex::new(None),
        }
    }

    /// The clock of the account's service.
    pub(super) fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    /// Credentials that have not expired.
    pub(super) async fn get(&self) -> Result<Arc<Kept>, String> {
        if let Some(kept) = self.good() {
            return Ok(kept);
        }
        // While the current ones have some life left, one request fetches and the others go on.
        let mut last = match (self.current.load_full(), self.fetching.try_lock()) {
            (_, Ok(last)) => last,
            (Some(kept), Err(_)) if !kept.has_expired(self.clock.now()) => return Ok(kept),
            _ => self.fetching.lock().await,
        };
        if let Some(kept) = self.good() {
            return Ok(kept);
        }
        // Not as often as requests come, when the last fetch failed a moment ago.
        if !last.as_ref().is_some_and(|last| last.failure.is_some() && last.at.elapsed() < REST) {
            self.fetch(&mut last, false).await;
        }
        // What cannot be replaced yet is used until it expires.
        match (self.current.load_full(), last.as_ref().and_then(|last| last.failure.clone())) {
            (Some(kept), _) if !kept.has_expired(self.clock.now()) => Ok(kept),
            (_, failure) => Err(failure.unwrap_or_else(|| "they have expired".into())),
        }
    }

    /// The service refused `refused`: fetches anew, unless somebody just did.
    pub(super) async fn replace(&self, refused: &Arc<Kept>) {
        let mut last = self.fetching.lock().await;
        let replaced = self.current.load().as_ref().is_none_or(|now| !Arc::ptr_eq(now, refused));
        let resting = last.as_ref().is_some_and(|last| {
            (last.replacing || last.failure.is_some()) && last.at.elapsed() < REST
        });
        if !replaced && !resting {
            self.fetch(&mut last, true).await;
        }
    }

    fn good(&self) -> Option<Arc<Kept>> {
        self.current.load_full().filter(|kept| kept.is_good(self.clock.now()))
    }

    async fn fetch(&self, last: &mut Option<LastFetch>, replacing: bool) {
        let fetched =
            match tokio::time::timeout(LONGEST_FETCH, self.source.fetch(&self.clock)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(format!("no answer within {} s", LONGEST_FETCH.as_secs())),
            };
        let failure = match fetched {
            Ok(credentials) => {
                let now = self.clock.now();
                if let Some(expiry) = credentials.expiry().filter(|expiry| *expiry <= now) {
                    tracing::warn!(
                        expired_at = humantime::format_rfc3339_seconds(expiry).to_string(),
                        "the AWS credentials are expired, or the local clock is wrong"
                    );
                }
                self.current.store(Some(Arc::new(Kept::new(credentials, now))));
                None
            }
            Err(failure) => {
                let failure = one_line(&failure);
                tracing::warn!(error = failure, "cannot get AWS credentials");
                Some(failure)
            }
        };
        *last = Some(LastFetch { at: Instant::now(), failure, replacing });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lifetime: Option<u64>) -> Kept {
        let expiry = lifetime.map(|s| SystemTime::now() + Duration::from_secs(s));
        Kept::new(Credentials::new("a", "b", None, expiry, "test"), SystemTime::now())
    }

    #[test]
    fn credentials_are_replaced_before_they_expire() {
        let left = |kept: &Kept| {
            kept.expires_at.unwrap().duration_since(kept.replace_at.unwrap()).unwrap().as_secs()
        };
        assert_eq!(left(&kept(Some(3600))), 300);
        assert!((5..=6).contains(&left(&kept(Some(60)))));
        let now = SystemTime::now();
        assert!(kept(None).is_good(now) && !kept(None).has_expired(now));
        let hour = kept(Some(3600));
        let later = now + Duration::from_secs(3595);
        assert!(hour.is_good(now) && !hour.is_good(later) && !hour.has_expired(later));
        assert!(hour.has_expired(now + Duration::from_secs(3605)));
    }

    #[test]
    fn credentials_that_are_expired_when_fetched_are_used_for_a_short_time() {
        let expired = kept(Some(0));
        let now = SystemTime::now();
        assert!(expired.is_good(now) && !expired.has_expired(now));
        assert!(expired.has_expired(now + UNVERIFIED_LIFE + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn what_was_refused_is_fetched_anew_but_not_without_rest() {
        let source = CredentialSource::Fixed {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "hunter2".into(),
        };
        assert!(!format!("{source:?}").contains("hunter2"));
        let store = CredentialStore::new(source);
        let first = store.get().await.unwrap();
        assert!(Arc::ptr_eq(&first, &store.get().await.unwrap()));
        store.replace(&first).await;
        let second = store.get().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        // One that followed a refusal a moment ago is not followed by another.
        store.replace(&second).await;
        assert!(Arc::ptr_eq(&second, &store.get().await.unwrap()));
        // Refusals of what is no longer in use change nothing.
        store.replace(&first).await;
        assert!(Arc::ptr_eq(&second, &store.get().await.unwrap()));
    }
}
