//! Bots: how many, and each with its group, state and last login.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{
        Error, ListPath, Operation,
        lenient::{Flag, Text, Time},
    },
};

const BOTS: Family = Family::network_gauge(
    "wickr_network_bots",
    &["network_id", "status"],
    "Bots of the network by status: pending, active, the API's number of any other status, or unknown.",
);
const INFO: Family = Family::network_gauge(
    "wickr_bot_info",
    &["network_id", "bot_id", "bot_name", "group_id"],
    "Display name and security group of the bot; always 1.",
);
const SUSPENDED: Family = Family::network_gauge(
    "wickr_bot_suspended",
    &["network_id", "bot_id"],
    "Whether the bot is suspended.",
);
const LAST_LOGIN: Family = Family::network_gauge(
    "wickr_bot_last_login_timestamp_seconds",
    &["network_id", "bot_id"],
    "When the bot last logged in; absent if never.",
);

pub(super) struct Bots;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Bot {
    bot_id: Text,
    display_name: Text,
    group_id: Text,
    status: Text,
    suspended: Flag,
    last_login: Time,
}

impl Collector for Bots {
    fn name(&self) -> &'static str {
        "bots"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::ListBots]
    }

    fn families(&self) -> &'static [Family] {
        &[BOTS, INFO, SUSPENDED, LAST_LOGIN]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let path = ListPath { path: "bots", member: "bots", sort: "username" };
            let bots: Vec<Bot> = api.list(Operation::ListBots, path).await?;
            // The same id on two pages is one bot.
            let (identified, anonymous): (Vec<_>, Vec<_>) =
                bots.into_iter().partition(|bot| bot.bot_id.0.is_some());
            let identified: BTreeMap<_, _> =
                identified.into_iter().map(|bot| (bot.bot_id.0.clone(), bot)).collect();
            let mut counts = BTreeMap::from([("pending", 0.0), ("active", 0.0)]);
            for bot in identified.values().chain(&anonymous) {
                *counts.entry(status(bot)).or_default() += 1.0;
            }
            let mut collection = Collection::default();
            for (status, count) in counts {
                collection.add(&BOTS, &[status], Some(count));
            }
            for bot in identified.values() {
                let (id, name, group) =
                    (bot.bot_id.as_str(), bot.display_name.as_str(), bot.group_id.as_str());
                collection.add(&INFO, &[id, name, group], Some(1.0));
                collection.add_flag(&SUSPENDED, &[id], bot.suspended.0);
                collection.add(&LAST_LOGIN, &[id], api.seconds("bot.lastLogin", &bot.last_login));
            }
            Ok(collection)
        })
    }
}

fn status(bot: &Bot) -> &str {
    match bot.status.as_str() {
        "" => "unknown",
        "1" => "pending",
        "2" => "active",
        other => other,
    }
}
