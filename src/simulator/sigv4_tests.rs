//! The vectors are from botocore 1.44.5: boto3's client `wickr` with AWS's example key pair,
//! the endpoint http://127.0.0.1:8000, the clock patched to 2024-01-20 09:15:30 UTC, and a
//! `before-send` hook that prints the request.

use http::{HeaderName, HeaderValue};

use super::super::credentials::Credential;
use super::super::options::{ACCESS_KEY, SECRET_KEY};
use super::*;

const DATE: &str = "20240120T091530Z";
const SESSION_TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//+=";
const SCOPE: &str = "AKIAIOSFODNN7EXAMPLE/20240120/us-east-1/wickr/aws4_request";

struct Vector {
    path: &'static str,
    query: &'static str,
    signed: &'static str,
    signature: &'static str,
    token: bool,
}

const PLAIN: Vector = Vector {
    path: "/networks",
    query: "",
    signed: "host;x-amz-date",
    signature: "c9c22a2b9a0fa83fc492b43a143ce24d64f75186019ba772ff31d419caeef100",
    token: false,
};
/// `nextToken` was `v1:pagination:µ+/=&% ü…*~'"`, `sortFields` was `created+appId`.
const SPECIAL_CHARACTERS: Vector = Vector {
    path: "/networks/12345678/users/1001/devices",
    query: "maxResults=100&sortFields=created%2BappId&sortDirection=ASC&nextToken=v1%3Apagination\
            %3A%C2%B5%2B%2F%3D%26%25%20%C3%BC%E2%80%A6%2A~%27%22",
    signed: "host;x-amz-date",
    signature: "da492189b5bf3c2ce55a066d45a6faf16c29ebbd63a925c4423213dfff9dd4e6",
    token: false,
};
const SESSION: Vector = Vector {
    path: "/networks/12345678/users",
    query: "username=o%27brien%40example.com&status=2",
    signed: "host;x-amz-date;x-amz-security-token",
    signature: "48bf1a8342bac672418e2249eb0b5c06533d7d1f7b36eb4d3569b9259a23eca5",
    token: true,
};
/// The network id `12 4µ/78`: encoded once in the path and twice in the canonical request.
const TWICE_ENCODED: Vector = Vector {
    path: "/networks/12%204%C2%B5%2F78/users/1001/devices",
    query: "",
    signed: "host;x-amz-date",
    signature: "577928c1805252338b87257b62aa9380a47fe26e61fd046c90a8cc3b6378bdca",
    token: false,
};

impl Vector {
    fn headers(&self) -> HeaderMap {
        let authorization = format!(
            "{ALGORITHM} Credential={SCOPE}, SignedHeaders={}, Signature={}",
            self.signed, self.signature
        );
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        };
        set("host", "127.0.0.1:8000");
        set("x-amz-date", DATE);
        set("authorization", &authorization);
        if self.token {
            set("x-amz-security-token", SESSION_TOKEN);
        }
        headers
    }
}

struct Service {
    credentials: Credentials,
    clock_error: ClockError,
    now: &'static str,
}

impl Service {
    fn new(vector: &Vector) -> Self {
        let credential = Credential::new(ACCESS_KEY, SECRET_KEY);
        let credential =
            if vector.token { credential.session_token(SESSION_TOKEN) } else { credential };
        let credentials = Credentials::new(&[credential]);
        Self { credentials, clock_error: ClockError::default(), now: "2024-01-20T09:15:30Z" }
    }

    fn verify(&self, path: &str, query: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        let verifier = Verifier {
            credentials: &self.credentials,
            region: "us-east-1",
            clock_error: self.clock_error,
            now: self.now.parse().unwrap(),
        };
        verifier.verify(Request { path, query, headers }).map(drop)
    }
}

fn verify(vector: &Vector) -> Result<(), ApiError> {
    Service::new(vector).verify(vector.path, vector.query, &vector.headers())
}

/// Asserts that the message contains this text. Returns the status and name of the error.
#[track_caller]
fn refusal(result: Result<(), ApiError>, message: &str) -> String {
    let error = result.unwrap_err();
    let text = error.body["message"].as_str().unwrap();
    assert!(text.contains(message), "{text}");
    format!("{} {}", error.status, error.kind)
}

#[test]
fn accepts_signatures_of_botocore() {
    for vector in [PLAIN, SPECIAL_CHARACTERS, SESSION, TWICE_ENCODED] {
        verify(&vector).unwrap_or_else(|error| panic!("{}: {error:?}", vector.path));
    }
}

#[test]
fn rejects_changes_to_signed_parts() {
    let service = Service::new(&SPECIAL_CHARACTERS);
    let headers = SPECIAL_CHARACTERS.headers();
    let mut other_host = headers.clone();
    other_host.insert("host", HeaderValue::from_static("127.0.0.1:8001"));
    let mut other_signature = headers.clone();
    let last =
        SPECIAL_CHARACTERS.headers()["authorization"].to_str().unwrap().replace("dd4e6", "dd4e7");
    other_signature.insert("authorization", HeaderValue::from_str(&last).unwrap());
    let fewer = SPECIAL_CHARACTERS.query.replace("maxResults=100&", "");
    let path = SPECIAL_CHARACTERS.path;
    for (path, query, headers) in [
        (path, fewer.as_str(), &headers),
        ("/networks/12345678/users/1002/devices", SPECIAL_CHARACTERS.query, &headers),
        (path, SPECIAL_CHARACTERS.query, &other_host),
        (path, SPECIAL_CHARACTERS.query, &other_signature),
    ] {
        let error = refusal(service.verify(path, query, headers), "we calculated does not match");
        assert_eq!(error, "403 InvalidSignatureException");
    }
}

#[test]
fn accepts_query_parameters_in_any_order() {
    let mut pairs: Vec<&str> = SPECIAL_CHARACTERS.query.split('&').collect();
    pairs.reverse();
    Service::new(&SPECIAL_CHARACTERS)
        .verify(SPECIAL_CHARACTERS.path, &pairs.join("&"), &SPECIAL_CHARACTERS.headers())
        .unwrap();
}

#[test]
fn names_unencoded_characters_of_the_query() {
    let service = Service::new(&SPECIAL_CHARACTERS);
    for (encoded, raw, named) in
        [("%2A", "*", "a raw '*'"), ("%20", "+", "a raw '+'"), ("%3A", ":", "a raw ':'")]
    {
        let query = SPECIAL_CHARACTERS.query.replace(encoded, raw);
        let error = refusal(
            service.verify(SPECIAL_CHARACTERS.path, &query, &SPECIAL_CHARACTERS.headers()),
            named,
        );
        assert_eq!(error, "403 InvalidSignatureException");
    }
}

#[test]
fn accepts_a_clock_skew_of_five_minutes() {
    let at = |now, clock_error| {
        let service = Service { now, clock_error, ..Service::new(&PLAIN) };
        service.verify(PLAIN.path, PLAIN.query, &PLAIN.headers())
    };
    let default = ClockError::InvalidSignature;
    at("2024-01-20T09:10:30Z", default).unwrap();
    at("2024-01-20T09:20:30Z", default).unwrap();
    let expired = "Signature expired: 20240120T091530Z is now earlier than 20240120T091531Z \
                   (20240120T092031Z - 5 min.)";
    let error = refusal(at("2024-01-20T09:20:31Z", default), expired);
    assert_eq!(error, "403 InvalidSignatureException");
    refusal(
        at("2024-01-20T09:10:29Z", default),
        "Signature not yet current: 20240120T091530Z is still later than 20240120T091529Z \
         (20240120T091029Z + 5 min.)",
    );
    let skewed = at("2024-01-20T10:00:00Z", ClockError::RequestTimeTooSkewed);
    assert_eq!(refusal(skewed, "too large"), "403 RequestTimeTooSkewed");
}

#[test]
fn credentials_can_be_expired_replaced_and_revoked() {
    let service = Service::new(&PLAIN);
    let run = || service.verify(PLAIN.path, PLAIN.query, &PLAIN.headers());
    run().unwrap();
    assert!(service.credentials.expire(ACCESS_KEY));
    assert_eq!(refusal(run(), "is expired"), "403 ExpiredTokenException");
    assert!(service.credentials.refuse(ACCESS_KEY, Refusal::Unauthorized));
    assert_eq!(refusal(run(), "Unauthorized"), "401 UnauthorizedError");
    service.credentials.add(Credential::new(ACCESS_KEY, "another"));
    assert_eq!(refusal(run(), "does not match"), "403 InvalidSignatureException");
    service.credentials.add(Credential::new(ACCESS_KEY, SECRET_KEY));
    run().unwrap();
    assert!(service.credentials.revoke(ACCESS_KEY));
    let invalid = "The security token included in the request is invalid.";
    assert_eq!(refusal(run(), invalid), "403 UnrecognizedClientException");
    assert!(!service.credentials.revoke(ACCESS_KEY) && !service.credentials.expire(ACCESS_KEY));
}

#[test]
fn session_tokens_must_be_valid_and_signed() {
    let service = Service::new(&SESSION);
    let run = |headers: &HeaderMap| service.verify(SESSION.path, SESSION.query, headers);
    let mut headers = SESSION.headers();
    headers.insert("x-amz-security-token", HeaderValue::from_static("another"));
    assert_eq!(refusal(run(&headers), "is invalid"), "403 UnrecognizedClientException");
    headers.remove("x-amz-security-token");
    assert_eq!(refusal(run(&headers), "is invalid"), "403 UnrecognizedClientException");
    let unsigned = Vector { signed: "host;x-amz-date", ..SESSION };
    let error = refusal(verify(&unsigned), "'x-amz-security-token' must be a 'SignedHeader'");
    assert_eq!(error, "403 InvalidSignatureException");
}

#[test]
fn explains_missing_and_malformed_authorization() {
    let service = Service::new(&PLAIN);
    let with = |authorization: Option<String>| {
        let mut headers = PLAIN.headers();
        headers.remove("authorization");
        if let Some(text) = authorization {
            headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        }
        service.verify(PLAIN.path, PLAIN.query, &headers)
    };
    let missing = refusal(with(None), "Missing Authentication Token");
    assert_eq!(missing, "403 MissingAuthenticationTokenException");
    let valid = PLAIN.headers()["authorization"].to_str().unwrap().to_owned();
    for (from, to, message) in [
        ("AWS4-HMAC-SHA256", "Bearer", "must begin with AWS4-HMAC-SHA256"),
        ("Signature=", "Sig=", "requires 'Signature' parameter"),
        ("/aws4_request", "", "5 slash-delimited"),
        ("aws4_request", "aws3", "valid terminator"),
        ("/wickr/", "/s3/", "correct service: 'wickr'"),
        ("us-east-1", "eu-west-1", "valid region"),
        ("/20240120/", "/20240121/", "does not match YYYYMMDD"),
        ("host;x-amz-date", "x-amz-date", "'host' must be"),
        ("host;x-amz-date", "host", "'x-amz-date' must be"),
        ("host;x-amz-date", "x-amz-date;host", "sorted"),
        ("host;x-amz-date", "Host;x-amz-date", "lowercase"),
        ("host;x-amz-date", "host;x-absent;x-amz-date", "'x-absent' is not in the request"),
    ] {
        refusal(with(Some(valid.replace(from, to))), message);
    }
}

/// Signs a request for the tests over HTTP, with the functions that the vectors above verify.
pub(in crate::simulator) fn authorize(
    path: &str,
    query: &str,
    headers: &HeaderMap,
    credential: &Credential,
) -> String {
    let time = header(headers, "x-amz-date").unwrap();
    let date = &time[..8];
    let access_key = &credential.access_key;
    let scope = format!("{date}/us-east-1/wickr/aws4_request");
    let token =
        if headers.contains_key("x-amz-security-token") { ";x-amz-security-token" } else { "" };
    let start = format!(
        "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders=host;x-amz-date{token}, Signature="
    );
    let canonical =
        canonical_request(Request { path, query, headers }, &parse_authorization(&start).unwrap());
    let hash = to_hex(&Sha256::digest(canonical.unwrap_or_default()));
    let credentials = Credentials::new(std::slice::from_ref(credential));
    let key = signing_key(&credentials.find(access_key).unwrap(), date, "us-east-1");
    format!(
        "{start}{}",
        to_hex(&sign(&key, format!("{ALGORITHM}\n{time}\n{scope}\n{hash}").as_bytes()))
    )
}
