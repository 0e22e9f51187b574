//! Compares a scrape with the expected state. Each value must be correct, marked as not fresh, or
//! absent, and no expected series may be missing. `freshness` checks the marks, `devices` the values of
//! users and devices, `networks` those of networks, and `list` responses of the API.

mod devices;
mod freshness;
mod list;
mod networks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::{freshness::Overdue, list::check_device_list};
use super::{
    expected::{Expected, ExpectedDevice, Ms, Timeline, UserKey},
    scrape::{ExposedDevice, ExposedUser, Scrape, millis},
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
