//! Parses timestamps of the API, whose format the API reference does not document.
//!
//! The examples of the service model are `January 20th 2024, 9:15:30 am` for devices and epoch
//! seconds for bots. Epoch milliseconds, RFC 3339 and `YYYY-MM-DD HH:MM:SS[.fraction]` are accepted
//! too. Empty, null, absent and zero mean never. Anything else is invalid.

use std::ops::RangeInclusive;

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::{Offset, TimeZone},
};

/// A time, never, or invalid. Eight bytes, because every device has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiTimestamp(i64);

impl ApiTimestamp {
    /// No time.
    pub const NEVER: ApiTimestamp = ApiTimestamp(i64::MIN);
    /// A value that cannot be parsed.
    pub const INVALID: ApiTimestamp = ApiTimestamp(i64::MIN + 1);

    /// A time in milliseconds since the epoch.
    pub fn at_millis(millis: i64) -> ApiTimestamp {
        ApiTimestamp(millis.max(i64::MIN + 2))
    }

    /// Milliseconds since the epoch; None for never and invalid.
    pub fn millis(self) -> Option<i64> {
        (self != ApiTimestamp::NEVER && self != ApiTimestamp::INVALID).then_some(self.0)
    }

    /// Parses epoch seconds or milliseconds.
    pub fn from_number(number: f64) -> ApiTimestamp {
        if number == 0.0 {
            return ApiTimestamp::NEVER;
        }
        // 1e11 seconds are in the year 5138, and 1e11 milliseconds in 1973.
        let millis = if number < 1e11 { number * 1e3 } else { number };
        // The maximum is the end of the year 9999, as for strings. NaN is invalid.
        if millis > 0.0 && millis <= Timestamp::MAX.as_millisecond() as f64 {
            // Less than a millisecond is zero, as in strings.
            Some(millis as i64)
                .filter(|millis| *millis > 0)
                .map_or(ApiTimestamp::NEVER, ApiTimestamp)
        } else {
            ApiTimestamp::INVALID
        }
    }

    /// Parses a string. `zone` applies to formats without a time zone.
    pub fn from_text(text: &str, zone: &TimeZone) -> ApiTimestamp {
        if text.trim().is_empty() {
            return ApiTimestamp::NEVER;
        }
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return text.parse().map_or(ApiTimestamp::INVALID, ApiTimestamp::from_number);
        }
        let parsed = if text.as_bytes()[0].is_ascii_digit() {
            parse_iso(text)
        } else {
            parse_english(text.as_bytes()).map(|at| (at, None))
        };
        let instant = parsed.and_then(|(at, offset)| match offset {
            Some(offset) => offset.to_timestamp(at).ok(),
            // An ambiguous time is the earlier one; a skipped time is the later one.
            None => zone.to_timestamp(at).ok(),
        });
        match instant.map(|instant| instant.as_millisecond()) {
            Some(0) => ApiTimestamp::NEVER,
            Some(millis) if millis > 0 => ApiTimestamp(millis),
            _ => ApiTimestamp::INVALID,
        }
    }
}

/// Parses `January 20th 2024, 9:15:30 am`, case-insensitive.
fn parse_english(text: &[u8]) -> Option<DateTime> {
    let [date, time] = split(text, b',')?;
    let time = time.strip_prefix(b" ")?;
    let [month, day, year] = split(date, b' ')?;
    let [time, am_pm] = split(time, b' ')?;
    let [hour, minute, second] = split(time, b':')?;
    let date = Date::new(digits(year, 4..=4)?, month_number(month)?, ordinal(day)?).ok()?;
    let hour: i8 = digits(hour, 1..=2).filter(|hour| (1..=12).contains(hour))?;
    let hour = if am_pm.eq_ignore_ascii_case(b"am") {
        hour % 12
    } else if am_pm.eq_ignore_ascii_case(b"pm") {
        hour % 12 + 12
    } else {
        return None;
    };
    let time = Time::new(hour, digits(minute, 2..=2)?, digits(second, 2..=2)?, 0).ok()?;
    Some(date.to_datetime(time))
}

/// Splits into exactly `N` parts.
fn split<const N: usize>(text: &[u8], separator: u8) -> Option<[&[u8]; N]> {
    let mut parts = text.split(|&byte| byte == separator);
    let mut array = [&text[..0]; N];
    for part in &mut array {
        *part = parts.next()?;
    }
    parts.next().is_none().then_some(array)
}

fn month_number(name: &[u8]) -> Option<i8> {
    #[rustfmt::skip]
    const MONTHS: [&str; 12] = [
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ];
    let index = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(name))?;
    i8::try_from(index + 1).ok()
}

/// Parses `1st` to `31st`.
fn ordinal(text: &[u8]) -> Option<i8> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (number, suffix) = text.split_at(end);
    let day: i8 = digits(number, 1..=2)?;
    let expected: &[u8] = match (day % 10, day) {
        (_, 11..=13) => b"th",
        (1, _) => b"st",
        (2, _) => b"nd",
        (3, _) => b"rd",
        _ => b"th",
    };
    suffix.eq_ignore_ascii_case(expected).then_some(day)
}

/// Parses RFC 3339, or `YYYY-MM-DD HH:MM:SS[.fraction]` without an offset.
fn parse_iso(text: &str) -> Option<(DateTime, Option<Offset>)> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = split(date.as_bytes(), b'-')?;
    let date = Date::new(digits(year, 4..=4)?, digits(month, 2..=2)?, digits(day, 2..=2)?).ok()?;
    let separator = rest.chars().next()?;
    let (time, rest) = rest.get(1..)?.split_at_checked(8)?;
    let [hour, minute, second] = split(time.as_bytes(), b':')?;
    let (nanos, zone) = fraction(rest)?;
    let (hour, minute) = (digits(hour, 2..=2)?, digits(minute, 2..=2)?);
    let time = Time::new(hour, minute, digits(second, 2..=2)?, nanos).ok()?;
    let offset = match (separator, zone) {
        (' ', "") => None,
        ('T' | 't' | ' ', zone) => Some(rfc3339_offset(zone)?),
        _ => return None,
    };
    Some((date.to_datetime(time), offset))
}

/// Splits `.123Z` into nanoseconds and the remainder.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, rest) = rest.split_at(end);
    if fraction.is_empty() {
        return None;
    }
    // Digits after the ninth are dropped.
    let nanos = format!("{fraction:0<9.9}").parse().ok()?;
    Some((nanos, rest))
}

fn rfc3339_offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes] = split(text.get(1..)?.as_bytes(), b':')?;
    let (hours, minutes): (i32, i32) = (digits(hours, 2..=2)?, digits(minutes, 2..=2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Parses a number of `count` ASCII digits, at most four.
fn digits<T: TryFrom<i32>>(text: &[u8], count: RangeInclusive<usize>) -> Option<T> {
    if !count.contains(&text.len()) {
        return None;
    }
    let number = text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i32::from(byte - b'0'))
    });
    T::try_from(number?).ok()
}

/// The form of a text, for log lines: digits become `9` and letters `a`.
pub(super) fn form(text: &str) -> String {
    let shape = |c: char| match c {
        c if c.is_numeric() => '9',
        c if c.is_alphabetic() => 'a',
        c if c.is_ascii_graphic() || c == ' ' => c,
        _ => '?',
    };
    text.chars().take(48).map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> ApiTimestamp {
        ApiTimestamp::from_text(text, &TimeZone::UTC)
    }

    fn at(rfc3339: &str) -> ApiTimestamp {
        ApiTimestamp::at_millis(rfc3339.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn parses_the_format_of_the_service_model() {
        for (text, expected) in [
            ("January 20th 2024, 9:15:30 am", "2024-01-20T09:15:30Z"),
            ("January 15th 2024, 2:30:45 pm", "2024-01-15T14:30:45Z"),
            ("December 10th 2023, 11:45:20 am", "2023-12-10T11:45:20Z"),
            ("January 1st 2024, 12:00:00 pm", "2024-01-01T12:00:00Z"),
            ("January 1st 2024, 12:00:00 am", "2024-01-01T00:00:00Z"),
            ("december 31ST 2023, 11:59:59 PM", "2023-12-31T23:59:59Z"),
            ("FEBRUARY 29th 2024, 12:01:02 AM", "2024-02-29T00:01:02Z"),
            ("May 2nd 2024, 01:02:03 am", "2024-05-02T01:02:03Z"),
        ] {
            assert_eq!(utc(text), at(expected), "{text}");
        }
    }

    #[test]
    fn accepts_only_the_correct_ordinal_suffix() {
        let suffix = |day| match day {
            1 | 21 | 31 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        for day in 1..=31 {
            for candidate in ["st", "nd", "rd", "th", "", "xx"] {
                let text = format!("March {day}{candidate} 2024, 1:00:00 am");
                let expected = if candidate == suffix(day) {
                    at(&format!("2024-03-{day:02}T01:00:00Z"))
                } else {
                    ApiTimestamp::INVALID
                };
                assert_eq!(utc(&text), expected, "{text}");
            }
        }
    }

    #[test]
    fn parses_the_other_formats() {
        for (text, expected) in [
            ("1704067200", "2024-01-01T00:00:00Z"),
            ("1704067200.5", "2024-01-01T00:00:00.5Z"),
            ("1704067200123", "2024-01-01T00:00:00.123Z"),
            ("2024-01-20T09:15:30Z", "2024-01-20T09:15:30Z"),
            ("2024-01-20t09:15:30.25z", "2024-01-20T09:15:30.25Z"),
            ("2024-01-20T09:15:30.123456789012+05:30", "2024-01-20T03:45:30.123Z"),
            ("2024-01-20T09:15:30-08:00", "2024-01-20T17:15:30Z"),
            ("2024-01-20 09:15:30", "2024-01-20T09:15:30Z"),
            ("2024-01-20 09:15:30.75", "2024-01-20T09:15:30.75Z"),
            ("2024-01-20 09:15:30+01:00", "2024-01-20T08:15:30Z"),
            ("2024-01-20T09:15:30+23:59", "2024-01-19T09:16:30Z"),
            ("2024-01-20T09:15:30-23:59", "2024-01-21T09:14:30Z"),
            ("99999999999", "5138-11-16T09:46:39Z"),
            ("100000000000", "1973-03-03T09:46:40Z"),
        ] {
            assert_eq!(utc(text), at(expected), "{text}");
        }
        assert_eq!(ApiTimestamp::from_number(1704067200.0), at("2024-01-01T00:00:00Z"));
        assert_eq!(ApiTimestamp::from_number(1704067200123.0), at("2024-01-01T00:00:00.123Z"));
    }

    #[test]
    fn applies_the_time_zone_to_formats_without_one() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let parse = |text| ApiTimestamp::from_text(text, &berlin);
        assert_eq!(parse("July 20th 2024, 9:15:30 am"), at("2024-07-20T07:15:30Z"));
        assert_eq!(parse("2024-01-20 09:15:30"), at("2024-01-20T08:15:30Z"));
        assert_eq!(parse("2024-01-20T09:15:30Z"), at("2024-01-20T09:15:30Z"));
        assert_eq!(parse("1704067200"), at("2024-01-01T00:00:00Z"));
        // An ambiguous and a skipped time.
        assert_eq!(parse("October 27th 2024, 2:30:00 am"), at("2024-10-27T00:30:00Z"));
        assert_eq!(parse("March 31st 2024, 2:30:00 am"), at("2024-03-31T01:30:00Z"));
    }

    #[test]
    fn empty_and_zero_are_never() {
        for never in ["", "  ", "0", "0.0", "000", "1970-01-01T00:00:00Z", "1970-01-01 00:00:00"] {
            assert_eq!(utc(never), ApiTimestamp::NEVER, "{never:?}");
        }
        assert_eq!(ApiTimestamp::from_number(0.0), ApiTimestamp::NEVER);
        // Less than a millisecond.
        for never in [".0001", "1970-01-01T00:00:00.0001Z", "1970-01-01 00:00:00.0009"] {
            assert_eq!(utc(never), ApiTimestamp::NEVER, "{never}");
        }
        assert_eq!(utc("0.001"), ApiTimestamp::at_millis(1));
        assert_eq!(ApiTimestamp::NEVER.millis(), None);
    }

    #[test]
    fn rejects_other_formats() {
        for bad in [
            "never",
            "n/a",
            "-1",
            "1e9",
            ".",
            "1.2.3",
            "99999999999999999",
            "20240120T091530Z",
            "2024-01-20",
            "2024-01-20T09:15:30",
            "2024-01-20T09:15Z",
            "2024-13-20 09:15:30",
            "2024-01-20 24:00:00",
            "2024-01-20 09:15:30.",
            "2024-01-20T09:15:30+5:30",
            "2024-01-20T09:15:30+24:00",
            "2024-01-20T09:15:30[UTC]",
            "2024-1-20 09:15:30",
            "January 20 2024, 9:15:30 am",
            "January 32nd 2024, 9:15:30 am",
            "February 30th 2024, 9:15:30 am",
            "Jan 20th 2024, 9:15:30 am",
            "January 20th 2024, 0:15:30 am",
            "January 20th 2024, 13:15:30 pm",
            "January 20th 2024, 9:60:30 am",
            "January 20th 2024, 9:15 am",
            "January 20th 2024, 9:15:30",
            "January 20th 2024 9:15:30 am",
            "January 20th 24, 9:15:30 am",
            "January  20th 2024, 9:15:30 am",
            "January 20th 2024, 9:15:30 am UTC",
            "Janvier 20th 2024, 9:15:30 am",
            "é",
            "日本",
            "2024-01-2é 09:15:30",
            "+2024-01-20 09:15:30",
            " 1704067200",
            "2016-12-31T23:59:60Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "253402207201000",
            "2024-01-20T09:15:30+05:60",
            "2024-01-20T09:15:30++5:30",
            "January 020th 2024, 9:15:30 am",
            "January +2nd 2024, 9:15:30 am",
            "January 20th 2024 UTC, 9:15:30 am",
            "January 20th 2024, 009:15:30 am",
            "January 20th 2024, +9:15:30 am",
            "January 20th 2024, 9:+5:30 am",
            "January 20th 2024, 9:15:30:00 am",
            "January 20th 2024, 9:15:30 xm",
        ] {
            assert_eq!(utc(bad), ApiTimestamp::INVALID, "{bad:?}");
        }
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e15] {
            assert_eq!(ApiTimestamp::from_number(bad), ApiTimestamp::INVALID, "{bad}");
        }
    }

    #[test]
    fn form_replaces_digits_and_letters() {
        assert_eq!(form("Jan 5, Geheim9!\n"), "aaa 9, aaaaaa9!?");
        assert_eq!(form(&"x".repeat(1000)).len(), 48);
    }

    #[test]
    fn at_millis_is_never_the_value_of_never_or_invalid() {
        for millis in [i64::MIN, i64::MIN + 1, i64::MIN + 2, -1, 0, 1, i64::MAX] {
            assert!(ApiTimestamp::at_millis(millis).millis().is_some(), "{millis}");
        }
        assert_eq!(ApiTimestamp::INVALID.millis(), None);
        assert_eq!(utc("253402207200999").millis(), Some(253_402_207_200_999));
        assert_eq!(utc("9999-12-30T22:00:00.999Z").millis(), Some(253_402_207_200_999));
    }
}
