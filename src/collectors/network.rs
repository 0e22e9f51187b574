//! The network itself: its standing, access level, trial and settings.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector, missing, not_empty};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{
        Error, ErrorKind, NetworkDetails, Operation,
        lenient::{Flag, Items, Text},
    },
};

const STANDING: Family = Family::network_gauge(
    "wickr_network_standing",
    &["network_id"],
    "Standing of the network, as the number that the API returns; 1 in AWS's examples.",
);
const MIGRATION_STATE: Family = Family::network_gauge(
    "wickr_network_sso_migration_state",
    &["network_id"],
    "Migration of the SSO redirect URI: 0 (not started), 1 (in progress) or 2 (completed).",
);
const TRIAL_EXPIRATION: Family = Family::network_gauge(
    "wickr_network_trial_expiration_timestamp_seconds",
    &["network_id"],
    "When the network's free trial ends; absent without a trial.",
);
const SETTING: Family = Family::network_gauge(
    "wickr_network_setting",
    &["network_id", "setting"],
    "Whether a setting of the network is on; boolean settings only.",
);

pub(super) struct NetworkSettings;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Settings {
    settings: Items<Setting>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Setting {
    option_name: Text,
    value: Flag,
    r#type: Text,
}

impl Setting {
    fn is_boolean(&self) -> bool {
        // A string setting with the text `true` is not a boolean setting.
        matches!(self.r#type.as_str().to_ascii_lowercase().as_str(), "boolean" | "bool" | "")
    }
}

impl Collector for NetworkSettings {
    fn name(&self) -> &'static str {
        "network"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::GetNetwork, Operation::GetNetworkSettings]
    }

    fn families(&self) -> &'static [Family] {
        &[STANDING, MIGRATION_STATE, TRIAL_EXPIRATION, SETTING]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let network = network(api).await?;
            let settings: Settings = api.get(Operation::GetNetworkSettings, "settings").await?;
            let mut collection = Collection::default();
            let info = [
                ("account_id", network.aws_account_id.0),
                ("access_level", network.access_level.0),
            ];
            let known = info.into_iter().filter_map(|(label, text)| Some((label, text?)));
            collection.info = known.collect();
            collection.add(&STANDING, &[], network.standing.0);
            collection.add(&MIGRATION_STATE, &[], network.migration_state.0);
            let (field, trial) = ("network.freeTrialExpiration", &network.free_trial_expiration);
            api.add_time(&mut collection, &TRIAL_EXPIRATION, &[], field, trial);
            let mut collection = not_empty(collection, Operation::GetNetwork)?;
            let settings = settings.settings.0;
            for setting in settings.ok_or_else(|| missing(Operation::GetNetworkSettings))? {
                if let Some(name) =
                    setting.option_name.0.as_deref().filter(|_| setting.is_boolean())
                {
                    collection.add_flag(&SETTING, &[name], setting.value.0);
                }
            }
            Ok(collection)
        })
    }
}

/// From the list of networks if discovery reads it.
async fn network(api: Api<'_>) -> Result<NetworkDetails, Error> {
    let Some(networks) = api.discovered.networks.last().await else {
        return api.get(Operation::GetNetwork, "").await;
    };
    let networks = networks?;
    let network = networks.iter().find(|network| network.id == *api.network);
    network.map(|network| network.details.clone()).ok_or_else(|| {
        let message = "the list of networks lacks this network";
        Error::new(Operation::ListNetworks, ErrorKind::NotFound, message)
    })
}
