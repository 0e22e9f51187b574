//! What the Admin API provides about a network in addition to devices: accounts, bots, settings and others.
//!
//! A [`Collector`] is one file with its operations, its families and `collect`, and one line in
//! [`COLLECTORS`]. `scheduler` runs the enabled collectors of each network, and the inventory's
//! [`CollectorRecorder`](crate::inventory::CollectorRecorder) stores what they read. Nothing here depends on
//! the configuration, and nothing affects polls or `wickr_up`.

mod accounts;
mod bots;
mod data_retention;
mod guests;
mod network;
mod scheduler;
mod security_groups;
mod sso;

use std::{fmt, str::FromStr};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

pub use scheduler::{Schedule, run, run_once};

use crate::{
    clock::Millis,
    family::Family,
    inventory::Collection,
    wickr::{
        Client, Error, ErrorKind, ListPath, NetworkId, NetworkLimiter, Operation, lenient::Time,
    },
};

/// Reads one topic of a network with a few requests.
pub trait Collector: Send + Sync {
    /// The value in `[collectors] enable` and of the label `collector`.
    fn name(&self) -> &'static str;

    /// The requests of one run, with one page for each list. Each needs the IAM permission `wickr:` with
    /// its name.
    fn operations(&self) -> &'static [Operation];

    /// The families of its samples, in the order of the exposition.
    fn families(&self) -> &'static [Family];

    /// The families that the exposition also writes if the collector is disabled.
    fn shared_families(&self) -> &'static [Family] {
        &[]
    }

    /// Reads the network. The result replaces the last one completely; after an error, the last one stays.
    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>>;
}

/// All collectors, sorted by name.
pub static COLLECTORS: &[&dyn Collector] = &[
    &accounts::Accounts,
    &bots::Bots,
    &data_retention::DataRetention,
    &guests::Guests,
    &network::NetworkSettings,
    &security_groups::SecurityGroups,
    &sso::Sso,
];

/// A collector by its name.
#[derive(Clone, Copy)]
pub struct CollectorRef(&'static dyn Collector);

impl std::ops::Deref for CollectorRef {
    type Target = dyn Collector;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl CollectorRef {
    /// All collectors, sorted by name.
    pub fn all() -> impl Iterator<Item = CollectorRef> {
        COLLECTORS.iter().copied().map(CollectorRef)
    }

    /// The collector itself.
    pub fn get(self) -> &'static dyn Collector {
        self.0
    }
}

impl fmt::Debug for CollectorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

impl PartialEq for CollectorRef {
    fn eq(&self, other: &CollectorRef) -> bool {
        self.name() == other.name()
    }
}

impl Eq for CollectorRef {}

impl std::hash::Hash for CollectorRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl FromStr for CollectorRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        CollectorRef::all().find(|collector| collector.name() == text).ok_or_else(|| {
            let names: Vec<_> = CollectorRef::all().map(|collector| collector.name()).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// The families of all collectors except shared families, in the order of the exposition.
pub fn families() -> impl Iterator<Item = &'static Family> {
    COLLECTORS.iter().flat_map(|collector| {
        let shared = collector.shared_families();
        collector.families().iter().filter(|family| !shared.contains(family))
    })
}

/// The Admin API for one network.
#[derive(Debug, Clone, Copy)]
pub struct Api<'a> {
    /// The client of the network's account.
    pub client: &'a Client,
    /// The network.
    pub network: &'a NetworkId,
    /// Limits requests in flight.
    pub limiter: &'a NetworkLimiter,
}

impl Api<'_> {
    async fn get<T: DeserializeOwned>(&self, operation: Operation, path: &str) -> Result<T, Error> {
        self.client.get(operation, self.network, path, self.limiter).await
    }

    async fn list<T: DeserializeOwned + Default>(
        &self,
        operation: Operation,
        path: ListPath,
    ) -> Result<Vec<T>, Error> {
        self.client.list(operation, self.network, path, self.limiter).await
    }

    fn seconds(&self, field: &'static str, time: &Time) -> Option<f64> {
        self.client.millis(field, time).map(|millis: Millis| millis as f64 / 1e3)
    }
}

/// `collection`, or an error if it is empty.
fn not_empty(collection: Collection, operation: Operation) -> Result<Collection, Error> {
    match collection.samples.is_empty() && collection.info.is_empty() {
        true => Err(missing(operation)),
        false => Ok(collection),
    }
}

/// An object without documented members is not a response of the API, and must not replace the last
/// values.
fn missing(operation: Operation) -> Error {
    let message = "the response has none of the documented members";
    Error::new(operation, ErrorKind::InvalidResponse, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{exposition::FAMILIES, family::Group};

    #[test]
    fn collectors_are_sorted_and_their_families_are_distinct() {
        assert!(COLLECTORS.windows(2).all(|pair| pair[0].name() < pair[1].name()));
        let mut names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        for family in families() {
            assert!(names.insert(family.name), "{} is not distinct", family.name);
            assert!(family.name.starts_with("wickr_") && family.help.ends_with('.'));
            assert_eq!(family.labels[0], "network_id", "{}", family.name);
            assert_eq!(family.group, Group::Network, "{}", family.name);
        }
        for collector in COLLECTORS {
            assert!(!collector.operations().is_empty(), "{}", collector.name());
            let shared: Vec<_> =
                collector.families().iter().filter(|family| FAMILIES.contains(family)).collect();
            assert!(shared.into_iter().eq(collector.shared_families()), "{}", collector.name());
        }
    }
}
