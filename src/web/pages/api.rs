//! `/api/v1/devices`: lists of devices for tools, as long as they are.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};

use super::{Face, bad_request, busy, devices};
use crate::{
    query::{Columns, Format, Listing, Query, Record, find, write_csv, write_json},
    telemetry::Refusal,
    web::{
        auth::Peer,
        body::{self, streamed},
    },
};

/// The longest response: 100,000 devices are 40 MB.
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn devices(
    State(face): State<Arc<Face>>,
    Extension(peer): Extension<Peer>,
    RawQuery(query): RawQuery,
    method: Method,
) -> Response {
    let usernames = face.site.shown.load().usernames;
    let params = match devices::check(&query.unwrap_or_default(), usernames) {
        Ok(params) => params,
        Err(error) => return bad_request(&error),
    };
    let format = params.format.unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if format == Format::Csv {
        let name = HeaderValue::from_static("attachment; filename=\"wickr-devices.csv\"");
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if method == Method::HEAD {
        return (headers, body::empty()).into_response();
    }
    let Some((slot, evicted)) = face.lists.acquire(peer).await else { return busy() };
    if evicted {
        face.site.metrics.refused(Refusal::Connection);
    }
    let columns = Columns { usernames };
    let written = streamed("list of devices", TIME_LIMIT, slot, move |out| {
        write(&face, &params.query, format, columns, out)
    });
    (headers, written).into_response()
}

fn write(
    face: &Face,
    query: &Query,
    format: Format,
    columns: Columns,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let (snapshot, now) = (face.site.reader.snapshot(), face.site.clock.now());
    let found = find(&snapshot, now, query);
    let records = found.rows.iter().map(|row| Record::of(row, columns));
    match format {
        Format::Json => write_json(out, &Listing::of(&found, now), records),
        Format::Csv => write_csv(out, columns, records),
    }
}
