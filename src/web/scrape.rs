//! The metrics: which parts in which format, streamed from a snapshot.
//!
//! A thread renders and hands over one chunk at a time. A slow client holds a few chunks and a slot, at
//! most for [`TIME_LIMIT`].

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;

use super::{
    Shown, Site,
    auth::Peer,
    body::{self, ChunkWriter, streamed},
};
use crate::{
    exposition::{Encoding, Exposition, Format, Group, encoding_for, format_for},
    telemetry::Refusal,
};

/// The longest response: more than any usual `scrape_timeout`.
const TIME_LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
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
        return (described, body::empty()).into_response();
    }
    let Some((slot, evicted)) = shown.scrapes.acquire(peer).await else {
        let text = "Too many scrapes at the same time; see max_concurrent_scrapes.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    if evicted {
        site.metrics.refused(Refusal::Connection);
    }
    let body = streamed("scrape", TIME_LIMIT, slot, move |writer| {
        render(&site, &shown, &wanted, (format, encoding), writer)
    });
    (described, body).into_response()
}

/// The parts that `collect[]` asks for, of those that there are; all without it.
///
/// # Errors
///
/// A sentence, when it asks for a part that does not exist.
pub fn groups(query: &str, offered: &[Group]) -> Result<Vec<Group>, String> {
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

fn render(
    site: &Site,
    shown: &Shown,
    groups: &[Group],
    (format, encoding): (Format, Encoding),
    writer: &mut ChunkWriter,
) -> io::Result<()> {
    let snapshot = site.reader.snapshot();
    let own = site.metrics.gather();
    let now = site.clock.now();
    let exposition = Exposition {
        snapshot: &snapshot,
        // What is packed can be used again if it is of the same moment.
        now: if encoding == Encoding::Identity { now } else { site.kept.timestamp(now) },
        idle_buckets: &shown.idle_buckets,
        usernames: shown.usernames,
        exporter_metrics: &own,
        groups,
    };
    exposition.render(format, encoding, &site.kept, writer)
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
