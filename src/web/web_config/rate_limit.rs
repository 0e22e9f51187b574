//! The key `rate_limit`.

use std::time::Duration;

use super::{
    problems::Problems,
    table::{Spot, Table},
    yaml::Node,
};

/// So many requests at once, and one more with each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateWritten {
    pub(crate) interval: Duration,
    pub(crate) burst: u32,
}

/// Reads what is written of it; none if it asks for no limit.
pub(crate) fn read(spot: &Spot<&Node>, problems: &mut Problems) -> Option<RateWritten> {
    let keys = ["interval", "burst"];
    let table = Table::with_keys(spot.value, &spot.key, &keys, problems)?;
    let interval = table.text("interval", problems);
    let burst = table.text("burst", problems);
    let interval = interval.and_then(|spot| {
        let parsed = duration(&spot.value);
        if parsed.is_none() {
            problems.add(spot.place, &spot.key, "must be a duration such as 1s or 500ms");
        }
        parsed
    });
    let amount = burst.as_ref().and_then(|spot| {
        let parsed = spot.value.parse::<u32>().ok();
        if parsed.is_none() {
            problems.add(spot.place, &spot.key, "must be a whole number");
        }
        parsed
    });
    let interval = interval.filter(|interval| !interval.is_zero())?;
    match (amount, burst) {
        (Some(1..), _) => {}
        // It has been complained of already.
        (None, Some(_)) => return None,
        (_, burst) => {
            let place = burst.map_or(table.place, |spot| spot.place);
            let key = format!("{}.burst", spot.key);
            problems.add(place, &key, "must be at least 1: otherwise no request is ever let in");
            return None;
        }
    }
    Some(RateWritten { interval, burst: amount? })
}

/// A duration as Go writes it: figures with units, such as `1h30m` or `1.5s`, or a bare 0.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (figure, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let worth = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += figure.parse::<f64>().ok()? * worth;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
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
