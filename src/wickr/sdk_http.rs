//! The HTTP client of aws-config, on top of reqwest: STS, SSO and metadata are reached with the same
//! proxies, authorities and rules as the Admin API.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{
    connection::{self, ConnectionError, ProxySetting, is_loopback, is_metadata},
    error::chain,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The SDKs' limit for metadata, which does not answer at all outside AWS.
const METADATA_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Credentials are a few kilobytes.
const MAX_BODY: usize = 1024 * 1024;

/// Clones share their clients.
#[derive(Debug, Clone)]
pub(super) struct SdkHttpClient(Arc<Clients>);

/// Built with their first request: that parses about 150 certificate authorities, and credentials from
/// variables and files need no request.
#[derive(Debug)]
struct Clients {
    ca_bundle: Option<PathBuf>,
    aws: OnceLock<Result<Client, String>>,
    /// For loopback and metadata, without a proxy.
    local: OnceLock<Result<Client, String>>,
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    proxy: Option<Arc<ProxySetting>>,
}

impl SdkHttpClient {
    pub(super) fn new(ca_bundle: Option<&Path>) -> SdkHttpClient {
        let ca_bundle = ca_bundle.map(Path::to_owned);
        SdkHttpClient(Arc::new(Clients { ca_bundle, aws: OnceLock::new(), local: OnceLock::new() }))
    }
}

impl Clients {
    /// # Errors
    ///
    /// The proxy or the certificate authorities are invalid.
    fn get(&self, local: bool) -> Result<&Client, String> {
        let (client, timeout) = match local {
            true => (&self.local, METADATA_CONNECT_TIMEOUT),
            false => (&self.aws, CONNECT_TIMEOUT),
        };
        let built = client.get_or_init(|| {
            let (builder, proxy) = connection::builder(self.ca_bundle.as_deref())?;
            let http = connection::build_client(builder.connect_timeout(timeout), true)?;
            Ok(Client { http, proxy })
        });
        built.as_ref().map_err(Clone::clone)
    }
}

impl HttpClient for SdkHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let (connect, read) = (settings.connect_timeout(), settings.read_timeout());
        let timeout = connect.zip(read).map(|(connect, read)| connect + read);
        SharedHttpConnector::new(Connector { clients: self.clone(), timeout })
    }
}

#[derive(Debug)]
struct Connector {
    clients: SdkHttpClient,
    /// The limit of a request, if the SDK sets one.
    timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (clients, timeout) = (self.clients.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let sent = clients.send(request);
            let Some(timeout) = timeout else { return sent.await };
            tokio::time::timeout(timeout, sent).await.unwrap_or_else(|_| {
                Err(ConnectorError::timeout(format!("no response within {timeout:?}").into()))
            })
        })
    }
}

impl SdkHttpClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error: String| ConnectorError::user(error.into());
        let request = request.try_into_http1x().map_err(|error| user(error.to_string()))?;
        let body = request.body().bytes().map(Bytes::copy_from_slice).unwrap_or_default();
        let request = reqwest::Request::try_from(request.map(|_| body));
        let request = request.map_err(|error| user(chain(&error.without_url())))?;
        let host = request.url().host_str().unwrap_or_default();
        let local = is_loopback(host) || is_metadata(host);
        if request.url().scheme() != "https" && !local {
            let message = format!(
                "http://{host} is refused: plain http is allowed only for loopback and instance metadata; use https://"
            );
            return Err(ConnectorError::user(ConnectionError::refused(message).into()));
        }
        let (host, started) = (host.to_owned(), Instant::now());
        let Client { http, proxy } = self.0.get(local).map_err(user)?;
        let result = exchange(http, request, proxy.as_deref()).await;
        let seconds = started.elapsed().as_secs_f64();
        match &result {
            Ok(response) => {
                let status = response.status().as_u16();
                tracing::debug!(host, status, seconds, "credentials request ended");
            }
            Err(error) => {
                let error = chain(error);
                tracing::debug!(host, error, seconds, "credentials request failed");
            }
        }
        result
    }
}

async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
    proxy: Option<&ProxySetting>,
) -> Result<HttpResponse, ConnectorError> {
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            return ConnectorError::timeout(chain(&error.without_url()).into());
        }
        ConnectorError::io(ConnectionError::new(error, proxy).into())
    };
    let mut response = http.execute(request).await.map_err(failed)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ConnectorError::user("the response exceeds 1 MiB".into()));
        }
        body.extend_from_slice(&chunk);
    }
    let mut received = http::Response::new(SdkBody::from(body.freeze()));
    *received.status_mut() = response.status();
    *received.headers_mut() = std::mem::take(response.headers_mut());
    HttpResponse::try_from(received).map_err(|error| ConnectorError::other(error.into(), None))
}
