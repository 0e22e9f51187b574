//! Accepted credentials and their permissions, changeable while the simulator runs.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::fleet::setters;

/// An access key with its permissions.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub(super) access_key: String,
    pub(super) secret: String,
    pub(super) session_token: Option<String>,
    account: Option<String>,
    networks: Option<BTreeSet<String>>,
}

impl Credential {
    setters! { credential;
        /// Requires this session token in signed requests.
        session_token(token: impl Into<String>) { credential.session_token = Some(token.into()); }
        /// Allows only the networks of this account.
        account(account: impl Into<String>) { credential.account = Some(account.into()); }
        /// Allows only these networks.
        networks(networks: impl IntoIterator<Item: Into<String>>) {
            credential.networks = Some(networks.into_iter().map(Into::into).collect());
        }
    }

    /// Allows access to all networks.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret: secret.into(),
            session_token: None,
            account: None,
            networks: None,
        }
    }

    /// Whether it allows this network of this account.
    pub(super) fn allows(&self, network: &str, account: &str) -> bool {
        self.account.as_deref().is_none_or(|own| own == account)
            && self.networks.as_ref().is_none_or(|networks| networks.contains(network))
    }
}

/// Without the secrets.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The error for a known credential that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403 ExpiredTokenException
    ExpiredToken,
    /// 401 UnauthorizedError
    Unauthorized,
}

/// The credentials of a running simulator, and the networks denied to all of them.
#[derive(Default)]
pub struct Credentials {
    entries: RwLock<HashMap<String, Arc<Entry>>>,
    denied_networks: RwLock<BTreeSet<String>>,
}

pub(super) struct Entry {
    pub(super) credential: Credential,
    pub(super) refusal: Option<Refusal>,
    /// The last derived signing key and its day (`YYYYMMDD`).
    pub(super) signing_key: Mutex<Option<(String, [u8; 32])>>,
}

impl Entry {
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

    /// Adds a credential, or replaces the one with the same access key.
    pub fn add(&self, credential: Credential) {
        let key = credential.access_key.clone();
        self.write().insert(key, Entry::new(credential, None));
    }

    /// Removes a credential: 403 UnrecognizedClientException. Returns whether it existed.
    pub fn revoke(&self, access_key: &str) -> bool {
        self.write().remove(access_key).is_some()
    }

    /// Refuses a credential until it is added again. Returns whether it exists.
    pub fn refuse(&self, access_key: &str, refusal: Refusal) -> bool {
        let mut entries = self.write();
        let Some(entry) = entries.get_mut(access_key) else { return false };
        *entry = Entry::new(entry.credential.clone(), Some(refusal));
        true
    }

    /// Expires a credential: 403 ExpiredTokenException. Returns whether it exists.
    pub fn expire(&self, access_key: &str) -> bool {
        self.refuse(access_key, Refusal::ExpiredToken)
    }

    /// Denies a network to all credentials: 403 ForbiddenError.
    pub fn deny_network(&self, network: impl Into<String>) {
        self.denied_networks.write().unwrap_or_else(PoisonError::into_inner).insert(network.into());
    }

    /// Reverts [`deny_network`](Self::deny_network).
    pub fn allow_network(&self, network: &str) {
        self.denied_networks.write().unwrap_or_else(PoisonError::into_inner).remove(network);
    }

    pub(super) fn is_denied(&self, network: &str) -> bool {
        self.denied_networks.read().unwrap_or_else(PoisonError::into_inner).contains(network)
    }

    pub(super) fn find(&self, access_key: &str) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(access_key).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<Entry>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}
