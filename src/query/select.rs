//! From everything that is known to the rows that are wanted.
//!
//! Every device is looked at once. No more rows are held than are wanted, twice over: what can no
//! longer be among the first is dropped as it goes.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{Order, Query, Scope, Sort};
use crate::{
    clock::Millis,
    inventory::{Freshness, NetworkView, Snapshot, UserData, UserFacts, UserRecord, idle_millis},
    wickr::{ApiTimestamp, Device, InternedStr},
};

/// Statuses are an open set: beyond so many there is no choosing from them.
const MOST_STATUSES: usize = 100;

/// A device that is wanted, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its network.
    pub network: &'a NetworkView,
    /// Its user.
    pub user: &'a UserRecord,
    /// The user's devices as they were read.
    pub reading: &'a UserData,
    /// The device.
    pub device: &'a Device,
    /// How far the user's data can be trusted.
    pub freshness: Freshness,
    /// For how many milliseconds nobody has logged in on it; none if nobody ever did, or if it is
    /// not known.
    pub idle: Option<i64>,
    /// Its place among all that are known.
    place: (u32, u32, u32),
}

impl<'a> Row<'a> {
    /// Whether it has been idle for longer than its user's SSO sessions may be; none where the
    /// limits or the last login are not known.
    pub fn sso_expired(&self) -> Option<bool> {
        self.network.sso.as_ref()?;
        // Of a user that discovery told nothing of, the limit is not known.
        let facts = self.facts()?;
        match (facts.sso_max_idle, self.idle) {
            (None, _) => Some(false),
            (Some(limit), Some(idle)) => Some(idle as u128 > limit.as_millis()),
            // No session, so none that could have ended.
            (Some(_), None) if self.device.last_login == ApiTimestamp::NEVER => Some(false),
            (Some(_), None) => None,
        }
    }

    /// What discovery told of its user.
    pub(super) fn facts(&self) -> Option<&'a UserFacts> {
        self.user.facts.as_deref()
    }

    fn key(&self, sort: Sort) -> Key<'a> {
        let digits = |id: &str| Key::number(id.parse().ok());
        match sort {
            Sort::IdleSeconds => Key::number(self.idle),
            Sort::NetworkId => digits(self.network.identity.id.as_str()),
            Sort::NetworkName => Key::text(Some(&self.network.identity.name)),
            Sort::UserId => digits(self.user.id.as_str()),
            Sort::Username => Key::text(self.facts().and_then(|facts| facts.username.as_deref())),
            Sort::AppId => Key::text(self.device.app_id.as_deref()),
            Sort::DeviceType => Key::text(Some(&self.device.device_type)),
            Sort::Status => Key::text(Some(&self.device.status)),
            Sort::Suspended => Key::number(self.device.suspended.map(i64::from)),
            Sort::Created => Key::number(self.device.created.millis()),
            Sort::LastLogin => Key::number(self.device.last_login.millis()),
            Sort::SsoMaxIdleSeconds => Key::number(
                self.user.sso_max_idle().and_then(|limit| i64::try_from(limit.as_millis()).ok()),
            ),
            Sort::SsoExpired => Key::number(self.sso_expired().map(i64::from)),
            Sort::Freshness => Key::number(Some(self.freshness as i64)),
            Sort::ReadAt => Key::number(Some(self.reading.at)),
        }
    }
}

/// What a row is ordered by. No two of one sort are of different kinds, but for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Number(i64),
    Text(&'a str),
    None,
}

impl<'a> Key<'a> {
    fn number(number: Option<i64>) -> Key<'a> {
        number.map_or(Key::None, Key::Number)
    }

    fn text(text: Option<&'a str>) -> Key<'a> {
        text.filter(|text| !text.is_empty()).map_or(Key::None, Key::Text)
    }

    /// What has no value comes last, whatever the order.
    fn compare(self, other: Key<'a>, order: Order) -> Ordering {
        match (self, other, order) {
            (Key::None, ..) | (_, Key::None, _) | (_, _, Order::Ascending) => self.cmp(&other),
            (_, _, Order::Descending) => other.cmp(&self),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// How many devices pass the filter.
    pub matched: usize,
    /// Those of them that are wanted, in order.
    pub rows: Vec<Row<'a>>,
    /// What they were looked for among.
    pub scope: Scope,
    /// The statuses that the networks' devices have, whether they pass or not; a hundred at most.
    pub statuses: Vec<InternedStr>,
}

/// Finds what `query` asks for, as it is known at `now`.
pub fn find<'a>(snapshot: &'a Snapshot, now: Millis, query: &Query) -> Found<'a> {
    let filter = &query.filter;
    let mut first = First::new(query);
    let mut statuses: BTreeSet<&'a InternedStr> = BTreeSet::new();
    for (n, network) in (0..).zip(&snapshot.networks) {
        if !filter.network(network) {
            continue;
        }
        for (u, (user, reading)) in (0..).zip(network.served_users(now)) {
            if !filter.user(user) {
                continue;
            }
            let freshness = network.freshness_of(user, now);
            for (d, device) in (0..).zip(reading.devices.iter()) {
                if statuses.len() < MOST_STATUSES && !statuses.contains(&device.status) {
                    statuses.insert(&device.status);
                }
                let idle = idle_millis(device, now);
                let place = (n, u, d);
                let row = Row { network, user, reading, device, freshness, idle, place };
                if filter.device(&row) {
                    first.add(row);
                }
            }
        }
    }
    Found {
        matched: first.seen,
        rows: first.into_rows(query.skip()),
        scope: Scope::of(snapshot, now, filter),
        statuses: statuses.into_iter().cloned().collect(),
    }
}

/// The first so many of all rows that are added.
struct First<'a> {
    sort: Sort,
    order: Order,
    most: usize,
    seen: usize,
    rows: Vec<(Key<'a>, Row<'a>)>,
}

impl<'a> First<'a> {
    fn new(query: &Query) -> First<'a> {
        let most = query.limit.map_or(usize::MAX, |limit| query.skip().saturating_add(limit));
        First { sort: query.sort, order: query.order(), most, seen: 0, rows: Vec::new() }
    }

    fn add(&mut self, row: Row<'a>) {
        self.seen += 1;
        self.rows.push((row.key(self.sort), row));
        if self.rows.len() >= self.most.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    /// Drops what cannot be wanted any more, in linear time.
    fn cut(&mut self) {
        let order = self.order;
        if self.most == 0 {
            self.rows.clear();
        } else if self.rows.len() > self.most {
            self.rows.select_nth_unstable_by(self.most - 1, |a, b| compare(a, b, order));
            self.rows.truncate(self.most);
        }
    }

    fn into_rows(mut self, skip: usize) -> Vec<Row<'a>> {
        self.cut();
        let order = self.order;
        self.rows.sort_unstable_by(|a, b| compare(a, b, order));
        self.rows.into_iter().skip(skip).map(|(_, row)| row).collect()
    }
}

fn compare<'a>(a: &(Key<'a>, Row<'a>), b: &(Key<'a>, Row<'a>), order: Order) -> Ordering {
    a.0.compare(b.0, order).then_with(|| a.1.place.cmp(&b.1.place))
}
