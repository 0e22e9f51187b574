//! The fields of a device, as lists name them. They are a promise: see `docs/api.md`.

use std::borrow::Cow;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Found, Row, Scope};
use crate::{clock::Millis, wickr::ApiTimestamp};

/// What is told of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Whether usernames are told.
    pub usernames: bool,
}

/// A device, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Its network.
    pub network_id: Cow<'a, str>,
    /// The label of its network; empty if there is none.
    pub network_name: Cow<'a, str>,
    /// Its user.
    pub user_id: Cow<'a, str>,
    /// Where usernames are told: the user's, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    pub username: Option<Option<Cow<'a, str>>>,
    /// Its id, if it has one.
    pub app_id: Option<Cow<'a, str>>,
    /// Its type, in the service's words.
    pub device_type: Cow<'a, str>,
    /// Its status, in the service's words; empty if the service says nothing.
    pub status: Cow<'a, str>,
    /// Whether it is suspended, if the service says so.
    pub suspended: Option<bool>,
    /// When it was added, if that is known.
    pub created: Option<String>,
    /// When its user last logged in on it, if ever and if it is known.
    pub last_login: Option<String>,
    /// Whether nobody ever logged in on it; none if what the service says is no time.
    pub never_logged_in: Option<bool>,
    /// Seconds since the last login.
    pub idle_seconds: Option<f64>,
    /// After how many seconds its user's idle SSO sessions end, if there is a limit.
    pub sso_max_idle_seconds: Option<u64>,
    /// Whether it has been idle for longer than that; none if that is not known.
    pub sso_expired: Option<bool>,
    /// `fresh` or `stale`.
    pub freshness: Cow<'a, str>,
    /// When it was read.
    pub read_at: String,
}

/// Present, whatever it says.
fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Milliseconds always, so that texts order as times do.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// A time as lists write it: RFC 3339, in UTC, to the millisecond.
pub fn iso(at: Millis) -> String {
    // What lies beyond the year 9999 is no time of a device or a poll.
    Timestamp::from_millisecond(at).map(|at| PRINTER.timestamp_to_string(&at)).unwrap_or_default()
}

impl<'a> Record<'a> {
    /// What is told of a row.
    pub fn of(row: &Row<'a>, columns: Columns) -> Record<'a> {
        let Row { network, user, reading, device, .. } = *row;
        let username = || row.facts().and_then(|facts| facts.username.as_deref()).map(Cow::from);
        let at = |stamp: ApiTimestamp| stamp.millis().map(iso);
        Record {
            network_id: network.identity.id.as_str().into(),
            network_name: network.identity.name.as_str().into(),
            user_id: user.id.as_str().into(),
            username: columns.usernames.then(username),
            app_id: device.app_id.as_deref().map(Cow::from),
            device_type: Cow::Borrowed(&device.device_type),
            status: Cow::Borrowed(&device.status),
            suspended: device.suspended,
            created: at(device.created),
            last_login: at(device.last_login),
            never_logged_in: match device.last_login {
                ApiTimestamp::INVALID => None,
                stamp => Some(stamp == ApiTimestamp::NEVER),
            },
            idle_seconds: row.idle.map(|idle| idle as f64 / 1e3),
            sso_max_idle_seconds: user.sso_max_idle().map(|limit| limit.as_secs()),
            sso_expired: row.sso_expired(),
            freshness: row.freshness.as_str().into(),
            read_at: iso(reading.at),
        }
    }
}

/// What is told of a list, before its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// When it was made, which is what idle times count to.
    pub generated_at: String,
    /// Whether there is data, fresh or stale, of every user that the filter lets pass.
    pub complete: bool,
    /// What they were looked for among.
    #[serde(flatten)]
    pub scope: Scope,
    /// How many devices pass the filter, however many are listed.
    pub matched: usize,
}

impl Listing {
    /// What is told of what was found at `now`.
    pub fn of(found: &Found<'_>, now: Millis) -> Listing {
        Listing {
            generated_at: iso(now),
            complete: found.scope.is_complete(),
            scope: found.scope.clone(),
            matched: found.matched,
        }
    }
}
