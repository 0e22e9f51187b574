//! Percent encoding as RFC 3986 defines it, and hex.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes all but the unreserved characters, with uppercase digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// Decodes a percent-encoded text. The error names the part that RFC 3986 does not allow.
pub(super) fn decode_strict(text: &str) -> Result<Vec<u8>, String> {
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

/// Decodes hex digits of either case.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Encodes as lowercase hex digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_all_but_unreserved_characters() {
        assert_eq!(encode("aZ9-._~".as_bytes()), "aZ9-._~");
        assert_eq!(encode("µ+/=&% ü*'".as_bytes()), "%C2%B5%2B%2F%3D%26%25%20%C3%BC%2A%27");
        assert_eq!(decode_strict("%C2%B5%2b").unwrap(), "µ+".as_bytes());
    }

    #[test]
    fn strict_decoding_names_the_invalid_part() {
        assert_eq!(decode_strict("a+b").unwrap_err(), "a raw '+'");
        for bad in ["%", "%2", "%zz", "%+1", "%é"] {
            assert!(decode_strict(bad).unwrap_err().contains("hex"), "{bad}");
        }
    }

    #[test]
    fn hex_round_trips() {
        assert_eq!(to_hex(&[0, 0xAB, 0x7F]), "00ab7f");
        assert_eq!(from_hex("00aB7f"), Some(vec![0, 0xAB, 0x7F]));
        assert_eq!(from_hex("0"), None);
    }
}
