//! All tables and keys, and suggestions for unknown keys. A new key is added here first.
//!
//! The checks for unknown keys, the suggestions and the tests of the example and the documentation
//! use the same list.

use std::fmt;

/// A table and its keys.
#[derive(Debug)]
pub(super) struct Shape {
    /// Such as `network.poll`; empty for the root table.
    pub(super) path: &'static str,
    pub(super) keys: &'static [&'static str],
}

pub(super) static FILE: Shape = Shape {
    path: "",
    keys: &["web", "aws", "poll", "discovery", "metrics", "sso", "state", "shard", "network"],
};

pub(super) static WEB: Shape = Shape { path: "web", keys: &["listen", "max_concurrent_scrapes"] };

const AWS_KEYS: &[&str] = &[
    "region",
    "profile",
    "role_arn",
    "external_id",
    "fips",
    "dual_stack",
    "endpoint_url",
    "timezone",
];

pub(super) static AWS: Shape = Shape { path: "aws", keys: AWS_KEYS };

pub(super) static POLL: Shape = Shape {
    path: "poll",
    keys: &[
        "interval",
        "concurrency",
        "requests_per_second",
        "request_timeout",
        "max_attempts",
        "page_size",
        "stale_after",
    ],
};

pub(super) static DISCOVERY: Shape = Shape { path: "discovery", keys: &["interval"] };

pub(super) static METRICS: Shape =
    Shape { path: "metrics", keys: &["detail", "username", "idle_buckets"] };

pub(super) static SSO: Shape = Shape { path: "sso", keys: &["max_idle"] };

pub(super) static STATE: Shape = Shape { path: "state", keys: &["path"] };

pub(super) static SHARD: Shape = Shape { path: "shard", keys: &["index", "total"] };

pub(super) static NETWORK: Shape =
    Shape { path: "network", keys: &["id", "name", "users", "filter", "aws", "poll"] };

pub(super) static NETWORK_FILTER: Shape =
    Shape { path: "network.filter", keys: &["status", "groups", "username"] };

pub(super) static NETWORK_AWS: Shape = Shape { path: "network.aws", keys: AWS_KEYS };

pub(super) static NETWORK_POLL: Shape = Shape {
    path: "network.poll",
    keys: &["interval", "request_timeout", "max_attempts", "page_size", "stale_after"],
};

/// If several tables have a key, the first is suggested first.
pub(super) static ALL: [&Shape; 13] = [
    &FILE,
    &WEB,
    &AWS,
    &POLL,
    &DISCOVERY,
    &METRICS,
    &SSO,
    &STATE,
    &SHARD,
    &NETWORK,
    &NETWORK_FILTER,
    &NETWORK_AWS,
    &NETWORK_POLL,
];

impl Shape {
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }

    /// The message about `key`, which this table does not have. `path` is the path of the table in
    /// the file, such as `network[2].poll`.
    pub(super) fn unknown(&self, path: &str, key: &str) -> String {
        if self.path == NETWORK_POLL.path && POLL.has(key) {
            return "belongs in [poll]: it applies to all networks".into();
        }
        let here = |name| KeyPath(path, name).to_string();
        let elsewhere = |find: &dyn Fn(&Shape) -> Option<&'static str>| {
            self.others().find_map(|shape| Some(shape.path_from(path, find(shape)?)))
        };
        let suggestion = nearest(key, self.names())
            .map(here)
            .or_else(|| elsewhere(&|shape| shape.names().find(|name| is_same(name, key))))
            .or_else(|| self.names().find(|name| contains_words(name, key)).map(here))
            .or_else(|| elsewhere(&|shape| nearest(key, shape.names())));
        match (suggestion, self.keys) {
            (Some(key), _) => format!("unknown key; did you mean {key}?"),
            (None, [key]) => format!("unknown key; the only valid key is {key}"),
            (None, keys) => format!("unknown key; valid keys are {}", keys.join(", ")),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.iter().copied()
    }

    /// The other tables: those of a network first if this is one of a network, else last.
    fn others(&self) -> impl Iterator<Item = &'static Shape> {
        let others = || ALL.into_iter().filter(|shape| shape.path != self.path);
        let near = others().filter(|shape| shape.is_of_network() == self.is_of_network());
        let far = others().filter(|shape| shape.is_of_network() != self.is_of_network());
        near.chain(far)
    }

    fn is_of_network(&self) -> bool {
        self.path.starts_with("network")
    }

    /// The path of this table's key `name`, in the same network as `path`.
    fn path_from(&self, path: &str, name: &str) -> String {
        match (path.split_once(']'), self.path.strip_prefix("network")) {
            (Some((network, _)), Some(rest)) => format!("{network}]{rest}.{name}"),
            _ => KeyPath(self.path, name).to_string(),
        }
    }
}

/// A table's path and a key, with a dot unless the path is empty.
pub(super) struct KeyPath<'a>(pub(super) &'a str, pub(super) &'a str);

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str(self.1),
            path => write!(f, "{path}.{}", self.1),
        }
    }
}

/// The most similar of `names`, if it is similar enough to be meant.
pub(super) fn nearest<S: AsRef<str>>(typed: &str, names: impl IntoIterator<Item = S>) -> Option<S> {
    // All names are shorter. The time is proportional to the product of both lengths.
    if typed.len() > 64 {
        return None;
    }
    let typed = normalized(typed);
    let max_distance = (typed.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, &normalized(name.as_ref())), name))
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Ignores case, and hyphens for underscores.
fn is_same(name: &str, typed: &str) -> bool {
    normalized(name) == normalized(typed)
}

/// Whether `name` contains the words of `typed`, as `request_timeout` contains `timeout`.
fn contains_words(name: &str, typed: &str) -> bool {
    let typed = normalized(typed);
    !typed.is_empty() && format!("_{name}_").contains(&format!("_{typed}_"))
}

fn normalized(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_key_for_a_misspelled_one() {
        let suggestion = |shape: &Shape, path: &str, key: &str| {
            let message = shape.unknown(path, key);
            message.strip_prefix("unknown key; did you mean ").unwrap_or(&message).to_owned()
        };
        assert_eq!(suggestion(&POLL, "poll", "intervall"), "poll.interval?");
        assert_eq!(suggestion(&POLL, "poll", "requestTimeout"), "poll.request_timeout?");
        assert_eq!(suggestion(&POLL, "poll", "timeout"), "poll.request_timeout?");
        assert_eq!(suggestion(&WEB, "web", "interval"), "poll.interval?");
        assert_eq!(suggestion(&FILE, "", "networks"), "network?");
        assert_eq!(suggestion(&FILE, "", "users"), "network.users?");
        assert_eq!(suggestion(&FILE, "", "regoin"), "aws.region?");
        assert_eq!(suggestion(&NETWORK, "network[2]", "interval"), "network[2].poll.interval?");
        assert_eq!(
            suggestion(&NETWORK_AWS, "network[2].aws", "page-size"),
            "network[2].poll.page_size?"
        );
        assert_eq!(suggestion(&NETWORK, "network[2]", "concurrency"), "poll.concurrency?");
        assert_eq!(
            suggestion(&WEB, "web", "colour"),
            "unknown key; valid keys are listen, max_concurrent_scrapes"
        );
        assert_eq!(
            suggestion(&WEB, "web", &"x".repeat(100_000)),
            "unknown key; valid keys are listen, max_concurrent_scrapes"
        );
    }
}
