//! Connections: taken, served and, at the end, let go.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::answers::NoAnswer;
use super::state::State;

/// More clients than this wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long a connection may wait for the head of a request; clients pool theirs for 90 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// At the end, answers on their way out get this long.
const GRACE: Duration = Duration::from_millis(250);
/// After a failed accept: out of file descriptors, most likely, and that passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the stop; returns what the tasks that panicked said.
pub(super) async fn run(listener: TcpListener, state: Arc<State>) -> Vec<String> {
    let mut tasks = JoinSet::new();
    let mut panics = Vec::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            () = state.stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                panics.extend(panic_of(ended));
                continue;
            }
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        tokio::select! {
            () = state.stop.cancelled() => break,
            Some(ended) = tasks.join_next() => panics.extend(panic_of(ended)),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let state = Arc::clone(&state);
                    tasks.spawn(async move {
                        connection(stream, state).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        panics.extend(panic_of(ended));
    }
    panics
}

/// What a task that panicked said.
pub(super) fn panic_of<T>(ended: Result<T, JoinError>) -> Option<String> {
    let panic = ended.err()?.try_into_panic().ok()?;
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Some(text.unwrap_or_else(|| "(no text)".to_owned()))
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    // Answers are small and waited for; a failure costs some delay and nothing else.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, reset: Arc::clone(&reset) };
    let service = service_fn(|request| {
        let (state, reset) = (Arc::clone(&state), Arc::clone(&reset));
        async move {
            let answer = state.answer(request).await;
            reset.store(matches!(answer, Err(NoAnswer::Reset)), Ordering::Relaxed);
            answer
        }
    });
    let served = http1::Builder::new()
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(wire), service);
    let mut served = pin!(served);
    // How a connection ends, badly or well, is the client's affair.
    tokio::select! {
        _ = served.as_mut() => return,
        () = state.stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, served).await;
}

/// A stream that can end with a reset in place of an orderly close.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Without time to linger, the kernel answers a close with RST.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
