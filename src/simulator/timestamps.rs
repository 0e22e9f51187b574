//! Timestamp formats. The API reference states none; the default is the one of its examples.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::named::named_values;

named_values! {
    /// The format of `created` and `lastLogin`.
    #[derive(Default)]
    pub enum TimestampForm {
        /// `January 20th 2024, 9:15:30 am`
        #[default]
        Documented = "documented",
        /// The string `"1705742130"`
        EpochSeconds = "epoch-seconds",
        /// The number `1705742130`
        EpochSecondsNumber = "epoch-seconds-number",
        /// The string `"1705742130000"`
        EpochMillis = "epoch-millis",
        /// The number `1705742130000`
        EpochMillisNumber = "epoch-millis-number",
        /// `2024-01-20T09:15:30.25+00:00`, with the zone's offset
        Rfc3339 = "rfc3339",
        /// `2024-01-20 09:15:30`
        Plain = "plain",
    }
}

impl TimestampForm {
    /// Formats milliseconds since 1970; null if they are out of range.
    pub(super) fn format(self, ms: i64, zone: &TimeZone) -> Value {
        let Ok(at) = Timestamp::from_millisecond(ms) else { return Value::Null };
        let zoned = || at.to_zoned_datetime(zone.clone());
        match self {
            Self::Documented => documented(&zoned()).into(),
            Self::EpochSeconds => at.as_second().to_string().into(),
            Self::EpochSecondsNumber => at.as_second().into(),
            Self::EpochMillis => ms.to_string().into(),
            Self::EpochMillisNumber => ms.into(),
            Self::Rfc3339 => zoned().strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string().into(),
            Self::Plain => zoned().strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
        }
    }
}

impl std::str::FromStr for TimestampForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|form| form.as_str() == text);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown timestamp format `{text}`; known are {names}")
        })
    }
}

fn documented(at: &jiff::ZonedDateTime) -> String {
    let day = at.day();
    let ordinal = match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    at.strftime(&format!("%B {day}{ordinal} %Y, %-I:%M:%S %P")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(form: TimestampForm, at: &str) -> Value {
        let at: Timestamp = at.parse().unwrap();
        form.format(at.as_millisecond(), &TimeZone::UTC)
    }

    #[test]
    fn formats_as_in_the_api_reference() {
        for (at, expected) in [
            ("2024-01-20T09:15:30Z", "January 20th 2024, 9:15:30 am"),
            ("2024-01-15T14:30:45Z", "January 15th 2024, 2:30:45 pm"),
            ("2024-01-01T12:00:00Z", "January 1st 2024, 12:00:00 pm"),
            ("2023-12-22T00:05:09Z", "December 22nd 2023, 12:05:09 am"),
            ("2023-03-03T23:59:59Z", "March 3rd 2023, 11:59:59 pm"),
            ("2023-08-31T11:00:00Z", "August 31st 2023, 11:00:00 am"),
            ("2023-05-11T01:00:00Z", "May 11th 2023, 1:00:00 am"),
            ("2023-06-12T13:00:00Z", "June 12th 2023, 1:00:00 pm"),
            ("2023-07-13T01:00:00Z", "July 13th 2023, 1:00:00 am"),
        ] {
            assert_eq!(format(TimestampForm::Documented, at), expected);
        }
    }

    #[test]
    fn formats_the_other_forms() {
        let at = "2024-01-20T09:15:30.25Z";
        assert_eq!(format(TimestampForm::EpochSeconds, at), "1705742130");
        assert_eq!(format(TimestampForm::EpochSecondsNumber, at), 1_705_742_130);
        assert_eq!(format(TimestampForm::EpochMillis, at), "1705742130250");
        assert_eq!(format(TimestampForm::EpochMillisNumber, at), 1_705_742_130_250_i64);
        assert_eq!(format(TimestampForm::Rfc3339, at), "2024-01-20T09:15:30.25+00:00");
        assert_eq!(format(TimestampForm::Plain, at), "2024-01-20 09:15:30");
    }

    #[test]
    fn formats_in_the_time_zone() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        let ms = "2024-01-20T09:15:30Z".parse::<Timestamp>().unwrap().as_millisecond();
        let formatted = TimestampForm::Documented.format(ms, &tokyo);
        assert_eq!(formatted, "January 20th 2024, 6:15:30 pm");
        let formatted = TimestampForm::Rfc3339.format(ms, &tokyo);
        assert_eq!(formatted, "2024-01-20T18:15:30+09:00");
    }

    #[test]
    fn parses_names_and_lists_them_in_the_error() {
        assert_eq!("rfc3339".parse(), Ok(TimestampForm::Rfc3339));
        let error = "rfc1123".parse::<TimestampForm>().unwrap_err();
        assert!(error.contains("documented, epoch-seconds"), "{error}");
    }
}
