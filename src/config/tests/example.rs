//! The shipped example is valid, shows the defaults and has all keys.

use super::*;
use crate::diagnostics::{Value, toml};

const EXAMPLE: &str = include_str!("../../../config.example.toml");

#[test]
fn loads_the_example_with_the_defaults() {
    let config = parse(EXAMPLE, "config.example.toml").unwrap_or_else(|error| panic!("{error}"));
    let [network] = &config.networks[..] else { panic!() };
    assert_eq!(listed(network), ["1001", "1002"]);
    assert_eq!(config.web, Web::default());
    assert_eq!(config.metrics, MetricsConfig::default());
    assert_eq!((config.sso, &config.state), (None, &None));
    assert_eq!(network.poll, Poll::default());
}

/// The example with its commented-out TOML enabled.
pub(super) fn uncommented() -> String {
    let is_toml = |line: &str| {
        let is_first = |c: char| c.is_alphabetic() || c == '[';
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(is_first))
    };
    let lines = EXAMPLE.lines().map(|line| if is_toml(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn loads_the_uncommented_example_with_the_defaults() {
    let config = parse(&uncommented(), "f").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.web, Web::default());
    assert_eq!(config.poll, RequestLimits::default());
    assert_eq!(config.discovery, DiscoveryConfig::default());
    assert_eq!(config.metrics, MetricsConfig::default());
    assert_eq!(config.sso, Some(SsoMaxIdle::SecurityGroups));
    assert_eq!(config.sso_expiring_within, [secs(86_400), secs(7 * 86_400)]);
    assert!(config.state.is_some());
    assert_eq!(config.shard, ShardConfig::default());
    let [one, all] = &config.networks[..] else { panic!() };
    let poll = Poll { interval: secs(3600), stale_after: secs(3 * 3600), ..Poll::default() };
    assert_eq!(one.poll, poll);
    assert!(one.aws.external_id.is_some());
    assert_eq!(all.id, NetworkSelector::All);
    let UsersConfig::All(filter) = &all.users else { panic!() };
    assert!(filter.username.as_ref().unwrap().is_match("ann@example.com"));
}

#[test]
fn example_has_every_key() {
    let text = uncommented();
    let tree = toml::parse(&text).0.value;
    for path in key_paths() {
        assert!(has(&tree, &path), "{path}");
    }
}

/// Whether `path` exists, in any element of a list of tables.
fn has(value: &Value, path: &str) -> bool {
    match value {
        Value::List(tables) => tables.iter().any(|table| has(&table.value, path)),
        Value::Table(table) => {
            let (key, rest) = path.split_once('.').unwrap_or((path, ""));
            table.get(key).is_some_and(|(_, node)| rest.is_empty() || has(&node.value, rest))
        }
        _ => false,
    }
}
