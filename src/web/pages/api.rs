//! The API: `/api/v1/devices` and `/api/v1/status`.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Pages, busy, devices_page::parse_list, internal_error};
use crate::{
    query::{Columns, ListFormat, Listing, Query, Record, find, write_csv, write_json},
    telemetry::RejectionReason,
    web::{
        auth::Peer,
        body::{self, streamed},
    },
};

/// The time limit of a response: 100,000 devices are 40 MB.
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn status(State(pages): State<Arc<Pages>>) -> Response {
    let render = |pages: &Pages| match serde_json::to_vec(&pages.status()) {
        Ok(mut json) => {
            json.push(b'\n');
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(error) => internal_error(&error),
    };
    pages.render(render).await
}

pub(super) async fn devices(
    State(pages): State<Arc<Pages>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    method: Method,
) -> Response {
    let usernames = pages.site.settings.load().usernames;
    let params = match parse_list(&query.unwrap_or_default(), usernames) {
        Ok(params) => params,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let format = params.format.unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if format == ListFormat::Csv {
        let name = HeaderValue::from_static("attachment; filename=\"wickr-devices.csv\"");
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if method == Method::HEAD {
        return (headers, body::empty()).into_response();
    }
    let Some((slot, evicted)) = pages.list_slots.acquire(peer).await else { return busy() };
    if evicted {
        pages.site.metrics.refused(RejectionReason::Connection);
    }
    let columns = Columns { usernames };
    let body = streamed("list of devices", TIME_LIMIT, slot, move |out| {
        write(&pages, &params.query, format, columns, out)
    });
    (headers, body).into_response()
}

fn write(
    pages: &Pages,
    query: &Query,
    format: ListFormat,
    columns: Columns,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let (snapshot, now) = (pages.site.reader.snapshot(), pages.site.clock.moment());
    let found = find(&snapshot, now, query);
    let records = found.rows.iter().map(|row| Record::of(row, columns));
    match format {
        ListFormat::Json => write_json(out, &Listing::of(&found, now), records),
        ListFormat::Csv => write_csv(out, columns, records),
    }
}
