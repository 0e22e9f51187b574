//! The shipped example: it loads, shows the defaults, and leaves no key out.

use super::*;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

#[test]
fn the_shipped_example_loads_and_shows_the_defaults() {
    let config = parse(EXAMPLE, "config.example.toml").unwrap_or_else(|error| panic!("{error}"));
    let [network] = &config.networks[..] else { panic!() };
    assert_eq!(listed(network), ["1001", "1002"]);
    assert_eq!(config.web, Web::default());
    assert_eq!(config.metrics, Metrics::default());
    assert_eq!((config.sso, &config.state), (None, &None));
    assert_eq!(network.poll, Poll::default());
}

/// The example with all comments that are TOML taken in.
pub(super) fn uncommented() -> String {
    let is_toml = |line: &str| {
        let is_first = |c: char| c.is_alphabetic() || c == '[';
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(is_first))
    };
    let lines = EXAMPLE.lines().map(|line| if is_toml(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_example_comments_out_is_good_too_and_default_where_there_is_one() {
    let text = uncommented();
    let config = parse(&text, "f").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.web, Web::default());
    assert_eq!(config.poll, Shared::default());
    assert_eq!(config.discovery, Discovery::default());
    assert_eq!(config.metrics, Metrics::default());
    assert_eq!(config.sso, Some(SsoMaxIdle::SecurityGroups));
    assert!(config.state.is_some());
    assert_eq!(config.shard, Shard::default());
    let [written_out, all] = &config.networks[..] else { panic!() };
    let defaults = Poll { interval: secs(3600), stale_after: secs(3 * 3600), ..Poll::default() };
    assert_eq!(written_out.poll, defaults);
    assert!(written_out.aws.external_id.is_some());
    assert_eq!(all.id, NetworkChoice::All);
    let UserChoice::All(filter) = &all.users else { panic!() };
    assert!(filter.username.as_ref().unwrap().is_match("ann@example.com"));
}

#[test]
fn the_example_has_every_key() {
    let text = uncommented();
    let (tree, _) = syntax::parse(&text);
    // A network's own aws and poll have the keys of the shared ones.
    let told = [shape::NETWORK_AWS.path, shape::NETWORK_POLL.path];
    for shape in ALL.into_iter().filter(|shape| !told.contains(&shape.path)) {
        for key in known(shape) {
            let path = shape::Joined(shape.path, key).to_string();
            assert!(has(&toml::de::DeValue::Table(tree.clone()), &path), "{path}");
        }
    }
}

/// Whether there is something at `path`, in any of the tables where there are several.
fn has(value: &toml::de::DeValue<'_>, path: &str) -> bool {
    match value {
        toml::de::DeValue::Array(tables) => tables.iter().any(|table| has(table.get_ref(), path)),
        toml::de::DeValue::Table(table) => {
            let (key, rest) = path.split_once('.').unwrap_or((path, ""));
            let at_key = table.get(key).map(|value| value.get_ref());
            at_key.is_some_and(|value| rest.is_empty() || has(value, rest))
        }
        _ => false,
    }
}
