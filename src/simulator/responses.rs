//! HTTP responses, correct and faulty.

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
/// Lets the first half of a truncated body reach the client before the connection closes.
const TRUNCATION_DELAY: Duration = Duration::from_millis(10);
const ENDLESS_CHUNK: usize = 64 * 1024;
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
     <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

/// Ends the connection without a response: an error for hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoResponse {
    #[error("closed by a fault or at shutdown")]
    Close,
    #[error("reset by a fault")]
    Reset,
}

/// 200 with this JSON.
pub(super) fn json(value: &Value) -> Response<Body> {
    respond(200, "application/json", value.to_string())
}

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

/// Sets the headers of every response: the server's time and a request id.
pub(super) fn set_common_headers(headers: &mut HeaderMap, now: Timestamp, request_id: u128) {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    set(headers, header::DATE, &date);
    let hex = format!("{request_id:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    set(headers, REQUEST_ID, &parts.join("-"));
}

/// The response of a fault that is not an [`ApiError`].
pub(super) async fn faulty(
    fault: &FaultKind,
    correct: impl FnOnce() -> Response<Body>,
) -> Result<Response<Body>, NoResponse> {
    Ok(match fault {
        FaultKind::Reset => return Err(NoResponse::Reset),
        FaultKind::Close => return Err(NoResponse::Close),
        FaultKind::Nonsense(body) => respond(200, "application/json", body.clone()),
        FaultKind::Html => respond(502, "text/html", HTML),
        FaultKind::Redirect(location) => {
            let mut response = respond(302, "text/html", "");
            set(response.headers_mut(), header::LOCATION, location);
            response
        }
        FaultKind::Endless => respond(200, "application/json", endless_body()),
        FaultKind::Truncate => map_body(correct(), truncated_body).await,
        FaultKind::Drip(pause) => map_body(correct(), |body| dripping_body(body, *pause)).await,
        _ => correct(),
    })
}

fn respond(status: u16, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Omits a header whose value is invalid; only a fault can contain one.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Replaces the body and keeps the `Content-Length` of the original.
async fn map_body(response: Response<Body>, map: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    head.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    Response::from_parts(head, map(bytes))
}

fn truncated_body(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    Body::from_stream(stream::unfold(Some(half), async |half| match half {
        Some(half) => Some((Ok(half), None)),
        None => {
            tokio::time::sleep(TRUNCATION_DELAY).await;
            Some((Err(io::Error::from(io::ErrorKind::BrokenPipe)), None))
        }
    }))
}

fn dripping_body(body: Bytes, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(rest.split_to(1)), rest))
    }))
}

/// A valid prefix of JSON that never ends.
fn endless_body() -> Body {
    const DEVICE: &str = r#"{"appId":"e","type":"iOS","suspend":false,"statusText":"Active"},"#;
    let chunk = Bytes::from(DEVICE.repeat(ENDLESS_CHUNK / DEVICE.len()));
    let start = Bytes::from_static(b"{\"devices\":[");
    Body::from_stream(stream::unfold((start, chunk), async |(next, chunk)| {
        // Without it, a fast client keeps this task busy and starves the others.
        tokio::task::yield_now().await;
        Some((Ok::<_, Infallible>(next), (chunk.clone(), chunk)))
    }))
}
