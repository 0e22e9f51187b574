//! Client for the device list of a running exporter.
//!
//! The password goes only to that exporter: it is removed from the URL, and redirects are not followed.

use std::{path::Path, time::Duration};

use reqwest::{StatusCode, Url, header, redirect};
use serde::Deserialize;

use super::{pem, validate::is_valid};
use crate::{
    query::{Listing, Query, Record},
    text::escape_invisible,
    wickr::{build_client, chain},
};

/// Maximum size of a list, for more than a million devices.
const MAX_LIST: usize = 512 * 1024 * 1024;
/// Bytes of an error response to print.
const MAX_ERROR: usize = 300;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The exporter itself allows 5 minutes for a list.
const TIMEOUT: Duration = Duration::from_secs(310);
const NOT_AN_EXPORTER: &str = "the server is not a wickr-exporter of this version";

/// A running exporter.
#[derive(Debug)]
pub struct Remote {
    /// The URL of the device list, without credentials.
    url: Url,
    http: reqwest::Client,
    credentials: Option<BasicAuth>,
}

struct BasicAuth {
    username: String,
    password: String,
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BasicAuth")
    }
}

/// The response of the exporter.
#[derive(Debug, Deserialize)]
pub(super) struct RemoteList {
    #[serde(flatten)]
    pub(super) listing: Listing,
    pub(super) devices: Vec<Record<'static>>,
}

impl Remote {
    /// The exporter at `address`, which can contain a username and a password. The password can
    /// come from a file. `ca_file` replaces the public certificate authorities. `identity` is the
    /// files of a client certificate and its key.
    ///
    /// # Errors
    ///
    /// A message without the password.
    pub fn new(
        address: &str,
        password_file: Option<&Path>,
        ca_file: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Remote, String> {
        let mut url = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or("--from: must be a URL such as http://localhost:10471")?;
        let credentials = take_credentials(&mut url, password_file)?;
        let path = format!("{}/api/v1/devices", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_fragment(None);
        let loopback = is_loopback(&url);
        if credentials.is_some() && url.scheme() == "http" && !loopback {
            tracing::warn!("the password is sent without TLS");
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("wickr-exporter/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if loopback {
            builder = builder.no_proxy();
        }
        if let Some(file) = ca_file {
            let trusted =
                pem::certificates(file).map_err(|error| format!("--from-ca-file {error}"))?;
            builder = builder.tls_certs_only(trusted);
        }
        if let Some((certificate, key)) = identity {
            let identity = pem::identity(certificate, key)
                .map_err(|error| format!("--from-cert-file, --from-key-file {error}"))?;
            builder = builder.identity(identity);
        }
        // Another host can be behind a proxy that uses TLS.
        let http = build_client(builder, url.scheme() == "https" || !loopback)?;
        Ok(Remote { url, http, credentials })
    }

    /// The devices that match `query`.
    pub(super) async fn devices(&self, query: &Query) -> Result<RemoteList, String> {
        let mut url = self.url.clone();
        url.set_query(
            Some(&query.to_params()).filter(|params| !params.is_empty()).map(String::as_str),
        );
        let mut request = self.http.get(url).header(header::ACCEPT, "application/json");
        if let Some(BasicAuth { username, password }) = &self.credentials {
            request = request.basic_auth(username, Some(password));
        }
        let message =
            |error: reqwest::Error| format!("{}: {}", self.url, chain(&error.without_url()));
        let mut response = request.send().await.map_err(message)?;
        let status = response.status();
        let limit = if status == StatusCode::OK { MAX_LIST } else { MAX_ERROR };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(message)? {
            if body.len() + chunk.len() > limit {
                if status == StatusCode::OK {
                    return Err(format!("{}: the list is too long; add a filter", self.url));
                }
                body.extend_from_slice(&chunk[..limit - body.len()]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            return Err(self.error(status, &String::from_utf8_lossy(&body)));
        }
        let list: Option<RemoteList> = serde_json::from_slice(&body).ok();
        list.filter(is_valid).ok_or_else(|| format!("{}: {NOT_AN_EXPORTER}", self.url))
    }

    fn error(&self, status: StatusCode, body: &str) -> String {
        let body = escape_invisible(&body.split_whitespace().collect::<Vec<_>>().join(" "));
        let reason = match status {
            StatusCode::UNAUTHORIZED if self.credentials.is_some() => "wrong username or password",
            StatusCode::UNAUTHORIZED => {
                "requires a username and a password; use http://NAME@HOST with --from-password-file"
            }
            StatusCode::NOT_FOUND => NOT_AN_EXPORTER,
            status if status.is_redirection() => "redirects; use the final URL",
            StatusCode::FORBIDDEN if body.contains("client certificate") => {
                "requires a client certificate; use --from-cert-file and --from-key-file"
            }
            _ if body.is_empty() => "no error message",
            _ => &body,
        };
        format!("{}: {}: {reason}", self.url, status.as_u16())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// Removes username and password from a URL and returns them.
fn take_credentials(url: &mut Url, file: Option<&Path>) -> Result<Option<BasicAuth>, String> {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, in_url) = (decoded(url.username()), url.password().map(decoded));
    // Infallible for a URL that can contain credentials.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    let password = match (in_url, file) {
        (Some(_), Some(_)) => {
            return Err("--from-password-file: the URL already contains a password".into());
        }
        (in_url, None) => in_url,
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("--from-password-file {}: {error}", file.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    match (username, password) {
        (username, None) if username.is_empty() => Ok(None),
        (username, _) if username.is_empty() => {
            Err("--from: a password requires a username, as in http://NAME@HOST".into())
        }
        (username, password) => {
            Ok(Some(BasicAuth { username, password: password.unwrap_or_default() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_the_password_from_the_url() {
        let remote =
            Remote::new("http://me:s%20cret@127.0.0.1:1/prefix/", None, None, None).unwrap();
        assert_eq!(remote.url.as_str(), "http://127.0.0.1:1/prefix/api/v1/devices");
        let credentials = remote.credentials.as_ref().unwrap();
        assert_eq!((&*credentials.username, &*credentials.password), ("me", "s cret"));
        assert!(!format!("{remote:?}").contains("cret"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from a file\r\n").unwrap();
        let remote = Remote::new("https://me@example.com", Some(&file), None, None).unwrap();
        assert_eq!(remote.credentials.unwrap().password, "from a file");
        for (url, file, message) in [
            ("localhost:10471", None, "must be a URL"),
            ("ftp://x", None, "must be a URL"),
            ("http://x/?a=b", None, "must be a URL"),
            ("http://:cret@x", None, "requires a username"),
            ("http://me:cret@x", Some(&file), "already contains a password"),
        ] {
            let error = Remote::new(url, file.map(|file| file.as_path()), None, None).unwrap_err();
            assert!(error.contains(message) && !error.contains("cret"), "{error}");
        }
    }
}
