//! All tables and keys. A new key is added here first.
//!
//! The checks for unknown keys, the suggestions and the tests of the example and the documentation
//! use the same list.

use crate::diagnostics::{Schema, Shape};

pub(super) static FILE: Shape = Shape {
    path: "",
    keys: &[
        "web",
        "aws",
        "poll",
        "discovery",
        "metrics",
        "sso",
        "collectors",
        "state",
        "shard",
        "log",
        "network",
    ],
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

pub(super) static SSO: Shape = Shape { path: "sso", keys: &["max_idle", "expiring_within"] };

pub(super) static COLLECTORS: Shape = Shape { path: "collectors", keys: &["enable", "interval"] };

pub(super) static STATE: Shape = Shape { path: "state", keys: &["path"] };

pub(super) static SHARD: Shape = Shape { path: "shard", keys: &["index", "total"] };

pub(super) static LOG: Shape = Shape { path: "log", keys: &["changes"] };

pub(super) static NETWORK: Shape =
    Shape { path: "network", keys: &["id", "name", "users", "filter", "aws", "poll"] };

pub(super) static NETWORK_FILTER: Shape =
    Shape { path: "network.filter", keys: &["status", "groups", "username"] };

pub(super) static NETWORK_AWS: Shape = Shape { path: "network.aws", keys: AWS_KEYS };

pub(super) static NETWORK_POLL: Shape = Shape {
    path: "network.poll",
    keys: &["interval", "request_timeout", "max_attempts", "page_size", "stale_after"],
};

pub(super) static SCHEMA: Schema = Schema {
    root: &FILE,
    hides_unknown_keys: false,
    tables: &[
        &FILE,
        &WEB,
        &AWS,
        &POLL,
        &DISCOVERY,
        &METRICS,
        &SSO,
        &COLLECTORS,
        &STATE,
        &SHARD,
        &LOG,
        &NETWORK,
        &NETWORK_FILTER,
        &NETWORK_AWS,
        &NETWORK_POLL,
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_key_for_a_misspelled_one() {
        let suggestion = |shape: &Shape, path: &str, key: &str| {
            let message = shape.unknown(&SCHEMA, path, key);
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
