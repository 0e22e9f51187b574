//! Sockets: binding them, accepting connections, and an end that does not wait for ever.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream, lookup_host},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// A client that has not sent its headers by then is gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone, too.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers that have begun may take once the end has come.
const DRAIN: Duration = Duration::from_secs(3);
/// Connections on one address; more wait to be accepted.
const MOST_CONNECTIONS: usize = 512;

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

/// Answers on one socket until `stop`, and then for as long as it takes to finish what has begun,
/// up to a few seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &room)).await {
        match accepted {
            Ok((stream, permit)) => {
                let connection = answer(stream, router.clone(), graceful.watcher());
                connections.spawn(async move {
                    let _permit = permit;
                    connection.await;
                });
            }
            // Of one connection, or for want of file descriptors: either passes.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
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

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn answer(stream: TcpStream, router: Router, watcher: Watcher) {
    // Small answers go out at once; a socket that cannot do so still works.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended badly");
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
