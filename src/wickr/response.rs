//! Classifies error responses.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Error, ErrorKind, Operation, transport::Response};
use crate::clock::TOLERANCE;

/// Returns the error of a response whose status is not 2xx, to a request with a signature of `signed`.
/// The error does not contain the credentials or the page token of the request.
pub fn classify(
    operation: Operation,
    response: &Response,
    credentials: &Credentials,
    token: Option<&str>,
    signed: SystemTime,
) -> Error {
    let body: Option<Value> =
        serde_json::from_slice(&response.body).ok().filter(|body: &Value| body.is_object());
    let code = code(&response.headers, body.as_ref());
    let message = message(body.as_ref());
    let kind = match kind(response.status, code.as_deref()) {
        // The response for an unknown user in the service model's example.
        ErrorKind::InvalidRequest | ErrorKind::InvalidResponse
            if operation == Operation::ListDevicesForUser && is_invalid_user(&message) =>
        {
            ErrorKind::NotFound
        }
        kind => kind,
    };
    let secrets = [
        Some(credentials.secret_access_key()),
        credentials.session_token(),
        Some(credentials.access_key_id()),
        token,
    ];
    let message = match redact(&message, &secrets) {
        message if message.is_empty() => {
            response.status.canonical_reason().unwrap_or("unknown status").to_owned()
        }
        message => message,
    };
    Error {
        status: Some(response.status.as_u16()),
        clock_ahead: clock_ahead(kind, code.as_deref(), &response.headers, signed),
        retry_after: retry_after(&response.headers, signed),
        code: code.filter(|code| !contains_secret(code, &secrets)),
        ..Error::new(operation, kind, message)
    }
}

/// The error name, without the namespace and URL of `aws.wickr#RateLimitError:http://…`.
fn code(headers: &HeaderMap, body: Option<&Value>) -> Option<String> {
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let field = || {
        let body = body?;
        ["__type", "code", "Code"].iter().find_map(|field| body.get(field)?.as_str())
    };
    let name = header.filter(|name| !name.is_empty()).or_else(field)?;
    let name = name.split(':').next()?.rsplit('#').next()?.trim();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    ((1..=64).contains(&name.len()) && name.bytes().all(is_name)).then(|| name.to_owned())
}

/// The message, followed by the reasons of a ValidationError.
fn message(body: Option<&Value>) -> String {
    let Some(body) = body else { return String::new() };
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let mut message = text("message").or_else(|| text("Message")).unwrap_or_default().to_owned();
    for reason in body.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        let part = |field: &str| reason.get(field).and_then(Value::as_str).unwrap_or("?");
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&format!("{}: {}", part("field"), part("reason")));
    }
    message
}

/// The name takes precedence, because AWS sends some names with several statuses.
fn kind(status: StatusCode, code: Option<&str>) -> ErrorKind {
    if let Some(kind) = code.and_then(kind_of_code) {
        return kind;
    }
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        // Gateways and proxies send a 404 without an error name. It must not drop a user's data.
        404 if code.is_none() => ErrorKind::InvalidResponse,
        408 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::InvalidRequest,
        500..=599 => ErrorKind::ServerError,
        _ => ErrorKind::InvalidResponse,
    }
}

#[rustfmt::skip]
fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "ResourceNotFoundError" => ErrorKind::NotFound,
        "ForbiddenError" | "AccessDeniedException" | "AccessDenied" => ErrorKind::Forbidden,
        "UnauthorizedError" | "ExpiredToken" | "ExpiredTokenException" | "IncompleteSignature"
        | "IncompleteSignatureException" | "InvalidClientTokenId" | "InvalidSignatureException"
        | "MissingAuthenticationToken" | "MissingAuthenticationTokenException" | "NotAuthorized"
        | "OptInRequired" | "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch" | "UnrecognizedClientException" => ErrorKind::Unauthorized,
        "RateLimitError" | "BandwidthLimitExceeded" | "LimitExceededException" | "SlowDown"
        | "RequestLimitExceeded" | "RequestThrottled" | "RequestThrottledException" | "Throttling"
        | "ThrottlingException" | "ThrottledException" | "TooManyRequestsException"
            => ErrorKind::RateLimited,
        "BadRequestError" | "ValidationError" | "ValidationException" => ErrorKind::InvalidRequest,
        "InternalServerError" | "InternalFailure" | "InternalServerException"
        | "ServiceUnavailable" | "ServiceUnavailableException" => ErrorKind::ServerError,
        "RequestTimeout" | "RequestTimeoutException" => ErrorKind::Timeout,
        _ => return None,
    })
}

fn is_invalid_user(message: &str) -> bool {
    message.trim().trim_end_matches('.').eq_ignore_ascii_case("invalid userid")
}

/// Seconds by which the server's clock is ahead of the signature's time, if that can be the cause of the
/// error.
fn clock_ahead(
    kind: ErrorKind,
    code: Option<&str>,
    headers: &HeaderMap,
    signed: SystemTime,
) -> Option<i64> {
    let is_clock_error = matches!(
        code,
        Some(
            "RequestTimeTooSkewed"
                | "RequestExpired"
                | "RequestInTheFuture"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
        )
    );
    if kind != ErrorKind::Unauthorized || !is_clock_error {
        return None;
    }
    let server = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    seconds_between(signed, server).filter(|ahead| ahead.abs() > TOLERANCE / 1000)
}

fn seconds_between(from: SystemTime, to: SystemTime) -> Option<i64> {
    match to.duration_since(from) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok(),
        Err(behind) => i64::try_from(behind.duration().as_secs()).ok().map(|seconds| -seconds),
    }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // The date is by the server's clock.
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let from = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    httpdate::parse_http_date(text).ok()?.duration_since(from).ok()
}

/// Removes the canonical request from messages of signature errors, because it contains the session
/// token. Replaces a message that contains a secret elsewhere.
fn redact(message: &str, secrets: &[Option<&str>]) -> String {
    const ECHOES: [&str; 4] = [
        "The Canonical String",
        "The String-to-Sign",
        "Canonical String for this request",
        "AWS4-HMAC-SHA256",
    ];
    let end = ECHOES.iter().filter_map(|echo| message.find(echo)).min().unwrap_or(message.len());
    let message = message[..end].trim_end();
    if contains_secret(message, secrets) {
        return "(message hidden: it contains a secret)".into();
    }
    message.to_owned()
}

/// Whether a text contains a secret, in any case, with separators, or percent-encoded.
fn contains_secret(text: &str, secrets: &[Option<&str>]) -> bool {
    let normalize = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let texts = [normalize(text), normalize(&percent_decode_str(text).decode_utf8_lossy())];
    secrets
        .iter()
        .flatten()
        .map(|secret| normalize(secret))
        // Shorter tokens occur in any text.
        .filter(|secret| secret.len() >= 6)
        .any(|secret| texts.iter().any(|text| text.contains(&secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, headers: &[(&str, &str)], body: &str) -> Error {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.to_owned().into(),
        };
        let credentials =
            Credentials::new("AKIDEXAMPLE", "s3cr3t/+x", Some("t0k3n=/x".into()), None, "test");
        // 2026-01-01T00:00:00Z
        let signed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        classify(Operation::ListDevicesForUser, &response, &credentials, Some("v1:p4g3"), signed)
    }

    #[test]
    fn classifies_by_error_name_before_status() {
        use ErrorKind::*;
        for (names, kind) in [
            (&["ResourceNotFoundError"][..], NotFound),
            (&["ForbiddenError", "AccessDeniedException", "AccessDenied"], Forbidden),
            (&["UnauthorizedError", "ExpiredTokenException", "RequestExpired"], Unauthorized),
            (&["InvalidSignatureException", "SignatureDoesNotMatch"], Unauthorized),
            (&["UnrecognizedClientException", "RequestTimeTooSkewed"], Unauthorized),
            (&["RateLimitError", "Throttling", "ThrottlingException"], RateLimited),
            (&["SlowDown", "LimitExceededException"], RateLimited),
            (&["BadRequestError", "ValidationError", "ValidationException"], InvalidRequest),
            (&["InternalServerError", "InternalFailure", "ServiceUnavailable"], ServerError),
            (&["RequestTimeout", "RequestTimeoutException"], Timeout),
        ] {
            for name in names {
                for status in [302, 400, 403, 418, 503] {
                    assert_eq!(classify_name(status, name), kind, "{status} {name}");
                }
            }
        }
        for (status, name, kind) in [
            (404, "UnknownOperationException", InvalidRequest),
            (418, "Some_Error.v2", InvalidRequest),
            (599, "OddError", ServerError),
        ] {
            assert_eq!(classify_name(status, name), kind, "{status} {name}");
        }
    }

    /// The kind of an error with its name in each of the possible places.
    fn classify_name(status: u16, name: &str) -> ErrorKind {
        let decorated = format!("{name}:http://internal.amazon.com/x/");
        let errors = [
            parse(status, &[("x-amzn-errortype", name)], "{}"),
            parse(status, &[("x-amzn-errortype", &decorated)], ""),
            parse(status, &[], &format!(r#"{{"__type": "com.amazonaws.wickr#{name}"}}"#)),
            parse(status, &[], &format!(r#"{{"code": "{name}"}}"#)),
        ];
        for error in &errors {
            assert_eq!((error.kind, error.code.as_deref()), (errors[0].kind, Some(name)));
        }
        errors[0].kind
    }

    #[test]
    fn classifies_by_status_without_an_error_name() {
        use ErrorKind::*;
        for (status, body, kind) in [
            (401, "", Unauthorized),
            (403, "<html>", Forbidden),
            (404, r#"{"message": "Not Found"}"#, InvalidResponse),
            (404, r#"{"message": "Invalid userId."}"#, NotFound),
            (404, "<html>not here</html>", InvalidResponse),
            (429, "", RateLimited),
            (408, "", Timeout),
            (502, "<html>", ServerError),
            (302, "", InvalidResponse),
            (400, "[]", InvalidRequest),
        ] {
            assert_eq!(parse(status, &[], body).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn an_invalid_user_id_is_an_unknown_user() {
        let headers = [("x-amzn-errortype", "BadRequestError")];
        let error = parse(400, &headers, r#"{"message": "Invalid userId."}"#);
        assert_eq!(error.kind, ErrorKind::NotFound);
        let error = parse(400, &headers, r#"{"message": "Invalid nextToken."}"#);
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert_eq!(
            error.to_string(),
            "ListDevicesForUser: 400 BadRequestError: Invalid nextToken."
        );
    }

    #[test]
    fn messages_do_not_contain_secrets() {
        let body =
            r#"{"Message": "bad", "reasons": [{"field": "maxResults", "reason": "too\nlarge"}]}"#;
        assert_eq!(parse(422, &[], body).message, "bad; maxResults: too large");
        let body = r#"{"message": "The signature does not match. The Canonical String for this request should have been 'x-amz-security-token:t0k3n'"}"#;
        assert_eq!(parse(403, &[], body).message, "The signature does not match.");
        let body = r#"{"message": "no: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/x, Signature=abc"}"#;
        assert_eq!(parse(403, &[], body).message, "no:");
        for echo in
            ["s3cr3t/+x", "S3CR3T/+X", "a t0k3n%3D%2Fx b", "s3c\\nr3t/+x", "AKIDEXAMPLE", "v1:p4g3"]
        {
            let body = format!(r#"{{"message": "got {echo}?"}}"#);
            let error = parse(400, &[], &body);
            assert_eq!(error.message, "(message hidden: it contains a secret)", "{echo}");
        }
        for code in ["AKIDEXAMPLE", "t0k3n=/x", "a b", "x\u{e9}", ""] {
            let error = parse(422, &[], &format!(r#"{{"__type": "a#{code}", "message": "m"}}"#));
            assert_eq!((error.code, error.kind), (None, ErrorKind::InvalidRequest), "{code}");
        }
        assert_eq!(parse(500, &[], "").message, "Internal Server Error");
        let long = format!(r#"{{"message": "{}"}}"#, "x".repeat(9999));
        assert!(parse(500, &[], &long).message.len() < 400);
    }

    #[test]
    fn measures_clock_differences_above_four_minutes() {
        let ahead = |name, date| {
            let headers = [("x-amzn-errortype", name), ("date", date)];
            parse(403, &headers, "{}").clock_ahead
        };
        for (name, date, expected) in [
            ("RequestTimeTooSkewed", "Thu, 01 Jan 2026 00:10:00 GMT", Some(600)),
            ("RequestTimeTooSkewed", "Wed, 31 Dec 2025 23:00:00 GMT", Some(-3600)),
            ("RequestTimeTooSkewed", "yesterday", None),
            ("InvalidSignatureException", "Thu, 01 Jan 2026 00:10:00 GMT", Some(600)),
            ("ExpiredTokenException", "Thu, 01 Jan 2026 00:10:00 GMT", None),
            ("RequestExpired", "Thu, 01 Jan 2026 00:04:00 GMT", None),
            ("RequestExpired", "Thu, 01 Jan 2026 00:04:01 GMT", Some(241)),
            ("RequestExpired", "Wed, 31 Dec 2025 23:55:59 GMT", Some(-241)),
        ] {
            assert_eq!(ahead(name, date), expected, "{name} {date}");
        }
    }

    #[test]
    fn parses_retry_after_as_seconds_and_as_date() {
        let wait = |headers: &[(&str, &str)]| parse(429, headers, "").retry_after;
        let date = "Thu, 01 Jan 2026 00:00:30 GMT";
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", date)]), Some(Duration::from_secs(30)));
        let server = ("date", "Thu, 01 Jan 2026 00:00:20 GMT");
        assert_eq!(wait(&[("retry-after", date), server]), Some(Duration::from_secs(10)));
        for bad in ["soon", "-1", "1.5", ""] {
            assert_eq!(wait(&[("retry-after", bad)]), None, "{bad}");
        }
    }
}
