//! From page to page of a list, with an eye on lists that have no end.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

/// How far a list may go. All of them are far beyond what a real list needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) pages: usize,
    /// Of the items that are kept.
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// A user's devices. A person has a handful; the service's page holds a hundred.
pub(super) const DEVICES: Bounds = Bounds { pages: 1_000, items: 100_000, bytes: 64 << 20 };
/// Users, networks and groups: a million users are ten thousand pages.
pub(super) const DIRECTORY: Bounds = Bounds { pages: 100_000, items: 2_000_000, bytes: 8 << 30 };

/// Where the reading of one list is.
#[derive(Debug)]
pub(super) struct Pages {
    bounds: Bounds,
    /// Tokens, by their hashes: they may be long, and many.
    seen: HashSet<u64>,
    hasher: RandomState,
    read: usize,
    items: usize,
    bytes: usize,
}

impl Pages {
    pub(super) fn new(bounds: Bounds) -> Pages {
        Pages {
            bounds,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            read: 0,
            items: 0,
            bytes: 0,
        }
    }

    /// Whether a page has been read, so that a refusal of the next may be about its token.
    pub(super) fn have_begun(&self) -> bool {
        self.read > 0
    }

    /// Takes note of a page of `bytes` bytes, `items` of which are kept, that names `token` as the way
    /// to the next.
    ///
    /// # Errors
    ///
    /// A sentence, when following the token would lead in a circle or on for ever.
    pub(super) fn note(
        &mut self,
        bytes: usize,
        items: usize,
        token: Option<&str>,
    ) -> Result<(), String> {
        self.read += 1;
        self.items += items;
        self.bytes += bytes;
        if self.items > self.bounds.items {
            return Err(format!("over {} items", self.bounds.items));
        }
        let Some(token) = token else { return Ok(()) };
        if !self.seen.insert(self.hasher.hash_one(token)) {
            return Err(format!("page {} repeats the token of an earlier one", self.read));
        }
        if self.read >= self.bounds.pages || self.bytes >= self.bounds.bytes {
            return Err(format!("no end after {} pages and {} bytes", self.read, self.bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_endless_lists_are_seen() {
        let mut pages = Pages::new(DEVICES);
        assert!(!pages.have_begun());
        assert!(pages.note(10, 1, Some("a")).is_ok() && pages.have_begun());
        assert!(pages.note(10, 1, Some("b")).is_ok());
        assert_eq!(
            pages.note(10, 1, Some("a")),
            Err("page 3 repeats the token of an earlier one".into())
        );

        let mut pages = Pages::new(Bounds { pages: 2, items: 5, bytes: 100 });
        assert!(pages.note(1, 0, Some("a")).is_ok());
        assert!(pages.note(1, 0, None).is_ok(), "the last page may be the last allowed");
        assert_eq!(pages.note(1, 0, Some("b")), Err("no end after 3 pages and 3 bytes".into()));
        assert!(
            Pages::new(Bounds { pages: 2, items: 5, bytes: 100 }).note(100, 0, Some("a")).is_err()
        );
        let mut pages = Pages::new(Bounds { pages: 2, items: 5, bytes: 100 });
        assert!(pages.note(1, 0, Some("a")).is_ok());
        assert!(pages.note(1, 0, Some("b")).is_err(), "a third would be one too many");
        let mut pages = Pages::new(Bounds { pages: 9, items: 5, bytes: 100 });
        assert!(pages.note(1, 4, Some("a")).is_ok());
        assert!(pages.note(1, 1, Some("b")).is_ok());
        assert_eq!(pages.note(1, 1, None), Err("over 5 items".into()), "the end is no excuse");
    }
}
