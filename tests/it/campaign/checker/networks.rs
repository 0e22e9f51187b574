//! The values of networks, which are the totals of their users.

use std::collections::BTreeMap;

use super::{
    super::{
        organisation::COLLECTED,
        scrape::millis,
        totals::{BUCKETS, HORIZONS, Totals},
    },
    Checker,
};

impl Checker<'_> {
    pub(super) fn check_network(&mut self, id: &str) {
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
