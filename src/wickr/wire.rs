//! What the service's JSON says, read with patience: every member may be missing, null or of a
//! wrong type, and a malformed one spoils only itself.
//!
//! Devices are the bulk, so they are read by borrowing, without a tree in between. Users, networks
//! and groups are few and go through [`serde_json::Value`].

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use jiff::tz::TimeZone;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{
    Label, Labels, NetworkId, UserId,
    timestamp::{Stamp, form},
};

/// One device of a user, as the service told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The id of the installation. Without it a device counts, but cannot be told from others.
    pub app_id: Option<Box<str>>,
    /// The operating system by the reference, the form factor in its examples; `unknown` if
    /// missing.
    pub device_type: Label,
    /// `Active`, `Reset`, `Suspended` or whatever the service says; empty if it says nothing.
    pub status: Label,
    /// Whether it is suspended, if the service says so.
    pub suspended: Option<bool>,
    /// When it was added.
    pub created: Stamp,
    /// When its user last logged in on it: what SSO idle time counts from.
    pub last_login: Stamp,
}

impl Device {
    /// Whether it is marked for reset.
    pub fn is_reset(&self) -> bool {
        self.status.eq_ignore_ascii_case("Reset")
    }
}

/// One user of a network. The service's `inviteCode` lets its bearer into the network: it has no
/// place here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id, if the service gives a usable one: the examples of its own model show none.
    pub id: Option<UserId>,
    /// An email address, mostly.
    pub username: Option<String>,
    /// 1 for pending, 2 for active.
    pub status: Option<i64>,
    /// Whether the user is suspended.
    pub suspended: Option<bool>,
    /// The ids of the user's security groups.
    pub groups: Vec<String>,
}

/// One network of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The id.
    pub id: NetworkId,
    /// The name that its administrators gave it.
    pub name: Option<String>,
    /// The account that it belongs to.
    pub account: Option<String>,
}

/// One security group of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// The id.
    pub id: String,
    /// The name that its administrators gave it.
    pub name: Option<String>,
    /// After how long an idle SSO session ends; none for no limit.
    pub sso_max_idle: Option<Duration>,
}

/// The most items that a page may hold. The service's holds a hundred.
const MOST_ITEMS: usize = 1_000;

/// Reads a page: the items of the list called `member`, and the token of the next page.
///
/// A missing token is the end. A user without devices may have no list of them at all, as AWS's SDKs
/// have it; but an answer that has neither list nor token, and something else instead, is no page.
/// Where `lists_always`, there must be a list if no page follows: that an organisation is gone is not
/// to be concluded from an empty object.
pub(super) fn page<'de, T: Deserialize<'de>>(
    body: &'de [u8],
    member: &'static str,
    lists_always: bool,
) -> serde_json::Result<(Vec<T>, Option<String>)> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let (items, token) = json.deserialize_map(PageVisitor { member, items: PhantomData })?;
    json.end()?;
    if lists_always && items.is_none() && token.is_none() {
        return Err(serde_json::Error::missing_field(member));
    }
    Ok((items.unwrap_or_default(), token))
}

struct PageVisitor<T> {
    member: &'static str,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for PageVisitor<T> {
    type Value = (Option<Vec<T>>, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut token) = (None, None);
        let (mut is_page, mut is_empty) = (false, true);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            is_empty = false;
            if key == self.member {
                is_page = true;
                items = map.next_value::<Option<Items<T>>>()?;
            } else if key == "nextToken" {
                is_page = true;
                token = map.next_value::<Option<String>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !is_page && !is_empty {
            return Err(A::Error::missing_field(self.member));
        }
        let items = items.map(|Items(items)| items);
        Ok((items, token.filter(|token| !token.is_empty())))
    }
}

/// The items of a page, not more than there may be.
struct Items<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MOST_ITEMS {
                return Err(A::Error::custom("too many items on a page"));
            }
            items.push(item);
        }
        Ok(Items(items))
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
pub(super) type Flaw = (&'static str, String);

impl RawDevice<'_> {
    /// The device, each flaw in it told to `flaw`; none if it is no JSON object: nothing tells that
    /// there is a device at all.
    pub(super) fn read(
        &self,
        labels: &Labels,
        zone: &TimeZone,
        flaw: &mut dyn FnMut(Flaw),
    ) -> Option<Device> {
        if self.shapeless {
            flaw(("device", "not an object".into()));
            return None;
        }
        let mut text = |member, value: &Scalar<'_>| match value {
            Scalar::Text(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
            Scalar::Null => None,
            other => {
                flaw((member, other.form()));
                None
            }
        };
        let app_id = text("appId", &self.app_id).map(String::into_boxed_str);
        let device_type = text("type", &self.device_type);
        let status = text("statusText", &self.status);
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
                Scalar::Text(text) => Stamp::from_text(text, zone),
                Scalar::Number(number) => Stamp::from_number(*number),
                Scalar::Null => Stamp::NEVER,
                Scalar::Bool(_) | Scalar::Other => Stamp::INVALID,
            };
            if stamp == Stamp::INVALID {
                flaw((member, value.form()));
            }
            stamp
        };
        Some(Device {
            app_id,
            device_type: labels.get(device_type.as_deref().unwrap_or("unknown")),
            status: labels.get(status.as_deref().unwrap_or("")),
            suspended,
            created: stamp("created", &self.created),
            last_login: stamp("lastLogin", &self.last_login),
        })
    }
}

impl<'de> Deserialize<'de> for RawDevice<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DeviceVisitor)
    }
}

struct DeviceVisitor;

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
            // By itself, so that a number or text that is none spoils nothing else.
            let value = map.next_value::<&RawValue>()?;
            *place = serde_json::from_str(value.get()).unwrap_or(Scalar::Other);
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

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let groups = value.get("securityGroups").and_then(Value::as_array);
        Ok(User {
            id: text(&value, "userId").and_then(|id| id.parse().ok()),
            username: text(&value, "username"),
            status: value.get("status").and_then(Value::as_i64),
            suspended: value.get("suspended").and_then(Value::as_bool),
            groups: groups
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
        })
    }
}

/// An item, if it can be used: a malformed one spoils only itself.
#[derive(Debug)]
pub(super) struct Usable<T>(pub(super) Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Usable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Usable(serde_json::from_value(Value::deserialize(deserializer)?).ok()))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // A network without an id cannot be asked for: the list is not to be trusted.
        let id = text(&value, "networkId").ok_or_else(|| D::Error::missing_field("networkId"))?;
        Ok(Network {
            id: id.parse().map_err(D::Error::custom)?,
            name: text(&value, "networkName"),
            account: text(&value, "awsAccountId"),
        })
    }
}

impl<'de> Deserialize<'de> for SecurityGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let id = text(&value, "id").ok_or_else(|| D::Error::missing_field("id"))?;
        let settings = value.get("securityGroupSettings");
        let minutes = match settings.and_then(|settings| settings.get("ssoMaxIdleMinutes")) {
            None | Some(Value::Null) => None,
            Some(limit) => {
                let minutes = limit.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0);
                if minutes.is_none() {
                    tracing::warn!(
                        group_id = id,
                        "ssoMaxIdleMinutes cannot be read, taken for no limit"
                    );
                }
                minutes.map(|minutes| minutes as u64)
            }
        };
        Ok(SecurityGroup {
            id,
            name: text(&value, "name"),
            // Zero is no limit.
            sso_max_idle: minutes
                .filter(|minutes| *minutes > 0)
                .map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        })
    }
}

/// A member that is a text and not empty. An id may come as a number.
fn text(value: &Value, member: &str) -> Option<String> {
    match value.get(member)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(json: &str) -> (Vec<Device>, Vec<String>) {
        let (page, _) = page::<RawDevice<'_>>(json.as_bytes(), "devices", false).unwrap();
        let (labels, mut flaws) = (Labels::default(), Vec::new());
        let read = |raw: &RawDevice<'_>| {
            raw.read(&labels, &TimeZone::UTC, &mut |(member, form)| {
                flaws.push(format!("{member}: {form}"));
            })
        };
        (page.iter().filter_map(read).collect(), flaws)
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
                created: Stamp::at_millis(1702208720000),
                last_login: Stamp::at_millis(1705594815000),
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
        assert_eq!(devices.len(), 3, "what is no object is no device");
        assert_eq!(devices[0].app_id, None);
        assert_eq!(&*devices[0].device_type, "unknown");
        assert_eq!(devices[0].suspended, None);
        assert_eq!(devices[0].created, Stamp::INVALID);
        assert_eq!(devices[0].last_login, Stamp::at_millis(1704067200000));
        assert_eq!(devices[1].app_id.as_deref(), Some("b"));
        assert_eq!(devices[1].created, Stamp::INVALID);
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

    #[test]
    fn pages_end_with_a_missing_null_or_empty_token() {
        for json in [
            "{}",
            r#" {"devices": null, "nextToken": null}"#,
            r#"{"nextToken": ""}"#,
            r#"{"devices": [], "message": "x"}"#,
        ] {
            let (items, token) = page::<RawDevice<'_>>(json.as_bytes(), "devices", false).unwrap();
            assert!(items.is_empty() && token.is_none(), "{json}");
        }
        for bad in [
            "[]",
            "null",
            "\"x\"",
            r#"{"devices": {}}"#,
            r#"{"nextToken": 7}"#,
            r#"{"message": "Service is being deployed"}"#,
            r#"{"users": [{}]}"#,
            r#"{"devices": []} x"#,
            "{",
            "<html>",
            "",
        ] {
            assert!(page::<RawDevice<'_>>(bad.as_bytes(), "devices", false).is_err(), "{bad}");
        }
        for no_list in ["{}", r#"{"users": null}"#, r#"{"nextToken": ""}"#] {
            assert!(page::<User>(no_list.as_bytes(), "users", true).is_err(), "{no_list}");
        }
        let more = r#"{"nextToken": "x"}"#;
        assert!(page::<User>(more.as_bytes(), "users", true).is_ok(), "an empty page of several");
        let many = format!(r#"{{"devices": [{}{{}}]}}"#, "{},".repeat(MOST_ITEMS));
        assert!(page::<RawDevice<'_>>(many.as_bytes(), "devices", false).is_err());
    }

    #[test]
    fn users_networks_and_groups_are_read() {
        let users = page::<User>(r#"{"users": [
                {"userId": "1001", "username": "a@b.c", "status": 2, "suspended": false, "securityGroups": ["g", 1]},
                {"username": "David", "status": 1, "inviteCode": "INVITE789"}, {"userId": "not an id"}
            ]}"#.as_bytes(), "users", true).unwrap().0;
        assert_eq!(users[0].id.as_ref().unwrap().as_str(), "1001");
        assert_eq!(users[0].groups, ["g"]);
        assert_eq!((&users[1].id, &users[2].id), (&None, &None));
        assert!(!format!("{users:?}").contains("INVITE789"));

        let groups = page::<SecurityGroup>(
            r#"{"securityGroups": [
                {"id": "a", "name": "default", "securityGroupSettings": {"ssoMaxIdleMinutes": 30}},
                {"id": "b", "securityGroupSettings": {"ssoMaxIdleMinutes": 0}}, {"id": "c"}
            ]}"#
            .as_bytes(),
            "securityGroups",
            true,
        )
        .unwrap()
        .0;
        let limits: Vec<_> = groups.iter().map(|group| group.sso_max_idle).collect();
        assert_eq!(limits, [Some(Duration::from_secs(1800)), None, None]);

        let networks = page::<Network>(
            r#"{"networks": [{"networkId": "12345678", "networkName": "Dev"}]}"#.as_bytes(),
            "networks",
            true,
        )
        .unwrap()
        .0;
        assert_eq!(networks[0].name.as_deref(), Some("Dev"));
        let items = r#"{"networks": [{}, "x", {"networkId": "bad"}, {"networkId": "12345678"}]}"#;
        let networks = page::<Usable<Network>>(items.as_bytes(), "networks", true).unwrap().0;
        assert_eq!(networks.iter().filter(|network| network.0.is_some()).count(), 1);
    }
}
