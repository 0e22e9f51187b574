//! Whether the data of users is marked correctly as fresh, stale or missing.

use std::collections::BTreeMap;

use super::{
    super::{
        expected::{Ms, UserKey},
        scrape::{ExposedUser, Scrape, millis},
    },
    Checker,
};

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

    pub(super) fn since(&self, key: &UserKey, read_at: Ms) -> Option<Ms> {
        self.0.get(key).filter(|known| known.read_at == read_at)?.since
    }
}

impl Checker<'_> {
    /// Checks that a user's data is marked correctly as fresh, stale or missing.
    pub(super) fn check_freshness(
        &mut self,
        key: &UserKey,
        user: &ExposedUser,
        duration: Ms,
        users: usize,
    ) {
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
}
