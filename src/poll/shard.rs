//! Divides the users among several processes.
//!
//! The shard of a user is the jump consistent hash (Lamping and Veach, 2014) of the SHA-256 digest
//! of its network and id. Shards are of equal size. A new shard takes 1/total of the users, and no
//! user moves between other shards; removing the last shard moves only its users.

use sha2::{Digest, Sha256};

use crate::wickr::{NetworkId, UserId};

/// The part of the users that a process polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// Number of shards, at least 1.
    pub total: u32,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard { index: 0, total: 1 }
    }
}

impl Shard {
    /// Whether the shard has a user.
    pub fn has(self, network: &NetworkId, user: &UserId) -> bool {
        self.total <= 1 || shard_of(network, user, self.total) == self.index
    }
}

/// The index of a user's shard.
fn shard_of(network: &NetworkId, user: &UserId, total: u32) -> u32 {
    let digest = Sha256::digest(format!("{network}/{user}"));
    let mut key = digest.iter().take(8).fold(0u64, |key, byte| key << 8 | u64::from(*byte));
    let (mut shard, mut next) = (0i64, 0i64);
    while next < i64::from(total) {
        shard = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((shard + 1) as f64 * (f64::from(1u32 << 31) / ((key >> 33) + 1) as f64)) as i64;
    }
    u32::try_from(shard).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(total: u32) -> Vec<u32> {
        let network = "12345678".parse().unwrap();
        let user = |id: u32| id.to_string().parse().unwrap();
        (1..=20_000).map(|id| shard_of(&network, &user(id), total)).collect()
    }

    #[test]
    fn shards_have_equal_size_and_cover_all_users() {
        for total in [2, 3, 7, 10] {
            let shards = shards(total);
            for index in 0..total {
                let share = shards.iter().filter(|shard| **shard == index).count() as f64;
                let even = 20_000.0 / f64::from(total);
                assert!((share / even - 1.0).abs() < 0.07, "{share} of {even} at {total}");
            }
            assert!(shards.iter().all(|shard| *shard < total));
        }
    }

    #[test]
    fn a_new_shard_moves_only_its_own_users() {
        for total in 1..10 {
            let (before, after) = (shards(total), shards(total + 1));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
            assert!(moved.iter().all(|(_, to)| **to == total));
            let share = moved.len() as f64 * f64::from(total + 1) / 20_000.0;
            assert!((share - 1.0).abs() < 0.07, "{share}");
        }
    }

    #[test]
    fn assignment_is_stable_across_releases() {
        // A change would move users between shards at an upgrade. Computed independently in Python.
        let network = "12345678".parse().unwrap();
        let of = |user: &str| shard_of(&network, &user.parse().unwrap(), 5);
        assert_eq!(["1", "2", "1001", "1002", "9999999999"].map(of), [3, 2, 3, 2, 1]);
    }
}
