//! Passwords: whether they are right, without letting who guesses keep us busy.
//!
//! - bcrypt is slow on purpose, so it runs off the runtime's workers, one attempt at a time. After a
//!   wrong one it rests, so that guessing takes a third of one processor at the most.
//! - Only so many attempts wait, of each peer a few; whoever comes beyond that is told to come back.
//!   So a stranger finds a place though another one guesses without end.
//! - What was found is remembered, as the toolkit does: not the password, but a keyed hash of the
//!   user, the hash and the password. A client that has been let in is not held up by guesses.
//! - A name that nobody has is compared with the hash of one that somebody has, so that it takes as
//!   long.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::Peer;

/// Attempts that wait, of one peer and of all. With the one under way, that is how long a stranger
/// waits at the most: a few seconds at the usual costs.
const MOST_OF_A_PEER: usize = 4;
const MOST_WAITING: usize = 64;
/// How much longer than an attempt the rest after a wrong one is, and at the most.
const REST: u32 = 2;
const LONGEST_REST: Duration = Duration::from_millis(500);
/// Findings that are remembered. When there are more, all are forgotten: right ones are found again
/// at the price of one attempt, and a guesser can only push out wrong ones.
const REMEMBERED: usize = 1024;

type Fingerprint = [u8; 32];

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// Not tried: too many wait already.
    Busy,
}

/// Verifies passwords, and remembers.
pub(crate) struct Passwords {
    /// Of this process alone, so that a fingerprint says nothing to anybody else.
    key: [u8; 32],
    turn: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<Peer, usize>>>,
    known: Arc<Mutex<Known>>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

#[derive(Debug, Default)]
struct Known {
    right: HashSet<Fingerprint>,
    wrong: HashSet<Fingerprint>,
}

impl Known {
    fn verdict(&self, fingerprint: &Fingerprint) -> Option<Verdict> {
        if self.right.contains(fingerprint) {
            return Some(Verdict::Right);
        }
        self.wrong.contains(fingerprint).then_some(Verdict::Wrong)
    }

    fn remember(&mut self, fingerprint: Fingerprint, right: bool) {
        let set = if right { &mut self.right } else { &mut self.wrong };
        if set.len() >= REMEMBERED {
            set.clear();
        }
        set.insert(fingerprint);
    }
}

impl Passwords {
    /// Fails if the system has no randomness.
    pub(crate) fn new() -> Option<Passwords> {
        let mut key = [0; 32];
        aws_lc_rs::default_provider().secure_random.fill(&mut key).ok()?;
        let turn = Arc::new(Semaphore::new(1));
        Some(Passwords { key, turn, waiting: Arc::default(), known: Arc::default() })
    }

    /// Whether this is the password of one of `users`, which has at least one.
    pub(crate) async fn verify(
        &self,
        users: &BTreeMap<String, String>,
        user: &[u8],
        password: &[u8],
        peer: Peer,
    ) -> Verdict {
        let own = std::str::from_utf8(user).ok().and_then(|name| users.get(name));
        let is_known = own.is_some();
        let Some(hash) = own.or_else(|| self.decoy(users, user)) else { return Verdict::Wrong };
        let fingerprint = self.fingerprint(&[user, hash.as_bytes(), password]);
        let judged = |verdict| if is_known { verdict } else { Verdict::Wrong };
        if let Some(verdict) = lock(&self.known).verdict(&fingerprint) {
            return judged(verdict);
        }
        let Some(_place) = Place::take(&self.waiting, peer) else { return Verdict::Busy };
        let Ok(turn) = self.turn.clone().acquire_owned().await else { return Verdict::Busy };
        // Whoever had the turn before may have asked the same.
        if let Some(verdict) = lock(&self.known).verdict(&fingerprint) {
            return judged(verdict);
        }
        let (hash, password, known) = (hash.clone(), password.to_vec(), self.known.clone());
        // It goes on if the client does not wait for it, and what it finds is remembered.
        let attempt = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let started = Instant::now();
            let matches = bcrypt::verify(&password, &hash).unwrap_or(false);
            let right = matches && is_known;
            lock(&known).remember(fingerprint, right);
            if !right {
                std::thread::sleep((started.elapsed() * REST).min(LONGEST_REST));
            }
            right
        });
        match attempt.await {
            Ok(true) => Verdict::Right,
            Ok(false) => Verdict::Wrong,
            Err(error) => {
                tracing::error!(%error, "verifying a password failed");
                Verdict::Busy
            }
        }
    }

    /// The hash that a name nobody has is compared with: always the same for the same name.
    fn decoy<'u>(&self, users: &'u BTreeMap<String, String>, user: &[u8]) -> Option<&'u String> {
        let choice = usize::from(self.fingerprint(&[user])[0]);
        users.values().nth(choice % users.len().max(1))
    }

    fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return [0; 32] };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// A place among those that wait, given back when dropped.
#[derive(Debug)]
struct Place {
    waiting: Arc<Mutex<HashMap<Peer, usize>>>,
    peer: Peer,
}

impl Place {
    fn take(waiting: &Arc<Mutex<HashMap<Peer, usize>>>, peer: Peer) -> Option<Place> {
        let mut counts = lock(waiting);
        let own = counts.get(&peer).copied().unwrap_or(0);
        if own >= MOST_OF_A_PEER || counts.values().sum::<usize>() >= MOST_WAITING {
            return None;
        }
        counts.insert(peer, own + 1);
        Some(Place { waiting: waiting.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.waiting);
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&self.peer),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sets and counts are whole whatever a thread that held the lock died of.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn right_and_wrong_are_told_apart_and_remembered_without_the_password() {
        let (passwords, users) = (Passwords::new().unwrap(), users());
        for (user, password, verdict) in [
            ("alice", "wonder", Verdict::Right),
            ("alice", "wonder", Verdict::Right),
            ("alice", "builder", Verdict::Wrong),
            ("bob", "wonder", Verdict::Wrong),
            ("carol", "wonder", Verdict::Wrong),
            ("carol", "builder", Verdict::Wrong),
            ("", "", Verdict::Wrong),
            ("alice", "", Verdict::Wrong),
        ] {
            let found = passwords.verify(&users, user.as_bytes(), password.as_bytes(), peer(1));
            assert_eq!(found.await, verdict, "{user}");
        }
        assert_eq!(lock(&passwords.known).right.len(), 1);
        assert_eq!(lock(&passwords.known).wrong.len(), 6);
        assert!(lock(&passwords.waiting).is_empty());
    }

    #[tokio::test]
    async fn a_changed_hash_is_not_taken_for_the_former() {
        let (passwords, mut users) = (Passwords::new().unwrap(), users());
        assert_eq!(passwords.verify(&users, b"alice", b"wonder", peer(1)).await, Verdict::Right);
        let bobs = users["bob"].clone();
        users.insert("alice".into(), bobs);
        assert_eq!(passwords.verify(&users, b"alice", b"wonder", peer(1)).await, Verdict::Wrong);
        assert_eq!(passwords.verify(&users, b"alice", b"builder", peer(1)).await, Verdict::Right);
        users.remove("alice");
        assert_eq!(passwords.verify(&users, b"alice", b"builder", peer(1)).await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn who_guesses_takes_no_place_from_others() {
        let (passwords, users) = (Arc::new(Passwords::new().unwrap()), users());
        let held = passwords.turn.clone().acquire_owned().await.unwrap();
        let guesses: Vec<_> = (0..1000)
            .map(|guess| {
                let (passwords, users) = (passwords.clone(), users.clone());
                tokio::spawn(async move {
                    let guess = format!("guess{guess}");
                    passwords.verify(&users, b"alice", guess.as_bytes(), peer(1)).await
                })
            })
            .collect();
        while lock(&passwords.waiting).get(&peer(1)) != Some(&MOST_OF_A_PEER) {
            tokio::task::yield_now().await;
        }
        let good = {
            let (passwords, users) = (passwords.clone(), users.clone());
            tokio::spawn(async move { passwords.verify(&users, b"bob", b"builder", peer(2)).await })
        };
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(good.await.unwrap(), Verdict::Right);
        let mut busy = 0;
        for guess in guesses {
            match guess.await.unwrap() {
                Verdict::Busy => busy += 1,
                verdict => assert_eq!(verdict, Verdict::Wrong),
            }
        }
        assert!(busy >= 1000 - 2 * MOST_OF_A_PEER, "{busy}");
    }

    #[test]
    fn all_peers_together_take_so_many_places_and_give_them_back() {
        let waiting = Arc::default();
        let places: Vec<_> =
            (0..=255).filter_map(|last| Place::take(&waiting, peer(last))).collect();
        assert_eq!(places.len(), MOST_WAITING);
        drop(places);
        assert!(lock(&waiting).is_empty());
    }
}
