//! The web configuration file, in the format of the Prometheus exporter-toolkit.
//!
//! `yaml` parses the text, `table` reads its keys, `raw` and `names` validate them, and `load` reads
//! the files that they name.

mod load;
mod names;
pub(crate) mod problems;
pub(crate) mod rate_limit;
pub(crate) mod raw;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod yaml;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use axum::http::{HeaderName, HeaderValue};

pub use self::load::problems_of;
pub(crate) use self::load::{Attempt, Files, Seen};
use self::raw::Written;
use super::{auth::rate_limit::Bucket, tls::Tls};

/// What a web configuration says, ready for use.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) tls: Option<Tls>,
    /// Names, and bcrypt hashes. Nobody is asked for a password if there are none.
    pub(crate) users: BTreeMap<String, String>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) bucket: Option<Bucket>,
}

impl Settings {
    fn new(tls: Option<Tls>, written: Written) -> Settings {
        let Written { headers, users, rate, .. } = written;
        let bucket = rate.map(|rate| Bucket::full(rate, Instant::now()));
        Settings { tls, users, headers, bucket }
    }

    /// How much is asked of a client, each in a way of its own.
    fn strictness(&self) -> [u8; 4] {
        let clients = self.tls.as_ref().map(|tls| &tls.clients);
        [
            u8::from(self.tls.is_some()),
            u8::from(!self.users.is_empty()),
            clients.map_or(0, |clients| clients.auth.strictness()),
            u8::from(clients.is_some_and(|clients| clients.names.is_some())),
        ]
    }

    /// Whether somebody could come in now who could not before, but for one who was added.
    pub(crate) fn opens(&self, before: &Settings) -> bool {
        self.strictness().iter().zip(before.strictness()).any(|(now, before)| *now < before)
    }
}

/// The web configuration as it was read before anything starts.
#[derive(Debug)]
pub struct WebConfig {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) seen: Seen,
}

impl WebConfig {
    /// Reads it, and every file that it names.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, a line each, with its place.
    pub async fn load(path: &Path) -> Result<WebConfig, String> {
        let Attempt { result, seen } = attempt(path.to_owned()).await?;
        Ok(WebConfig { path: path.to_owned(), settings: result?, seen })
    }

    /// Whether connections are to be encrypted.
    pub fn has_tls(&self) -> bool {
        self.settings.tls.is_some()
    }

    /// What it asks of clients, in words.
    pub fn summary(&self) -> String {
        let tls = if self.settings.tls.is_some() { "TLS" } else { "no TLS" };
        let users = match self.settings.users.len() {
            0 => "no password".to_owned(),
            1 => "a password (1 user)".to_owned(),
            users => format!("a password ({users} users)"),
        };
        let auth = self.settings.tls.as_ref().map(|tls| tls.clients.auth);
        let certificate = match auth {
            Some(auth) if auth.verifies() && auth.requires() => "a client certificate",
            Some(auth) if auth.requires() => "any client certificate, unverified",
            _ => "no client certificate",
        };
        format!("{tls}, {users}, {certificate}")
    }
}

pub(crate) async fn attempt(path: PathBuf) -> Result<Attempt, String> {
    let attempt = tokio::task::spawn_blocking(move || load::load(&path)).await;
    attempt.map_err(|error| format!("the web configuration cannot be read: {error}"))
}

/// A new web configuration that is good but not in force yet.
#[derive(Debug)]
pub struct Prepared(pub(crate) Option<(Settings, Seen)>);
