//! Percent and hex encoding, to the letter of RFC 3986.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes all but the unreserved characters, with uppercase digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// The bytes behind a percent-encoded text, or what in it is not RFC 3986's encoding.
pub(super) fn strictly_decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '%' => {
                let pair = rest.as_str().get(..2).and_then(from_hex);
                let Some(&[byte]) = pair.as_deref() else {
                    return Err("a '%' without two hex digits".to_owned());
                };
                decoded.push(byte);
                rest.nth(1);
            }
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' => decoded.push(next as u8),
            raw => return Err(format!("a raw '{raw}'")),
        }
    }
    Ok(decoded)
}

/// The bytes of hex digits of either case.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Lowercase hex digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("aZ9-._~".as_bytes()), "aZ9-._~");
        assert_eq!(encode("µ+/=&% ü*'".as_bytes()), "%C2%B5%2B%2F%3D%26%25%20%C3%BC%2A%27");
        assert_eq!(strictly_decoded("%C2%B5%2b").unwrap(), "µ+".as_bytes());
    }

    #[test]
    fn what_is_not_encoded_is_named() {
        assert_eq!(strictly_decoded("a+b").unwrap_err(), "a raw '+'");
        assert_eq!(strictly_decoded("a*").unwrap_err(), "a raw '*'");
        assert_eq!(strictly_decoded("a:b").unwrap_err(), "a raw ':'");
        for bad in ["%", "%2", "%zz", "%+1", "%é"] {
            assert!(strictly_decoded(bad).unwrap_err().contains("hex"), "{bad}");
        }
    }

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(to_hex(&[0, 0xAB, 0x7F]), "00ab7f");
        assert_eq!(from_hex("00aB7f"), Some(vec![0, 0xAB, 0x7F]));
        assert_eq!(from_hex("0"), None);
    }
}
