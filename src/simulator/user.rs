//! A user, and how a test writes one down.

use std::borrow::Cow;

use serde_json::Value;

use super::device::{Device, Devices};
use super::fleet::Overrides;

/// Begins a user with this id (1 to 10 digits): active, no device, no group.
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
        groups: Vec::new(),
        devices: Devices::default(),
        overrides: Overrides::default(),
        id,
    }
}

/// A user with its devices.
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
    pub(super) groups: Vec<String>,
    pub(super) devices: Devices,
    pub(super) overrides: Overrides,
}

impl User {
    /// Its digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its username, an email address.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = username.into();
        self
    }

    /// First and last name.
    #[must_use]
    pub fn named(mut self, first: impl Into<String>, last: impl Into<String>) -> Self {
        self.first_name = Cow::Owned(first.into());
        self.last_name = Cow::Owned(last.into());
        self
    }

    /// Invited and not yet there: status 1, with an invite code.
    #[must_use]
    pub fn pending(mut self, invite_code: impl Into<String>) -> Self {
        self.status = 1;
        self.invite_code = Some(invite_code.into());
        self
    }

    /// Suspended as a user, whatever its devices are.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.suspended = true;
        self
    }

    /// An administrator of the network.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// A member of this security group as well.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// With one more device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.add_device(device);
        self
    }

    /// With these devices as well.
    #[must_use]
    pub fn with_devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        devices.into_iter().for_each(|device| self.add_device(device));
        self
    }

    /// With any JSON among its devices.
    #[must_use]
    pub fn device_raw(self, value: impl Into<Value>) -> Self {
        self.device(Device::from_raw(value.into()))
    }

    /// Sets a member of the written user, whatever its type.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
    }

    /// Leaves a member out of the written user.
    #[must_use]
    pub fn without(mut self, member: &str) -> Self {
        self.overrides.set(member, None);
        self
    }

    /// Its devices, in the order in which they came.
    pub fn devices(&self) -> Cow<'_, [Device]> {
        self.devices.read()
    }

    /// Adds a device after all others. A second one with the same `appId` is a second one.
    pub fn add_device(&mut self, device: Device) {
        self.devices.push(device);
    }

    /// The first device with this `appId`, to change.
    pub fn device_mut(&mut self, app_id: &str) -> Option<&mut Device> {
        self.devices.write().iter_mut().find(|device| device.app_id() == Some(app_id))
    }

    /// Keeps the devices for which `keep` holds.
    pub fn retain_devices(&mut self, keep: impl FnMut(&Device) -> bool) {
        self.devices.write().retain(keep);
    }

    /// Removes every device with this `appId`; whether there was one.
    pub fn remove_device(&mut self, app_id: &str) -> bool {
        let before = self.devices().len();
        self.retain_devices(|device| device.app_id() != Some(app_id));
        self.devices().len() < before
    }
}
