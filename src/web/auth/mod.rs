//! Access control: TLS, client certificates, passwords and the rate limit, for each request.
//!
//! [`AccessControl::authorize`] runs before routing, on the same undecoded path as the routes.

mod passwords;
mod rate_limit;
mod reload;

use std::{
    net::{IpAddr, Ipv6Addr},
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

use self::passwords::{PasswordCheck, Passwords};
pub(super) use self::rate_limit::TokenBucket;
use super::web_config::{AccessSettings, FilesDigest, WebConfig};
use crate::telemetry::{Metrics, RejectionReason};

/// The paths that need no authentication.
const PUBLIC: [&str; 2] = ["/-/healthy", "/-/ready"];

/// The current web configuration.
#[derive(Debug)]
pub struct AccessControl {
    path: Option<PathBuf>,
    settings: ArcSwap<AccessSettings>,
    /// The digest of the files that `settings` were read from.
    digest: Mutex<FilesDigest>,
    passwords: Passwords,
    metrics: Arc<Metrics>,
}

impl AccessControl {
    /// Without a configuration, every request is authorized.
    ///
    /// # Errors
    ///
    /// If the system's random number generator fails.
    pub fn new(config: Option<WebConfig>, metrics: Arc<Metrics>) -> Result<AccessControl, String> {
        let passwords = Passwords::new().ok_or("the system's random number generator failed")?;
        let (path, settings, digest) = match config {
            Some(WebConfig { path, settings, digest }) => (Some(path), settings, digest),
            None => (None, AccessSettings::default(), FilesDigest::default()),
        };
        let settings = ArcSwap::from_pointee(settings);
        Ok(AccessControl { path, settings, digest: Mutex::new(digest), passwords, metrics })
    }

    /// Whether new connections use TLS.
    pub fn has_tls(&self) -> bool {
        self.settings.load().tls.is_some()
    }

    /// Why listening beyond loopback exposes data, if it does.
    pub fn exposure(&self) -> Option<&'static str> {
        let settings = self.settings.load();
        let auth = settings.tls.as_ref().map(|tls| tls.client_certs.auth);
        let certificates = auth.is_some_and(|auth| auth.verifies() && auth.requires());
        match (settings.tls.is_some(), certificates || !settings.users.is_empty()) {
            (_, false) if auth.is_some_and(|auth| auth.requires()) => {
                Some("client certificates are required but not verified")
            }
            (_, false) => Some("no password or client certificate is required"),
            (false, true) => Some("without TLS, passwords and data can be read in transit"),
            (true, true) => None,
        }
    }

    /// The configuration for the next handshake; None without TLS.
    pub(super) fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        self.settings.load().tls.as_ref().map(|tls| tls.config.clone())
    }

    pub(super) fn count_refusal(&self, reason: RejectionReason) {
        self.metrics.refused(reason);
    }

    /// Checks a request; the error is the response to it.
    pub(super) async fn authorize(&self, request: &Parts, client: &Client) -> Result<(), Response> {
        if is_public(&request.uri) {
            return Ok(());
        }
        let settings = self.settings.load_full();
        self.check(&settings, request, client).await.map_err(|reason| {
            self.count_refusal(reason);
            response(reason)
        })
    }

    async fn check(
        &self,
        settings: &AccessSettings,
        request: &Parts,
        client: &Client,
    ) -> Result<(), RejectionReason> {
        if let Some(tls) = &settings.tls {
            // The connection may be older than the TLS settings.
            let ClientTransport::Tls(chain) = &client.transport else {
                return Err(RejectionReason::Unencrypted);
            };
            if !tls.client_certs.authorizes(chain.as_deref()) {
                return Err(RejectionReason::Certificate);
            }
        }
        if !settings.users.is_empty() {
            let (user, password) =
                credentials(&request.headers).ok_or(RejectionReason::Credentials)?;
            match self.passwords.verify(&settings.users, &user, &password, client.peer).await {
                PasswordCheck::Right => {}
                PasswordCheck::Wrong => return Err(RejectionReason::Credentials),
                PasswordCheck::Busy => return Err(RejectionReason::Busy),
            }
        }
        // Last, so that unauthenticated requests use no tokens.
        match &settings.rate_limit {
            Some(bucket) if !bucket.take(Instant::now()) => Err(RejectionReason::RateLimit),
            _ => Ok(()),
        }
    }

    /// Sets the configured headers, replacing existing ones.
    pub(super) fn apply_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.settings.load().headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a path needs no authentication.
pub(super) fn is_public(uri: &Uri) -> bool {
    PUBLIC.contains(&uri.path())
}

/// The client of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) transport: ClientTransport,
}

#[derive(Debug)]
pub(super) enum ClientTransport {
    Plain,
    /// With the client's certificate chain, leaf first, if it presented one.
    Tls(Option<Vec<CertificateDer<'static>>>),
}

/// A client for per-client limits: an IPv4 address, an IPv6 /64 network, or all clients of Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(Option<IpAddr>);

impl Peer {
    /// The clients of Unix sockets.
    pub(super) const UNIX: Peer = Peer(None);

    /// The peer that an address belongs to.
    pub fn of(address: IpAddr) -> Peer {
        Peer(Some(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        }))
    }
}

/// The user and password of HTTP basic authentication; none unless there is exactly one
/// `Authorization` header.
pub fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.as_bytes().split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

fn response(reason: RejectionReason) -> Response {
    let (status, text) = match reason {
        RejectionReason::Unencrypted => (StatusCode::FORBIDDEN, "Use https.\n"),
        RejectionReason::Certificate => {
            (StatusCode::FORBIDDEN, "A valid client certificate is required.\n")
        }
        RejectionReason::Credentials => {
            (StatusCode::UNAUTHORIZED, "A user and password are required.\n")
        }
        RejectionReason::Busy => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many password checks in progress; try again.\n")
        }
        RejectionReason::RateLimit => {
            (StatusCode::TOO_MANY_REQUESTS, "The rate limit is exceeded.\n")
        }
        RejectionReason::Handshake | RejectionReason::Connection => {
            (StatusCode::SERVICE_UNAVAILABLE, "\n")
        }
    };
    let (name, value) = match reason {
        RejectionReason::Credentials => {
            (header::WWW_AUTHENTICATE, "Basic realm=\"wickr-exporter\"")
        }
        RejectionReason::Busy | RejectionReason::RateLimit => (header::RETRY_AFTER, "1"),
        // The next request needs a new handshake.
        RejectionReason::Unencrypted | RejectionReason::Certificate => {
            (header::CONNECTION, "close")
        }
        RejectionReason::Handshake | RejectionReason::Connection => {
            return (status, text).into_response();
        }
    };
    (status, [(name, HeaderValue::from_static(value))], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_basic_authorization_header() {
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
    fn peer_is_an_ipv4_address_or_an_ipv6_network() {
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(peer("127.0.0.1"), peer("::ffff:127.0.0.1"));
        assert_ne!(peer("127.0.0.1"), peer("127.0.0.2"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
