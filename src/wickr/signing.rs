//! AWS Signature Version 4 by aws-sigv4.

use std::time::SystemTime;

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as sign_request},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The service name in the credential scope.
const SERVICE: &str = "wickr";

/// Returns the headers that sign a GET of `url` at `time`, all marked as sensitive. `url` must be
/// percent-encoded already. `identity` holds AWS credentials.
///
/// # Errors
///
/// When the URL is invalid, or the credentials contain an invalid header character.
pub fn sign(
    url: &str,
    host: &str,
    region: &str,
    identity: &Identity,
    time: SystemTime,
) -> Result<HeaderMap, String> {
    let params = v4::SigningParams::builder()
        .identity(identity)
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
    let (instructions, _) =
        sign_request(request, &params).map_err(|error| error.to_string())?.into_parts();
    let mut signed = HeaderMap::with_capacity(4);
    for (name, text) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        // The error must not quote the value.
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            "the credentials contain a character that is not allowed in a header".to_owned()
        })?;
        value.set_sensitive(true);
        signed.insert(name, value);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;

    use super::*;

    /// Signatures by botocore 1.44.5's `SigV4Auth` for these URLs and credentials, with its clock at
    /// 2026-01-02T03:04:05Z.
    #[test]
    fn signatures_match_botocore() {
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
            let headers = sign(url, host, "us-east-1", &credentials.into(), time).unwrap();
            assert_eq!(headers["x-amz-date"], "20260102T030405Z");
            assert_eq!(headers.get("x-amz-security-token").map(|t| t.to_str().unwrap()), token);
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
            assert!(headers.values().all(HeaderValue::is_sensitive));
        }
    }

    #[test]
    fn errors_do_not_contain_the_session_token() {
        let token = Some("secret\ntoken".to_owned());
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", token, None, "test");
        let url = "https://example.com/networks?maxResults=100";
        let identity = credentials.into();
        let error =
            sign(url, "example.com", "us-east-1", &identity, SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
