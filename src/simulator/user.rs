//! A user and its builder.

use std::borrow::Cow;

use serde_json::Value;

use super::device::{Device, Devices};
use super::fleet::Overrides;

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
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets the username, an email address.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = username.into();
        self
    }

    /// Sets first and last name.
    #[must_use]
    pub fn named(mut self, first: impl Into<String>, last: impl Into<String>) -> Self {
        self.first_name = Cow::Owned(first.into());
        self.last_name = Cow::Owned(last.into());
        self
    }

    /// Sets status 1 (pending) and an invite code.
    #[must_use]
    pub fn pending(mut self, invite_code: impl Into<String>) -> Self {
        self.status = 1;
        self.invite_code = Some(invite_code.into());
        self
    }

    /// Suspends the user, not its devices.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.suspended = true;
        self
    }

    /// Makes the user an administrator.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Adds a security group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Adds a device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.add_device(device);
        self
    }

    /// Adds devices.
    #[must_use]
    pub fn with_devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        devices.into_iter().for_each(|device| self.add_device(device));
        self
    }

    /// Adds a device of arbitrary JSON.
    #[must_use]
    pub fn device_raw(self, value: impl Into<Value>) -> Self {
        self.device(Device::from_raw(value.into()))
    }

    /// Sets a member of the user's JSON.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
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
