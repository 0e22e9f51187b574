//! Parsers of response bodies. Any field can be missing, null or of the wrong type, and an invalid
//! field does not affect the others. Every parser returns the items and the token of the next page.

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::Interner;
use page::page;

mod device;
mod directory;
pub mod lenient;
mod page;

pub use device::{Device, InvalidField};
pub use directory::{Network, NetworkDetails, SecurityGroup, SecurityGroupItem, User};

/// Items and the token of the next page.
pub(super) type Page<T> = serde_json::Result<(Vec<T>, Option<String>)>;

/// Parses a page of a user's devices. Each invalid field is reported. Timestamps without a time zone
/// are in `zone`.
///
/// # Errors
///
/// When the body is not JSON or not a page of devices.
pub fn devices_page(
    body: &[u8],
    interner: &Interner,
    zone: &TimeZone,
    report: &mut dyn FnMut(InvalidField),
) -> Page<Device> {
    let (items, token) = device::items(body)?;
    let mut devices = Vec::with_capacity(items.len());
    devices
        .extend(items.into_iter().filter_map(|item| device::parse(item, interner, zone, report)));
    Ok((devices, token))
}

/// Parses a page of items and reads a few of their members. An item that cannot be parsed is reported
/// as `member`, becomes the default, and is counted.
///
/// # Errors
///
/// When the body is not JSON or has no list `member`.
pub(super) fn items_page<T: DeserializeOwned + Default>(
    body: &[u8],
    member: &'static str,
    report: impl Fn(InvalidField),
) -> Page<T> {
    let (items, token) = page::<&RawValue>(body, member, true)?;
    let item = |json: &RawValue| {
        serde_json::from_str(json.get()).unwrap_or_else(|_| {
            report(InvalidField { field: member, form: "cannot be parsed".into() });
            T::default()
        })
    };
    Ok((items.into_iter().map(item).collect(), token))
}

/// Parses a page of a network's users.
///
/// # Errors
///
/// When the body is not JSON or not a page of users.
pub fn users_page(body: &[u8]) -> Page<User> {
    page(body, "users", true)
}

/// Parses a page of an account's networks. `None` stands for a network without a valid id.
///
/// # Errors
///
/// When the body is not JSON or not a page of networks.
pub fn networks_page(body: &[u8]) -> Page<Option<Network>> {
    let (items, token) = page::<Value>(body, "networks", true)?;
    Ok((items.iter().map(Network::parse).collect(), token))
}

/// Parses a page of a network's security groups. A group that cannot be parsed is reported and has no id.
///
/// # Errors
///
/// When the body is not JSON or not a page of security groups.
pub fn security_groups_page(body: &[u8], report: impl Fn(InvalidField)) -> Page<SecurityGroupItem> {
    items_page(body, "securityGroups", report)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_item_that_cannot_be_parsed_counts_and_is_reported() {
        let reports = Cell::new(0);
        let report = |invalid: InvalidField| {
            assert_eq!((invalid.field, &*invalid.form), ("bots", "cannot be parsed"));
            reports.set(reports.get() + 1);
        };
        let body = br#"{"bots": [{"id": "a"}, null, 7, {"id": "b", "id": "c"}]}"#;
        #[derive(Default, serde::Deserialize)]
        struct Bot {
            id: lenient::Text,
        }
        let (bots, _) = items_page::<Bot>(body, "bots", report).unwrap();
        let ids: Vec<_> = bots.iter().map(|bot| bot.id.as_str()).collect();
        assert_eq!((ids, reports.get()), (vec!["a", "", "", ""], 3));
    }
}
