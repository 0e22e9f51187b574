//! Files: the configuration, the web configuration and the state.

use std::{collections::HashMap, io::Write, path::Path, time::Duration};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use wickr_exporter::{
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

/// Where a message may point in a text: at each character of a line, and right behind the last.
struct Lines<'t>(Vec<&'t str>);

impl Lines<'_> {
    fn hold(&self, line: usize, column: usize) -> bool {
        let length = line.checked_sub(1).and_then(|line| self.0.get(line));
        length.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
    }
}

/// The configuration: what is wrong lies within the file and is told in order, and a comment above
/// all moves it by a line and changes nothing else.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = config::parse(text, "config.toml");
    assert_eq!(parsed, config::parse(text, "config.toml"), "the same each time");
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let below = config::parse(&format!("# Above all.\n{body}"), "config.toml");
    let error = match parsed {
        Ok(config) => {
            assert_eq!(Ok(&config), below.as_ref());
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
        assert!(lines.hold(problem.line, problem.column), "{problem}");
        let shown = problem.to_string();
        assert!(!shown.chars().any(|c| c.is_control()), "{shown:?}");
        assert!(shown.len() < 2_000, "{shown}");
    }
    for secret in secrets(body) {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    // After a syntax error, what is said of the rest is said with reserve.
    let is_whole = problems.iter().all(|problem| !problem.key.is_empty());
    let Err(below) = below else { panic!("refused, and below a comment taken") };
    if is_whole && error.omitted() == 0 {
        let mut moved: Vec<_> = below.problems().iter().map(ToString::to_string).collect();
        for problem in problems {
            let mut lower = problem.clone();
            lower.line += 1;
            let (lower, same) = (lower.to_string(), problem.to_string());
            // What is missing is missing in the whole file.
            let at = moved.iter().position(|told| *told == lower || *told == same);
            moved.swap_remove(at.unwrap_or_else(|| panic!("{same}: not in {moved:?}")));
        }
        assert!(moved.is_empty(), "{moved:?}");
    }
}

/// Values that no message may repeat, where they stand once and could not be mistaken.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split_once("external_id = \"")?.1.split_once('"'))
        .filter(|(value, rest)| rest.trim().is_empty() && value.len() >= 10)
        .map(|(value, _)| value)
        .filter(|value| value.bytes().all(|b| b.is_ascii_alphanumeric()))
        .filter(|value| text.matches(value).count() == 1)
}

/// The web configuration: what is wrong lies within the file, and no hash of a password is repeated.
pub fn web_config(data: &[u8]) {
    let told = problems_of(data, Path::new("web.yml"));
    let Ok(text) = std::str::from_utf8(data) else {
        assert_eq!(told, "web.yml: not valid YAML: not encoded in UTF-8");
        return;
    };
    assert!(told.lines().count() <= 100);
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unified = body.replace("\r\n", "\n").replace('\r', "\n");
    let lines = Lines(unified.split('\n').collect());
    for line in told.lines() {
        let (line_number, column, message) = placed(line);
        assert!(lines.hold(line_number, column), "{line}");
        assert!(!message.chars().any(char::is_control) && line.len() < 2_000, "{line:?}");
    }
    for token in text.split(|c: char| c.is_whitespace() || "\"':,[]{}".contains(c)) {
        assert!(!token.starts_with("$2") || token.len() < 20 || !told.contains(token), "{told}");
    }
    // YAML reads a line break of its own as the end of a comment, whatever comes after.
    let below = problems_of(format!("# Above all.\n{body}").as_bytes(), Path::new("web.yml"));
    let moved: Vec<_> = told
        .lines()
        .map(|line| {
            let (line, column, message) = placed(line);
            format!("web.yml:{}:{column}: {message}", line + 1)
        })
        .collect();
    assert_eq!(moved.join("\n"), below);
}

/// The parts of `web.yml:1:2: …`.
fn placed(line: &str) -> (usize, usize, &str) {
    let mut parts = line.strip_prefix("web.yml:").unwrap().splitn(3, ':');
    let mut next = || parts.next().unwrap();
    (next().parse().unwrap(), next().parse().unwrap(), next().strip_prefix(' ').unwrap())
}

/// The state file: what is taken can be shown, and is the same once it was written and read again.
/// The first byte tells what the others are: a whole file, or its content, packed or to be packed.
pub fn state(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let file = match kind % 4 {
        0 => data.to_vec(),
        1 => file_of(data),
        _ => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(data).unwrap();
            file_of(&packed.finish().unwrap())
        }
    };
    let labels = Interner::default();
    let Ok(restored) = state::decode(&file, &labels) else { return };
    let (snapshot, written) = written_again(&restored);
    let again = state::decode(&written, &labels).unwrap();
    let mut restored: Vec<_> = restored.into_iter().map(in_order).collect();
    let mut again: Vec<_> = again.into_iter().map(in_order).collect();
    restored.sort_by(|a, b| a.0.cmp(&b.0));
    again.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(restored, again);
    // And now it is as it is written, byte for byte.
    assert_eq!(written, written_again(&again.into_iter().collect()).1);
    let now = 1_767_225_600_000;
    for format in [Format::Text, Format::OpenMetrics] {
        let exposition = Exposition {
            snapshot: &snapshot,
            now,
            idle_buckets: &[Duration::from_secs(3600)],
            usernames: true,
            own: &[],
            groups: &Group::ALL,
        };
        exposition.text(format).unwrap();
    }
    find(&snapshot, now, &Query { page: 1, ..Query::default() });
}

fn file_of(packed: &[u8]) -> Vec<u8> {
    [&b"wickr-exporter state 1\n"[..], &Sha256::digest(packed), packed].concat()
}

fn written_again(restored: &HashMap<NetworkId, RestoredNetwork>) -> (Snapshot, Vec<u8>) {
    let (keeper, reader) = inventory::open();
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
            keeper.add(identity, Some(network.clone()))
        })
        .collect();
    let snapshot = reader.snapshot();
    drop(publishers);
    let written = state::encode(&snapshot).unwrap();
    (snapshot, written)
}

/// A network with its users by id, of each the last that is told, as it is kept.
fn in_order((id, mut network): (NetworkId, RestoredNetwork)) -> (NetworkId, RestoredNetwork) {
    network.users.reverse();
    network.users.sort_by(|a, b| a.id.cmp(&b.id));
    network.users.dedup_by(|a, b| a.id == b.id);
    network.types.sort();
    network.types.dedup();
    (id, network)
}
