//! A device, and the devices of a user: held, or worked out anew from a seed.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::fleet::{Overrides, days, hours};
use super::generate::{Recipe, generate_devices};

/// Begins a device with this `appId`: an active iOS one, created 90 days ago, last logged in
/// an hour ago.
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
    /// Its place in the order in which the user's devices came: breaks ties when sorted.
    pub(super) serial: u64,
    pub(super) app_id: String,
    pub(super) kind: Cow<'static, str>,
    pub(super) status: Cow<'static, str>,
    pub(super) suspend: bool,
    /// Milliseconds since 1970.
    pub(super) created_ms: i64,
    pub(super) last_login_ms: Option<i64>,
    pub(super) raw: Option<Box<Value>>,
    pub(super) overrides: Overrides,
}

impl Device {
    /// Its `appId`; none where raw JSON has none.
    pub fn app_id(&self) -> Option<&str> {
        match &self.raw {
            Some(raw) => raw.get("appId").and_then(Value::as_str),
            None => Some(&self.app_id),
        }
    }

    /// Its operating system, the member `type`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Cow::Owned(kind.into());
        self
    }

    /// Its `statusText`.
    #[must_use]
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.status = Cow::Owned(status.into());
        self
    }

    /// Suspended: `suspend` is true, `statusText` is `Suspended`.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.set_suspended(true);
        self
    }

    /// Marked for reset: `statusText` is `Reset`.
    #[must_use]
    pub fn reset(self) -> Self {
        self.status("Reset")
    }

    /// When it was created.
    #[must_use]
    pub fn created_at(mut self, at: Timestamp) -> Self {
        self.created_ms = at.as_millisecond();
        self
    }

    /// How long ago it was created.
    #[must_use]
    pub fn created_ago(mut self, ago: Duration) -> Self {
        self.created_ms = ms_ago(ago);
        self
    }

    /// When it last logged in.
    #[must_use]
    pub fn last_login_at(mut self, at: Timestamp) -> Self {
        self.last_login_ms = Some(at.as_millisecond());
        self
    }

    /// How long ago it last logged in.
    #[must_use]
    pub fn last_login_ago(mut self, ago: Duration) -> Self {
        self.last_login_ms = Some(ms_ago(ago));
        self
    }

    /// Never logged in: `lastLogin` is absent, null or empty, which of them by its place
    /// among the user's devices.
    #[must_use]
    pub fn never_logged_in(mut self) -> Self {
        self.last_login_ms = None;
        self
    }

    /// Sets a member of the written device, whatever its type.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
    }

    /// Leaves a member out of the written device.
    #[must_use]
    pub fn without(mut self, member: &str) -> Self {
        self.overrides.set(member, None);
        self
    }

    /// It logs in now.
    pub fn log_in(&mut self) {
        self.last_login_ms = Some(Timestamp::now().as_millisecond());
    }

    /// Suspends it or lifts the suspension.
    pub fn set_suspended(&mut self, suspended: bool) {
        self.suspend = suspended;
        self.status = Cow::Borrowed(if suspended { "Suspended" } else { "Active" });
    }

    pub(super) fn from_raw(raw: Value) -> Self {
        Self { raw: Some(Box::new(raw)), ..device("") }
    }
}

/// The devices of one user. Generated ones are worked out from their recipe at each reading
/// until something changes one of them: a million users fit in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    /// In place of `held`, as long as nothing was changed.
    recipe: Option<Recipe>,
    held: Vec<Device>,
    next_serial: u64,
}

impl Devices {
    pub(super) fn generated(recipe: Recipe) -> Self {
        Self { recipe: Some(recipe), ..Self::default() }
    }

    pub(super) fn read(&self) -> Cow<'_, [Device]> {
        match &self.recipe {
            Some(recipe) => Cow::Owned(generate_devices(recipe)),
            None => Cow::Borrowed(&self.held),
        }
    }

    pub(super) fn write(&mut self) -> &mut Vec<Device> {
        if let Some(recipe) = self.recipe.take() {
            self.held = generate_devices(&recipe);
            self.next_serial = self.held.len() as u64;
        }
        &mut self.held
    }

    pub(super) fn push(&mut self, mut device: Device) {
        self.write();
        device.serial = self.next_serial;
        self.next_serial += 1;
        self.held.push(device);
    }
}

pub(super) fn ms_ago(ago: Duration) -> i64 {
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(ago)
}
