//! The users of a network, in blocks.
//!
//! A view is published up to ten times a second during a poll, for up to a million users, so it must
//! not copy all of them. Views share unchanged blocks, and a block's statistics are computed once.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{
    stats::BlockStats,
    user::{Change, UserRecord},
};
use crate::wickr::UserId;

/// Maximum of users in a block; a larger one is split.
const MAX_USERS: usize = 256;

/// Users, sorted by id.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// No block is empty.
    blocks: Vec<Arc<Block>>,
    len: usize,
}

/// Adjacent users. A published block never changes.
#[derive(Debug, Clone)]
pub struct Block {
    users: Vec<UserRecord>,
    version: BlockVersion,
    /// Shared by clones, until more than read times change.
    stats: OnceLock<Arc<BlockStats>>,
}

/// Numbers that are unique in this process and change with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockVersion {
    /// Changes with every change.
    pub any: u64,
    /// Changes unless only read times have changed.
    pub logins: u64,
    /// Changes unless only read times and last logins have changed.
    pub content: u64,
}

impl BlockVersion {
    fn new() -> BlockVersion {
        BlockVersion {
            any: BlockVersion::next(),
            logins: BlockVersion::next(),
            content: BlockVersion::next(),
        }
    }

    fn next() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl Block {
    fn new(users: Vec<UserRecord>) -> Block {
        Block { users, version: BlockVersion::new(), stats: OnceLock::new() }
    }

    /// The users, sorted by id; at least one.
    pub fn users(&self) -> &[UserRecord] {
        &self.users
    }

    /// The version.
    pub fn version(&self) -> BlockVersion {
        self.version
    }

    /// Statistics over all data of the block that can be served, expired or not.
    pub fn stats(&self) -> &BlockStats {
        let users = || self.users.iter().map(|user| (user, user.unexpired()));
        self.stats.get_or_init(|| Arc::new(BlockStats::new(users())))
    }

    fn last_id(&self) -> Option<&UserId> {
        self.users.last().map(|user| &user.id)
    }

    fn changed(&mut self, change: Change) {
        let BlockVersion { logins, content, .. } = self.version;
        let new = BlockVersion::new();
        self.version = match change {
            Change::ReadTime => BlockVersion { logins, content, ..new },
            Change::Logins => BlockVersion { content, ..new },
            Change::Content => new,
        };
        if change != Change::ReadTime {
            self.stats.take();
        }
    }
}

impl PartialEq for Users {
    fn eq(&self, other: &Users) -> bool {
        self.iter().eq(other.iter())
    }
}

impl FromIterator<UserRecord> for Users {
    fn from_iter<I: IntoIterator<Item = UserRecord>>(records: I) -> Users {
        let mut users = Users::default();
        for record in records {
            users.put(record);
        }
        users
    }
}

impl Users {
    /// All users.
    pub fn iter(&self) -> impl Iterator<Item = &UserRecord> {
        self.blocks.iter().flat_map(|block| &block.users)
    }

    /// All blocks, sorted by id.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The record of a user.
    pub fn get(&self, id: &UserId) -> Option<&UserRecord> {
        let users = &self.blocks.get(self.block_index(id))?.users;
        users.binary_search_by(|user| user.id.cmp(id)).ok().and_then(|index| users.get(index))
    }

    /// The first block whose last id is not below `id`.
    fn block_index(&self, id: &UserId) -> usize {
        self.blocks.partition_point(|block| block.last_id() < Some(id))
    }

    /// Inserts or replaces a record.
    pub(super) fn put(&mut self, record: UserRecord) {
        let mut block_index = self.block_index(&record.id);
        if block_index == self.blocks.len() {
            // Records mostly arrive in order: the last block is filled before the next one begins.
            match self.blocks.last() {
                Some(last) if last.users.len() < MAX_USERS => block_index -= 1,
                _ => {
                    self.blocks.push(Arc::new(Block::new(vec![record])));
                    self.len += 1;
                    return;
                }
            }
        }
        let block = Arc::make_mut(&mut self.blocks[block_index]);
        match block.users.binary_search_by(|user| user.id.cmp(&record.id)) {
            Ok(index) => {
                let change = record.change_since(&block.users[index]);
                block.users[index] = record;
                block.changed(change);
            }
            Err(index) => {
                block.users.insert(index, record);
                block.changed(Change::Content);
                self.len += 1;
                if block.users.len() > MAX_USERS {
                    let upper = block.users.split_off(MAX_USERS / 2);
                    self.blocks.insert(block_index + 1, Arc::new(Block::new(upper)));
                }
            }
        }
    }

    /// Removes the users that `keep` rejects.
    pub(super) fn retain(&mut self, keep: impl Fn(&UserId) -> bool) {
        let mut blocks: Vec<Arc<Block>> = Vec::with_capacity(self.blocks.len());
        for mut block in std::mem::take(&mut self.blocks) {
            if !block.users.iter().all(|user| keep(&user.id)) {
                let block = Arc::make_mut(&mut block);
                block.users.retain(|user| keep(&user.id));
                block.changed(Change::Content);
            }
            // Small blocks are merged.
            match blocks.last_mut() {
                _ if block.users.is_empty() => {}
                Some(last) if last.users.len() + block.users.len() <= MAX_USERS / 2 => {
                    let last = Arc::make_mut(last);
                    last.users.extend(block.users.iter().cloned());
                    last.changed(Change::Content);
                }
                _ => blocks.push(block),
            }
        }
        self.len = blocks.iter().map(|block| block.users.len()).sum();
        self.blocks = blocks;
    }

    /// Replaces each user for which `change` returns a record. The ids must stay the same.
    pub(super) fn update(&mut self, change: impl Fn(&UserRecord) -> Option<UserRecord>) {
        for block in &mut self.blocks {
            let changes: Vec<_> = block
                .users
                .iter()
                .enumerate()
                .filter_map(|(index, user)| Some((index, change(user)?)))
                .collect();
            if changes.is_empty() {
                continue;
            }
            let block = Arc::make_mut(block);
            for (index, user) in changes {
                block.users[index] = user;
            }
            block.changed(Change::Content);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        inventory::UserData,
        wickr::{ApiTimestamp, Device, DeviceAttributes, ErrorKind},
    };

    fn record(id: u32, at: i64) -> UserRecord {
        UserRecord {
            id: id.to_string().parse().unwrap(),
            failure: (id.is_multiple_of(7)).then_some(ErrorKind::Timeout),
            restored: false,
            poll: 0,
            facts: None,
            last: Some(UserData { at, devices: Arc::new([]) }),
            expired: false,
            in_other_timezone: false,
            overdue_since: None,
        }
    }

    fn assert_valid(users: &Users) {
        assert!(users.iter().map(|user| &user.id).is_sorted());
        assert!(users.blocks.iter().all(|block| (1..=MAX_USERS).contains(&block.users.len())));
        assert_eq!(users.len(), users.iter().count());
    }

    #[test]
    fn behaves_like_a_map_by_id() {
        let mut random = fastrand::Rng::with_seed(4);
        let (mut users, mut map) = (Users::default(), BTreeMap::new());
        for step in 0..60 {
            for _ in 0..random.usize(..200) {
                let record = record(random.u32(..5_000), step);
                map.insert(record.id.clone(), record.clone());
                users.put(record);
            }
            if step % 5 == 4 {
                let (divisor, rest) = (random.u32(2..6), random.u32(..2));
                let keep = |id: &UserId| id.as_str().parse::<u32>().unwrap() % divisor != rest;
                map.retain(|id, _| keep(id));
                users.retain(keep);
            }
            assert_valid(&users);
            assert!(users.iter().eq(map.values()));
        }
        for id in 0..5_000 {
            let id = id.to_string().parse().unwrap();
            assert_eq!(users.get(&id), map.get(&id));
        }
        assert!(!users.is_empty());
        users.retain(|_| false);
        assert!(users.is_empty() && users.blocks.is_empty());
    }

    #[test]
    fn fills_blocks_in_order_and_merges_small_ones() {
        let mut users: Users = (0..10_000).map(|id| record(id, 0)).collect();
        assert_eq!(users.blocks.len(), 10_000_usize.div_ceil(MAX_USERS));
        users.retain(|id| id.as_str().ends_with("00"));
        assert_valid(&users);
        assert_eq!(users.blocks.len(), 1);
    }

    #[test]
    fn views_share_unchanged_blocks() {
        let mut users: Users = (0..1_000).map(|id| record(id, 0)).collect();
        let view = users.clone();
        users.put(record(1, 5));
        let same = view.blocks.iter().zip(&users.blocks).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(same.count(), view.blocks.len() - 1);
        let before = users.blocks[0].version();
        users.update(|user| (user.id.as_str() == "2").then(|| record(2, 9)));
        assert_ne!(before.content, users.blocks[0].version().content);
        assert_eq!(users.get(&record(2, 0).id), Some(&record(2, 9)));
    }

    #[test]
    fn detects_each_kind_of_change() {
        let device = |app_id: &str, login| {
            let last_login = ApiTimestamp::at_millis(login);
            Device { last_login, ..crate::inventory::fixtures::device(app_id) }
        };
        let with = |devices: Vec<Device>| Some(UserData { at: 5, devices: devices.into() });
        let before = UserRecord { last: with(vec![device("a", 1)]), ..record(1, 5) };
        let suspended = {
            let attributes = DeviceAttributes::new("iOS", "Active", Some(true)).into();
            Device { attributes, ..device("a", 1) }
        };
        for (name, now, change) in [
            ("the same devices", before.clone(), Change::ReadTime),
            ("equal devices", with_last(&before, with(vec![device("a", 1)])), Change::ReadTime),
            ("a login", with_last(&before, with(vec![device("a", 2)])), Change::Logins),
            (
                "an added device",
                with_last(&before, with(vec![device("a", 1), device("b", 1)])),
                Change::Content,
            ),
            ("no devices", with_last(&before, with(vec![])), Change::Content),
            ("another device", with_last(&before, with(vec![device("b", 1)])), Change::Content),
            ("a suspension", with_last(&before, with(vec![suspended])), Change::Content),
            ("no data", with_last(&before, None), Change::Content),
            ("overdue", UserRecord { overdue_since: Some(1), ..before.clone() }, Change::Content),
            ("restored", UserRecord { restored: true, ..before.clone() }, Change::Content),
            (
                "a failure",
                UserRecord { failure: Some(ErrorKind::Timeout), ..before.clone() },
                Change::Content,
            ),
            (
                "facts",
                UserRecord { facts: Some(Arc::default()), ..before.clone() },
                Change::Content,
            ),
        ] {
            let mut users: Users = [before.clone()].into_iter().collect();
            let old = users.blocks[0].version();
            let view = users.clone();
            let stats: *const BlockStats = view.blocks[0].stats();
            users.put(now);
            let new = users.blocks[0].version();
            let kept = std::ptr::eq(users.blocks[0].stats(), stats);
            assert_eq!(kept, change == Change::ReadTime, "{name}");
            let computed = Block::new(users.blocks[0].users.clone());
            assert_eq!(users.blocks[0].stats(), computed.stats(), "{name}");
            assert_ne!(old.any, new.any, "{name}");
            assert_eq!(old.logins == new.logins, change == Change::ReadTime, "{name}");
            assert_eq!(old.content == new.content, change != Change::Content, "{name}");
        }
        let no_data = with_last(&before, None);
        assert_eq!(with_last(&before, with(vec![])).change_since(&no_data), Change::Content);
    }

    fn with_last(user: &UserRecord, last: Option<UserData>) -> UserRecord {
        UserRecord { last, ..user.clone() }
    }

    #[test]
    fn shares_all_blocks_if_nothing_changes() {
        let mut users: Users = (0..1_000).map(|id| record(id, 0)).collect();
        let view = users.clone();
        users.update(|_| None);
        users.retain(|_| true);
        assert!(view.blocks.iter().zip(&users.blocks).all(|(a, b)| Arc::ptr_eq(a, b)));
        assert_eq!(view.blocks.len(), users.blocks.len());
    }
}
