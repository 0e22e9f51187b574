//! Users, networks and security groups.

use std::time::Duration;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use crate::wickr::{NetworkId, UserId};

/// One user of a network. The service's `inviteCode` lets its bearer into the network: it has no
/// place here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id, if the service gives a usable one: the examples of its own model show none.
    pub id: Option<UserId>,
    /// An email address, mostly.
    pub username: Option<String>,
    /// 1 for pending, 2 for active.
    pub status: Option<i64>,
    /// Whether the user is suspended.
    pub suspended: Option<bool>,
    /// The ids of the user's security groups.
    pub groups: Vec<String>,
    /// Whether the account is a bot. ListUsers lists bots, too.
    pub is_bot: bool,
}

/// One network of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The id.
    pub id: NetworkId,
    /// The name that its administrators gave it.
    pub name: Option<String>,
    /// The account that it belongs to.
    pub account: Option<String>,
}

/// One security group of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// The id.
    pub id: String,
    /// The name that its administrators gave it.
    pub name: Option<String>,
    /// After how long an idle SSO session ends; none for no limit.
    pub sso_max_idle: Option<Duration>,
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let groups = value.get("securityGroups").and_then(Value::as_array);
        Ok(User {
            id: text(&value, "userId").and_then(|id| id.parse().ok()),
            username: text(&value, "username"),
            status: value.get("status").and_then(Value::as_i64),
            suspended: value.get("suspended").and_then(Value::as_bool),
            is_bot: value.get("isUser").and_then(Value::as_bool) == Some(false)
                || text(&value, "type").is_some_and(|kind| is_bot_type(&kind)),
            groups: groups
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
        })
    }
}

/// An item, if it can be used: a malformed one spoils only itself.
#[derive(Debug)]
pub(super) struct Usable<T>(pub(super) Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Usable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Usable(serde_json::from_value(Value::deserialize(deserializer)?).ok()))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // A network without an id cannot be asked for: the list is not to be trusted.
        let id = text(&value, "networkId").ok_or_else(|| D::Error::missing_field("networkId"))?;
        Ok(Network {
            id: id.parse().map_err(D::Error::custom)?,
            name: text(&value, "networkName"),
            account: text(&value, "awsAccountId"),
        })
    }
}

impl<'de> Deserialize<'de> for SecurityGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let id = text(&value, "id").ok_or_else(|| D::Error::missing_field("id"))?;
        let settings = value.get("securityGroupSettings");
        let minutes = match settings.and_then(|settings| settings.get("ssoMaxIdleMinutes")) {
            None | Some(Value::Null) => None,
            Some(limit) => {
                let minutes = limit.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0);
                if minutes.is_none() {
                    tracing::warn!(
                        group_id = id,
                        "ssoMaxIdleMinutes cannot be read, taken for no limit"
                    );
                }
                minutes.map(|minutes| minutes as u64)
            }
        };
        Ok(SecurityGroup {
            id,
            name: text(&value, "name"),
            // Zero is no limit.
            sso_max_idle: minutes
                .filter(|minutes| *minutes > 0)
                .map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        })
    }
}

/// Whether an account's `type` names a bot, such as `bot` or `WickrBot`. The service model documents
/// only `user`.
fn is_bot_type(kind: &str) -> bool {
    kind.to_ascii_lowercase().ends_with("bot")
}

/// A member that is a text and not empty. An id may come as a number.
fn text(value: &Value, member: &str) -> Option<String> {
    match value.get(member)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::wire::page;

    #[test]
    fn users_networks_and_groups_are_read() {
        let users = page::<User>(r#"{"users": [
                {"userId": "1001", "username": "a@b.c", "status": 2, "suspended": false, "securityGroups": ["g", 1]},
                {"username": "David", "status": 1, "inviteCode": "INVITE789"}, {"userId": "not an id"}
            ]}"#.as_bytes(), "users", true).unwrap().0;
        assert_eq!(users[0].id.as_ref().unwrap().as_str(), "1001");
        assert_eq!(users[0].groups, ["g"]);
        assert_eq!((&users[1].id, &users[2].id), (&None, &None));
        assert!(!format!("{users:?}").contains("INVITE789"));

        let groups = page::<SecurityGroup>(
            r#"{"securityGroups": [
                {"id": "a", "name": "default", "securityGroupSettings": {"ssoMaxIdleMinutes": 30}},
                {"id": "b", "securityGroupSettings": {"ssoMaxIdleMinutes": 0}}, {"id": "c"}
            ]}"#
            .as_bytes(),
            "securityGroups",
            true,
        )
        .unwrap()
        .0;
        let limits: Vec<_> = groups.iter().map(|group| group.sso_max_idle).collect();
        assert_eq!(limits, [Some(Duration::from_secs(1800)), None, None]);

        let networks = page::<Network>(
            r#"{"networks": [{"networkId": "12345678", "networkName": "Dev"}]}"#.as_bytes(),
            "networks",
            true,
        )
        .unwrap()
        .0;
        assert_eq!(networks[0].name.as_deref(), Some("Dev"));
        let items = r#"{"networks": [{}, "x", {"networkId": "bad"}, {"networkId": "12345678"}]}"#;
        let networks = page::<Usable<Network>>(items.as_bytes(), "networks", true).unwrap().0;
        assert_eq!(networks.iter().filter(|network| network.0.is_some()).count(), 1);
    }

    #[test]
    fn bots_are_recognised_by_is_user_or_type() {
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
    fn a_limit_or_an_id_that_is_none_is_not_guessed_at() {
        let group = |id: &str, minutes: &str| {
            let settings = format!(r#"{{"ssoMaxIdleMinutes": {minutes}}}"#);
            let group = format!(r#"{{"id": {id}, "securityGroupSettings": {settings}}}"#);
            serde_json::from_str::<SecurityGroup>(&group)
                .map(|group| (group.id, group.sso_max_idle))
        };
        let limit = |minutes| group("\"g\"", minutes).unwrap().1;
        assert_eq!(limit("1.0"), Some(Duration::from_secs(60)));
        for none in ["-1", "1.5", "-0.5", "\"30\"", "[30]", "true", "null", "0"] {
            assert_eq!(limit(none), None, "{none}");
        }
        assert!(limit("1e300").is_some(), "longer than anything lasts");
        assert_eq!(group("17", "1").unwrap().0, "17");
        for bad in ["-17", "1.5", "\"\"", "null", "[]"] {
            assert!(group(bad, "1").is_err(), "{bad}");
        }
    }
}
