//! A device and its builder, and the devices of a user: stored, or generated from a seed.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::fleet::{Overrides, days, hours, setters};
use super::generate::DeviceGenerator;

/// A device with this `appId`: active, iOS, created 90 days ago, logged in an hour ago.
pub fn device(app_id: impl Into<String>) -> Device {
    Device {
        serial: 0,
        app_id: app_id.into(),
        kind: Cow::Borrowed("iOS"),
        status: Cow::Borrowed("Active"),
        suspend: false,
        created_ms: ms_ago(days(90)),
        last_login_ms: Some(ms_ago(hours(1))),
        raw: None,
        overrides: Overrides::default(),
    }
}

/// A device of a user.
#[derive(Clone, Debug)]
pub struct Device {
    /// Position in the order of addition, which breaks ties in sort order.
    pub(super) serial: u64,
    pub(super) app_id: String,
    pub(super) kind: Cow<'static, str>,
    pub(super) status: Cow<'static, str>,
    pub(super) suspend: bool,
    /// In milliseconds since 1970, as `last_login_ms`.
    pub(super) created_ms: i64,
    pub(super) last_login_ms: Option<i64>,
    pub(super) raw: Option<Box<Value>>,
    pub(super) overrides: Overrides,
}

impl Device {
    setters! { device;
        /// Sets `type`, the operating system.
        kind(kind: impl Into<String>) { device.kind = Cow::Owned(kind.into()); }
        /// Sets `statusText`.
        status(status: impl Into<String>) { device.status = Cow::Owned(status.into()); }
        /// Sets `suspend` and the `statusText` `Suspended`.
        suspended() { device.set_suspended(true); }
        /// Sets the `statusText` `Reset`.
        reset() { device.status = Cow::Borrowed("Reset"); }
        /// Sets the creation time.
        created_at(at: Timestamp) { device.created_ms = at.as_millisecond(); }
        /// Sets the creation time to this long ago.
        created_ago(ago: Duration) { device.created_ms = ms_ago(ago); }
        /// Sets the last login.
        last_login_at(at: Timestamp) { device.last_login_ms = Some(at.as_millisecond()); }
        /// Sets the last login to this long ago.
        last_login_ago(ago: Duration) { device.last_login_ms = Some(ms_ago(ago)); }
        /// Removes the last login: `lastLogin` is absent, null or empty, by the device's serial.
        never_logged_in() { device.last_login_ms = None; }
        /// Sets a member of the device's JSON.
        with(member: &str, value: impl Into<Value>) { device.overrides.set(member, Some(value.into())); }
        /// Removes a member of the device's JSON.
        without(member: &str) { device.overrides.set(member, None); }
    }

    /// Its `appId`; `None` if raw JSON lacks one.
    pub fn app_id(&self) -> Option<&str> {
        match &self.raw {
            Some(raw) => raw.get("appId").and_then(Value::as_str),
            None => Some(&self.app_id),
        }
    }

    /// Sets the last login to now.
    pub fn log_in(&mut self) {
        self.last_login_ms = Some(Timestamp::now().as_millisecond());
    }

    /// Suspends or reactivates the device.
    pub fn set_suspended(&mut self, suspended: bool) {
        self.suspend = suspended;
        self.status = Cow::Borrowed(if suspended { "Suspended" } else { "Active" });
    }

    pub(super) fn from_raw(raw: Value) -> Self {
        Self { raw: Some(Box::new(raw)), ..device("") }
    }
}

/// The devices of one user. Generated devices are stored only after a change, so that a
/// million users fit in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    /// Replaces `stored` until the first change.
    generator: Option<DeviceGenerator>,
    stored: Vec<Device>,
    next_serial: u64,
}

impl Devices {
    pub(super) fn generated(generator: DeviceGenerator) -> Self {
        Self { generator: Some(generator), ..Self::default() }
    }

    pub(super) fn read(&self) -> Cow<'_, [Device]> {
        match &self.generator {
            Some(generator) => Cow::Owned(generator.devices()),
            None => Cow::Borrowed(&self.stored),
        }
    }

    pub(super) fn write(&mut self) -> &mut Vec<Device> {
        if let Some(generator) = self.generator.take() {
            self.stored = generator.devices();
            self.next_serial = self.stored.len() as u64;
        }
        &mut self.stored
    }

    pub(super) fn push(&mut self, mut device: Device) {
        self.write();
        device.serial = self.next_serial;
        self.next_serial += 1;
        self.stored.push(device);
    }
}

pub(super) fn ms_ago(ago: Duration) -> i64 {
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(ago)
}
