//! An exporter that runs, as another process asks it over HTTP.
//!
//! A password comes in the address or from a file, and is told to nobody but that exporter: it is
//! taken out of the address at once, and no redirect is followed.

use std::{path::Path, time::Duration};

use reqwest::{StatusCode, Url, header, redirect};
use serde::Deserialize;

use super::{pem, validate::is_sound};
use crate::query::{Listing, Query, Record, escape_invisible};

/// The most that is read of a list: a million devices and more.
const LARGEST: usize = 512 * 1024 * 1024;
/// The most that is said of an answer that is none.
const LONGEST_REASON: usize = 300;
/// No connection within this means that there is none; the exporter itself gives a list five minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(310);

/// An exporter that runs.
#[derive(Debug)]
pub struct Remote {
    /// Of its list of devices, without a password.
    url: Url,
    http: reqwest::Client,
    password: Option<Password>,
}

struct Password {
    username: String,
    password: String,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// A list, as it comes.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    #[serde(flatten)]
    pub(super) listing: Listing,
    pub(super) devices: Vec<Record<'static>>,
}

impl Remote {
    /// The exporter at `address`, which may hold a name and a password; the latter may come from a
    /// file instead. With a file of certificates, those alone are trusted; with a certificate and a
    /// key, it is shown that one.
    ///
    /// # Errors
    ///
    /// A sentence, which does not hold the password.
    pub fn new(
        address: &str,
        password_file: Option<&Path>,
        ca_file: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Remote, String> {
        let mut url = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or("--from: must be an address such as http://localhost:10471")?;
        let password = password(&mut url, password_file)?;
        let path = format!("{}/api/v1/devices", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_fragment(None);
        let loopback = is_loopback(&url);
        if password.is_some() && url.scheme() == "http" && !loopback {
            tracing::warn!("the password goes over the network without TLS");
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
            let trusted = pem::authorities(file).map_err(|why| format!("--from-ca-file {why}"))?;
            builder = builder.tls_certs_only(trusted);
        }
        if let Some((certificate, key)) = identity {
            let own = pem::identity(certificate, key)
                .map_err(|why| format!("--from-cert-file, --from-key-file {why}"))?;
            builder = builder.identity(own);
        }
        let http = builder.build().map_err(|error| crate::wickr::chain(&error))?;
        Ok(Remote { url, http, password })
    }

    /// Its devices that `query` asks for.
    pub(super) async fn devices(&self, query: &Query) -> Result<List, String> {
        let mut url = self.url.clone();
        url.set_query(
            Some(&query.to_params()).filter(|params| !params.is_empty()).map(String::as_str),
        );
        let mut request = self.http.get(url).header(header::ACCEPT, "application/json");
        if let Some(Password { username, password }) = &self.password {
            request = request.basic_auth(username, Some(password));
        }
        let broken = |error: reqwest::Error| {
            format!("{}: {}", self.url, crate::wickr::chain(&error.without_url()))
        };
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        let most = if status == StatusCode::OK { LARGEST } else { LONGEST_REASON };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > most {
                if status == StatusCode::OK {
                    return Err(format!("{}: the list is too long; set a filter", self.url));
                }
                body.extend_from_slice(&chunk[..most - body.len()]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            return Err(self.refused(status, &String::from_utf8_lossy(&body)));
        }
        let list: Option<List> = serde_json::from_slice(&body).ok();
        list.filter(is_sound).ok_or_else(|| {
            format!("{}: what answers is no wickr-exporter of this version", self.url)
        })
    }

    fn refused(&self, status: StatusCode, body: &str) -> String {
        let said = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = escape_invisible(&said);
        let said = said.as_str();
        let why = match status {
            StatusCode::UNAUTHORIZED if self.password.is_some() => {
                "the name or the password is wrong"
            }
            StatusCode::UNAUTHORIZED => {
                "asks for a name and a password: http://NAME@HOST with --from-password-file"
            }
            StatusCode::NOT_FOUND => "what answers is no wickr-exporter of this version",
            status if status.is_redirection() => "redirects; give the final address",
            StatusCode::FORBIDDEN if said.contains("client certificate") => {
                "asks for a client certificate: --from-cert-file and --from-key-file"
            }
            _ if said.is_empty() => "cannot answer that",
            _ => said,
        };
        format!("{}: {}: {why}", self.url, status.as_u16())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// Takes name and password out of an address.
fn password(url: &mut Url, file: Option<&Path>) -> Result<Option<Password>, String> {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, written) = (decoded(url.username()), url.password().map(decoded));
    // An address that can hold a password can be without one.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    let password = match (written, file) {
        (Some(_), Some(_)) => {
            return Err("--from-password-file: the address has a password already".into());
        }
        (written, None) => written,
        (None, Some(file)) => {
            let name = file.display();
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("--from-password-file {name}: {error}"))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    match (username, password) {
        (username, None) if username.is_empty() => Ok(None),
        (username, _) if username.is_empty() => {
            Err("--from: a password needs a name, as in http://NAME@HOST".into())
        }
        (username, password) => {
            Ok(Some(Password { username, password: password.unwrap_or_default() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_the_address() {
        let remote =
            Remote::new("http://me:s%20cret@127.0.0.1:1/prefix/", None, None, None).unwrap();
        assert_eq!(remote.url.as_str(), "http://127.0.0.1:1/prefix/api/v1/devices");
        let password = remote.password.as_ref().unwrap();
        assert_eq!((&*password.username, &*password.password), ("me", "s cret"));
        assert!(!format!("{remote:?}").contains("cret"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from a file\r\n").unwrap();
        let remote = Remote::new("https://me@example.com", Some(&file), None, None).unwrap();
        assert_eq!(remote.password.unwrap().password, "from a file");
        for (bad, file, why) in [
            ("localhost:10471", None, "must be an address"),
            ("ftp://x", None, "must be an address"),
            ("http://x/?a=b", None, "must be an address"),
            ("http://:cret@x", None, "needs a name"),
            ("http://me:cret@x", Some(&file), "has a password already"),
        ] {
            let error = Remote::new(bad, file.map(|file| file.as_path()), None, None).unwrap_err();
            assert!(error.contains(why) && !error.contains("cret"), "{error}");
        }
    }
}
