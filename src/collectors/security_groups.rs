//! Security groups: members, limits and settings.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Api, Collector};
use crate::{
    family::{Family, SECURITY_GROUP_INFO},
    inventory::Collection,
    wickr::{Error, ListPath, Operation, SecurityGroupItem, lenient::Count},
};

const MEMBERS: Family = Family::network_gauge(
    "wickr_security_group_members",
    &["network_id", "group_id", "kind"],
    "Active members of the security group: user or bot.",
);
const MAX_SESSION: Family = Family::network_gauge(
    "wickr_security_group_max_session_seconds",
    &["network_id", "group_id"],
    "Time after which sessions without SSO end; absent if the group sets no limit.",
);
const LOCKOUT_THRESHOLD: Family = Family::network_gauge(
    "wickr_security_group_lockout_threshold",
    &["network_id", "group_id"],
    "Failed password attempts after which an account is locked.",
);
const SETTING: Family = Family::network_gauge(
    "wickr_security_group_setting",
    &["network_id", "group_id", "setting"],
    "Whether a setting of the security group is on; boolean settings only, such as isAtoEnabled or calling.canVideoCall.",
);
const MODIFIED: Family = Family::network_gauge(
    "wickr_security_group_modified_timestamp_seconds",
    &["network_id", "group_id"],
    "When the security group was last modified.",
);

pub(super) struct SecurityGroups;

impl Collector for SecurityGroups {
    fn name(&self) -> &'static str {
        "security-groups"
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::ListSecurityGroups]
    }

    fn families(&self) -> &'static [Family] {
        &[MEMBERS, MAX_SESSION, LOCKOUT_THRESHOLD, SETTING, MODIFIED, SECURITY_GROUP_INFO]
    }

    fn shared_families(&self) -> &'static [Family] {
        &[SECURITY_GROUP_INFO]
    }

    fn collect<'a>(&'a self, api: Api<'a>) -> BoxFuture<'a, Result<Collection, Error>> {
        Box::pin(async move {
            let groups = groups(api).await?;
            // The same id on two pages is one group.
            let groups: BTreeMap<_, _> =
                groups.iter().filter_map(|group| Some((group.id.0.as_deref()?, group))).collect();
            let mut collection = Collection::default();
            for (id, group) in groups {
                let settings = &group.security_group_settings;
                collection.add(&SECURITY_GROUP_INFO, &[id, group.name.as_str()], Some(1.0));
                collection.add(&MEMBERS, &[id, "user"], group.active_members.value());
                collection.add(&MEMBERS, &[id, "bot"], group.bot_members.value());
                // 0 disables the limit.
                let minutes = settings.get::<Count>("maxNonSsoSessionMinutes").value();
                let limit = minutes.filter(|minutes| *minutes > 0.0);
                collection.add(&MAX_SESSION, &[id], limit.map(|minutes| minutes * 60.0));
                let lockout = settings.get::<Count>("lockoutThreshold").value();
                collection.add(&LOCKOUT_THRESHOLD, &[id], lockout);
                for (name, on) in settings.booleans() {
                    collection.add_flag(&SETTING, &[id, &name], Some(on));
                }
                let modified = &group.modified;
                let field = "securityGroup.modified";
                api.add_time(&mut collection, &MODIFIED, &[id], field, modified);
            }
            Ok(collection)
        })
    }
}

/// From discovery if it reads them.
async fn groups(api: Api<'_>) -> Result<Arc<[SecurityGroupItem]>, Error> {
    if let Some(groups) = api.discovered.groups.last().await {
        return groups;
    }
    let path = ListPath { path: "security-groups", member: "securityGroups", sort: "id" };
    Ok(api.list(Operation::ListSecurityGroups, path).await?.into())
}
