//! Detects lists that do not end.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

/// Limits of one list, far above the size of real lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) pages: usize,
    /// Items that are stored, after filtering.
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// The devices of one user.
pub(super) const DEVICES: Limits = Limits { pages: 1_000, items: 100_000, bytes: 64 << 20 };
/// Users, networks and groups. A million users are 10,000 pages.
pub(super) const DIRECTORY: Limits = Limits { pages: 100_000, items: 2_000_000, bytes: 8 << 30 };
/// Bots, blocked guests and the like, whose items are all in memory at the same time.
pub(super) const ITEMS: Limits = Limits { pages: 1_000, items: 100_000, bytes: 64 << 20 };

/// Counts the pages of one list.
#[derive(Debug)]
pub(super) struct Pages {
    limits: Limits,
    /// Hashes of the tokens, because tokens can be long.
    tokens: HashSet<u64>,
    hasher: RandomState,
    pages: usize,
    items: usize,
    bytes: usize,
}

impl Pages {
    pub(super) fn new(limits: Limits) -> Pages {
        let (tokens, hasher) = (HashSet::new(), RandomState::new());
        Pages { limits, tokens, hasher, pages: 0, items: 0, bytes: 0 }
    }

    /// Adds a page of `bytes` bytes with `items` stored items. `token` is the token of the next page.
    ///
    /// # Errors
    ///
    /// When the token repeats or a limit is exceeded.
    pub(super) fn add(
        &mut self,
        bytes: usize,
        items: usize,
        token: Option<&str>,
    ) -> Result<(), String> {
        self.pages += 1;
        self.items += items;
        self.bytes += bytes;
        if self.items > self.limits.items {
            return Err(format!("the list has more than {} items", self.limits.items));
        }
        let Some(token) = token else { return Ok(()) };
        if !self.tokens.insert(self.hasher.hash_one(token)) {
            return Err(format!("page {} repeats an earlier page token", self.pages));
        }
        if self.pages >= self.limits.pages || self.bytes >= self.limits.bytes {
            let (pages, bytes) = (self.pages, self.bytes);
            return Err(format!("the list does not end after {pages} pages and {bytes} bytes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { pages: 2, items: 5, bytes: 100 };

    #[test]
    fn rejects_a_repeated_token() {
        let mut pages = Pages::new(DEVICES);
        assert!(pages.add(10, 1, Some("a")).is_ok());
        assert!(pages.add(10, 1, Some("b")).is_ok());
        assert_eq!(pages.add(10, 1, Some("a")), Err("page 3 repeats an earlier page token".into()));
    }

    #[test]
    fn rejects_a_list_above_its_limits() {
        let mut pages = Pages::new(LIMITS);
        assert!(pages.add(1, 0, Some("a")).is_ok());
        assert!(pages.add(1, 0, None).is_ok());

        let mut pages = Pages::new(LIMITS);
        assert!(pages.add(1, 0, Some("a")).is_ok());
        assert_eq!(
            pages.add(1, 0, Some("b")),
            Err("the list does not end after 2 pages and 2 bytes".into())
        );

        assert!(Pages::new(LIMITS).add(99, 0, Some("a")).is_ok());
        assert!(Pages::new(LIMITS).add(100, 0, Some("a")).is_err());

        let mut pages = Pages::new(LIMITS);
        assert!(pages.add(1, 5, Some("a")).is_ok());
        assert_eq!(pages.add(1, 1, None), Err("the list has more than 5 items".into()));
    }
}
