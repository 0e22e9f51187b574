//! Compares the keys and defaults in docs/configuration.md with the code.

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The keys of the page with their defaults; empty if there is none.
fn rows() -> Vec<(&'static str, &'static str)> {
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let key = cells.next()?.trim_end().strip_suffix('`')?;
        Some((key, cells.next()?.trim_matches(['`', ' '])))
    };
    // Rows without a key path belong to other tables.
    PAGE.lines().filter_map(cells).filter(|(key, _)| key.contains('.')).collect()
}

/// The path of every key. A network's own `aws` and `poll` are left out: they repeat the shared keys.
fn keys() -> Vec<String> {
    let repeated = [shape::NETWORK_AWS.path, shape::NETWORK_POLL.path, FILE.path];
    ALL.into_iter()
        .filter(|shape| !repeated.contains(&shape.path))
        .flat_map(|shape| known(shape).map(|key| shape::Joined(shape.path, key).to_string()))
        .collect()
}

#[test]
fn every_key_has_one_row() {
    let mut written: Vec<_> = rows().into_iter().map(|(key, _)| key.to_owned()).collect();
    let mut keys = keys();
    written.sort();
    keys.sort();
    assert_eq!(written, keys);
}

#[test]
fn documented_defaults_match_the_code() {
    let mut defaults = String::new();
    for (key, default) in rows().into_iter().filter(|(_, default)| !default.is_empty()) {
        let (table, key) = key.split_once('.').unwrap();
        defaults += &format!("[{table}]\n{key} = {default}\n");
    }
    // TOML allows each table header only once.
    let mut text = String::new();
    let mut table = "";
    for line in defaults.lines() {
        if line == table {
            continue;
        }
        if line.starts_with('[') {
            table = line;
        }
        text += &format!("{line}\n");
    }
    assert!(text.lines().count() > 20, "{text}");
    assert_eq!(good(&text), good(""));
}
