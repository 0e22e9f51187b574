//! Verification of AWS Signature Version 4, implemented from AWS's description of the algorithm
//! and independent of the client.
//!
//! Unlike AWS, the error for a query character that RFC 3986 requires to be encoded names the
//! character; the service only reports that the signatures differ.

use std::sync::{Arc, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::credentials::{Credentials, Entry, Refusal};
use super::encoding::{decode_strict, encode, from_hex, to_hex};
use super::errors::ApiError;
use super::options::ClockError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "wickr";
/// The clock skew that AWS accepts.
const WINDOW_SECONDS: i64 = 5 * 60;

/// The signed parts of a GET request, still encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
}

#[derive(Clone, Copy)]
pub(super) struct Verifier<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) region: &'a str,
    pub(super) clock_error: ClockError,
    pub(super) now: Timestamp,
}

/// The parts of the header `Authorization`.
#[derive(Debug)]
struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl Verifier<'_> {
    /// Returns the credential that signed the request.
    pub(super) fn verify(&self, request: Request<'_>) -> Result<Arc<Entry>, ApiError> {
        let authorization = header(request.headers, "authorization")
            .ok_or_else(ApiError::missing_authentication)?;
        let authorization = parse_authorization(authorization)?;
        let time = header(request.headers, "x-amz-date").ok_or_else(|| {
            ApiError::incomplete_signature("The request has no header 'X-Amz-Date'.")
        })?;
        self.check_scope(&authorization, time)?;
        check_signed_headers(&authorization, request.headers)?;
        let entry =
            self.credentials.find(authorization.access_key).ok_or_else(ApiError::unknown_client)?;
        if header(request.headers, "x-amz-security-token")
            != entry.credential.session_token.as_deref()
        {
            return Err(ApiError::unknown_client());
        }
        match entry.refusal {
            Some(Refusal::ExpiredToken) => return Err(ApiError::expired_token()),
            Some(Refusal::Unauthorized) => return Err(ApiError::unauthorized()),
            None => {}
        }
        self.check_clock(time)?;
        let canonical = canonical_request(request, &authorization)?;
        let scope = format!("{}/{}/{SERVICE}/aws4_request", authorization.date, self.region);
        let hash = to_hex(&Sha256::digest(canonical));
        let string_to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");
        let key = signing_key(&entry, authorization.date, self.region);
        let signature = from_hex(authorization.signature).unwrap_or_default();
        // `verify_slice` compares in constant time.
        mac(&key, string_to_sign.as_bytes()).verify_slice(&signature).map_err(|_| {
            ApiError::invalid_signature(
                "The request signature we calculated does not match the signature you \
                 provided. Check your AWS Secret Access Key and signing method. Consult the \
                 service documentation for details.",
            )
        })?;
        Ok(entry)
    }

    fn check_scope(&self, authorization: &Authorization<'_>, time: &str) -> Result<(), ApiError> {
        let message = if authorization.terminator != "aws4_request" {
            "Credential should be scoped with a valid terminator: 'aws4_request'.".to_owned()
        } else if authorization.service != SERVICE {
            format!("Credential should be scoped to correct service: '{SERVICE}'.")
        } else if authorization.region != self.region {
            "Credential should be scoped to a valid region.".to_owned()
        } else if time.get(..8) != Some(authorization.date) {
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
             from HTTP."
                .to_owned()
        } else {
            return Ok(());
        };
        Err(ApiError::invalid_signature(message))
    }

    fn check_clock(&self, time: &str) -> Result<(), ApiError> {
        let at = parse_time(time).ok_or_else(|| {
            ApiError::incomplete_signature(
                "Date must be in ISO-8601 'basic format', like 20240120T091530Z.",
            )
        })?;
        let (at, now) = (at.as_second(), self.now.as_second());
        if (at - now).abs() <= WINDOW_SECONDS {
            return Ok(());
        }
        if self.clock_error == ClockError::RequestTimeTooSkewed {
            return Err(ApiError::new(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ));
        }
        let formatted = basic_time(now);
        Err(ApiError::invalid_signature(if at < now {
            let limit = basic_time(now - WINDOW_SECONDS);
            format!("Signature expired: {time} is now earlier than {limit} ({formatted} - 5 min.)")
        } else {
            let limit = basic_time(now + WINDOW_SECONDS);
            format!(
                "Signature not yet current: {time} is still later than {limit} ({formatted} + 5 min.)"
            )
        }))
    }
}

fn parse_authorization(text: &str) -> Result<Authorization<'_>, ApiError> {
    let rest = text.strip_prefix(ALGORITHM).ok_or_else(|| {
        ApiError::incomplete_signature(format!("Authorization must begin with {ALGORITHM}."))
    })?;
    let part = |name: &str| {
        rest.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| {
                ApiError::incomplete_signature(format!(
                    "Authorization header requires '{name}' parameter."
                ))
            })
    };
    let credential = part("Credential")?;
    let mut scope = credential.splitn(5, '/');
    let mut next = || {
        scope.next().ok_or_else(|| {
            ApiError::incomplete_signature(
                "Credential must have exactly 5 slash-delimited elements.",
            )
        })
    };
    Ok(Authorization {
        access_key: next()?,
        date: next()?,
        region: next()?,
        service: next()?,
        terminator: next()?,
        signed_headers: part("SignedHeaders")?,
        signature: part("Signature")?,
    })
}

/// The names must be lowercase, sorted and unique, and include all that AWS requires.
fn check_signed_headers(
    authorization: &Authorization<'_>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let names: Vec<&str> = authorization.signed_headers.split(';').collect();
    let in_order = names.is_sorted_by(|a, b| a < b);
    if !in_order || authorization.signed_headers.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ApiError::incomplete_signature(
            "SignedHeaders must be lowercase, sorted and each named once.",
        ));
    }
    let optional = ["x-amz-content-sha256", "x-amz-security-token"];
    let required = ["host", "x-amz-date"]
        .into_iter()
        .chain(optional.into_iter().filter(|name| headers.contains_key(*name)));
    for name in required {
        if !names.contains(&name) {
            return Err(ApiError::invalid_signature(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    Ok(())
}

fn canonical_request(
    request: Request<'_>,
    authorization: &Authorization<'_>,
) -> Result<String, ApiError> {
    let mut canonical = String::with_capacity(512);
    canonical.push_str("GET\n");
    // For every service but S3, the encoded path is encoded again.
    let segments = request.path.split('/').map(|segment| encode(segment.as_bytes()));
    canonical.push_str(&segments.collect::<Vec<_>>().join("/"));
    canonical.push('\n');
    canonical.push_str(&canonical_query(request.query)?);
    canonical.push('\n');
    for name in authorization.signed_headers.split(';') {
        let values = request.headers.get_all(name).iter().map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        });
        let values = values.collect::<Vec<_>>();
        if values.is_empty() {
            return Err(ApiError::invalid_signature(format!(
                "The signed header '{name}' is not in the request."
            )));
        }
        canonical.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    canonical.push('\n');
    canonical.push_str(authorization.signed_headers);
    canonical.push('\n');
    canonical.push_str(&to_hex(&Sha256::digest(b"")));
    let declared = header(request.headers, "x-amz-content-sha256");
    if declared.is_some_and(|hash| !canonical.ends_with(hash)) {
        return Err(ApiError::invalid_signature(
            "The value of 'x-amz-content-sha256' is not the hash of the empty body.",
        ));
    }
    Ok(canonical)
}

fn canonical_query(raw: &str) -> Result<String, ApiError> {
    let mut pairs = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let canonical = |part| {
            decode_strict(part).map(|bytes| encode(&bytes)).map_err(|what| {
                ApiError::invalid_signature(format!(
                    "The query is not encoded by RFC 3986: it contains {what}."
                ))
            })
        };
        pairs.push((canonical(name)?, canonical(value)?));
    }
    pairs.sort();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(pairs.join("&"))
}

/// Cached for each day and credential: it is four of the five hashes of a verification.
fn signing_key(entry: &Entry, date: &str, region: &str) -> [u8; 32] {
    let mut cached = entry.signing_key.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, key)) = cached.as_ref().filter(|(day, _)| day == date) {
        return *key;
    }
    let secret = format!("AWS4{}", entry.credential.secret);
    let key = [date, region, SERVICE, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| sign(&key, part.as_bytes()).to_vec());
    let key: [u8; 32] = key.try_into().unwrap_or_default();
    *cached = Some((date.to_owned(), key));
    key
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    // Infallible: HMAC accepts keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    mac.update(text);
    mac
}

/// HMAC-SHA256.
pub(super) fn sign(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac(key, text).finalize().into_bytes().into()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `20240120T091530Z`
fn parse_time(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    (text.len() == 16).then_some(())?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

fn basic_time(second: i64) -> String {
    Timestamp::from_second(second)
        .map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
pub(super) mod tests;
