//! AWS Signature Version 4, by aws-sigv4.
//!
//! The library derives the key anew for each request. Here it is derived once a day, and requests as
//! the client writes them are put into canonical form without taking them apart first; whatever
//! looks unusual is left to the library whole.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::operation::encode;

/// The name that the service's signatures are bound to.
const SERVICE: &str = "wickr";
/// The SHA-256 of nothing: a GET has no body.
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs requests to the service in one region.
pub struct Signer {
    region: String,
    /// The key that signed last.
    key: ArcSwapOption<Key>,
}

/// A signing key: it holds for a day, and for whose it is.
struct Key {
    of: Credentials,
    /// As `YYYYMMDD`.
    day: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer.
    pub fn new(region: String) -> Signer {
        Signer { region, key: ArcSwapOption::empty() }
    }

    /// The headers that sign a GET of `url` (already encoded) at `time`.
    ///
    /// # Errors
    ///
    /// A sentence, when something cannot be a header or an address.
    pub fn headers(
        &self,
        url: &str,
        host: &str,
        credentials: &Credentials,
        time: SystemTime,
    ) -> Result<HeaderMap, String> {
        match plain(url, host) {
            Some((path, query)) => self.signed(path, query, host, credentials, time),
            None => by_the_library(url, host, &self.region, credentials, time),
        }
    }

    fn signed(
        &self,
        path: &str,
        query: &str,
        host: &str,
        credentials: &Credentials,
        time: SystemTime,
    ) -> Result<HeaderMap, String> {
        let utc = Timestamp::try_from(time).map_err(|error| error.to_string())?;
        let utc = TimeZone::UTC.to_datetime(utc);
        let day = format!("{:04}{:02}{:02}", utc.year(), utc.month(), utc.day());
        let time_of_day = format!("{:02}{:02}{:02}", utc.hour(), utc.minute(), utc.second());
        let moment = format!("{day}T{time_of_day}Z");
        let region = &self.region;
        let token = credentials.session_token();

        let mut request = String::with_capacity(512);
        request.extend(["GET\n", path, "\n"]);
        let mut parameters: Vec<&str> = query.split('&').collect();
        // By name first: `=` is no character of it.
        parameters.sort_unstable_by_key(|parameter| parameter.split_once('='));
        for (place, parameter) in parameters.into_iter().enumerate() {
            request.extend([if place == 0 { "" } else { "&" }, parameter]);
        }
        request.extend(["\nhost:", host, "\nx-amz-date:", &moment]);
        let names = match token {
            Some(token) => {
                request.extend(["\nx-amz-security-token:", token]);
                "host;x-amz-date;x-amz-security-token"
            }
            None => "host;x-amz-date",
        };
        request.extend(["\n\n", names, "\n", NO_BODY]);

        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
        let mut to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n");
        for byte in Sha256::digest(&request) {
            // Writing to a String cannot fail.
            let _ = write!(to_sign, "{byte:02x}");
        }
        let key = self.key(credentials, day, time);
        let signature = v4::calculate_signature(&key.bytes, to_sign.as_bytes());
        let id = credentials.access_key_id();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );

        let mut signed = HeaderMap::with_capacity(4);
        signed.insert("x-amz-date", value(&moment)?);
        signed.insert(header::AUTHORIZATION, value(&authorization)?);
        if let Some(token) = token {
            signed.insert("x-amz-security-token", value(token)?);
        }
        Ok(signed)
    }

    /// The key of a day.
    fn key(&self, credentials: &Credentials, day: String, time: SystemTime) -> Arc<Key> {
        if let Some(key) = &*self.key.load()
            && key.day == day
            && key.of == *credentials
        {
            return key.clone();
        }
        let secret = credentials.secret_access_key();
        let bytes = v4::generate_signing_key(secret, time, &self.region, SERVICE);
        let key = Arc::new(Key { of: credentials.clone(), day, bytes: bytes.as_ref().to_vec() });
        self.key.store(Some(key.clone()));
        key
    }
}

/// The path and the query of an address that needs nothing done to be in canonical form but to have
/// its parameters put in order: no encoded path, which would have to be encoded again, nothing to
/// be normalized in it, and each parameter with a value.
fn plain<'a>(url: &'a str, host: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = url.split_once("://")?;
    let (path, query) = rest.strip_prefix(host)?.split_once('?')?;
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let segments = path.strip_prefix('/')?.split('/');
    let plain_path = segments.into_iter().all(|s| !s.is_empty() && s.bytes().all(unreserved));
    let plain_query = query.split('&').all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        // Encoded as it would be anew.
        let canonical = percent_decode_str(value)
            .decode_utf8()
            .is_ok_and(|text| encode(&text).flat_map(str::bytes).eq(value.bytes()));
        !name.is_empty() && name.bytes().all(unreserved) && canonical
    });
    (plain_path && plain_query).then_some((path, query))
}

/// A header's value that no log may show.
fn value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| "the credentials hold a character that no header can".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn by_the_library(
    url: &str,
    host: &str,
    region: &str,
    credentials: &Credentials,
    time: SystemTime,
) -> Result<HeaderMap, String> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let headers = [("host", host)].into_iter();
    let request = SignableRequest::new("GET", url, headers, SignableBody::Bytes(b""))
        .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &params).map_err(|error| error.to_string())?.into_parts();
    let mut signed = HeaderMap::with_capacity(4);
    for (name, text) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        signed.insert(name, value(text)?);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn whose(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    }

    /// Worked out by botocore 1.44.5's `SigV4Auth` for these addresses, with the credentials below
    /// and its clock at 2026-01-02T03:04:05Z.
    #[test]
    fn signatures_are_those_that_botocore_works_out() {
        const DEVICES: &str = "https://admin.wickr.us-east-1.amazonaws.com/networks/12345678/users/1001/devices?maxResults=100&sortDirection=ASC&sortFields=created";
        let with_token = format!("{DEVICES}&nextToken=v1%3Aa%2Bb%2Fc%3D%26%25%20%C3%A9%2A~-._%27");
        let session = "FwoGZXIvYXdzEXAMPLE//+token=";
        for (url, host, token, signature) in [
            (
                DEVICES,
                "admin.wickr.us-east-1.amazonaws.com",
                None,
                "03790da428521a799da88b1a318f9ea38a53b4c7e32e2ac62dc38687fe57db6a",
            ),
            (
                &with_token,
                "admin.wickr.us-east-1.amazonaws.com",
                None,
                "2effca5d9d5ed99bcfffb721ad8d0c8a1a200e4c0485a76850fb131511d363e6",
            ),
            (
                "http://127.0.0.1:8080/base/networks?maxResults=100",
                "127.0.0.1:8080",
                Some(session),
                "c8c40d6ed8aa7cf39a33ed2ce4b4560bd616e127c2a90221f53c59c431eeea09",
            ),
        ] {
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let credentials = whose("AKIDEXAMPLE", secret, token);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
            let headers =
                Signer::new("us-east-1".into()).headers(url, host, &credentials, time).unwrap();
            assert_eq!(headers["x-amz-date"], "20260102T030405Z");
            assert_eq!(headers.get("x-amz-security-token").map(|t| t.to_str().unwrap()), token);
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
            assert!(headers.values().all(HeaderValue::is_sensitive));
        }
    }

    #[test]
    fn the_short_way_leads_where_the_library_does_whoever_signs_whenever() {
        let mut random = fastrand::Rng::with_seed(5);
        let signer = Signer::new("eu-west-2".into());
        let people = [
            whose("AKID1", "secret one", None),
            whose("AKID2", "secret two", Some("a/token+=")),
            whose("AKID1", "another", None),
        ];
        for _ in 0..500 {
            let secs = random.u64(1_700_000_000..1_700_200_000);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            let token: String =
                (0..random.usize(..9)).map(|_| random.char('\0'..'\u{200}')).collect();
            let token: String = encode(&token).collect();
            let host = ["admin.wickr.eu-west-2.amazonaws.com", "127.0.0.1:81", "[::1]:8080"];
            let host = host[random.usize(..3)];
            let base = ["", "/base", "/a//b", "/a/../b", "/%20x", "/x.y"][random.usize(..6)];
            let url = format!(
                "http://{host}{base}/networks/12345678/users?maxResults=100&status2=1&status=2&groupId=g&nextToken={token}"
            );
            let credentials = &people[random.usize(..3)];
            let ours = signer.headers(&url, host, credentials, time).unwrap();
            let theirs = by_the_library(&url, host, "eu-west-2", credentials, time).unwrap();
            assert_eq!(ours, theirs, "{url}");
            assert!(ours.values().all(HeaderValue::is_sensitive));
        }
    }

    #[test]
    fn only_what_is_plain_goes_the_short_way() {
        for good in ["http://h/a?x=1", "https://h/a-b/c_d?b=%20&a="] {
            assert!(plain(good, "h").is_some(), "{good}");
        }
        for odd in [
            "http://h/a",
            "http://h?x=1",
            "http://h/a//b?x=1",
            "http://h/a/?x=1",
            "http://h/a%20?x=1",
            "http://h/a?x",
            "http://h/a?x=1&",
            "http://h/a?x=+",
            "h/a?x=1",
            "http://h/..?x=1",
            "http://h/a?x=%2a",
            "http://h/a?x=%41",
            "http://h/a?x=%4",
            "http://other/a?x=1",
            "http://h/a?x=1#y",
            "http://h/a?=1",
        ] {
            assert!(plain(odd, "h").is_none(), "{odd}");
        }
    }
}
