//! Response bodies that a thread writes while they are sent, so that they are never completely in
//! memory. A slow client occupies a few chunks and a slot for a limited time.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::slots::Slot;
use crate::exposition::Sink;

/// Chunks that wait for the client.
const PENDING_CHUNKS: usize = 2;
/// The size of a chunk that is collected from smaller writes.
const CHUNK_SIZE: usize = 64 * 1024;

enum Piece {
    Chunk(Bytes),
    /// The end of a complete body. A body without it is incomplete.
    End,
}

/// A body without content and without a known length, for HEAD.
pub(super) fn empty() -> Body {
    Body::from_stream(stream::empty::<io::Result<Bytes>>())
}

/// A body that `write` writes within `time_limit`. `what` names it in log messages.
pub(super) fn streamed(
    what: &'static str,
    time_limit: Duration,
    slot: Slot,
    write: impl FnOnce(&mut ChunkWriter) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(PENDING_CHUNKS);
    let mut writer = ChunkWriter {
        sender,
        slot,
        runtime: Handle::current(),
        deadline: Instant::now() + time_limit,
        chunk: Vec::new(),
    };
    let writing = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let written = write(&mut writer).and_then(|()| writer.flush());
        match written.and_then(|()| writer.send(Piece::End)) {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::trace!(what, seconds, "response sent");
            }
            Err(error) => tracing::debug!(what, %error, "response aborted"),
        }
    });
    let pieces = stream::unfold(Some((receiver, writing)), move |state| async move {
        let (mut receiver, writing) = state?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, writing)))),
            Some(Piece::End) => None,
            // The error tells the client that the response is incomplete.
            None => {
                if let Err(error) = writing.await {
                    tracing::error!(what, %error, "writing a response failed");
                }
                Some((Err(io::Error::other("the response was aborted")), None))
            }
        }
    });
    Body::from_stream(pieces)
}

/// Sends what is written to the client: chunks as they are, smaller writes collected.
pub(super) struct ChunkWriter {
    sender: mpsc::Sender<Piece>,
    slot: Slot,
    runtime: Handle,
    deadline: Instant,
    /// Small writes that are not sent yet.
    chunk: Vec<u8>,
}

impl ChunkWriter {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let _blocked = self.slot.block();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.slot.evicted() => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "another client needs the slot"))
                }
                sent = timeout_at(self.deadline, self.sender.send(piece)) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => {
                        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client disconnected"))
                    }
                    Err(_) => {
                        Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly"))
                    }
                },
            }
        })
    }
}

impl Sink for ChunkWriter {
    fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::Chunk(chunk))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_SIZE));
        self.send(Piece::Chunk(chunk.into()))
    }
}
