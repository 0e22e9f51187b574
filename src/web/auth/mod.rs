//! Authentication: passwords, client certificates, the rate limit, and reloading them.
//!
//! [`AccessControl::authorize`] runs before routing, on the same undecoded path as the routes. Only
//! the two health paths are public.

mod passwords;
pub(crate) mod rate_limit;
mod reload;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use arc_swap::ArcSwap;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::{ServerConfig, pki_types::CertificateDer};

use self::passwords::{Passwords, Verdict};
use super::web_config::{Seen, Settings, WebConfig};
use crate::telemetry::{Metrics, Refusal};

/// The paths that answer whoever asks.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];

/// What every connection and every request goes through.
#[derive(Debug)]
pub struct AccessControl {
    /// The file, if there is one.
    path: Option<PathBuf>,
    settings: ArcSwap<Settings>,
    /// What the settings in force were read from.
    seen: Mutex<Seen>,
    passwords: Passwords,
    metrics: Arc<Metrics>,
}

impl AccessControl {
    /// AccessControl by this configuration; ones that are open to everybody without one.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn new(config: Option<WebConfig>, metrics: Arc<Metrics>) -> Result<AccessControl, String> {
        let passwords = Passwords::new().ok_or("the system has no randomness")?;
        let (path, settings, seen) = match config {
            Some(WebConfig { path, settings, seen }) => (Some(path), settings, seen),
            None => (None, Settings::default(), Seen::default()),
        };
        let settings = ArcSwap::from_pointee(settings);
        Ok(AccessControl { path, settings, seen: Mutex::new(seen), passwords, metrics })
    }

    /// Whether connections are encrypted now.
    pub fn has_tls(&self) -> bool {
        self.settings.load().tls.is_some()
    }

    /// What is wrong with listening beyond this machine like this, if anything.
    pub fn exposure(&self) -> Option<&'static str> {
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
    pub(crate) fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        self.settings.load().tls.as_ref().map(|tls| tls.config.clone())
    }

    /// A client was sent away before there was a request.
    pub(crate) fn count_rejection(&self, why: Refusal) {
        self.metrics.refused(why);
    }

    /// Whether a request may go on to the routes; if not, what it gets for an answer.
    pub(crate) async fn authorize(&self, request: &Parts, client: &Client) -> Result<(), Response> {
        if is_public(&request.uri) {
            return Ok(());
        }
        let settings = self.settings.load_full();
        let admitted = self.judge(&settings, request, client).await;
        admitted.map_err(|why| {
            self.metrics.refused(why);
            refusal(why)
        })
    }

    async fn judge(
        &self,
        settings: &Settings,
        request: &Parts,
        client: &Client,
    ) -> Result<(), Refusal> {
        if let Some(tls) = &settings.tls {
            // It may have connected when there was no TLS yet.
            let Transport::Tls(chain) = &client.transport else { return Err(Refusal::Unencrypted) };
            if !tls.clients.admits(chain.as_deref()) {
                return Err(Refusal::Certificate);
            }
        }
        if !settings.users.is_empty() {
            let (user, password) = credentials(&request.headers).ok_or(Refusal::Credentials)?;
            let peer = client.peer;
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
    pub(crate) fn apply_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.settings.load().headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Whether whoever asks for this gets it. The routes go by the very same path, undecoded.
pub(crate) fn is_public(uri: &Uri) -> bool {
    OPEN.contains(&uri.path())
}

/// Whoever is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) transport: Transport,
}

/// How a connection is transport.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain,
    /// By TLS, and with the certificates that the client presented, its own first.
    Tls(Option<Vec<CertificateDer<'static>>>),
}

/// Who counts as one client: an address, and of the plenty that IPv6 gives to each, a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    pub(crate) fn of(address: IpAddr) -> Peer {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_name_and_one_password() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let text = |bytes| String::from_utf8(bytes).unwrap();
            credentials(&headers).map(|(user, password)| (text(user), text(password)))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read(&["Basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(read(&["basic  YTo="]), pair("a", ""));
        for bad in [
            &[][..],
            &["Basic"],
            &["Basic "],
            &["Bearer YTpi"],
            &["Basic YQ=="],
            &["Basic !"],
            &["Basic YTpi", "Basic YTpi"],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_peer_is_an_address_or_a_network_of_ipv6() {
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(peer("127.0.0.1"), peer("::ffff:127.0.0.1"));
        assert_ne!(peer("127.0.0.1"), peer("127.0.0.2"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
