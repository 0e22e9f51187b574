//! A query as parameters, as they stand in an address: read, and written back.
//!
//! Strict, for a filter that is not understood must not let everything pass: a name that does not
//! exist, a value that is none, or one thing said twice is an error that names the parameter.
//! A parameter without a value is as good as absent, as forms send what nobody filled in.

use std::{fmt::Display, num::IntErrorKind, str::FromStr, time::Duration};

use super::{Filter, Format, Order, Query, Sort};
use crate::inventory::Freshness;

/// How many values a filter may list: each of them is held against each device.
const MOST_VALUES: usize = 200;

/// The greatest limit and page: more devices than that nobody has, and their product is a number.
const MOST_COUNT: usize = 1_000_000_000;

/// What a query can be made of.
const NAMES: [&str; 16] = [
    "network_id",
    "user_id",
    "device_type",
    "status",
    "suspended",
    "reset",
    "idle_over",
    "idle_up_to",
    "never_logged_in",
    "sso_expired",
    "freshness",
    "sort",
    "order",
    "limit",
    "page",
    "format",
];

/// A parameter that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct BadParameter {
    /// Which; of a name that does not exist, no more than its beginning.
    pub name: String,
    /// What is wrong with it. It does not repeat the value, which may be anything.
    pub why: String,
}

impl BadParameter {
    /// An error of this parameter.
    pub fn new(name: impl Into<String>, why: impl Display) -> BadParameter {
        BadParameter { name: name.into(), why: why.to_string() }
    }
}

/// What an address says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// Which devices.
    pub query: Query,
    /// In which format.
    pub format: Option<Format>,
    /// Whether a parameter had no value, so that the address could be shorter.
    pub has_empty: bool,
}

impl Params {
    /// Reads the part of an address behind its question mark.
    ///
    /// # Errors
    ///
    /// The first parameter that cannot be understood.
    pub fn read(text: &str) -> Result<Params, BadParameter> {
        let mut params =
            Params { query: Query { page: 1, ..Query::default() }, ..Params::default() };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let Some(known) = NAMES.iter().find(|known| **known == name) else {
                return Err(unknown(&name));
            };
            if value.is_empty() {
                params.has_empty = true;
                continue;
            }
            params.set(known, &value, seen.contains(known))?;
            seen.push(known);
        }
        if params.query.page > 1 && params.query.limit.is_none() {
            return Err(BadParameter::new(
                "page",
                "needs a limit, the number of devices on a page",
            ));
        }
        Ok(params)
    }

    fn set(&mut self, name: &str, value: &str, again: bool) -> Result<(), BadParameter> {
        let Query { filter, sort, order, limit, page } = &mut self.query;
        let bad = |why: &dyn Display| BadParameter::new(name, why);
        // These may be said several times: one of the values is enough.
        match name {
            "network_id" => return ids(&mut filter.networks, name, value),
            "user_id" => return ids(&mut filter.users, name, value),
            "device_type" => return put(&mut filter.device_types, name, value.to_owned()),
            "status" => return put(&mut filter.statuses, name, value.to_owned()),
            _ if again => return Err(bad(&"may be given only once")),
            _ => {}
        }
        match name {
            "suspended" => filter.suspended = Some(yes_or_no(value).map_err(|e| bad(&e))?),
            "reset" => filter.reset = Some(yes_or_no(value).map_err(|e| bad(&e))?),
            "never_logged_in" => {
                filter.never_logged_in = Some(yes_or_no(value).map_err(|e| bad(&e))?);
            }
            "sso_expired" => filter.sso_expired = Some(yes_or_no(value).map_err(|e| bad(&e))?),
            "idle_over" => filter.idle_over = Some(duration(value).map_err(|e| bad(&e))?),
            "idle_up_to" => filter.idle_up_to = Some(duration(value).map_err(|e| bad(&e))?),
            "freshness" => {
                let served = [Freshness::Fresh, Freshness::Stale];
                let found = served.into_iter().find(|freshness| freshness.as_str() == value);
                filter.freshness = Some(found.ok_or_else(|| bad(&"must be fresh or stale"))?);
            }
            "sort" => *sort = value.parse().map_err(|why| bad(&why))?,
            "order" => *order = Some(value.parse().map_err(|why| bad(&why))?),
            "limit" => *limit = Some(count(value).map_err(|why| bad(&why))?),
            "page" => *page = count(value).map_err(|why| bad(&why))?,
            _ => self.format = Some(value.parse().map_err(|why| bad(&why))?),
        }
        Ok(())
    }
}

/// One of the ids, or several with commas between them.
fn ids<T: FromStr<Err: Display> + PartialEq>(
    known: &mut Vec<T>,
    name: &str,
    value: &str,
) -> Result<(), BadParameter> {
    let mut written = value.split([',', ' ']).filter(|id| !id.is_empty()).peekable();
    if written.peek().is_none() {
        return Err(BadParameter::new(name, "has no id in it"));
    }
    for id in written {
        let id = id.parse().map_err(|why| BadParameter::new(name, why))?;
        put(known, name, id)?;
    }
    Ok(())
}

fn put<T: PartialEq>(known: &mut Vec<T>, name: &str, value: T) -> Result<(), BadParameter> {
    if known.len() >= MOST_VALUES {
        let why = format!("has too many values; {MOST_VALUES} are the most");
        return Err(BadParameter::new(name, why));
    }
    if !known.contains(&value) {
        known.push(value);
    }
    Ok(())
}

fn unknown(name: &str) -> BadParameter {
    let within = NAMES.iter().find(|known| name.len() > 2 && known.contains(name));
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, name);
    let near = || NAMES.iter().min_by_key(distance).filter(|known| distance(known) <= 2);
    let why = match within.or_else(near) {
        Some(near) => format!("there is no such parameter; did you mean {near}?"),
        None => format!("there is no such parameter; there are {}", NAMES.join(", ")),
    };
    BadParameter::new(name.chars().filter(|c| !c.is_control()).take(40).collect::<String>(), why)
}

fn yes_or_no(value: &str) -> Result<bool, &'static str> {
    value.parse().map_err(|_| "must be true or false")
}

fn count(value: &str) -> Result<usize, &'static str> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<usize>() {
        Ok(count) if digits && count > MOST_COUNT => Err("is too large"),
        Ok(count) if digits && count > 0 => Ok(count),
        Err(error) if digits && *error.kind() == IntErrorKind::PosOverflow => Err("is too large"),
        _ => Err("must be a whole number above 0"),
    }
}

fn duration(value: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(value).map_err(|_| "must be a duration such as 30d, 12h or 1h 30m")
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Sort, String> {
        Sort::ALL.iter().copied().find(|sort| sort.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Sort::ALL.iter().map(|sort| sort.as_str()).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

impl FromStr for Order {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Order, &'static str> {
        let all = [Order::Ascending, Order::Descending];
        all.into_iter().find(|order| order.as_str() == text).ok_or("must be asc or desc")
    }
}

impl Query {
    /// The query as the part of an address behind its question mark: the same for the same query,
    /// and nothing in it that goes without saying.
    pub fn to_params(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        let Query { sort, order, limit, page, .. } = self;
        self.filter.write(&mut out);
        if *sort != Sort::default() {
            out.append_pair("sort", sort.as_str());
        }
        if let Some(order) = order.filter(|order| *order != sort.natural_order()) {
            out.append_pair("order", order.as_str());
        }
        if let Some(limit) = limit {
            out.append_pair("limit", &limit.to_string());
        }
        if *page > 1 {
            out.append_pair("page", &page.to_string());
        }
        out.finish()
    }
}

impl Filter {
    fn write(&self, out: &mut form_urlencoded::Serializer<'_, String>) {
        let joined = |ids: Vec<&str>| ids.join(",");
        let networks = joined(self.networks.iter().map(|id| id.as_str()).collect());
        let users = joined(self.users.iter().map(|id| id.as_str()).collect());
        for (name, ids) in [("network_id", networks), ("user_id", users)] {
            if !ids.is_empty() {
                out.append_pair(name, &ids);
            }
        }
        for (name, values) in [("device_type", &self.device_types), ("status", &self.statuses)] {
            for value in values {
                out.append_pair(name, value);
            }
        }
        let answers = [("suspended", self.suspended), ("reset", self.reset)];
        let more = [("never_logged_in", self.never_logged_in), ("sso_expired", self.sso_expired)];
        for (name, answer) in answers.into_iter().chain(more) {
            if let Some(answer) = answer {
                out.append_pair(name, if answer { "true" } else { "false" });
            }
        }
        for (name, time) in [("idle_over", self.idle_over), ("idle_up_to", self.idle_up_to)] {
            if let Some(time) = time {
                out.append_pair(name, &short(time));
            }
        }
        if let Some(freshness) = self.freshness {
            out.append_pair("freshness", freshness.as_str());
        }
    }
}

/// A duration as people write it: in days, hours and below, for a month is no fixed time.
pub(crate) fn short(time: Duration) -> String {
    let millis = time.as_millis();
    let mut text = String::new();
    let mut rest = millis;
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}
