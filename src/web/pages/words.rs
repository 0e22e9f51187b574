//! Times, durations and counts in words.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::Timestamp;

pub(super) use crate::text::{counted, grouped};
use crate::{clock::Millis, query::iso, text::escape_invisible};

/// A point in time, as HTML shows it: in full, and from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    at: Millis,
    now: Millis,
}

/// All of it is made here, of digits and words.
impl HtmlSafe for Moment {}

impl Moment {
    pub(super) fn new(at: Millis, now: Millis) -> Moment {
        Moment { at, now }
    }

    /// The time alone, without its zone: for tables, which say once that all times are in UTC.
    pub(super) fn bare(&self) -> Bare<'_> {
        Bare(self)
    }

    /// From now: "3 min ago", "in 20 s".
    pub(super) fn relative(&self) -> String {
        match self.now.saturating_sub(self.at) {
            ago @ 1000.. => format!("{} ago", span(ago)),
            ahead @ ..=-1000 => format!("in {}", span(ahead.saturating_neg())),
            _ => "now".into(),
        }
    }
}

/// The time alone, without its zone.
#[derive(Debug)]
pub(super) struct Bare<'a>(&'a Moment);

impl HtmlSafe for Bare<'_> {}

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = clock_time(self.0.at);
        write!(f, "<time datetime=\"{}\">{text}</time>", iso(self.0.at))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\">{} UTC</time> <span class=\"rel\">({})</span>",
            iso(self.at),
            clock_time(self.at),
            self.relative()
        )
    }
}

/// A point in time, in UTC, to the second.
pub(super) fn clock_time(at: Millis) -> String {
    let Ok(at) = Timestamp::from_millisecond(at) else { return String::new() };
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration, to two units at the most.
pub(super) fn span(millis: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let seconds = millis.max(0) / 1000;
    if seconds == 0 {
        return format!("{} ms", millis.max(0));
    }
    let first = UNITS.iter().position(|(_, size)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let (unit, size) = UNITS[first];
    let mut text = format!("{} {unit}", grouped(usize::try_from(seconds / size).unwrap_or(0)));
    // Of a month, nobody wants the hours.
    if let Some((unit, smaller)) = UNITS.get(first + 1)
        && seconds / size < 10
        && seconds % size >= *smaller
    {
        text.push_str(&format!(" {} {unit}", seconds % size / smaller));
    }
    text
}

/// Likewise, for what must be seen, as a link must be.
pub(super) fn named(text: &str) -> String {
    if text.is_empty() { "(blank)".into() } else { clipped(text) }
}

/// A text from outside, as far as there is room for it on a page.
pub(super) fn clipped(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", escape_invisible(&text[..end])),
        None => escape_invisible(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
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
            assert_eq!(span(millis), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "user", "users"), "1 user");
    }

    #[test]
    fn a_moment_is_absolute_and_relative() {
        let moment = Moment::new(1_700_000_000_000, 1_700_000_065_000);
        assert_eq!(
            moment.to_string(),
            "<time datetime=\"2023-11-14T22:13:20.000Z\">2023-11-14 22:13:20 UTC</time> \
             <span class=\"rel\">(1 min 5 s ago)</span>"
        );
        assert_eq!(Moment::new(5_000, 0).relative(), "in 5 s");
        assert_eq!(Moment::new(500, 0).relative(), "now");
    }
}
