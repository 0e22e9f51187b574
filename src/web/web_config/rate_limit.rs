//! The key `rate_limit`.

use std::time::Duration;

use super::raw::string;
use crate::diagnostics::{Field, Table};

/// `burst` requests at the same time, and one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) struct RateLimit {
    pub(in crate::web) interval: Duration,
    pub(in crate::web) burst: u32,
}

/// None if there is no limit, which an interval of 0 means, or if it is invalid.
pub(super) fn read(table: &Table<'_>) -> Option<RateLimit> {
    const NO_BURST: &str = "must be at least 1; with 0, no request would be allowed";
    let interval = string(table, "interval", |text| {
        duration(text).ok_or_else(|| "must be a duration such as 1s or 500ms".into())
    });
    let burst = string(table, "burst", |text| {
        text.parse::<u32>().map_err(|_| "must be a non-negative integer".into())
    });
    let interval = interval.into_valid().filter(|interval| !interval.is_zero())?;
    match burst {
        Field::Valid(burst @ 1.., _) => return Some(RateLimit { interval, burst }),
        Field::Valid(_, location) => table.problems.add(&location, NO_BURST),
        Field::Absent => table.report_missing("burst", NO_BURST),
        Field::Invalid => {}
    }
    None
}

/// A duration in Go's syntax: numbers with units, such as `1h30m` or `1.5s`, or 0.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_durations_in_go_syntax() {
        for (text, millis) in [
            ("0", 0),
            ("1s", 1_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            (".5m", 30_000),
            ("2000us", 2),
            ("2000µs", 2),
            ("3000000ns", 3),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in
            ["", "1", "s", "-1s", "1 s", "1d", "1.2.3s", "1s2", "1e9s", "99999999999999999999h"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
