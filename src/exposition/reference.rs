//! A second, simple and slow exposition, for comparison in property tests. It shares only names,
//! help texts, and the freshness and idle time of a single user or device.

use std::{collections::BTreeSet, fmt::Write};

use super::*;
use crate::{
    inventory::{
        Collection, Freshness, NetworkIdentity, NetworkView, PollResult, UserData, UserRecord,
        idle_millis,
    },
    wickr::{ApiTimestamp, Device, ErrorKind},
};

type Labels = Vec<(&'static str, String)>;
type Series = Vec<(Labels, String)>;

/// Suffix, labels, value.
type Sample = (&'static str, Labels, String);

fn seconds(millis: i64) -> String {
    (millis as f64 / 1e3).to_string()
}

fn served<'a>(view: &'a NetworkView, now: Moment) -> Vec<(&'a UserRecord, &'a UserData)> {
    let served =
        |user: &'a UserRecord| user.data(now, view.identity.stale_after).map(|data| (user, data));
    view.users.iter().filter_map(served).collect()
}

fn user_labels(user: &UserRecord) -> Labels {
    vec![("user_id", user.id.to_string())]
}

fn device_labels(user: &UserRecord, device: &Device) -> Option<Labels> {
    let mut labels = user_labels(user);
    labels.push(("app_id", device.app_id.as_ref()?.to_string()));
    labels.push(("device_type", device.device_type().to_string()));
    Some(labels)
}

fn session_end(user: &UserRecord, device: &Device) -> Option<i64> {
    let limit = user.facts.as_ref()?.sso_max_idle?;
    Some(device.last_login.millis()? + i64::try_from(limit.as_millis()).unwrap())
}

/// The samples of a network, without the label `network_id`.
fn samples(exposition: &Exposition<'_>, view: &NetworkView, family: &str) -> Vec<Sample> {
    let now = exposition.now;
    let is_known = view.polls.last.is_some();
    let users = served(view, now);
    if family == "wickr_network_device_idle_seconds" {
        return if is_known { idle_histograms(exposition, view, &users) } else { vec![] };
    }
    let polls = &view.polls;
    let flag = |value: bool| u8::from(value).to_string();
    let is_fresh = |user: &UserRecord| view.freshness_of(user, now) == Freshness::Fresh;
    let each_user = |value: &dyn Fn(&UserRecord, &UserData) -> Option<String>| -> Series {
        let line =
            |(user, data): &(&UserRecord, &UserData)| Some((user_labels(user), value(user, data)?));
        users.iter().filter_map(line).collect()
    };
    let each_device = |value: &dyn Fn(&Device) -> Option<String>| -> Series {
        let devices =
            users.iter().flat_map(|(user, data)| data.devices.iter().map(move |d| (user, d)));
        devices.filter_map(|(user, d)| Some((device_labels(user, d)?, value(d)?))).collect()
    };
    let each_type = |matches: &dyn Fn(&UserRecord, &Device) -> bool| -> Series {
        let count = |name: &str| {
            let devices =
                users.iter().flat_map(|(user, data)| data.devices.iter().map(move |d| (user, d)));
            devices.filter(|(user, d)| &**d.device_type() == name && matches(user, d)).count()
        };
        let labels = |name: &str| vec![("device_type", name.to_owned())];
        view.types.iter().map(|name| (labels(name), count(name).to_string())).collect()
    };
    let count = |count: Option<u64>| -> Series {
        count.into_iter().map(|count| (vec![], count.to_string())).collect()
    };
    let series = match family {
        "wickr_up" if polls.ended != [0; 3] => {
            let success = polls.last.is_some_and(|last| last.result == PollResult::Success);
            vec![(vec![], flag(success && view.covered && view.users.iter().all(is_fresh)))]
        }
        "wickr_network_info" if is_known => {
            let NetworkIdentity { name, region, .. } = &*view.identity;
            let mut labels = vec![("network_name", name.clone()), ("region", region.clone())];
            for label in ["account_id", "access_level"] {
                let text = info(exposition, view, label);
                labels.extend(Some((label, text)).filter(|(_, text)| !text.is_empty()));
            }
            vec![(labels, "1".into())]
        }
        "wickr_network_users" if is_known => Freshness::ALL
            .map(|freshness| {
                let has = |user: &&UserRecord| view.freshness_of(user, now) == freshness;
                let count = view.users.iter().filter(has).count();
                (vec![("freshness", freshness.as_str().into())], count.to_string())
            })
            .into(),
        "wickr_network_devices" if is_known => each_type(&|_, _| true),
        "wickr_network_devices_suspended" if is_known => {
            each_type(&|_, d| d.suspended() == Some(true))
        }
        "wickr_network_devices_reset" if is_known => each_type(&|_, d| d.is_reset()),
        "wickr_network_devices_never_logged_in" if is_known => {
            each_type(&|_, d| d.last_login == ApiTimestamp::NEVER)
        }
        "wickr_network_devices_sso_expired" if is_known && view.sso.is_some() => {
            each_type(&|user, d| match (idle_millis(d, now.time), user.sso_max_idle()) {
                (Some(idle), Some(limit)) => idle as u128 > limit.as_millis(),
                _ => false,
            })
        }
        "wickr_network_devices_sso_expiring" if is_known && view.sso.is_some() => {
            let mut series = Series::new();
            for name in &view.types {
                for (horizon, within) in exposition.sso_horizons.iter().zip(["1h", "1d", "30d"]) {
                    let ends_within = |user: &UserRecord, d: &Device| {
                        session_end(user, d).is_some_and(|end| {
                            (0..=horizon.as_millis() as i64).contains(&(end - now.time))
                        })
                    };
                    let of_users = users.iter().map(|(user, data)| {
                        let of_type = data.devices.iter().filter(|d| d.device_type() == name);
                        of_type.filter(|d| ends_within(user, d)).count()
                    });
                    let labels =
                        vec![("device_type", name.to_string()), ("within", within.to_owned())];
                    series.push((labels, of_users.sum::<usize>().to_string()));
                }
            }
            series
        }
        "wickr_user_sso_expiry_timestamp_seconds" => {
            let next = |(user, data): &(&UserRecord, &UserData)| {
                let ends = data.devices.iter().filter_map(|d| session_end(user, d));
                Some((user_labels(user), seconds(ends.filter(|end| *end >= now.time).min()?)))
            };
            users.iter().filter_map(next).collect()
        }
        "wickr_network_device_changes_total" if is_known => {
            let changes = ["added", "removed", "suspended", "unsuspended", "reset", "login"];
            let counts = changes.into_iter().zip(view.changes);
            counts
                .map(|(change, count)| (vec![("change", change.into())], count.to_string()))
                .collect()
        }
        "wickr_user_up" => {
            view.users.iter().map(|user| (user_labels(user), flag(is_fresh(user)))).collect()
        }
        "wickr_user_last_poll_timestamp_seconds" => each_user(&|_, data| Some(seconds(data.at))),
        "wickr_user_info" => {
            let has_info = |user: &&UserRecord| {
                let facts = user.facts.as_ref();
                facts.is_some_and(|facts| facts.username.is_some() || facts.status.is_some())
            };
            let line = |user: &UserRecord| {
                let facts = user.facts.as_ref().unwrap();
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
                (labels, "1".into())
            };
            view.users.iter().filter(has_info).map(line).collect()
        }
        "wickr_network_users_suspended" if is_known => {
            count(view.counts.and_then(|counts| counts.suspended))
        }
        "wickr_network_admins" if is_known => count(view.counts.and_then(|counts| counts.admins)),
        "wickr_network_invites_expired" if is_known => {
            count(view.counts.and_then(|counts| counts.invites_expired))
        }
        "wickr_user_suspended" => {
            let suspended = |user: &UserRecord| user.facts.as_ref()?.suspended;
            let line = |user: &UserRecord| Some((user_labels(user), flag(suspended(user)?)));
            view.users.iter().filter_map(line).collect()
        }
        "wickr_user_admin" => {
            let admin = |user: &UserRecord| user.facts.as_ref()?.admin;
            let line = |user: &UserRecord| Some((user_labels(user), flag(admin(user)?)));
            view.users.iter().filter_map(line).collect()
        }
        "wickr_user_sso_max_idle_seconds" => {
            let limit = |user: &UserRecord| Some(user.sso_max_idle()?.as_secs().to_string());
            view.users.iter().filter_map(|user| Some((user_labels(user), limit(user)?))).collect()
        }
        "wickr_user_devices" | "wickr_user_devices_suspended" => {
            let mut series = Series::new();
            for (user, data) in &users {
                let types: BTreeSet<&str> =
                    data.devices.iter().map(|d| &**d.device_type()).collect();
                for name in types {
                    let of_type = data.devices.iter().filter(|d| &**d.device_type() == name);
                    let all = family == "wickr_user_devices";
                    let count = of_type.filter(|d| all || d.suspended() == Some(true)).count();
                    let mut labels = user_labels(user);
                    labels.push(("device_type", name.to_owned()));
                    series.push((labels, count.to_string()));
                }
            }
            series
        }
        "wickr_user_last_login_timestamp_seconds" => each_user(&|_, data| {
            data.devices.iter().filter_map(|d| d.last_login.millis()).max().map(seconds)
        }),
        "wickr_user_idle_seconds" => each_user(&|_, data| {
            data.devices.iter().filter_map(|d| idle_millis(d, now.time)).min().map(seconds)
        }),
        "wickr_device_info" => {
            let mut series = Series::new();
            for (user, data) in &users {
                for device in data.devices.iter() {
                    let Some(mut labels) = device_labels(user, device) else { continue };
                    labels.push(("status", device.status().to_string()));
                    series.push((labels, "1".into()));
                }
            }
            series
        }
        "wickr_device_suspended" => each_device(&|d| d.suspended().map(flag)),
        "wickr_device_created_timestamp_seconds" => {
            each_device(&|d| d.created.millis().map(seconds))
        }
        "wickr_device_last_login_timestamp_seconds" => {
            each_device(&|d| d.last_login.millis().map(seconds))
        }
        "wickr_device_idle_seconds" => each_device(&|d| idle_millis(d, now.time).map(seconds)),
        "wickr_exporter_poll_interval_seconds" => {
            vec![(vec![], view.identity.interval.as_secs_f64().to_string())]
        }
        "wickr_exporter_user_failures" => ErrorKind::ALL
            .map(|kind| {
                let failed = view.users.iter().filter(|user| user.failure == Some(kind)).count();
                (vec![("reason", kind.as_str().into())], failed.to_string())
            })
            .into(),
        "wickr_exporter_invalid_timestamps" => {
            let mut counts = Vec::new();
            for field in ["created", "lastLogin"].into_iter().filter(|_| is_known) {
                let devices = users.iter().flat_map(|(_, data)| data.devices.iter());
                let time = |d: &Device| if field == "created" { d.created } else { d.last_login };
                let invalid = devices.filter(|d| time(d) == ApiTimestamp::INVALID).count();
                counts.push((vec![("field", field.to_owned())], invalid.to_string()));
            }
            for (field, count) in unexpired(exposition, view).flat_map(|c| &c.invalid_times) {
                counts.push((vec![("field", (*field).to_owned())], count.to_string()));
            }
            counts
        }
        _ => vec![],
    };
    series.into_iter().map(|(labels, value)| ("", labels, value)).collect()
}

/// The records of a network's collectors whose values have not expired.
fn unexpired<'a>(
    exposition: &'a Exposition<'_>,
    view: &NetworkView,
) -> impl Iterator<Item = &'a Collection> {
    let collected = exposition.snapshot.collected.get(&view.identity.id);
    let now = exposition.now;
    collected.into_iter().flat_map(move |collected| {
        let kept = 3 * collected.interval.as_millis();
        collected.collectors.values().filter_map(move |record| {
            let last = record.last_success.as_ref()?;
            (last.age(now) as i128 <= kept as i128).then_some(&*last.collection)
        })
    })
}

fn info(exposition: &Exposition<'_>, view: &NetworkView, label: &str) -> String {
    let mut infos = unexpired(exposition, view).filter_map(|collection| collection.info.get(label));
    infos.next().map(|text| text.to_string()).unwrap_or_default()
}

fn collected(exposition: &Exposition<'_>, view: &NetworkView, family: &str) -> Vec<Sample> {
    let names = collectors::families().find(|other| other.name == family).map(|f| &f.labels[1..]);
    let mut samples = Vec::new();
    for sample in unexpired(exposition, view).flat_map(|collection| &collection.samples) {
        if let Some(names) = names.filter(|_| sample.family == family) {
            let values = sample.labels.iter().map(|value| value.to_string());
            let labels = names.iter().copied().zip(values).collect();
            samples.push(("", labels, sample.value.to_string()));
        }
    }
    samples
}

fn idle_histograms(
    exposition: &Exposition<'_>,
    view: &NetworkView,
    users: &[(&UserRecord, &UserData)],
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for name in &view.types {
        let labels = vec![("device_type", name.to_string())];
        let devices = users.iter().flat_map(|(_, data)| data.devices.iter());
        let of_type = devices.filter(|device| device.device_type() == name);
        let idle: Vec<i64> = of_type.filter_map(|d| idle_millis(d, exposition.now.time)).collect();
        let mut bucket = |le: String, count: usize| {
            let labels = [&labels[..], &[("le", le)]].concat();
            samples.push(("_bucket", labels, count.to_string()));
        };
        for bound in exposition.idle_buckets {
            let count = idle.iter().filter(|i| **i as u128 <= bound.as_millis()).count();
            bucket(bound.as_secs_f64().to_string(), count);
        }
        bucket("+Inf".into(), idle.len());
        samples.push(("_sum", labels.clone(), seconds(idle.iter().sum())));
        samples.push(("_count", labels, idle.len().to_string()));
    }
    samples
}

/// The text format of `families`, as far as they are implemented here.
pub(super) fn text(exposition: &Exposition<'_>, families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let mut has_header = false;
        for view in &exposition.snapshot.networks {
            let own = samples(exposition, view, family.name).into_iter();
            for (suffix, labels, value) in own.chain(collected(exposition, view, family.name)) {
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
