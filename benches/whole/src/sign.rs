//! AWS Signature Version 4 for the requests by which this program itself reads the simulator. It is
//! written out here, so that neither the exporter's own way nor a peer's is used to check them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

/// Who asks, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) region: String,
}

/// The SHA-256 of no body, in hex.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// `X-Amz-Date` and `Authorization` for a GET. The query must be encoded and in order.
pub(crate) fn headers(
    access: &Access,
    host: &str,
    path: &str,
    query: &str,
) -> Result<(String, String)> {
    let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = time.get(..8).context("a date")?;
    let scope = format!("{day}/{}/wickr/aws4_request", access.region);
    let request = format!(
        "GET\n{path}\n{query}\nhost:{host}\nx-amz-date:{time}\n\nhost;x-amz-date\n{NOTHING}"
    );
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let mut key = format!("AWS4{}", access.secret).into_bytes();
    for part in [day, &access.region, "wickr", "aws4_request"] {
        key = mac(&key, part)?;
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=host;x-amz-date, Signature={}",
        access.key_id,
        hex(&mac(&key, &to_sign)?)
    );
    Ok((time, authorization))
}

/// Percent-encodes all but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).context("a key")?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
