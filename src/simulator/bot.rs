//! A bot and its builder.

use serde_json::{Value, json};

use super::fleet::{Overrides, setters};
use super::options::Options;
use super::paging::{ListRow, RowKey, sort_keys};
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
    setters! { bot;
        /// Sets the display name.
        name(name: impl Into<String>) { bot.name = name.into(); }
        /// Sets the security group.
        in_group(group: impl Into<String>) { bot.group = Some(group.into()); }
        /// Suspends the bot.
        suspended() { bot.suspended = true; }
        /// Sets the last login, in epoch seconds.
        last_login(seconds: i64) { bot.last_login = Some(seconds); }
        /// Sets a member of the bot's JSON.
        with(member: &str, value: impl Into<Value>) { bot.overrides.set(member, Some(value.into())); }
    }

    pub(super) fn status(&self) -> i64 {
        self.status
    }
}

impl ListRow for &Bot {
    sort_keys! {
        |bot|
        "username" => RowKey::text(&bot.username),
        "firstName" => RowKey::Absent,
        "displayName" => RowKey::text(&bot.name),
        "status" => RowKey::Number(bot.status),
        "groupId" => RowKey::optional_text(&bot.group),
    }

    fn tie_breaker(&self) -> RowKey<'_> {
        RowKey::id(&self.id)
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
