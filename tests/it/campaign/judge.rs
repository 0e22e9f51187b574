//! Holds a scrape against the truth: every number is true, or is marked as not fresh, or is not
//! there; and nothing is missing that should be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    scrape::{Scrape, ToldDevice, ToldUser, millis},
    tally::{BUCKETS, Tally, idle, of},
    truth::{Ms, Timeline, TrueDevice, Truth, Who},
};

/// By how much the readings of one clock may differ that were taken, and rounded, one after another.
pub const BLINK: Ms = 25;

/// What else the judge must know.
pub struct Circumstances<'a> {
    pub truth: &'a Truth,
    pub asked: &'a Asked,
    /// Whether the service's pages lead back to the first: what it tells twice without an id is
    /// two devices for everybody.
    pub pages_go_round: &'a Timeline<bool>,
    /// When the process was started.
    pub started: Ms,
    pub stale_after: Ms,
    pub interval: Ms,
    pub overdue: &'a Overdue,
    pub sso: Sso,
}

/// By when the data of each user is known to be overdue.
#[derive(Default)]
pub struct Overdue(BTreeMap<Who, OverdueUser>);

struct OverdueUser {
    read_at: Ms,
    seen_stale: Ms,
    /// When a poll ended after the user was seen stale: its data is overdue since then at the latest.
    since: Option<Ms>,
}

impl Overdue {
    /// Records which users are stale.
    pub fn update(&mut self, scrape: &Scrape, started: Ms) {
        let mut before = std::mem::take(&mut self.0);
        for (who, user) in scrape.users() {
            let Some(read_at) = user.read_at.filter(|_| user.up != Some(1.0)) else { continue };
            let ended = scrape.network("wickr_exporter_last_poll_timestamp_seconds", &who.0);
            let known = before.remove(&who).filter(|known| known.read_at == read_at);
            let mut known =
                known.unwrap_or(OverdueUser { read_at, seen_stale: scrape.to, since: None });
            let ended = ended.map(millis).filter(|at| *at >= started && *at > known.seen_stale);
            known.since = known.since.or(ended);
            self.0.insert(who, known);
        }
    }

    fn since(&self, who: &Who, read_at: Ms) -> Option<Ms> {
        self.0.get(who).filter(|known| known.read_at == read_at)?.since
    }
}

impl Circumstances<'_> {
    /// When the reading of a user began that ended at `read_at`.
    pub fn asked_from(&self, who: &Who, read_at: Ms) -> Ms {
        let pages = self.asked.first_pages.get(who);
        let asked = pages.and_then(|pages| pages.range(..=read_at).next_back());
        asked.copied().unwrap_or(read_at - 60_000)
    }

    /// The devices that a user may have had while it was read.
    fn was_there(&self, who: &Who, read_at: Ms) -> Vec<&Vec<Arc<TrueDevice>>> {
        let (from, to) = (self.asked_from(who, read_at) - BLINK, read_at + BLINK);
        let line = self.truth.devices.get(who).into_iter();
        line.flat_map(|line| line.between(from, to)).flatten().collect()
    }
}

/// Where SSO limits come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sso {
    No,
    Groups,
    /// In seconds, for all.
    Fixed(i64),
}

/// What the simulator has seen.
#[derive(Default)]
pub struct Asked {
    /// When each user's first page was asked for.
    pub first_pages: BTreeMap<Who, BTreeSet<Ms>>,
    /// When a user was last said not to be there.
    pub not_found: BTreeMap<Who, Ms>,
}

/// What is to be compared with the next scrape.
#[derive(Default, Clone)]
pub struct Remembered {
    /// When the data of each user was read.
    pub read_at: BTreeMap<Who, Ms>,
    /// When the state file was last written.
    pub saved: Ms,
}

impl Remembered {
    pub fn of(scrape: &Scrape) -> Remembered {
        let users = scrape.users().into_iter();
        Remembered {
            read_at: users.filter_map(|(who, user)| Some((who, user.read_at?))).collect(),
            saved: millis(scrape.total("wickr_exporter_state_last_save_timestamp_seconds")),
        }
    }
}

pub struct Judge<'a> {
    scrape: &'a Scrape,
    about: &'a Circumstances<'a>,
    users: BTreeMap<Who, ToldUser>,
    complaints: Vec<String>,
}

/// Everything that is wrong with this scrape.
pub fn judge(scrape: &Scrape, about: &Circumstances<'_>) -> Vec<String> {
    let users = scrape.users();
    let mut judge = Judge { scrape, about, users, complaints: Vec::new() };
    let networks: BTreeSet<String> =
        judge.users.keys().map(|(network, _)| network.clone()).collect();
    let named = scrape.samples("wickr_exporter_poll_progress_ratio");
    let networks: BTreeSet<String> =
        named.map(|(labels, _)| labels["network_id"].clone()).chain(networks).collect();
    for network in &networks {
        judge.network(network);
    }
    judge.bounds();
    judge.complaints
}

/// Everything that is wrong with the list of devices for tools.
pub fn judge_list(list: &Value, about: &Circumstances<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    let devices = list["devices"].as_array().map_or(&[][..], |devices| devices);
    if list["matched"].as_u64() != Some(devices.len() as u64) {
        complaints.push(format!("{} devices, and {} matched", devices.len(), list["matched"]));
    }
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let time = |of: &Value, field: &str| -> Option<Ms> {
        Some(of[field].as_str()?.parse::<Timestamp>().ok()?.as_millisecond())
    };
    let generated_at = time(list, "generated_at").unwrap_or_default();
    for device in devices {
        let who = (text(device, "network_id"), text(device, "user_id"));
        let read_at = time(device, "read_at").unwrap_or_default();
        let told = ToldDevice {
            device_type: text(device, "device_type"),
            status: Some(text(device, "status")),
            suspended: device["suspended"].as_bool().map(f64::from),
            created: time(device, "created"),
            last_login: time(device, "last_login"),
            idle: device["idle_seconds"].as_f64().map(millis),
        };
        let is_it = |true_device: &Arc<TrueDevice>| {
            true_device.app_id.as_deref() == device["app_id"].as_str()
                && is(&told, true_device)
                && told.idle == told.last_login.map(|at| (generated_at - at).max(0))
        };
        let is_true = about.was_there(&who, read_at).iter().any(|all| all.iter().any(is_it));
        let is_young = match device["freshness"].as_str() {
            Some("fresh") => true,
            Some("stale") => about
                .overdue
                .since(&who, read_at)
                .is_none_or(|since| generated_at - since <= about.stale_after + BLINK),
            _ => false,
        };
        if !is_true || !is_young || read_at > generated_at + BLINK {
            complaints.push(format!("listed at {generated_at}: {device}"));
        }
    }
    complaints
}

/// Counters that have fallen or gone since an earlier scrape of the same process. `same` says
/// whether a network was polled all the time, and in the same way.
pub fn fallen(before: &Scrape, now: &Scrape, same: impl Fn(&str) -> bool) -> Vec<String> {
    let counts = |name: &&String| {
        let of_requests = name.starts_with("wickr_exporter_api_request_duration_seconds");
        name.ends_with("_total") || of_requests
    };
    let mut complaints = Vec::new();
    for name in before.families().filter(counts) {
        for (labels, value) in before.samples(name) {
            if labels.get("network_id").is_some_and(|network| !same(network)) {
                continue;
            }
            let told = now.get(name, labels);
            if told.is_none_or(|told| told < value) {
                complaints.push(format!("{name}{labels:?} was {value}, and is {told:?}"));
            }
        }
    }
    complaints
}

impl Judge<'_> {
    fn hold(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        if !holds {
            self.complaints.push(complaint());
        }
    }

    /// What can be said of every number, whatever happens.
    fn bounds(&mut self) {
        let scrape = self.scrape;
        for name in scrape.families() {
            for (labels, value) in scrape.samples(name) {
                let fits = match name.as_str() {
                    "wickr_exporter_poll_progress_ratio" => (0.0..=1.0).contains(&value),
                    "wickr_exporter_api_rate_limit" => value > 0.0 && value <= 1000.0,
                    name if name.ends_with("_info") => value == 1.0,
                    name if name.ends_with("_up") || name.ends_with("_successful") => {
                        value == 0.0 || value == 1.0
                    }
                    // Of the exporter's own doings, none of which is to come.
                    name if name.starts_with("wickr_exporter_")
                        && name.ends_with("_timestamp_seconds")
                        && !name.contains("not_after") =>
                    {
                        millis(value) <= scrape.to + BLINK
                    }
                    _ => value.is_finite() && value >= 0.0,
                };
                self.hold(fits, || format!("{name}{labels:?} is {value}"));
            }
        }
    }

    fn network(&mut self, id: &str) {
        let (scrape, about) = (self.scrape, self.about);
        let ended = scrape.network("wickr_exporter_last_poll_timestamp_seconds", id).map(millis);
        let took = scrape.network("wickr_exporter_poll_duration_seconds", id).map_or(0, millis);
        // A poll of this process has ended.
        let polled = ended.is_some_and(|ended| ended >= about.started);
        let is_named = about.truth.named_networks.contains(id);
        self.hold(is_named, || format!("{id}: no such network"));
        self.hold(ended.is_none_or(|ended| ended <= scrape.to + BLINK), || {
            format!("{id}: the last poll ended in the future")
        });
        let mut tally = Tally::default();
        let (mut fresh, mut stale, mut missing) = (0.0, 0.0, 0.0);
        let users: BTreeMap<_, _> = std::mem::take(&mut self.users);
        let (here, elsewhere) = users.into_iter().partition(|((network, _), _)| network == id);
        self.users = elsewhere;
        for (who, user) in &here {
            let is_up = user.up == Some(1.0);
            match (is_up, user.read_at) {
                (true, _) => fresh += 1.0,
                (false, Some(_)) => stale += 1.0,
                (false, None) => missing += 1.0,
            }
            self.freshness(who, user, took, here.len());
            self.discovered(who, user);
            if let Some(told) = self.data(who, user) {
                tally.add_all(told);
            }
        }
        if let Some(up) = scrape.network("wickr_up", id) {
            self.hold(polled, || format!("{id}: wickr_up before a poll has ended"));
            self.hold(up == 0.0 || stale + missing == 0.0, || {
                format!("{id}: wickr_up, with {stale} stale and {missing} missing")
            });
        } else {
            self.hold(!polled, || format!("{id}: no wickr_up after a poll"));
        }
        let failures: f64 =
            scrape.of_network("wickr_exporter_user_failures", id).map(|(_, count)| count).sum();
        self.hold(failures <= stale + missing, || {
            format!("{id}: {failures} failures, but {stale} stale and {missing} missing")
        });
        // Data is stale without a failure while a poll stalls.
        let is_polling =
            scrape.network("wickr_exporter_poll_progress_ratio", id).is_some_and(|done| done < 1.0);
        self.hold(!polled || is_polling || stale <= failures, || {
            format!("{id}: {failures} failures, and {stale} stale")
        });
        let reasons = scrape.of_network("wickr_exporter_user_failures", id).count();
        self.hold(reasons == 9, || format!("{id}: {reasons} reasons for failures"));
        let told = scrape.by("wickr_network_users", id, "freshness");
        if ended.is_none() {
            // Nothing is said of it before its first poll has ended.
            let said = scrape.families().filter(|family| family.starts_with("wickr_network_"));
            let said: Vec<_> = said.filter(|family| scrape.network(family, id).is_some()).collect();
            self.hold(said.is_empty(), || format!("{id}: never polled, and yet {said:?}"));
            return;
        }
        // A restored network of which no user is young enough has none of them any more.
        let counted = [("fresh", fresh), ("stale", stale), ("missing", missing)];
        let counted = counted.map(|(freshness, count)| (freshness.to_owned(), count));
        self.hold(told == BTreeMap::from(counted.clone()), || {
            format!("{id}: users are {told:?}, but each by itself {counted:?}")
        });
        self.figures(id, &tally);
    }

    /// Whether what discovery told of a user was ever so.
    fn discovered(&mut self, who: &Who, user: &ToldUser) {
        if let Some(limit) = user.limit {
            let known = match self.about.sso {
                Sso::No => false,
                Sso::Fixed(seconds) => limit == seconds * 1000,
                Sso::Groups => {
                    self.about.truth.limits.get(who).is_some_and(|l| l.contains(&(limit / 1000)))
                }
            };
            self.hold(known, || format!("{who:?} never had a limit of {limit} ms"));
        }
        self.hold(user.status.as_deref().is_none_or(|status| status == "active"), || {
            format!("{who:?} is told to be {:?}", user.status)
        });
    }

    /// Whether what is said of a user's freshness is so.
    fn freshness(&mut self, who: &Who, user: &ToldUser, took: Ms, users: usize) {
        let (scrape, about) = (self.scrape, self.about);
        self.hold(about.truth.named.contains(who), || format!("{who:?} never was"));
        self.hold(user.up.is_some() || user.read_at.is_some(), || {
            format!("{who:?} is spoken of, and neither up nor down")
        });
        self.hold(user.up != Some(1.0) || user.read_at.is_some(), || {
            format!("{who:?} is up without having been read")
        });
        let Some(read_at) = user.read_at else {
            let empty = user.devices.is_empty() && user.each.is_empty() && user.idle.is_none();
            return self.hold(empty, || format!("{who:?} was not read, and has data"));
        };
        let age = scrape.from - read_at;
        self.hold(read_at <= scrape.to + BLINK, || format!("{who:?} was read in the future"));
        if user.up == Some(1.0) {
            self.hold(read_at + BLINK >= about.started, || {
                format!("{who:?} counts as fresh, read by an earlier process")
            });
            // Data is refreshed by the next poll, in which each user delays the others by less than
            // `stale_after`.
            let most = took + about.interval + about.stale_after * (users as Ms + 1);
            self.hold(age <= most + BLINK, || format!("{who:?} is fresh at the age of {age} ms"));
        } else if let Some(since) = about.overdue.since(who, read_at) {
            let overdue = scrape.from - since;
            self.hold(overdue <= about.stale_after + BLINK, || {
                format!("{who:?} is served although it is overdue by {overdue} ms")
            });
        }
    }

    /// Whether a user's devices are those that it had when they were read; and what they add up to.
    fn data(&mut self, who: &Who, user: &ToldUser) -> Option<Tally> {
        let (scrape, about) = (self.scrape, self.about);
        let read_at = user.read_at?;
        let from = about.asked_from(who, read_at);
        let was_there = about.was_there(who, read_at);
        self.hold(!was_there.is_empty(), || {
            format!("{who:?} was read at {read_at}, when there was no such user")
        });
        let always = |name: &str| {
            was_there.iter().all(|devices| devices.iter().any(|device| device.name == name))
        };
        let mut tally = Tally::default();
        let moment = (scrape.from - BLINK, scrape.to + BLINK);
        for (app_id, told) in &user.each {
            let matching: Vec<&TrueDevice> = was_there
                .iter()
                .flat_map(|devices| devices.iter())
                .filter(|device| device.app_id.as_deref() == Some(app_id) && is(told, device))
                .map(|device| &**device)
                .collect();
            self.hold(!matching.is_empty(), || {
                let known: Vec<_> = was_there
                    .iter()
                    .flat_map(|devices| devices.iter().filter(|d| d.name == *app_id))
                    .collect();
                format!("{who:?}: {app_id} is told as {told:?}, and was one of {known:?}")
            });
            let idle = told.last_login.map(|at| idle(at, moment));
            self.hold(told.idle.zip(idle).is_none_or(|(told, idle)| within(told, idle)), || {
                format!("{who:?}: {app_id} is told to be idle for {:?} ms: {idle:?}", told.idle)
            });
            self.hold(told.idle.is_some() == told.last_login.is_some(), || {
                format!("{who:?}: {app_id} has one of last login and idle time: {told:?}")
            });
            tally.add_all(Tally::any_of(matching.iter().map(|d| of(d, moment, user.limit))));
        }
        let mut left_out = Vec::new();
        for device in was_there.iter().flat_map(|devices| devices.iter()) {
            let Some(app_id) = &device.app_id else { continue };
            if always(&device.name) && !user.each.contains_key(app_id) {
                left_out.push(app_id);
            }
        }
        self.hold(left_out.is_empty(), || format!("{who:?}: not told of {left_out:?}"));
        // Those without an id are told of in totals only.
        let nameless = was_there.iter().map(|devices| {
            let mut tally = Tally::default();
            for device in devices.iter().filter(|device| device.app_id.is_none()) {
                tally.add_all(of(device, moment, user.limit));
            }
            tally
        });
        let mut nameless = Tally::any_of(nameless);
        if about.pages_go_round.between(from - BLINK, read_at + BLINK).any(|round| *round) {
            nameless.0.values_mut().for_each(|span| span.1 *= 1e3);
        }
        tally.add_all(nameless);
        self.user(who, user, &tally, &was_there);
        Some(tally)
    }

    fn user(
        &mut self,
        who: &Who,
        user: &ToldUser,
        tally: &Tally,
        possible: &[&Vec<Arc<TrueDevice>>],
    ) {
        for (name, told, of) in
            [("devices", &user.devices, "devices"), ("suspended", &user.suspended, "suspended")]
        {
            for (device_type, count) in told {
                let span = tally.get(of, device_type, "");
                self.hold((span.0..=span.1).contains(count), || {
                    format!("{who:?}: {count} {name} of {device_type}: {span:?}")
                });
            }
        }
        self.hold(user.devices.keys().eq(user.suspended.keys()), || {
            format!("{who:?}: {:?}, of which suspended {:?}", user.devices, user.suspended)
        });
        let silent: Vec<_> = tally
            .0
            .iter()
            .filter(|((of, _, _), span)| *of == "devices" && span.0 > 0.0)
            .map(|((_, device_type, _), _)| device_type)
            .filter(|device_type| !user.devices.contains_key(*device_type))
            .collect();
        self.hold(silent.is_empty(), || format!("{who:?}: no devices of {silent:?} told"));
        let newest = |devices: &Vec<Arc<TrueDevice>>| {
            devices.iter().filter_map(|device| device.last_login.at()).max()
        };
        let possible: BTreeSet<Option<Ms>> = possible.iter().map(|d| newest(d)).collect();
        // Pages of two moments can be mixed where there are several.
        self.hold(possible.len() > 1 || possible.contains(&user.last_login), || {
            format!("{who:?}: last login at {:?}, and not {possible:?}", user.last_login)
        });
        let moment = (self.scrape.from - BLINK, self.scrape.to + BLINK);
        let idle = user.last_login.map(|at| idle(at, moment));
        self.hold(
            user.idle.is_some() == idle.is_some()
                && user.idle.zip(idle).is_none_or(|(told, idle)| within(told, idle)),
            || format!("{who:?} is told to be idle for {:?} ms: {idle:?}", user.idle),
        );
    }

    /// Whether a network's figures are what its users' add up to.
    fn figures(&mut self, id: &str, tally: &Tally) {
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
        for ((_, device_type, _), span) in &tally.0 {
            let is_told = device_type.is_empty() || types.contains_key(device_type);
            self.hold(span.0 == 0.0 || is_told, || {
                format!("{id}: there is {device_type}, and nothing is told of it")
            });
        }
        for (family, of) in families {
            let told = scrape.by(family, id, "device_type");
            self.hold(told.keys().eq(types.keys()), || {
                format!("{id}: {family} is of {:?}, not {:?}", told.keys(), types.keys())
            });
            for (device_type, value) in told {
                let (low, high) = tally.get(of, &device_type, "");
                // Sums are of floats.
                self.hold(low - 0.001 <= value && value <= high + 0.001, || {
                    format!("{id}: {family} of {device_type} is {value}: {low} to {high}")
                });
            }
        }
        let buckets = "wickr_network_device_idle_seconds_bucket";
        let count = scrape.of_network(buckets, id).count();
        self.hold(count == types.len() * (BUCKETS.len() + 1), || format!("{id}: {count} buckets"));
        for (labels, value) in scrape.of_network(buckets, id) {
            let (device_type, bound) = (&labels["device_type"], &labels["le"]);
            let (low, high) = match &**bound {
                "+Inf" => tally.get("with idle", device_type, ""),
                bound => tally.get("bucket", device_type, bound),
            };
            self.hold((low..=high).contains(&value), || {
                format!("{id}: {value} {device_type} are idle up to {bound}: {low} to {high}")
            });
        }
        for (field, of) in [("created", "bad created"), ("lastLogin", "bad last login")] {
            let told = scrape.by("wickr_exporter_invalid_timestamps", id, "field");
            let (low, high) = tally.get(of, "", "");
            let told = told.get(field).copied().unwrap_or(-1.0);
            self.hold((low..=high).contains(&told), || {
                format!("{id}: {told} devices with a bad {field}: {low} to {high}")
            });
        }
    }
}

fn within(value: Ms, (low, high): (Ms, Ms)) -> bool {
    (low..=high).contains(&value)
}

/// Whether what is told of a device is so.
fn is(told: &ToldDevice, device: &TrueDevice) -> bool {
    told.device_type == device.device_type
        && told.status.as_ref() == Some(&device.status)
        && told.suspended == device.suspended.map(f64::from)
        && told.created == device.created.at()
        && told.last_login == device.last_login.at()
}
