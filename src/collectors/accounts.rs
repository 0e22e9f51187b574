//! Accounts by status, and how many can be added.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector, not_empty};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{Error, Operation, lenient::Count},
};

const ACCOUNTS: Family = Family::network_gauge(
    "wickr_network_accounts",
    &["network_id", "status"],
    "Accounts of the network: pending (invited), active or rejected (invitation declined).",
);
const REMAINING: Family = Family::network_gauge(
    "wickr_network_accounts_remaining",
    &["network_id"],
    "Accounts that can still be added, as the service reports it.",
);

pub(super) struct Accounts;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Response {
    pending: Count,
    active: Count,
    rejected: Count,
    remaining: Count,
}

impl Collector for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::GetUsersCount]
    }

    fn families(&self) -> &'static [Family] {
        &[ACCOUNTS, REMAINING]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let response: Response = api.get(Operation::GetUsersCount, "users/count").await?;
            let mut collection = Collection::default();
            collection.add(&ACCOUNTS, &["pending"], response.pending.value());
            collection.add(&ACCOUNTS, &["active"], response.active.value());
            collection.add(&ACCOUNTS, &["rejected"], response.rejected.value());
            collection.add(&REMAINING, &[], response.remaining.value());
            not_empty(collection, Operation::GetUsersCount)
        })
    }
}
