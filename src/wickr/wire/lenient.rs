//! Members of single responses. The service sends some counts as strings and some times as numbers; a
//! value that cannot be parsed counts as absent and does not affect the others.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::device::{InvalidField, Scalar};
use crate::{clock::Millis, wickr::ApiTimestamp};

/// A count: a JSON number or a string of digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count(pub Option<u64>);

impl Count {
    /// The value of a metric.
    pub fn value(self) -> Option<f64> {
        self.0.map(|count| count as f64)
    }
}

/// A number, possibly negative: a JSON number or a string.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Number(pub Option<f64>);

/// A boolean: a JSON boolean or the string `true` or `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(pub Option<bool>);

/// A string that is not empty, or a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Option<Box<str>>);

impl Text {
    /// The text; empty if absent.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// A list; None if it is not a list. An item that cannot be parsed becomes the default and is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T>(pub Option<Vec<T>>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items(None)
    }
}

/// The members of an object, by name; empty if it is not an object.
#[derive(Debug, Clone, Default)]
pub struct Object(BTreeMap<String, Box<RawValue>>);

impl Object {
    /// A member; its default if it is absent.
    pub fn get<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let member = self.0.get(name).and_then(|json| serde_json::from_str(json.get()).ok());
        member.unwrap_or_default()
    }

    /// All boolean members, and those of member objects as `calling.canVideoCall`.
    pub fn booleans(&self) -> Vec<(String, bool)> {
        let boolean = |json: &RawValue| match Scalar::parse(json.get()) {
            Scalar::Bool(value) => Some(value),
            _ => None,
        };
        let mut found = Vec::new();
        for (name, json) in &self.0 {
            found.extend(boolean(json).map(|value| (name.clone(), value)));
            if json.get().starts_with('{') {
                let nested: Object = self.get(name);
                let nested = nested.0.iter().filter_map(|(nested, json)| {
                    Some((format!("{name}.{nested}"), boolean(json)?))
                });
                found.extend(nested);
            }
        }
        found
    }
}

/// Whether there is a non-empty string. The string itself, which can be secret, is not stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence(pub bool);

/// A time that is not parsed yet.
#[derive(Debug, Clone, Default)]
pub struct Time(Option<Box<RawValue>>);

impl Time {
    /// The time; None for absent, never and invalid. An invalid one is reported as `field`. `zone`
    /// applies to formats without a time zone.
    pub fn millis(
        &self,
        field: &'static str,
        zone: &TimeZone,
        report: impl FnOnce(InvalidField),
    ) -> Option<Millis> {
        let value = Scalar::parse(self.0.as_ref()?.get());
        let timestamp = value.timestamp(zone);
        if timestamp == ApiTimestamp::INVALID {
            report(InvalidField { field, form: value.form() });
        }
        timestamp.millis()
    }
}

fn scalar<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(Scalar<'_>) -> T,
) -> Result<T, D::Error> {
    let json = Box::<RawValue>::deserialize(deserializer)?;
    Ok(parse(Scalar::parse(json.get())))
}

fn whole(number: f64) -> Option<u64> {
    // 2^53: larger numbers are not exact.
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number))
        .then_some(number as u64)
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |value| match value {
            Scalar::Number(number) => Count(whole(number)),
            Scalar::Text(text) => Count(text.trim().parse().ok()),
            _ => Count(None),
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |value| match value {
            Scalar::Number(number) => Number(Some(number)),
            Scalar::Text(text) => Number(text.trim().parse().ok().filter(|n: &f64| n.is_finite())),
            _ => Number(None),
        })
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |value| match value {
            Scalar::Bool(flag) => Flag(Some(flag)),
            Scalar::Text(text) => Flag(text.trim().to_ascii_lowercase().parse().ok()),
            _ => Flag(None),
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |value| match value {
            Scalar::Text(text) if !text.is_empty() => Text(Some(text.into())),
            Scalar::Number(number) => Text(whole(number).map(|number| number.to_string().into())),
            _ => Text(None),
        })
    }
}

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let items: Option<Vec<&RawValue>> = serde_json::from_str(json.get()).ok();
        let item = |json: &RawValue| serde_json::from_str(json.get()).unwrap_or_default();
        Ok(Items(items.map(|items| items.into_iter().map(item).collect())))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Object(serde_json::from_str(json.get()).unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |value| match value {
            Scalar::Text(text) => Presence(!text.trim().is_empty()),
            _ => Presence(false),
        })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|json| Time(Some(json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Members {
        count: Count,
        number: Number,
        flag: Flag,
        text: Text,
        presence: Presence,
        time: Time,
    }

    fn members(member: &str, value: &str) -> Members {
        serde_json::from_str(&format!(r#"{{"other": [{{}}], "{member}": {value}}}"#)).unwrap()
    }

    #[test]
    fn reads_numbers_strings_and_nothing_else() {
        let count = |value: &str| members("count", value).count.0;
        for (value, expected) in [("7", 7), ("\"7\"", 7), ("\" 0 \"", 0), ("7.0", 7)] {
            assert_eq!(count(value), Some(expected), "{value}");
        }
        for absent in ["null", "-1", "1.5", "\"\"", "\"many\"", "true", "[7]", "{}", "1e999"] {
            assert_eq!(count(absent), None, "{absent}");
        }
        assert_eq!(members("number", "\"-2\"").number.0, Some(-2.0));
        assert_eq!(members("number", "\"inf\"").number.0, None);
        let flag = |value: &str| members("flag", value).flag.0;
        assert_eq!((flag("true"), flag("\"False\"")), (Some(true), Some(false)));
        assert_eq!((flag("null"), flag("1"), flag("\"yes\"")), (None, None, None));
        assert_eq!(members("text", "12").text.0.as_deref(), Some("12"));
        assert_eq!(members("text", "\"\"").text.0, None);
        assert!(members("presence", "\"x\"").presence.0 && !members("presence", "null").presence.0);
        let absent = members("another", "1");
        assert_eq!((absent.count.0, absent.flag.0), (None, None));
    }

    #[test]
    fn reads_lists_and_objects_without_their_invalid_parts() {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Nested {
            items: Items<Members>,
            object: Object,
        }
        let nested: Nested = serde_json::from_str(
            r#"{"items": [{"count": 1}, null, 7, {"count": "x"}], "object": {"b": true, "n": "3",
                "a": {"c": false, "d": {"e": true}, "f": 1}, "t": "true"}}"#,
        )
        .unwrap();
        let counts: Vec<_> = nested.items.0.unwrap().iter().map(|item| item.count.0).collect();
        assert_eq!(counts, [Some(1), None, None, None]);
        assert_eq!(nested.object.booleans(), [("a.c".into(), false), ("b".into(), true)]);
        assert_eq!(nested.object.get::<Count>("n").0, Some(3));
        assert_eq!(nested.object.get::<Count>("absent").0, None);
        let absent: Nested = serde_json::from_str(r#"{"items": null, "object": []}"#).unwrap();
        assert!(absent.items.0.is_none() && absent.object.booleans().is_empty());
    }

    #[test]
    fn reads_times_in_every_form_and_reports_others() {
        let read = |value: &str| {
            let mut reported = None;
            let report = |invalid| reported = Some(invalid);
            let time = members("time", value).time.millis("time", &TimeZone::UTC, report);
            (time, reported.map(|invalid| format!("{}: {}", invalid.field, invalid.form)))
        };
        for value in
            ["1705314600", "\"1705314600\"", "\"2024-01-15 10:30:00\"", "\"2024-01-15T10:30:00Z\""]
        {
            assert_eq!(read(value), (Some(1_705_314_600_000), None), "{value}");
        }
        for absent in ["null", "\"\"", "0", "\"0\""] {
            assert_eq!(read(absent), (None, None), "{absent}");
        }
        for (invalid, form) in
            [("\"soon\"", "aaaa"), ("{}", "not a string, number or boolean"), ("true", "boolean")]
        {
            assert_eq!(read(invalid), (None, Some(format!("time: {form}"))), "{invalid}");
        }
    }
}
