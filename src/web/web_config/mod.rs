//! The web configuration file, in the format of the Prometheus exporter-toolkit.
//!
//! `raw`, `rate_limit` and `names` validate the keys, and `load` reads the files that they name.

mod load;
mod names;
mod rate_limit;
mod raw;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use axum::http::{HeaderName, HeaderValue};

pub use self::load::problems_of;
pub(super) use self::{
    load::{Files, FilesDigest},
    rate_limit::RateLimit,
    raw::{Pem, RawTls},
};
use super::{auth::TokenBucket, tls::Tls};

/// A validated web configuration.
#[derive(Debug, Default)]
pub(super) struct AccessSettings {
    pub(super) tls: Option<Tls>,
    /// Names with bcrypt hashes. Without any, no password is required.
    pub(super) users: BTreeMap<String, String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) rate_limit: Option<TokenBucket>,
}

impl AccessSettings {
    /// How strict each kind of protection is.
    fn strictness(&self) -> [u8; 4] {
        let certs = self.tls.as_ref().map(|tls| &tls.client_certs);
        [
            u8::from(self.tls.is_some()),
            u8::from(!self.users.is_empty()),
            certs.map_or(0, |certs| certs.auth.strictness()),
            u8::from(certs.is_some_and(|certs| certs.allowed_sans.is_some())),
        ]
    }

    /// Whether any kind of protection is less strict than in `previous`.
    pub(super) fn weakens(&self, previous: &AccessSettings) -> bool {
        self.strictness().iter().zip(previous.strictness()).any(|(new, old)| *new < old)
    }
}

/// A web configuration and the files that it was read from.
#[derive(Debug)]
pub struct WebConfig {
    pub(super) path: PathBuf,
    pub(super) settings: AccessSettings,
    pub(super) digest: FilesDigest,
}

impl WebConfig {
    /// Reads the file and all files that it names.
    ///
    /// # Errors
    ///
    /// All problems with line and column, one per line.
    pub async fn load(path: &Path) -> Result<WebConfig, String> {
        let (settings, digest) = load(path.to_owned()).await;
        Ok(WebConfig { path: path.to_owned(), settings: settings?, digest })
    }

    /// Whether it turns TLS on.
    pub fn has_tls(&self) -> bool {
        self.settings.tls.is_some()
    }

    /// What clients need, such as `TLS, a password (1 user), no client certificate`.
    pub fn summary(&self) -> String {
        let tls = if self.has_tls() { "TLS" } else { "no TLS" };
        let users = match self.settings.users.len() {
            0 => "no password".to_owned(),
            1 => "a password (1 user)".to_owned(),
            users => format!("a password ({users} users)"),
        };
        let auth = self.settings.tls.as_ref().map(|tls| tls.client_certs.auth);
        let certificate = match auth {
            Some(auth) if auth.verifies() && auth.requires() => "a client certificate",
            Some(auth) if auth.requires() => "any client certificate, unverified",
            _ => "no client certificate",
        };
        format!("{tls}, {users}, {certificate}")
    }
}

/// Reads the files on a blocking thread.
pub(super) async fn load(path: PathBuf) -> (Result<AccessSettings, String>, FilesDigest) {
    let loaded = tokio::task::spawn_blocking(move || load::load(&path)).await;
    loaded.unwrap_or_else(|error| {
        (Err(format!("the web configuration cannot be read: {error}")), FilesDigest::default())
    })
}
