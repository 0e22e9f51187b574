//! Times of devices.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};

use crate::{clock::Millis, wickr::ApiTimestamp};

/// A time, `false` for an invalid time, or nil for never.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum TimestampPart {
    At(Millis),
    Invalid(bool),
    Never(()),
}

/// Derived code would buffer the value first, including deeply nested arrays.
impl<'de> Deserialize<'de> for TimestampPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = TimestampPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time, false or nil")
            }

            fn visit_i64<E>(self, millis: i64) -> Result<TimestampPart, E> {
                Ok(TimestampPart::At(millis))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<TimestampPart, E> {
                let out_of_range = |_| E::custom("a time is out of range");
                Millis::try_from(millis).map(TimestampPart::At).map_err(out_of_range)
            }

            fn visit_bool<E>(self, value: bool) -> Result<TimestampPart, E> {
                Ok(TimestampPart::Invalid(value))
            }

            fn visit_unit<E>(self) -> Result<TimestampPart, E> {
                Ok(TimestampPart::Never(()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl From<ApiTimestamp> for TimestampPart {
    fn from(timestamp: ApiTimestamp) -> TimestampPart {
        match timestamp.millis() {
            Some(millis) => TimestampPart::At(millis),
            None if timestamp == ApiTimestamp::INVALID => TimestampPart::Invalid(false),
            None => TimestampPart::Never(()),
        }
    }
}

impl From<TimestampPart> for ApiTimestamp {
    fn from(part: TimestampPart) -> ApiTimestamp {
        match part {
            TimestampPart::At(millis) => ApiTimestamp::at_millis(millis),
            TimestampPart::Invalid(_) => ApiTimestamp::INVALID,
            TimestampPart::Never(()) => ApiTimestamp::NEVER,
        }
    }
}
