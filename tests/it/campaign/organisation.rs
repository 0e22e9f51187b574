//! What collectors and discovery must read of a network beyond devices, independent of the exporter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use wickr_exporter::simulator::{Network, Operation};

use super::{
    expected::{Expected, Ms, Timeline, now},
    scrape::{Labels, Scrape, millis},
};

/// All families of collectors, which do not depend on polls.
pub const COLLECTED: [&str; 24] = [
    "wickr_network_accounts",
    "wickr_network_accounts_remaining",
    "wickr_network_bots",
    "wickr_bot_info",
    "wickr_bot_suspended",
    "wickr_bot_last_login_timestamp_seconds",
    "wickr_data_retention_enabled",
    "wickr_data_retention_bot_exists",
    "wickr_data_retention_bot_active",
    "wickr_data_retention_bot_registered",
    "wickr_data_retention_key_acknowledged",
    "wickr_network_guest_users",
    "wickr_network_guest_users_blocked",
    "wickr_network_standing",
    "wickr_network_sso_migration_state",
    "wickr_network_trial_expiration_timestamp_seconds",
    "wickr_network_setting",
    "wickr_security_group_members",
    "wickr_security_group_max_session_seconds",
    "wickr_security_group_lockout_threshold",
    "wickr_security_group_setting",
    "wickr_security_group_modified_timestamp_seconds",
    "wickr_network_sso_configured",
    "wickr_network_sso_token_grace_seconds",
];

/// The families of discovered users.
const DISCOVERED: [&str; 3] =
    ["wickr_network_users_suspended", "wickr_network_admins", "wickr_network_invites_expired"];

/// Users that a network of the simulator can have.
const SEATS: usize = 30;

pub type Series = BTreeMap<(String, Labels), f64>;

/// The state beyond devices, and the requests that read it.
#[derive(Default)]
pub struct Organisations {
    /// Guests of the latest period, by network.
    guests: BTreeMap<String, Timeline<u32>>,
    /// The times of the requests for guests, by network.
    requests: BTreeMap<String, BTreeSet<Ms>>,
}

impl Organisations {
    /// Sets the number of guests in the simulator's network.
    pub fn set_guests(network: &mut Network, guests: u32) {
        let history = json!([
            {"month": "2024_02", "count": guests.to_string()}, {"month": "2024_01", "count": "7"},
        ]);
        network.set(Operation::GetGuestUserHistoryCount, "history", Some(history));
    }

    pub fn record_guests(&mut self, network: &str, not_before: Ms, guests: u32) {
        let timeline = self.guests.entry(network.to_owned()).or_default();
        timeline.record(not_before, now(), guests);
    }

    pub fn record_request(&mut self, network: &str, at: Ms) {
        let requests = self.requests.entry(network.to_owned()).or_default();
        requests.insert(at);
        *requests = requests.split_off(&(at - 300_000));
    }

    /// Values that were not true when they were read, or have expired. `interval` is the longest
    /// since the last scrape.
    pub fn violations(&self, scrape: &Scrape, interval: Option<Ms>) -> Vec<String> {
        let mut violations = Vec::new();
        for (labels, value) in scrape.samples("wickr_network_guest_users") {
            let network = &labels["network_id"];
            let last = scrape
                .of_network("wickr_exporter_collector_last_success_timestamp_seconds", network)
                .find(|(labels, _)| labels["collector"] == "guests");
            let Some((_, read_at)) = last else {
                violations.push(format!("{network}: guests without a success"));
                continue;
            };
            let read_at = millis(read_at);
            // A scrape reuses the time of an earlier one for a second.
            if interval.is_none_or(|interval| scrape.from - read_at > 3 * interval + 1_000) {
                violations.push(format!("{network}: guests expired, read at {read_at}"));
            }
            let requests = self.requests.get(network);
            let requested = requests.and_then(|at| at.range(..=read_at).next_back());
            let from = requested.copied().unwrap_or(read_at - 60_000);
            let timeline = self.guests.get(network).into_iter();
            let mut possible = timeline.flat_map(|guests| guests.between(from, read_at));
            if !possible.any(|guests| f64::from(*guests) == value) {
                violations.push(format!("{network}: {value} guests, read at {read_at}"));
            }
        }
        violations
    }

    /// The series of a network without faults.
    pub fn series(
        &self,
        expected: &Expected,
        network: &str,
        groups: &[&str],
        collectors: bool,
        discovers_users: bool,
    ) -> Series {
        let mut series = Series::new();
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            let labels = [("network_id", network)].into_iter().chain(labels.iter().copied());
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            series.insert((name.to_owned(), labels.collect()), value);
        };
        let users = expected.users().filter(|(key, _)| key.0 == network).count();
        let marked = |marks: &BTreeSet<(String, String)>| {
            let users = expected.users().filter(|(key, _)| key.0 == network);
            users.filter(|(key, _)| marks.contains(*key)).count() as f64
        };
        if discovers_users {
            add("wickr_network_users_suspended", &[], marked(&expected.suspended));
            add("wickr_network_admins", &[], marked(&expected.admins));
            add("wickr_network_invites_expired", &[], 0.0);
        }
        if !collectors {
            return series;
        }
        for (status, count) in [("pending", 0), ("active", users), ("rejected", 0)] {
            add("wickr_network_accounts", &[("status", status)], count as f64);
        }
        add("wickr_network_accounts_remaining", &[], SEATS.saturating_sub(users) as f64);
        add("wickr_network_bots", &[("status", "pending")], 0.0);
        add("wickr_network_bots", &[("status", "active")], 0.0);
        add("wickr_data_retention_enabled", &[], 0.0);
        add("wickr_data_retention_bot_exists", &[], 0.0);
        if let Some(guests) = self.guests.get(network).and_then(Timeline::latest) {
            add("wickr_network_guest_users", &[], f64::from(*guests));
        }
        add("wickr_network_guest_users_blocked", &[], 0.0);
        add("wickr_network_standing", &[], 1.0);
        for group in groups {
            let id = ("group_id", *group);
            add("wickr_security_group_members", &[id, ("kind", "user")], 0.0);
            add("wickr_security_group_members", &[id, ("kind", "bot")], 0.0);
            add("wickr_security_group_lockout_threshold", &[id], 10.0);
            add("wickr_security_group_modified_timestamp_seconds", &[id], 1_704_067_200.0);
        }
        series
    }

    /// The differences between the exposed series of a network and those expected.
    pub fn differences(scrape: &Scrape, network: &str, expected: &Series) -> Vec<String> {
        let exposed: Series = COLLECTED
            .iter()
            .chain(&DISCOVERED)
            .flat_map(|name| {
                let samples = scrape.of_network(name, network);
                samples.map(|(labels, value)| (((*name).to_owned(), labels.clone()), value))
            })
            .collect();
        let mut differences = Vec::new();
        for key in exposed.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let (found, wanted) = (exposed.get(key), expected.get(key));
            if found != wanted {
                differences.push(format!("{key:?}: {found:?}, not {wanted:?}"));
            }
        }
        differences
    }
}
