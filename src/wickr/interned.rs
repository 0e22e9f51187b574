//! Texts that recur: device types, statuses. A fleet of a million devices holds each once.

use std::{
    borrow::Borrow,
    collections::HashSet,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// A short text that many devices share. Twice away, for there are millions of devices and a handful
/// of texts: so a device holds one word for it and not two.
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

/// Hands out one [`InternedStr`] for one text.
///
/// What the service sends is an open set, so the memory of it is bounded: beyond
/// a thousand texts, new ones are still right but no longer shared.
#[derive(Debug, Default)]
pub struct Interner(Mutex<HashSet<InternedStr>>);

impl Interner {
    /// How many different texts are remembered.
    const MOST: usize = 1024;

    /// The label of `text`.
    pub fn get(&self, text: &str) -> InternedStr {
        // A set of texts is whole whatever a thread that held the lock died of.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = known.get(text) {
            return label.clone();
        }
        let label = InternedStr::from(text);
        if known.len() < Self::MOST {
            known.insert(label.clone());
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_held_once_and_memory_is_bounded() {
        let labels = Interner::default();
        assert!(Arc::ptr_eq(&labels.get("iOS").0, &labels.get("iOS").0));
        for i in 0..2 * Interner::MOST {
            assert_eq!(&*labels.get(&i.to_string()), i.to_string());
        }
        assert_eq!(labels.0.lock().unwrap().len(), Interner::MOST);
    }
}
