//! A network's users, in blocks.
//!
//! A view of a million users is published ten times a second while a poll is under way, so it must
//! not be copied for every user that was read: users stand in blocks, views share the blocks that
//! did not change, and only a changed block is copied. What is worked out from a block, such as its
//! [`Figures`], is worked out once for as long as the block lives.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{
    figures::Figures,
    user::{News, UserRecord},
};
use crate::wickr::UserId;

/// Users in a block; a block that would have more is split.
const MOST: usize = 256;

/// Users by id.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// None of them empty.
    blocks: Vec<Arc<Block>>,
    len: usize,
}

/// Some users that stand next to each other. A published block never changes.
#[derive(Debug)]
pub struct Block {
    users: Vec<UserRecord>,
    version: BlockVersion,
    figures: OnceLock<Figures>,
}

/// Tells a block from all others that this process has seen, and from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockVersion {
    /// Another one for every change.
    pub whole: u64,
    /// The same as long as nothing has changed but when the users were read.
    pub logins: u64,
    /// The same as long as nothing has changed but that and when somebody last logged in.
    pub content: u64,
}

impl BlockVersion {
    fn new() -> BlockVersion {
        // Three numbers, so that none stands for what another is the version of.
        BlockVersion {
            whole: BlockVersion::next(),
            logins: BlockVersion::next(),
            content: BlockVersion::next(),
        }
    }

    fn next() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl Clone for Block {
    /// A copy is made to be changed.
    fn clone(&self) -> Block {
        Block { users: self.users.clone(), version: self.version, figures: OnceLock::new() }
    }
}

impl Block {
    fn of(users: Vec<UserRecord>) -> Block {
        Block { users, version: BlockVersion::new(), figures: OnceLock::new() }
    }

    /// The users, by id; at least one.
    pub fn users(&self) -> &[UserRecord] {
        &self.users
    }

    /// What tells whether it is still the same.
    pub fn version(&self) -> BlockVersion {
        self.version
    }

    /// Its users and devices in figures.
    pub fn figures(&self) -> &Figures {
        self.figures
            .get_or_init(|| Figures::of(self.users.iter().map(|user| (user, user.last.as_ref()))))
    }

    fn last_id(&self) -> Option<&UserId> {
        self.users.last().map(|user| &user.id)
    }

    fn changed(&mut self, news: News) {
        let BlockVersion { logins, content, .. } = self.version;
        let new = BlockVersion::new();
        self.version = match news {
            News::UserData => BlockVersion { logins, content, ..new },
            News::Logins => BlockVersion { content, ..new },
            News::Content => new,
        };
        self.figures.take();
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
    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &UserRecord> {
        self.blocks.iter().flat_map(|block| &block.users)
    }

    /// The blocks that they stand in, by id.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One of them.
    pub fn get(&self, id: &UserId) -> Option<&UserRecord> {
        let users = &self.blocks.get(self.place(id))?.users;
        users.binary_search_by(|user| user.id.cmp(id)).ok().and_then(|at| users.get(at))
    }

    /// The first block that does not end before the id.
    fn place(&self, id: &UserId) -> usize {
        self.blocks.partition_point(|block| block.last_id() < Some(id))
    }

    /// Adds one, or puts it in the place of what was known before.
    pub(super) fn put(&mut self, record: UserRecord) {
        let mut place = self.place(&record.id);
        if place == self.blocks.len() {
            // Behind everybody else: mostly they come in order, and full blocks are left behind.
            match self.blocks.last() {
                Some(last) if last.users.len() < MOST => place -= 1,
                _ => {
                    self.blocks.push(Arc::new(Block::of(vec![record])));
                    self.len += 1;
                    return;
                }
            }
        }
        let block = Arc::make_mut(&mut self.blocks[place]);
        match block.users.binary_search_by(|user| user.id.cmp(&record.id)) {
            Ok(at) => {
                let news = block.users[at].news(&record);
                block.users[at] = record;
                block.changed(news);
            }
            Err(at) => {
                block.users.insert(at, record);
                block.changed(News::Content);
                self.len += 1;
                if block.users.len() > MOST {
                    let rest = block.users.split_off(MOST / 2);
                    self.blocks.insert(place + 1, Arc::new(Block::of(rest)));
                }
            }
        }
    }

    /// Lets go of those that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&UserId) -> bool) {
        let mut blocks: Vec<Arc<Block>> = Vec::with_capacity(self.blocks.len());
        for mut block in std::mem::take(&mut self.blocks) {
            if !block.users.iter().all(|user| keep(&user.id)) {
                let block = Arc::make_mut(&mut block);
                block.users.retain(|user| keep(&user.id));
                block.changed(News::Content);
            }
            // So that blocks stay large whoever goes.
            match blocks.last_mut() {
                _ if block.users.is_empty() => {}
                Some(last) if last.users.len() + block.users.len() <= MOST / 2 => {
                    let last = Arc::make_mut(last);
                    last.users.extend(block.users.iter().cloned());
                    last.changed(News::Content);
                }
                _ => blocks.push(block),
            }
        }
        self.len = blocks.iter().map(|block| block.users.len()).sum();
        self.blocks = blocks;
    }

    /// Puts `change(user)` in the place of each user for whom there is one.
    pub(super) fn update(&mut self, change: impl Fn(&UserRecord) -> Option<UserRecord>) {
        for block in &mut self.blocks {
            let changes: Vec<_> = block
                .users
                .iter()
                .enumerate()
                .filter_map(|(at, user)| Some((at, change(user)?)))
                .collect();
            if changes.is_empty() {
                continue;
            }
            let block = Arc::make_mut(block);
            for (at, user) in changes {
                block.users[at] = user;
            }
            block.changed(News::Content);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        inventory::UserData,
        wickr::{ApiTimestamp, Device, ErrorKind},
    };

    fn record(id: u32, at: i64) -> UserRecord {
        UserRecord {
            id: id.to_string().parse().unwrap(),
            failure: (id.is_multiple_of(7)).then_some(ErrorKind::Timeout),
            restored: false,
            facts: None,
            last: Some(UserData { at, devices: Arc::new([]) }),
            overdue_since: None,
        }
    }

    fn sound(users: &Users) {
        assert!(users.iter().map(|user| &user.id).is_sorted());
        assert!(users.blocks.iter().all(|block| (1..=MOST).contains(&block.users.len())));
        assert_eq!(users.len(), users.iter().count());
    }

    #[test]
    fn it_is_a_map_by_id_whatever_is_done_to_it() {
        let mut random = fastrand::Rng::with_seed(4);
        let (mut users, mut map) = (Users::default(), BTreeMap::new());
        for round in 0..60 {
            for _ in 0..random.usize(..200) {
                let record = record(random.u32(..5_000), round);
                map.insert(record.id.clone(), record.clone());
                users.put(record);
            }
            if round % 5 == 4 {
                let (by, rest) = (random.u32(2..6), random.u32(..2));
                let keep = |id: &UserId| id.as_str().parse::<u32>().unwrap() % by != rest;
                map.retain(|id, _| keep(id));
                users.retain(keep);
            }
            sound(&users);
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
    fn in_order_they_fill_blocks_and_few_users_share_one() {
        let mut users: Users = (0..10_000).map(|id| record(id, 0)).collect();
        assert_eq!(users.blocks.len(), 10_000_usize.div_ceil(MOST));
        users.retain(|id| id.as_str().ends_with("00"));
        sound(&users);
        assert_eq!(users.blocks.len(), 1);
    }

    #[test]
    fn views_share_what_did_not_change_and_versions_tell_what_did() {
        let mut users: Users = (0..1_000).map(|id| record(id, 0)).collect();
        let view = users.clone();
        users.put(record(1, 5));
        let same = view.blocks.iter().zip(&users.blocks).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(same.count(), view.blocks.len() - 1);
        let (before, read) = (view.blocks[0].version(), users.blocks[0].version());
        assert_ne!(before.whole, read.whole);
        assert_eq!((before.logins, before.content), (read.logins, read.content), "only read again");
        users.put(UserRecord { failure: Some(ErrorKind::NotFound), ..record(1, 5) });
        assert_ne!(read.content, users.blocks[0].version().content);
        let before = users.blocks[0].version();
        users.update(|user| (user.id.as_str() == "2").then(|| record(2, 9)));
        assert_ne!(before.content, users.blocks[0].version().content);
        assert_eq!(users.get(&record(2, 0).id), Some(&record(2, 9)));
    }

    #[test]
    fn whatever_is_told_of_a_user_is_news_of_the_right_kind() {
        let device = |app_id: &str, login| Device {
            app_id: Some(app_id.into()),
            device_type: "iOS".into(),
            status: "Active".into(),
            suspended: Some(false),
            created: ApiTimestamp::NEVER,
            last_login: ApiTimestamp::at_millis(login),
        };
        let with = |devices: Vec<Device>| Some(UserData { at: 5, devices: devices.into() });
        let before = UserRecord { last: with(vec![device("a", 1)]), ..record(1, 5) };
        let suspended = Device { suspended: Some(true), ..device("a", 1) };
        for (what, now, news) in [
            ("the same devices", before.clone(), News::UserData),
            ("equal ones", with_last(&before, with(vec![device("a", 1)])), News::UserData),
            ("a login", with_last(&before, with(vec![device("a", 2)])), News::Logins),
            (
                "one more",
                with_last(&before, with(vec![device("a", 1), device("b", 1)])),
                News::Content,
            ),
            ("none left", with_last(&before, with(vec![])), News::Content),
            ("another one", with_last(&before, with(vec![device("b", 1)])), News::Content),
            ("a suspension", with_last(&before, with(vec![suspended])), News::Content),
            ("no data any more", with_last(&before, None), News::Content),
            ("overdue", UserRecord { overdue_since: Some(1), ..before.clone() }, News::Content),
            ("restored", UserRecord { restored: true, ..before.clone() }, News::Content),
            (
                "a failure",
                UserRecord { failure: Some(ErrorKind::Timeout), ..before.clone() },
                News::Content,
            ),
            ("facts", UserRecord { facts: Some(Arc::default()), ..before.clone() }, News::Content),
        ] {
            let mut users: Users = [before.clone()].into_iter().collect();
            let old = users.blocks[0].version();
            users.put(now);
            let new = users.blocks[0].version();
            assert_ne!(old.whole, new.whole, "{what}");
            assert_eq!(old.logins == new.logins, news == News::UserData, "{what}");
            assert_eq!(old.content == new.content, news != News::Content, "{what}");
        }
        // One without devices is not one of whom nothing is known.
        let nothing = with_last(&before, None);
        assert_eq!(nothing.news(&with_last(&before, with(vec![]))), News::Content);
    }

    fn with_last(user: &UserRecord, last: Option<UserData>) -> UserRecord {
        UserRecord { last, ..user.clone() }
    }

    #[test]
    fn what_changes_nobody_copies_nothing() {
        let mut users: Users = (0..1_000).map(|id| record(id, 0)).collect();
        let view = users.clone();
        users.update(|_| None);
        users.retain(|_| true);
        assert!(view.blocks.iter().zip(&users.blocks).all(|(a, b)| Arc::ptr_eq(a, b)));
        assert_eq!(view.blocks.len(), users.blocks.len());
    }
}
