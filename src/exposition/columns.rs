//! The families that have a sample for each user or for each device. A fleet's exposition is made
//! of them almost wholly, so they are written with nothing in between: a user's lines follow from
//! its record, the moment and what begins every line of the family.

use std::time::Duration;

use super::{
    family::{self, Family},
    value::Value,
    writer::{Labels, put_label},
};
use crate::{
    clock::Millis,
    inventory::{BlockVersion, Freshness, UserData, UserFacts, UserRecord, idle_millis},
    wickr::{Device, InternedStr},
};

/// What lines follow from beside a user's record.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) now: Millis,
    pub(super) stale_after: Duration,
    pub(super) usernames: bool,
}

/// One family, and how a user's lines of it are written.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) family: &'static Family,
    follows: ChangesWith,
    lines: Lines,
}

/// What lines follow from, so that it is known how long they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangesWith {
    /// From what is known, but for when it was read and when somebody last logged in.
    Content,
    /// From the latter, too.
    Logins,
    /// From when it was read, too.
    UserData,
    /// From the moment, too.
    Moment,
}

/// How a user's lines are written, behind their stem.
#[derive(Debug)]
enum Lines {
    /// One of the record.
    User(fn(&UserRecord, At, &mut Line<'_>)),
    /// One of the data that is served, if there is a value.
    UserData(fn(&UserData, Millis) -> Option<Value>),
    /// One of what discovery told, if it told that.
    UserFacts(fn(&UserFacts, bool, &mut Line<'_>)),
    /// One for each type that the user has: how many of its devices count.
    Types(fn(&Device) -> bool),
    /// One for each device that can be told from others, if there is a value.
    Device { status: bool, value: fn(&Device, Millis) -> Option<Value> },
}

pub(super) const OF_USERS: &[Column] = &[
    column(&family::USER_UP, ChangesWith::Content, Lines::User(up)),
    column(
        &family::USER_LAST_POLL,
        ChangesWith::UserData,
        Lines::UserData(|reading, _| Some(Value::Millis(reading.at))),
    ),
    column(&family::USER_INFO, ChangesWith::Content, Lines::UserFacts(info)),
    column(&family::USER_SSO_MAX_IDLE, ChangesWith::Content, Lines::UserFacts(sso_max_idle)),
    column(&family::USER_DEVICES, ChangesWith::Content, Lines::Types(|_| true)),
    column(
        &family::USER_DEVICES_SUSPENDED,
        ChangesWith::Content,
        Lines::Types(|device| device.suspended == Some(true)),
    ),
    column(
        &family::USER_LAST_LOGIN,
        ChangesWith::Logins,
        Lines::UserData(|reading, _| {
            let logins = reading.devices.iter().filter_map(|device| device.last_login.millis());
            logins.max().map(Value::Millis)
        }),
    ),
    column(
        &family::USER_IDLE,
        ChangesWith::Moment,
        Lines::UserData(|reading, now| {
            let idle = reading.devices.iter().filter_map(|device| idle_millis(device, now));
            idle.min().map(Value::Millis)
        }),
    ),
];

pub(super) const OF_DEVICES: &[Column] = &[
    column(
        &family::DEVICE_INFO,
        ChangesWith::Content,
        Lines::Device { status: true, value: |_, _| Some(Value::Count(1)) },
    ),
    column(
        &family::DEVICE_SUSPENDED,
        ChangesWith::Content,
        Lines::Device { status: false, value: |device, _| device.suspended.map(Value::from) },
    ),
    column(
        &family::DEVICE_CREATED,
        ChangesWith::Content,
        Lines::Device {
            status: false,
            value: |device, _| device.created.millis().map(Value::Millis),
        },
    ),
    column(
        &family::DEVICE_LAST_LOGIN,
        ChangesWith::Logins,
        Lines::Device {
            status: false,
            value: |device, _| device.last_login.millis().map(Value::Millis),
        },
    ),
    column(
        &family::DEVICE_IDLE,
        ChangesWith::Moment,
        Lines::Device {
            status: false,
            value: |device, now| idle_millis(device, now).map(Value::Millis),
        },
    ),
];

const fn column(family: &'static Family, follows: ChangesWith, lines: Lines) -> Column {
    Column { family, follows, lines }
}

impl Column {
    /// Of what a block's lines are made: as long as that is the same, so are they, at one moment
    /// and while all of its data is served.
    pub(super) fn version(&self, version: BlockVersion) -> u64 {
        match self.follows {
            ChangesWith::Content => version.content,
            ChangesWith::Logins | ChangesWith::Moment => version.logins,
            ChangesWith::UserData => version.whole,
        }
    }

    /// Whether usernames stand in the lines, where they are switched on.
    pub(super) fn tells_usernames(&self) -> bool {
        *self.family == family::USER_INFO
    }

    /// Whether the lines are other ones at another moment.
    pub(super) fn moves(&self) -> bool {
        self.follows == ChangesWith::Moment
    }

    /// Writes a user's lines, if there are any.
    pub(super) fn write(&self, stem: &mut Stem, user: &UserRecord, at: At, out: &mut Vec<u8>) {
        let mut line = Line { stem: stem.of(user), out };
        match self.lines {
            Lines::User(write) => write(user, at, &mut line),
            Lines::UserFacts(write) => {
                if let Some(facts) = &user.facts {
                    write(facts, at.usernames, &mut line);
                }
            }
            Lines::UserData(value) => {
                let reading = user.reading(at.now, at.stale_after);
                if let Some(value) = reading.and_then(|reading| value(reading, at.now)) {
                    line.begin().end(value);
                }
            }
            Lines::Types(counts) => {
                if let Some(reading) = user.reading(at.now, at.stale_after) {
                    by_type(reading, counts, &mut line);
                }
            }
            Lines::Device { status, value } => {
                if let Some(reading) = user.reading(at.now, at.stale_after) {
                    for device in reading.devices.iter() {
                        if let Some(value) = value(device, at.now) {
                            one(device, status, value, &mut line);
                        }
                    }
                }
            }
        }
    }
}

fn up(user: &UserRecord, at: At, line: &mut Line<'_>) {
    let fresh = user.freshness(at.now, at.stale_after) == Freshness::Fresh;
    line.begin().end(fresh.into());
}

fn info(facts: &UserFacts, usernames: bool, line: &mut Line<'_>) {
    // A limit that all have was told by the configuration, not by discovery.
    if facts.username.is_none() && facts.status.is_none() {
        return;
    }
    line.begin();
    if usernames {
        line.label("username", facts.username.as_deref().unwrap_or_default());
    }
    // The service's numbers in its own words; others as they are.
    match facts.status {
        None => line.label("status", ""),
        Some(1) => line.label("status", "pending"),
        Some(2) => line.label("status", "active"),
        Some(other) => line.label("status", itoa::Buffer::new().format(other)),
    }
    .end(Value::Count(1));
}

fn sso_max_idle(facts: &UserFacts, _: bool, line: &mut Line<'_>) {
    if let Some(most) = facts.sso_max_idle {
        line.begin().end(Value::Count(most.as_secs()));
    }
}

/// A user's devices by type: the types that the user has, even where none counts.
fn by_type(reading: &UserData, counts: fn(&Device) -> bool, line: &mut Line<'_>) {
    let mut types: Vec<(&InternedStr, usize)> = Vec::new();
    for device in reading.devices.iter() {
        let count = usize::from(counts(device));
        match types.iter_mut().find(|(device_type, _)| **device_type == device.device_type) {
            Some((_, sum)) => *sum += count,
            None => types.push((&device.device_type, count)),
        }
    }
    types.sort_unstable();
    for (device_type, count) in types {
        line.begin().label("device_type", device_type).end(count.into());
    }
}

fn one(device: &Device, status: bool, value: Value, line: &mut Line<'_>) {
    let Some(app_id) = &device.app_id else { return };
    line.begin().label("app_id", app_id).label("device_type", &device.device_type);
    if status {
        line.label("status", &device.status);
    }
    line.end(value);
}

/// What every line of a family and network begins with, up to the user's id.
#[derive(Debug)]
pub(super) struct Stem {
    text: Vec<u8>,
    len: usize,
}

impl Stem {
    pub(super) fn new(column: &Column, network: &Labels) -> Stem {
        let mut text = column.family.name.as_bytes().to_vec();
        text.push(b'{');
        text.extend_from_slice(network.as_bytes());
        text.push(b',');
        Stem { len: text.len(), text }
    }

    /// With the user's id.
    fn of(&mut self, user: &UserRecord) -> &[u8] {
        self.text.truncate(self.len);
        put_label(&mut self.text, "user_id", user.id.as_str());
        &self.text
    }
}

/// Writes lines that begin alike.
struct Line<'a> {
    stem: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn begin(&mut self) -> &mut Self {
        self.out.extend_from_slice(self.stem);
        self
    }

    fn label(&mut self, name: &str, value: &str) -> &mut Self {
        self.out.push(b',');
        put_label(self.out, name, value);
        self
    }

    fn end(&mut self, value: Value) {
        self.out.extend_from_slice(b"} ");
        value.put(self.out);
        self.out.push(b'\n');
    }
}
