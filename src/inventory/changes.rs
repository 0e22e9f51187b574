//! Changes of devices between two successive reads of a user.

use std::{
    cmp::Ordering,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    named::named_values,
    wickr::{ApiTimestamp, AppId, Device, InternedStr},
};

named_values! {
    /// The kind of a change: the label `change`.
    pub enum ChangeKind {
        /// The device is new.
        Added = "added",
        /// The device is gone.
        Removed = "removed",
        /// `suspend` changed from false to true.
        Suspended = "suspended",
        /// `suspend` changed from true to false.
        Unsuspended = "unsuspended",
        /// The device is now marked for reset.
        Reset = "reset",
        /// The last login is later, or the first.
        Login = "login",
    }
}

/// One change of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChange {
    /// What changed.
    pub kind: ChangeKind,
    /// The device.
    pub app_id: AppId,
    /// Its type; the last known one if it is gone.
    pub device_type: InternedStr,
}

/// Numbers of changes, in the order of [`ChangeKind::ALL`].
pub type ChangeCounts = [u64; 6];

/// The changes from one read of a user to the next. Both lists are sorted by `appId`, devices without one
/// last; these are not compared.
pub(super) fn changes_between(before: &[Device], now: &[Device]) -> Vec<DeviceChange> {
    let mut changes = Vec::new();
    let mut add = |kind, device: &Device| {
        if let Some(app_id) = device.app_id.clone() {
            changes.push(DeviceChange { kind, app_id, device_type: device.device_type().clone() });
        }
    };
    let has_id = |device: &&Device| device.app_id.is_some();
    let mut before = before.iter().filter(has_id).peekable();
    let mut now = now.iter().filter(has_id).peekable();
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.app_id.cmp(&new.app_id),
        };
        let old = before.next_if(|_| order.is_le());
        let new = now.next_if(|_| order.is_ge());
        match (old, new) {
            (Some(old), None) => add(ChangeKind::Removed, old),
            (None, Some(new)) => add(ChangeKind::Added, new),
            (Some(old), Some(new)) => {
                changes_of(old, new).into_iter().flatten().for_each(|kind| add(kind, new));
            }
            (None, None) => {}
        }
    }
    changes
}

/// A state that the API did not return is no change.
fn changes_of(old: &Device, new: &Device) -> [Option<ChangeKind>; 3] {
    let suspension = match (old.suspended(), new.suspended()) {
        (Some(false), Some(true)) => Some(ChangeKind::Suspended),
        (Some(true), Some(false)) => Some(ChangeKind::Unsuspended),
        _ => None,
    };
    let is_login = match (old.last_login.millis(), new.last_login.millis()) {
        (Some(old), Some(new)) => new > old,
        (None, Some(_)) => old.last_login == ApiTimestamp::NEVER,
        _ => false,
    };
    let is_reset = new.is_reset() && !old.is_reset();
    [suspension, is_reset.then_some(ChangeKind::Reset), is_login.then_some(ChangeKind::Login)]
}

/// The changes of a network that scrapes expose. With a state file, these are at most the saved ones:
/// after a crash, a counter must not decrease, because Prometheus would count all of it again.
#[derive(Debug, Default)]
pub(super) struct ExposedChanges([AtomicU64; 6]);

impl ExposedChanges {
    pub(super) fn new(counts: ChangeCounts) -> ExposedChanges {
        ExposedChanges(counts.map(AtomicU64::new))
    }

    pub(super) fn raise(&self, counts: ChangeCounts) {
        for (exposed, count) in self.0.iter().zip(counts) {
            exposed.fetch_max(count, Relaxed);
        }
    }

    pub(super) fn counts(&self) -> ChangeCounts {
        self.0.each_ref().map(|count| count.load(Relaxed))
    }
}

impl PartialEq for ExposedChanges {
    fn eq(&self, other: &ExposedChanges) -> bool {
        self.counts() == other.counts()
    }
}

#[cfg(test)]
mod tests {
    use ChangeKind::*;

    use super::*;
    use crate::{inventory::fixtures::device, wickr::DeviceAttributes};

    fn kinds(before: &[Device], now: &[Device]) -> Vec<(ChangeKind, String)> {
        let changes = changes_between(before, now).into_iter();
        changes.map(|change| (change.kind, change.app_id.to_string())).collect()
    }

    #[test]
    fn compares_devices_by_app_id() {
        let with = |ids: &[&str]| ids.iter().map(|id| device(id)).collect::<Vec<_>>();
        let change = |kind, id: &str| (kind, id.to_owned());
        let (before, now) = (with(&["a", "b", "d"]), with(&["b", "c", "e"]));
        assert_eq!(
            kinds(&before, &now),
            [change(Removed, "a"), change(Added, "c"), change(Removed, "d"), change(Added, "e")]
        );
        assert_eq!(kinds(&before, &before), []);
        assert_eq!(kinds(&[], &with(&["a"])), [change(Added, "a")]);
        assert_eq!(kinds(&with(&["a"]), &[]), [change(Removed, "a")]);
        let without_id = Device { app_id: None, ..device("") };
        assert_eq!(kinds(&[without_id.clone(), without_id.clone()], &[without_id]), []);
    }

    #[test]
    fn counts_known_transitions_only() {
        let now = |change: &dyn Fn(&mut Device)| {
            let mut device = device("a");
            change(&mut device);
            device
        };
        let suspended = |suspended| {
            now(&move |d| d.attributes = DeviceAttributes::new("iOS", "Active", suspended).into())
        };
        let status = |status: &'static str| {
            now(&move |d| d.attributes = DeviceAttributes::new("iOS", status, None).into())
        };
        let login = |at| now(&move |d| d.last_login = at);
        let (at, never, invalid) =
            (ApiTimestamp::at_millis, ApiTimestamp::NEVER, ApiTimestamp::INVALID);
        for (before, after, expected) in [
            (suspended(Some(false)), suspended(Some(true)), Some(Suspended)),
            (suspended(Some(true)), suspended(Some(false)), Some(Unsuspended)),
            (suspended(None), suspended(Some(true)), None),
            (suspended(Some(true)), suspended(None), None),
            (status("Active"), status("reset"), Some(Reset)),
            (status("Reset"), status("RESET"), None),
            (status("Reset"), status("Active"), None),
            (login(at(1)), login(at(2)), Some(Login)),
            (login(at(2)), login(at(1)), None),
            (login(never), login(at(1)), Some(Login)),
            (login(at(1)), login(never), None),
            (login(invalid), login(at(1)), None),
            (login(at(1)), login(invalid), None),
        ] {
            let kinds = kinds(std::slice::from_ref(&before), std::slice::from_ref(&after));
            let expected: Vec<_> =
                expected.map(|kind| (kind, "a".to_owned())).into_iter().collect();
            assert_eq!(kinds, expected, "{before:?} {after:?}");
        }
        let all = Device {
            attributes: DeviceAttributes::new("iOS", "Reset", Some(true)).into(),
            last_login: at(1),
            ..device("a")
        };
        let kinds: Vec<_> =
            kinds(&[device("a")], &[all]).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Suspended, Reset, Login]);
    }
}
