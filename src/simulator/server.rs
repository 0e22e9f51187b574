//! Accepting and serving connections.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::responses::NoResponse;
use super::state::State;

/// Further clients wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// Longer than the 90 s for which clients pool idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long responses in progress may continue after the stop.
const STOP_GRACE: Duration = Duration::from_millis(250);
/// After a failed accept, which most likely ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the stop. Returns the messages of tasks that panicked.
pub(super) async fn run(listener: TcpListener, state: Arc<State>) -> Vec<String> {
    let mut tasks = JoinSet::new();
    let mut panics = Vec::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        tokio::select! {
            () = state.stop.cancelled() => break,
            Some(result) = tasks.join_next() => {
                panics.extend(result.err().and_then(panic_message));
            }
            accepted = accept => match accepted {
                (Ok((stream, _)), slot) => {
                    let state = Arc::clone(&state);
                    tasks.spawn(async move {
                        serve_connection(stream, state).await;
                        drop(slot);
                    });
                }
                (Err(_), _) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while let Some(result) = tasks.join_next().await {
        panics.extend(result.err().and_then(panic_message));
    }
    panics
}

/// The message of a task that panicked.
pub(super) fn panic_message(error: JoinError) -> Option<String> {
    let panic = error.try_into_panic().ok()?;
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Some(text.unwrap_or_else(|| "(no message)".to_owned()))
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    // A failure only costs latency.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| state.respond(request));
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let result = tokio::select! {
        result = &mut connection => result,
        () = state.stop.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            // The client may fail or be slow: neither is an error of the simulator.
            let _ = tokio::time::timeout(STOP_GRACE, connection).await;
            return;
        }
    };
    let source = result.as_ref().err().and_then(|error| error.source());
    if source.and_then(|source| source.downcast_ref()) == Some(&NoResponse::Reset) {
        // With zero linger time, the kernel sends RST on close.
        let _ = connection.into_parts().io.inner().set_zero_linger();
    }
}
