//! Times and durations as text, and the shortening of outside text.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::Timestamp;

pub(super) use crate::text::{counted, grouped};
use crate::{clock::Millis, query::iso, text::escape_invisible};

/// A time as HTML: absolute, and relative to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HtmlTime {
    at: Millis,
    now: Millis,
}

/// The HTML contains only text from this module.
impl HtmlSafe for HtmlTime {}

impl HtmlTime {
    pub(super) fn new(at: Millis, now: Millis) -> HtmlTime {
        HtmlTime { at, now }
    }

    /// The absolute time without a zone, for tables.
    pub(super) fn absolute(&self) -> AbsoluteTime {
        AbsoluteTime(self.at)
    }

    /// The time relative to now: "3 min ago", "in 20 s".
    pub(super) fn relative(&self) -> String {
        match self.now.saturating_sub(self.at) {
            ago @ 1000.. => format!("{} ago", duration(ago)),
            ahead @ ..=-1000 => format!("in {}", duration(ahead.saturating_neg())),
            _ => "now".into(),
        }
    }
}

impl fmt::Display for HtmlTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\">{} UTC</time> <span class=\"relative\">({})</span>",
            iso(self.at),
            utc(self.at),
            self.relative()
        )
    }
}

/// See [`HtmlTime::absolute`].
#[derive(Debug)]
pub(super) struct AbsoluteTime(Millis);

impl HtmlSafe for AbsoluteTime {}

impl fmt::Display for AbsoluteTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", iso(self.0), utc(self.0))
    }
}

fn utc(at: Millis) -> String {
    let Ok(at) = Timestamp::from_millisecond(at) else { return String::new() };
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration in milliseconds as text, with one or two units.
pub(super) fn duration(millis: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let seconds = millis.max(0) / 1000;
    let Some(first) = UNITS.iter().position(|(_, size)| seconds >= *size) else {
        return format!("{} ms", millis.max(0));
    };
    let (unit, size) = UNITS[first];
    let mut text = format!("{} {unit}", grouped(usize::try_from(seconds / size).unwrap_or(0)));
    // The second unit is omitted if the first is 10 or more.
    if let Some((unit, smaller)) = UNITS.get(first + 1)
        && seconds / size < 10
        && seconds % size >= *smaller
    {
        text.push_str(&format!(" {} {unit}", seconds % size / smaller));
    }
    text
}

/// Like [`clipped`], with a visible text for an empty one.
pub(super) fn clipped_or_blank(text: &str) -> String {
    if text.is_empty() { "(blank)".into() } else { clipped(text) }
}

/// Outside text for a page, with a limited length and without invisible characters.
pub(super) fn clipped(text: &str) -> String {
    const MAX_CHARS: usize = 120;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", escape_invisible(&text[..end])),
        None => escape_invisible(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (millis, text) in [
            (-5, "0 ms"),
            (340, "340 ms"),
            (1_000, "1 s"),
            (59_999, "59 s"),
            (65_000, "1 min 5 s"),
            (660_000, "11 min"),
            (3_600_000, "1 h"),
            (5_400_000, "1 h 30 min"),
            (86_400_000 + 3_600_000, "1 d 1 h"),
            (45 * 86_400_000 + 3_600_000, "45 d"),
            (12_345 * 86_400_000, "12,345 d"),
        ] {
            assert_eq!(duration(millis), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "user", "users"), "1 user");
    }

    #[test]
    fn times_are_absolute_and_relative() {
        let time = HtmlTime::new(1_700_000_000_000, 1_700_000_065_000);
        assert_eq!(
            time.to_string(),
            "<time datetime=\"2023-11-14T22:13:20.000Z\">2023-11-14 22:13:20 UTC</time> \
             <span class=\"relative\">(1 min 5 s ago)</span>"
        );
        assert_eq!(HtmlTime::new(5_000, 0).relative(), "in 5 s");
        assert_eq!(HtmlTime::new(500, 0).relative(), "now");
    }
}
