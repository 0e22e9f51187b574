//! The metrics endpoint: content negotiation and `collect[]`, streamed from a snapshot.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;

use super::{
    DisplaySettings, Site,
    auth::Peer,
    body::{self, ChunkWriter, streamed},
};
use crate::{
    exposition::{Encoding, Exposition, Format, Group, encoding_for, format_for},
    telemetry::RejectionReason,
};

/// The time limit of a response: longer than a usual `scrape_timeout`.
const TIME_LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let settings = site.settings.load_full();
    let groups = match groups(query.as_deref().unwrap_or_default(), &settings.groups) {
        Ok(groups) => groups,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let format = format_for(&joined(&headers, header::ACCEPT));
    let encoding = encoding_for(&joined(&headers, header::ACCEPT_ENCODING));
    let mut response_headers = HeaderMap::new();
    response_headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response_headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Some(name) = encoding.name() {
        response_headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if method == Method::HEAD {
        return (response_headers, body::empty()).into_response();
    }
    let Some((slot, evicted)) = settings.scrape_slots.acquire(peer).await else {
        let text = "Too many scrapes at the same time; see max_concurrent_scrapes.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    if evicted {
        site.metrics.refused(RejectionReason::Connection);
    }
    let body = streamed("scrape", TIME_LIMIT, slot, move |writer| {
        render(&site, &settings, &groups, (format, encoding), writer)
    });
    (response_headers, body).into_response()
}

/// The available groups that `collect[]` selects; all without it.
///
/// # Errors
///
/// A message if `collect[]` is not the name of a group.
pub fn groups(query: &str, available: &[Group]) -> Result<Vec<Group>, String> {
    let mut selected = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decode_str(name).decode_utf8_lossy() != "collect[]" {
            continue;
        }
        let value = percent_decode_str(value).decode_utf8_lossy();
        match Group::ALL.into_iter().find(|group| group.as_str() == value) {
            Some(group) => selected.push(group),
            None => return Err("collect[] must be network, user, device or exporter".into()),
        }
    }
    let is_selected = |group: &Group| selected.is_empty() || selected.contains(group);
    Ok(available.iter().copied().filter(is_selected).collect())
}

/// All values of a header, which can be on several lines.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn render(
    site: &Site,
    settings: &DisplaySettings,
    groups: &[Group],
    (format, encoding): (Format, Encoding),
    writer: &mut ChunkWriter,
) -> io::Result<()> {
    let snapshot = site.reader.snapshot();
    let exporter_metrics = site.metrics.gather();
    let exposition = Exposition {
        snapshot: &snapshot,
        now: site.clock.moment(),
        idle_buckets: &settings.idle_buckets,
        sso_horizons: &settings.sso_horizons,
        usernames: settings.usernames,
        exporter_metrics: &exporter_metrics,
        groups,
    };
    exposition.render(format, encoding, &site.compression_cache, writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collect_selects_from_the_available_groups() {
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
