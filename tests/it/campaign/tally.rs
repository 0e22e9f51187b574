//! What devices add up to, where it is not known to the moment or of which reading they are.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::{Ms, Time, TrueDevice};

/// As configured, in seconds.
pub const BUCKETS: [f64; 4] = [3_600.0, 86_400.0, 2_592_000.0, 7_776_000.0];

/// Figures that must lie between two, by what they are of and the type of device.
#[derive(Default)]
pub struct Tally(pub BTreeMap<(&'static str, String, String), (f64, f64)>);

impl Tally {
    fn add(&mut self, of: &'static str, device_type: &str, more: String, low: f64, high: f64) {
        let sum = self.0.entry((of, device_type.to_owned(), more)).or_default();
        *sum = (sum.0 + low, sum.1 + high);
    }

    pub fn add_all(&mut self, other: Tally) {
        for ((of, device_type, more), (low, high)) in other.0 {
            self.add(of, &device_type, more, low, high);
        }
    }

    /// The least and the most of several, of which one is true.
    pub fn any_of(several: impl IntoIterator<Item = Tally>) -> Tally {
        let several: Vec<_> = several.into_iter().collect();
        let keys: BTreeSet<_> = several.iter().flat_map(|tally| tally.0.keys().cloned()).collect();
        let span = |key: &(&'static str, String, String)| {
            let of = several.iter().map(|tally| tally.0.get(key).copied().unwrap_or_default());
            of.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default()
        };
        Tally(keys.into_iter().map(|key| (key.clone(), span(&key))).collect())
    }

    pub fn get(&self, of: &'static str, device_type: &str, more: &str) -> (f64, f64) {
        let key = (of, device_type.to_owned(), more.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }
}

/// What a device's idle time may be at some moment between two.
pub fn idle(last_login: Ms, (from, to): (Ms, Ms)) -> (Ms, Ms) {
    ((from - last_login).max(0), (to - last_login).max(0))
}

/// What one device adds to the figures.
pub fn of(device: &TrueDevice, moment: (Ms, Ms), limit: Option<Ms>) -> Tally {
    let mut tally = Tally::default();
    let mut count = |what, holds: bool| {
        let one = f64::from(holds);
        tally.add(what, &device.device_type, String::new(), one, one);
    };
    count("devices", true);
    count("suspended", device.suspended == Some(true));
    count("reset", device.status == "Reset");
    count("never", device.last_login == Time::Never);
    count("with idle", device.last_login.at().is_some());
    for (what, time) in [("bad created", device.created), ("bad last login", device.last_login)] {
        let one = f64::from(time == Time::Unreadable);
        tally.add(what, "", String::new(), one, one);
    }
    if let Some(at) = device.last_login.at() {
        let (least, most) = idle(at, moment);
        let seconds = |millis: Ms| millis as f64 / 1e3;
        tally.add("idle sum", &device.device_type, String::new(), seconds(least), seconds(most));
        for bound in BUCKETS {
            let up_to = |idle: Ms| f64::from(seconds(idle) <= bound);
            tally.add("bucket", &device.device_type, bound.to_string(), up_to(most), up_to(least));
        }
        if let Some(limit) = limit {
            let over = |idle: Ms| f64::from(idle > limit);
            tally.add("expired", &device.device_type, String::new(), over(least), over(most));
        }
    }
    tally
}
