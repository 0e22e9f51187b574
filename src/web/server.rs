//! Sockets: binding them, accepting connections, and an end that does not wait for ever.
//!
//! With TLS, a connection starts with a handshake. Each request passes the access control before
//! routing. `connections` says who goes when there are too many, `stream` who is too
//! slow.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, Request, StatusCode, Version, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, lookup_host},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    auth::{self, AccessControl, Client, Peer, Transport},
    connections::{Answering, Connections, Line, Place, Relief},
    pages,
    stream::{HEAD, Patient},
};
use crate::telemetry::Refusal;

/// How long a client may be idle between two requests. Scrapers come more often than that.
const IDLE: Duration = Duration::from_secs(180);
/// The longest head of a request, and the most headers in it.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// What is read or written at once.
const BUFFER: usize = 64 << 10;
/// How often an answer is tried for which there is no room, and after what time: together, two seconds.
const MOST_TRIES: u32 = 200;
const TRY_AFTER: Duration = Duration::from_millis(10);
/// How long answers that have begun may take once the end has come.
const DRAIN: Duration = Duration::from_secs(3);

/// Binds `host:port`; without a host, all addresses of the machine.
///
/// # Errors
///
/// The system's: the address is taken, or not this machine's.
pub async fn bind(host: Option<&str>, port: u16) -> io::Result<TcpListener> {
    if let Some(host) = host {
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        return TcpListener::bind(&addresses[..]).await;
    }
    // The IPv6 wildcard takes IPv4 too, where there is IPv6.
    let both = TcpListener::bind(("::", port)).await;
    match both {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    }
}

/// The sockets that systemd passes to the process, if it passes any.
///
/// # Errors
///
/// When one of them is no TCP socket.
pub fn passed() -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for place in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(place)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    Ok(listeners)
}

/// Answers requests, on as many sockets as there are.
#[derive(Debug, Clone)]
pub struct Server {
    router: Router,
    access: Arc<AccessControl>,
    connections: Arc<Connections>,
}

impl Server {
    /// Serves `router` to authorized clients.
    pub fn new(router: Router, access: Arc<AccessControl>) -> Server {
        Server { router, access, connections: Arc::new(Connections::new()) }
    }

    /// Answers on one socket until `stop`, and then for as long as it takes to finish what has begun,
    /// up to a few seconds.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = self.place(address) {
                        let (server, stop) = (self.clone(), stop.clone());
                        let watcher = graceful.watcher();
                        connections.spawn(async move {
                            server.keep(stream, address, place, watcher, stop).await;
                        });
                    }
                }
                // Of one connection, or for want of file descriptors, of which one can be had.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    if self.connections.shed() {
                        self.access.count_refusal(Refusal::Connection);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while let Some(ended) = connections.try_join_next() {
                report(ended);
            }
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("some clients did not read their answers in time");
        }
        connections.abort_all();
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    }

    /// A place for one more connection. It, or the one that it takes the place of, is sent away.
    fn place(&self, address: SocketAddr) -> Option<Place> {
        let (place, full) = self.connections.admit(address.into());
        if full {
            self.access.count_refusal(Refusal::Connection);
        }
        place
    }

    /// One connection, until it ends or must.
    async fn keep(
        self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
        watcher: Watcher,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = self.talk(stream, address, &place, watcher, stop) => {}
            () = place.evicted() => tracing::debug!("a connection gave way to another"),
        }
    }

    async fn talk(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: &Place,
        watcher: Watcher,
        stop: CancellationToken,
    ) {
        // Small answers go out at once; a socket that cannot do so still works.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let peer = address.into();
        match self.access.tls_config() {
            None => {
                let client = Client { peer, transport: Transport::Plain };
                self.answer(Patient::new(stream, place.line().clone()), client, place, watcher)
                    .await;
            }
            Some(config) => {
                // What has not come to a request need not be waited for at the end.
                let shaken = shake_hands(stream, config, place);
                let shaken = tokio::time::timeout(HEAD, shaken);
                let stream = match stop.run_until_cancelled(shaken).await {
                    None => return,
                    Some(Ok(Ok(stream))) => stream,
                    // Whoever only looks whether the port is open, as probes do, was not refused.
                    Some(Ok(Err(error))) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                    Some(Ok(Err(error))) => {
                        self.access.count_refusal(Refusal::Handshake);
                        tracing::debug!(%error, "a TLS handshake failed");
                        return;
                    }
                    Some(Err(_)) => {
                        self.access.count_refusal(Refusal::Handshake);
                        tracing::debug!("a TLS handshake took too long");
                        return;
                    }
                };
                let chain = stream.get_ref().1.peer_certificates();
                let chain = chain.map(|chain| chain.iter().map(|c| c.clone().into_owned()));
                let transport = Transport::Tls(chain.map(Iterator::collect));
                self.answer(stream, Client { peer, transport }, place, watcher).await;
            }
        }
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        client: Client,
        place: &Place,
        watcher: Watcher,
    ) {
        let (client, line) = (Arc::new(client), place.line().clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, client, line) = (self.clone(), client.clone(), line.clone());
            async move {
                let answering = line.request();
                let response = server.respond(request, &client, &line).await;
                Ok::<_, Infallible>(response.map(|body| Guarded { body, _answering: answering }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_header_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended badly");
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        client: &Client,
        line: &Arc<Line>,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let answer = AssertUnwindSafe(async {
            match self.admit(&parts, client, line).await {
                Ok(()) => self.route(parts, body, client.peer).await,
                Err(refusal) => refusal,
            }
        });
        // A panic was counted and logged as it happened, and is this request's alone.
        let mut response = answer.catch_unwind().await.unwrap_or_else(|_| {
            let text = "This is a bug of wickr-exporter; its log tells more.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        });
        // What came to no route was given none of them.
        pages::guard(response.headers_mut());
        self.access.apply_headers(response.headers_mut());
        response
    }

    /// Answers by the routes. Where too many others are being answered for that, those that do not take
    /// their answers make room.
    async fn route(&self, parts: Parts, body: Incoming, peer: Peer) -> Response {
        // What has no body can be asked again.
        let bare = [Method::GET, Method::HEAD].contains(&parts.method) && body.is_end_stream();
        let again = (bare && !auth::is_public(&parts.uri)).then(|| parts.clone());
        let routes = TowerToHyperService::new(self.router.clone());
        let Ok(mut response) = routes.call(Request::from_parts(parts, Body::new(body))).await;
        let Some(parts) = again else { return response };
        for _ in 0..MOST_TRIES {
            if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            match self.connections.relieve(peer) {
                Relief::Made => self.access.count_refusal(Refusal::Connection),
                Relief::Soon => {}
                Relief::None => break,
            }
            tokio::time::sleep(TRY_AFTER).await;
            let request = Request::from_parts(parts.clone(), Body::empty());
            Ok(response) = routes.call(request).await;
        }
        response
    }

    async fn admit(
        &self,
        request: &Parts,
        client: &Client,
        line: &Arc<Line>,
    ) -> Result<(), Response> {
        if let Some(why) = malformed(request) {
            let close = [(header::CONNECTION, "close")];
            return Err((StatusCode::BAD_REQUEST, close, why).into_response());
        }
        self.access.authorize(request, client).await?;
        if !auth::is_public(&request.uri) {
            line.welcome();
        }
        Ok(())
    }
}

/// Takes a client through the TLS handshake. One that speaks plain HTTP is told so.
async fn shake_hands(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    place: &Place,
) -> io::Result<TlsStream<Patient<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        let text = "This port speaks HTTPS: use https://.\n";
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        // What is left unread would make the end a reset, and the answer be lost.
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks plain HTTP"));
    }
    TlsAcceptor::from(config).accept(Patient::new(stream, place.line().clone())).await
}

/// Why a request is none that HTTP/1.1 allows, where hyper lets it pass: what two readers could
/// understand in two ways is refused, for one of them may stand before us. Bodies are hyper's to see
/// to: of several lengths it lets none pass that differ, and drops one that stands beside chunks.
fn malformed(request: &Parts) -> Option<&'static str> {
    let headers = &request.headers;
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
        return Some("There must be one Host header.\n");
    }
    None
}

/// An answer's body, which tells when it has ended.
struct Guarded {
    body: Body,
    _answering: Answering,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's task ends well, or was ended by us, or panicked.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "answering a request failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;
    use crate::telemetry::{Metrics, watch_panics};

    #[tokio::test]
    async fn a_panic_while_a_request_is_answered_is_that_requests_alone() {
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
        let serving = tokio::spawn(Server::new(router, access).serve(listener, stop.clone()));
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
