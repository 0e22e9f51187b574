//! Who may ask, and for what: changed at will while the simulator runs.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A key pair, perhaps with a session token, and what it opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub(super) access_key: String,
    pub(super) secret: String,
    pub(super) session_token: Option<String>,
    account: Option<String>,
    networks: Option<BTreeSet<String>>,
}

impl Credential {
    /// Opens everything.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret: secret.into(),
            session_token: None,
            account: None,
            networks: None,
        }
    }

    /// A temporary one: requests must carry this token too, and sign it.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }

    /// Opens only the networks of this account.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Opens only these networks.
    #[must_use]
    pub fn networks<I: Into<String>>(mut self, networks: impl IntoIterator<Item = I>) -> Self {
        self.networks = Some(networks.into_iter().map(Into::into).collect());
        self
    }

    /// Whether it opens a network that belongs to this account.
    pub(super) fn opens(&self, network: &str, account: &str) -> bool {
        self.account.as_deref().is_none_or(|own| own == account)
            && self.networks.as_ref().is_none_or(|networks| networks.contains(network))
    }
}

/// Only the access key: a failed assertion must not print a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// How a credential that is known is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403 ExpiredTokenException
    ExpiredToken,
    /// 401 UnauthorizedError
    Unauthorized,
}

/// The credentials that the simulator accepts, and the networks that it denies to all.
#[derive(Debug, Default)]
pub struct Credentials {
    known: RwLock<HashMap<String, Arc<Known>>>,
    denied: RwLock<BTreeSet<String>>,
}

/// A credential with its state and the signing key that was last derived from it.
pub(super) struct Known {
    pub(super) credential: Credential,
    pub(super) refusal: Option<Refusal>,
    /// The day (`YYYYMMDD`) and its key.
    pub(super) signing_key: Mutex<Option<(String, [u8; 32])>>,
}

/// Without the signing key.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Known");
        this.field("credential", &self.credential).field("refusal", &self.refusal);
        this.finish_non_exhaustive()
    }
}

impl Known {
    fn new(credential: Credential, refusal: Option<Refusal>) -> Arc<Self> {
        Arc::new(Self { credential, refusal, signing_key: Mutex::default() })
    }
}

impl Credentials {
    pub(super) fn new(credentials: &[Credential]) -> Self {
        let this = Self::default();
        credentials.iter().cloned().for_each(|credential| this.add(credential));
        this
    }

    /// Accepts a credential from now on; replaces one with the same access key.
    pub fn add(&self, credential: Credential) {
        let key = credential.access_key.clone();
        self.write().insert(key, Known::new(credential, None));
    }

    /// Forgets a credential: 403 UnrecognizedClientException from now on. Whether it was
    /// known.
    pub fn revoke(&self, access_key: &str) -> bool {
        self.write().remove(access_key).is_some()
    }

    /// Refuses a known credential until it is added anew. Whether it was known.
    pub fn refuse(&self, access_key: &str, refusal: Refusal) -> bool {
        let mut known = self.write();
        let Some(entry) = known.get_mut(access_key) else { return false };
        *entry = Known::new(entry.credential.clone(), Some(refusal));
        true
    }

    /// Lets a credential expire: 403 ExpiredTokenException. Whether it was known.
    pub fn expire(&self, access_key: &str) -> bool {
        self.refuse(access_key, Refusal::ExpiredToken)
    }

    /// Denies a network to everybody: 403 ForbiddenError.
    pub fn deny_network(&self, network: impl Into<String>) {
        self.denied.write().unwrap_or_else(PoisonError::into_inner).insert(network.into());
    }

    /// Takes such a denial back.
    pub fn allow_network(&self, network: &str) {
        self.denied.write().unwrap_or_else(PoisonError::into_inner).remove(network);
    }

    pub(super) fn denies(&self, network: &str) -> bool {
        self.denied.read().unwrap_or_else(PoisonError::into_inner).contains(network)
    }

    pub(super) fn find(&self, access_key: &str) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(access_key).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<Known>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
