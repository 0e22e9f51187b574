//! The output fields of devices. They are stable: see `docs/api.md`.

use std::borrow::Cow;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde::{Deserialize, Deserializer, Serialize};

use super::{QueryResult, Row, Scope};
use crate::{
    clock::{Millis, Moment},
    wickr::{ApiTimestamp, AppId},
};

/// Optional fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Whether to include usernames.
    pub usernames: bool,
}

/// A device in the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// The network id.
    pub network_id: Cow<'a, str>,
    /// The network's label; can be empty.
    pub network_name: Cow<'a, str>,
    /// The user id.
    pub user_id: Cow<'a, str>,
    /// `None` if usernames are not included, `Some(None)` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub username: Option<Option<Cow<'a, str>>>,
    /// The app id, if any.
    pub app_id: Option<Cow<'a, str>>,
    /// The type in the API, or `unknown`.
    pub device_type: Cow<'a, str>,
    /// The status in the API; can be empty.
    pub status: Cow<'a, str>,
    /// Whether it is suspended, if known.
    pub suspended: Option<bool>,
    /// The time of creation, if known.
    pub created: Option<String>,
    /// The time of the last login; `None` if never or unknown.
    pub last_login: Option<String>,
    /// `None` if the last login is an invalid timestamp.
    pub never_logged_in: Option<bool>,
    /// Seconds since the last login.
    pub idle_seconds: Option<f64>,
    /// The user's SSO limit in seconds, if any.
    pub sso_max_idle_seconds: Option<u64>,
    /// Whether it has been idle for longer than the limit, if known.
    pub sso_expired: Option<bool>,
    /// `fresh` or `stale`.
    pub freshness: Cow<'a, str>,
    /// The time when it was read.
    pub read_at: String,
}

/// Distinguishes null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Always milliseconds, so that the text order is the order in time.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// RFC 3339 in UTC with milliseconds. Empty after the year 9999.
pub fn iso(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| PRINTER.timestamp_to_string(&at)).unwrap_or_default()
}

impl<'a> Record<'a> {
    /// Creates the record of a row.
    pub fn of(row: &Row<'a>, columns: Columns) -> Record<'a> {
        let Row { network, user, data, device, .. } = *row;
        let username = || row.facts().and_then(|facts| facts.username.as_deref()).map(Cow::from);
        let at = |stamp: ApiTimestamp| stamp.millis().map(iso);
        Record {
            network_id: network.identity.id.as_str().into(),
            network_name: network.identity.name.as_str().into(),
            user_id: user.id.as_str().into(),
            username: columns.usernames.then(username),
            app_id: device.app_id.as_ref().map(AppId::text),
            device_type: Cow::Borrowed(device.device_type()),
            status: Cow::Borrowed(device.status()),
            suspended: device.suspended(),
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
            read_at: iso(data.at),
        }
    }
}

/// The metadata of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The time of the query; idle times end here.
    pub generated_at: String,
    /// Whether there is data, fresh or stale, for every user that the filter matches.
    pub complete: bool,
    /// The networks and users that the filter matches.
    #[serde(flatten)]
    pub scope: Scope,
    /// The number of devices that match, on all pages.
    pub matched: usize,
}

impl Listing {
    /// Creates the metadata of a result at `now`.
    pub fn of(found: &QueryResult<'_>, now: impl Into<Moment>) -> Listing {
        Listing {
            generated_at: iso(now.into().time),
            complete: found.scope.is_complete(),
            scope: found.scope.clone(),
            matched: found.matched,
        }
    }
}
