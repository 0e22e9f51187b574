//! Text for terminals and pages: counts, durations, and the escaping of outside text.

use std::time::Duration;

/// A count with thousands separators.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: "1 user", "2 users".
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `1d12h`, in days and smaller units: months and years have no fixed length.
pub(crate) fn format_duration(duration: Duration) -> String {
    let mut text = String::new();
    let mut rest = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Escapes control characters, invisible characters, and white space at either end.
pub(crate) fn escape_invisible(text: &str) -> String {
    let start = text.len() - text.trim_start().len();
    let end = text.trim_end().len();
    let mut escaped = String::with_capacity(text.len());
    let mut previous = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        let is_outer_space = at < start || at >= end;
        if c.is_control() || is_outer_space || (is_invisible(c) && !is_joiner(previous, c, next)) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
        previous = Some(c);
    }
    escaped
}

/// Whether `c` joins or varies the characters around it, as in emoji. Next to ASCII, such a
/// character has no visible effect.
fn is_joiner(previous: Option<char>, c: char, next: Option<char>) -> bool {
    let is_joinable = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace());
    match c {
        '\u{200d}' => is_joinable(previous) && is_joinable(next),
        '\u{fe00}'..='\u{fe0f}' => is_joinable(previous) && !previous.is_some_and(is_invisible),
        _ => false,
    }
}

/// Whether a character is invisible or blank: Unicode's `Cc`, `Cf` without visible characters,
/// `Default_Ignorable_Code_Point`, line separators, and blank letters.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_durations_in_days_and_smaller_units() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (900_000, "15m"),
            (5_400_000, "1h30m"),
            (86_400_000 * 30, "30d"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn escapes_invisible_characters() {
        for hidden in [
            '\u{ad}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{180e}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{200d}',
            '\u{fe0f}',
            '\u{1b}',
            '\n',
        ] {
            let text = format!("i{hidden}OS");
            assert_eq!(escape_invisible(&text), format!("i{}OS", hidden.escape_unicode()));
            assert!(!escape_invisible(&hidden.to_string()).contains(hidden), "{hidden:?} alone");
        }
        assert_eq!(escape_invisible(" a b\u{a0}"), "\\u{20}a b\\u{a0}");
        assert_eq!(escape_invisible("  "), "\\u{20}\\u{20}");
        for plain in ["", "iOS", "é漢", "👩\u{200d}💻", "❤\u{fe0f}", "a b"] {
            assert_eq!(escape_invisible(plain), plain);
        }
    }
}
