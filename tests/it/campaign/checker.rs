//! Compares a scrape with the expected state. Each value must be correct, marked as not fresh, or
//! absent, and no expected series may be missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    expected::{Expected, ExpectedDevice, Ms, Timeline, UserKey},
    organisation::COLLECTED,
    scrape::{ExposedDevice, ExposedUser, Scrape, millis},
    totals::{BUCKETS, HORIZONS, Totals, device_totals, idle_range},
};

/// The input of the checks besides the scrape.
pub struct Context<'a> {
    pub expected: &'a Expected,
    pub requests: &'a ObservedRequests,
    /// Whether the simulator repeats pages. A device without an id is then counted several times.
    pub pages_repeat: &'a Timeline<bool>,
    /// When the process was started.
    pub started: Ms,
    pub stale_after: Ms,
    /// The longest interval and `stale_after` since the process was started.
    pub longest: (Ms, Ms),
    pub overdue: &'a Overdue,
    pub sso: Sso,
}

/// When the data of each stale user became overdue.
#[derive(Default)]
pub struct Overdue(BTreeMap<UserKey, OverdueUser>);

struct OverdueUser {
    read_at: Ms,
    seen_stale: Ms,
    /// When a poll ended after the user was seen stale. The data is overdue since then at the latest.
    since: Option<Ms>,
}

impl Overdue {
    /// Records which users are stale.
    pub fn update(&mut self, scrape: &Scrape, started: Ms) {
        let mut before = std::mem::take(&mut self.0);
        for (key, user) in scrape.users() {
            let Some(read_at) = user.read_at.filter(|_| user.up != Some(1.0)) else { continue };
            let ended = scrape.network("wickr_exporter_last_poll_timestamp_seconds", &key.0);
            let known = before.remove(&key).filter(|known| known.read_at == read_at);
            let mut known =
                known.unwrap_or(OverdueUser { read_at, seen_stale: scrape.to, since: None });
            let ended = ended.map(millis).filter(|at| *at >= started && *at > known.seen_stale);
            known.since = known.since.or(ended);
            self.0.insert(key, known);
        }
    }

    fn since(&self, key: &UserKey, read_at: Ms) -> Option<Ms> {
        self.0.get(key).filter(|known| known.read_at == read_at)?.since
    }
}

impl Context<'_> {
    /// The start of the read of a user that ended at `read_at`.
    pub fn read_started(&self, key: &UserKey, read_at: Ms) -> Ms {
        let pages = self.requests.first_pages.get(key);
        let requested = pages.and_then(|pages| pages.range(..=read_at).next_back());
        requested.copied().unwrap_or(read_at - 60_000)
    }

    /// All device lists that the user can have had during the read.
    fn possible_devices(&self, key: &UserKey, read_at: Ms) -> Vec<&Vec<Arc<ExpectedDevice>>> {
        let from = self.read_started(key, read_at);
        let to = read_at;
        let timeline = self.expected.devices.get(key).into_iter();
        timeline.flat_map(|timeline| timeline.between(from, to)).flatten().collect()
    }
}

/// The source of SSO limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sso {
    No,
    Groups,
    /// One limit for all users, in seconds.
    Fixed(i64),
}

/// The requests that the simulator received.
#[derive(Default)]
pub struct ObservedRequests {
    /// The times of the requests for the first page of each user.
    pub first_pages: BTreeMap<UserKey, BTreeSet<Ms>>,
    /// The time of the last 404 response for each user.
    pub not_found: BTreeMap<UserKey, Ms>,
}

struct Checker<'a> {
    scrape: &'a Scrape,
    context: &'a Context<'a>,
    users: BTreeMap<UserKey, ExposedUser>,
    violations: Vec<String>,
}

/// All violations in a scrape.
pub fn check_scrape(scrape: &Scrape, context: &Context<'_>) -> Vec<String> {
    let users = scrape.users();
    let mut networks: BTreeSet<String> = users.keys().map(|(network, _)| network.clone()).collect();
    let polled = scrape.samples("wickr_exporter_poll_progress_ratio");
    networks.extend(polled.map(|(labels, _)| labels["network_id"].clone()));
    let mut checker = Checker { scrape, context, users, violations: Vec::new() };
    for network in &networks {
        checker.check_network(network);
    }
    checker.check_bounds();
    checker.violations
}

/// All violations in a response of `/api/v1/devices` that was received at `to`.
pub fn check_device_list(list: &Value, to: Ms, context: &Context<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let devices = list["devices"].as_array().map_or(&[][..], |devices| devices);
    if list["matched"].as_u64() != Some(devices.len() as u64) {
        violations.push(format!("{} devices, but {} matched", devices.len(), list["matched"]));
    }
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let time = |of: &Value, field: &str| -> Option<Ms> {
        Some(of[field].as_str()?.parse::<Timestamp>().ok()?.as_millisecond())
    };
    let generated_at = time(list, "generated_at").unwrap_or_default();
    for device in devices {
        let key = (text(device, "network_id"), text(device, "user_id"));
        let read_at = time(device, "read_at").unwrap_or_default();
        let exposed = ExposedDevice {
            device_type: text(device, "device_type"),
            status: Some(text(device, "status")),
            suspended: device["suspended"].as_bool().map(f64::from),
            created: time(device, "created"),
            last_login: time(device, "last_login"),
            idle: device["idle_seconds"].as_f64().map(millis),
        };
        let is_match = |expected: &Arc<ExpectedDevice>| {
            expected.app_id.as_deref() == device["app_id"].as_str()
                && matches(&exposed, expected)
                && exposed.idle == exposed.last_login.map(|at| (generated_at - at).max(0))
        };
        let possible = context.possible_devices(&key, read_at);
        let is_correct = possible.iter().any(|devices| devices.iter().any(is_match));
        let is_current = match device["freshness"].as_str() {
            Some("fresh") => true,
            Some("stale") => context
                .overdue
                .since(&key, read_at)
                .is_none_or(|since| generated_at - since <= context.stale_after),
            _ => false,
        };
        if !is_correct || !is_current || read_at > to {
            violations.push(format!("listed at {generated_at}: {device}"));
        }
    }
    violations
}

/// Counters that decreased or disappeared since an earlier scrape of the same process.
/// `is_unchanged` states whether a network existed all the time, without a reload.
pub fn check_counters(
    before: &Scrape,
    now: &Scrape,
    is_unchanged: impl Fn(&str) -> bool,
) -> Vec<String> {
    let is_counter = |name: &&String| {
        let is_duration = name.starts_with("wickr_exporter_api_request_duration_seconds");
        name.ends_with("_total") || is_duration
    };
    let mut violations = Vec::new();
    for name in before.families().filter(is_counter) {
        for (labels, value) in before.samples(name) {
            if labels.get("network_id").is_some_and(|network| !is_unchanged(network)) {
                continue;
            }
            let current = now.get(name, labels);
            if current.is_none_or(|current| current < value) {
                violations.push(format!("{name}{labels:?} was {value}, is {current:?}"));
            }
        }
    }
    violations
}

impl Checker<'_> {
    fn require(&mut self, condition: bool, violation: impl FnOnce() -> String) {
        if !condition {
            self.violations.push(violation());
        }
    }

    /// Checks that each value is within the bounds of its family.
    fn check_bounds(&mut self) {
        let scrape = self.scrape;
        for name in scrape.families() {
            for (labels, value) in scrape.samples(name) {
                let is_valid = match name.as_str() {
                    "wickr_exporter_poll_progress_ratio" => (0.0..=1.0).contains(&value),
                    "wickr_exporter_api_rate_limit" => value > 0.0 && value <= 1000.0,
                    name if name.ends_with("_info") => value == 1.0,
                    name if name.ends_with("_up") || name.ends_with("_successful") => {
                        value == 0.0 || value == 1.0
                    }
                    // Events of the exporter are in the past.
                    name if name.starts_with("wickr_exporter_")
                        && name.ends_with("_timestamp_seconds")
                        && !name.contains("not_after") =>
                    {
                        millis(value) <= scrape.to
                    }
                    _ => value.is_finite() && value >= 0.0,
                };
                self.require(is_valid, || format!("{name}{labels:?} is {value}"));
            }
        }
    }

    fn check_network(&mut self, id: &str) {
        let (scrape, context) = (self.scrape, self.context);
        let ended = scrape.network("wickr_exporter_last_poll_timestamp_seconds", id).map(millis);
        let duration = scrape.network("wickr_exporter_poll_duration_seconds", id).map_or(0, millis);
        // A poll of this process has ended.
        let polled = ended.is_some_and(|ended| ended >= context.started);
        let is_known = context.expected.known_networks.contains(id);
        self.require(is_known, || format!("{id}: unknown network"));
        self.require(ended.is_none_or(|ended| ended <= scrape.to), || {
            format!("{id}: the last poll ended in the future")
        });
        let mut totals = Totals::default();
        let (mut fresh, mut stale, mut missing) = (0.0, 0.0, 0.0);
        let users: BTreeMap<_, _> = std::mem::take(&mut self.users);
        let (users, others) = users.into_iter().partition(|((network, _), _)| network == id);
        self.users = others;
        for (key, user) in &users {
            let is_up = user.up == Some(1.0);
            match (is_up, user.read_at) {
                (true, _) => fresh += 1.0,
                (false, Some(_)) => stale += 1.0,
                (false, None) => missing += 1.0,
            }
            self.check_freshness(key, user, duration, users.len());
            self.check_limit_and_status(key, user);
            if let Some(user_totals) = self.check_devices(key, user) {
                totals.add_all(user_totals);
            }
        }
        if let Some(up) = scrape.network("wickr_up", id) {
            self.require(polled, || format!("{id}: wickr_up before the end of a poll"));
            self.require(up == 0.0 || stale + missing == 0.0, || {
                format!("{id}: wickr_up is 1 with {stale} stale and {missing} missing users")
            });
        } else {
            self.require(!polled, || format!("{id}: no wickr_up after a poll"));
        }
        let failures: f64 =
            scrape.of_network("wickr_exporter_user_failures", id).map(|(_, count)| count).sum();
        self.require(failures <= stale + missing, || {
            format!("{id}: {failures} failures, {stale} stale and {missing} missing users")
        });
        // Data is stale without a failure while a poll stalls.
        let is_polling =
            scrape.network("wickr_exporter_poll_progress_ratio", id).is_some_and(|done| done < 1.0);
        self.require(!polled || is_polling || stale <= failures, || {
            format!("{id}: {failures} failures, {stale} stale users")
        });
        let reasons = scrape.of_network("wickr_exporter_user_failures", id).count();
        self.require(reasons == 9, || format!("{id}: {reasons} reasons of failures"));
        let exposed = scrape.by("wickr_network_users", id, "freshness");
        if ended.is_none() {
            let of_polls = |family: &&String| {
                family.starts_with("wickr_network_") && !COLLECTED.contains(&family.as_str())
            };
            let families = scrape.families().filter(of_polls);
            let families: Vec<_> =
                families.filter(|family| scrape.network(family, id).is_some()).collect();
            self.require(families.is_empty(), || format!("{id}: {families:?} before a poll"));
            return;
        }
        let counted = [("fresh", fresh), ("stale", stale), ("missing", missing)];
        let counted = counted.map(|(freshness, count)| (freshness.to_owned(), count));
        self.require(exposed == BTreeMap::from(counted.clone()), || {
            format!("{id}: wickr_network_users {exposed:?}, but counted {counted:?}")
        });
        self.check_network_totals(id, &totals);
    }

    /// Checks that the limit and status of a user were correct at some time.
    fn check_limit_and_status(&mut self, key: &UserKey, user: &ExposedUser) {
        if let Some(limit) = user.limit {
            let known = match self.context.sso {
                Sso::No => false,
                Sso::Fixed(seconds) => limit == seconds * 1000,
                Sso::Groups => {
                    let limits = self.context.expected.all_limits.get(key);
                    limits.is_some_and(|limits| limits.contains(&(limit / 1000)))
                }
            };
            self.require(known, || format!("{key:?}: never had a limit of {limit} ms"));
        }
        self.require(user.status.as_deref().is_none_or(|status| status == "active"), || {
            format!("{key:?}: status {:?}", user.status)
        });
    }

    /// Checks that a user's data is marked correctly as fresh, stale or missing.
    fn check_freshness(&mut self, key: &UserKey, user: &ExposedUser, duration: Ms, users: usize) {
        let (scrape, context) = (self.scrape, self.context);
        let is_known = context.expected.known_users.contains(key);
        self.require(is_known, || format!("{key:?}: unknown user"));
        self.require(user.up.is_some() || user.read_at.is_some(), || {
            format!("{key:?}: neither wickr_user_up nor a time of the last read")
        });
        self.require(user.up != Some(1.0) || user.read_at.is_some(), || {
            format!("{key:?}: up without a time of the last read")
        });
        let Some(read_at) = user.read_at else {
            let has_data =
                !user.devices.is_empty() || !user.device_samples.is_empty() || user.idle.is_some();
            return self.require(!has_data, || format!("{key:?}: has data but was not read"));
        };
        let age = scrape.from - read_at;
        self.require(read_at <= scrape.to, || format!("{key:?}: read in the future"));
        if user.up == Some(1.0) {
            self.require(read_at >= context.started, || {
                format!("{key:?}: fresh, but read by an earlier process")
            });
            // Data is refreshed by the next poll, in which each user delays the others by less than
            // `stale_after`. A reload may have shortened both.
            let (interval, stale_after) = context.longest;
            let max_age = duration + interval + stale_after * (users as Ms + 1);
            self.require(age <= max_age, || format!("{key:?}: fresh at the age of {age} ms"));
        } else if let Some(since) = context.overdue.since(key, read_at) {
            let overdue = scrape.from - since;
            self.require(overdue <= context.stale_after, || {
                format!("{key:?}: exposed, but overdue by {overdue} ms")
            });
        }
    }

    /// Checks a user's devices against those it had when they were read. Returns their totals.
    fn check_devices(&mut self, key: &UserKey, user: &ExposedUser) -> Option<Totals> {
        let (scrape, context) = (self.scrape, self.context);
        let read_at = user.read_at?;
        let from = context.read_started(key, read_at);
        let possible = context.possible_devices(key, read_at);
        self.require(!possible.is_empty(), || {
            format!("{key:?}: read at {read_at}, when the user did not exist")
        });
        let in_every_list = |name: &str| {
            possible.iter().all(|devices| devices.iter().any(|device| device.name == name))
        };
        let mut totals = Totals::default();
        let period = (scrape.from, scrape.to);
        for (app_id, exposed) in &user.device_samples {
            let matching: Vec<&ExpectedDevice> = possible
                .iter()
                .flat_map(|devices| devices.iter())
                .filter(|device| {
                    device.app_id.as_deref() == Some(app_id) && matches(exposed, device)
                })
                .map(|device| &**device)
                .collect();
            self.require(!matching.is_empty(), || {
                let expected: Vec<_> = possible
                    .iter()
                    .flat_map(|devices| devices.iter().filter(|d| d.name == *app_id))
                    .collect();
                format!("{key:?}: {app_id} is {exposed:?}, expected one of {expected:?}")
            });
            let idle = exposed.last_login.map(|at| idle_range(at, period));
            let is_in_range =
                exposed.idle.zip(idle).is_none_or(|(value, range)| within(value, range));
            self.require(is_in_range, || {
                format!("{key:?}: {app_id} is idle for {:?} ms, expected {idle:?}", exposed.idle)
            });
            self.require(exposed.idle.is_some() == exposed.last_login.is_some(), || {
                format!("{key:?}: {app_id} has only one of last login and idle time: {exposed:?}")
            });
            let candidates = matching.iter().map(|d| device_totals(d, period, user.limit));
            totals.add_all(Totals::any_of(candidates));
        }
        let mut absent = Vec::new();
        for device in possible.iter().flat_map(|devices| devices.iter()) {
            let Some(app_id) = &device.app_id else { continue };
            if in_every_list(&device.name) && !user.device_samples.contains_key(app_id) {
                absent.push(app_id);
            }
        }
        self.require(absent.is_empty(), || format!("{key:?}: {absent:?} missing"));
        // Devices without an id appear in totals only.
        let without_id = possible.iter().map(|devices| {
            let mut totals = Totals::default();
            for device in devices.iter().filter(|device| device.app_id.is_none()) {
                totals.add_all(device_totals(device, period, user.limit));
            }
            totals
        });
        let mut without_id = Totals::any_of(without_id);
        let (from, to) = (from, read_at);
        if context.pages_repeat.between(from, to).any(|repeat| *repeat) {
            without_id.0.values_mut().for_each(|range| range.1 *= 1e3);
        }
        totals.add_all(without_id);
        self.check_user_totals(key, user, &totals, &possible);
        Some(totals)
    }

    /// Checks a user's counts, last login and idle time.
    fn check_user_totals(
        &mut self,
        key: &UserKey,
        user: &ExposedUser,
        totals: &Totals,
        possible: &[&Vec<Arc<ExpectedDevice>>],
    ) {
        for (name, counts) in [("devices", &user.devices), ("suspended", &user.suspended)] {
            for (device_type, count) in counts {
                let range = totals.get(name, device_type, "");
                self.require((range.0..=range.1).contains(count), || {
                    format!("{key:?}: {count} {name} of {device_type}, expected {range:?}")
                });
            }
        }
        self.require(user.devices.keys().eq(user.suspended.keys()), || {
            format!("{key:?}: devices {:?}, suspended {:?}", user.devices, user.suspended)
        });
        let missing: Vec<_> = totals
            .0
            .iter()
            .filter(|((name, _, _), range)| *name == "devices" && range.0 > 0.0)
            .map(|((_, device_type, _), _)| device_type)
            .filter(|device_type| !user.devices.contains_key(*device_type))
            .collect();
        self.require(missing.is_empty(), || format!("{key:?}: no count of {missing:?}"));
        // With several possible lists, the pages of a read can be from different ones.
        let is_expiry = |devices: &&Vec<Arc<ExpectedDevice>>| {
            let logins = devices.iter().filter_map(|device| device.last_login.at());
            let ends: Vec<Ms> = logins.filter_map(|at| Some(at + user.limit?)).collect();
            let (from, to) = (self.scrape.from, self.scrape.to);
            match user.expiry {
                None => ends.iter().all(|end| *end < to),
                Some(expiry) => {
                    let is_next = |end: &Ms| *end < to || *end >= expiry;
                    expiry >= from && ends.contains(&expiry) && ends.iter().all(is_next)
                }
            }
        };
        let is_correct = possible.len() > 1 || possible.iter().any(is_expiry);
        self.require(is_correct, || format!("{key:?}: expiry {:?}", user.expiry));
        let newest = |devices: &Vec<Arc<ExpectedDevice>>| {
            devices.iter().filter_map(|device| device.last_login.at()).max()
        };
        let possible: BTreeSet<Option<Ms>> = possible.iter().map(|d| newest(d)).collect();
        // With several possible lists, the pages of a read can be from different ones.
        self.require(possible.len() > 1 || possible.contains(&user.last_login), || {
            format!("{key:?}: last login {:?}, expected {possible:?}", user.last_login)
        });
        let period = (self.scrape.from, self.scrape.to);
        let idle = user.last_login.map(|at| idle_range(at, period));
        self.require(
            user.idle.is_some() == idle.is_some()
                && user.idle.zip(idle).is_none_or(|(value, range)| within(value, range)),
            || format!("{key:?}: idle for {:?} ms, expected {idle:?}", user.idle),
        );
    }

    /// Checks that a network's values are the totals of its users.
    fn check_network_totals(&mut self, id: &str, totals: &Totals) {
        let scrape = self.scrape;
        let mut families = vec![
            ("wickr_network_devices", "devices"),
            ("wickr_network_devices_suspended", "suspended"),
            ("wickr_network_devices_reset", "reset"),
            ("wickr_network_devices_never_logged_in", "never"),
            ("wickr_network_device_idle_seconds_count", "with idle"),
            ("wickr_network_device_idle_seconds_sum", "idle sum"),
        ];
        let expired = "wickr_network_devices_sso_expired";
        if scrape.network(expired, id).is_some() {
            families.push((expired, "expired"));
        }
        let types = scrape.by("wickr_network_devices", id, "device_type");
        for ((_, device_type, _), range) in &totals.0 {
            let is_exposed = device_type.is_empty() || types.contains_key(device_type);
            self.require(range.0 == 0.0 || is_exposed, || {
                format!("{id}: device type {device_type:?} is missing")
            });
        }
        for (family, name) in families {
            let values = scrape.by(family, id, "device_type");
            self.require(values.keys().eq(types.keys()), || {
                format!("{id}: {family} has {:?}, expected {:?}", values.keys(), types.keys())
            });
            for (device_type, value) in values {
                let (min, max) = totals.get(name, &device_type, "");
                // Sums of floats are not exact.
                self.require(min - 0.001 <= value && value <= max + 0.001, || {
                    format!("{id}: {family} of {device_type} is {value}, expected {min} to {max}")
                });
            }
        }
        let expiring = "wickr_network_devices_sso_expiring";
        let with_limits = scrape.network(expired, id).is_some();
        let count = scrape.of_network(expiring, id).count();
        self.require(count == if with_limits { types.len() * HORIZONS.len() } else { 0 }, || {
            format!("{id}: {count} counts of expiring sessions")
        });
        for (labels, value) in scrape.of_network(expiring, id) {
            let (device_type, within) = (&labels["device_type"], &labels["within"]);
            let (min, max) = totals.get("expiring", device_type, within);
            self.require((min..=max).contains(&value), || {
                format!(
                    "{id}: {value} {device_type} expiring within {within}, expected {min} to {max}"
                )
            });
        }
        let buckets = "wickr_network_device_idle_seconds_bucket";
        let count = scrape.of_network(buckets, id).count();
        self.require(count == types.len() * (BUCKETS.len() + 1), || {
            format!("{id}: {count} buckets")
        });
        for (labels, value) in scrape.of_network(buckets, id) {
            let (device_type, bound) = (&labels["device_type"], &labels["le"]);
            let (min, max) = match &**bound {
                "+Inf" => totals.get("with idle", device_type, ""),
                bound => totals.get("bucket", device_type, bound),
            };
            self.require((min..=max).contains(&value), || {
                format!("{id}: {value} {device_type} idle up to {bound}, expected {min} to {max}")
            });
        }
        let invalid = scrape.by("wickr_exporter_invalid_timestamps", id, "field");
        for (field, name) in [("created", "invalid created"), ("lastLogin", "invalid last login")] {
            let (min, max) = totals.get(name, "", "");
            let value = invalid.get(field).copied().unwrap_or(-1.0);
            self.require((min..=max).contains(&value), || {
                format!("{id}: {value} devices with invalid {field}, expected {min} to {max}")
            });
        }
    }
}

fn within(value: Ms, (min, max): (Ms, Ms)) -> bool {
    (min..=max).contains(&value)
}

fn matches(exposed: &ExposedDevice, device: &ExpectedDevice) -> bool {
    exposed.device_type == device.device_type
        && exposed.status.as_ref() == Some(&device.status)
        && exposed.suspended == device.suspended.map(f64::from)
        && exposed.created == device.created.at()
        && exposed.last_login == device.last_login.at()
}
