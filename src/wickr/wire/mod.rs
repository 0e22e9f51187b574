//! What the service's JSON says, read with patience: every member may be missing, null or of a
//! wrong type, and a malformed one spoils only itself.
//!
//! `page` cuts answers into items. Devices are the bulk, so `device` reads them by borrowing, without
//! a tree in between. Users, networks and groups are few and go through [`serde_json::Value`], in
//! `directory`.

mod device;
mod directory;
mod page;

pub use device::Device;
pub(super) use device::{Flaw, RawDevice};
pub(super) use directory::Usable;
pub use directory::{Network, SecurityGroup, User};
pub(super) use page::page;
