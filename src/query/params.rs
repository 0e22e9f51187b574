//! Parses a query from URL parameters and writes it back.
//!
//! An unknown parameter, an invalid value or a repeated parameter is an error: a filter that is not
//! understood must not match everything. An empty value means absent, because HTML forms send empty
//! fields.

use std::{fmt::Display, num::IntErrorKind, str::FromStr, time::Duration};

use super::{Filter, ListFormat, Order, Query, Sort};
use crate::{inventory::Freshness, text::format_duration};

/// Each value is compared with each device.
const MAX_VALUES: usize = 200;

/// The maximum of `limit` and `page`. Their product fits in 64 bits.
const MAX_COUNT: usize = 1_000_000_000;

const NAMES: [&str; 17] = [
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
    "sso_expires_within",
    "freshness",
    "sort",
    "order",
    "limit",
    "page",
    "format",
];

/// An invalid parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct BadParameter {
    /// The name; shortened if unknown.
    pub name: String,
    /// What is wrong. It does not contain the value.
    pub reason: String,
}

impl BadParameter {
    /// Creates an error about the parameter `name`.
    pub fn new(name: impl Into<String>, reason: impl Display) -> BadParameter {
        BadParameter { name: name.into(), reason: reason.to_string() }
    }
}

/// The parameters of a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// The query.
    pub query: Query,
    /// The output format.
    pub format: Option<ListFormat>,
    /// Whether a parameter is empty, so that the URL could be shorter.
    pub has_empty: bool,
}

impl Params {
    /// Parses the query string of a URL.
    ///
    /// # Errors
    ///
    /// The first invalid parameter.
    pub fn parse(text: &str) -> Result<Params, BadParameter> {
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
                "requires limit, the number of devices per page",
            ));
        }
        Ok(params)
    }

    fn set(&mut self, name: &str, value: &str, is_repeated: bool) -> Result<(), BadParameter> {
        let Query { filter, sort, order, limit, page } = &mut self.query;
        let bad = |reason: &dyn Display| BadParameter::new(name, reason);
        // These can be repeated: a device must match one of the values.
        match name {
            "network_id" => return add_ids(&mut filter.networks, name, value),
            "user_id" => return add_ids(&mut filter.users, name, value),
            "device_type" => return add(&mut filter.device_types, name, value.to_owned()),
            "status" => return add(&mut filter.statuses, name, value.to_owned()),
            _ if is_repeated => return Err(bad(&"must not be repeated")),
            _ => {}
        }
        match name {
            "suspended" => filter.suspended = Some(boolean(value).map_err(|e| bad(&e))?),
            "reset" => filter.reset = Some(boolean(value).map_err(|e| bad(&e))?),
            "never_logged_in" => {
                filter.never_logged_in = Some(boolean(value).map_err(|e| bad(&e))?);
            }
            "sso_expired" => filter.sso_expired = Some(boolean(value).map_err(|e| bad(&e))?),
            "idle_over" => filter.idle_over = Some(duration(value).map_err(|e| bad(&e))?),
            "idle_up_to" => filter.idle_up_to = Some(duration(value).map_err(|e| bad(&e))?),
            "sso_expires_within" => {
                filter.sso_expires_within = Some(duration(value).map_err(|e| bad(&e))?);
            }
            "freshness" => {
                let accepted = [Freshness::Fresh, Freshness::Stale];
                let found = accepted.into_iter().find(|freshness| freshness.as_str() == value);
                filter.freshness = Some(found.ok_or_else(|| bad(&"must be fresh or stale"))?);
            }
            "sort" => *sort = value.parse().map_err(|e| bad(&e))?,
            "order" => *order = Some(value.parse().map_err(|e| bad(&e))?),
            "limit" => *limit = Some(count(value).map_err(|e| bad(&e))?),
            "page" => *page = count(value).map_err(|e| bad(&e))?,
            _ => self.format = Some(value.parse().map_err(|e| bad(&e))?),
        }
        Ok(())
    }
}

/// Adds ids separated by commas or spaces.
fn add_ids<T: FromStr<Err: Display> + PartialEq>(
    values: &mut Vec<T>,
    name: &str,
    value: &str,
) -> Result<(), BadParameter> {
    let mut ids = value.split([',', ' ']).filter(|id| !id.is_empty()).peekable();
    if ids.peek().is_none() {
        return Err(BadParameter::new(name, "must contain an id"));
    }
    for id in ids {
        let id = id.parse().map_err(|error| BadParameter::new(name, error))?;
        add(values, name, id)?;
    }
    Ok(())
}

fn add<T: PartialEq>(values: &mut Vec<T>, name: &str, value: T) -> Result<(), BadParameter> {
    if values.len() >= MAX_VALUES {
        return Err(BadParameter::new(name, format!("must have at most {MAX_VALUES} values")));
    }
    if !values.contains(&value) {
        values.push(value);
    }
    Ok(())
}

fn unknown(name: &str) -> BadParameter {
    let containing = NAMES.iter().find(|known| name.len() > 2 && known.contains(name));
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, name);
    let nearest = || NAMES.iter().min_by_key(distance).filter(|known| distance(known) <= 2);
    let reason = match containing.or_else(nearest) {
        Some(name) => format!("unknown parameter; did you mean {name}?"),
        None => format!("unknown parameter; valid parameters are {}", NAMES.join(", ")),
    };
    BadParameter::new(name.chars().filter(|c| !c.is_control()).take(40).collect::<String>(), reason)
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    value.parse().map_err(|_| "must be true or false")
}

fn count(value: &str) -> Result<usize, &'static str> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<usize>() {
        Ok(count) if digits && count > MAX_COUNT => Err("is too large"),
        Ok(count) if digits && count > 0 => Ok(count),
        Err(error) if digits && *error.kind() == IntErrorKind::PosOverflow => Err("is too large"),
        _ => Err("must be a positive integer"),
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
    /// The query string of a URL, without defaults. Equal queries have equal strings.
    pub fn to_params(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        let Query { sort, order, limit, page, .. } = self;
        self.filter.write(&mut out);
        if *sort != Sort::default() {
            out.append_pair("sort", sort.as_str());
        }
        if let Some(order) = order.filter(|order| *order != sort.default_order()) {
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
        for (name, value) in [
            ("suspended", self.suspended),
            ("reset", self.reset),
            ("never_logged_in", self.never_logged_in),
            ("sso_expired", self.sso_expired),
        ] {
            if let Some(value) = value {
                out.append_pair(name, if value { "true" } else { "false" });
            }
        }
        for (name, value) in [
            ("idle_over", self.idle_over),
            ("idle_up_to", self.idle_up_to),
            ("sso_expires_within", self.sso_expires_within),
        ] {
            if let Some(value) = value {
                out.append_pair(name, &format_duration(value));
            }
        }
        if let Some(freshness) = self.freshness {
            out.append_pair("freshness", freshness.as_str());
        }
    }
}
