//! Finds the rows of a query in one pass over all devices.
//!
//! Holds at most twice as many rows as the page needs, or 64.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{Order, Query, Scope, Sort};
use crate::{
    clock::{Moment, to_millis},
    inventory::{Freshness, NetworkView, Snapshot, UserData, UserFacts, UserRecord, idle_millis},
    wickr::{ApiTimestamp, AppId, Device, InternedStr},
};

/// Statuses are an open set.
const MAX_STATUSES: usize = 100;

/// A device with its user and network.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its network.
    pub network: &'a NetworkView,
    /// Its user.
    pub user: &'a UserRecord,
    /// The user's data, which contains the device.
    pub data: &'a UserData,
    /// The device.
    pub device: &'a Device,
    /// The freshness of the user's data.
    pub freshness: Freshness,
    /// Milliseconds since the last login; `None` if never or unknown.
    pub idle: Option<i64>,
    now: Moment,
    /// Network, user and device index.
    index: (u32, u32, u32),
}

impl<'a> Row<'a> {
    /// Whether it has been idle for longer than its user's SSO limit; `None` if the limit or the last
    /// login is unknown.
    pub fn sso_expired(&self) -> Option<bool> {
        self.network.sso.as_ref()?;
        let facts = self.facts()?;
        match (facts.sso_max_idle, self.idle) {
            (None, _) => Some(false),
            (Some(limit), Some(idle)) => Some(idle as u128 > limit.as_millis()),
            // There is no session that could expire.
            (Some(_), None) if self.device.last_login == ApiTimestamp::NEVER => Some(false),
            (Some(_), None) => None,
        }
    }

    /// Milliseconds until its SSO session ends, below 0 if it has expired. None without a limit or a
    /// last login.
    pub fn sso_ends_in(&self) -> Option<i64> {
        self.network.sso.as_ref()?;
        Some(self.user.sso_end(self.device)?.saturating_sub(self.now.time))
    }

    /// The user's facts from discovery.
    pub(super) fn facts(&self) -> Option<&'a UserFacts> {
        self.user.facts.as_deref()
    }

    fn sort_key(&self, sort: Sort) -> SortKey<'a> {
        let digits = |id: &str| SortKey::number(id.parse().ok());
        match sort {
            Sort::IdleSeconds => SortKey::number(self.idle),
            Sort::NetworkId => digits(self.network.identity.id.as_str()),
            Sort::NetworkName => SortKey::text(Some(&self.network.identity.name)),
            Sort::UserId => digits(self.user.id.as_str()),
            Sort::Username => {
                SortKey::text(self.facts().and_then(|facts| facts.username.as_deref()))
            }
            Sort::AppId => self.device.app_id.as_ref().map_or(SortKey::None, SortKey::AppId),
            Sort::DeviceType => SortKey::text(Some(self.device.device_type())),
            Sort::Status => SortKey::text(Some(self.device.status())),
            Sort::Suspended => SortKey::number(self.device.suspended().map(i64::from)),
            Sort::Created => SortKey::number(self.device.created.millis()),
            Sort::LastLogin => SortKey::number(self.device.last_login.millis()),
            Sort::SsoMaxIdleSeconds => SortKey::number(self.user.sso_max_idle().map(to_millis)),
            Sort::SsoExpired => SortKey::number(self.sso_expired().map(i64::from)),
            Sort::Freshness => SortKey::number(Some(self.freshness as i64)),
            Sort::ReadAt => SortKey::number(Some(self.data.at)),
        }
    }
}

/// For one [`Sort`], the keys are all of one kind, or `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey<'a> {
    Number(i64),
    Text(&'a str),
    AppId(&'a AppId),
    None,
}

impl<'a> SortKey<'a> {
    fn number(number: Option<i64>) -> SortKey<'a> {
        number.map_or(SortKey::None, SortKey::Number)
    }

    fn text(text: Option<&'a str>) -> SortKey<'a> {
        text.filter(|text| !text.is_empty()).map_or(SortKey::None, SortKey::Text)
    }

    /// `None` comes last in either order.
    fn compare(self, other: SortKey<'a>, order: Order) -> Ordering {
        match (self, other, order) {
            (SortKey::None, ..) | (_, SortKey::None, _) | (_, _, Order::Ascending) => {
                self.cmp(&other)
            }
            (_, _, Order::Descending) => other.cmp(&self),
        }
    }
}

/// The result of a query.
#[derive(Debug)]
pub struct QueryResult<'a> {
    /// The number of devices that match the filter.
    pub matched: usize,
    /// The devices on the page, in order.
    pub rows: Vec<Row<'a>>,
    /// The networks and users that the filter matches.
    pub scope: Scope,
    /// The statuses of all devices of these users, matching or not; at most 100.
    pub statuses: Vec<InternedStr>,
}

/// Runs `query` over `snapshot` at `now`.
pub fn find<'a>(snapshot: &'a Snapshot, now: impl Into<Moment>, query: &Query) -> QueryResult<'a> {
    let now = now.into();
    let filter = &query.filter;
    let mut top = TopRows::new(query);
    let mut statuses: BTreeSet<&'a InternedStr> = BTreeSet::new();
    for (n, network) in (0..).zip(&snapshot.networks) {
        if !filter.matches_network(network) {
            continue;
        }
        for (u, (user, data)) in (0..).zip(network.served_users(now)) {
            if !filter.matches_user(user) {
                continue;
            }
            let freshness = network.freshness_of(user, now);
            for (d, device) in (0..).zip(data.devices.iter()) {
                if statuses.len() < MAX_STATUSES && !statuses.contains(device.status()) {
                    statuses.insert(device.status());
                }
                let idle = idle_millis(device, now.time);
                let index = (n, u, d);
                let row = Row { network, user, data, device, freshness, idle, now, index };
                if filter.matches_device(&row) {
                    top.add(row);
                }
            }
        }
    }
    QueryResult {
        matched: top.added,
        rows: top.into_rows(query.skip()),
        scope: Scope::of(snapshot, now, filter),
        statuses: statuses.into_iter().cloned().collect(),
    }
}

/// Keeps the first `max` rows.
struct TopRows<'a> {
    sort: Sort,
    order: Order,
    max: usize,
    added: usize,
    rows: Vec<(SortKey<'a>, Row<'a>)>,
}

impl<'a> TopRows<'a> {
    fn new(query: &Query) -> TopRows<'a> {
        let max = query.limit.map_or(usize::MAX, |limit| query.skip().saturating_add(limit));
        TopRows { sort: query.sort, order: query.order(), max, added: 0, rows: Vec::new() }
    }

    fn add(&mut self, row: Row<'a>) {
        self.added += 1;
        self.rows.push((row.sort_key(self.sort), row));
        if self.rows.len() >= self.max.saturating_mul(2).max(64) {
            self.truncate();
        }
    }

    /// Drops rows past `max` in linear time.
    fn truncate(&mut self) {
        let order = self.order;
        if self.max == 0 {
            self.rows.clear();
        } else if self.rows.len() > self.max {
            self.rows.select_nth_unstable_by(self.max - 1, |a, b| compare(a, b, order));
            self.rows.truncate(self.max);
        }
    }

    fn into_rows(mut self, skip: usize) -> Vec<Row<'a>> {
        self.truncate();
        let order = self.order;
        self.rows.sort_unstable_by(|a, b| compare(a, b, order));
        self.rows.into_iter().skip(skip).map(|(_, row)| row).collect()
    }
}

fn compare<'a>(a: &(SortKey<'a>, Row<'a>), b: &(SortKey<'a>, Row<'a>), order: Order) -> Ordering {
    a.0.compare(b.0, order).then_with(|| a.1.index.cmp(&b.1.index))
}
