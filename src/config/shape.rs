//! Which keys there are, and what a misspelled one was probably meant to be.
//!
//! One list of tables serves all: the refusal of unknown keys, the suggestions, and the test that
//! the shipped example shows every key. A new key begins here.

use std::fmt;

/// A table and its keys.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its path, such as `network.poll`; empty for the whole file.
    pub(super) path: &'static str,
    pub(super) keys: &'static [Key],
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Known,
    /// Refused, for this reason.
    Refused(&'static str),
}

const fn known(name: &'static str) -> Key {
    Key { name, standing: Standing::Known }
}

const fn shared(name: &'static str) -> Key {
    let reason = "belongs to [poll]: it holds for the whole process, not for one network";
    Key { name, standing: Standing::Refused(reason) }
}

pub(super) static FILE: Shape = Shape {
    path: "",
    keys: &[
        known("web"),
        known("aws"),
        known("poll"),
        known("discovery"),
        known("metrics"),
        known("sso"),
        known("state"),
        known("shard"),
        known("network"),
    ],
};

pub(super) static WEB: Shape =
    Shape { path: "web", keys: &[known("listen"), known("max_concurrent_scrapes")] };

const AWS_KEYS: &[Key] = &[
    known("region"),
    known("profile"),
    known("role_arn"),
    known("external_id"),
    known("fips"),
    known("dual_stack"),
    known("endpoint_url"),
    known("timezone"),
];

pub(super) static AWS: Shape = Shape { path: "aws", keys: AWS_KEYS };

pub(super) static POLL: Shape = Shape {
    path: "poll",
    keys: &[
        known("interval"),
        known("concurrency"),
        known("requests_per_second"),
        known("request_timeout"),
        known("max_attempts"),
        known("page_size"),
        known("stale_after"),
    ],
};

pub(super) static DISCOVERY: Shape = Shape { path: "discovery", keys: &[known("interval")] };

pub(super) static METRICS: Shape =
    Shape { path: "metrics", keys: &[known("detail"), known("username"), known("idle_buckets")] };

pub(super) static SSO: Shape = Shape { path: "sso", keys: &[known("max_idle")] };

pub(super) static STATE: Shape = Shape { path: "state", keys: &[known("path")] };

pub(super) static SHARD: Shape = Shape { path: "shard", keys: &[known("index"), known("total")] };

pub(super) static NETWORK: Shape = Shape {
    path: "network",
    keys: &[
        known("id"),
        known("name"),
        known("users"),
        known("filter"),
        known("aws"),
        known("poll"),
    ],
};

pub(super) static NETWORK_FILTER: Shape =
    Shape { path: "network.filter", keys: &[known("status"), known("groups"), known("username")] };

pub(super) static NETWORK_AWS: Shape = Shape { path: "network.aws", keys: AWS_KEYS };

pub(super) static NETWORK_POLL: Shape = Shape {
    path: "network.poll",
    keys: &[
        known("interval"),
        known("request_timeout"),
        known("max_attempts"),
        known("page_size"),
        known("stale_after"),
        shared("concurrency"),
        shared("requests_per_second"),
    ],
};

/// Every table; where a key is in several, the first is suggested first.
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
    pub(super) fn standing(&self, name: &str) -> Option<Standing> {
        self.keys.iter().find(|key| key.name == name).map(|key| key.standing)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        let may_be_used = |key: &&Key| !matches!(key.standing, Standing::Refused(_));
        self.keys.iter().filter(may_be_used).map(|key| key.name)
    }

    /// The complaint about `key`, which this table, called `path`, does not have.
    pub(super) fn unknown(&self, path: &str, key: &str) -> String {
        if let Some(name) = nearest(key, self.names()) {
            return format!("unknown key; did you mean {}?", Joined(path, name));
        }
        if let Some((shape, name)) = self.elsewhere(|shape| shape.names().find(|n| is(n, key))) {
            return format!("unknown key; did you mean {}?", shape.key_seen_from(path, name));
        }
        if let Some(name) = self.names().find(|name| has_words(name, key)) {
            return format!("unknown key; did you mean {}?", Joined(path, name));
        }
        if let Some((shape, name)) = self.elsewhere(|shape| nearest(key, shape.names())) {
            return format!("unknown key; did you mean {}?", shape.key_seen_from(path, name));
        }
        match self.names().collect::<Vec<_>>()[..] {
            [name] => format!("unknown key; the only one here is {name}"),
            ref names => format!("unknown key; known here are {}", names.join(", ")),
        }
    }

    /// What `find` finds in another table: a network's own tables before the shared ones if this is
    /// a network's, and the other way round.
    fn elsewhere(
        &self,
        find: impl Fn(&Shape) -> Option<&'static str>,
    ) -> Option<(&'static Shape, &'static str)> {
        let others = || ALL.into_iter().filter(|shape| shape.path != self.path);
        let near = others().filter(|shape| shape.is_of_network() == self.is_of_network());
        let far = others().filter(|shape| shape.is_of_network() != self.is_of_network());
        near.chain(far).find_map(|shape| Some((shape, find(shape)?)))
    }

    fn is_of_network(&self) -> bool {
        self.path.starts_with("network")
    }

    /// The path of this table's key `name`, of the same network if `path` is in one.
    fn key_seen_from(&self, path: &str, name: &str) -> String {
        match (path.split_once(']'), self.path.strip_prefix("network")) {
            (Some((network, _)), Some(rest)) => format!("{network}]{rest}.{name}"),
            _ => Joined(self.path, name).to_string(),
        }
    }
}

/// A table's path and a key, with a dot between if there is a path.
pub(super) struct Joined<'a>(pub(super) &'a str, pub(super) &'a str);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str(self.1),
            path => write!(f, "{path}.{}", self.1),
        }
    }
}

/// The one of `names` that `typed` most resembles, if it is as good as the same.
pub(super) fn nearest<S: AsRef<str>>(typed: &str, names: impl IntoIterator<Item = S>) -> Option<S> {
    // No name is longer than that, and a distance takes time by the product of both lengths.
    if typed.len() > 64 {
        return None;
    }
    let typed = folded(typed);
    let tolerated = (typed.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, &folded(name.as_ref())), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The same name, but for case and dashes.
fn is(name: &str, typed: &str) -> bool {
    folded(name) == folded(typed)
}

/// Whether `typed` are some of the name's words: `timeout` of `request_timeout`.
fn has_words(name: &str, typed: &str) -> bool {
    let typed = folded(typed);
    !typed.is_empty() && format!("_{name}_").contains(&format!("_{typed}_"))
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_finds_its_place() {
        let meant = |shape: &Shape, path: &str, key: &str| {
            let message = shape.unknown(path, key);
            message.strip_prefix("unknown key; did you mean ").unwrap_or(&message).to_owned()
        };
        assert_eq!(meant(&POLL, "poll", "intervall"), "poll.interval?");
        assert_eq!(meant(&POLL, "poll", "requestTimeout"), "poll.request_timeout?");
        assert_eq!(meant(&POLL, "poll", "timeout"), "poll.request_timeout?");
        assert_eq!(meant(&WEB, "web", "interval"), "poll.interval?");
        assert_eq!(meant(&FILE, "", "networks"), "network?");
        assert_eq!(meant(&FILE, "", "users"), "network.users?");
        assert_eq!(meant(&FILE, "", "regoin"), "aws.region?");
        assert_eq!(meant(&NETWORK, "network[2]", "interval"), "network[2].poll.interval?");
        assert_eq!(
            meant(&NETWORK_AWS, "network[2].aws", "page-size"),
            "network[2].poll.page_size?"
        );
        assert_eq!(meant(&NETWORK, "network[2]", "concurrency"), "poll.concurrency?");
        assert_eq!(
            meant(&WEB, "web", "colour"),
            "unknown key; known here are listen, max_concurrent_scrapes"
        );
        assert_eq!(
            meant(&WEB, "web", &"x".repeat(100_000)),
            "unknown key; known here are listen, max_concurrent_scrapes"
        );
    }
}
