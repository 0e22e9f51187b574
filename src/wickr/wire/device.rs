//! Devices, as the service writes them and as they are used.

use std::{borrow::Cow, fmt};

use jiff::tz::TimeZone;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::wickr::{
    InternedStr, Interner,
    timestamp::{ApiTimestamp, form},
};

/// One device of a user, as the service told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The id of the installation. Without it a device counts, but cannot be told from others.
    pub app_id: Option<Box<str>>,
    /// The operating system by the reference, the form factor in its examples; `unknown` if
    /// missing.
    pub device_type: InternedStr,
    /// `Active`, `Reset`, `Suspended` or whatever the service says; empty if it says nothing.
    pub status: InternedStr,
    /// Whether it is suspended, if the service says so.
    pub suspended: Option<bool>,
    /// When it was added.
    pub created: ApiTimestamp,
    /// When its user last logged in on it: what SSO idle time counts from.
    pub last_login: ApiTimestamp,
}

impl Device {
    /// Whether it is marked for reset.
    pub fn is_reset(&self) -> bool {
        self.status.eq_ignore_ascii_case("Reset")
    }
}

/// A device as JSON says it; whatever is not of the documented type is [`Scalar::Other`].
#[derive(Debug, Default)]
pub(super) struct RawDevice<'a> {
    app_id: Scalar<'a>,
    device_type: Scalar<'a>,
    status: Scalar<'a>,
    suspended: Scalar<'a>,
    created: Scalar<'a>,
    last_login: Scalar<'a>,
    /// It is no JSON object at all.
    shapeless: bool,
}

/// What is wrong with what the service said of a device: the member, and the form of its value.
pub type Flaw = (&'static str, String);

impl RawDevice<'_> {
    /// The device, each flaw in it told to `flaw`; none if it is no JSON object: nothing tells that
    /// there is a device at all.
    pub(super) fn read(
        &self,
        labels: &Interner,
        zone: &TimeZone,
        flaw: &mut dyn FnMut(Flaw),
    ) -> Option<Device> {
        if self.shapeless {
            flaw(("device", "not an object".into()));
            return None;
        }
        let app_id = self.app_id.text("appId", flaw).map(Box::from);
        let device_type = self.device_type.text("type", flaw);
        let status = self.status.text("statusText", flaw);
        let suspended = match &self.suspended {
            Scalar::Bool(suspended) => Some(*suspended),
            Scalar::Null => None,
            other => {
                flaw(("suspend", other.form()));
                None
            }
        };
        let mut stamp = |member, value: &Scalar<'_>| {
            let stamp = match value {
                Scalar::Text(text) => ApiTimestamp::from_text(text, zone),
                Scalar::Number(number) => ApiTimestamp::from_number(*number),
                Scalar::Null => ApiTimestamp::NEVER,
                Scalar::Bool(_) | Scalar::Other => ApiTimestamp::INVALID,
            };
            if stamp == ApiTimestamp::INVALID {
                flaw((member, value.form()));
            }
            stamp
        };
        Some(Device {
            app_id,
            device_type: labels.get(device_type.unwrap_or("unknown")),
            status: labels.get(status.unwrap_or("")),
            suspended,
            created: stamp("created", &self.created),
            last_login: stamp("lastLogin", &self.last_login),
        })
    }
}

impl<'de> Deserialize<'de> for RawDevice<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DeviceVisitor { careful: true })
    }
}

/// A device that is read at once. What only looks like a value, such as a number beyond all bounds,
/// spoils the page, which has to be read as one of [`RawDevice`] then.
pub(super) struct Quick<'a>(pub(super) RawDevice<'a>);

impl<'de> Deserialize<'de> for Quick<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DeviceVisitor { careful: false }).map(Quick)
    }
}

struct DeviceVisitor {
    /// Whether each value is cut out first and read by itself.
    careful: bool,
}

impl<'de> Visitor<'de> for DeviceVisitor {
    type Value = RawDevice<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawDevice<'de>, A::Error> {
        let mut device = RawDevice::default();
        while let Some(member) = map.next_key::<Member>()? {
            let place = match member {
                Member::AppId => &mut device.app_id,
                Member::Type => &mut device.device_type,
                Member::StatusText => &mut device.status,
                Member::Suspend => &mut device.suspended,
                Member::Created => &mut device.created,
                Member::LastLogin => &mut device.last_login,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = if self.careful {
                // By itself, so that a number or text that is none spoils nothing else.
                let value = map.next_value::<&RawValue>()?;
                serde_json::from_str(value.get()).unwrap_or(Scalar::Other)
            } else {
                map.next_value()?
            };
        }
        Ok(device)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawDevice<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(shapeless())
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }

    fn visit_str<E>(self, _: &str) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }

    fn visit_unit<E>(self) -> Result<RawDevice<'de>, E> {
        Ok(shapeless())
    }
}

fn shapeless<'a>() -> RawDevice<'a> {
    RawDevice { shapeless: true, ..RawDevice::default() }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Member {
    AppId,
    Type,
    StatusText,
    Suspend,
    Created,
    LastLogin,
    #[serde(other)]
    Other,
}

/// A JSON value that is no object and no array.
#[derive(Debug, Default)]
enum Scalar<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// An object, an array, or what only looks like a value.
    Other,
}

impl Scalar<'_> {
    /// The text, if there is one; what is no text is a flaw.
    fn text(&self, member: &'static str, flaw: &mut dyn FnMut(Flaw)) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(&**text).filter(|text| !text.is_empty()),
            Scalar::Null => None,
            other => {
                flaw((member, other.form()));
                None
            }
        }
    }

    /// What a log line may tell of it.
    fn form(&self) -> String {
        match self {
            Scalar::Null => "null".into(),
            Scalar::Bool(_) => "a boolean".into(),
            Scalar::Number(number) => format!("number {}", form(&number.to_string())),
            Scalar::Text(text) => form(text),
            Scalar::Other => "neither text, number nor boolean".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::wire::{devices_page, page};

    fn devices(json: &str) -> (Vec<Device>, Vec<String>) {
        let (labels, mut flaws) = (Interner::default(), Vec::new());
        let mut note = |(member, form)| flaws.push(format!("{member}: {form}"));
        let (devices, _) =
            devices_page(json.as_bytes(), &labels, &TimeZone::UTC, &mut note).unwrap();
        (devices, flaws)
    }

    #[test]
    fn what_is_read_quickly_is_what_is_read_carefully() {
        let values = [
            "null",
            "true",
            "7",
            "-1.5",
            "1e999",
            "\"\"",
            "\"iOS\"",
            "\"a\\u00e9\"",
            "\"\\ud800\"",
            "[1, {\"x\": []}]",
            "{\"appId\": 1}",
            "\"January 5th 2026, 3:04:05 pm\"",
        ];
        let names = ["appId", "type", "statusText", "suspend", "created", "lastLogin", "other"];
        let mut random = fastrand::Rng::with_seed(8);
        let (mut quick, mut careful) = (0, 0);
        for _ in 0..2_000 {
            let member = |random: &mut fastrand::Rng| {
                let (name, value) = (random.choice(names).unwrap(), random.choice(values).unwrap());
                format!("\"{name}\": {value}")
            };
            let members: Vec<_> = (0..random.usize(..6)).map(|_| member(&mut random)).collect();
            let json = format!(
                "{{\"devices\": [{{{}}}, {}]}}",
                members.join(", "),
                random.choice(values).unwrap()
            );
            let read = |raw: Vec<RawDevice<'_>>| -> Vec<String> {
                raw.iter().map(|raw| format!("{raw:?}")).collect()
            };
            let slowly = page::<RawDevice<'_>>(json.as_bytes(), "devices", false);
            let slowly = slowly.map(|(raw, _)| read(raw)).map_err(|error| error.to_string());
            match page::<Quick<'_>>(json.as_bytes(), "devices", false) {
                Ok((raw, _)) => {
                    quick += 1;
                    let raw = raw.into_iter().map(|Quick(raw)| raw).collect();
                    assert_eq!(Ok(read(raw)), slowly, "{json}");
                }
                Err(_) => careful += 1,
            }
        }
        assert!(quick > 500 && careful > 100, "{quick} {careful}");
    }

    #[test]
    fn awss_example_is_read() {
        let (devices, flaws) = devices(
            r#"{"devices": [{"appId": "e4246b", "type": "desktop", "suspend": true,
                "statusText": "Suspended", "created": "December 10th 2023, 11:45:20 am",
                "lastLogin": "January 18th 2024, 4:20:15 pm", "new": {"member": [1]}}]}"#,
        );
        assert_eq!(flaws, [""; 0]);
        assert_eq!(
            devices,
            [Device {
                app_id: Some("e4246b".into()),
                device_type: "desktop".into(),
                status: "Suspended".into(),
                suspended: Some(true),
                created: ApiTimestamp::at_millis(1702208720000),
                last_login: ApiTimestamp::at_millis(1705594815000),
            }]
        );
    }

    #[test]
    fn a_malformed_member_spoils_only_itself() {
        let (devices, flaws) = devices(
            r#"{"devices": [
                {"appId": 7, "type": null, "suspend": "yes", "statusText": ["x"], "created": {}, "lastLogin": 1704067200},
                {"appId": "a\u00e9\"", "type": "iOS", "appId": "b", "created": 1e999, "statusText": "\ud800"},
                {}, null, 1, "x", [[]], true, -1.5
            ]}"#,
        );
        assert!(size_of::<Device>() <= 56, "there are millions of them");
        assert_eq!(devices.len(), 3, "what is no object is no device");
        assert_eq!(devices[0].app_id, None);
        assert_eq!(&*devices[0].device_type, "unknown");
        assert_eq!(devices[0].suspended, None);
        assert_eq!(devices[0].created, ApiTimestamp::INVALID);
        assert_eq!(devices[0].last_login, ApiTimestamp::at_millis(1704067200000));
        assert_eq!(devices[1].app_id.as_deref(), Some("b"));
        assert_eq!(devices[1].created, ApiTimestamp::INVALID);
        assert_eq!(&*devices[2].device_type, "unknown");
        let odd = "neither text, number nor boolean";
        assert_eq!(
            flaws[..6],
            [
                "appId: number 9".to_owned(),
                format!("statusText: {odd}"),
                "suspend: aaa".to_owned(),
                format!("created: {odd}"),
                format!("statusText: {odd}"),
                format!("created: {odd}"),
            ]
        );
        assert_eq!(flaws[6..], ["device: not an object"; 6]);
    }
}
