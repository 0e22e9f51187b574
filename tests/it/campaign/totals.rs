//! Sums over devices, as ranges: the time of a value and the API response it is from are not exact.

use std::collections::{BTreeMap, BTreeSet};

use super::expected::{ExpectedDevice, Ms, Time};

/// `[metrics] idle_buckets`, in seconds.
pub const BUCKETS: [f64; 4] = [3_600.0, 86_400.0, 2_592_000.0, 7_776_000.0];

/// `[sso] expiring_within`, as label values and in milliseconds.
pub const HORIZONS: [(&str, Ms); 2] = [("1d", 86_400_000), ("30d", 2_592_000_000)];

/// Minimum and maximum of each sum, by name, device type and, for buckets, the bound.
#[derive(Default)]
pub struct Totals(pub BTreeMap<(&'static str, String, String), (f64, f64)>);

impl Totals {
    fn add(&mut self, name: &'static str, device_type: &str, bound: String, min: f64, max: f64) {
        let sum = self.0.entry((name, device_type.to_owned(), bound)).or_default();
        *sum = (sum.0 + min, sum.1 + max);
    }

    pub fn add_all(&mut self, other: Totals) {
        for ((name, device_type, bound), (min, max)) in other.0 {
            self.add(name, &device_type, bound, min, max);
        }
    }

    /// The ranges that include every candidate.
    pub fn any_of(candidates: impl IntoIterator<Item = Totals>) -> Totals {
        let candidates: Vec<_> = candidates.into_iter().collect();
        let keys: BTreeSet<_> =
            candidates.iter().flat_map(|totals| totals.0.keys().cloned()).collect();
        let range = |key: &(&'static str, String, String)| {
            let sums =
                candidates.iter().map(|totals| totals.0.get(key).copied().unwrap_or_default());
            sums.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default()
        };
        Totals(keys.into_iter().map(|key| (key.clone(), range(&key))).collect())
    }

    pub fn get(&self, name: &'static str, device_type: &str, bound: &str) -> (f64, f64) {
        let key = (name, device_type.to_owned(), bound.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }
}

/// The range of a device's idle time within a time range.
pub fn idle_range(last_login: Ms, (from, to): (Ms, Ms)) -> (Ms, Ms) {
    ((from - last_login).max(0), (to - last_login).max(0))
}

/// The sums of one device.
pub fn device_totals(device: &ExpectedDevice, period: (Ms, Ms), limit: Option<Ms>) -> Totals {
    let mut totals = Totals::default();
    let mut count = |name, holds: bool| {
        let one = f64::from(holds);
        totals.add(name, &device.device_type, String::new(), one, one);
    };
    count("devices", true);
    count("suspended", device.suspended == Some(true));
    count("reset", device.status == "Reset");
    count("never", device.last_login == Time::Never);
    count("with idle", device.last_login.at().is_some());
    for (name, time) in
        [("invalid created", device.created), ("invalid last login", device.last_login)]
    {
        let one = f64::from(time == Time::Invalid);
        totals.add(name, "", String::new(), one, one);
    }
    if let Some(at) = device.last_login.at() {
        let (min, max) = idle_range(at, period);
        let seconds = |millis: Ms| millis as f64 / 1e3;
        totals.add("idle sum", &device.device_type, String::new(), seconds(min), seconds(max));
        for bound in BUCKETS {
            let in_bucket = |idle: Ms| f64::from(seconds(idle) <= bound);
            let (low, high) = (in_bucket(max), in_bucket(min));
            totals.add("bucket", &device.device_type, bound.to_string(), low, high);
        }
        if let Some(limit) = limit {
            let is_expired = |idle: Ms| f64::from(idle > limit);
            let (low, high) = (is_expired(min), is_expired(max));
            totals.add("expired", &device.device_type, String::new(), low, high);
            let end = at + limit;
            for (within, horizon) in HORIZONS {
                let low = f64::from(end >= period.1 && end <= period.0 + horizon);
                let high = f64::from(end >= period.0 && end <= period.1 + horizon);
                totals.add("expiring", &device.device_type, within.to_owned(), low, high);
            }
        }
    }
    totals
}
