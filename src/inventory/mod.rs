//! Networks, their users and devices, and how fresh that data is.
//!
//! A [`Registrar`] adds networks. A [`Publisher`] records the polls of one network and belongs to its
//! poller. A [`Reader`] takes snapshots without a lock. Published views never change, so a scrape is
//! consistent from its first line to its last.
//!
//! Ages are computed when data is read, so stale data expires even if no poll ever ends. They are
//! differences of steady times, so a step of the local clock does not change them.

mod block;
mod changes;
mod collected;
mod lookups;
mod network;
mod network_state;
pub mod state;
mod stats;
mod summary;
mod user;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub use block::{Block, BlockVersion, Users};
pub use changes::{ChangeCounts, ChangeKind, DeviceChange};
pub use collected::{
    Collected, Collection, CollectorRecord, CollectorRecorder, LastRun, LastSuccess, Sample,
};
pub use lookups::{Account, Attempt, Lookup, LookupFailure, Lookups, ShardInfo, Subject};
pub use network::{
    Directory, DiscoveredUsers, LastPoll, ListedCounts, NetworkIdentity, NetworkView, PollLog,
    PollResult, Progress, Sso,
};
pub use summary::{Summary, TypeSummary, idle_millis};
pub use user::{Freshness, UserData, UserFacts, UserRecord};

use crate::{
    clock::{Millis, Moment},
    wickr::{Device, ErrorKind, NetworkId, UserId},
};
use collected::CollectedSlot;
use network_state::NetworkState;
use state::{RestoredCollector, RestoredNetwork};

/// During a poll, results are published in batches: each view has a cost.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// The current view of one network.
type ViewSlot = Arc<ArcSwap<NetworkView>>;

/// The views of all networks.
#[derive(Debug, Default)]
struct Registry {
    slots: ArcSwap<Vec<ViewSlot>>,
    /// What collectors read, for networks with collectors.
    collected: ArcSwap<Vec<Arc<CollectedSlot>>>,
    accounts: ArcSwap<Vec<Account>>,
    shard: ArcSwap<Option<ShardInfo>>,
    /// Whether scrapes expose changes of devices only once they are saved.
    defers_changes: AtomicBool,
    /// Whether each change of a device is logged.
    logs_changes: AtomicBool,
    /// Whether all networks that are known at the start were added.
    complete: AtomicBool,
    /// Never reset: a network that is added later must not hide the others.
    ready: AtomicBool,
}

impl Registry {
    fn is_ready(&self) -> bool {
        if self.ready.load(Ordering::Relaxed) {
            return true;
        }
        if !self.complete.load(Ordering::Acquire) {
            return false;
        }
        let slots = self.slots.load();
        let ready = slots.iter().all(|slot| slot.load().is_ready());
        // An empty inventory is ready, but a network that is added later can change that.
        if ready && !slots.is_empty() {
            self.ready.store(true, Ordering::Relaxed);
        }
        ready
    }

    fn update(&self, change: impl Fn(&mut Vec<ViewSlot>)) {
        self.slots.rcu(|slots| {
            let mut slots = Vec::clone(slots);
            change(&mut slots);
            slots
        });
    }

    fn update_collected(&self, change: impl Fn(&mut Vec<Arc<CollectedSlot>>)) {
        self.collected.rcu(|slots| {
            let mut slots = Vec::clone(slots);
            change(&mut slots);
            slots
        });
    }
}

/// Creates an empty inventory.
pub fn open() -> (Registrar, Reader) {
    let registry = Arc::new(Registry::default());
    (Registrar { registry: registry.clone() }, Reader { registry })
}

/// Adds networks. A network stays until its publisher is withdrawn.
#[derive(Debug)]
pub struct Registrar {
    registry: Arc<Registry>,
}

impl Registrar {
    /// Adds a network, with the data that the state file had for it.
    pub fn add(&self, identity: NetworkIdentity, restored: Option<RestoredNetwork>) -> Publisher {
        let state = match restored {
            Some(restored) => NetworkState::restored(identity, restored),
            None => NetworkState::new(identity),
        };
        let slot = Arc::new(ArcSwap::from_pointee(state.view()));
        // Stores the readiness of the networks so far: the new one must not reset it.
        self.registry.is_ready();
        self.registry.update(|slots| slots.push(slot.clone()));
        let registry = self.registry.clone();
        Publisher { state, slot, registry, published: Instant::now(), unpublished: false }
    }

    /// Adds records of a network's collectors, with none enabled. `restored` is what the state file has
    /// for them.
    pub fn add_collectors(
        &self,
        network: NetworkId,
        restored: Vec<RestoredCollector>,
    ) -> CollectorRecorder {
        let slot = Arc::new(CollectedSlot { network, records: ArcSwap::default() });
        self.registry.update_collected(|slots| slots.push(slot.clone()));
        CollectorRecorder { slot, registry: self.registry.clone(), restored: restored.into() }
    }

    /// Sets the accounts whose networks are looked up.
    pub fn set_accounts(&self, accounts: Vec<Account>) {
        self.registry.accounts.store(Arc::new(accounts));
    }

    /// Sets the shard of this process. None if it polls all users.
    pub fn set_shard(&self, shard: Option<ShardInfo>) {
        self.registry.shard.store(Arc::new(shard));
    }

    /// From now on, views do not expose changes of devices by themselves:
    /// [`NetworkView::expose_changes`] does, once the view is saved.
    pub fn defer_changes(&self) {
        self.registry.defers_changes.store(true, Ordering::Relaxed);
    }

    /// Sets whether each change of a device is logged.
    pub fn set_log_changes(&self, enabled: bool) {
        self.registry.logs_changes.store(enabled, Ordering::Relaxed);
    }

    /// All networks that are known at the start were added. The inventory is not ready before.
    pub fn mark_complete(&self) {
        self.registry.complete.store(true, Ordering::Release);
    }
}

/// Records the polls and lookups of one network, and publishes its views.
#[derive(Debug)]
pub struct Publisher {
    state: NetworkState,
    slot: ViewSlot,
    registry: Arc<Registry>,
    published: Instant,
    /// Whether the state has changed since it was published.
    unpublished: bool,
}

impl Publisher {
    /// Removes the network. A dropped publisher leaves its last view, so that it is still saved.
    pub fn withdraw(self) {
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

    /// Whether a user has data, expired or not.
    pub fn has_data(&self, user: &UserId) -> bool {
        self.state.has_data(user)
    }

    /// Whether the last poll covered all users of a complete list.
    pub fn is_covered(&self) -> bool {
        self.state.is_covered()
    }

    /// A user was read, at `at`.
    pub fn read(&mut self, user: &UserId, devices: Vec<Device>, at: Millis) {
        let changes = self.state.read(user, devices, at);
        if self.registry.logs_changes.load(Ordering::Relaxed) {
            self.log_changes(user, &changes);
        }
        self.publish_batch();
    }

    /// A user could not be read. Its last known data stays until it expires.
    pub fn failed(&mut self, user: &UserId, kind: ErrorKind) {
        self.state.failed(user, kind);
        self.publish_batch();
    }

    /// The service does not know a user: its data is dropped.
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
                app_id = &**app_id,
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
        self.published = Instant::now();
        self.unpublished = false;
    }
}

/// Takes snapshots of the inventory.
#[derive(Debug, Clone)]
pub struct Reader {
    registry: Arc<Registry>,
}

impl Reader {
    /// The current views of all networks.
    pub fn snapshot(&self) -> Snapshot {
        let mut networks: Vec<_> =
            self.registry.slots.load().iter().map(|slot| slot.load_full()).collect();
        networks.sort_by(|a, b| a.identity.id.cmp(&b.identity.id));
        let (accounts, shard) = (self.registry.accounts.load_full(), **self.registry.shard.load());
        let collected = self.registry.collected.load();
        let collected =
            collected.iter().map(|slot| (slot.network.clone(), slot.records.load_full())).collect();
        Snapshot { networks, collected, accounts, shard }
    }

    /// Whether, at any time so far, every network had ended its first poll and its first lookups,
    /// with success or failure.
    pub fn is_ready(&self) -> bool {
        self.registry.is_ready()
    }
}

/// The inventory at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Sorted by id.
    pub networks: Vec<Arc<NetworkView>>,
    /// What the collectors of each network have read.
    pub collected: BTreeMap<NetworkId, Arc<Collected>>,
    /// The accounts whose networks are looked up.
    pub accounts: Arc<Vec<Account>>,
    /// The shard of this process. None if it polls all users.
    pub shard: Option<ShardInfo>,
}

impl Snapshot {
    /// Whether a network has changes of devices that are not exposed.
    pub fn has_unexposed_changes(&self) -> bool {
        self.networks.iter().any(|network| network.has_unexposed_changes())
    }
}
