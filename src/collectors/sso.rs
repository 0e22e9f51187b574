//! Single sign-on. The response can carry client secrets: only two values of it are read.

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{Api, Collector};
use crate::{
    family::Family,
    inventory::Collection,
    wickr::{
        Error, Operation,
        lenient::{Count, Presence},
    },
};

const CONFIGURED: Family = Family::network_gauge(
    "wickr_network_sso_configured",
    &["network_id"],
    "Whether SSO has an identity provider; absent if the service returns no SSO information.",
);
const TOKEN_GRACE: Family = Family::network_gauge(
    "wickr_network_sso_token_grace_seconds",
    &["network_id"],
    "Time before an SSO token expires in which clients refresh it.",
);

pub(super) struct Sso;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    openid_connect_info: Option<Info>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    issuer: Presence,
    sso_token_buffer_minutes: Count,
}

impl Collector for Sso {
    fn name(&self) -> &'static str {
        "sso"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::GetOidcInfo]
    }

    fn families(&self) -> &'static [Family] {
        &[CONFIGURED, TOKEN_GRACE]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let response: Response = api.get(Operation::GetOidcInfo, "oidc").await?;
            let mut collection = Collection::default();
            if let Some(info) = response.openid_connect_info {
                collection.add_flag(&CONFIGURED, &[], Some(info.issuer.0));
                let minutes = info.sso_token_buffer_minutes.value();
                collection.add(&TOKEN_GRACE, &[], minutes.map(|minutes| minutes * 60.0));
            }
            Ok(collection)
        })
    }
}
