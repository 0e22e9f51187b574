//! What is known: networks, their users, the users' devices, and how fresh all of it is.
//!
//! The room has three handles. The [`Registrar`] adds networks. A [`Publisher`] writes one network's
//! polls; there is one for each, and it is its network's scheduler that holds it. A [`Reader`] takes snapshots: it waits for nobody
//! and holds no lock. What is published never changes, so a scrape works on one truth from its
//! first line to its last.
//!
//! Ages are worked out when somebody reads, from the clock, and not when somebody writes: stale
//! data goes in time even if no poll ever ends.

mod block;
mod figures;
mod lookups;
mod network;
mod network_state;
pub mod state;
mod summary;
mod user;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub use block::{Block, BlockVersion, Users};
pub use lookups::{Account, Attempt, Lookup, LookupFailure, Lookups, ShardInfo, Subject};
pub use network::{
    Directory, DiscoveredUsers, LastPoll, NetworkIdentity, NetworkView, PollLog, PollResult,
    Progress, Sso,
};
pub use summary::{Summary, TypeSummary, idle_millis};
pub use user::{Freshness, UserData, UserFacts, UserRecord};

use crate::{
    clock::Millis,
    wickr::{Device, ErrorKind, UserId},
};
use network_state::NetworkState;
use state::RestoredNetwork;

/// While a poll is under way, its results are published in lots: a view is not made anew for each.
const LOT: Duration = Duration::from_millis(100);

/// Where views of one network are published.
type Cell = Arc<ArcSwap<NetworkView>>;

/// All cells, and whether they are all.
#[derive(Debug, Default)]
struct Shelf {
    cells: ArcSwap<Vec<Cell>>,
    /// The lookups of all networks.
    accounts: ArcSwap<Vec<Account>>,
    part: ArcSwap<Option<ShardInfo>>,
    settled: AtomicBool,
    /// Once ready, always ready: a network that comes later is no reason to hide the others.
    ready: AtomicBool,
}

impl Shelf {
    fn is_ready(&self) -> bool {
        if self.ready.load(Ordering::Relaxed) {
            return true;
        }
        if !self.settled.load(Ordering::Acquire) {
            return false;
        }
        let cells = self.cells.load();
        let ready = cells.iter().all(|cell| cell.load().is_ready());
        // Without networks there is nothing to wait for yet, but networks may come.
        if ready && !cells.is_empty() {
            self.ready.store(true, Ordering::Relaxed);
        }
        ready
    }

    fn change(&self, change: impl Fn(&mut Vec<Cell>)) {
        self.cells.rcu(|cells| {
            let mut cells = Vec::clone(cells);
            change(&mut cells);
            cells
        });
    }
}

/// Opens an inventory without any network: a door for who adds networks, and one to read.
pub fn open() -> (Registrar, Reader) {
    let shelf = Arc::new(Shelf::default());
    (Registrar { shelf: shelf.clone() }, Reader { shelf })
}

/// Adds networks. They stay until their publisher is withdrawn.
#[derive(Debug)]
pub struct Registrar {
    shelf: Arc<Shelf>,
}

impl Registrar {
    /// Adds a network, with what an earlier process knew of it.
    pub fn add(&self, identity: NetworkIdentity, restored: Option<RestoredNetwork>) -> Publisher {
        let book = match restored {
            Some(restored) => NetworkState::restored(identity, restored),
            None => NetworkState::new(identity),
        };
        let cell = Arc::new(ArcSwap::from_pointee(book.view()));
        // What has been ready until now is known to have been so.
        self.shelf.is_ready();
        self.shelf.change(|cells| cells.push(cell.clone()));
        let shelf = self.shelf.clone();
        Publisher { book, cell, shelf, published: Instant::now(), news: false }
    }

    /// Where networks are looked up, and how that goes.
    pub fn looked_up(&self, accounts: Vec<Account>) {
        self.shelf.accounts.store(Arc::new(accounts));
    }

    /// Only this part of the users is polled; all of them without one.
    pub fn share(&self, part: Option<ShardInfo>) {
        self.shelf.part.store(Arc::new(part));
    }

    /// All networks are here that there are for now: whether everything is ready can be judged.
    pub fn settle(&self) {
        self.shelf.settled.store(true, Ordering::Release);
    }
}

/// Writes what the polls of one network find.
#[derive(Debug)]
pub struct Publisher {
    book: NetworkState,
    cell: Cell,
    shelf: Arc<Shelf>,
    /// When the last view was published, and whether there is news since.
    published: Instant,
    news: bool,
}

impl Publisher {
    /// The network goes. What ends in any other way leaves behind what it has published, to be saved.
    pub fn withdraw(self) {
        self.shelf.change(|cells| cells.retain(|cell| !Arc::ptr_eq(cell, &self.cell)));
    }

    /// The network goes by another name, interval or the like from now on.
    pub fn rename(&mut self, identity: NetworkIdentity) {
        // Lookups start again, which must not withdraw a readiness that nobody has asked for yet.
        self.shelf.is_ready();
        self.book.rename(identity);
        self.publish();
    }

    /// What is known of other users goes at once.
    pub fn retain(&mut self, wanted: impl Fn(&UserId) -> bool) {
        self.book.retain(wanted);
        self.publish();
    }

    /// These users, and all of whom anything is known, have this SSO limit, or none.
    pub fn limit_all(&mut self, users: &[UserId], limit: Option<Duration>) {
        self.book.limit_all(users, limit);
        self.publish();
    }

    /// SSO limits are forgotten unless they are those of security groups.
    pub fn keep_limits_of_groups(&mut self) {
        self.book.keep_limits_of_groups();
        self.publish();
    }

    /// The users of whom anything is known: all that there are, or some.
    pub fn users(&self) -> Vec<UserId> {
        self.book.users()
    }

    /// From now on these are to be polled, and they are, or may not be, `all` that there are.
    pub fn assign(&mut self, users: &[UserId], all: bool) {
        self.book.assign(users, all);
        self.publish();
    }

    /// All users that there are, as discovery found them last.
    pub fn list(&self) -> Option<&DiscoveredUsers> {
        self.book.list()
    }

    /// What discovery tells from now on.
    pub fn set_directory(&mut self, directory: Directory) {
        self.book.set_directory(directory);
        self.publish();
    }

    /// Sets the lookups that the exposition depends on: the network is not ready before the first
    /// attempt of each has ended.
    pub fn need(&mut self, lookups: Vec<Subject>) {
        self.book.need(lookups);
        self.publish();
    }

    /// A lookup for this network ended, at `at`.
    pub fn looked_up(&mut self, subject: Subject, attempt: Attempt, at: Millis) {
        self.book.looked_up(subject, attempt, at);
        self.publish();
    }

    /// Polling begins at `at`. Restored data that is still served stays until the first poll has ended.
    pub fn keep_restored(&mut self, at: Millis) {
        self.book.keep_restored(at);
        self.publish();
    }

    /// A poll of all `users` begins. Data of other users is dropped.
    pub fn begin(&mut self, users: &[UserId]) {
        self.begin_some(users, users.len());
    }

    /// A poll of `asked` of `users` begins. Data of other users is dropped.
    pub fn begin_some(&mut self, users: &[UserId], asked: usize) {
        self.book.begin(users, asked);
        self.publish();
    }

    /// The users of `users` that no poll of this process has asked for.
    pub fn never_asked(&self, users: &[UserId]) -> Vec<UserId> {
        self.book.never_asked(users)
    }

    /// The users of `users` whose last attempt failed.
    pub fn failed_users(&self, users: &[UserId]) -> Vec<UserId> {
        self.book.failed_users(users)
    }

    /// Whether any user's last attempt failed.
    pub fn has_failures(&self) -> bool {
        self.book.has_failures()
    }

    /// Whether a user has data, expired or not.
    pub fn has_data(&self, user: &UserId) -> bool {
        self.book.has_data(user)
    }

    /// Whether the last poll covered all users of a complete list.
    pub fn is_covered(&self) -> bool {
        self.book.is_covered()
    }

    /// A user was read, at `at`.
    pub fn read(&mut self, user: &UserId, devices: Vec<Device>, at: Millis) {
        self.book.read(user, devices, at);
        self.publish_lot();
    }

    /// A user could not be read: its last known data stays until it is overdue for too long.
    pub fn failed(&mut self, user: &UserId, kind: ErrorKind) {
        self.book.failed(user, kind);
        self.publish_lot();
    }

    /// The service does not know a user: its data is dropped.
    pub fn not_found(&mut self, user: &UserId) {
        self.book.not_found(user);
        self.publish_lot();
    }

    /// The poll of all users ends at `at`, after `took`. It is no success unless the user list is
    /// complete (`all`).
    pub fn end(&mut self, at: Millis, took: Duration, all: bool) -> PollResult {
        let result = self.book.end(at, Some(took), all);
        self.publish();
        result
    }

    /// The poll of some users ends at `at`. The result is that of all users.
    pub fn end_some(&mut self, at: Millis, all: bool) -> PollResult {
        let result = self.book.end(at, None, all);
        self.publish();
        result
    }

    /// No poll is under way, and the next one is due at `at`.
    pub fn due(&mut self, at: Millis) {
        self.book.due(at);
        self.publish();
    }

    /// The poll under way has read no user for `stale_after`, at `at`: data that was read before
    /// `began` is overdue.
    pub fn stalled(&mut self, began: Millis, at: Millis) {
        self.book.stalled(began, at);
        self.publish();
    }

    /// The poll under way outlasts the interval.
    pub fn overran(&mut self) {
        self.book.overran();
        self.publish();
    }

    /// Publishes what was not published yet. To be called now and then while a poll waits.
    pub fn flush(&mut self) {
        if self.news {
            self.publish();
        }
    }

    fn publish_lot(&mut self) {
        self.news = true;
        if self.published.elapsed() >= LOT {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.cell.store(Arc::new(self.book.view()));
        self.published = Instant::now();
        self.news = false;
    }
}

/// Reads the inventory.
#[derive(Debug, Clone)]
pub struct Reader {
    shelf: Arc<Shelf>,
}

impl Reader {
    /// Everything, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let mut networks: Vec<_> =
            self.shelf.cells.load().iter().map(|cell| cell.load_full()).collect();
        networks.sort_by(|a, b| a.identity.id.cmp(&b.identity.id));
        let (accounts, part) = (self.shelf.accounts.load_full(), **self.shelf.part.load());
        Snapshot { networks, accounts, part }
    }

    /// Whether at some time every network was known and had ended its first poll and its first
    /// lookups, with success or failure.
    pub fn is_ready(&self) -> bool {
        self.shelf.is_ready()
    }
}

/// Everything, as it was at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By id.
    pub networks: Vec<Arc<NetworkView>>,
    /// Where networks are looked up, and how that goes.
    pub accounts: Arc<Vec<Account>>,
    /// The part of all users that is polled, where it is not the whole.
    pub part: Option<ShardInfo>,
}
