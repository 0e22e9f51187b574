//! The views of all networks, and their registration.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, time::Instant};

use super::{
    Reader,
    collected::{CollectedSlot, CollectorRecorder},
    lookups::{Account, ShardInfo},
    network::{NetworkIdentity, NetworkView},
    network_state::NetworkState,
    publisher::Publisher,
    state::{RestoredCollector, RestoredNetwork},
};
use crate::wickr::NetworkId;

/// The current view of one network.
pub(super) type ViewSlot = Arc<ArcSwap<NetworkView>>;

/// The views of all networks.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) slots: ArcSwap<Vec<ViewSlot>>,
    /// What collectors read, for networks with collectors.
    pub(super) collected: ArcSwap<Vec<Arc<CollectedSlot>>>,
    pub(super) accounts: ArcSwap<Vec<Account>>,
    pub(super) shard: ArcSwap<Option<ShardInfo>>,
    /// Notified when a view is published.
    pub(super) changed: Notify,
    /// Whether scrapes expose changes of devices only once they are saved.
    pub(super) defers_changes: AtomicBool,
    /// Whether each change of a device is logged.
    pub(super) logs_changes: AtomicBool,
    /// Whether all networks that are known at the start were added.
    complete: AtomicBool,
    /// Never reset: a network that is added later must not hide the others.
    ready: AtomicBool,
}

impl Registry {
    pub(super) fn is_ready(&self) -> bool {
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

    pub(super) fn update(&self, change: impl Fn(&mut Vec<ViewSlot>)) {
        self.slots.rcu(|slots| {
            let mut slots = Vec::clone(slots);
            change(&mut slots);
            slots
        });
    }

    pub(super) fn update_collected(&self, change: impl Fn(&mut Vec<Arc<CollectedSlot>>)) {
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
