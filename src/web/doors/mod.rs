//! The doors: TLS, passwords, client certificates, rate limit and headers, in the format of the
//! Prometheus exporter-toolkit's web configuration.
//!
//! - `yaml`, `reader`: text to a tree, and keys out of it; `problems`: what is wrong with them
//! - `written`, `names`: what is written, in the names that Go has for it
//! - `tls`, `clients`: the TLS side of it, and certificates of clients
//! - `passwords`, `rate`: who comes in by password, and how often anybody does
//! - `load`, `watch`: from the files to the settings, again whenever they change
//!
//! All requests go through [`Doors::admit`] before any route is looked at, by the very path that the
//! routes go by. Only the two health paths are open to everybody.

mod clients;
mod load;
mod names;
mod passwords;
mod problems;
mod rate;
mod reader;
#[cfg(test)]
mod tests;
mod tls;
mod watch;
mod written;
mod yaml;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

pub use self::{clients::names_of, load::problems_of};
use arc_swap::ArcSwap;
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::{ServerConfig, pki_types::CertificateDer};

use self::{
    load::{Attempt, Seen},
    passwords::{Passwords, Verdict},
    rate::Bucket,
    tls::Tls,
    written::Written,
};
use crate::telemetry::{Metrics, Refusal};

/// The paths that answer whoever asks.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];

/// What a web configuration says, ready for use.
#[derive(Debug, Default)]
pub(super) struct Settings {
    tls: Option<Tls>,
    /// Names, and bcrypt hashes. Nobody is asked for a password if there are none.
    users: BTreeMap<String, String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    bucket: Option<Bucket>,
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
    fn opens(&self, before: &Settings) -> bool {
        self.strictness().iter().zip(before.strictness()).any(|(now, before)| *now < before)
    }
}

/// The web configuration as it was read before anything starts.
#[derive(Debug)]
pub struct WebConfig {
    path: PathBuf,
    settings: Settings,
    seen: Seen,
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

async fn attempt(path: PathBuf) -> Result<Attempt, String> {
    let attempt = tokio::task::spawn_blocking(move || load::load(&path)).await;
    attempt.map_err(|error| format!("the web configuration cannot be read: {error}"))
}

/// A new web configuration that is good but not in force yet.
#[derive(Debug)]
pub struct Prepared(Option<(Settings, Seen)>);

/// What every connection and every request goes through.
#[derive(Debug)]
pub struct Doors {
    /// The file, if there is one.
    path: Option<PathBuf>,
    settings: ArcSwap<Settings>,
    /// What the settings in force were read from.
    seen: Mutex<Seen>,
    passwords: Passwords,
    metrics: Arc<Metrics>,
}

impl Doors {
    /// Doors by this configuration; ones that are open to everybody without one.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn new(config: Option<WebConfig>, metrics: Arc<Metrics>) -> Result<Doors, String> {
        let passwords = Passwords::new().ok_or("the system has no randomness")?;
        let (path, settings, seen) = match config {
            Some(WebConfig { path, settings, seen }) => (Some(path), settings, seen),
            None => (None, Settings::default(), Seen::default()),
        };
        let settings = ArcSwap::from_pointee(settings);
        Ok(Doors { path, settings, seen: Mutex::new(seen), passwords, metrics })
    }

    /// Whether connections are encrypted now.
    pub fn has_tls(&self) -> bool {
        self.settings.load().tls.is_some()
    }

    /// What is wrong with listening beyond this machine like this, if anything.
    pub fn weakness(&self) -> Option<&'static str> {
        let settings = self.settings.load();
        let auth = settings.tls.as_ref().map(|tls| tls.clients.auth);
        let certificates = auth.is_some_and(|auth| auth.verifies() && auth.requires());
        match (settings.tls.is_some(), certificates || !settings.users.is_empty()) {
            (_, false) if auth.is_some_and(|auth| auth.requires()) => {
                Some("client certificates are asked for and not verified: anybody can make one")
            }
            (_, false) => Some("nobody is asked for a password or a client certificate"),
            (false, true) => Some("without TLS, passwords and data can be read on their way"),
            (true, true) => None,
        }
    }

    /// How to shake hands with a client that connects now; none if nothing is encrypted.
    pub(super) fn handshake(&self) -> Option<Arc<ServerConfig>> {
        self.settings.load().tls.as_ref().map(|tls| tls.config.clone())
    }

    /// A client was sent away before there was a request.
    pub(super) fn refused(&self, why: Refusal) {
        self.metrics.refused(why);
    }

    /// Whether a request may go on to the routes; if not, what it gets for an answer.
    pub(super) async fn admit(&self, request: &Parts, visitor: &Visitor) -> Result<(), Response> {
        if is_open(&request.uri) {
            return Ok(());
        }
        let settings = self.settings.load_full();
        let admitted = self.judge(&settings, request, visitor).await;
        admitted.map_err(|why| {
            self.metrics.refused(why);
            refusal(why)
        })
    }

    async fn judge(
        &self,
        settings: &Settings,
        request: &Parts,
        visitor: &Visitor,
    ) -> Result<(), Refusal> {
        if let Some(tls) = &settings.tls {
            // It may have connected when there was no TLS yet.
            let Secured::Tls(chain) = &visitor.secured else { return Err(Refusal::Unencrypted) };
            if !tls.clients.admits(chain.as_deref()) {
                return Err(Refusal::Certificate);
            }
        }
        if !settings.users.is_empty() {
            let (user, password) = credentials(&request.headers).ok_or(Refusal::Credentials)?;
            let peer = visitor.peer;
            match self.passwords.verify(&settings.users, &user, &password, peer).await {
                Verdict::Right => {}
                Verdict::Wrong => return Err(Refusal::Credentials),
                Verdict::Busy => return Err(Refusal::Busy),
            }
        }
        // After that, so that those who are not let in take nothing from those who are.
        match &settings.bucket {
            Some(bucket) if !bucket.take(Instant::now()) => Err(Refusal::RateLimit),
            _ => Ok(()),
        }
    }

    /// Puts the configured headers on an answer, in place of its own.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.settings.load().headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Whether whoever asks for this gets it. The routes go by the very same path, undecoded.
pub(super) fn is_open(uri: &Uri) -> bool {
    OPEN.contains(&uri.path())
}

/// Whoever is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) peer: Peer,
    pub(super) secured: Secured,
}

/// How a connection is secured.
#[derive(Debug)]
pub(super) enum Secured {
    Not,
    /// By TLS, and with the certificates that the client presented, its own first.
    Tls(Option<Vec<CertificateDer<'static>>>),
}

/// Who counts as one client: an address, and of the plenty that IPv6 gives to each, a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Peer {
        Peer(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer::of(address.ip())
    }
}

/// The name and the password of a request that has just one of each.
pub fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, encoded) = value.as_bytes().split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

/// What who is not let in gets to read. It does not say what would be right.
fn refusal(why: Refusal) -> Response {
    let (status, text) = match why {
        Refusal::Unencrypted => (StatusCode::FORBIDDEN, "Use https.\n"),
        Refusal::Certificate => {
            (StatusCode::FORBIDDEN, "A client certificate that is valid here is needed.\n")
        }
        Refusal::Credentials => (StatusCode::UNAUTHORIZED, "A name and a password are needed.\n"),
        Refusal::Busy => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many passwords are being tried; try again.\n")
        }
        Refusal::RateLimit => {
            (StatusCode::TOO_MANY_REQUESTS, "More requests than rate_limit allows.\n")
        }
        Refusal::Handshake | Refusal::Connection => (StatusCode::SERVICE_UNAVAILABLE, "\n"),
    };
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    match why {
        Refusal::Credentials => {
            let challenge = HeaderValue::from_static("Basic realm=\"wickr-exporter\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        Refusal::Busy | Refusal::RateLimit => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // So that the next request comes over a connection that begins with a new handshake.
        Refusal::Unencrypted | Refusal::Certificate => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::Handshake | Refusal::Connection => {}
    }
    response
}
