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
