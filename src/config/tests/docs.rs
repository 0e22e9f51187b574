//! Compares the keys and defaults in docs/configuration.md with the code.

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The documented keys with their defaults, empty if none.
fn rows() -> Vec<(&'static str, &'static str)> {
    let columns = |line: &'static str| {
        let mut columns = line.strip_prefix("| `")?.split('|');
        let key = columns.next()?.trim_end().strip_suffix('`')?;
        Some((key, columns.next()?.trim_matches(['`', ' '])))
    };
    // Rows without a key path belong to other tables.
    PAGE.lines().filter_map(columns).filter(|(key, _)| key.contains('.')).collect()
}

#[test]
fn documents_each_key_once() {
    let mut documented: Vec<_> = rows().into_iter().map(|(key, _)| key.to_owned()).collect();
    let mut keys = key_paths();
    documented.sort();
    keys.sort();
    assert_eq!(documented, keys);
}

#[test]
fn documents_the_defaults() {
    // A required key of an optional table.
    let sso = "[sso]\nmax_idle = \"30d\"\n";
    let (mut text, mut current) = (String::new(), "");
    for (key, default) in rows().into_iter().filter(|(_, default)| !default.is_empty()) {
        let (table, key) = key.split_once('.').unwrap();
        // TOML allows each table header only once.
        if table != current {
            text += &if table == "sso" { sso.to_owned() } else { format!("[{table}]\n") };
            current = table;
        }
        text += &format!("{key} = {default}\n");
    }
    assert!(text.lines().count() > 20, "{text}");
    assert_eq!(parse_with_network(&text), parse_with_network(sso));
}
