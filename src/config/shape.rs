//! All tables and keys. A new key is added here first.
//!
//! The checks for unknown keys, the suggestions and the tests of the example and the documentation
//! use the same list.

use crate::diagnostics::{Schema, Shape, schema};

const AWS_KEYS: &[&str] = &[
    "region",
    "profile",
    "role_arn",
    "external_id",
    "role_session_name",
    "fips",
    "dual_stack",
    "endpoint_url",
    "timezone",
];

schema! {
    hides_unknown_keys: false;
    FILE "" &[
        "web", "aws", "poll", "discovery", "metrics", "sso", "collectors", "state", "shard", "log",
        "network",
    ];
    WEB "web" &["listen", "max_concurrent_scrapes"];
    AWS "aws" AWS_KEYS;
    POLL "poll" &[
        "interval", "concurrency", "requests_per_second", "request_timeout", "max_attempts",
        "page_size", "stale_after",
    ];
    DISCOVERY "discovery" &["interval"];
    METRICS "metrics" &["detail", "username", "idle_buckets"];
    SSO "sso" &["max_idle", "expiring_within"];
    COLLECTORS "collectors" &["enable", "interval"];
    STATE "state" &["path"];
    SHARD "shard" &["index", "total"];
    LOG "log" &["changes"];
    NETWORK "network" &["id", "name", "users", "filter", "aws", "poll"];
    NETWORK_FILTER "network.filter" &["status", "groups", "username"];
    NETWORK_AWS "network.aws" AWS_KEYS;
    NETWORK_POLL "network.poll" &[
        "interval", "request_timeout", "max_attempts", "page_size", "stale_after",
    ];
}

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
