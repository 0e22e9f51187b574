//! A second, simple and slow exposition, which the properties compare with. It shares only names,
//! help texts, and the freshness and idle time of a single user or device.

use std::{collections::BTreeSet, fmt::Write};

use super::*;
use crate::{
    inventory::{Freshness, NetworkView, PollResult, UserData, UserRecord, idle_millis},
    wickr::{ApiTimestamp, Device, ErrorKind},
};

type Labels = Vec<(&'static str, String)>;

/// Suffix, labels, value.
type Sample = (&'static str, Labels, String);

fn seconds(millis: i64) -> String {
    (millis as f64 / 1e3).to_string()
}

fn optional_seconds(millis: Option<i64>) -> Option<String> {
    millis.map(seconds)
}

fn served<'a>(view: &'a NetworkView, now: Millis) -> Vec<(&'a UserRecord, &'a UserData)> {
    let served =
        |user: &'a UserRecord| user.data(now, view.identity.stale_after).map(|data| (user, data));
    view.users.iter().filter_map(served).collect()
}

fn user_labels(user: &UserRecord) -> Labels {
    vec![("user_id", user.id.to_string())]
}

fn device_labels(user: &UserRecord, device: &Device) -> Option<Labels> {
    let mut labels = user_labels(user);
    labels.push(("app_id", device.app_id.as_deref()?.to_owned()));
    labels.push(("device_type", device.device_type.to_string()));
    Some(labels)
}

/// The samples of a network, without the label `network_id`.
fn samples(exposition: &Exposition<'_>, view: &NetworkView, family: &str) -> Vec<Sample> {
    let now = exposition.now;
    let mut out: Vec<Sample> = Vec::new();
    let mut add = |labels: Labels, value: String| out.push(("", labels, value));
    let flag = |value: bool| u8::from(value).to_string();
    let users = served(view, now);
    let each_device = |value: &dyn Fn(&Device) -> Option<String>| -> Vec<(Labels, String)> {
        let mut all = Vec::new();
        for (user, data) in &users {
            for device in data.devices.iter() {
                if let (Some(labels), Some(value)) = (device_labels(user, device), value(device)) {
                    all.push((labels, value));
                }
            }
        }
        all
    };
    let count = |counts: &dyn Fn(&UserRecord, &Device) -> bool| -> Vec<(Labels, String)> {
        let of_type = |name: &str| {
            let devices =
                users.iter().flat_map(|(user, data)| data.devices.iter().map(move |d| (user, d)));
            devices.filter(|(user, d)| &*d.device_type == name && counts(user, d)).count()
        };
        let labels = |name: &str| vec![("device_type", name.to_owned())];
        view.types.iter().map(|name| (labels(name), of_type(name).to_string())).collect()
    };
    let polls = &view.polls;
    let is_known = polls.last.is_some();
    match family {
        "wickr_up" if polls.ended != [0; 3] => {
            let fresh = |user: &UserRecord| view.freshness_of(user, now) == Freshness::Fresh;
            let success = polls.last.is_some_and(|last| last.result == PollResult::Success);
            add(vec![], flag(success && view.covered && view.users.iter().all(fresh)));
        }
        "wickr_network_info" if is_known => {
            let identity = &view.identity;
            let labels =
                vec![("network_name", identity.name.clone()), ("region", identity.region.clone())];
            add(labels, "1".into());
        }
        "wickr_network_users" if is_known => {
            for freshness in Freshness::ALL {
                let has = |user: &&UserRecord| view.freshness_of(user, now) == freshness;
                let count = view.users.iter().filter(has).count();
                add(vec![("freshness", freshness.as_str().into())], count.to_string());
            }
        }
        "wickr_network_devices" if is_known => {
            count(&|_, _| true).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_network_devices_suspended" if is_known => {
            count(&|_, d| d.suspended == Some(true)).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_network_devices_reset" if is_known => {
            count(&|_, d| d.is_reset()).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_network_devices_never_logged_in" if is_known => {
            let never = |_: &UserRecord, d: &Device| d.last_login == ApiTimestamp::NEVER;
            count(&never).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_network_device_idle_seconds" if is_known => {
            for name in &view.types {
                let labels = vec![("device_type", name.to_string())];
                let devices = users.iter().flat_map(|(_, data)| data.devices.iter());
                let of_type = devices.filter(|device| device.device_type == *name);
                let idle: Vec<i64> = of_type.filter_map(|d| idle_millis(d, now)).collect();
                for bound in exposition.idle_buckets {
                    let count = idle.iter().filter(|i| **i as u128 <= bound.as_millis()).count();
                    let mut labels = labels.clone();
                    labels.push(("le", bound.as_secs_f64().to_string()));
                    out.push(("_bucket", labels, count.to_string()));
                }
                let mut infinite = labels.clone();
                infinite.push(("le", "+Inf".into()));
                out.push(("_bucket", infinite, idle.len().to_string()));
                out.push(("_sum", labels.clone(), seconds(idle.iter().sum())));
                out.push(("_count", labels, idle.len().to_string()));
            }
        }
        "wickr_network_devices_sso_expired" if is_known && view.sso.is_some() => {
            let expired =
                |user: &UserRecord, d: &Device| match (idle_millis(d, now), user.sso_max_idle()) {
                    (Some(idle), Some(limit)) => idle as u128 > limit.as_millis(),
                    _ => false,
                };
            count(&expired).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_user_up" => {
            for user in view.users.iter() {
                add(user_labels(user), flag(view.freshness_of(user, now) == Freshness::Fresh));
            }
        }
        "wickr_user_last_poll_timestamp_seconds" => {
            users.iter().for_each(|(user, data)| add(user_labels(user), seconds(data.at)));
        }
        "wickr_user_info" => {
            for user in view.users.iter() {
                let Some(facts) = &user.facts else { continue };
                if facts.username.is_none() && facts.status.is_none() {
                    continue;
                }
                let mut labels = user_labels(user);
                if exposition.usernames {
                    labels.push(("username", facts.username.as_deref().unwrap_or("").to_owned()));
                }
                let status = match facts.status {
                    None => String::new(),
                    Some(1) => "pending".into(),
                    Some(2) => "active".into(),
                    Some(other) => other.to_string(),
                };
                labels.push(("status", status));
                add(labels, "1".into());
            }
        }
        "wickr_user_sso_max_idle_seconds" => {
            for user in view.users.iter() {
                if let Some(limit) = user.sso_max_idle() {
                    add(user_labels(user), limit.as_secs().to_string());
                }
            }
        }
        "wickr_user_devices" | "wickr_user_devices_suspended" => {
            for (user, data) in &users {
                let types: BTreeSet<&str> = data.devices.iter().map(|d| &*d.device_type).collect();
                for name in types {
                    let of_type = data.devices.iter().filter(|d| &*d.device_type == name);
                    let all = family == "wickr_user_devices";
                    let count = of_type.filter(|d| all || d.suspended == Some(true)).count();
                    let mut labels = user_labels(user);
                    labels.push(("device_type", name.to_owned()));
                    add(labels, count.to_string());
                }
            }
        }
        "wickr_user_last_login_timestamp_seconds" => {
            for (user, data) in &users {
                let newest = data.devices.iter().filter_map(|d| d.last_login.millis()).max();
                optional_seconds(newest).into_iter().for_each(|v| add(user_labels(user), v));
            }
        }
        "wickr_user_idle_seconds" => {
            for (user, data) in &users {
                let shortest = data.devices.iter().filter_map(|d| idle_millis(d, now)).min();
                optional_seconds(shortest).into_iter().for_each(|v| add(user_labels(user), v));
            }
        }
        "wickr_device_info" => {
            for (user, data) in &users {
                for device in data.devices.iter() {
                    let Some(mut labels) = device_labels(user, device) else { continue };
                    labels.push(("status", device.status.to_string()));
                    add(labels, "1".into());
                }
            }
        }
        "wickr_device_suspended" => {
            each_device(&|d| d.suspended.map(flag)).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_device_created_timestamp_seconds" => {
            let value = |d: &Device| optional_seconds(d.created.millis());
            each_device(&value).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_device_last_login_timestamp_seconds" => {
            let value = |d: &Device| optional_seconds(d.last_login.millis());
            each_device(&value).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_device_idle_seconds" => {
            let value = |d: &Device| optional_seconds(idle_millis(d, now));
            each_device(&value).into_iter().for_each(|(l, v)| add(l, v));
        }
        "wickr_exporter_user_failures" => {
            for kind in ErrorKind::ALL {
                let failed = view.users.iter().filter(|user| user.failure == Some(kind)).count();
                add(vec![("reason", kind.as_str().into())], failed.to_string());
            }
        }
        "wickr_exporter_invalid_timestamps" if is_known => {
            for field in ["created", "lastLogin"] {
                let devices = users.iter().flat_map(|(_, data)| data.devices.iter());
                let timestamp =
                    |d: &Device| if field == "created" { d.created } else { d.last_login };
                let invalid = devices.filter(|d| timestamp(d) == ApiTimestamp::INVALID).count();
                add(vec![("field", field.into())], invalid.to_string());
            }
        }
        _ => {}
    }
    out
}

/// The text format of `families`, as far as they are implemented here.
pub(super) fn text(exposition: &Exposition<'_>, families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let mut has_header = false;
        for view in &exposition.snapshot.networks {
            for (suffix, labels, value) in samples(exposition, view, family.name) {
                if !has_header {
                    let kind = match family.kind {
                        Kind::GaugeHistogram => "histogram",
                        Kind::Counter => "counter",
                        _ => "gauge",
                    };
                    let Family { name, help, .. } = family;
                    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap();
                    has_header = true;
                }
                let mut all = vec![("network_id", view.identity.id.to_string())];
                all.extend(labels);
                let labels: Vec<_> = all
                    .iter()
                    .map(|(name, value)| {
                        let value = value.replace('\\', "\\\\").replace('\n', "\\n");
                        format!("{name}=\"{}\"", value.replace('"', "\\\""))
                    })
                    .collect();
                let labels = labels.join(",");
                writeln!(text, "{}{suffix}{{{labels}}} {value}", family.name).unwrap();
            }
        }
    }
    text
}
