//! What a network has beyond users, devices and security groups: bots, data retention, guests,
//! settings and SSO. The responses are those of the service model.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bot::{Bot, bot};
use super::call::Operation;
use super::fleet::{Network, Overrides};
use super::options::Options;
use super::paging::{Key, Row};
use super::rows::ToJson;

/// Users that a network of the simulator can have.
const SEATS: i64 = 30;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Boolean settings of a network and their types, as the service model names them.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("enableClientMetrics", "true", "boolean"),
    ("enableTrustedDataFormat", "false", "boolean"),
    ("dataRetention", "true", "boolean"),
    ("readReceiptStatus", "1", "number"),
    ("networkMessage", "true", "string"),
];

/// A blocked guest user, and the administrator who blocked it.
#[derive(Clone, Debug)]
pub(super) struct BlockedGuest {
    username: String,
    admin: String,
    /// Epoch seconds.
    modified: i64,
}

impl Row for &BlockedGuest {
    const FIELDS: &'static [&'static str] = &["username", "admin", "modified"];

    fn key(&self, field: &str) -> Key<'_> {
        match field {
            "username" => Key::text(&self.username),
            "admin" => Key::text(&self.admin),
            "modified" => Key::Number(self.modified),
            _ => Key::Absent,
        }
    }

    fn tie_breaker(&self) -> Key<'_> {
        Key::text(&self.username)
    }
}

impl ToJson for &BlockedGuest {
    fn to_json(&self, _: &Options) -> Value {
        json!({
            "username": self.username,
            "admin": self.admin,
            "modified": date_time(self.modified),
            "usernameHash": format!("hash-of-{}", self.username),
        })
    }
}

/// The data retention bot. The default is a network without one.
#[derive(Clone, Copy, Debug, Default)]
struct DataRetention {
    exists: bool,
    active: bool,
    registered: bool,
    enabled: bool,
    acknowledged: bool,
}

/// The organisation of a network. The default has nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Organisation {
    rejected: i64,
    bots: Vec<Bot>,
    blocked: Vec<BlockedGuest>,
    data_retention: DataRetention,
    /// Guests by billing period, such as `2024_01`.
    guests: BTreeMap<String, i64>,
    settings: BTreeMap<String, (String, String)>,
    /// With a client secret, which must never leave the client.
    has_sso: bool,
    migration_state: Option<i64>,
    /// Epoch seconds.
    trial_ends: Option<i64>,
    overrides: BTreeMap<Operation, Overrides>,
}

impl Organisation {
    pub(super) fn set(&mut self, operation: Operation, member: &str, value: Option<Value>) {
        self.overrides.entry(operation).or_default().set(member, value);
    }

    pub(super) fn add_bot(&mut self, bot: Bot) {
        self.bots.push(bot);
    }

    pub(super) fn block_guest(&mut self, username: String) {
        let admin = "admin@example.com".to_owned();
        self.blocked.push(BlockedGuest { username, admin, modified: 1_704_067_200 });
    }

    pub(super) fn bots(&self) -> impl Iterator<Item = &Bot> {
        self.bots.iter()
    }

    pub(super) fn blocked(&self) -> impl Iterator<Item = &BlockedGuest> {
        self.blocked.iter()
    }

    /// An organisation with sample data for every operation, for a generated network of this seed.
    pub(super) fn generate(groups: &[String], now_ms: i64, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x0126);
        let now = now_ms / 1000;
        let bots = ["Compliance", "Support", "Analytics", "Alerts"].iter().enumerate();
        let bots: Vec<Bot> = bots
            .map(|(index, name)| {
                let bot = bot((9001 + index).to_string()).name(format!("{name} Bot"));
                let bot = match groups.get(index % groups.len().max(1)) {
                    Some(group) => bot.in_group(group),
                    None => bot,
                };
                bot.last_login(now - rng.i64(60..7 * 86_400))
            })
            .collect();
        let settings = SETTINGS
            .map(|(name, value, kind)| (name.to_owned(), (value.to_owned(), kind.to_owned())));
        let mut organisation = Self {
            rejected: rng.i64(0..3),
            bots,
            data_retention: DataRetention {
                exists: true,
                active: true,
                registered: true,
                enabled: true,
                acknowledged: true,
            },
            guests: [(60, 9), (30, 12), (0, 7)]
                .map(|(days, guests)| (period(now_ms - days * DAY_MS), guests + rng.i64(0..5)))
                .into(),
            settings: settings.into(),
            has_sso: true,
            migration_state: Some(2),
            trial_ends: Some(now + rng.i64(10..60) * 86_400),
            ..Self::default()
        };
        for number in 1..=rng.u8(1..4) {
            organisation.block_guest(format!("guest{number}@elsewhere.example"));
        }
        organisation
    }

    /// Changes something, as administrators, bots and guests do.
    pub(super) fn change(&mut self, now: Timestamp, rng: &mut Rng) {
        let seconds = now.as_second();
        let at = rng.usize(..self.bots.len().max(1));
        match (rng.u8(..100), self.bots.get_mut(at)) {
            (0..60, Some(bot)) => bot.last_login = Some(seconds),
            (60..64, Some(bot)) => bot.suspended = !bot.suspended,
            // The bot stops, and soon runs again.
            (64..72, _) if self.data_retention.exists => {
                let active = &mut self.data_retention.active;
                *active = !*active || rng.u8(..4) > 0;
            }
            (72..85, _) => {
                *self.guests.entry(period(now.as_millisecond())).or_default() += 1;
            }
            (85..88, _) if self.blocked.len() < 20 => {
                self.block_guest(format!("guest{seconds}-{}@elsewhere.example", rng.u16(..)));
            }
            (88..90, _) => drop(self.blocked.pop()),
            (90..93, _) => {
                if let Some((value, _)) = self.settings.get_mut("enableClientMetrics") {
                    *value = (value == "false").to_string();
                }
            }
            (93..95, _) => self.rejected = (self.rejected + 1) % 5,
            _ => {}
        }
    }
}

/// The billing period of a time in milliseconds.
fn period(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or_default();
    at.strftime("%Y_%m").to_string()
}

fn date_time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The response of an operation that has one response for a network. `None` for lists.
pub(super) fn response(
    operation: Operation,
    network: &Network,
    options: &Options,
) -> Option<Value> {
    let organisation = &network.organisation;
    let mut response = match operation {
        Operation::GetUsersCount => users_count(network),
        Operation::GetNetwork => get_network(network, options),
        Operation::GetNetworkSettings => {
            let setting = |(name, (value, kind)): (&String, &(String, String))| json!({ "optionName": name, "value": value, "type": kind });
            json!({ "settings": organisation.settings.iter().map(setting).collect::<Vec<_>>() })
        }
        Operation::GetDataRetentionBot => data_retention(organisation.data_retention),
        Operation::GetGuestUserHistoryCount => {
            // Counts are strings in the service model.
            let period = |(month, count): (&String, &i64)| json!({ "month": month, "count": count.to_string() });
            json!({ "history": organisation.guests.iter().map(period).collect::<Vec<_>>() })
        }
        Operation::GetOidcInfo => oidc(organisation.has_sso),
        _ => return None,
    };
    if let Some(overrides) = organisation.overrides.get(&operation) {
        overrides.apply(&mut response);
    }
    Some(response)
}

fn users_count(network: &Network) -> Value {
    let (mut pending, mut active) = (0, 0);
    for user in network.users() {
        match user.status {
            1 => pending += 1,
            _ => active += 1,
        }
    }
    let total: i64 = pending + active;
    json!({
        "pending": pending,
        "active": active,
        "rejected": network.organisation.rejected,
        "remaining": (SEATS - total).max(0),
        "total": total,
    })
}

fn get_network(network: &Network, options: &Options) -> Value {
    let mut response = network.to_json(options);
    let organisation = &network.organisation;
    if let Some(state) = organisation.migration_state {
        response["migrationState"] = state.into();
    }
    if let Some(ends) = organisation.trial_ends {
        response["freeTrialExpiration"] = date_time(ends).into();
    }
    response
}

fn data_retention(retention: DataRetention) -> Value {
    if !retention.exists {
        // As observed of a network that never had one.
        return json!({ "botExists": false, "isDataRetentionServiceEnabled": retention.enabled });
    }
    json!({
        "botName": "dataretention_bot",
        "botExists": true,
        "isBotActive": retention.active,
        "isDataRetentionBotRegistered": retention.registered,
        "isDataRetentionServiceEnabled": retention.enabled,
        "isPubkeyMsgAcked": retention.acknowledged,
    })
}

fn oidc(has_sso: bool) -> Value {
    if !has_sso {
        return json!({});
    }
    json!({
        "openidConnectInfo": {
            "applicationName": "Wickr",
            "clientId": "0oa1simulated",
            "companyId": "example-company",
            "scopes": "openid profile email",
            "issuer": "https://idp.example.com/oauth2/default",
            "clientSecret": "SIMULATED-CLIENT-SECRET",
            "secret": "SIMULATED-SECRET",
            "redirectUrl": "https://messaging-pro-prod.wickr.com/deeplink/oidc.php",
            "ssoTokenBufferMinutes": 15,
        },
        "tokenInfo": {
            "accessToken": "SIMULATED-ACCESS-TOKEN",
            "refreshToken": "SIMULATED-REFRESH-TOKEN",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_move_every_part() {
        let mut organisation = Organisation::generate(&["g".to_owned()], 1_700_000_000_000, 1);
        let start = format!("{organisation:?}");
        let (mut inactive, mut suspended, mut rng) = (0, 0, Rng::with_seed(1));
        for _ in 0..5_000 {
            organisation.change(Timestamp::now(), &mut rng);
            inactive += usize::from(!organisation.data_retention.active);
            suspended += organisation.bots.iter().filter(|bot| bot.suspended).count();
            assert!(organisation.blocked.len() <= 20);
        }
        assert_ne!(format!("{organisation:?}"), start);
        assert!((50..4_000).contains(&inactive) && suspended > 0, "{inactive} {suspended}");
        assert_eq!(organisation.guests.len(), 4, "{:?}", organisation.guests);
    }
}
