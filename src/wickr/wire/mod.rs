//! What the service's JSON says, read with patience: every member may be missing, null or of a
//! wrong type, and a malformed one spoils only itself.
//!
//! `page` cuts answers into items. Devices are the bulk, so `device` reads them by borrowing, without
//! a tree in between. Users, networks and groups are few and go through [`serde_json::Value`], in
//! `directory`.

use jiff::tz::TimeZone;

use super::Interner;
use device::{Quick, RawDevice};

mod device;
mod directory;
mod page;

pub use device::{Device, Flaw};
pub(super) use directory::Usable;
pub use directory::{Network, SecurityGroup, User};
pub(super) use page::page;

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
    let (raw, token) = page::<RawDevice<'_>>(body, "devices", false)?;
    Ok((raw.iter().filter_map(|raw| raw.read(labels, zone, flaw)).collect(), token))
}
