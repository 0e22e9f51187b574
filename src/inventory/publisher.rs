//! Records polls and lookups, and publishes views.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    changes::DeviceChange,
    lookups::{Attempt, Subject},
    network::{Directory, DiscoveredUsers, NetworkIdentity, PollResult},
    network_state::NetworkState,
    registry::{Registry, ViewSlot},
};
use crate::{
    clock::{Millis, Moment},
    wickr::{Device, ErrorKind, UserId},
};

/// During a poll, results are published in batches, because creating a view takes time.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// Records the polls and lookups of one network, and publishes its views.
#[derive(Debug)]
pub struct Publisher {
    pub(super) state: NetworkState,
    pub(super) slot: ViewSlot,
    pub(super) registry: Arc<Registry>,
    pub(super) published: Instant,
    /// Whether the state has changed since it was published.
    pub(super) unpublished: bool,
}

impl Publisher {
    /// Removes the network; its data is freed with the publisher. A dropped publisher leaves its last
    /// view, so that it is still saved.
    pub fn withdraw(&self) {
        self.registry.update(|slots| slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot)));
    }

    /// Sets the network's name, interval and the like. Its lookups start again.
    pub fn set_identity(&mut self, identity: NetworkIdentity) {
        // Stores the readiness so far: lookups that start again must not reset it.
        self.registry.is_ready();
        self.update(|state| state.set_identity(identity));
    }

    /// Drops the data of all users except `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&UserId) -> bool) {
        self.update(|state| state.retain(wanted));
    }

    /// Sets one SSO limit for `users` and all known users, or removes all limits.
    pub fn set_sso_limit(&mut self, users: &[UserId], limit: Option<Duration>) {
        self.update(|state| state.set_sso_limit(users, limit));
    }

    /// Removes all SSO limits unless they are those of security groups.
    pub fn keep_group_limits(&mut self) {
        self.update(NetworkState::keep_group_limits);
    }

    /// Sets the time zone of API timestamps without a zone. Logins that were read in different time
    /// zones are not compared.
    pub fn set_timezone(&mut self, name: &str) {
        self.update(|state| state.set_timezone(name));
    }

    /// The number of users that have a record.
    pub fn user_count(&self) -> usize {
        self.state.user_count()
    }

    /// The users that have a record.
    pub fn users(&self) -> Vec<UserId> {
        self.state.users()
    }

    /// Sets the user list, which is `complete` if no user can be missing.
    pub fn set_user_list(&mut self, users: &[UserId], complete: bool) {
        self.update(|state| state.set_user_list(users, complete));
    }

    /// The user list that discovery found last.
    pub fn discovered_users(&self) -> Option<&DiscoveredUsers> {
        self.state.discovered_users()
    }

    /// Sets the results of discovery.
    pub fn set_directory(&mut self, directory: Directory) {
        self.update(|state| state.set_directory(directory));
    }

    /// Sets the lookups that the exposition depends on: the network is not ready before the first
    /// attempt of each has ended.
    pub fn set_required_lookups(&mut self, lookups: Vec<Subject>) {
        self.update(|state| state.set_required_lookups(lookups));
    }

    /// A lookup ended, at `at`.
    pub fn record_lookup(&mut self, subject: Subject, attempt: Attempt, at: impl Into<Moment>) {
        self.update(|state| state.record_lookup(subject, attempt, at));
    }

    /// Polling begins at `at`. Restored data that is still served stays until the first poll has ended.
    pub fn keep_restored(&mut self, at: impl Into<Moment>) {
        self.update(|state| state.keep_restored(at));
    }

    /// A poll of all `users` begins. Data of other users is dropped.
    pub fn begin(&mut self, users: &[UserId]) {
        self.begin_partial(users, users.len());
    }

    /// A poll of `count` users of `users` begins. Data of users that are not in `users` is dropped.
    pub fn begin_partial(&mut self, users: &[UserId], count: usize) {
        self.update(|state| state.begin(users, count));
    }

    /// The users of `users` that no poll of this process has requested.
    pub fn never_polled(&self, users: &[UserId]) -> Vec<UserId> {
        self.state.never_polled(users)
    }

    /// The users of `users` whose last request failed.
    pub fn failed_users(&self, users: &[UserId]) -> Vec<UserId> {
        self.state.failed_users(users)
    }

    /// Whether the last request of any user failed.
    pub fn has_failures(&self) -> bool {
        self.state.has_failures()
    }

    /// Whether a user has data that can still be served.
    pub fn has_data(&self, user: &UserId) -> bool {
        self.state.has_data(user)
    }

    /// Whether the last poll covered all users of a complete list.
    pub fn is_covered(&self) -> bool {
        self.state.is_covered()
    }

    /// A user was read, at `at`.
    pub fn record_devices(&mut self, user: &UserId, devices: Vec<Device>, at: Millis) {
        let changes = self.state.read(user, devices, at);
        if self.registry.logs_changes.load(Ordering::Relaxed) {
            self.log_changes(user, &changes);
        }
        self.publish_batch();
    }

    /// A user could not be read. Its last known data stays until it expires.
    pub fn record_failure(&mut self, user: &UserId, kind: ErrorKind) {
        self.state.failed(user, kind);
        self.publish_batch();
    }

    /// The service does not know a user: its data is no longer served.
    pub fn not_found(&mut self, user: &UserId) {
        self.state.not_found(user);
        self.publish_batch();
    }

    /// A poll of all users ends at `at`, after `duration`. It succeeds only if the user list is
    /// `complete`.
    pub fn end(&mut self, at: impl Into<Moment>, duration: Duration, complete: bool) -> PollResult {
        self.update(|state| state.end(at, Some(duration), complete))
    }

    /// A poll of some users ends at `at`. The result covers all users.
    pub fn end_partial(&mut self, at: impl Into<Moment>, complete: bool) -> PollResult {
        self.update(|state| state.end(at, None, complete))
    }

    /// The next poll starts at `at`.
    pub fn set_next_poll(&mut self, at: Moment) {
        self.update(|state| state.set_next_poll(at));
    }

    /// At `at`, the current poll has read no user for `stale_after`: data that it has not read is
    /// overdue.
    pub fn stalled(&mut self, at: impl Into<Moment>) {
        self.update(|state| state.stalled(at));
    }

    /// The current poll takes longer than the interval.
    pub fn overran(&mut self) {
        self.update(NetworkState::overran);
    }

    /// Publishes a batch that is not published yet. Call it while a poll waits for responses.
    pub fn flush(&mut self) {
        if self.unpublished {
            self.publish();
        }
    }

    fn update<T>(&mut self, change: impl FnOnce(&mut NetworkState) -> T) -> T {
        let result = change(&mut self.state);
        self.publish();
        result
    }

    fn log_changes(&self, user: &UserId, changes: &[DeviceChange]) {
        for DeviceChange { kind, app_id, device_type } in changes {
            tracing::info!(
                network_id = %self.state.network_id(),
                user_id = %user,
                app_id = &*app_id.text(),
                device_type = &**device_type,
                change = kind.as_str(),
                "device changed"
            );
        }
    }

    fn publish_batch(&mut self) {
        self.unpublished = true;
        if self.published.elapsed() >= PUBLISH_INTERVAL {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let view = self.state.view();
        if !self.registry.defers_changes.load(Ordering::Relaxed) {
            view.expose_changes();
        }
        self.slot.store(Arc::new(view));
        self.registry.changed.notify_one();
        self.published = Instant::now();
        self.unpublished = false;
    }
}
