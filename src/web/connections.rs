//! The limit on connections.
//!
//! New connections are always accepted, so that a scrape does not wait behind silent clients. If the
//! limit is reached, a connection that waits for a request is closed. The address with the most such
//! connections comes first, then connections without an authorized request, then the longest wait.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{auth::Peer, lock};

/// Connections of the process. A usual limit of open files is 1,024.
const MAX_CONNECTIONS: usize = 512;

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    by_id: BTreeMap<u64, Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    peer: Peer,
    state: Mutex<State>,
    evicted: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// When the connection began to wait for a request.
    since: Instant,
    requested: bool,
    responding: bool,
    authorized: bool,
}

impl Connections {
    pub(super) fn new() -> Arc<Connections> {
        Connections::limited_to(MAX_CONNECTIONS)
    }

    fn limited_to(max: usize) -> Arc<Connections> {
        Arc::new(Connections { max, open: Mutex::default() })
    }

    /// Registers a connection, and returns whether another connection was closed for it. None if the
    /// limit is reached and every other connection is responding.
    pub(super) fn add(self: &Arc<Self>, peer: Peer) -> (Option<Connection>, bool) {
        let mut open = lock(&self.open);
        let full = open.by_id.len() >= self.max;
        if full && !open.evict() {
            return (None, full);
        }
        let id = open.next_id;
        open.next_id += 1;
        let since = Instant::now();
        let state = State { since, requested: false, responding: false, authorized: false };
        let shared =
            Arc::new(Shared { peer, state: Mutex::new(state), evicted: CancellationToken::new() });
        open.by_id.insert(id, shared.clone());
        (Some(Connection { connections: self.clone(), id, shared }), full)
    }

    /// Closes one connection. Returns false if none can be closed.
    pub(super) fn evict(&self) -> bool {
        lock(&self.open).evict()
    }
}

impl Open {
    fn evict(&mut self) -> bool {
        let waiting = self.by_id.iter().filter_map(|(id, shared)| {
            let state = lock(&shared.state);
            (!state.responding).then_some((*id, shared.peer, state.authorized, state.since))
        });
        let waiting: Vec<_> = waiting.collect();
        let mut per_peer: HashMap<Peer, usize> = HashMap::new();
        for (_, peer, ..) in &waiting {
            *per_peer.entry(*peer).or_default() += 1;
        }
        let first = waiting.iter().min_by_key(|(_, peer, authorized, since)| {
            (Reverse(per_peer.get(peer)), *authorized, *since)
        });
        let evicted = first.and_then(|(id, ..)| self.by_id.remove(id));
        evicted.inspect(|shared| shared.evicted.cancel()).is_some()
    }
}

impl Shared {
    fn set_responding(&self, responding: bool) {
        let mut state = lock(&self.state);
        (state.responding, state.since) = (responding, Instant::now());
        state.requested = true;
    }
}

/// One connection. It leaves the registry when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    id: u64,
    shared: Arc<Shared>,
}

impl Connection {
    /// A handle for the connection's requests.
    pub(super) fn requests(&self) -> ConnectionHandle {
        ConnectionHandle(self.shared.clone())
    }

    /// Resolves when the connection has to be closed.
    pub(super) async fn evicted(&self) {
        self.shared.evicted.cancelled().await;
    }

    /// Resolves if no request arrives within `time`.
    pub(super) async fn silent_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
        if lock(&self.shared.state).requested {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.connections.open).by_id.remove(&self.id);
    }
}

/// The requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct ConnectionHandle(Arc<Shared>);

impl ConnectionHandle {
    /// A request arrived. It is responded to until the guard is dropped.
    pub(super) fn begin(&self) -> Responding {
        self.0.set_responding(true);
        Responding(self.0.clone())
    }

    /// A request for more than a public path was authorized.
    pub(super) fn authorized(&self) {
        lock(&self.0.state).authorized = true;
    }
}

/// A response in progress.
#[derive(Debug)]
pub(super) struct Responding(Arc<Shared>);

impl Drop for Responding {
    fn drop(&mut self) {
        self.0.set_responding(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of([127, 0, 0, last].into())
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.shared.evicted.is_cancelled()
    }

    #[test]
    fn evicts_unauthorized_connections_first_and_never_one_that_responds() {
        let connections = Connections::limited_to(3);
        let add = || connections.add(peer(1)).0;
        let authorized = add().unwrap();
        drop(authorized.requests().begin());
        authorized.requests().authorized();
        let busy = add().unwrap();
        let responding = busy.requests().begin();
        let silent = add().unwrap();
        let second = add().unwrap();
        assert_eq!([&authorized, &busy, &silent].map(is_evicted), [false, false, true]);
        let _second = second.requests().begin();
        let third = add().unwrap();
        assert!(is_evicted(&authorized));
        let _third = third.requests().begin();
        assert!(add().is_none());
        drop(responding);
        assert!(add().is_some());
        assert!(is_evicted(&busy));
    }

    #[test]
    fn evicts_a_connection_of_the_address_with_the_most_waiting_ones() {
        let connections = Connections::limited_to(3);
        let add = |last| connections.add(peer(last)).0.unwrap();
        let (lonely, crowd) = (add(1), [add(2), add(2)]);
        crowd.iter().for_each(|connection| connection.requests().authorized());
        let _new = add(3);
        assert_eq!([&lonely, &crowd[0], &crowd[1]].map(is_evicted), [false, true, false]);
    }

    #[test]
    fn evicts_the_connection_that_waits_longest() {
        let connections = Connections::limited_to(2);
        let (first, _) = connections.add(peer(1));
        let (second, evicted) = connections.add(peer(1));
        assert!(!evicted);
        let (first, second) = (first.unwrap(), second.unwrap());
        drop(first.requests().begin());
        assert!(connections.evict());
        assert_eq!([&first, &second].map(is_evicted), [false, true]);
    }

    #[test]
    fn a_dropped_connection_leaves_the_registry() {
        let connections = Connections::limited_to(1);
        drop(connections.add(peer(1)));
        assert!(!connections.add(peer(1)).1);
        assert!(lock(&connections.open).by_id.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_silent() {
        let connections = Connections::limited_to(2);
        let (silent, active) =
            (connections.add(peer(1)).0.unwrap(), connections.add(peer(1)).0.unwrap());
        drop(active.requests().begin());
        let time = Duration::from_secs(10);
        silent.silent_for(time).await;
        assert!(tokio::time::timeout(time * 9, active.silent_for(time)).await.is_err());
    }
}
