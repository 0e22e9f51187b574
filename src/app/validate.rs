//! Validates a device list from a running exporter: the server is untrusted, and the list is printed to a
//! terminal or opened in a spreadsheet.

use jiff::Timestamp;

use super::remote::List;
use crate::{
    query::{Record, iso},
    wickr::{NetworkId, UserId},
};

/// Maximum length of a text in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Maximum number of unknown ids: the most that a filter can name.
const MAX_IDS: usize = 200;
/// Maximum number of shards, as in the configuration.
const MAX_SHARDS: u32 = 1000;
/// Maximum duration in seconds: about ten thousand years, the range of timestamps.
const MAX_DURATION: f64 = 4e11;

/// Whether an exporter can have written the list.
pub(super) fn is_valid(list: &List) -> bool {
    let scope = &list.listing.scope;
    let (networks, users) = (&scope.not_known.network_id, &scope.not_known.user_id);
    is_time(&list.listing.generated_at)
        && networks.len().max(users.len()) <= MAX_IDS
        && networks.iter().all(|id| id.parse::<NetworkId>().is_ok())
        && users.iter().all(|id| id.parse::<UserId>().is_ok())
        && scope.shard.is_none_or(|shard| shard.index < shard.total && shard.total <= MAX_SHARDS)
        && list.devices.iter().all(is_valid_device)
}

fn is_valid_device(device: &Record<'_>) -> bool {
    let text = |text: &str| text.len() <= MAX_TEXT;
    let time = |time: &Option<String>| time.as_deref().is_none_or(is_time);
    device.network_id.parse::<NetworkId>().is_ok()
        && device.user_id.parse::<UserId>().is_ok()
        && text(&device.network_name)
        && device.username.as_ref().and_then(|name| name.as_deref()).is_none_or(text)
        && device.app_id.as_deref().is_none_or(text)
        && text(&device.device_type)
        && text(&device.status)
        && time(&device.created)
        && time(&device.last_login)
        && device.idle_seconds.is_none_or(|seconds| (0.0..=MAX_DURATION).contains(&seconds))
        && ["fresh", "stale"].contains(&&*device.freshness)
        && is_time(&device.read_at)
}

/// Whether it is a time as lists contain it. It is empty for a time outside the range.
fn is_time(text: &str) -> bool {
    text.is_empty()
        || text.parse::<Timestamp>().is_ok_and(|time| iso(time.as_millisecond()) == text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list() -> Value {
        json!({
            "generated_at": "2026-03-01T12:00:00.000Z", "complete": true, "networks": 1,
            "unsettled_networks": 0,
            "users": {"fresh": 1, "stale": 0, "missing": 0, "pending": 0},
            "not_known": {"network_id": [], "user_id": []}, "matched": 1,
            "devices": [{
                "network_id": "12345678", "network_name": "a", "user_id": "1", "app_id": null,
                "device_type": "iOS", "status": "", "suspended": null, "created": null,
                "last_login": "2026-02-28T12:00:00.000Z", "never_logged_in": false,
                "idle_seconds": 86400.0, "sso_max_idle_seconds": null, "sso_expired": null,
                "freshness": "fresh", "read_at": "2026-03-01T11:58:21.512Z"
            }]
        })
    }

    #[test]
    fn rejects_values_that_no_exporter_writes() {
        let valid = |list: Value| is_valid(&serde_json::from_value::<List>(list).unwrap());
        assert!(valid(list()));
        let escape = "\u{1b}]0;x\u{7}";
        for (path, bad) in [
            ("/generated_at", json!(escape)),
            ("/not_known/user_id", json!([escape])),
            ("/not_known/network_id", json!(["1"])),
            ("/devices/0/network_id", json!("=1+1")),
            ("/devices/0/user_id", json!(escape)),
            ("/devices/0/created", json!(escape)),
            ("/devices/0/last_login", json!("=cmd")),
            ("/devices/0/read_at", json!("2026-03-01 11:58")),
            ("/devices/0/freshness", json!(escape)),
            ("/devices/0/idle_seconds", json!(1e300)),
            ("/devices/0/idle_seconds", json!(-1.0)),
            ("/devices/0/status", json!("x".repeat(MAX_TEXT + 1))),
        ] {
            let mut list = list();
            *list.pointer_mut(path).unwrap() = bad;
            assert!(!valid(list), "{path}");
        }
        let mut shard = list();
        shard["shard"] = json!({"index": 3, "total": 3});
        assert!(!valid(shard));
    }
}
