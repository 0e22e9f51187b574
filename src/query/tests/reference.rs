//! A simple implementation of filters and orders, on output records.

use super::*;

/// All records in their natural order.
pub(super) fn reference_records(networks: &[Arc<NetworkView>]) -> Vec<Record<'static>> {
    let mut records = Vec::new();
    for network in networks {
        for (user, data) in network.served_users(NOW) {
            for device in data.devices.iter() {
                let facts = user.facts.clone();
                let idle = device.last_login.millis().map(|at| (NOW - at).max(0));
                let limit = facts.as_ref().and_then(|facts| facts.sso_max_idle);
                let expired = match (&network.sso, &facts, limit, idle) {
                    (None, ..) | (_, None, ..) => None,
                    (_, _, None, _) => Some(false),
                    (_, _, Some(limit), Some(idle)) => Some(idle > limit.as_millis() as i64),
                    _ if device.last_login == ApiTimestamp::NEVER => Some(false),
                    _ => None,
                };
                let text = |text: &str| text.to_owned().into();
                let iso = |stamp: ApiTimestamp| {
                    stamp.millis().map(|at| {
                        let at = jiff::Timestamp::from_millisecond(at).unwrap();
                        at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
                    })
                };
                let fresh = user.failure.is_none();
                records.push(Record {
                    network_id: text(network.identity.id.as_str()),
                    network_name: text(&network.identity.name),
                    user_id: text(user.id.as_str()),
                    username: Some(
                        facts.and_then(|f| f.username.as_deref().map(|n| n.to_owned().into())),
                    ),
                    app_id: device.app_id.as_ref().map(|id| id.to_string().into()),
                    device_type: text(device.device_type()),
                    status: text(device.status()),
                    suspended: device.suspended(),
                    created: iso(device.created),
                    last_login: iso(device.last_login),
                    never_logged_in: (device.last_login != ApiTimestamp::INVALID)
                        .then_some(device.last_login == ApiTimestamp::NEVER),
                    idle_seconds: idle.map(|idle| idle as f64 / 1000.0),
                    sso_max_idle_seconds: limit.map(|limit| limit.as_secs()),
                    sso_expired: expired,
                    freshness: text(if fresh { "fresh" } else { "stale" }),
                    read_at: iso(ApiTimestamp::at_millis(data.at)).unwrap(),
                });
            }
        }
    }
    records
}

pub(super) fn matches(filter: &Filter, record: &Record<'_>) -> bool {
    fn contains<T: ToString>(list: &[T], value: &str) -> bool {
        list.is_empty() || list.iter().any(|item| item.to_string() == value)
    }
    let idle_millis = record.idle_seconds.map(|idle| (idle * 1000.0).round() as u128);
    contains(&filter.networks, &record.network_id)
        && contains(&filter.users, &record.user_id)
        && contains(&filter.device_types, &record.device_type)
        && contains(&filter.statuses, &record.status)
        && (filter.suspended.is_none() || filter.suspended == record.suspended)
        && filter.reset.is_none_or(|reset| reset == (record.status.to_lowercase() == "reset"))
        && filter.idle_over.is_none_or(|d| idle_millis.is_some_and(|idle| idle > d.as_millis()))
        && filter.idle_up_to.is_none_or(|d| idle_millis.is_some_and(|idle| idle <= d.as_millis()))
        && (filter.never_logged_in.is_none() || filter.never_logged_in == record.never_logged_in)
        && (filter.sso_expired.is_none() || filter.sso_expired == record.sso_expired)
        && filter.sso_expires_within.is_none_or(|d| {
            let left = record.sso_max_idle_seconds.zip(record.last_login.as_ref());
            let left = left.map(|(limit, login)| {
                let login: jiff::Timestamp = login.parse().unwrap();
                login.as_millisecond() + limit as i64 * 1000 - NOW
            });
            record.sso_expired == Some(false)
                && left.is_some_and(|left| left <= d.as_millis() as i64)
        })
        && filter.freshness.is_none_or(|freshness| freshness.as_str() == record.freshness)
}

/// The sort key of a record from its JSON; `None` if empty.
fn sort_key(record: &Record<'_>, sort: Sort) -> Option<serde_json::Value> {
    let mut value = serde_json::to_value(record).unwrap();
    let value = value[sort.as_str()].take();
    if sort == Sort::UserId || sort == Sort::NetworkId {
        return Some(value.as_str().unwrap().parse::<i64>().unwrap().into());
    }
    Some(value).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn compare(a: &serde_json::Value, b: &serde_json::Value) -> std::cmp::Ordering {
    match (a, b) {
        (serde_json::Value::Number(a), serde_json::Value::Number(b)) => {
            a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap())
        }
        (serde_json::Value::Bool(a), serde_json::Value::Bool(b)) => a.cmp(b),
        (a, b) => a.as_str().unwrap().cmp(b.as_str().unwrap()),
    }
}

pub(super) fn sort_records(records: &mut [Record<'_>], sort: Sort, order: Order) {
    // A stable sort.
    records.sort_by(|a, b| match (sort_key(a, sort), sort_key(b, sort)) {
        (Some(a), Some(b)) if order == Order::Ascending => compare(&a, &b),
        (Some(a), Some(b)) => compare(&b, &a),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
}
