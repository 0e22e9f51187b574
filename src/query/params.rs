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
            let set = params.set(known, &value, seen.contains(known));
            set.map_err(|reason| BadParameter::new(*known, reason))?;
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

    fn set(&mut self, name: &str, value: &str, is_repeated: bool) -> Result<(), String> {
        let Query { filter, sort, order, limit, page } = &mut self.query;
        match name {
            // These can be repeated: a device must match one of the values.
            "network_id" => add_ids(&mut filter.networks, value)?,
            "user_id" => add_ids(&mut filter.users, value)?,
            "device_type" => add(&mut filter.device_types, value.to_owned())?,
            "status" => add(&mut filter.statuses, value.to_owned())?,
            _ if is_repeated => return Err("must not be repeated".into()),
            "suspended" => filter.suspended = Some(boolean(value)?),
            "reset" => filter.reset = Some(boolean(value)?),
            "never_logged_in" => filter.never_logged_in = Some(boolean(value)?),
            "sso_expired" => filter.sso_expired = Some(boolean(value)?),
            "idle_over" => filter.idle_over = Some(duration(value)?),
            "idle_up_to" => filter.idle_up_to = Some(duration(value)?),
            "sso_expires_within" => filter.sso_expires_within = Some(duration(value)?),
            "freshness" => {
                let accepted = [Freshness::Fresh, Freshness::Stale];
                let found = accepted.into_iter().find(|freshness| freshness.as_str() == value);
                filter.freshness = Some(found.ok_or("must be fresh or stale")?);
            }
            "sort" => *sort = value.parse()?,
            "order" => *order = Some(value.parse()?),
            "limit" => *limit = Some(count(value)?),
            "page" => *page = count(value)?,
            _ => self.format = Some(value.parse()?),
        }
        Ok(())
    }
}

/// Adds ids separated by commas or spaces.
fn add_ids<T: FromStr<Err: Display> + PartialEq>(
    values: &mut Vec<T>,
    value: &str,
) -> Result<(), String> {
    let mut ids = value.split([',', ' ']).filter(|id| !id.is_empty()).peekable();
    if ids.peek().is_none() {
        return Err("must contain an id".into());
    }
    for id in ids {
        add(values, id.parse().map_err(|error: T::Err| error.to_string())?)?;
    }
    Ok(())
}

fn add<T: PartialEq>(values: &mut Vec<T>, value: T) -> Result<(), String> {
    if values.len() >= MAX_VALUES {
        return Err(format!("must have at most {MAX_VALUES} values"));
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
        Order::ALL.into_iter().find(|order| order.as_str() == text).ok_or("must be asc or desc")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_invalid_parameters_without_their_values() {
        for (text, message) in [
            ("network_id=1", "network_id: a network id is exactly 8 digits"),
            ("user_id=1,x", "user_id: a user id is 1 to 10 digits"),
            ("suspended=yes", "suspended: must be true or false"),
            ("reset=1", "reset: must be true or false"),
            ("sso_expired=<script>", "sso_expired: must be true or false"),
            ("idle_over=30", "idle_over: must be a duration such as 30d, 12h or 1h 30m"),
            ("idle_up_to=-1d", "idle_up_to: must be a duration such as 30d, 12h or 1h 30m"),
            ("freshness=missing", "freshness: must be fresh or stale"),
            ("order=up", "order: must be asc or desc"),
            ("user_id=%2C", "user_id: must contain an id"),
            ("network_id=+", "network_id: must contain an id"),
            ("limit=1&page=18446744073709551615", "page: is too large"),
            ("limit=99999999999999999999", "limit: is too large"),
            ("limit=0", "limit: must be a positive integer"),
            ("limit=%2B5", "limit: must be a positive integer"),
            ("page=2", "page: requires limit"),
            ("format=xml", "format: must be json or csv"),
            ("idle_over=1d&idle_over=2d", "idle_over: must not be repeated"),
            ("idle_ovr=1d", "idle_ovr: unknown parameter; did you mean idle_over?"),
            ("type=iOS", "type: unknown parameter; did you mean device_type?"),
            ("colour=red", "colour: unknown parameter; valid parameters are network_id, user_id"),
            ("sort=size", "sort: must be one of idle_seconds, network_id"),
        ] {
            let error = Params::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        let many = (0..201).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(Params::parse(&format!("user_id={many}")).is_err());
    }

    #[test]
    fn parses_parameters_from_html_forms() {
        let params = Params::parse(
            "network_id=&device_type=a%26b&device_type=iPad+OS&idle_over=1month&user_id=1%2C+2&status=",
        )
        .unwrap();
        assert!(params.has_empty);
        let filter = params.query.filter.clone();
        assert_eq!(filter.device_types, ["a&b", "iPad OS"]);
        assert_eq!(filter.users.len(), 2);
        assert!(filter.statuses.is_empty() && filter.networks.is_empty());
        assert_eq!(
            params.query.to_params(),
            "user_id=1%2C2&device_type=a%26b&device_type=iPad+OS&idle_over=30d10h33m36s"
        );
    }
}
