//! An independent record of the true state and the time of each change. It shares neither types nor
//! parsers with the exporter.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fastrand::Rng;
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use serde_json::{Value, json};
use wickr_exporter::simulator::{Device, device};

use super::changes::Changes;

/// Milliseconds since 1970.
pub type Ms = i64;

pub fn now() -> Ms {
    Timestamp::now().as_millisecond()
}

/// The history of a value. Each change happened between two known times.
pub struct Timeline<T>(Vec<Entry<T>>);

struct Entry<T> {
    not_before: Ms,
    not_after: Ms,
    value: T,
}

/// The minimum time for which old values are kept.
const RETENTION: Ms = 600_000;

impl<T> Default for Timeline<T> {
    fn default() -> Timeline<T> {
        Timeline(Vec::new())
    }
}

impl<T> Timeline<T> {
    pub fn record(&mut self, not_before: Ms, not_after: Ms, value: T) {
        let oldest = now() - RETENTION;
        let expired = self.0.iter().skip(1).take_while(|next| next.not_after < oldest).count();
        self.0.drain(..expired);
        self.0.push(Entry { not_before, not_after, value });
    }

    pub fn latest(&self) -> Option<&T> {
        self.0.last().map(|entry| &entry.value)
    }

    /// All values that are kept, from the oldest.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().map(|entry| &entry.value)
    }

    /// All values that can have applied at some time from `from` to `to`.
    pub fn between(&self, from: Ms, to: Ms) -> impl Iterator<Item = &T> {
        self.0.iter().enumerate().filter_map(move |(index, entry)| {
            let end = self.0.get(index + 1).map_or(Ms::MAX, |next| next.not_after);
            (entry.not_before <= to && end >= from).then_some(&entry.value)
        })
    }
}

/// The expected interpretation of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    Never,
    At(Ms),
    Invalid,
}

/// The expected interpretation of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedDevice {
    /// The name in the simulator, even if the response has no `appId`.
    pub name: String,
    pub app_id: Option<String>,
    pub device_type: String,
    pub status: String,
    pub suspended: Option<bool>,
    pub created: Time,
    pub last_login: Time,
}

const TYPES: [&str; 7] = ["iOS", "Android", "Windows", "MacOSX", "desktop", "a\"b\\c", "unknown"];
const STATUSES: [&str; 5] = ["Active", "Reset", "Suspended", "ruhend, ü", ""];

impl ExpectedDevice {
    pub fn random(name: String, rng: &mut Rng) -> ExpectedDevice {
        let mut device = ExpectedDevice {
            app_id: rng.chance(9, 10).then(|| name.clone()),
            name,
            device_type: String::new(),
            status: String::new(),
            suspended: None,
            created: Time::Never,
            last_login: Time::Never,
        };
        for _ in 0..6 {
            device.change(rng);
        }
        device
    }

    /// Sets a random field to a random value.
    pub fn change(&mut self, rng: &mut Rng) {
        match rng.u8(..6) {
            0 => self.device_type = pick(rng, &TYPES).to_owned(),
            1 => self.status = pick(rng, &STATUSES).to_owned(),
            2 => self.suspended = [None, Some(true), Some(false)][rng.usize(..3)],
            3 => self.created = Time::random(rng),
            4 => self.last_login = Time::random(rng),
            // A login now.
            _ => self.last_login = Time::At(now() / 1000 * 1000),
        }
        if self.device_type.is_empty() {
            self.device_type = "unknown".to_owned();
        }
    }

    /// A response with this device, in one of the equivalent formats.
    pub fn encode(&self, rng: &mut Rng) -> Device {
        self.apply_to(device(&self.name), rng)
    }

    pub fn apply_to(&self, device: Device, rng: &mut Rng) -> Device {
        let absent =
            |rng: &mut Rng| [None, Some(Value::Null), Some(json!(""))][rng.usize(..3)].clone();
        let text = |text: &str, rng: &mut Rng| match text {
            "" => absent(rng),
            text => Some(json!(text)),
        };
        let members = [
            ("appId", self.app_id.as_deref().map_or_else(|| absent(rng), |id| Some(json!(id)))),
            (
                "type",
                match &*self.device_type {
                    "unknown" => absent(rng),
                    other => text(other, rng),
                },
            ),
            ("statusText", text(&self.status, rng)),
            (
                "suspend",
                match self.suspended {
                    Some(suspended) => Some(json!(suspended)),
                    None => {
                        [None, Some(Value::Null), Some(json!("perhaps"))][rng.usize(..3)].clone()
                    }
                },
            ),
            ("created", self.created.encode(rng)),
            ("lastLogin", self.last_login.encode(rng)),
        ];
        members.into_iter().fold(device, |device, (member, value)| match value {
            Some(value) => device.with(member, value),
            None => device.without(member),
        })
    }
}

impl Time {
    fn random(rng: &mut Rng) -> Time {
        match rng.u8(..8) {
            0 => Time::Never,
            1 => Time::Invalid,
            // In the future.
            2 => Time::At((now() + rng.i64(1_000..3_600_000)) / 1000 * 1000),
            _ => Time::At((now() - rng.i64(1_000..120 * 86_400_000)) / 1000 * 1000),
        }
    }

    pub fn at(self) -> Option<Ms> {
        match self {
            Time::At(at) => Some(at),
            Time::Never | Time::Invalid => None,
        }
    }

    /// A JSON value in one of the equivalent formats. `None` means an absent member.
    fn encode(self, rng: &mut Rng) -> Option<Value> {
        let at = match self {
            Time::Never => {
                return [None, Some(Value::Null), Some(json!("")), Some(json!(0))][rng.usize(..4)]
                    .clone();
            }
            Time::Invalid => {
                let texts = [json!("yesterday"), json!("12/31/2024"), json!("2024-13-45 00:00:00")];
                return Some(
                    [&texts[..], &[json!(true), json!([1])]].concat()[rng.usize(..5)].clone(),
                );
            }
            Time::At(at) => {
                Timestamp::from_millisecond(at).unwrap().to_zoned_datetime(TimeZone::UTC)
            }
        };
        let format = |format: &str| strtime::format(format, &at).unwrap();
        let seconds = at.timestamp().as_second();
        Some(match rng.u8(..7) {
            0 => json!(seconds),
            1 => json!(seconds.to_string()),
            2 => json!(seconds * 1000),
            3 => json!(format("%Y-%m-%dT%H:%M:%SZ")),
            4 => json!(format("%Y-%m-%d %H:%M:%S")),
            5 => {
                let local = at.with_time_zone(TimeZone::fixed(jiff::tz::offset(-5)));
                json!(strtime::format("%Y-%m-%dT%H:%M:%S-05:00", &local).unwrap())
            }
            // The format of the AWS examples: January 20th 2024, 9:15:30 am.
            _ => {
                let ordinal = match at.day() {
                    1 | 21 | 31 => "st",
                    2 | 22 => "nd",
                    3 | 23 => "rd",
                    _ => "th",
                };
                let hour = (at.hour() + 11) % 12 + 1;
                let am_pm = if at.hour() < 12 { "am" } else { "pm" };
                json!(format!(
                    "{} {}{ordinal} {}, {hour}:{} {am_pm}",
                    format("%B"),
                    at.day(),
                    at.year(),
                    format("%M:%S")
                ))
            }
        })
    }
}

/// A random element.
pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

/// Random decisions with a probability of `count` in `total`.
pub trait Chance {
    fn chance(&mut self, count: u32, total: u32) -> bool;
}

impl Chance for Rng {
    fn chance(&mut self, count: u32, total: u32) -> bool {
        self.u32(..total) < count
    }
}

/// The network id and user id of a user.
pub type UserKey = (String, String);

/// A user's devices in the order of their creation. `None` if the user does not exist.
pub type Devices = Option<Vec<Arc<ExpectedDevice>>>;

/// The current and past state of all networks.
#[derive(Default)]
pub struct Expected {
    pub devices: BTreeMap<UserKey, Timeline<Devices>>,
    /// Whether the network exists.
    pub networks: BTreeMap<String, Timeline<bool>>,
    /// The limit of each network's groups, in minutes. 0 means no limit.
    pub groups: BTreeMap<(String, String), i64>,
    /// The groups of each user.
    pub user_groups: BTreeMap<UserKey, Vec<String>>,
    /// Suspended users and administrators.
    pub suspended: BTreeSet<UserKey>,
    pub admins: BTreeSet<UserKey>,
    /// The changes of devices so far.
    pub changes: Changes,
    /// Every user that ever existed or was configured by id.
    pub known_users: BTreeSet<UserKey>,
    pub known_networks: BTreeSet<String>,
    /// Every limit that each user ever had, in seconds.
    pub all_limits: BTreeMap<UserKey, BTreeSet<i64>>,
}

impl Expected {
    /// The existing users.
    pub fn users(&self) -> impl Iterator<Item = (&UserKey, &Vec<Arc<ExpectedDevice>>)> {
        self.devices.iter().filter_map(|(key, timeline)| Some((key, timeline.latest()?.as_ref()?)))
    }

    pub fn network_exists(&self, network: &str) -> bool {
        self.networks.get(network).and_then(Timeline::latest) == Some(&true)
    }

    /// The current limit of a user in seconds: the minimum of its groups' limits.
    pub fn limit(&self, key: &UserKey) -> Option<i64> {
        let groups = self.user_groups.get(key)?.iter();
        let limits = groups.filter_map(|group| self.groups.get(&(key.0.clone(), group.clone())));
        limits.copied().filter(|minutes| *minutes > 0).min().map(|minutes| minutes * 60)
    }

    /// Adds the current limits to `all_limits`.
    pub fn record_limits(&mut self) {
        let now: Vec<_> = self
            .user_groups
            .keys()
            .filter_map(|key| Some((key.clone(), self.limit(key)?)))
            .collect();
        for (key, limit) in now {
            self.all_limits.entry(key).or_default().insert(limit);
        }
    }
}
