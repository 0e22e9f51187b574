//! Users, networks and security groups.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::lenient::{Count, Number, Object, Text, Time};
use crate::wickr::{Error, ErrorKind, NetworkId, Operation, UserId};

/// One user of a network. `inviteCode` is a secret and is not parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id; None if it is missing or invalid.
    pub id: Option<UserId>,
    /// Usually an email address.
    pub username: Option<String>,
    /// 1 for pending, 2 for active.
    pub status: Option<i64>,
    /// Whether the user is suspended.
    pub suspended: Option<bool>,
    /// Whether the user is an administrator.
    pub admin: Option<bool>,
    /// Whether the user's invitation has expired.
    pub invite_expired: Option<bool>,
    /// The ids of the user's security groups.
    pub groups: Vec<String>,
    /// Whether the account is a bot. ListUsers also returns bots.
    pub is_bot: bool,
}

/// One network of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The id.
    pub id: NetworkId,
    /// The display name.
    pub name: Option<String>,
    /// What else the service has about it.
    pub details: NetworkDetails,
}

/// What the service has about a network, in its own response and in the list of networks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkDetails {
    /// The plan.
    pub access_level: Text,
    /// The AWS account id.
    pub aws_account_id: Text,
    /// A number without a published meaning.
    pub standing: Number,
    /// The migration of the SSO redirect URI.
    pub migration_state: Number,
    /// When the free trial ends.
    pub free_trial_expiration: Time,
}

/// One security group of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// The id.
    pub id: String,
    /// The display name.
    pub name: Option<String>,
    /// Idle time after which an SSO session ends; None for no limit.
    pub sso_max_idle: Option<Duration>,
}

/// A security group as the service returns it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityGroupItem {
    /// The id.
    pub id: Text,
    /// The display name.
    pub name: Text,
    /// Users.
    pub active_members: Count,
    /// Bots.
    pub bot_members: Count,
    /// When it was last modified.
    pub modified: Time,
    /// Its settings.
    pub security_group_settings: Object,
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let groups = value.get("securityGroups").and_then(Value::as_array).into_iter().flatten();
        let flag = |member| value.get(member).and_then(Value::as_bool);
        Ok(User {
            id: text(&value, "userId").and_then(|id| id.parse().ok()),
            username: text(&value, "username"),
            status: value.get("status").and_then(Value::as_i64),
            suspended: flag("suspended"),
            admin: flag("isAdmin"),
            invite_expired: flag("isInviteExpired"),
            groups: groups.filter_map(Value::as_str).map(Into::into).collect(),
            is_bot: flag("isUser") == Some(false)
                || text(&value, "type").is_some_and(|kind| is_bot_type(&kind)),
        })
    }
}

impl Network {
    /// None if the id is missing or invalid.
    pub(super) fn parse(value: &Value) -> Option<Network> {
        Some(Network {
            id: text(value, "networkId")?.parse().ok()?,
            name: text(value, "networkName"),
            details: NetworkDetails::deserialize(value).unwrap_or_default(),
        })
    }
}

impl SecurityGroup {
    /// Parses the groups of a list.
    ///
    /// # Errors
    ///
    /// A group has no id, so that its limit is unknown.
    pub fn parse_all(groups: &[SecurityGroupItem]) -> Result<Vec<SecurityGroup>, Error> {
        let all: Vec<_> = groups.iter().filter_map(SecurityGroup::parse).collect();
        match groups.len() - all.len() {
            0 => Ok(all),
            n => {
                let message = format!("{n} of {} security groups have no id", groups.len());
                let kind = ErrorKind::InvalidResponse;
                Err(Error::new(Operation::ListSecurityGroups, kind, message))
            }
        }
    }

    /// None if the id is missing or invalid.
    fn parse(group: &SecurityGroupItem) -> Option<SecurityGroup> {
        const LIMIT: &str = "ssoMaxIdleMinutes";
        let id = group.id.0.as_deref()?;
        let settings = &group.security_group_settings;
        let minutes = settings.get::<Count>(LIMIT).0;
        if minutes.is_none() && !settings.get::<Value>(LIMIT).is_null() {
            tracing::warn!(group_id = id, "invalid ssoMaxIdleMinutes ignored");
        }
        let limit = minutes.filter(|minutes| *minutes > 0);
        Some(SecurityGroup {
            id: id.to_owned(),
            name: group.name.0.as_deref().map(str::to_owned),
            sso_max_idle: limit.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        })
    }
}

/// Whether an account's `type` is a bot, such as `bot` or `WickrBot`. The service model documents
/// only `user`.
fn is_bot_type(kind: &str) -> bool {
    kind.to_ascii_lowercase().ends_with("bot")
}

/// A non-empty string. An id can also be a number.
fn text(value: &Value, field: &str) -> Option<String> {
    match value.get(field)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::wire::{networks_page, security_groups_page, users_page};

    #[test]
    fn parses_users_without_their_invite_codes() {
        let json = br#"{"users": [
            {"userId": "1001", "username": "a@b.c", "status": 2, "suspended": false, "securityGroups": ["g", 1]},
            {"username": "David", "status": 1, "inviteCode": "INVITE789"}, {"userId": "not an id"}
        ]}"#;
        let (users, _) = users_page(json).unwrap();
        assert_eq!(users[0].id.as_ref().unwrap().as_str(), "1001");
        assert_eq!(users[0].groups, ["g"]);
        assert_eq!((&users[1].id, &users[2].id), (&None, &None));
        assert!(!format!("{users:?}").contains("INVITE789"));
    }

    #[test]
    fn a_network_without_a_valid_id_is_none() {
        let json = br#"{"networks": [{}, "x", {"networkId": "bad"}, {"networkId": "12345678", "networkName": "Dev"}]}"#;
        let (networks, _) = networks_page(json).unwrap();
        assert_eq!(networks[..3], [None, None, None]);
        assert_eq!(networks[3].as_ref().unwrap().name.as_deref(), Some("Dev"));
    }

    #[test]
    fn recognizes_bots_by_is_user_or_type() {
        let is_bot = |json: &str| serde_json::from_str::<User>(json).unwrap().is_bot;
        for bot in [r#"{"isUser": false}"#, r#"{"type": "bot"}"#, r#"{"type": "WickrBot"}"#] {
            assert!(is_bot(bot), "{bot}");
        }
        for user in [
            "{}",
            r#"{"isUser": true, "type": "user"}"#,
            r#"{"isUser": null, "username": "talbot"}"#,
        ] {
            assert!(!is_bot(user), "{user}");
        }
    }

    #[test]
    fn invalid_limits_are_ignored_and_invalid_group_ids_fail() {
        let group = |id: &str, minutes: &str| {
            let settings = format!(r#"{{"ssoMaxIdleMinutes": {minutes}}}"#);
            let group = format!(r#"{{"id": {id}, "securityGroupSettings": {settings}}}"#);
            let page = format!(r#"{{"securityGroups": [{group}]}}"#);
            let (groups, _) = security_groups_page(page.as_bytes(), |_| ()).unwrap();
            SecurityGroup::parse_all(&groups).map(|mut all| all.remove(0))
        };
        let limit = |minutes| group("\"g\"", minutes).unwrap().sso_max_idle;
        assert_eq!(limit("1.0"), Some(Duration::from_secs(60)));
        assert_eq!(limit("\"30\""), Some(Duration::from_secs(1_800)));
        for none in ["-1", "1.5", "-0.5", "\"x\"", "[30]", "true", "null", "0", "1e300"] {
            assert_eq!(limit(none), None, "{none}");
        }
        assert_eq!(group("17", "1").unwrap().id, "17");
        for bad in ["-17", "1.5", "\"\"", "null", "[]"] {
            assert!(group(bad, "1").is_err(), "{bad}");
        }
        let page = br#"{"securityGroups": [{"id": "g"}, 7, {}]}"#;
        let (groups, _) = security_groups_page(page, |_| ()).unwrap();
        assert_eq!(SecurityGroup::parse_all(&groups[..1]).unwrap()[0].sso_max_idle, None);
        let error = SecurityGroup::parse_all(&groups).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidResponse);
        assert!(error.to_string().ends_with("2 of 3 security groups have no id"), "{error}");
    }
}
