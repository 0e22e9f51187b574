//! Connections and graceful shutdown.
//!
//! With TLS, a connection starts with a handshake. Each request passes the access control before
//! routing. [`connections`](super::connections) limits the number of connections.

use std::{convert::Infallible, io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, Version, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};
use tower::Service;

use super::{
    auth::{self, AccessControl, Client, ClientTransport},
    connections::{Connection, ConnectionHandle, Connections},
    listener::{ClientAddress, Listener, Stream},
    pages,
    paths::RoutePrefix,
};
use crate::telemetry::RejectionReason;

/// The time for a TLS handshake, and for the first request of a connection.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between the end of a response and the end of the next request's headers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a client can accept no data while a response is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
const BUFFER_SIZE: usize = 64 << 10;
/// The time for responses in progress at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// An HTTP server on any number of sockets.
#[derive(Debug, Clone)]
pub struct Server {
    router: Router,
    access: Arc<AccessControl>,
    connections: Arc<Connections>,
    routes: RoutePrefix,
    links: RoutePrefix,
}

impl Server {
    /// Serves `router` below the prefix `routes` to authorized clients. Browsers use the prefix `links`.
    pub fn new(
        router: Router,
        access: Arc<AccessControl>,
        routes: RoutePrefix,
        links: RoutePrefix,
    ) -> Server {
        Server { router, access, connections: Connections::new(), routes, links }
    }

    /// Serves one socket until `stop`, then finishes responses in progress for a few seconds.
    pub async fn serve(self, listener: Listener, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    let (connection, full) = self.connections.add(address.into());
                    if full {
                        self.access.count_refusal(RejectionReason::Connection);
                    }
                    if let Some(connection) = connection {
                        let (server, stop) = (self.clone(), stop.clone());
                        let watcher = graceful.watcher();
                        tasks.spawn(async move {
                            server.run(stream, address, connection, watcher, stop).await;
                        });
                    }
                }
                // The client disconnected, or no file descriptor is free.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    if self.connections.evict() {
                        self.access.count_refusal(RejectionReason::Connection);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while let Some(ended) = tasks.try_join_next() {
                log_panic(ended);
            }
        }
        drop(listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some clients did not read their responses in time");
        }
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    }

    /// Serves one connection until it ends or has to be closed.
    async fn run(
        self,
        stream: Stream,
        address: ClientAddress,
        connection: Connection,
        watcher: Watcher,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = self.serve_stream(stream, address, connection.requests(), watcher, stop) => {}
            () = connection.evicted() => tracing::debug!(%address, "connection closed for another one"),
            () = connection.silent_for(FIRST_REQUEST_TIMEOUT) => {
                tracing::debug!(%address, "no request within the time limit");
            }
        }
    }

    async fn serve_stream(
        &self,
        stream: Stream,
        address: ClientAddress,
        requests: ConnectionHandle,
        watcher: Watcher,
        stop: CancellationToken,
    ) {
        let peer = address.into();
        let Some(config) = self.access.tls_config() else {
            let client = Client { peer, transport: ClientTransport::Plain };
            return self.serve_http(with_timeout(stream), client, requests, watcher).await;
        };
        // A shutdown does not wait for handshakes.
        let handshake = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, tls_handshake(stream, config));
        let Some(handshake) = stop.run_until_cancelled(handshake).await else { return };
        let stream = match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            // Probes only test whether the port is open.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => {
                self.access.count_refusal(RejectionReason::Handshake);
                tracing::debug!(%address, %error, "TLS handshake failed");
                return;
            }
        };
        let chain = stream.get_ref().1.peer_certificates();
        let chain = chain.map(|chain| chain.iter().map(|c| c.clone().into_owned()));
        let transport = ClientTransport::Tls(chain.map(Iterator::collect));
        self.serve_http(stream, Client { peer, transport }, requests, watcher).await;
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        client: Client,
        requests: ConnectionHandle,
        watcher: Watcher,
    ) {
        let client = Arc::new(client);
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, client, requests) = (self.clone(), client.clone(), requests.clone());
            async move {
                let responding = requests.begin();
                let response = server.respond(request, &client, &requests).await;
                // The body owns the guard.
                let body = |body: Body| {
                    body.map_err(move |error| {
                        let _ = &responding;
                        error
                    })
                };
                Ok::<_, Infallible>(response.map(body))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .max_header_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(BUFFER_SIZE)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection failed");
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        client: &Client,
        requests: &ConnectionHandle,
    ) -> Response {
        let (mut parts, body) = request.into_parts();
        let stripped = self.routes.strip(&parts.uri);
        let is_outside = stripped.is_none();
        parts.uri = stripped.unwrap_or(parts.uri);
        let response = AssertUnwindSafe(async {
            if let Err(rejection) = self.authorize(&parts, client, requests).await {
                return rejection;
            }
            if is_outside {
                return self.outside_prefix(&parts);
            }
            parts.extensions.insert(client.peer);
            let request = Request::from_parts(parts, Body::new(body));
            let Ok(response) = self.router.clone().call(request).await;
            response
        });
        // The panic hook counts and logs a panic. Other requests are not affected.
        let mut response = response.catch_unwind().await.unwrap_or_else(|_| {
            let text = "Internal error, which is a bug in wickr-exporter. See its log.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        });
        // Rejections do not pass the router, which sets these headers.
        pages::add_security_headers(response.headers_mut());
        self.access.apply_headers(response.headers_mut());
        response
    }

    /// The response to a path that is not below the prefix.
    fn outside_prefix(&self, request: &Parts) -> Response {
        let start = format!("{}/", self.links.as_str());
        let path = request.uri.path();
        let is_read = request.method == Method::GET || request.method == Method::HEAD;
        if is_read && (path == "/" || path == self.routes.as_str()) {
            return Redirect::to(&start).into_response();
        }
        (StatusCode::NOT_FOUND, format!("Not found. Start at {start}.\n")).into_response()
    }

    async fn authorize(
        &self,
        request: &Parts,
        client: &Client,
        requests: &ConnectionHandle,
    ) -> Result<(), Response> {
        if let Some(error) = malformed(request) {
            let close = [(header::CONNECTION, "close")];
            return Err((StatusCode::BAD_REQUEST, close, error).into_response());
        }
        self.access.authorize(request, client).await?;
        if !auth::is_public(&request.uri) {
            requests.authorized();
        }
        Ok(())
    }
}

/// A connection on which a write has a timeout.
type TimedStream = std::pin::Pin<Box<TimeoutStream<Stream>>>;

fn with_timeout(stream: Stream) -> TimedStream {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

/// Performs the TLS handshake. A TCP client that sends plain HTTP gets a response that says so.
async fn tls_handshake(
    mut stream: Stream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TimedStream>> {
    let mut first = [0];
    if let Either::Left(stream) = &mut stream
        && stream.peek(&mut first).await? == 1
        && first[0].is_ascii_uppercase()
    {
        let text = "This port serves HTTPS: use https://.\n";
        let response = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        // Unread data would reset the connection, and the client would lose the response.
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent plain HTTP"));
    }
    TlsAcceptor::from(config).accept(with_timeout(stream)).await
}

/// Why a request is invalid in HTTP/1.1 although hyper accepts it. A proxy in front could interpret
/// such a request differently. hyper itself rejects ambiguous lengths of bodies.
fn malformed(request: &Parts) -> Option<&'static str> {
    let hosts = request.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
        return Some("A request must have one Host header.\n");
    }
    None
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "connection task failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::net::TcpStream;

    use super::{super::listener::bind, *};
    use crate::telemetry::{Metrics, watch_panics};

    #[tokio::test]
    async fn a_panic_affects_only_its_request() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let panics = || {
            let families = metrics.gather();
            let panics = families.iter().find(|f| f.name() == "wickr_exporter_panics_total");
            panics.unwrap().get_metric()[0].get_counter().get_value()
        };
        let router = Router::new()
            .route("/bad", get(|| async { std::hint::black_box(None::<Response>).unwrap() }))
            .route("/good", get(|| async { "good" }));
        let access = Arc::new(AccessControl::new(None, metrics.clone()).unwrap());
        let listener = bind(Some("127.0.0.1"), 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(
            Server::new(router, access, RoutePrefix::default(), RoutePrefix::default())
                .serve(listener.into(), stop.clone()),
        );
        watch_panics();
        let before = panics();
        let mut client = TcpStream::connect(address).await.unwrap();
        // On one connection, which goes on.
        for (path, status) in [("/bad", "500"), ("/good", "200"), ("/bad", "500")] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 1024];
            let length = client.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
        }
        // Other tests of this process may panic as well.
        assert!(panics() >= before + 2.0);
        stop.cancel();
        serving.await.unwrap();
    }
}
