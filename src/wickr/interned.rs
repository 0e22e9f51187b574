//! Shared strings, such as device types and statuses.

use std::{
    borrow::Borrow,
    collections::BTreeSet,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// A shared string. `Arc<Box<str>>` is one pointer; `Arc<str>` would be two in each device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InternedStr(Arc<Box<str>>);

impl Deref for InternedStr {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for InternedStr {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InternedStr {
    fn from(text: &str) -> InternedStr {
        InternedStr(Arc::new(text.into()))
    }
}

impl fmt::Debug for InternedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Returns the same [`InternedStr`] for equal strings, which are few: a tree is faster than hashing.
/// Above 1,024 strings, further ones are not shared, because the service's values are an open set.
#[derive(Debug, Default)]
pub struct Interner(Mutex<BTreeSet<InternedStr>>);

impl Interner {
    const MAX: usize = 1024;

    /// The shared string of `text`.
    pub fn get(&self, text: &str) -> InternedStr {
        // A panic leaves the set consistent.
        let mut strings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = strings.get(text) {
            return shared.clone();
        }
        let shared = InternedStr::from(text);
        if strings.len() < Self::MAX {
            strings.insert(shared.clone());
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_equal_strings_up_to_the_limit() {
        let interner = Interner::default();
        assert!(Arc::ptr_eq(&interner.get("iOS").0, &interner.get("iOS").0));
        for i in 0..2 * Interner::MAX {
            assert_eq!(&*interner.get(&i.to_string()), i.to_string());
        }
        assert_eq!(interner.0.lock().unwrap().len(), Interner::MAX);
    }
}
