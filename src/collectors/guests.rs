//! Guest users of the latest billing period, and blocked guest users.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector, missing};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{
        Error, ListPath, Operation,
        lenient::{Count, Items, Month, Text},
    },
};

const GUESTS: Family = Family::network_gauge(
    "wickr_network_guest_users",
    &["network_id"],
    "Guest users that communicated with the network in the latest billing period.",
);
const BLOCKED: Family = Family::network_gauge(
    "wickr_network_guest_users_blocked",
    &["network_id"],
    "Blocked guest users.",
);

pub(super) struct Guests;

#[derive(Deserialize, Default)]
#[serde(default)]
struct History {
    history: Items<Period>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Period {
    month: Month,
    count: Count,
}

/// Names of guests and administrators are not read.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BlockedGuest {
    username_hash: Text,
}

impl Collector for Guests {
    fn name(&self) -> &'static str {
        "guests"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::GetGuestUserHistoryCount, Operation::ListBlockedGuestUsers]
    }

    fn families(&self) -> &'static [Family] {
        &[GUESTS, BLOCKED]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let operation = Operation::GetGuestUserHistoryCount;
            let history: History = api.get(operation, "guest-users/count").await?;
            let history = history.history.0.ok_or_else(|| missing(operation))?;
            let path =
                ListPath { path: "guest-users/blocklist", member: "blocklist", sort: "username" };
            let blocked: Vec<BlockedGuest> =
                api.list(Operation::ListBlockedGuestUsers, path).await?;
            let mut collection = Collection::default();
            collection.add(&GUESTS, &[], latest(&history).and_then(|period| period.count.value()));
            // The same guest on two pages is one.
            let known: BTreeSet<_> =
                blocked.iter().filter_map(|guest| guest.username_hash.0.as_deref()).collect();
            let unknown = blocked.iter().filter(|guest| guest.username_hash.0.is_none()).count();
            collection.add(&BLOCKED, &[], Some((known.len() + unknown) as f64));
            Ok(collection)
        })
    }
}

/// The period with the last month.
fn latest(history: &[Period]) -> Option<&Period> {
    history.iter().filter(|period| period.month.0.is_some()).max_by_key(|period| period.month.0)
}
