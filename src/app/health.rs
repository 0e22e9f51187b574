//! Asking a running exporter whether it is well: for images, which hold no other program that could.

use std::{path::Path, time::Duration};

use reqwest::{Url, redirect};

use super::{AppError, pem};
use crate::{query::escape_invisible, wickr::chain};

/// The most of an answer that is repeated.
const LONGEST_ANSWER: usize = 1024;

/// How an exporter is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// `/-/healthy` or `/-/ready` of it.
    pub url: Url,
    /// For the connection and the answer together.
    pub timeout: Duration,
    /// Whose signature its certificate needs, in PEM, in place of the public authorities'.
    pub authorities: Option<&'a Path>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// Asks, and gives what the exporter says of itself.
///
/// # Errors
///
/// When it says that it is not well, or says nothing.
pub async fn health(question: Question<'_>) -> Result<String, AppError> {
    let mut url = question.url.clone();
    if url.path() == "/" {
        url.set_path("/-/healthy");
    }
    let question = Question { url: url.clone(), ..question };
    // Whoever wrote a password into it does not want to read it in a log. It stays if the URL can
    // have none, which then is no URL that can be asked.
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    ask(question).await.map_err(|why| AppError::Unwell { url: url.to_string(), why })
}

async fn ask(question: Question<'_>) -> Result<String, String> {
    let mut builder = reqwest::Client::builder()
        // What is asked is this machine, or one beside it.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(question.timeout)
        .tls_danger_accept_invalid_certs(question.insecure);
    if let Some(file) = question.authorities {
        builder = builder.tls_certs_only(pem::authorities(file)?);
    } else if question.url.scheme() != "https" {
        // None is needed, and a small image has none: without this, that would be an error.
        builder = builder.tls_certs_only([]);
    }
    // The address stands before it already.
    let told = |error: reqwest::Error| chain(&error.without_url());
    let client = builder.build().map_err(told)?;
    let mut answer = client.get(question.url).send().await.map_err(told)?;
    let mut text = Vec::new();
    while text.len() < LONGEST_ANSWER
        && let Some(part) = answer.chunk().await.map_err(told)?
    {
        text.extend_from_slice(&part[..part.len().min(LONGEST_ANSWER - text.len())]);
    }
    let text = escape_invisible(String::from_utf8_lossy(&text).trim());
    let status = answer.status();
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}
