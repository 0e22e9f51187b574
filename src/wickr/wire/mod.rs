//! What the service's JSON says, read with patience: every member may be missing, null or of a
//! wrong type, and a malformed one spoils only itself.
//!
//! `page` cuts answers into items. Devices are the bulk, so `device` reads them by borrowing, without
//! a tree in between. Users, networks and groups are few and go through [`serde_json::Value`], in
//! `directory`.

use jiff::tz::TimeZone;

use super::{Interner, Operation};
use device::{Quick, RawDevice};

mod device;
mod directory;
mod page;

pub use device::{Device, Flaw};
use directory::Usable;
pub use directory::{Network, SecurityGroup, User};
use page::page;

/// Reads a page of a user's devices: those on it, and the token that leads to the next page. Each
/// flaw in a device is told to `flaw` and spoils only itself; times without a zone are in `zone`.
///
/// # Errors
///
/// When it is no page: no JSON, cut short, or an object that is about something else.
pub fn devices_page(
    body: &[u8],
    labels: &Interner,
    zone: &TimeZone,
    flaw: &mut dyn FnMut(Flaw),
) -> serde_json::Result<(Vec<Device>, Option<String>)> {
    if let Ok((raw, token)) = page::<Quick<'_>>(body, "devices", false) {
        let devices = raw.iter().filter_map(|Quick(raw)| raw.read(labels, zone, flaw)).collect();
        return Ok((devices, token));
    }
    devices_page_carefully(body, labels, zone, flaw)
}

/// Does what [`devices_page`] does, and more slowly: each value is cut out first and read by itself.
/// Both say the same of a page that the quick way can read.
///
/// # Errors
///
/// As [`devices_page`].
pub fn devices_page_carefully(
    body: &[u8],
    labels: &Interner,
    zone: &TimeZone,
    flaw: &mut dyn FnMut(Flaw),
) -> serde_json::Result<(Vec<Device>, Option<String>)> {
    let (raw, token) = page::<RawDevice<'_>>(body, "devices", false)?;
    Ok((raw.iter().filter_map(|raw| raw.read(labels, zone, flaw)).collect(), token))
}

/// Reads a page of a network's users, and the token that leads to the next page.
///
/// # Errors
///
/// When it is no page: no JSON, cut short, or an object that is about something else.
pub fn users_page(body: &[u8]) -> serde_json::Result<(Vec<User>, Option<String>)> {
    page(body, Operation::ListUsers.member(), true)
}

/// Reads a page of an account's networks, none for each that comes without a usable id, and the
/// token that leads to the next page.
///
/// # Errors
///
/// As [`users_page`].
pub fn networks_page(body: &[u8]) -> serde_json::Result<(Vec<Option<Network>>, Option<String>)> {
    let (networks, token) = page(body, Operation::ListNetworks.member(), true)?;
    Ok((networks.into_iter().map(|Usable(network)| network).collect(), token))
}

/// Reads a page of a network's security groups, and the token that leads to the next page.
///
/// # Errors
///
/// As [`users_page`], and when a group has no id.
pub fn security_groups_page(
    body: &[u8],
) -> serde_json::Result<(Vec<SecurityGroup>, Option<String>)> {
    page(body, Operation::ListSecurityGroups.member(), true)
}
