//! Verifies passwords without letting guesses occupy the exporter or delay clients.
//!
//! - bcrypt is slow by design: one check runs at a time, on a blocking thread. The delay after a wrong
//!   password limits guessing to a third of one processor.
//! - The number of waiting checks is limited, in total and for each peer.
//! - Results are cached under a keyed hash of user, bcrypt hash and password, so an authenticated
//!   client never waits for guesses.
//! - An unknown user is checked against the hash of a known one, so that it takes as long.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::{Peer, lock};

const MAX_WAITING_PER_PEER: usize = 4;
const MAX_WAITING: usize = 64;
/// The delay after a wrong password, as a multiple of the check's duration, and its maximum.
const DELAY_FACTOR: u32 = 2;
const MAX_DELAY: Duration = Duration::from_millis(500);
/// A set that reaches this size is cleared. Guesses evict only wrong passwords.
const MAX_CACHED: usize = 1024;

type CacheKey = [u8; 32];
/// Waiting checks by peer.
type Waiting = Arc<Mutex<HashMap<Peer, usize>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PasswordCheck {
    Right,
    Wrong,
    /// Not checked: too many checks are waiting.
    Busy,
}

pub(super) struct Passwords {
    /// Random for each process.
    hmac_key: [u8; 32],
    semaphore: Arc<Semaphore>,
    waiting: Waiting,
    cache: Arc<Mutex<Cache>>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

#[derive(Debug, Default)]
struct Cache {
    right: HashSet<CacheKey>,
    wrong: HashSet<CacheKey>,
}

impl Cache {
    fn get(&self, key: &CacheKey) -> Option<PasswordCheck> {
        if self.right.contains(key) {
            return Some(PasswordCheck::Right);
        }
        self.wrong.contains(key).then_some(PasswordCheck::Wrong)
    }

    fn insert(&mut self, key: CacheKey, right: bool) {
        let set = if right { &mut self.right } else { &mut self.wrong };
        if set.len() >= MAX_CACHED {
            set.clear();
        }
        set.insert(key);
    }
}

impl Passwords {
    /// None if the system's random number generator fails.
    pub(super) fn new() -> Option<Passwords> {
        let mut hmac_key = [0; 32];
        getrandom::fill(&mut hmac_key).ok()?;
        let semaphore = Arc::new(Semaphore::new(1));
        Some(Passwords { hmac_key, semaphore, waiting: Arc::default(), cache: Arc::default() })
    }

    /// Whether `password` is that of `user`. `users` maps at least one name to its bcrypt hash.
    pub(super) async fn verify(
        &self,
        users: &BTreeMap<String, String>,
        user: &[u8],
        password: &[u8],
        peer: Peer,
    ) -> PasswordCheck {
        let own = std::str::from_utf8(user).ok().and_then(|name| users.get(name));
        let is_known = own.is_some();
        let Some(hash) = own.or_else(|| self.decoy(users, user)) else {
            return PasswordCheck::Wrong;
        };
        let key = self.cache_key(&[user, hash.as_bytes(), password]);
        let cached = || {
            let verdict = lock(&self.cache).get(&key)?;
            // A user who was right may have been removed.
            Some(if is_known { verdict } else { PasswordCheck::Wrong })
        };
        if let Some(verdict) = cached() {
            return verdict;
        }
        let Some(_slot) = WaitingCheck::take(&self.waiting, peer) else {
            return PasswordCheck::Busy;
        };
        let Ok(permit) = self.semaphore.clone().acquire_owned().await else {
            return PasswordCheck::Busy;
        };
        // An earlier check may have been for the same password.
        if let Some(verdict) = cached() {
            return verdict;
        }
        let (hash, password, cache) = (hash.clone(), password.to_vec(), self.cache.clone());
        // Runs to its end and fills the cache even if the client disconnects.
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let started = Instant::now();
            let right = bcrypt::verify(&password, &hash).unwrap_or(false) && is_known;
            lock(&cache).insert(key, right);
            if !right {
                std::thread::sleep((started.elapsed() * DELAY_FACTOR).min(MAX_DELAY));
            }
            right
        });
        match check.await {
            Ok(true) => PasswordCheck::Right,
            Ok(false) => PasswordCheck::Wrong,
            Err(error) => {
                tracing::error!(%error, "password check failed");
                PasswordCheck::Busy
            }
        }
    }

    /// The hash for an unknown user, always the same for the same name.
    fn decoy<'u>(&self, users: &'u BTreeMap<String, String>, user: &[u8]) -> Option<&'u String> {
        let index = usize::from(self.cache_key(&[user])[0]);
        users.values().nth(index % users.len().max(1))
    }

    fn cache_key(&self, parts: &[&[u8]]) -> CacheKey {
        // Infallible: HMAC accepts keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.hmac_key) else { return [0; 32] };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Counts as waiting until dropped.
struct WaitingCheck {
    waiting: Waiting,
    peer: Peer,
}

impl WaitingCheck {
    fn take(waiting: &Waiting, peer: Peer) -> Option<WaitingCheck> {
        let mut counts = lock(waiting);
        let own = counts.get(&peer).copied().unwrap_or(0);
        if own >= MAX_WAITING_PER_PEER || counts.values().sum::<usize>() >= MAX_WAITING {
            return None;
        }
        counts.insert(peer, own + 1);
        Some(WaitingCheck { waiting: waiting.clone(), peer })
    }
}

impl Drop for WaitingCheck {
    fn drop(&mut self) {
        let mut counts = lock(&self.waiting);
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn users() -> BTreeMap<String, String> {
        let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap();
        [("alice", "wonder"), ("bob", "builder")]
            .map(|(name, password)| (name.to_owned(), hash(password).to_string()))
            .into()
    }

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test]
    async fn caches_right_and_wrong_passwords() {
        let (passwords, users) = (Passwords::new().unwrap(), users());
        for (user, password, expected) in [
            ("alice", "wonder", PasswordCheck::Right),
            ("alice", "wonder", PasswordCheck::Right),
            ("alice", "builder", PasswordCheck::Wrong),
            ("bob", "wonder", PasswordCheck::Wrong),
            ("carol", "wonder", PasswordCheck::Wrong),
            ("carol", "builder", PasswordCheck::Wrong),
            ("", "", PasswordCheck::Wrong),
            ("alice", "", PasswordCheck::Wrong),
        ] {
            let verdict = passwords.verify(&users, user.as_bytes(), password.as_bytes(), peer(1));
            assert_eq!(verdict.await, expected, "{user}");
        }
        assert_eq!(lock(&passwords.cache).right.len(), 1);
        assert_eq!(lock(&passwords.cache).wrong.len(), 6);
        assert!(lock(&passwords.waiting).is_empty());
    }

    #[tokio::test]
    async fn checks_again_after_a_hash_change() {
        let (passwords, mut users) = (Passwords::new().unwrap(), users());
        assert_eq!(
            passwords.verify(&users, b"alice", b"wonder", peer(1)).await,
            PasswordCheck::Right
        );
        users.insert("alice".into(), users["bob"].clone());
        assert_eq!(
            passwords.verify(&users, b"alice", b"wonder", peer(1)).await,
            PasswordCheck::Wrong
        );
        assert_eq!(
            passwords.verify(&users, b"alice", b"builder", peer(1)).await,
            PasswordCheck::Right
        );
        users.remove("alice");
        assert_eq!(
            passwords.verify(&users, b"alice", b"builder", peer(1)).await,
            PasswordCheck::Wrong
        );
    }

    #[tokio::test]
    async fn guesses_of_one_peer_do_not_block_another() {
        let (passwords, users) = (Arc::new(Passwords::new().unwrap()), users());
        let permit = passwords.semaphore.clone().acquire_owned().await.unwrap();
        let verify = |user: &'static str, password: String, peer| {
            let (passwords, users) = (passwords.clone(), users.clone());
            tokio::spawn(async move {
                passwords.verify(&users, user.as_bytes(), password.as_bytes(), peer).await
            })
        };
        let guesses: Vec<_> =
            (0..1000).map(|i| verify("alice", format!("guess{i}"), peer(1))).collect();
        while lock(&passwords.waiting).get(&peer(1)) != Some(&MAX_WAITING_PER_PEER) {
            tokio::task::yield_now().await;
        }
        let right = verify("bob", "builder".to_owned(), peer(2));
        tokio::task::yield_now().await;
        drop(permit);
        assert_eq!(right.await.unwrap(), PasswordCheck::Right);
        let mut busy = 0;
        for guess in guesses {
            match guess.await.unwrap() {
                PasswordCheck::Busy => busy += 1,
                verdict => assert_eq!(verdict, PasswordCheck::Wrong),
            }
        }
        assert!(busy >= 1000 - 2 * MAX_WAITING_PER_PEER, "{busy}");
    }

    #[test]
    fn limits_waiting_checks_of_all_peers() {
        let waiting = Arc::default();
        let slots: Vec<_> =
            (0..=255).filter_map(|last| WaitingCheck::take(&waiting, peer(last))).collect();
        assert_eq!(slots.len(), MAX_WAITING);
        drop(slots);
        assert!(lock(&waiting).is_empty());
    }
}
