//! Single sign-on. The response can carry client secrets: only two values of it are read.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Api, Collector, missing};
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
    "Time before the expiry of an SSO token within which clients refresh it.",
);

pub(super) struct Sso;

type Response = BTreeMap<String, Box<RawValue>>;

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
        Box::pin(async move { collection(&api.get(Operation::GetOidcInfo, "oidc").await?) })
    }
}

/// The service model requires neither member, and a network without SSO can have none. As for pages of
/// lists, an object with other members only is not a response of the API.
fn collection(response: &Response) -> Result<Collection, Error> {
    let invalid = || missing(Operation::GetOidcInfo);
    let info = response.get("openidConnectInfo");
    if info.is_none() && !response.contains_key("tokenInfo") && !response.is_empty() {
        return Err(invalid());
    }
    let info = info.map_or(Ok(None), |json| serde_json::from_str::<Option<Info>>(json.get()));
    let mut collection = Collection::default();
    if let Some(info) = info.map_err(|_| invalid())? {
        collection.add_flag(&CONFIGURED, &[], Some(info.issuer.0));
        let minutes = info.sso_token_buffer_minutes.value();
        collection.add(&TOKEN_GRACE, &[], minutes.map(|minutes| minutes * 60.0));
    }
    Ok(collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_unknown_members_and_accepts_a_network_without_sso() {
        let samples = |body: &str| {
            let collection = collection(&serde_json::from_str(body).unwrap());
            collection.map(|collection| collection.samples.len()).ok()
        };
        for body in [r#"{"message": "x"}"#, r#"{"openidConnectInfo": "x"}"#] {
            assert_eq!(samples(body), None, "{body}");
        }
        for body in ["{}", r#"{"openidConnectInfo": null}"#, r#"{"tokenInfo": null, "x": 1}"#] {
            assert_eq!(samples(body), Some(0), "{body}");
        }
        assert_eq!(samples(r#"{"openidConnectInfo": {"issuer": "https://x"}}"#), Some(1));
    }
}
