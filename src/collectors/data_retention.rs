//! The data retention service and its bot, which records messages.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector, not_empty};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{Error, Operation, lenient::Flag},
};

const ENABLED: Family = Family::network_gauge(
    "wickr_data_retention_enabled",
    &["network_id"],
    "Whether the data retention service is enabled.",
);
const BOT_EXISTS: Family = Family::network_gauge(
    "wickr_data_retention_bot_exists",
    &["network_id"],
    "Whether the network has a data retention bot.",
);
const BOT_ACTIVE: Family = Family::network_gauge(
    "wickr_data_retention_bot_active",
    &["network_id"],
    "Whether the data retention bot is active.",
);
const BOT_REGISTERED: Family = Family::network_gauge(
    "wickr_data_retention_bot_registered",
    &["network_id"],
    "Whether the data retention bot is registered.",
);
const KEY_ACKNOWLEDGED: Family = Family::network_gauge(
    "wickr_data_retention_key_acknowledged",
    &["network_id"],
    "Whether the data retention bot's public key message is acknowledged.",
);

pub(super) struct DataRetention;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    is_data_retention_service_enabled: Flag,
    bot_exists: Flag,
    is_bot_active: Flag,
    is_data_retention_bot_registered: Flag,
    is_pubkey_msg_acked: Flag,
}

impl Collector for DataRetention {
    fn name(&self) -> &'static str {
        "data-retention"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::GetDataRetentionBot]
    }

    fn families(&self) -> &'static [Family] {
        &[ENABLED, BOT_EXISTS, BOT_ACTIVE, BOT_REGISTERED, KEY_ACKNOWLEDGED]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let operation = Operation::GetDataRetentionBot;
            let response: Response = api.get(operation, "data-retention-bots").await?;
            let mut collection = Collection::default();
            for (family, flag) in [
                (&ENABLED, response.is_data_retention_service_enabled),
                (&BOT_EXISTS, response.bot_exists),
                (&BOT_ACTIVE, response.is_bot_active),
                (&BOT_REGISTERED, response.is_data_retention_bot_registered),
                (&KEY_ACKNOWLEDGED, response.is_pubkey_msg_acked),
            ] {
                collection.add_flag(family, &[], flag.0);
            }
            not_empty(collection, operation)
        })
    }
}
