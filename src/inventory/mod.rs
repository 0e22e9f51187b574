//! What is known: networks, their users, the users' devices, and how fresh all of it is.
//!
//! The room has two doors. A [`Publisher`] writes one network's polls; there is one for each, and
//! it is its network's scheduler that holds it. A [`Reader`] takes snapshots: it waits for nobody
//! and holds no lock. What is published never changes, so a scrape works on one truth from its
//! first line to its last.
//!
//! Ages are worked out when somebody reads, from the clock, and not when somebody writes: stale
//! data goes in time even if no poll ever ends.

mod network;
mod summary;
mod user;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub use network::{LastPoll, NetworkIdentity, NetworkView, PollLog, PollResult, Progress};
pub use summary::{Summary, TypeSummary, idle_millis};
pub use user::{Ages, Freshness, Reading, UserRecord};

use crate::{
    clock::Millis,
    wickr::{Device, ErrorKind, UserId},
};
use network::Book;

/// While a poll is under way, its results are published in lots: a view of a hundred thousand
/// users is not made anew for each.
const LOT: Duration = Duration::from_millis(100);

/// Where views of one network are published.
type Cell = Arc<ArcSwap<NetworkView>>;

/// Opens the inventory of these networks: a door to write for each, in order, and one to read.
pub fn open(networks: impl IntoIterator<Item = NetworkIdentity>) -> (Vec<Publisher>, Reader) {
    let publishers: Vec<_> = networks.into_iter().map(Publisher::new).collect();
    let cells = publishers.iter().map(|publisher| publisher.cell.clone()).collect();
    (publishers, Reader { cells })
}

/// Writes what the polls of one network find.
#[derive(Debug)]
pub struct Publisher {
    book: Book,
    cell: Cell,
    /// When the last view was published, and whether there is news since.
    published: Instant,
    news: bool,
}

impl Publisher {
    fn new(identity: NetworkIdentity) -> Publisher {
        let book = Book::new(identity);
        let cell = Arc::new(ArcSwap::from_pointee(book.view()));
        Publisher { book, cell, published: Instant::now(), news: false }
    }

    /// A poll of `users` begins; what is known of anybody else goes.
    pub fn begin(&mut self, users: &[UserId]) {
        self.book.begin(users);
        self.publish();
    }

    /// A user was read, at `at`.
    pub fn read(&mut self, user: &UserId, devices: Vec<Device>, at: Millis) {
        self.book.read(user, devices, at);
        self.publish_lot();
    }

    /// A user could not be read.
    pub fn failed(&mut self, user: &UserId, kind: ErrorKind) {
        self.book.failed(user, kind);
        self.publish_lot();
    }

    /// The poll ends, at `at`, after `took`.
    pub fn end(&mut self, at: Millis, took: Duration) -> PollResult {
        let result = self.book.end(at, took);
        self.publish();
        result
    }

    /// The poll that just ended outlasted the interval.
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
    cells: Vec<Cell>,
}

impl Reader {
    /// Everything, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let mut networks: Vec<_> = self.cells.iter().map(|cell| cell.load_full()).collect();
        networks.sort_by(|a, b| a.identity.id.cmp(&b.identity.id));
        Snapshot { networks }
    }

    /// Whether every network's first poll has ended, well or badly.
    pub fn is_ready(&self) -> bool {
        self.cells.iter().all(|cell| cell.load().is_known())
    }
}

/// Everything, as it was at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By id.
    pub networks: Vec<Arc<NetworkView>>,
}
