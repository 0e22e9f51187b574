//! The rows of the lists: their sort keys and their JSON.

use serde_json::{Value, json};

use super::device::Device;
use super::fleet::{Network, SecurityGroup};
use super::options::Options;
use super::paging::{ListRow, RowKey, sort_keys};
use super::user::User;

pub(super) trait ToJson {
    fn to_json(&self, options: &Options) -> Value;
}

impl ListRow for &Network {
    sort_keys! {
        |network|
        "networkId" => RowKey::id(&network.id),
        "networkName" => RowKey::text(&network.name),
        "accessLevel" => RowKey::text(&network.access_level),
        "awsAccountId" => RowKey::optional_text(&network.account),
        "standing" => RowKey::Number(network.standing),
    }

    fn tie_breaker(&self) -> RowKey<'_> {
        RowKey::id(&self.id)
    }
}

impl ToJson for &Network {
    fn to_json(&self, options: &Options) -> Value {
        let account = self.account.as_deref().unwrap_or(&options.account);
        let mut network = json!({
            "networkId": self.id,
            "networkName": self.name,
            "accessLevel": self.access_level,
            "awsAccountId": account,
            "networkArn": network_arn(&options.region, account, &self.id),
            "standing": self.standing,
        });
        self.organisation.describe_network(&mut network);
        network
    }
}

pub(super) fn network_arn(region: &str, account: &str, network: &str) -> String {
    let partition = match region {
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("cn-") => "aws-cn",
        _ => "aws",
    };
    format!("arn:{partition}:wickr:{region}:{account}:network/{network}")
}

impl ListRow for &User {
    sort_keys! {
        |user|
        "userId" => RowKey::id(&user.id),
        "username" => RowKey::text(&user.username),
        "firstName" => RowKey::text(&user.first_name),
        "lastName" => RowKey::text(&user.last_name),
        "status" => RowKey::Number(user.status),
        "isAdmin" => RowKey::Number(user.admin.into()),
        "suspended" => RowKey::Number(user.suspended.into()),
    }

    fn tie_breaker(&self) -> RowKey<'_> {
        RowKey::id(&self.id)
    }
}

impl ToJson for &User {
    fn to_json(&self, _: &Options) -> Value {
        let mut object = json!({
            "userId": self.id,
            "firstName": self.first_name,
            "lastName": self.last_name,
            "username": self.username,
            "securityGroups": self.groups,
            "isAdmin": self.admin,
            "suspended": self.suspended,
            "status": self.status,
            "type": "user",
        });
        if let Some(code) = &self.invite_code {
            object["inviteCode"] = code.as_str().into();
            object["isInviteExpired"] = self.invite_expired.into();
        }
        self.overrides.apply(&mut object);
        object
    }
}

impl ListRow for &Device {
    const FIELDS: &'static [&'static str] =
        &["appId", "created", "lastLogin", "statusText", "suspend", "type"];

    fn key(&self, field: &str) -> RowKey<'_> {
        if let Some(raw) = &self.raw {
            return match raw.get(field) {
                Some(Value::String(text)) => RowKey::text(text),
                Some(Value::Bool(bool)) => RowKey::Number((*bool).into()),
                Some(Value::Number(number)) => {
                    number.as_i64().map_or(RowKey::Absent, RowKey::Number)
                }
                _ => RowKey::Absent,
            };
        }
        match field {
            "appId" => RowKey::text(&self.app_id),
            "created" => RowKey::Number(self.created_ms),
            "lastLogin" => self.last_login_ms.map_or(RowKey::Absent, RowKey::Number),
            "statusText" => RowKey::text(&self.status),
            "suspend" => RowKey::Number(self.suspend.into()),
            "type" => RowKey::text(&self.kind),
            _ => RowKey::Absent,
        }
    }

    fn tie_breaker(&self) -> RowKey<'_> {
        RowKey::Number(i64::try_from(self.serial).unwrap_or(i64::MAX))
    }
}

impl ToJson for &Device {
    fn to_json(&self, options: &Options) -> Value {
        let time = |ms| options.timestamps.format(ms, &options.timezone);
        let mut object = match &self.raw {
            Some(raw) => Value::clone(raw),
            None => json!({
                "appId": self.app_id,
                "type": self.kind,
                "suspend": self.suspend,
                "statusText": self.status,
                "created": time(self.created_ms),
            }),
        };
        if self.raw.is_none() {
            // The API has three representations of 'never'; each fleet has all of them.
            match (self.last_login_ms, self.serial % 3) {
                (Some(at), _) => object["lastLogin"] = time(at),
                (None, 0) => {}
                (None, 1) => object["lastLogin"] = Value::Null,
                (None, _) => object["lastLogin"] = "".into(),
            }
        }
        self.overrides.apply(&mut object);
        object
    }
}

impl ListRow for (usize, &SecurityGroup) {
    sort_keys! {
        |(_, group)|
        "id" => RowKey::text(&group.id),
        "name" => RowKey::text(&group.name),
        "isDefault" => RowKey::Number(group.default.into()),
        "activeMembers" => RowKey::Number(group.active_members),
        "botMembers" => RowKey::Number(group.bot_members),
        "modified" => RowKey::Number(group.modified),
    }

    fn tie_breaker(&self) -> RowKey<'_> {
        RowKey::Number(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl ToJson for (usize, &SecurityGroup) {
    fn to_json(&self, _: &Options) -> Value {
        let group = self.1;
        let mut settings = json!({ "lockoutThreshold": group.lockout_threshold });
        if let Some(minutes) = group.sso_max_idle_minutes {
            settings["ssoMaxIdleMinutes"] = minutes.into();
        }
        for (name, value) in &group.settings {
            settings[name.as_str()] = value.clone();
        }
        json!({
            "id": group.id,
            "name": group.name,
            "isDefault": group.default,
            "activeMembers": group.active_members,
            "botMembers": group.bot_members,
            "modified": group.modified,
            "securityGroupSettings": settings,
        })
    }
}
