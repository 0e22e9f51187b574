//! The families with a sample for each user or device. They are most of a large exposition, so their
//! lines are written without intermediate values.

use std::{hint::black_box, time::Duration};

use super::{
    cache::Version,
    family::{self, Family},
    value::Value,
    writer::{Labels, put_label},
};
use crate::{
    clock::{Millis, Moment},
    inventory::{Block, BlockVersion, Freshness, UserData, UserFacts, UserRecord, idle_millis},
    wickr::{AppId, Device, InternedStr},
};

/// What lines depend on besides a user's record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) now: Moment,
    pub(super) stale_after: Duration,
    pub(super) usernames: bool,
}

/// How many users' devices are loaded into the processor's cache before their lines are written.
const PREFETCHED_USERS: usize = 32;

/// One family, and how to write its lines for a user.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) family: &'static Family,
    dependency: Dependency,
    lines: Lines,
}

/// What invalidates the cached lines of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dependency {
    /// Any change except read times and last logins.
    Content,
    /// Any change except read times.
    Logins,
    /// Any change.
    ReadTime,
    /// The passing of time: they are not cached.
    Clock,
    /// Any change except read times, and the end of an SSO session.
    SsoEnds,
}

/// How to write the lines of a user.
#[derive(Debug)]
enum Lines {
    /// One line from the record.
    User(fn(&UserRecord, Context, &mut Line<'_>)),
    /// One line from the data, if it is served and there is a value.
    UserData(fn(&UserData, Millis) -> Option<Value>),
    /// One line from the facts, if there are any.
    UserFacts(fn(&UserFacts, bool, &mut Line<'_>)),
    /// One line for each device type of the user: the number of devices that match.
    Types(fn(&Device) -> bool),
    /// One line for each device that has an app id and a value.
    Device { status: bool, value: fn(&Device, Millis) -> Option<Value> },
}

pub(super) const USER_COLUMNS: &[Column] = &[
    column(&family::USER_UP, Dependency::Content, Lines::User(up)),
    column(
        &family::USER_LAST_POLL,
        Dependency::ReadTime,
        Lines::UserData(|data, _| Some(Value::Millis(data.at))),
    ),
    column(&family::USER_INFO, Dependency::Content, Lines::UserFacts(info)),
    column(&family::USER_SUSPENDED, Dependency::Content, Lines::UserFacts(suspended)),
    column(&family::USER_ADMIN, Dependency::Content, Lines::UserFacts(admin)),
    column(&family::USER_SSO_MAX_IDLE, Dependency::Content, Lines::UserFacts(sso_max_idle)),
    column(&family::USER_SSO_EXPIRY, Dependency::SsoEnds, Lines::User(sso_expiry)),
    column(&family::USER_DEVICES, Dependency::Content, Lines::Types(|_| true)),
    column(
        &family::USER_DEVICES_SUSPENDED,
        Dependency::Content,
        Lines::Types(|device| device.suspended() == Some(true)),
    ),
    column(
        &family::USER_LAST_LOGIN,
        Dependency::Logins,
        Lines::UserData(|data, _| {
            let logins = data.devices.iter().filter_map(|device| device.last_login.millis());
            logins.max().map(Value::Millis)
        }),
    ),
    column(
        &family::USER_IDLE,
        Dependency::Clock,
        Lines::UserData(|data, now| {
            let idle = data.devices.iter().filter_map(|device| idle_millis(device, now));
            idle.min().map(Value::Millis)
        }),
    ),
];

pub(super) const DEVICE_COLUMNS: &[Column] = &[
    column(
        &family::DEVICE_INFO,
        Dependency::Content,
        Lines::Device { status: true, value: |_, _| Some(Value::Count(1)) },
    ),
    column(
        &family::DEVICE_SUSPENDED,
        Dependency::Content,
        Lines::Device { status: false, value: |device, _| device.suspended().map(Value::from) },
    ),
    column(
        &family::DEVICE_CREATED,
        Dependency::Content,
        Lines::Device {
            status: false,
            value: |device, _| device.created.millis().map(Value::Millis),
        },
    ),
    column(
        &family::DEVICE_LAST_LOGIN,
        Dependency::Logins,
        Lines::Device {
            status: false,
            value: |device, _| device.last_login.millis().map(Value::Millis),
        },
    ),
    column(
        &family::DEVICE_IDLE,
        Dependency::Clock,
        Lines::Device {
            status: false,
            value: |device, now| idle_millis(device, now).map(Value::Millis),
        },
    ),
];

const fn column(family: &'static Family, dependency: Dependency, lines: Lines) -> Column {
    Column { family, dependency, lines }
}

impl Column {
    /// The lines of the block are the same while this is, provided that none of its data expires. None if
    /// they change with every moment.
    pub(super) fn version(&self, block: &Block, now: Millis) -> Option<Version> {
        let BlockVersion { any, logins, content } = block.version();
        let (block, period) = match self.dependency {
            Dependency::Content => (content, None),
            Dependency::Logins => (logins, None),
            Dependency::ReadTime => (any, None),
            Dependency::SsoEnds => (logins, Some(block.stats().sso_period(now))),
            Dependency::Clock => return None,
        };
        Some(Version { block, period })
    }

    /// Whether the lines have usernames, if these are enabled.
    pub(super) fn has_usernames(&self) -> bool {
        *self.family == family::USER_INFO
    }

    /// The users, in the order of their lines.
    pub(super) fn users<'a>(
        &self,
        users: &'a [UserRecord],
    ) -> impl Iterator<Item = &'a UserRecord> {
        let has_devices = matches!(self.lines, Lines::Device { .. });
        users.chunks(PREFETCHED_USERS).flat_map(move |users| {
            if has_devices {
                prefetch_devices(users);
            }
            users
        })
    }

    /// Writes the lines of a user.
    pub(super) fn write(
        &self,
        prefix: &mut LinePrefix,
        user: &UserRecord,
        context: Context,
        out: &mut Vec<u8>,
    ) {
        let data = user.data(context.now, context.stale_after);
        let mut line = Line { prefix: prefix.with_user(user), out };
        match self.lines {
            Lines::User(write) => write(user, context, &mut line),
            Lines::UserFacts(write) => {
                if let Some(facts) = &user.facts {
                    write(facts, context.usernames, &mut line);
                }
            }
            Lines::UserData(value) => {
                if let Some(value) = data.and_then(|data| value(data, context.now.time)) {
                    line.begin().end(value);
                }
            }
            Lines::Types(matches) => {
                if let Some(data) = data {
                    write_types(data, matches, &mut line);
                }
            }
            Lines::Device { status, value } => {
                for device in data.iter().flat_map(|data| data.devices.iter()) {
                    if let Some(value) = value(device, context.now.time) {
                        write_device(device, status, value, &mut line);
                    }
                }
            }
        }
    }
}

fn up(user: &UserRecord, context: Context, line: &mut Line<'_>) {
    let fresh = user.freshness(context.now, context.stale_after) == Freshness::Fresh;
    line.begin().end(fresh.into());
}

fn info(facts: &UserFacts, usernames: bool, line: &mut Line<'_>) {
    // A configured SSO limit alone is not a result of discovery.
    if facts.username.is_none() && facts.status.is_none() {
        return;
    }
    line.begin();
    if usernames {
        line.label("username", facts.username.as_deref().unwrap_or_default());
    }
    match facts.status {
        None => line.label("status", ""),
        Some(1) => line.label("status", "pending"),
        Some(2) => line.label("status", "active"),
        Some(other) => line.label("status", itoa::Buffer::new().format(other)),
    }
    .end(Value::Count(1));
}

fn suspended(facts: &UserFacts, _: bool, line: &mut Line<'_>) {
    if let Some(suspended) = facts.suspended {
        line.begin().end(suspended.into());
    }
}

fn admin(facts: &UserFacts, _: bool, line: &mut Line<'_>) {
    if let Some(admin) = facts.admin {
        line.begin().end(admin.into());
    }
}

fn sso_max_idle(facts: &UserFacts, _: bool, line: &mut Line<'_>) {
    if let Some(limit) = facts.sso_max_idle {
        line.begin().end(Value::Count(limit.as_secs()));
    }
}

fn sso_expiry(user: &UserRecord, context: Context, line: &mut Line<'_>) {
    let data = user.data(context.now, context.stale_after);
    let ends = data.iter().flat_map(|data| data.devices.iter().filter_map(|d| user.sso_end(d)));
    if let Some(end) = ends.filter(|end| *end >= context.now.time).min() {
        line.begin().end(Value::Millis(end));
    }
}

/// Writes 0 for a type of the user without a match.
fn write_types(data: &UserData, matches: fn(&Device) -> bool, line: &mut Line<'_>) {
    let mut types: Vec<(&InternedStr, usize)> = Vec::new();
    for device in data.devices.iter() {
        let count = usize::from(matches(device));
        match types.iter_mut().find(|(device_type, _)| *device_type == device.device_type()) {
            Some((_, sum)) => *sum += count,
            None => types.push((device.device_type(), count)),
        }
    }
    types.sort_unstable();
    for (device_type, count) in types {
        line.begin().label("device_type", device_type).end(count.into());
    }
}

fn write_device(device: &Device, status: bool, value: Value, line: &mut Line<'_>) {
    let Some(app_id) = &device.app_id else { return };
    line.begin()
        .label("app_id", app_id.as_str(&mut [0; 64]))
        .label("device_type", device.device_type());
    if status {
        line.label("status", device.status());
    }
    line.end(value);
}

/// Reads a byte of each device that has a series. The devices are scattered in memory, and the processor
/// fetches many of them at a time if no other work is between: rendering takes half the time.
fn prefetch_devices(users: &[UserRecord]) {
    let devices = users.iter().flat_map(|user| user.devices());
    let bytes = devices.filter_map(|device| device.app_id.as_ref()).map(AppId::any_byte);
    black_box(bytes.fold(0, u8::wrapping_add));
}

/// The start of the lines of a family, network and user.
#[derive(Debug)]
pub(super) struct LinePrefix {
    text: Vec<u8>,
    /// The length without the user.
    len: usize,
}

impl LinePrefix {
    pub(super) fn new(column: &Column, network: &Labels) -> LinePrefix {
        let mut text = column.family.name.as_bytes().to_vec();
        text.push(b'{');
        text.extend_from_slice(network.as_bytes());
        text.push(b',');
        LinePrefix { len: text.len(), text }
    }

    fn with_user(&mut self, user: &UserRecord) -> &[u8] {
        self.text.truncate(self.len);
        put_label(&mut self.text, "user_id", user.id.as_str());
        &self.text
    }
}

struct Line<'a> {
    prefix: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn begin(&mut self) -> &mut Self {
        self.out.extend_from_slice(self.prefix);
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
