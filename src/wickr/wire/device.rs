//! Devices.

use std::{borrow::Cow, fmt, sync::Arc};

use jiff::tz::TimeZone;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Page, page::page};
use crate::wickr::{
    AppId, InternedStr, Interner,
    interned::DeviceAttributes,
    timestamp::{ApiTimestamp, form},
};

/// One device of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The id of the installation. A device without one is counted, but has no series.
    pub app_id: Option<AppId>,
    /// Type, status and suspension, shared by devices in which they are equal.
    pub attributes: Arc<DeviceAttributes>,
    /// When the device was added.
    pub created: ApiTimestamp,
    /// The last login, from which SSO idle time is counted.
    pub last_login: ApiTimestamp,
}

impl Device {
    /// The operating system or form factor, an open set; `unknown` if missing.
    pub fn device_type(&self) -> &InternedStr {
        &self.attributes.device_type
    }

    /// `Active`, `Reset`, `Suspended` or another text; empty if missing.
    pub fn status(&self) -> &InternedStr {
        &self.attributes.status
    }

    /// Whether the device is suspended, if the service returns it.
    pub fn suspended(&self) -> Option<bool> {
        self.attributes.suspended
    }

    /// Whether the device is marked for reset.
    pub fn is_reset(&self) -> bool {
        self.status().eq_ignore_ascii_case("Reset")
    }
}

/// A field that has an unexpected type or format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InvalidField {
    /// The JSON name of a device's field, or `device`. Fields of other objects have the object's name first.
    pub field: &'static str,
    /// The form of the value, without the value.
    pub form: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    AppId,
    Type,
    StatusText,
    Suspend,
    Created,
    LastLogin,
    #[serde(other)]
    Other,
}

/// The unparsed values of a device, by [`Field`]. If a field is repeated, the last value is used.
#[derive(Default)]
pub(super) struct RawFields<'a>([Option<&'a RawValue>; Field::Other as usize + 1]);

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawFieldsVisitor)
    }
}

struct RawFieldsVisitor;

impl<'de> Visitor<'de> for RawFieldsVisitor {
    type Value = RawFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawFields<'de>, A::Error> {
        let mut fields = RawFields::default();
        while let Some((field, value)) = map.next_entry::<Field, _>()? {
            fields.0[field as usize] = Some(value);
        }
        Ok(fields)
    }
}

/// Splits a page into the fields of each device. None stands for an item that is not an object.
pub(super) fn items(body: &[u8]) -> Page<Option<RawFields<'_>>> {
    if let Ok((items, token)) = page(body, "devices", false) {
        return Ok((items.into_iter().map(Some).collect(), token));
    }
    // An item is not an object, or the page is invalid.
    let (items, token) = page::<&RawValue>(body, "devices", false)?;
    let mut devices = Vec::with_capacity(items.len());
    for json in items {
        let is_object = json.get().starts_with('{');
        devices.push(is_object.then(|| serde_json::from_str(json.get())).transpose()?);
    }
    Ok((devices, token))
}

/// A JSON value.
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// An array, an object, or a value without a representation: 1e999, half a surrogate pair.
    Other,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Scalar<'a> {
    pub(super) fn parse(json: &'a str) -> Scalar<'a> {
        match json.as_bytes().first() {
            // Without an escape sequence, the value is the text between the quotes.
            Some(b'"') if !json.contains('\\') => {
                Ok(Scalar::Text(Cow::Borrowed(json.trim_matches('"'))))
            }
            Some(b'"') => serde_json::from_str(json).map(|Text(text)| Scalar::Text(text)),
            Some(b'n') => Ok(Scalar::Null),
            Some(b't' | b'f') => Ok(Scalar::Bool(json == "true")),
            Some(b'[' | b'{') => Ok(Scalar::Other),
            _ => serde_json::from_str(json).map(Scalar::Number),
        }
        .unwrap_or(Scalar::Other)
    }

    /// The value as a timestamp. `zone` applies to formats without a time zone.
    pub(super) fn timestamp(&self, zone: &TimeZone) -> ApiTimestamp {
        match self {
            Scalar::Text(text) => ApiTimestamp::from_text(text, zone),
            Scalar::Number(number) => ApiTimestamp::from_number(*number),
            Scalar::Null => ApiTimestamp::NEVER,
            Scalar::Bool(_) | Scalar::Other => ApiTimestamp::INVALID,
        }
    }

    /// The form of the value, for log lines.
    pub(super) fn form(&self) -> String {
        match self {
            Scalar::Null => "null".into(),
            Scalar::Bool(_) => "boolean".into(),
            Scalar::Number(number) => format!("number {}", form(&number.to_string())),
            Scalar::Text(text) => form(text),
            Scalar::Other => "not a string, number or boolean".into(),
        }
    }
}

/// Parses a device. Invalid fields are reported and treated as missing. An item that is not an object
/// is reported and returns None.
pub(super) fn parse(
    fields: Option<RawFields<'_>>,
    interner: &Interner,
    zone: &TimeZone,
    report: &mut dyn FnMut(InvalidField),
) -> Option<Device> {
    let mut report = |field, form| report(InvalidField { field, form });
    let Some(RawFields(fields)) = fields else {
        report("device", "not an object".into());
        return None;
    };
    // Each value is parsed separately, so that an invalid one does not affect the others.
    let value = |field: Field| {
        fields[field as usize].map_or(Scalar::Null, |json| Scalar::parse(json.get()))
    };
    let mut text = |name, field| match value(field) {
        Scalar::Text(text) => Some(text).filter(|text| !text.is_empty()),
        Scalar::Null => None,
        other => {
            report(name, other.form());
            None
        }
    };
    let app_id = text("appId", Field::AppId);
    let device_type = text("type", Field::Type);
    let status = text("statusText", Field::StatusText);
    let suspended = match value(Field::Suspend) {
        Scalar::Bool(suspended) => Some(suspended),
        Scalar::Null => None,
        other => {
            report("suspend", other.form());
            None
        }
    };
    let mut timestamp = |name, field| {
        let value = value(field);
        let timestamp = value.timestamp(zone);
        if timestamp == ApiTimestamp::INVALID {
            report(name, value.form());
        }
        timestamp
    };
    Some(Device {
        app_id: app_id.as_deref().map(AppId::from),
        attributes: interner.attributes(
            device_type.as_deref().unwrap_or("unknown"),
            status.as_deref().unwrap_or_default(),
            suspended,
        ),
        created: timestamp("created", Field::Created),
        last_login: timestamp("lastLogin", Field::LastLogin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::wire::devices_page;

    fn devices(json: &str) -> (Vec<Device>, Vec<String>) {
        let (interner, mut reports) = (Interner::default(), Vec::new());
        let mut report = |invalid: InvalidField| {
            reports.push(format!("{}: {}", invalid.field, invalid.form));
        };
        let (devices, _) =
            devices_page(json.as_bytes(), &interner, &TimeZone::UTC, &mut report).unwrap();
        (devices, reports)
    }

    #[test]
    fn parses_the_example_of_the_service_model() {
        let (devices, reports) = devices(
            r#"{"devices": [{"appId": "e4246b", "type": "desktop", "suspend": true,
                "statusText": "Suspended", "created": "December 10th 2023, 11:45:20 am",
                "lastLogin": "January 18th 2024, 4:20:15 pm", "new": {"field": [1]}}]}"#,
        );
        assert_eq!(reports, [""; 0]);
        assert_eq!(
            devices,
            [Device {
                app_id: Some("e4246b".into()),
                attributes: DeviceAttributes::new("desktop", "Suspended", Some(true)).into(),
                created: ApiTimestamp::at_millis(1702208720000),
                last_login: ApiTimestamp::at_millis(1705594815000),
            }]
        );
    }

    #[test]
    fn an_invalid_field_does_not_affect_other_fields() {
        let (devices, reports) = devices(
            r#"{"devices": [
                {"appId": 7, "type": null, "suspend": "yes", "statusText": ["x"], "created": {}, "lastLogin": 1704067200},
                {"appId": "a\u00e9\"", "type": "iOS", "app\u0049d": "b", "created": 1e999, "statusText": "\ud800"},
                {}, null, 1, "x", [[]], true, -1.5, 1e999, "\ud800"
            ]}"#,
        );
        assert!(size_of::<Device>() <= 64);
        assert_eq!(devices.len(), 3);
        assert_eq!(devices[0].app_id, None);
        assert_eq!(&**devices[0].device_type(), "unknown");
        assert_eq!(devices[0].suspended(), None);
        assert_eq!(devices[0].created, ApiTimestamp::INVALID);
        assert_eq!(devices[0].last_login, ApiTimestamp::at_millis(1704067200000));
        assert_eq!(devices[1].app_id, Some("b".into()));
        assert_eq!(&**devices[1].device_type(), "iOS");
        assert_eq!(devices[1].created, ApiTimestamp::INVALID);
        assert_eq!(&**devices[2].device_type(), "unknown");
        assert_eq!(
            reports[..6],
            [
                "appId: number 9",
                "statusText: not a string, number or boolean",
                "suspend: aaa",
                "created: not a string, number or boolean",
                "statusText: not a string, number or boolean",
                "created: not a string, number or boolean",
            ]
        );
        assert_eq!(reports[6..], ["device: not an object"; 8]);
    }
}
