//! A bot and its builder.

use serde_json::{Value, json};

use super::fleet::Overrides;
use super::options::Options;
use super::paging::{Key, Row, sort_keys};
use super::rows::ToJson;

/// A bot with this id: active, without a login.
pub fn bot(id: impl Into<String>) -> Bot {
    let id = id.into();
    Bot {
        name: format!("Bot {id}"),
        username: format!("bot-{id}_bot"),
        group: None,
        status: 2,
        suspended: false,
        last_login: None,
        overrides: Overrides::default(),
        id,
    }
}

/// A bot of a network.
#[derive(Clone, Debug)]
pub struct Bot {
    id: String,
    name: String,
    username: String,
    group: Option<String>,
    status: i64,
    pub(super) suspended: bool,
    /// Epoch seconds.
    pub(super) last_login: Option<i64>,
    overrides: Overrides,
}

impl Bot {
    /// Sets the display name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the security group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Suspends the bot.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.suspended = true;
        self
    }

    /// Sets the last login, in epoch seconds.
    #[must_use]
    pub fn last_login(mut self, seconds: i64) -> Self {
        self.last_login = Some(seconds);
        self
    }

    pub(super) fn status(&self) -> i64 {
        self.status
    }

    /// Sets a member of the bot's JSON.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
    }
}

impl Row for &Bot {
    sort_keys! {
        |bot|
        "username" => Key::text(&bot.username),
        "firstName" => Key::Absent,
        "displayName" => Key::text(&bot.name),
        "status" => Key::Number(bot.status),
        "groupId" => Key::optional_text(&bot.group),
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::id(&self.id)
    }
}

impl ToJson for &Bot {
    fn to_json(&self, _: &Options) -> Value {
        let mut object = json!({
            "botId": self.id,
            "displayName": self.name,
            "username": self.username,
            "uname": format!("uname{}", self.id),
            "pubkey": "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K",
            "status": self.status,
            "groupId": self.group,
            "hasChallenge": true,
            "suspended": self.suspended,
            // The service model's example has epoch seconds in a string.
            "lastLogin": self.last_login.map(|seconds| seconds.to_string()),
        });
        self.overrides.apply(&mut object);
        object
    }
}
