//! AWS Signature Version 4, by aws-sigv4.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The name that the service's signatures are bound to.
const SERVICE: &str = "wickr";

/// The headers that sign a GET of `url` (already encoded) at `time`.
///
/// # Errors
///
/// A sentence, when something cannot be a header or an address.
pub(super) fn headers(
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
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the credentials hold a character that no header can".to_owned())?;
        value.set_sensitive(true);
        signed.insert(name, value);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            let credentials =
                Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
            let headers = headers(url, host, "us-east-1", &credentials, time).unwrap();
            assert_eq!(headers["x-amz-date"], "20260102T030405Z");
            assert_eq!(headers.get("x-amz-security-token").map(|t| t.to_str().unwrap()), token);
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
            assert!(headers.values().all(HeaderValue::is_sensitive));
        }
    }
}
