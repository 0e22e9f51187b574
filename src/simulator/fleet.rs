//! Networks with their users, devices and security groups, and builders for tests:
//!
//! ```
//! use wickr_exporter::simulator::{Fleet, days, device, network, user};
//!
//! let fleet = Fleet::new().network(
//!     network("12345678").user(
//!         user("1001").device(device("a").kind("iOS").last_login_ago(days(30)).suspended()),
//!     ),
//! );
//! assert_eq!(fleet.device_count(), 1);
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::bot::Bot;
use super::call::Operation;
use super::organisation::Organisation;
use super::user::User;

/// Builder methods of a type.
macro_rules! setters {
    ($this:ident; $($(#[$doc:meta])+ $name:ident($($argument:ident: $type:ty),*) $set:block)+) => {
        $(
            $(#[$doc])+
            #[must_use]
            pub fn $name(mut self, $($argument: $type),*) -> Self {
                let $this = &mut self;
                $set;
                self
            }
        )+
    };
}
pub(super) use setters;

/// A number of days.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// A number of hours.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 60 * 60)
}

/// A number of minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// A network with this id: without users and groups. The API accepts ids of 8 digits only.
pub fn network(id: impl Into<String>) -> Network {
    let id = id.into();
    Network {
        name: format!("Network {id}"),
        access_level: "PREMIUM".to_owned(),
        account: None,
        standing: 1,
        users: BTreeMap::new(),
        groups: Vec::new(),
        organisation: Organisation::default(),
        id,
    }
}

/// A security group with this id, without a limit on SSO idle time.
pub fn security_group(id: impl Into<String>) -> SecurityGroup {
    let id = id.into();
    SecurityGroup {
        name: format!("group {id}"),
        default: false,
        active_members: 0,
        bot_members: 0,
        modified: 1_704_067_200,
        lockout_threshold: 10,
        sso_max_idle_minutes: None,
        settings: BTreeMap::new(),
        id,
    }
}

/// Members of a JSON object to set or, with `None`, to remove.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(BTreeMap<String, Option<Value>>);

impl Overrides {
    pub(super) fn set(&mut self, name: &str, value: Option<Value>) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn apply(&self, json: &mut Value) {
        let Some(object) = json.as_object_mut() else { return };
        for (name, value) in &self.0 {
            match value {
                Some(value) => object.insert(name.clone(), value.clone()),
                None => object.remove(name),
            };
        }
    }
}

/// Sorts numeric ids: 999 comes before 1000, and `07` differs from `7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdKey(usize, String);

impl IdKey {
    pub(super) fn new(id: &str) -> Self {
        Self(id.len(), id.to_owned())
    }
}

/// The networks of a simulator.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    networks: BTreeMap<String, Network>,
}

impl Fleet {
    setters! { fleet;
        /// Adds a network, or replaces the one with the same id.
        network(network: Network) { fleet.add_network(network); }
    }

    /// Without networks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network, or replaces the one with the same id.
    pub fn add_network(&mut self, network: Network) {
        self.networks.insert(network.id.clone(), network);
    }

    /// Removes a network. Returns whether it existed.
    pub fn remove_network(&mut self, id: &str) -> bool {
        self.networks.remove(id).is_some()
    }

    /// The networks in the order of their ids.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// The network with this id.
    pub fn get(&self, id: &str) -> Option<&Network> {
        self.networks.get(id)
    }

    /// The network with this id.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Network> {
        self.networks.get_mut(id)
    }

    /// A user of a network.
    pub fn user_mut(&mut self, network: &str, user: &str) -> Option<&mut User> {
        self.get_mut(network)?.user_mut(user)
    }

    /// Counts the devices of all networks, in about a second for a million users.
    pub fn device_count(&self) -> usize {
        self.networks().flat_map(Network::users).map(|user| user.devices().len()).sum()
    }

    pub(super) fn network_at_mut(&mut self, index: usize) -> Option<&mut Network> {
        self.networks.values_mut().nth(index)
    }
}

/// A network with its users and security groups.
#[derive(Clone, Debug)]
pub struct Network {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) access_level: String,
    pub(super) account: Option<String>,
    pub(super) standing: i64,
    pub(super) groups: Vec<SecurityGroup>,
    pub(super) organisation: Organisation,
    users: BTreeMap<IdKey, User>,
}

impl Network {
    setters! { network;
        /// Sets the name.
        name(name: impl Into<String>) { network.name = name.into(); }
        /// Sets the owning AWS account; by default the simulator's.
        account(account: impl Into<String>) { network.account = Some(account.into()); }
        /// Adds a user, or replaces the one with the same id.
        user(user: User) { network.add_user(user); }
        /// Adds users.
        with_users(users: impl IntoIterator<Item = User>) {
            users.into_iter().for_each(|user| network.add_user(user));
        }
        /// Adds a security group.
        group(group: SecurityGroup) { network.groups.push(group); }
        /// Adds a bot.
        bot(bot: Bot) { network.organisation.add_bot(bot); }
        /// Sets a member in the response of an operation that has one response for the network.
        with(operation: Operation, member: &str, value: impl Into<Value>) {
            network.set(operation, member, Some(value.into()));
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets or, with `None`, removes a member in the response of an operation.
    pub fn set(&mut self, operation: Operation, member: &str, value: Option<Value>) {
        self.organisation.set(operation, member, value);
    }

    /// Adds a user, or replaces the one with the same id.
    pub fn add_user(&mut self, user: User) {
        self.users.insert(IdKey::new(&user.id), user);
    }

    /// Removes a user. Returns whether it existed.
    pub fn remove_user(&mut self, id: &str) -> bool {
        self.users.remove(&IdKey::new(id)).is_some()
    }

    /// The users in the order of their ids.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// The user with this id.
    pub fn get(&self, id: &str) -> Option<&User> {
        self.users.get(&IdKey::new(id))
    }

    /// The user with this id.
    pub fn user_mut(&mut self, id: &str) -> Option<&mut User> {
        self.users.get_mut(&IdKey::new(id))
    }

    /// The security groups.
    pub fn groups_mut(&mut self) -> &mut Vec<SecurityGroup> {
        &mut self.groups
    }

    /// The users after this id, found without scanning those before it.
    pub(super) fn users_after<'a>(
        &'a self,
        id: Option<&str>,
    ) -> impl Iterator<Item = &'a User> + use<'a> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, |id| Bound::Excluded(IdKey::new(id)));
        self.users.range((from, Bound::Unbounded)).map(|(_, user)| user)
    }

    /// The user at `fraction` (0 to 1) of the range of ids, found without scanning the users.
    pub(super) fn user_near_mut(&mut self, fraction: f64) -> Option<&mut User> {
        let number = |key: Option<&IdKey>| key.and_then(|key| key.1.parse::<u64>().ok());
        let first = number(self.users.keys().next())?;
        let last = number(self.users.keys().next_back())?;
        let id = first + ((last - first.min(last)) as f64 * fraction).round() as u64;
        self.users.range_mut(IdKey::new(&id.to_string())..).next().map(|(_, user)| user)
    }
}

/// A security group.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) default: bool,
    pub(super) active_members: i64,
    pub(super) bot_members: i64,
    pub(super) modified: i64,
    pub(super) lockout_threshold: i64,
    pub(super) sso_max_idle_minutes: Option<i64>,
    /// Further members of `securityGroupSettings`.
    pub(super) settings: BTreeMap<String, Value>,
}

impl SecurityGroup {
    setters! { group;
        /// Sets the name.
        name(name: impl Into<String>) { group.name = name.into(); }
        /// Sets `ssoMaxIdleMinutes`; 0 is no limit, as is an absent value.
        sso_max_idle_minutes(minutes: i64) { group.sso_max_idle_minutes = Some(minutes); }
        /// Sets a member of `securityGroupSettings`.
        setting(name: &str, value: impl Into<Value>) {
            group.settings.insert(name.to_owned(), value.into());
        }
        /// Makes this the default group.
        default_group() { group.default = true; }
    }
}
