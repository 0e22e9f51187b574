//! Connections to AWS: proxies, certificate authorities, and why a connection failed. The Admin API, STS
//! and SSO use the same settings.

use std::{
    env,
    error::Error as StdError,
    fmt,
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Certificate, ClientBuilder, Proxy, Url, redirect};
use tokio_rustls::rustls;

use super::{
    Error, ErrorKind, Operation,
    error::{Step, chain},
};

/// Never reached through a proxy: loopback, and the addresses of the credentials of EC2, ECS and EKS.
const DIRECT: &str =
    "localhost,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::/32";
/// The bundles of operating systems are about 200 kB.
const MAX_BUNDLE: u64 = 16 * 1024 * 1024;

/// Variables of the proxy for https, and of hosts without a proxy. As in curl and botocore, lower case
/// comes first. Plain http goes only to [`DIRECT`], so `HTTP_PROXY` has no effect.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXIES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// A new HTTP client that uses the proxy of the environment, which is returned for errors, and these
/// certificate authorities instead of the system's. It follows no redirect, which would send the
/// signature to another host.
///
/// # Errors
///
/// The proxy or the authorities are invalid. The message does not contain the proxy's password.
pub(super) fn builder(
    ca_bundle: Option<&Path>,
) -> Result<(ClientBuilder, Option<Arc<ProxySetting>>), String> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never());
    let proxy = ProxySetting::of_environment()?.map(Arc::new);
    if let Some(proxy) = proxy.clone() {
        let applies = move |url: &Url| proxy.applies_to(url.as_str()).then(|| proxy.url.clone());
        builder = builder.proxy(Proxy::custom(applies));
    }
    if let Some(file) = ca_bundle {
        builder = builder.tls_certs_only(authorities(file)?);
    }
    Ok((builder, proxy))
}

/// Builds an HTTP client. Without `tls`, it needs no certificate authorities: minimal images have none.
///
/// # Errors
///
/// The TLS settings are invalid, or there are no certificate authorities.
pub(crate) fn build_client(builder: ClientBuilder, tls: bool) -> Result<reqwest::Client, String> {
    let builder = if tls { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|error| {
        let error = chain(&error);
        // The text of rustls-platform-verifier, whose error has no kind.
        match error.contains("No CA certificates were loaded") {
            true => no_authorities(|name| env::var(name).ok()),
            false => error,
        }
    })
}

fn no_authorities(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter();
    let set = set.filter_map(|name| Some(format!("{name}={}", variable(name)?)));
    let places: Vec<_> = set.collect();
    let places = if places.is_empty() { "the system".into() } else { places.join(" and ") };
    format!(
        "no CA certificates found in {places}: install the package ca-certificates, or set \
         SSL_CERT_FILE to a file of CA certificates in PEM"
    )
}

/// The certificates of a file in PEM, at least one.
pub(super) fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let failed = |error: &dyn fmt::Display| {
        format!("cannot read the certificate authorities in {}: {error}", file.display())
    };
    let mut pem = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    opened.take(MAX_BUNDLE).read_to_end(&mut pem).map_err(|error| failed(&error))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&chain(&error)))?;
    if found.is_empty() {
        return Err(failed(&"no certificate in PEM"));
    }
    Ok(found)
}

/// The proxy of the environment.
pub(super) struct ProxySetting {
    url: Url,
    variable: &'static str,
    /// Decides which hosts have the proxy; its own URL is not used.
    matcher: Matcher,
}

impl ProxySetting {
    fn of_environment() -> Result<Option<ProxySetting>, String> {
        Self::new(|name| env::var(name).ok())
    }

    fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Option<ProxySetting>, String> {
        let first = |names: &[&'static str]| {
            let set = names.iter().map(|name| (*name, variable(name).unwrap_or_default()));
            set.into_iter().find(|(_, value)| !value.trim().is_empty())
        };
        let Some((name, value)) = first(&PROXIES) else { return Ok(None) };
        let value = value.trim();
        let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let url = Url::parse(&url).ok().filter(|url| url.host_str().is_some_and(|h| !h.is_empty()));
        let url = url.ok_or_else(|| format!("{name}: is not the URL of a proxy"))?;
        if !matches!(url.scheme(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") {
            let scheme = url.scheme();
            return Err(format!("{name}: {scheme}:// is not supported; use http, https or socks5"));
        }
        let listed = first(&NO_PROXIES).map(|(_, value)| value).unwrap_or_default();
        let matcher = Matcher::builder().all("http://proxy").no(format!("{DIRECT},{listed}"));
        Ok(Some(ProxySetting { url, variable: name, matcher: matcher.build() }))
    }

    fn applies_to(&self, url: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }
}

impl fmt::Display for ProxySetting {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.url.scheme(), self.url.host_str().unwrap_or_default());
        write!(f, "{scheme}://{host}")?;
        self.url.port_or_known_default().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proxy for `url` without its password, and the variable that sets it; None for a direct
/// connection.
///
/// # Errors
///
/// The variable is invalid.
pub fn proxy_of(url: &str) -> Result<Option<(String, &'static str)>, String> {
    let Some(proxy) = ProxySetting::of_environment()? else { return Ok(None) };
    Ok(proxy.applies_to(url).then(|| (proxy.to_string(), proxy.variable)))
}

/// Whether `host` is loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

/// Whether `host` provides the credentials of EC2, ECS or EKS over plain HTTP.
pub(super) fn is_metadata(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(v4)) => {
            matches!(v4.octets(), [169, 254, 169, 254] | [169, 254, 170, 2 | 23])
        }
        Some(IpAddr::V6(v6)) => v6.segments()[..2] == [0xfd00, 0xec2],
        None => false,
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A connection that failed.
#[derive(Debug, Clone)]
pub(super) struct ConnectionError {
    /// The step that failed, if it is known.
    pub(super) step: Option<Step>,
    message: String,
}

impl ConnectionError {
    /// The message contains neither the URL, which can contain a page token, nor the proxy's password.
    /// `proxy` is that of the client.
    pub(super) fn new(error: reqwest::Error, proxy: Option<&ProxySetting>) -> ConnectionError {
        let applies =
            |proxy: &&ProxySetting| error.url().is_some_and(|url| proxy.applies_to(url.as_str()));
        let proxy = proxy.filter(applies);
        let error = error.without_url();
        let step = step(&error, proxy.is_some());
        let cause = cause(&error);
        let message = match (step, proxy) {
            (Some(Step::Proxy), Some(proxy)) => {
                format!("the proxy {proxy} ({}) refused or failed: {cause}", proxy.variable)
            }
            (Some(Step::Resolve), _) => format!("DNS failed: {cause}"),
            (Some(Step::Connect), _) => format!("TCP failed: {cause}"),
            (Some(Step::Tls), _) => format!("TLS failed: {cause}"),
            _ => cause,
        };
        ConnectionError { step, message }
    }

    /// The error of a request.
    pub(super) fn of_request(&self, operation: Operation) -> Error {
        let error = Error::new(operation, ErrorKind::Connection, &self.message);
        Error { step: self.step, ..error }
    }

    /// The request must not be sent.
    pub(super) fn refused(message: String) -> ConnectionError {
        ConnectionError { step: None, message }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConnectionError {}

/// The causes without reqwest's prefixes.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &(dyn StdError + 'static) = error;
    while let Some(next) = cause.source() {
        let text = cause.to_string();
        if !text.starts_with("error sending request") && !text.starts_with("client error (") {
            break;
        }
        cause = next;
    }
    chain(cause)
}

/// The step that failed. reqwest's own causes are private types, so this matches their texts.
fn step(error: &reqwest::Error, proxied: bool) -> Option<Step> {
    let mut dns = false;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if is_tls(error) {
            return Some(Step::Tls);
        }
        let text = error.to_string();
        dns |= text.contains("dns error");
        if text.contains("tunnel error") || text.contains("socks error") {
            return Some(Step::Proxy);
        }
        cause = error.source();
    }
    match (error.is_connect(), proxied, dns) {
        (false, ..) => None,
        (true, true, _) => Some(Step::Proxy),
        (true, false, true) => Some(Step::Resolve),
        (true, false, false) => Some(Step::Connect),
    }
}

fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || within.is_some_and(|error| error.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)]) -> Result<Option<ProxySetting>, String> {
        let variables: std::collections::HashMap<_, _> = variables.iter().copied().collect();
        ProxySetting::new(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn proxy_comes_from_the_environment_in_the_order_of_curl() {
        let shown = |variables: &[(&str, &str)]| {
            proxy(variables).unwrap().map(|proxy| format!("{proxy} {}", proxy.variable))
        };
        assert_eq!(shown(&[("HTTP_PROXY", "http://p:1"), ("NO_PROXY", "x")]), None);
        let both = [("HTTPS_PROXY", "http://a:1"), ("https_proxy", "b:2")];
        assert_eq!(shown(&both).unwrap(), "http://b:2 https_proxy");
        let all = [("HTTPS_PROXY", ""), ("ALL_PROXY", "socks5h://me:hunter2@s")];
        assert_eq!(shown(&all).unwrap(), "socks5h://s ALL_PROXY");
        for invalid in ["ftp://me:hunter2@x", "http://me:hunter2@", "http://me:hunter2 @x y"] {
            let error = proxy(&[("HTTPS_PROXY", invalid)]).err().unwrap();
            assert!(error.starts_with("HTTPS_PROXY: ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn missing_authorities_name_the_places_that_were_searched() {
        assert!(no_authorities(|_| None).starts_with("no CA certificates found in the system: "));
        let file = |name: &str| (name == "SSL_CERT_FILE").then(|| "/x".to_owned());
        assert!(no_authorities(file).contains(" in SSL_CERT_FILE=/x: "));
        let both = no_authorities(|_| Some("/x".into()));
        assert!(both.contains(" in SSL_CERT_FILE=/x and SSL_CERT_DIR=/x: "), "{both}");
    }

    #[test]
    fn loopback_and_metadata_are_never_proxied() {
        let proxy = proxy(&[("ALL_PROXY", "p:1"), ("NO_PROXY", ".example.com,10.0.0.0/8")]);
        let proxy = proxy.unwrap().unwrap();
        for (url, proxied) in [
            ("https://sts.us-east-1.amazonaws.com", true),
            ("http://localhost:1", false),
            ("http://127.9.9.9", false),
            ("http://[::1]:1", false),
            ("http://169.254.169.254", false),
            ("http://169.254.170.2", false),
            ("http://169.254.170.23", false),
            ("http://[fd00:ec2::254]", false),
            ("http://[fd00:ec2::23]", false),
            ("https://vpce.example.com", false),
            ("https://10.1.2.3", false),
            ("https://169.254.1.1", true),
        ] {
            assert_eq!(proxy.applies_to(url), proxied, "{url}");
        }
        for (host, metadata) in [
            ("169.254.170.23", true),
            ("[fd00:ec2::254]", true),
            ("fd01:ec2::1", false),
            ("x", false),
        ] {
            assert_eq!(is_metadata(host), metadata, "{host}");
        }
        assert!(is_loopback("[::1]") && is_loopback("localhost") && !is_loopback("example.com"));
    }
}
