//! One GET over HTTP, bounded in time and size. It knows neither AWS nor what is asked.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Url, redirect};

use super::{Endpoint, error::chain};

/// The largest body that is read.
const LARGEST_BODY: usize = 8 * 1024 * 1024;
/// No connection within this means that there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How requests name their sender: `wickr-exporter/VERSION`.
const USER_AGENT: &str = concat!("wickr-exporter/", env!("CARGO_PKG_VERSION"));

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

/// Why nothing whole came back.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not within the time.
    Timeout,
    /// No connection, or it broke.
    Connection(String),
    /// More than [`LARGEST_BODY`].
    TooLarge(StatusCode),
}

#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    timeout: Duration,
}

impl Transport {
    /// A transport to `endpoint` whose every request ends within `timeout`.
    ///
    /// # Errors
    ///
    /// A sentence, when the machine's TLS certificates or proxy settings cannot be used.
    pub(super) fn new(endpoint: &Endpoint, timeout: Duration) -> Result<Transport, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            // A signature is for one host: following a redirect would hand it to another.
            .redirect(redirect::Policy::none())
            // Whether to repeat is for the retry policy alone.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .pool_idle_timeout(Duration::from_secs(90));
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| chain(&error))?;
        Ok(Transport { http, timeout })
    }

    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Answer, Failure> {
        let mut request = reqwest::Request::new(http::Method::GET, url);
        *request.headers_mut() = headers;
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, Failure> {
        let mut response = self.http.execute(request).await.map_err(Failure::from)?;
        let status = response.status();
        let announced = response.content_length().unwrap_or(0);
        if announced > LARGEST_BODY as u64 {
            return Err(Failure::TooLarge(status));
        }
        let headers = std::mem::take(response.headers_mut());
        let first = response.chunk().await.map_err(Failure::from)?.unwrap_or_default();
        let mut rest = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Failure::from)? {
            if first.len() + rest.len() + chunk.len() > LARGEST_BODY {
                return Err(Failure::TooLarge(status));
            }
            if rest.is_empty() {
                rest.reserve((announced as usize).saturating_sub(first.len()).max(chunk.len()));
            }
            rest.extend_from_slice(&chunk);
        }
        let body = if rest.is_empty() {
            first
        } else {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            whole.freeze()
        };
        Ok(Answer { status, headers, body })
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::Timeout;
        }
        // The address holds page tokens, which are nobody's business.
        Failure::Connection(chain(&error.without_url()))
    }
}
