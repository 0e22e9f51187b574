//! The metrics: which parts in which format, streamed from a snapshot.
//!
//! Rendering is plain computing, so it runs on a thread of its own and hands over a chunk at a
//! time. A client that reads slowly holds a few chunks and one of the permits, and those not for
//! longer than [`LONGEST`].

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use percent_encoding::percent_decode_str;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};

use super::{Shown, Site};
use crate::exposition::{Encoding, Exposition, Format, Group, Sink, encoding_for, format_for};

/// The longest that a scrape may take; Prometheus gives up after a minute at the most.
const LONGEST: Duration = Duration::from_secs(60);
/// Chunks that wait for the client.
const WAITING: usize = 2;

pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let shown = site.shown.load_full();
    let wanted = match groups(query.as_deref().unwrap_or_default(), &shown.groups) {
        Ok(groups) => groups,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let format = format_for(&joined(&headers, header::ACCEPT));
    let encoding = encoding_for(&joined(&headers, header::ACCEPT_ENCODING));
    let mut described = HeaderMap::new();
    described.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    described.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Some(name) = encoding.name() {
        described.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if method == Method::HEAD {
        // A stream, as it would be with GET: its length is not known, and so not told.
        let nothing = Body::from_stream(stream::empty::<io::Result<Bytes>>());
        return (described, nothing).into_response();
    }
    let Ok(permit) = shown.scrapes.clone().try_acquire_owned() else {
        let text = "Too many scrapes at the same time; see max_concurrent_scrapes.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    (described, body(site, shown, wanted, (format, encoding), permit)).into_response()
}

/// The parts that `collect[]` asks for, of those that there are; all without it.
fn groups(query: &str, offered: &[Group]) -> Result<Vec<Group>, String> {
    let mut asked = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decode_str(name).decode_utf8_lossy() != "collect[]" {
            continue;
        }
        let value = percent_decode_str(value).decode_utf8_lossy();
        match Group::ALL.into_iter().find(|group| group.as_str() == value) {
            Some(group) => asked.push(group),
            None => return Err("collect[] must be network, user, device or exporter".into()),
        }
    }
    let wanted = |group: &Group| asked.is_empty() || asked.contains(group);
    Ok(offered.iter().copied().filter(wanted).collect())
}

/// A header's values as one, for it may come in several lines.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// What the rendering thread hands over.
enum Piece {
    Chunk(Bytes),
    /// The end of a whole exposition. Without it, it was broken off.
    End,
}

fn body(
    site: Arc<Site>,
    shown: Arc<Shown>,
    groups: Vec<Group>,
    form: (Format, Encoding),
    permit: OwnedSemaphorePermit,
) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    let sink = Reader { sender, runtime: Handle::current(), until: Instant::now() + LONGEST };
    let rendering = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let started = Instant::now();
        match render(&site, &shown, &groups, form, sink) {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                let (format, encoding) = form;
                tracing::trace!(?format, ?encoding, seconds, "scraped");
            }
            Err(error) => tracing::debug!(%error, "a scrape was broken off"),
        }
    });
    let pieces = stream::unfold(Some((receiver, rendering)), |state| async move {
        let (mut receiver, rendering) = state?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, rendering)))),
            Some(Piece::End) => None,
            // An error, so that the client does not take what it has for the whole.
            None => {
                if let Err(error) = rendering.await {
                    tracing::error!(%error, "rendering the metrics failed");
                }
                Some((Err(io::Error::other("the exposition was broken off")), None))
            }
        }
    });
    Body::from_stream(pieces)
}

fn render(
    site: &Site,
    shown: &Shown,
    groups: &[Group],
    (format, encoding): (Format, Encoding),
    mut reader: Reader,
) -> io::Result<()> {
    let snapshot = site.reader.snapshot();
    let own = site.metrics.gather();
    let now = site.clock.now();
    let exposition = Exposition {
        snapshot: &snapshot,
        // What is packed can be used again if it is of the same moment.
        now: if encoding == Encoding::Identity { now } else { site.kept.moment(now) },
        idle_buckets: &shown.idle_buckets,
        usernames: shown.usernames,
        own: &own,
        groups,
    };
    exposition.render(format, encoding, &site.kept, &mut reader)?;
    reader.send(Piece::End)
}

/// Whoever reads the body.
struct Reader {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
    until: Instant,
}

impl Reader {
    fn send(&self, piece: Piece) -> io::Result<()> {
        match self.runtime.block_on(timeout_at(self.until, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")),
        }
    }
}

impl Sink for Reader {
    fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        self.send(Piece::Chunk(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collect_narrows_and_never_widens() {
        use Group::*;
        let read = |query| groups(query, &[Network, User, Exporter]);
        assert_eq!(read(""), Ok(vec![Network, User, Exporter]));
        assert_eq!(read("x=y&collect"), Ok(vec![Network, User, Exporter]));
        assert_eq!(read("collect[]=user"), Ok(vec![User]));
        assert_eq!(read("collect%5B%5D=exporter&collect[]=network"), Ok(vec![Network, Exporter]));
        assert_eq!(read("collect[]=device"), Ok(vec![]));
        assert!(read("collect[]=devices").is_err() && read("collect[]=").is_err());
    }
}
