//! Tests of complete files: exact messages, defaults and overrides.

mod all;
mod docs;
mod example;

use std::{collections::HashSet, time::Duration};

use super::{
    shape::{FILE, SCHEMA},
    *,
};
use crate::{diagnostics::KeyPath, wickr::ConfiguredSettings};

const NETWORK: &str = "[[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";

fn parse_with_network(text: &str) -> Config {
    parse(&format!("{text}\n{NETWORK}"), "f").unwrap_or_else(|error| panic!("{error}"))
}

fn listed(network: &NetworkConfig) -> Vec<&str> {
    match &network.users {
        UsersConfig::Listed(users) => users.iter().map(|user| user.as_str()).collect(),
        UsersConfig::All(filter) => panic!("all users that match {filter:?}"),
    }
}

/// All keys except the overrides in a network's `aws` and `poll`.
fn key_paths() -> Vec<String> {
    let excluded = [shape::NETWORK_AWS.path, shape::NETWORK_POLL.path, FILE.path];
    SCHEMA
        .tables
        .iter()
        .filter(|shape| !excluded.contains(&shape.path))
        .flat_map(|shape| shape.keys.iter().map(|key| KeyPath(shape.path, key).to_string()))
        .collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Invalid files and their messages, without the name of the file. If a file does not mention a
/// network, the test appends a valid one.
const INVALID: [&str; 4] = [
    include_str!("tests/invalid/tables.txt"),
    include_str!("tests/invalid/networks.txt"),
    include_str!("tests/invalid/all.txt"),
    include_str!("tests/invalid/syntax.txt"),
];

#[test]
fn reports_the_exact_problems_of_invalid_files() {
    for case in INVALID.into_iter().flat_map(|file| file.trim_end().split("\n\n")) {
        let (text, expected) = case.split_once("\n=> ").unwrap();
        let network = if text.contains("network") { "" } else { NETWORK };
        let error = parse(&format!("{text}\n{network}"), "f").unwrap_err().to_string();
        let messages: Vec<_> = error.lines().map(|line| line.strip_prefix("f:").unwrap()).collect();
        assert_eq!(messages, expected.split("\n=> ").collect::<Vec<_>>(), "\n{text}");
    }
}

#[test]
fn problems_have_position_key_and_message() {
    let error = parse("[web]\nlisten = 1", "dir/config.toml").unwrap_err();
    let problem = &error.problems()[1];
    assert_eq!((&*problem.file, problem.line, problem.column), ("dir/config.toml", 2, 10));
    assert_eq!(problem.key, "web.listen");
    assert_eq!(problem.message, "must be a list, such as [\":10471\"], not an integer");
}

#[test]
fn hides_secrets() {
    let text = r#"
[aws]
external_id = "hunter2 hunter2"
endpoint_url = "https://joe:hunter2@example.com"
secret_access_key = "hunter2"
[[network]]
id = "12345678"
users = ["1"]
aws.external_id = ["hunter2"]
aws.endpoint_url = "hunter2"
aws.role_arn = "arn:aws:iam::111122223333:role/r"
[[network]]
aws.external_id = hunter2
"#;
    let error = parse(text, "f").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let config = parse_with_network(
        "[aws]\nexternal_id = \"hunter2\"\nrole_arn = \"arn:aws:iam::111122223333:role/r\"",
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn applies_defaults() {
    let config = parse_with_network("");
    assert_eq!((config.web, config.poll), (Web::default(), RequestLimits::default()));
    assert_eq!(
        (config.metrics, config.discovery),
        (MetricsConfig::default(), DiscoveryConfig::default())
    );
    assert_eq!((config.sso, config.state, config.shard), (None, None, ShardConfig::default()));
    let [network] = &config.networks[..] else { panic!() };
    assert_eq!((network.id.to_string().as_str(), &network.name), ("12345678", &None));
    assert_eq!(network.aws.configured(), ConfiguredSettings::default());
    assert_eq!((network.aws.timezone_name(), &network.poll), ("UTC", &Poll::default()));
}

#[test]
fn accepts_alternative_spellings_of_values() {
    let config = parse(
        r#"
[web]
listen = ["127.0.0.1:0", "[::1]:9"]
[aws]
timezone = "europe/zurich"
[poll]
requests_per_second = 3
interval = "1h 30m"
[metrics]
detail = "user"
username = true
[[network]]
id = 12345678
users = [1002, "9", 10]
"#,
        "f",
    )
    .unwrap();
    assert_eq!(config.web.listen[0].port, 0);
    assert_eq!(config.web.listen[1].host.as_deref(), Some("::1"));
    assert_eq!(config.poll.requests_per_second, 3.0);
    assert!(config.metrics.username && config.metrics.detail < Detail::Device);
    let network = &config.networks[0];
    assert_eq!(network.id.to_string(), "12345678");
    assert_eq!(listed(network), ["9", "10", "1002"]);
    assert_eq!(network.aws.timezone_name(), "Europe/Zurich");
    assert_eq!((network.poll.interval, network.poll.stale_after), (secs(5400), secs(16_200)));
}

#[test]
fn network_values_override_shared_values() {
    let config = parse(
        r#"
[aws]
region = "us-east-1"
role_arn = "arn:aws:iam::111122223333:role/shared"
external_id = "shared"
endpoint_url = "https://vpce.example.com"
[poll]
interval = "10m"
stale_after = "1h"
max_attempts = 3
[[network]]
id = "11111111"
users = ["1"]
[[network]]
id = "22222222"
users = ["1"]
aws = { region = "us-gov-west-1", external_id = "own", fips = false, timezone = "UTC" }
poll = { interval = "1h", page_size = 50 }
[[network]]
id = "33333333"
users = ["1"]
poll.stale_after = "20m"
"#,
        "f",
    )
    .unwrap();
    let [plain, own, stale] = &config.networks[..] else { panic!() };
    assert_eq!((plain.poll.interval, plain.poll.stale_after), (secs(600), secs(3600)));
    assert_eq!((own.poll.interval, own.poll.stale_after), (secs(3600), secs(3 * 3600)));
    assert_eq!((own.poll.page_size, own.poll.max_attempts), (50, 3));
    assert_eq!((stale.poll.interval, stale.poll.stale_after), (secs(600), secs(1200)));
    assert_eq!(own.aws.region.as_deref(), Some("us-gov-west-1"));
    assert_eq!(own.aws.role_arn, plain.aws.role_arn);
    assert_eq!(own.aws.external_id.as_ref().map(ExternalId::as_str), Some("own"));
    assert_eq!(own.aws.endpoint_url, plain.aws.endpoint_url);
    assert_eq!(plain.aws, stale.aws);
    assert_eq!([&plain.aws, &own.aws, &stale.aws].into_iter().collect::<HashSet<_>>().len(), 2);
}

#[test]
fn applies_a_shared_external_id_to_networks_with_a_role() {
    let config = parse_with_network(
        "aws.external_id = \"shared\"\n[[network]]\nid = \"11111111\"\nusers = [\"1\"]\n\
         aws.role_arn = \"arn:aws:iam::111122223333:role/r\"",
    );
    assert!(config.networks[0].aws.external_id.is_some());
    assert!(config.networks[1].aws.external_id.is_none());
}

#[test]
fn reads_every_key() {
    // No key accepts a date, so each key that is read reports a problem.
    for shape in SCHEMA.tables {
        for key in shape.keys {
            let (path, header) = match (shape.path, shape.path.strip_prefix("network.")) {
                ("", _) => (key.to_string(), String::new()),
                ("network", _) => (format!("network[1].{key}"), "[[network]]".to_owned()),
                (path, Some(table)) => {
                    (format!("network[1].{table}.{key}"), format!("[[network]]\n[{path}]"))
                }
                (path, None) => (format!("{path}.{key}"), format!("[{path}]")),
            };
            let error = parse(&format!("{header}\n{key} = 2024-01-01"), "f").unwrap_err();
            let problem = error.problems().iter().find(|problem| problem.key == path);
            let message = &problem.unwrap_or_else(|| panic!("{path}: {error}")).message;
            assert!(message.starts_with("must be"), "{path}: {message}");
        }
    }
}

#[test]
fn describes_files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: &std::path::Path| {
        let message = load(path).unwrap_err().to_string();
        message.strip_prefix(&format!("{}", path.display())).unwrap().to_owned()
    };
    assert_eq!(message(dir.path()), ": is a directory, not a file");
    assert_eq!(message(&dir.path().join("none.toml")), ": does not exist");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, b"# \xC3\xBC\nx = \"\xFF\"").unwrap();
    assert_eq!(message(&file), ":2:6: not valid TOML: not encoded in UTF-8");
    std::fs::File::create(&file).unwrap().set_len((MAX_MIB << 20) + 1).unwrap();
    assert_eq!(message(&file), ": is larger than 16 MiB");
    std::fs::write(&file, format!("\u{feff}{NETWORK}")).unwrap();
    assert!(load(&file).is_ok());
}

#[test]
fn never_panics() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    let original: Vec<char> = example::uncommented().chars().collect();
    let odd: Vec<char> = "[]{}\"'=.,#\n\r\\ \0ü\u{1F4A5}0-9+_:enaft".chars().collect();
    for _ in 0..500 {
        let mut chars = original.clone();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..chars.len());
            match random.u8(..4) {
                0 => chars[at] = odd[random.usize(..odd.len())],
                1 => chars.insert(at, odd[random.usize(..odd.len())]),
                2 => drop(chars.drain(at..(at + random.usize(1..40)).min(chars.len()))),
                _ => {
                    let to = random.usize(..chars.len());
                    chars.swap(at, to);
                }
            }
        }
        let text: String = chars.into_iter().collect();
        if let Err(error) = parse(&text, "f") {
            let lines = text.split('\n').count();
            assert!(error.problems().iter().all(|p| (1..=lines).contains(&p.line)), "{text}");
            assert!(!error.problems().is_empty());
        }
    }
}

#[test]
fn limits_the_messages_for_large_invalid_files() {
    for (text, min_problems) in [
        (format!("a = {}", "[".repeat(1 << 20)), 1),
        (format!("{}a = 1", "a.".repeat(1 << 17)), 1),
        ("=\n".repeat(1 << 17), 100),
        (format!("[web]\nlisten = [{}]", "1,".repeat(1 << 17)), 100),
        (format!("[[network]]\nusers = [{}]", "\"x\",".repeat(1 << 17)), 100),
        ((0..1 << 15).map(|i| format!("k{i} = 1\n")).collect(), 100),
    ] {
        let error = parse(&text, "f").unwrap_err();
        assert!(error.problems().len() >= min_problems);
        assert!(error.to_string().len() < 100_000);
    }
}
