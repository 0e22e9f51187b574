//! Requests with retries, and lists of several pages.

use std::{
    collections::HashSet,
    fmt,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::tz::TimeZone;
use reqwest::Url;
use tokio::time::Instant;

use super::{
    Endpoint, Error, ErrorKind, InvalidField, Operation,
    concurrency::NetworkLimiter,
    credentials::{CachedCredentials, CredentialStore},
    interned::Interner,
    operation::List,
    paging::{Limits, Pages},
    rate::RateLimiter,
    response,
    retry::{Attempts, RetryDecision},
    service_clock::system_time,
    signing::sign,
    transport::{Response, Transport, TransportError},
    wire::Page,
};
use crate::clock::Moment;

/// Receives events of the client, for metrics.
pub trait RequestObserver: fmt::Debug + Send + Sync {
    /// An attempt ended after `took`.
    fn attempted(&self, operation: Operation, outcome: Outcome, took: Duration);
    /// A request that failed with `kind` is retried.
    fn retried(&self, kind: ErrorKind);
    /// A request waited for a rate token.
    fn waited(&self, waited: Duration);
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this HTTP status.
    Status(u16),
    /// No response in time.
    Timeout,
    /// The connection failed.
    Connection,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Status(status) => write!(f, "{status}"),
            Outcome::Timeout => f.write_str("timeout"),
            Outcome::Connection => f.write_str("connection"),
        }
    }
}

/// Options of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The base URL of the service.
    pub endpoint: Endpoint,
    /// The region of signatures.
    pub region: String,
    /// The certificate authorities in PEM; None for those of the system.
    pub ca_bundle: Option<PathBuf>,
    /// The credentials of the account.
    pub credentials: Arc<CredentialStore>,
    /// The rate limit of the account in the region.
    pub rate: Arc<RateLimiter>,
    /// The time zone of timestamps without one.
    pub timezone: TimeZone,
    /// Timeout of one attempt.
    pub request_timeout: Duration,
    /// Limit of attempts for one request.
    pub max_attempts: u32,
    /// Items on a page, 1 to 100.
    pub page_size: u16,
    /// Shared strings of devices.
    pub interner: Arc<Interner>,
    /// Receives events.
    pub observer: Arc<dyn RequestObserver>,
}

/// A client of the Admin API for one account and region. Methods return an error after retries, and no
/// items if one page of a list fails.
#[derive(Debug)]
pub struct Client {
    pub(super) options: ClientOptions,
    host: String,
    transport: Transport,
    /// Whether the service verifies the time of signatures: true for AWS, and after it rejected a signature.
    verifies_time: AtomicBool,
    pub(super) invalid_fields: InvalidFieldLog,
}

impl Client {
    /// Creates a client. It connects with the first request.
    ///
    /// # Errors
    ///
    /// When the endpoint has no host, or the TLS or proxy settings of the system are invalid.
    pub fn new(options: ClientOptions) -> Result<Client, String> {
        let url = Url::parse(options.endpoint.as_str()).map_err(|error| error.to_string())?;
        let host = url.host_str().ok_or("the endpoint has no host")?;
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let (tls, ca_bundle) = (url.scheme() == "https", options.ca_bundle.as_deref());
        let transport = Transport::new(tls, ca_bundle, options.request_timeout)?;
        let verifies_time = AtomicBool::new(options.endpoint.is_of_region(&options.region));
        let invalid_fields = InvalidFieldLog::default();
        Ok(Client { options, host, transport, verifies_time, invalid_fields })
    }

    /// Reads all pages of a list. A panic becomes an error, so that it affects only this list.
    pub(super) async fn collect<T>(
        &self,
        list: &List,
        limiter: &NetworkLimiter,
        limits: Limits,
        read: impl Fn(&[u8]) -> Page<T>,
    ) -> Result<Vec<T>, Error> {
        let pages = AssertUnwindSafe(self.collect_pages(list, limiter, limits, read));
        pages.catch_unwind().await.unwrap_or_else(|_| {
            let message = "internal error, a bug in wickr-exporter: see its log";
            Err(Error::new(list.operation, ErrorKind::InvalidResponse, message))
        })
    }

    /// Restarts the list once if a page token is rejected, because tokens can expire.
    async fn collect_pages<T>(
        &self,
        list: &List,
        limiter: &NetworkLimiter,
        limits: Limits,
        read: impl Fn(&[u8]) -> Page<T>,
    ) -> Result<Vec<T>, Error> {
        let mut restarted = false;
        let mut pages = Pages::new(limits);
        let mut items = Vec::new();
        let mut token = None;
        loop {
            let body = match self.request(list, token.as_deref(), limiter).await {
                Err(error)
                    if error.kind == ErrorKind::InvalidRequest && token.is_some() && !restarted =>
                {
                    tracing::debug!(%error, "page token rejected, restarting the list");
                    restarted = true;
                    (pages, items, token) = (Pages::new(limits), Vec::new(), None);
                    continue;
                }
                result => result?,
            };
            let (found, next) = read(&body).map_err(|error| invalid_body(list, &error))?;
            pages
                .add(body.len(), found.len(), next.as_deref())
                .map_err(|error| Error::new(list.operation, ErrorKind::InvalidResponse, error))?;
            // Most lists have one page, which is kept without a copy.
            if items.is_empty() {
                items = found;
            } else {
                items.extend(found);
            }
            match next {
                None => return Ok(items),
                next => token = next,
            }
        }
    }

    /// Requests one page, with retries, and returns its body.
    pub(super) async fn request(
        &self,
        list: &List,
        token: Option<&str>,
        limiter: &NetworkLimiter,
    ) -> Result<Bytes, Error> {
        let url = list.url(self.options.endpoint.as_str(), token);
        let mut attempts = Attempts::new(self.options.max_attempts);
        // Used only if the service accepts a signature with it: the date can come from a proxy.
        let mut server_time = None;
        loop {
            // The rate token comes last: requests that wait with a token would be sent in a burst.
            let permit = limiter.acquire().await;
            self.credentials(list.operation).await?;
            let waiting = Instant::now();
            let rate_token = self.options.rate.acquire().await;
            self.options.observer.waited(waiting.elapsed());
            // Credentials can expire during the wait.
            let credentials = self.credentials(list.operation).await?;
            let signed = self.options.credentials.clock().signing_time(server_time);
            let result = self.attempt(list, &url, token, &credentials, signed).await;
            drop(permit);
            let error = match result {
                Ok(body) => {
                    self.accepted(signed, server_time.is_some());
                    return Ok(body);
                }
                Err(error) => error,
            };
            if error.kind == ErrorKind::RateLimited {
                self.options.rate.throttled(rate_token);
            }
            let decision = attempts.decide(&error, fastrand::f64());
            if decision != RetryDecision::GiveUp {
                self.options.observer.retried(error.kind);
                tracing::debug!(%error, path = list.path(), ?decision, "retrying request");
            }
            match decision {
                RetryDecision::GiveUp => return Err(error),
                RetryDecision::After(wait) => limiter.back_off(wait).await,
                RetryDecision::WithServerTime { ahead } => {
                    let time = signed.time.saturating_add(ahead.saturating_mul(1000));
                    server_time = Some(Moment { time, ..signed });
                }
                RetryDecision::WithNewCredentials => {
                    self.options.credentials.replace(&credentials).await;
                }
            }
        }
    }

    /// The service accepted a signature. `corrected`: it had rejected one with another time.
    fn accepted(&self, signed: Moment, corrected: bool) {
        let verified = self.verifies_time.fetch_or(corrected, Ordering::Relaxed) || corrected;
        self.options.credentials.clock().accepted(signed, verified);
    }

    async fn credentials(&self, operation: Operation) -> Result<Arc<CachedCredentials>, Error> {
        self.options.credentials.get().await.map_err(|error| error.of_request(operation))
    }

    async fn attempt(
        &self,
        list: &List,
        url: &str,
        token: Option<&str>,
        credentials: &CachedCredentials,
        signed: Moment,
    ) -> Result<Bytes, Error> {
        let operation = list.operation;
        let CachedCredentials { credentials, identity, .. } = credentials;
        let invalid = |error: String| Error::new(operation, ErrorKind::InvalidRequest, error);
        let time = system_time(signed.time);
        let region = &self.options.region;
        let headers = sign(url, &self.host, region, identity, time).map_err(invalid)?;
        let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let started = Instant::now();
        let result = self.transport.get(parsed, headers).await;
        let outcome = match &result {
            Ok(response) => Outcome::Status(response.status.as_u16()),
            Err(TransportError::TooLarge(status)) => Outcome::Status(status.as_u16()),
            Err(TransportError::Timeout) => Outcome::Timeout,
            Err(TransportError::Connection(_)) => Outcome::Connection,
        };
        let took = started.elapsed();
        self.options.observer.attempted(operation, outcome, took);
        let seconds = took.as_secs_f64();
        // Without the query, which can contain a page token.
        let path = list.path();
        tracing::debug!(operation = operation.as_str(), path, %outcome, seconds, "request ended");
        match result {
            Ok(Response { status, body, .. }) if status.is_success() => Ok(body),
            Ok(response) => {
                let error = response::classify(operation, &response, credentials, token, time);
                Err(if operation == Operation::GetOidcInfo {
                    error.without_message()
                } else {
                    error
                })
            }
            Err(TransportError::TooLarge(status)) => Err(Error {
                status: Some(status.as_u16()),
                ..Error::new(operation, ErrorKind::InvalidResponse, "the body exceeds 8 MiB")
            }),
            Err(TransportError::Timeout) => {
                let timeout = self.options.request_timeout;
                let message = format!("no complete response within {timeout:?}");
                Err(Error::new(operation, ErrorKind::Timeout, message))
            }
            Err(TransportError::Connection(error)) => Err(error.of_request(operation)),
        }
    }
}

/// The error has the position only: serde_json's message can contain parts of the body.
pub(super) fn invalid_body(list: &List, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let problem = match error.classify() {
        serde_json::error::Category::Data => "does not have the documented structure",
        _ => "is not JSON",
    };
    let message = format!("the response {problem} (line {line}, column {column})");
    Error::new(list.operation, ErrorKind::InvalidResponse, message)
}

/// Logs each form of an invalid field once.
#[derive(Debug, Default)]
pub(super) struct InvalidFieldLog(Mutex<HashSet<InvalidField>>);

impl InvalidFieldLog {
    /// Limit of forms, to bound memory and log lines.
    const MAX: usize = 100;

    pub(super) fn log(&self, invalid: InvalidField) {
        // A panic leaves the set consistent.
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < Self::MAX && !logged.contains(&invalid) {
            tracing::warn!(
                field = invalid.field,
                form = invalid.form,
                "invalid data (9 stands for a digit, a for a letter); this form is logged once"
            );
            logged.insert(invalid);
        }
    }
}
