//! The rows of the lists: their sort keys and their JSON.

use serde_json::{Value, json};

use super::device::Device;
use super::fleet::{Network, SecurityGroup};
use super::options::Options;
use super::paging::{Key, Row, sort_keys};
use super::user::User;

pub(super) trait ToJson {
    fn to_json(&self, options: &Options) -> Value;
}

impl Row for &Network {
    sort_keys! {
        |network|
        "networkId" => Key::id(&network.id),
        "networkName" => Key::text(&network.name),
        "accessLevel" => Key::text(&network.access_level),
        "awsAccountId" => Key::optional_text(&network.account),
        "standing" => Key::Number(network.standing),
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::id(&self.id)
    }
}

impl ToJson for &Network {
    fn to_json(&self, options: &Options) -> Value {
        let account = self.account.as_deref().unwrap_or(&options.account);
        json!({
            "networkId": self.id,
            "networkName": self.name,
            "accessLevel": self.access_level,
            "awsAccountId": account,
            "networkArn": network_arn(&options.region, account, &self.id),
            "standing": self.standing,
        })
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

impl Row for &User {
    sort_keys! {
        |user|
        "userId" => Key::id(&user.id),
        "username" => Key::text(&user.username),
        "firstName" => Key::text(&user.first_name),
        "lastName" => Key::text(&user.last_name),
        "status" => Key::Number(user.status),
        "isAdmin" => Key::Number(user.admin.into()),
        "suspended" => Key::Number(user.suspended.into()),
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::id(&self.id)
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

impl Row for &Device {
    const FIELDS: &'static [&'static str] =
        &["appId", "created", "lastLogin", "statusText", "suspend", "type"];

    fn key(&self, field: &str) -> Key<'_> {
        if let Some(raw) = &self.raw {
            return match raw.get(field) {
                Some(Value::String(text)) => Key::text(text),
                Some(Value::Bool(bool)) => Key::Number((*bool).into()),
                Some(Value::Number(number)) => number.as_i64().map_or(Key::Absent, Key::Number),
                _ => Key::Absent,
            };
        }
        match field {
            "appId" => Key::text(&self.app_id),
            "created" => Key::Number(self.created_ms),
            "lastLogin" => self.last_login_ms.map_or(Key::Absent, Key::Number),
            "statusText" => Key::text(&self.status),
            "suspend" => Key::Number(self.suspend.into()),
            "type" => Key::text(&self.kind),
            _ => Key::Absent,
        }
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::Number(i64::try_from(self.serial).unwrap_or(i64::MAX))
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

impl Row for (usize, &SecurityGroup) {
    sort_keys! {
        |(_, group)|
        "id" => Key::text(&group.id),
        "name" => Key::text(&group.name),
        "isDefault" => Key::Number(group.default.into()),
        "activeMembers" => Key::Number(group.active_members),
        "botMembers" => Key::Number(group.bot_members),
        "modified" => Key::Number(group.modified),
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::Number(i64::try_from(self.0).unwrap_or(i64::MAX))
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
