//! A body that is sent as it is written, by a thread of its own, so that it is never whole in
//! memory: a client that reads slowly holds a few chunks and a permit, and not for ever.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};

use crate::exposition::Sink;

/// Chunks that wait for the client.
const WAITING: usize = 2;
/// The size of a chunk that is gathered from smaller writes.
const CHUNK: usize = 64 * 1024;

/// What the writing thread hands over.
enum Piece {
    Chunk(Bytes),
    /// The end of a whole body. Without it, it was broken off.
    End,
}

/// A body that `write` writes within `longest`. The permit is given back when it has. `what` it is,
/// the log tells if it goes wrong.
pub(super) fn streamed(
    what: &'static str,
    longest: Duration,
    permit: OwnedSemaphorePermit,
    write: impl FnOnce(&mut Outlet) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut outlet = Outlet {
        sender,
        runtime: Handle::current(),
        until: Instant::now() + longest,
        chunk: Vec::new(),
    };
    let writing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let started = Instant::now();
        let written = write(&mut outlet).and_then(|()| outlet.flush());
        match written.and_then(|()| outlet.send(Piece::End)) {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::trace!(what, seconds, "sent");
            }
            Err(error) => tracing::debug!(what, %error, "broken off"),
        }
    });
    let pieces = stream::unfold(Some((receiver, writing)), move |state| async move {
        let (mut receiver, writing) = state?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, writing)))),
            Some(Piece::End) => None,
            // An error, so that the client does not take what it has for the whole.
            None => {
                if let Err(error) = writing.await {
                    tracing::error!(what, %error, "writing it failed");
                }
                Some((Err(io::Error::other("broken off")), None))
            }
        }
    });
    Body::from_stream(pieces)
}

/// Takes what is written to whoever reads the body: chunks as they are, and smaller writes together.
pub(super) struct Outlet {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
    until: Instant,
    /// Small writes that were not sent yet.
    chunk: Vec<u8>,
}

impl Outlet {
    fn send(&self, piece: Piece) -> io::Result<()> {
        match self.runtime.block_on(timeout_at(self.until, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")),
        }
    }
}

impl Sink for Outlet {
    fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::Chunk(chunk))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Piece::Chunk(chunk.into()))
    }
}
