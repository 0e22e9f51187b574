//! `health`: checks a running exporter, for container images without a shell.

use std::{path::Path, time::Duration};

use reqwest::{Url, redirect};

use super::{AppError, pem};
use crate::{
    text::escape_invisible,
    wickr::{build_client, chain},
};

/// Bytes of the response to print.
const MAX_BODY: usize = 1024;

/// A request to a running exporter.
#[derive(Debug)]
pub struct HealthCheck<'a> {
    /// `/-/healthy` or `/-/ready`; `/` means `/-/healthy`.
    pub url: Url,
    /// For the connection and the response together.
    pub timeout: Duration,
    /// CA certificates in PEM that replace the public certificate authorities.
    pub ca_file: Option<&'a Path>,
    /// Accepts any certificate.
    pub insecure: bool,
}

/// Sends the request and returns the response body.
///
/// # Errors
///
/// [`AppError::Unhealthy`] if the exporter is unhealthy or does not respond.
pub async fn health(mut check: HealthCheck<'_>) -> Result<String, AppError> {
    if check.url.path() == "/" {
        check.url.set_path("/-/healthy");
    }
    let mut shown = check.url.clone();
    // This fails only for a URL without a host, for which the request fails as well.
    let _ = shown.set_password(None).and_then(|()| shown.set_username(""));
    send(check).await.map_err(|reason| AppError::Unhealthy { url: shown.to_string(), reason })
}

async fn send(check: HealthCheck<'_>) -> Result<String, String> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(check.timeout)
        .tls_danger_accept_invalid_certs(check.insecure);
    if let Some(file) = check.ca_file {
        builder = builder.tls_certs_only(pem::certificates(file)?);
    }
    let message = |error: reqwest::Error| chain(&error.without_url());
    let client = build_client(builder, check.url.scheme() == "https")?;
    let mut response = client.get(check.url).send().await.map_err(message)?;
    let mut body = Vec::new();
    while body.len() < MAX_BODY
        && let Some(chunk) = response.chunk().await.map_err(message)?
    {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - body.len())]);
    }
    let body = escape_invisible(String::from_utf8_lossy(&body).trim());
    let status = response.status();
    if status.is_success() { Ok(body) } else { Err(format!("{status}: {body}")) }
}
