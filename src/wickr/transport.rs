//! Sends one GET request, with limits of time and size.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::Url;

use super::connection::{self, ConnectionError, ProxySetting};

const MAX_BODY: usize = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval and timeout of HTTP/2 pings. Servers close connections with too many pings.
const MIN_PING: Duration = Duration::from_secs(1);
const USER_AGENT: &str = concat!("wickr-exporter/", env!("CARGO_PKG_VERSION"));

/// A complete response.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most 8 MiB.
    pub body: Bytes,
}

/// Why there is no complete response.
#[derive(Debug)]
pub(super) enum TransportError {
    Timeout,
    Connection(ConnectionError),
    /// The body exceeds [`MAX_BODY`].
    TooLarge(StatusCode),
}

#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    proxy: Option<Arc<ProxySetting>>,
    timeout: Duration,
}

impl Transport {
    /// A transport to an endpoint, over TLS if `tls`.
    ///
    /// # Errors
    ///
    /// When the certificate authorities or the proxy are missing or invalid.
    pub(super) fn new(
        tls: bool,
        ca_bundle: Option<&Path>,
        timeout: Duration,
    ) -> Result<Transport, String> {
        let (builder, proxy) = connection::builder(ca_bundle)?;
        let builder = builder
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .pool_idle_timeout(Duration::from_secs(90))
            // All requests share one HTTP/2 connection. If it stalls, it is closed about when its
            // requests time out, so that the next attempt gets a new connection. Only while requests are
            // in flight.
            .http2_keep_alive_interval(MIN_PING.max(timeout / 2))
            .http2_keep_alive_timeout(MIN_PING.max(timeout / 2));
        let http = connection::build_client(builder, tls)?;
        Ok(Transport { http, proxy, timeout })
    }

    pub(super) async fn get(
        &self,
        url: Url,
        headers: HeaderMap,
    ) -> Result<Response, TransportError> {
        let mut request = reqwest::Request::new(http::Method::GET, url);
        *request.headers_mut() = headers;
        tokio::time::timeout(self.timeout, self.send(request))
            .await
            .unwrap_or(Err(TransportError::Timeout))
    }

    async fn send(&self, request: reqwest::Request) -> Result<Response, TransportError> {
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => TransportError::Timeout,
            false => TransportError::Connection(ConnectionError::new(error, self.proxy.as_deref())),
        };
        let mut response = self.http.execute(request).await.map_err(failed)?;
        let status = response.status();
        let length = response.content_length().unwrap_or(0);
        if length > MAX_BODY as u64 {
            return Err(TransportError::TooLarge(status));
        }
        let headers = std::mem::take(response.headers_mut());
        let first = response.chunk().await.map_err(failed)?.unwrap_or_default();
        let Some(second) = response.chunk().await.map_err(failed)? else {
            return Ok(Response { status, headers, body: first });
        };
        let mut body = BytesMut::with_capacity((length as usize).max(first.len() + second.len()));
        body.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(TransportError::TooLarge(status));
            }
            body.extend_from_slice(&chunk);
            next = response.chunk().await.map_err(failed)?;
        }
        Ok(Response { status, headers, body: body.freeze() })
    }
}
