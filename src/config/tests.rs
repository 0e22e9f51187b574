//! What a whole file comes to: the golden table of bad ones, defaults and overrides.

mod bad;
mod docs;
mod everyone;
mod example;

use std::{collections::HashSet, time::Duration};

use super::{
    shape::{ALL, FILE, Shape, Standing},
    *,
};

const GOOD_NETWORK: &str = "[[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";

fn complaints(text: &str) -> Vec<String> {
    match parse(text, "f") {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// `text` with a good network after it.
fn good(text: &str) -> Config {
    parse(&format!("{text}\n{GOOD_NETWORK}"), "f").unwrap_or_else(|error| panic!("{error}"))
}

fn listed(network: &Network) -> Vec<&str> {
    match &network.users {
        UserChoice::Listed(users) => users.iter().map(|user| user.as_str()).collect(),
        UserChoice::All(filter) => panic!("all users that pass {filter:?}"),
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_bad_file_gets_exactly_these_messages() {
    for (text, expected) in bad::all() {
        let has_network = text.contains("network");
        let text = if has_network { text.to_string() } else { format!("{text}\n{GOOD_NETWORK}") };
        assert_eq!(complaints(&text), *expected, "\n{text}");
    }
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    let text = r#"
[poll]
stale_after = "1m"
intervall = "5m"
page_size = 0
[web]
listen = []
[[network]]
id = "1234"
users = ["1001", "x", "1001"]
[[network]]
name = "second"
"#;
    assert_eq!(
        complaints(text),
        [
            r#"f:3:15: poll.stale_after: must not be below the default interval, which is 5m, but is 1m"#,
            r#"f:4:1: poll.intervall: unknown key; did you mean poll.interval?"#,
            r#"f:5:13: poll.page_size: must be a whole number from 1 to 100, not 0"#,
            r#"f:7:10: web.listen: must not be empty; write [":10471"], for example"#,
            r#"f:9:6: network[1].id: "1234" is not valid: a network id is exactly 8 digits"#,
            r#"f:10:18: network[1].users[2]: "x" is not valid: a user id is 1 to 10 digits"#,
            r#"f:10:23: network[1].users[3]: "1001" is given twice, first as network[1].users[1]"#,
            r#"f:11:1: network[2].id: is missing; write the network's 8 digits, id = "12345678", or id = "all""#,
            r#"f:11:1: network[2].users: is missing; write the users' ids, users = ["1001", "1002"], or users = "all""#,
        ]
    );
}

#[test]
fn a_problem_can_be_had_in_its_parts() {
    let error = parse("[web]\nlisten = 1", "dir/config.toml").unwrap_err();
    let problem = &error.problems()[1];
    assert_eq!((&*problem.file, problem.line, problem.column), ("dir/config.toml", 2, 10));
    assert_eq!(problem.key, "web.listen");
    assert_eq!(problem.message, "must be a list, such as [\":10471\"], not an integer");
}

#[test]
fn secrets_are_never_repeated() {
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
    let config =
        good("[aws]\nexternal_id = \"hunter2\"\nrole_arn = \"arn:aws:iam::111122223333:role/r\"");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn one_network_is_enough_and_the_rest_is_default() {
    let config = good("");
    assert_eq!(config.web, Web::default());
    assert_eq!(config.web.listen[0].to_string(), ":10471");
    assert_eq!(config.web.max_concurrent_scrapes, 8);
    assert_eq!(config.poll, Shared { concurrency: 16, requests_per_second: 10.0 });
    assert_eq!(config.metrics.detail, Detail::Device);
    assert!(!config.metrics.username);
    let days = [1, 7, 14, 30, 60, 90].map(|days| secs(days * 86_400));
    assert_eq!(config.metrics.idle_buckets[0], secs(3600));
    assert_eq!(config.metrics.idle_buckets[1..], days);
    assert_eq!(config.discovery.interval, secs(3600));
    assert_eq!((config.sso, &config.state), (None, &None));
    assert_eq!(config.shard, Shard::Of { index: 0, total: 1 });
    let [network] = &config.networks[..] else { panic!() };
    assert_eq!(network.id.to_string(), "12345678");
    assert_eq!(network.name, None);
    assert_eq!(network.aws, Aws::default());
    assert_eq!(network.aws.timezone_name(), "UTC");
    let poll = Poll {
        interval: secs(300),
        stale_after: secs(900),
        request_timeout: secs(10),
        max_attempts: 5,
        page_size: 100,
    };
    assert_eq!(network.poll, poll);
}

#[test]
fn values_are_taken_as_people_write_them() {
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
fn a_network_overrides_what_is_shared() {
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
    assert_eq!(plain.aws, stale.aws, "one client serves both");
    assert_eq!([&plain.aws, &own.aws, &stale.aws].into_iter().collect::<HashSet<_>>().len(), 2);
}

#[test]
fn a_shared_external_id_goes_with_the_networks_that_have_a_role() {
    let config = good(
        "aws.external_id = \"shared\"\n[[network]]\nid = \"11111111\"\nusers = [\"1\"]\n\
         aws.role_arn = \"arn:aws:iam::111122223333:role/r\"",
    );
    assert!(config.networks[0].aws.external_id.is_some());
    assert!(config.networks[1].aws.external_id.is_none());
}

fn known(shape: &Shape) -> impl Iterator<Item = &'static str> {
    shape.keys.iter().filter(|key| key.standing == Standing::Known).map(|key| key.name)
}

#[test]
fn every_known_key_is_read() {
    // No key takes a date, so each that is read complains.
    for shape in ALL {
        for key in known(shape) {
            let (path, header) = match shape.path {
                path if path == FILE.path => (key.to_owned(), String::new()),
                "network" => (format!("network[1].{key}"), "[[network]]".to_owned()),
                path => match path.strip_prefix("network.") {
                    Some(of) => {
                        (format!("network[1].{of}.{key}"), format!("[[network]]\n[{path}]"))
                    }
                    None => (format!("{path}.{key}"), format!("[{path}]")),
                },
            };
            let error = parse(&format!("{header}\n{key} = 2024-01-01"), "f").unwrap_err();
            let complaint = error.problems().iter().find(|problem| problem.key == path);
            let message = &complaint.unwrap_or_else(|| panic!("{path}: {error}")).message;
            assert!(message.starts_with("must be"), "{path}: {message}");
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
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
    std::fs::File::create(&file).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(message(&file), ": is larger than 16 MiB");
    std::fs::write(&file, format!("\u{feff}{GOOD_NETWORK}")).unwrap();
    assert!(load(&file).is_ok());
}

#[test]
fn no_text_makes_it_panic() {
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
fn huge_nonsense_is_refused_in_few_words() {
    for (text, least) in [
        (format!("a = {}", "[".repeat(1 << 20)), 1),
        (format!("{}a = 1", "a.".repeat(1 << 17)), 1),
        ("=\n".repeat(1 << 17), 100),
        (format!("[web]\nlisten = [{}]", "1,".repeat(1 << 17)), 100),
        (format!("[[network]]\nusers = [{}]", "\"x\",".repeat(1 << 17)), 100),
        ((0..1 << 15).map(|i| format!("k{i} = 1\n")).collect(), 100),
    ] {
        let error = parse(&text, "f").unwrap_err();
        assert!(error.problems().len() >= least);
        assert!(error.to_string().len() < 100_000);
    }
}
