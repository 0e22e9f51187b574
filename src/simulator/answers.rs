//! Answers as they go out, the sound ones and the broken ones.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;

use super::errors::ApiError;
use super::faults::FaultKind;

pub(super) const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Long enough for the half of an answer to reach the wire before the connection goes.
const BEFORE_THE_CUT: Duration = Duration::from_millis(10);
/// One chunk of a body that never ends.
const ENDLESS_CHUNK: usize = 64 * 1024;
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
     <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

/// Why a request goes without an answer. For the server it is an error, and its cue to drop
/// the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("closed by a fault or by the end")]
    Close,
    #[error("reset by a fault")]
    Reset,
}

/// 200 with this JSON.
pub(super) fn json(value: &Value) -> Response<Body> {
    respond(200, "application/json", value.to_string())
}

/// An error in the service's shape.
pub(super) fn error(error: ApiError) -> Response<Body> {
    let mut response = respond(error.status, "application/json", error.body.to_string());
    let headers = response.headers_mut();
    set(headers, ERROR_TYPE, &error.kind);
    if let Some(retry_after) = &error.retry_after {
        set(headers, header::RETRY_AFTER, retry_after);
    }
    if error.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

/// What every answer bears: the server's time and an id.
pub(super) fn stamp(headers: &mut HeaderMap, now: Timestamp, random: u128) {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    set(headers, header::DATE, &date);
    let hex = format!("{random:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    set(headers, REQUEST_ID, &parts.join("-"));
}

/// The answer of a fault that is no error in the service's shape.
pub(super) async fn faulty(
    fault: &FaultKind,
    truth: impl FnOnce() -> Response<Body>,
) -> Result<Response<Body>, NoAnswer> {
    Ok(match fault {
        FaultKind::Reset => return Err(NoAnswer::Reset),
        FaultKind::Close => return Err(NoAnswer::Close),
        FaultKind::Nonsense(body) => respond(200, "application/json", body.clone()),
        FaultKind::Html => respond(502, "text/html", HTML),
        FaultKind::Redirect(location) => {
            let mut response = respond(302, "text/html", "");
            set(response.headers_mut(), header::LOCATION, location);
            response
        }
        FaultKind::Endless => respond(200, "application/json", endless()),
        FaultKind::Truncate => reshape(truth(), truncated).await,
        FaultKind::Drip(pause) => reshape(truth(), |body| dripping(body, *pause)).await,
        _ => truth(),
    })
}

fn respond(status: u16, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What cannot stand in a header is left out: only a fault can ask for that.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Another body under the same head, which goes on to promise the length of the first.
async fn reshape(truth: Response<Body>, body: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let (mut head, truth) = truth.into_parts();
    let bytes = truth.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    head.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    Response::from_parts(head, body(bytes))
}

fn truncated(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    Body::from_stream(stream::unfold(Some(half), async |half| match half {
        Some(half) => Some((Ok(half), None)),
        None => {
            tokio::time::sleep(BEFORE_THE_CUT).await;
            Some((Err(io::Error::from(io::ErrorKind::BrokenPipe)), None))
        }
    }))
}

fn dripping(body: Bytes, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(rest.split_to(1)), rest))
    }))
}

/// JSON that is sound as far as it goes, and it goes on for as long as someone reads.
fn endless() -> Body {
    const DEVICE: &str = r#"{"appId":"e","type":"iOS","suspend":false,"statusText":"Active"},"#;
    let chunk = Bytes::from(DEVICE.repeat(ENDLESS_CHUNK / DEVICE.len()));
    let start = Bytes::from_static(b"{\"devices\":[");
    Body::from_stream(stream::unfold((start, chunk), async |(next, chunk)| {
        // Lets the others run: a fast reader would keep this task busy for ever.
        tokio::task::yield_now().await;
        Some((Ok::<_, Infallible>(next), (chunk.clone(), chunk)))
    }))
}
