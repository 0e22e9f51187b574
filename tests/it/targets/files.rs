//! Files: the configuration, the web configuration and the state.

use std::{collections::HashMap, io::Write, path::Path, time::Duration};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use wickr_exporter::{
    clock::Moment,
    config,
    exposition::{Exposition, Format, Group},
    inventory::{
        self, NetworkIdentity, Snapshot,
        state::{self, RestoredNetwork},
    },
    query::{Query, find},
    web::problems_of,
    wickr::{Interner, NetworkId},
};

/// The lines of a text.
struct Lines<'t>(Vec<&'t str>);

impl Lines<'_> {
    /// Whether the position of a message is in a line or directly after it.
    fn contain(&self, line: usize, column: usize) -> bool {
        let length = line.checked_sub(1).and_then(|line| self.0.get(line));
        length.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
    }
}

/// The configuration: positions of problems are in the file and sorted, and a comment before the
/// first line only increases line numbers by 1.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = config::parse(text, "config.toml");
    assert_eq!(parsed, config::parse(text, "config.toml"), "not deterministic");
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let commented = config::parse(&format!("# Comment.\n{body}"), "config.toml");
    let error = match parsed {
        Ok(config) => {
            assert_eq!(Ok(&config), commented.as_ref());
            assert!(!config.networks.is_empty() && config.poll.concurrency > 0);
            assert!(config.poll.requests_per_second >= 0.001);
            assert!(config.metrics.idle_buckets.is_sorted_by(|a, b| a < b));
            return;
        }
        Err(error) => error,
    };
    let problems = error.problems();
    assert!((1..=100).contains(&problems.len()));
    assert!(error.omitted() == 0 || problems.len() == 100);
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    let lines = Lines(body.split('\n').collect());
    for problem in problems {
        assert!(lines.contain(problem.line, problem.column), "{problem}");
        let shown = problem.to_string();
        assert!(!shown.chars().any(|c| c.is_control()), "{shown:?}");
        assert!(shown.len() < 2_000, "{shown}");
    }
    for secret in secrets(body) {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    // After a syntax error, the problems of the remaining text can differ.
    let is_valid_toml = problems.iter().all(|problem| !problem.key.is_empty());
    let Err(commented) = commented else { panic!("accepted after a comment only") };
    if is_valid_toml && error.omitted() == 0 {
        let mut found: Vec<_> = commented.problems().iter().map(ToString::to_string).collect();
        for problem in problems {
            let mut moved = problem.clone();
            moved.line += 1;
            let (moved, same) = (moved.to_string(), problem.to_string());
            // The position of a missing key is the start of the file.
            let at = found.iter().position(|text| *text == moved || *text == same);
            found.swap_remove(at.unwrap_or_else(|| panic!("{same}: not in {found:?}")));
        }
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Values of secret keys, if long and unique enough to be found in messages.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split_once("external_id = \"")?.1.split_once('"'))
        .filter(|(value, rest)| rest.trim().is_empty() && value.len() >= 10)
        .map(|(value, _)| value)
        .filter(|value| value.bytes().all(|b| b.is_ascii_alphanumeric()))
        .filter(|value| text.matches(value).count() == 1)
}

/// The web configuration: positions are in the file, and messages contain no password hash.
pub fn web_config(data: &[u8]) {
    let problems = problems_of(data, Path::new("web.yml"));
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(problems.ends_with(": not valid YAML: not encoded in UTF-8"), "{problems}");
        return;
    };
    assert!(problems.lines().count() <= 100);
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unified = body.replace("\r\n", "\n").replace('\r', "\n");
    let lines = Lines(unified.split('\n').collect());
    for line in problems.lines() {
        let (line_number, column, message) = split_position(line);
        assert!(lines.contain(line_number, column), "{line}");
        assert!(!message.chars().any(char::is_control) && line.len() < 2_000, "{line:?}");
    }
    for token in text.split(|c: char| c.is_whitespace() || "\"':,[]{}".contains(c)) {
        assert!(
            !token.starts_with("$2") || token.len() < 20 || !problems.contains(token),
            "{problems}"
        );
    }
    let commented = problems_of(format!("# Comment.\n{body}").as_bytes(), Path::new("web.yml"));
    let moved: Vec<_> = problems
        .lines()
        .map(|line| {
            let (line, column, message) = split_position(line);
            format!("web.yml:{}:{column}: {message}", line + 1)
        })
        .collect();
    assert_eq!(moved.join("\n"), commented);
}

/// The parts of `web.yml:1:2: …`.
fn split_position(line: &str) -> (usize, usize, &str) {
    let mut parts = line.strip_prefix("web.yml:").unwrap().splitn(3, ':');
    let mut next = || parts.next().unwrap();
    (next().parse().unwrap(), next().parse().unwrap(), next().strip_prefix(' ').unwrap())
}

/// The state file: accepted data can be exposed, and encoding and decoding it again does not change
/// it. The first byte selects the form of the others: a file, its compressed or uncompressed content.
pub fn state(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let file = match kind % 4 {
        0 => data.to_vec(),
        1 => file_of(data),
        _ => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(data).unwrap();
            file_of(&encoder.finish().unwrap())
        }
    };
    let labels = Interner::default();
    let Ok(restored) = state::decode(&file, &labels) else { return };
    let (snapshot, encoded) = encode(&restored);
    let decoded = state::decode(&encoded, &labels).unwrap();
    let mut restored: Vec<_> = restored.into_iter().map(normalized).collect();
    let mut decoded: Vec<_> = decoded.into_iter().map(normalized).collect();
    restored.sort_by(|a, b| a.0.cmp(&b.0));
    decoded.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(restored, decoded);
    assert_eq!(encoded, encode(&decoded.into_iter().collect()).1);
    let now = Moment::unstepped(1_767_225_600_000);
    for format in [Format::Text, Format::OpenMetrics] {
        let exposition = Exposition {
            snapshot: &snapshot,
            now,
            idle_buckets: &[Duration::from_secs(3600)],
            sso_horizons: &[Duration::from_secs(86_400)],
            usernames: true,
            exporter_metrics: &[],
            groups: &Group::ALL,
        };
        exposition.text(format).unwrap();
    }
    find(&snapshot, now, &Query { page: 1, ..Query::default() });
}

fn file_of(compressed: &[u8]) -> Vec<u8> {
    [&b"wickr-exporter state 1\n"[..], &Sha256::digest(compressed), compressed].concat()
}

fn encode(restored: &HashMap<NetworkId, RestoredNetwork>) -> (Snapshot, Vec<u8>) {
    let (registrar, reader) = inventory::open();
    let publishers: Vec<_> = restored
        .iter()
        .map(|(id, network)| {
            let identity = NetworkIdentity {
                id: id.clone(),
                name: network.name.clone(),
                region: "us-east-1".into(),
                account: network.account.clone(),
                interval: Duration::from_secs(300),
                stale_after: Duration::from_secs(900),
            };
            registrar.add(identity, Some(network.clone()))
        })
        .collect();
    let snapshot = reader.snapshot();
    drop(publishers);
    let encoded = state::encode(&snapshot).unwrap();
    (snapshot, encoded)
}

/// Sorted by id and without duplicates. Of duplicate users, the last one counts.
fn normalized((id, mut network): (NetworkId, RestoredNetwork)) -> (NetworkId, RestoredNetwork) {
    network.users.reverse();
    network.users.sort_by(|a, b| a.id.cmp(&b.id));
    network.users.dedup_by(|a, b| a.id == b.id);
    network.types.sort();
    network.types.dedup();
    (id, network)
}
