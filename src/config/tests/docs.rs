//! docs/configuration.md has every key, and its defaults are those of the code.

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The keys of the page with their defaults; an empty one is none.
fn rows() -> Vec<(&'static str, &'static str)> {
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let key = cells.next()?.trim_end().strip_suffix('`')?;
        Some((key, cells.next()?.trim_matches(['`', ' '])))
    };
    // What is not spelled like a key is another table's.
    PAGE.lines().filter_map(cells).filter(|(key, _)| key.contains('.')).collect()
}

/// Every key that may be used, by its path; a network's own `aws` and `poll` have the keys of the
/// shared ones.
fn keys() -> Vec<String> {
    let told = [shape::NETWORK_AWS.path, shape::NETWORK_POLL.path, FILE.path];
    ALL.into_iter()
        .filter(|shape| !told.contains(&shape.path))
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
fn defaults_are_what_the_page_says() {
    let mut defaults = String::new();
    for (key, default) in rows().into_iter().filter(|(_, default)| !default.is_empty()) {
        let (table, key) = key.split_once('.').unwrap();
        defaults += &format!("[{table}]\n{key} = {default}\n");
    }
    // One table after another, each opened once.
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
