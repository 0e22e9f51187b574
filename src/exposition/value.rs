//! Formats values and escapes text.

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// An integer.
    Count(u64),
    /// Milliseconds of a duration or a time, written as seconds.
    Millis(i64),
    Float(f64),
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Count(flag.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl Value {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Value::Count(count) => {
                out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes())
            }
            Value::Millis(millis) => put_millis(out, millis),
            Value::Float(float) => put_float(out, float, false),
        }
    }
}

fn put_millis(out: &mut Vec<u8>, millis: i64) {
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    let fraction = millis % 1000;
    if fraction > 0 {
        let digit = |unit: u64| b'0' + (fraction / unit % 10) as u8;
        let digits = [b'.', digit(100), digit(10), digit(1)];
        let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&digits[..end]);
    }
}

/// Writes the shortest text that parses to the same value, with `.0` after an integer if `point`.
pub(super) fn put_float(out: &mut Vec<u8>, float: f64, point: bool) {
    if float.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if float.is_infinite() {
        out.extend_from_slice(if float > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if float.fract() == 0.0 && float.abs() < 1e15 {
        out.extend_from_slice(itoa::Buffer::new().format(float as i64).as_bytes());
        if point {
            out.extend_from_slice(b".0");
        }
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes());
    }
}

/// Escapes a label value or a help text. Help texts of the text format do not escape quotes.
pub(super) fn put_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let special = |byte: u8| byte == b'\\' || byte == b'\n' || (byte == b'"' && quotes);
    // Escapes are rare. Checking all bytes without an early exit is faster: it can be vectorized.
    if !text.bytes().fold(false, |found, byte| found | special(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte if special(byte) => out.extend_from_slice(&[b'\\', byte]),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(value: Value) -> String {
        let mut out = Vec::new();
        value.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats_values_without_loss() {
        for (value, text) in [
            (Value::Count(0), "0"),
            (Value::Count(u64::MAX), "18446744073709551615"),
            (Value::Millis(1_704_067_200_000), "1704067200"),
            (Value::Millis(1_704_067_200_120), "1704067200.12"),
            (Value::Millis(5), "0.005"),
            (Value::Millis(-1500), "-1.5"),
            (Value::Millis(0), "0"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(3.0), "3"),
            (Value::Float(-0.25), "-0.25"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Float(f64::INFINITY), "+Inf"),
            (Value::Float(f64::NEG_INFINITY), "-Inf"),
        ] {
            assert_eq!(format(value), text);
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let float = f64::from_bits(random.u64(..));
            if float.is_finite() {
                assert_eq!(format(Value::Float(float)).parse::<f64>().unwrap(), float);
            }
        }
    }

    #[test]
    fn escapes_labels_and_help() {
        for (text, quoted, help) in [
            ("", "", ""),
            ("plain {é}, =", "plain {é}, =", "plain {é}, ="),
            ("\"", "\\\"", "\""),
            ("a\\b\nc\"d", "a\\\\b\\nc\\\"d", "a\\\\b\\nc\"d"),
        ] {
            for (quotes, escaped) in [(true, quoted), (false, help)] {
                let mut out = Vec::new();
                put_escaped(&mut out, text, quotes);
                assert_eq!(String::from_utf8(out).unwrap(), escaped);
            }
        }
    }
}
