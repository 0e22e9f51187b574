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
#[cfg(test)]
pub(crate) mod fixtures;
mod lookups;
mod network;
mod network_state;
mod publisher;
mod registry;
pub mod state;
mod stats;
mod summary;
mod user;

use std::{collections::BTreeMap, sync::Arc};

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
pub use publisher::Publisher;
pub use registry::{Registrar, open};
pub use summary::{Summary, TypeSummary, idle_millis};
pub use user::{Freshness, SharedFacts, UserData, UserFacts, UserRecord};

use crate::wickr::NetworkId;
use registry::Registry;

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

    /// Resolves when a view was published since the last call. Only one task can wait.
    pub async fn changed(&self) {
        self.registry.changed.notified().await;
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
