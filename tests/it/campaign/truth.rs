//! What is true, and since when. The campaign writes it down as it makes it so, in its own words: no
//! type of the program's is used, and no reading of what it wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fastrand::Rng;
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use serde_json::{Value, json};
use wickr_exporter::simulator::{Device, device};

/// Milliseconds since 1970.
pub type Ms = i64;

pub fn now() -> Ms {
    Timestamp::now().as_millisecond()
}

/// What was true at which time. Each change came about at some moment between two.
pub struct Timeline<T>(Vec<Entry<T>>);

struct Entry<T> {
    not_before: Ms,
    not_after: Ms,
    value: T,
}

/// Nothing is asked about times longer ago than this.
const KEPT: Ms = 600_000;

impl<T> Default for Timeline<T> {
    fn default() -> Timeline<T> {
        Timeline(Vec::new())
    }
}

impl<T> Timeline<T> {
    pub fn put(&mut self, not_before: Ms, not_after: Ms, value: T) {
        let long_ago = now() - KEPT;
        let gone = self.0.iter().skip(1).take_while(|next| next.not_after < long_ago).count();
        self.0.drain(..gone);
        self.0.push(Entry { not_before, not_after, value });
    }

    pub fn latest(&self) -> Option<&T> {
        self.0.last().map(|entry| &entry.value)
    }

    /// All that may have been true at some time from `from` to `to`.
    pub fn between(&self, from: Ms, to: Ms) -> impl Iterator<Item = &T> {
        self.0.iter().enumerate().filter_map(move |(place, entry)| {
            let end = self.0.get(place + 1).map_or(Ms::MAX, |next| next.not_after);
            (entry.not_before <= to && end >= from).then_some(&entry.value)
        })
    }
}

/// A time as it should be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    Never,
    At(Ms),
    Unreadable,
}

/// A device as it should be read.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueDevice {
    /// By which the simulator knows it, whatever it tells of it.
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

impl TrueDevice {
    pub fn random(name: String, rng: &mut Rng) -> TrueDevice {
        let mut this = TrueDevice {
            app_id: rng.chance(9, 10).then(|| name.clone()),
            name,
            device_type: String::new(),
            status: String::new(),
            suspended: None,
            created: Time::Never,
            last_login: Time::Never,
        };
        for _ in 0..6 {
            this.change(rng);
        }
        this
    }

    /// Something about it becomes different, or the same again.
    pub fn change(&mut self, rng: &mut Rng) {
        match rng.u8(..6) {
            0 => self.device_type = pick(rng, &TYPES).to_owned(),
            1 => self.status = pick(rng, &STATUSES).to_owned(),
            2 => self.suspended = [None, Some(true), Some(false)][rng.usize(..3)],
            3 => self.created = Time::random(rng),
            4 => self.last_login = Time::random(rng),
            // It logs in.
            _ => self.last_login = Time::At(now() / 1000 * 1000),
        }
        if self.device_type.is_empty() {
            self.device_type = "unknown".to_owned();
        }
    }

    /// As the service tells of it, in any of the forms that mean this.
    pub fn written(&self, rng: &mut Rng) -> Device {
        self.write_onto(device(&self.name), rng)
    }

    pub fn write_onto(&self, device: Device, rng: &mut Rng) -> Device {
        let none =
            |rng: &mut Rng| [None, Some(Value::Null), Some(json!(""))][rng.usize(..3)].clone();
        let text = |text: &str, rng: &mut Rng| match text {
            "" => none(rng),
            text => Some(json!(text)),
        };
        let members = [
            ("appId", self.app_id.as_deref().map_or_else(|| none(rng), |id| Some(json!(id)))),
            (
                "type",
                match &*self.device_type {
                    "unknown" => none(rng),
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
            ("created", self.created.written(rng)),
            ("lastLogin", self.last_login.written(rng)),
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
            1 => Time::Unreadable,
            // Ahead of the clock.
            2 => Time::At((now() + rng.i64(1_000..3_600_000)) / 1000 * 1000),
            _ => Time::At((now() - rng.i64(1_000..120 * 86_400_000)) / 1000 * 1000),
        }
    }

    pub fn at(self) -> Option<Ms> {
        match self {
            Time::At(at) => Some(at),
            Time::Never | Time::Unreadable => None,
        }
    }

    /// In one of the forms that mean it; none for a member that is left out.
    fn written(self, rng: &mut Rng) -> Option<Value> {
        let at = match self {
            Time::Never => {
                return [None, Some(Value::Null), Some(json!("")), Some(json!(0))][rng.usize(..4)]
                    .clone();
            }
            Time::Unreadable => {
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
                let elsewhere = at.with_time_zone(TimeZone::fixed(jiff::tz::offset(-5)));
                json!(strtime::format("%Y-%m-%dT%H:%M:%S-05:00", &elsewhere).unwrap())
            }
            // As in AWS's own examples: January 20th 2024, 9:15:30 am.
            _ => {
                let ordinal = match at.day() {
                    1 | 21 | 31 => "st",
                    2 | 22 => "nd",
                    3 | 23 => "rd",
                    _ => "th",
                };
                let hour = (at.hour() + 11) % 12 + 1;
                let half = if at.hour() < 12 { "am" } else { "pm" };
                json!(format!(
                    "{} {}{ordinal} {}, {hour}:{} {half}",
                    format("%B"),
                    at.day(),
                    at.year(),
                    format("%M:%S")
                ))
            }
        })
    }
}

/// One of these.
pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

/// Chances, as they are spoken of.
pub trait Chance {
    fn chance(&mut self, of: u32, in_all: u32) -> bool;
}

impl Chance for Rng {
    fn chance(&mut self, of: u32, in_all: u32) -> bool {
        self.u32(..in_all) < of
    }
}

/// A user, by the ids of its network and its own.
pub type Who = (String, String);

/// A user's devices in the order in which they came; none where there is no such user.
pub type Devices = Option<Vec<Arc<TrueDevice>>>;

/// All that is and was so.
#[derive(Default)]
pub struct Truth {
    pub devices: BTreeMap<Who, Timeline<Devices>>,
    /// Whether there is such a network.
    pub networks: BTreeMap<String, Timeline<bool>>,
    /// In minutes, of each network's groups; 0 is no limit.
    pub groups: BTreeMap<(String, String), i64>,
    /// The groups of each user.
    pub members: BTreeMap<Who, Vec<String>>,
    /// Everybody who ever was there, or was asked for by name.
    pub named: BTreeSet<Who>,
    pub named_networks: BTreeSet<String>,
    /// Every limit that a user ever had, in seconds.
    pub limits: BTreeMap<Who, BTreeSet<i64>>,
}

impl Truth {
    /// The users that there are.
    pub fn users(&self) -> impl Iterator<Item = (&Who, &Vec<Arc<TrueDevice>>)> {
        self.devices.iter().filter_map(|(who, line)| Some((who, line.latest()?.as_ref()?)))
    }

    pub fn is_there(&self, network: &str) -> bool {
        self.networks.get(network).and_then(Timeline::latest) == Some(&true)
    }

    /// The limit of a user now, in seconds: the least of its groups'.
    pub fn limit(&self, who: &Who) -> Option<i64> {
        let groups = self.members.get(who)?.iter();
        let limits = groups.filter_map(|group| self.groups.get(&(who.0.clone(), group.clone())));
        limits.copied().filter(|minutes| *minutes > 0).min().map(|minutes| minutes * 60)
    }

    /// Takes down the limits that hold now.
    pub fn note_limits(&mut self) {
        let now: Vec<_> =
            self.members.keys().filter_map(|who| Some((who.clone(), self.limit(who)?))).collect();
        for (who, limit) in now {
            self.limits.entry(who).or_default().insert(limit);
        }
    }
}
