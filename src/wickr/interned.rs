//! Shared strings and attributes of devices.

use std::{
    borrow::Borrow,
    collections::BTreeSet,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A shared string. `Arc<Box<str>>` is one pointer; `Arc<str>` would be two.
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

/// The attributes of a device that are equal for many devices, and therefore shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAttributes {
    /// The operating system or form factor, an open set; `unknown` if missing.
    pub device_type: InternedStr,
    /// `Active`, `Reset`, `Suspended` or another text; empty if missing.
    pub status: InternedStr,
    /// Whether the device is suspended, if the service returns it.
    pub suspended: Option<bool>,
}

impl DeviceAttributes {
    /// Attributes that are not shared.
    pub fn new(device_type: &str, status: &str, suspended: Option<bool>) -> DeviceAttributes {
        DeviceAttributes { device_type: device_type.into(), status: status.into(), suspended }
    }

    fn key(&self) -> (&str, &str, Option<bool>) {
        (&self.device_type, &self.status, self.suspended)
    }
}

/// Returns one shared value for equal values. There are few different ones, so searching among sorted
/// values is faster than hashing. After 1,024 strings or 1,024 attributes, new ones are not shared, because
/// the service's values are an open set.
#[derive(Debug, Default)]
pub struct Interner(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    strings: BTreeSet<InternedStr>,
    /// Sorted by [`DeviceAttributes::key`].
    attributes: Vec<Arc<DeviceAttributes>>,
}

impl Interner {
    const MAX: usize = 1024;

    /// The shared string of `text`.
    pub fn string(&self, text: &str) -> InternedStr {
        self.shared().string(text)
    }

    /// The shared attributes.
    pub fn attributes(
        &self,
        device_type: &str,
        status: &str,
        suspended: Option<bool>,
    ) -> Arc<DeviceAttributes> {
        let mut shared = self.shared();
        let key = (device_type, status, suspended);
        match shared.attributes.binary_search_by(|attributes| attributes.key().cmp(&key)) {
            Ok(index) => shared.attributes[index].clone(),
            Err(index) => {
                let (device_type, status) = (shared.string(device_type), shared.string(status));
                let new = Arc::new(DeviceAttributes { device_type, status, suspended });
                if shared.attributes.len() < Interner::MAX {
                    shared.attributes.insert(index, new.clone());
                }
                new
            }
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic leaves the values consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn string(&mut self, text: &str) -> InternedStr {
        if let Some(shared) = self.strings.get(text) {
            return shared.clone();
        }
        let shared = InternedStr::from(text);
        if self.strings.len() < Interner::MAX {
            self.strings.insert(shared.clone());
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
        assert!(Arc::ptr_eq(&interner.string("iOS").0, &interner.string("iOS").0));
        for i in 0..2 * Interner::MAX {
            assert_eq!(&*interner.string(&i.to_string()), i.to_string());
        }
        assert_eq!(interner.shared().strings.len(), Interner::MAX);
    }

    #[test]
    fn shares_equal_attributes_up_to_the_limit() {
        let interner = Interner::default();
        let mut all = Vec::new();
        for device_type in ["iOS", "Android", ""] {
            for status in ["Active", "", "iOS"] {
                for suspended in [None, Some(true), Some(false)] {
                    let expected = DeviceAttributes::new(device_type, status, suspended);
                    let attributes = interner.attributes(device_type, status, suspended);
                    assert_eq!(*attributes, expected);
                    all.push(attributes);
                }
            }
        }
        for attributes in &all {
            let DeviceAttributes { device_type, status, suspended } = &**attributes;
            let again = interner.attributes(device_type, status, *suspended);
            assert!(Arc::ptr_eq(attributes, &again));
            assert!(Arc::ptr_eq(&device_type.0, &interner.string(device_type).0));
        }
        for i in 0..2 * Interner::MAX {
            let status = i.to_string();
            assert_eq!(&*interner.attributes("iOS", &status, None).status, status);
        }
        assert_eq!(interner.shared().attributes.len(), Interner::MAX);
    }
}
