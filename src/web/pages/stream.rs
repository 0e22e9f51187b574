//! A body that is written as it is read, by a thread of its own, so that it is never whole in
//! memory.

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

/// The longest that it may take: a hundred thousand devices are forty megabytes.
const LONGEST: Duration = Duration::from_secs(300);
/// Chunks that wait for the client, and how large one is.
const WAITING: usize = 2;
const CHUNK: usize = 64 * 1024;

/// What the writing thread hands over.
enum Piece {
    Chunk(Bytes),
    /// The end of a whole body. Without it, it was broken off.
    End,
}

/// A body that `write` writes. The permit is given back when it has.
pub(super) fn body(
    permit: OwnedSemaphorePermit,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut sink = Sink {
        sender,
        runtime: Handle::current(),
        until: Instant::now() + LONGEST,
        chunk: Vec::with_capacity(CHUNK),
    };
    let writing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let written = write(&mut sink).and_then(|()| sink.flush());
        match written.and_then(|()| sink.send(Piece::End)) {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "a list was broken off"),
        }
    });
    let pieces = stream::unfold(Some((receiver, writing)), |state| async move {
        let (mut receiver, writing) = state?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, writing)))),
            Some(Piece::End) => None,
            // An error, so that the client does not take what it has for the whole.
            None => {
                if let Err(error) = writing.await {
                    tracing::error!(%error, "writing a list failed");
                }
                Some((Err(io::Error::other("the list was broken off")), None))
            }
        }
    });
    Body::from_stream(pieces)
}

/// Sends what is written to whoever reads the body, a chunk at a time.
struct Sink {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
    until: Instant,
    chunk: Vec<u8>,
}

impl Sink {
    fn send(&self, piece: Piece) -> io::Result<()> {
        match self.runtime.block_on(timeout_at(self.until, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")),
        }
    }
}

impl Write for Sink {
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
