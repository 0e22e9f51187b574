//! A connection's bytes, for a client that must keep going.
//!
//! - A request's head must be there some seconds after its first byte, and the first byte as long
//!   after the connection was made. How long a client may be idle between requests is hyper's to see to.
//!   What comes with the request before it is hyper's already, and is held to that too.
//! - Who does not take an answer uses up credit that only taking it renews: a pause is forgiven, a
//!   trickle is not.
//!
//! It lies beneath TLS, so handshakes and records are held to the same.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::connections::Line;

/// How long a client may take to send a request's head.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// For how long a client may take nothing of an answer.
const CREDIT: Duration = Duration::from_secs(10);
/// How many bytes taken are worth a second of it.
const BYTES_A_SECOND: f64 = 10_240.0;

/// A stream that ends with an error when the client is too slow.
#[derive(Debug)]
pub(super) struct Patient<S> {
    inner: S,
    line: Arc<Line>,
    /// By when the head must be there, while one is coming.
    head: Option<Pin<Box<Sleep>>>,
    /// How many requests had come when that was last looked at.
    requests: u64,
    credit: Duration,
    /// Since when nothing is taken, and when that is too long.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S, line: Arc<Line>) -> Patient<S> {
        let head = Some(Box::pin(sleep(HEAD)));
        Patient { inner, line, head, requests: 0, credit: CREDIT, blocked: None }
    }

    /// What a write came to: how many bytes were taken, or that none are.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                if let Some((since, _)) = self.blocked.take() {
                    self.credit = self.credit.saturating_sub(since.elapsed());
                }
                if let Ok(bytes) = result {
                    let earned = Duration::from_secs_f64(bytes as f64 / BYTES_A_SECOND);
                    self.credit = (self.credit + earned).min(CREDIT);
                }
                if self.credit == CREDIT {
                    self.line.set_behind(false);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let now = Instant::now();
                let (_, end) = self
                    .blocked
                    .get_or_insert_with(|| (now, Box::pin(sleep_until(now + self.credit))));
                self.line.set_behind(true);
                ready!(end.as_mut().poll(cx));
                Poll::Ready(Err(too_slow()))
            }
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let requests = self.line.requests();
        if requests != self.requests {
            self.requests = requests;
            self.head = None;
        }
        let (before, answering) = (buf.filled().len(), self.line.is_answering());
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        match (&read, &mut self.head) {
            (Poll::Pending, Some(head)) => {
                ready!(head.as_mut().poll(cx));
                Poll::Ready(Err(too_slow()))
            }
            (Poll::Ready(Ok(())), None) if buf.filled().len() > before && !answering => {
                self.head = Some(Box::pin(sleep(HEAD)));
                read
            }
            // A drip never lets it come to waiting, but counts.
            (Poll::Ready(Ok(())), Some(head)) if head.is_elapsed() => Poll::Ready(Err(too_slow())),
            _ => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket holds nothing back.
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::web::{auth::Peer, connections::Connections};

    fn stream() -> (Patient<DuplexStream>, DuplexStream, Arc<Line>) {
        let (near, far) = duplex(1024);
        let all = Arc::new(Connections::new());
        let place = all.admit(Peer::of(IpAddr::from([127, 0, 0, 1]))).0.unwrap();
        let line = place.line().clone();
        (Patient::new(near, line.clone()), far, line)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_in_is_cut_off_and_a_pause_between_requests_is_not() {
        let (mut near, mut far, line) = stream();
        let started = Instant::now();
        let drip = tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let mut byte = [0; 1];
        while near.read_exact(&mut byte).await.is_ok() {}
        assert_eq!(started.elapsed().as_secs(), HEAD.as_secs());
        drop(near);
        drip.await.unwrap();

        let (mut near, mut far, line) = (stream(), line).0;
        far.write_all(b"a request").await.unwrap();
        near.read_exact(&mut [0; 9]).await.unwrap();
        drop(line.request());
        let next = tokio::spawn(async move {
            sleep(HEAD * 5).await;
            far.write_all(b"another").await.unwrap();
            far
        });
        near.read_exact(&mut [0; 7]).await.unwrap();
        let _far = next.await.unwrap();
        assert!(near.read_exact(&mut byte).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_cut_off_and_who_goes_on_is_not() {
        let (mut near, mut far, _line) = stream();
        let reader = tokio::spawn(async move {
            let mut some = [0; 100];
            while far.read_exact(&mut some).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let started = Instant::now();
        assert!(near.write_all(&[0; 100_000]).await.is_err());
        assert!((10..13).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        drop(near);
        reader.await.unwrap();

        let (mut near, mut far, _line) = stream();
        let reader = tokio::spawn(async move {
            let mut all = vec![0; 1_000_000];
            for some in all.chunks_mut(20_000) {
                far.read_exact(some).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        });
        near.write_all(&[0; 1_000_000]).await.unwrap();
        reader.await.unwrap();
    }
}
