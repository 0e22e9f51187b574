//! A user and its builder.

use std::borrow::Cow;

use serde_json::Value;

use super::device::{Device, Devices};
use super::fleet::{Overrides, setters};

/// A user with this id (1 to 10 digits): active, without devices and groups.
pub fn user(id: impl Into<String>) -> User {
    let id = id.into();
    User {
        username: format!("user-{id}@example.com"),
        first_name: Cow::Borrowed("Jane"),
        last_name: Cow::Borrowed("Doe"),
        status: 2,
        suspended: false,
        admin: false,
        invite_code: None,
        invite_expired: false,
        groups: Vec::new(),
        devices: Devices::default(),
        overrides: Overrides::default(),
        id,
    }
}

/// A user and its devices.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) first_name: Cow<'static, str>,
    pub(super) last_name: Cow<'static, str>,
    pub(super) status: i64,
    pub(super) suspended: bool,
    pub(super) admin: bool,
    pub(super) invite_code: Option<String>,
    pub(super) invite_expired: bool,
    pub(super) groups: Vec<String>,
    pub(super) devices: Devices,
    pub(super) overrides: Overrides,
}

impl User {
    setters! { user;
        /// Sets the username, an email address.
        username(username: impl Into<String>) { user.username = username.into(); }
        /// Sets first and last name.
        named(first: impl Into<String>, last: impl Into<String>) {
            user.first_name = Cow::Owned(first.into());
            user.last_name = Cow::Owned(last.into());
        }
        /// Sets status 1 (pending) and an invite code.
        pending(invite_code: impl Into<String>) {
            user.status = 1;
            user.invite_code = Some(invite_code.into());
        }
        /// Suspends the user, not its devices.
        suspended() { user.suspended = true; }
        /// Makes the user an administrator.
        admin() { user.admin = true; }
        /// Adds a security group.
        in_group(group: impl Into<String>) { user.groups.push(group.into()); }
        /// Adds a device.
        device(device: Device) { user.add_device(device); }
        /// Adds devices.
        with_devices(devices: impl IntoIterator<Item = Device>) {
            devices.into_iter().for_each(|device| user.add_device(device));
        }
        /// Adds a device of arbitrary JSON.
        device_raw(value: impl Into<Value>) { user.add_device(Device::from_raw(value.into())); }
        /// Sets a member of the user's JSON.
        with(member: &str, value: impl Into<Value>) { user.overrides.set(member, Some(value.into())); }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The devices in the order of their addition.
    pub fn devices(&self) -> Cow<'_, [Device]> {
        self.devices.read()
    }

    /// Adds a device, even if another has the same `appId`.
    pub fn add_device(&mut self, device: Device) {
        self.devices.push(device);
    }

    /// The first device with this `appId`.
    pub fn device_mut(&mut self, app_id: &str) -> Option<&mut Device> {
        self.devices.write().iter_mut().find(|device| device.app_id() == Some(app_id))
    }

    /// Removes the devices for which `keep` returns false.
    pub fn retain_devices(&mut self, keep: impl FnMut(&Device) -> bool) {
        self.devices.write().retain(keep);
    }

    /// Removes the devices with this `appId`. Returns whether any existed.
    pub fn remove_device(&mut self, app_id: &str) -> bool {
        let before = self.devices().len();
        self.retain_devices(|device| device.app_id() != Some(app_id));
        self.devices().len() < before
    }
}
