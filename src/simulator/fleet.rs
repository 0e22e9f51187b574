//! What the simulator serves: networks, their users, devices and security groups.
//!
//! A fleet reads as a sentence where a test writes it:
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
//!
//! `with` and `without` on every part set or drop single members of what is written, and
//! `device_raw` puts any JSON at all among a user's devices, for answers that no sane
//! service would give.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::user::User;

/// So many days, for readable fleets.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// So many hours.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 60 * 60)
}

/// So many minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Begins a network with this id (8 digits, if the API is to find it).
pub fn network(id: impl Into<String>) -> Network {
    let id = id.into();
    Network {
        name: format!("Network {id}"),
        access_level: "PREMIUM".to_owned(),
        account: None,
        standing: 1,
        users: BTreeMap::new(),
        groups: Vec::new(),
        overrides: Overrides::default(),
        id,
    }
}

/// Begins a security group with this id: no limit on SSO idle time.
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
        overrides: Overrides::default(),
        id,
    }
}

/// Members of a written JSON object that were set or dropped by hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(BTreeMap<String, Option<Value>>);

impl Overrides {
    pub(super) fn set(&mut self, name: &str, value: Option<Value>) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn apply(&self, written: &mut Value) {
        let Some(object) = written.as_object_mut() else { return };
        for (name, value) in &self.0 {
            match value {
                Some(value) => object.insert(name.clone(), value.clone()),
                None => object.remove(name),
            };
        }
    }
}

/// The order of ids that are numbers: 999 comes before 1000, and `07` is not `7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdKey(usize, String);

impl IdKey {
    pub(super) fn new(id: &str) -> Self {
        Self(id.len(), id.to_owned())
    }
}

/// All networks that one simulator serves.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    networks: BTreeMap<String, Network>,
}

impl Fleet {
    /// No network yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more network, or in place of the one with the same id.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.add_network(network);
        self
    }

    /// Adds a network, or replaces the one with the same id.
    pub fn add_network(&mut self, network: Network) {
        self.networks.insert(network.id.clone(), network);
    }

    /// Removes a network; whether there was one.
    pub fn remove_network(&mut self, id: &str) -> bool {
        self.networks.remove(id).is_some()
    }

    /// The networks in the order of their ids.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// One network, to read.
    pub fn get(&self, id: &str) -> Option<&Network> {
        self.networks.get(id)
    }

    /// One network, to change.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Network> {
        self.networks.get_mut(id)
    }

    /// One user of one network, to change.
    pub fn user_mut(&mut self, network: &str, user: &str) -> Option<&mut User> {
        self.get_mut(network)?.user_mut(user)
    }

    /// The devices of all users of all networks. It counts them one by one: a second or so
    /// for a million users.
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
    pub(super) overrides: Overrides,
    users: BTreeMap<IdKey, User>,
}

impl Network {
    /// Its 8 digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The AWS account that owns it; the simulator's own unless set.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// With one more user, or in place of the one with the same id.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.add_user(user);
        self
    }

    /// With these users as well.
    #[must_use]
    pub fn with_users(mut self, users: impl IntoIterator<Item = User>) -> Self {
        users.into_iter().for_each(|user| self.add_user(user));
        self
    }

    /// With one more security group.
    #[must_use]
    pub fn group(mut self, group: SecurityGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Sets a member of the written network, whatever its type.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
    }

    /// Leaves a member out of the written network.
    #[must_use]
    pub fn without(mut self, member: &str) -> Self {
        self.overrides.set(member, None);
        self
    }

    /// Adds a user, or replaces the one with the same id.
    pub fn add_user(&mut self, user: User) {
        self.users.insert(IdKey::new(&user.id), user);
    }

    /// Removes a user; whether there was one.
    pub fn remove_user(&mut self, id: &str) -> bool {
        self.users.remove(&IdKey::new(id)).is_some()
    }

    /// The users in the order of their ids.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// How many users it has, pending ones among them.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// One user, to read.
    pub fn get(&self, id: &str) -> Option<&User> {
        self.users.get(&IdKey::new(id))
    }

    /// One user, to change.
    pub fn user_mut(&mut self, id: &str) -> Option<&mut User> {
        self.users.get_mut(&IdKey::new(id))
    }

    /// The security groups, to change.
    pub fn groups_mut(&mut self) -> &mut Vec<SecurityGroup> {
        &mut self.groups
    }

    /// The users whose id comes after this one, without a walk over those before it.
    pub(super) fn users_after<'a>(
        &'a self,
        id: Option<&str>,
    ) -> impl Iterator<Item = &'a User> + use<'a> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, |id| Bound::Excluded(IdKey::new(id)));
        self.users.range((from, Bound::Unbounded)).map(|(_, user)| user)
    }

    /// Some user at or after `fraction` (0 to 1) of the way through the ids: how events
    /// find their victims among a million without counting through them.
    pub(super) fn user_near_mut(&mut self, fraction: f64) -> Option<&mut User> {
        let bound = |key: Option<&IdKey>| key.and_then(|key| key.1.parse::<u64>().ok());
        let first = bound(self.users.keys().next())?;
        let last = bound(self.users.keys().next_back())?;
        let wanted = first + ((last - first.min(last)) as f64 * fraction).round() as u64;
        self.users.range_mut(IdKey::new(&wanted.to_string())..).next().map(|(_, user)| user)
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
    pub(super) overrides: Overrides,
}

impl SecurityGroup {
    /// Its name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long an SSO session may idle; 0 is no limit, and so is leaving it unset.
    #[must_use]
    pub fn sso_max_idle_minutes(mut self, minutes: i64) -> Self {
        self.sso_max_idle_minutes = Some(minutes);
        self
    }

    /// The group that users are in unless they are put elsewhere.
    #[must_use]
    pub fn default_group(mut self) -> Self {
        self.default = true;
        self
    }

    /// Sets a member of the written group, whatever its type.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.overrides.set(member, Some(value.into()));
        self
    }

    /// Leaves a member out of the written group.
    #[must_use]
    pub fn without(mut self, member: &str) -> Self {
        self.overrides.set(member, None);
        self
    }
}
