//! Golden files. `UPDATE_GOLDEN=1 cargo test golden` updates them; review the changes.

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    clock::Millis,
    inventory::{
        self, Collection, CollectorRecorder, Directory, ListedCounts, NetworkIdentity, Snapshot,
        Sso, UserFacts,
    },
    wickr::{ApiTimestamp, Device, DeviceAttributes, ErrorKind, SecurityGroup, UserId},
};

/// 2026-01-01T00:00:00.250Z
const NOW: Millis = 1_767_225_600_250;
const DAY: i64 = 86_400_000;

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn attributes(device_type: &str, status: &str, suspended: Option<bool>) -> Arc<DeviceAttributes> {
    DeviceAttributes::new(device_type, status, suspended).into()
}

fn device(app_id: &str, device_type: &str) -> Device {
    Device {
        app_id: Some(app_id.into()),
        attributes: attributes(device_type, "Active", Some(false)),
        created: ApiTimestamp::at_millis(NOW - 250 - 400 * DAY),
        last_login: ApiTimestamp::NEVER,
    }
}

/// A device with a login `days` ago.
fn used(app_id: &str, device_type: &str, days: i64) -> Device {
    Device {
        last_login: ApiTimestamp::at_millis(NOW - 250 - days * DAY),
        ..device(app_id, device_type)
    }
}

fn identity(id: &str, name: &str) -> NetworkIdentity {
    NetworkIdentity {
        id: id.parse().unwrap(),
        name: name.into(),
        region: "us-east-1".into(),
        account: "an account".into(),
        interval: Duration::from_secs(300),
        stale_after: Duration::from_secs(900),
    }
}

/// A network with all kinds of users and devices, and one during its first poll.
fn fleet() -> Snapshot {
    let (registrar, reader) = inventory::open();
    let mut new = registrar.add(identity("87654321", "new"), None);
    let mut known = registrar.add(identity("12345678", "a \"name\""), None);
    let users = ["7", "1001", "1002", "1003", "1004"].map(id);
    let facts = |name: &str, status, days: Option<u64>| {
        Arc::new(UserFacts {
            username: Some(name.into()),
            status,
            suspended: status.map(|status| status == 2),
            admin: status.map(|status| status == 2),
            sso_max_idle: days.map(|days| Duration::from_secs(days * 86_400)),
        })
    };
    let group = |id: &str, name: Option<&str>, days: Option<u64>| SecurityGroup {
        id: id.into(),
        name: name.map(str::to_owned),
        sso_max_idle: days.map(|days| Duration::from_secs(days * 86_400)),
    };
    known.set_directory(Directory {
        facts: [
            (users[1].clone(), facts("ann@example.com", Some(2), Some(30))),
            (users[2].clone(), facts("bob@example.com", Some(1), None)),
            (users[3].clone(), facts("eve@example.com", Some(9), Some(1))),
        ]
        .into(),
        counts: Some(ListedCounts {
            suspended: Some(1),
            admins: Some(2),
            invites_expired: Some(0),
        }),
        sso: Some(Arc::new(Sso::Groups(vec![
            group("g1", Some("staff"), Some(30)),
            group("g2", None, None),
        ]))),
        user_list: None,
    });
    // The last user is overdue for an hour.
    known.begin(&users[4..5]);
    known.record_devices(&users[4], vec![used("d1", "Android", 1)], NOW - 7_200_000);
    known.end(NOW - 7_200_000, Duration::from_secs(1), true);
    known.begin(&users[4..5]);
    known.record_failure(&users[4], ErrorKind::ServerError);
    known.end(NOW - 3_600_000, Duration::from_secs(1), true);
    known.begin(&users);
    // Read twice: its device is removed.
    known.record_devices(&users[0], vec![used("gone", "iOS", 1)], NOW - 61_000);
    known.record_devices(
        &users[1],
        vec![
            used("a1", "iOS", 0),
            Device {
                attributes: attributes("iOS", "Suspended", Some(true)),
                ..used("a2", "iOS", 45)
            },
            Device {
                attributes: attributes("MacOSX", "Reset", Some(false)),
                ..device("a3", "MacOSX")
            },
            Device {
                last_login: ApiTimestamp::at_millis(NOW + 5 * DAY),
                ..device("a4", "Windows")
            },
            Device {
                last_login: ApiTimestamp::INVALID,
                attributes: attributes("unknown", "Active", None),
                ..device("a5", "unknown")
            },
            Device { app_id: None, ..used("", "iOS", 8) },
        ],
        NOW - 60_000,
    );
    known.record_devices(
        &users[2],
        vec![used("quote\" back\\ new\n", "Win\"dows", 2)],
        NOW - 59_123,
    );
    known.record_devices(&users[0], vec![], NOW - 58_000);
    // Stale and missing.
    known.record_devices(&users[3], vec![used("c1", "Android", 100)], NOW - 600_000);
    known.record_failure(&users[3], ErrorKind::Timeout);
    known.record_failure(&users[4], ErrorKind::ServerError);
    known.end(NOW - 57_000, Duration::from_millis(3_210), true);
    known.overran();
    collect(&registrar.add_collectors("12345678".parse().unwrap(), Vec::new()));
    new.begin(&users);
    new.record_devices(&users[1], vec![used("z", "iOS", 3)], NOW - 1_000);
    new.flush();
    reader.snapshot()
}

/// A sample of each family of the collectors, whose last run failed for one of them.
fn collect(recorder: &CollectorRecorder) {
    let collectors: Vec<_> = crate::collectors::CollectorRef::all()
        .map(|collector| (collector.name(), collector.families()))
        .collect();
    recorder.enable(Duration::from_secs(3600), &collectors, NOW.into());
    for (name, families) in collectors {
        let mut collection = Collection::default();
        for (index, family) in families.iter().enumerate() {
            let labels: Vec<_> =
                family.labels[1..].iter().map(|label| format!("a \"{label}\"")).collect();
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            collection.add(family, &labels, Some(index as f64 + 0.5));
        }
        if name == "bots" {
            collection.invalid_times.insert("bot.lastLogin", 2);
        }
        if name == "network" {
            collection.info =
                [("account_id", "111122223333".into()), ("access_level", "PREMIUM".into())].into();
        }
        recorder.record(name, (NOW - 60_000).into(), Duration::from_millis(250), Ok(collection));
    }
    let failure = Err((crate::wickr::Operation::ListBots, ErrorKind::Forbidden));
    recorder.record("bots", (NOW - 30_000).into(), Duration::from_millis(100), failure);
}

fn rendered(snapshot: &Snapshot, format: Format, groups: &[Group]) -> String {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let registry = prometheus::Registry::new();
    let histogram = prometheus::Histogram::with_opts(
        prometheus::HistogramOpts::new("own_seconds", "A \"histogram\" of\nseconds.")
            .buckets(vec![0.1, 1.0]),
    )
    .unwrap();
    histogram.observe(0.5);
    let counter = prometheus::Counter::new("own_total", "A counter.").unwrap();
    counter.inc_by(2.5);
    registry.register(Box::new(histogram)).unwrap();
    registry.register(Box::new(counter)).unwrap();
    let exposition = Exposition {
        snapshot,
        now: NOW.into(),
        idle_buckets: &[days(1), days(30)],
        sso_horizons: &[days(1), days(30)],
        usernames: true,
        exporter_metrics: &registry.gather(),
        groups,
    };
    String::from_utf8(exposition.text(format).unwrap()).unwrap()
}

#[test]
fn matches_the_golden_files() {
    let snapshot = fleet();
    for (format, name) in
        [(Format::Text, "metrics.txt"), (Format::OpenMetrics, "metrics.openmetrics.txt")]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let text = rendered(&snapshot, format, &Group::ALL);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        for (line, (actual, golden)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(actual, golden, "{name}:{}", line + 1);
        }
        assert_eq!(text.len(), golden.len(), "{name}");
    }
}

#[test]
fn renders_every_family_in_order() {
    let text = rendered(&fleet(), Format::Text, &Group::ALL);
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .filter(|name| name.starts_with("wickr_"))
        .collect();
    let listed: Vec<_> = families().map(|family| family.name).collect();
    assert_eq!(names, listed);
}

/// The label names of a line.
fn label_names(series: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = series.split_once('{').map_or("", |(_, labels)| labels);
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(','));
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap() + 1..];
    }
    names
}

#[test]
fn renders_the_labels_of_each_family() {
    let text = rendered(&fleet(), Format::Text, &Group::ALL);
    let mut family = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = families().find(|family| rest.starts_with(&format!("{} ", family.name)));
        }
        let Some(family) = family.filter(|_| !line.starts_with('#')) else { continue };
        let mut names = label_names(line);
        names.retain(|name| *name != "le");
        assert_eq!(names, family.labels, "{line}");
    }
}

#[test]
fn renders_nothing_before_the_first_poll() {
    let (registrar, reader) = inventory::open();
    let _publisher = registrar.add(identity("12345678", "x"), None);
    let text =
        rendered(&reader.snapshot(), Format::Text, &[Group::Network, Group::User, Group::Device]);
    assert_eq!(text, "");
    let text = rendered(&reader.snapshot(), Format::OpenMetrics, &[]);
    assert_eq!(text, "# EOF\n");
}

#[test]
fn renders_values_of_collectors_before_the_first_poll_has_ended() {
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity("12345678", "x"), None);
    let group = SecurityGroup { id: "discovered".into(), name: None, sso_max_idle: None };
    let sso = Some(Arc::new(Sso::Groups(vec![group])));
    publisher.set_directory(Directory { sso, ..Directory::default() });
    collect(&registrar.add_collectors("12345678".parse().unwrap(), Vec::new()));
    let text = rendered(&reader.snapshot(), Format::Text, &Group::ALL);
    let has = |family: &str| text.lines().filter(|line| line.starts_with(family)).count();
    assert_eq!(has("wickr_security_group_info{"), 1, "{text}");
    assert!(!text.contains("discovered") && has("wickr_network_info{") == 0, "{text}");
    assert_eq!(has("wickr_exporter_invalid_timestamps{"), 1, "{text}");
}

#[test]
fn renders_users_without_username_and_full_progress_without_users() {
    let (registrar, reader) = inventory::open();
    let mut known = registrar.add(identity("12345678", ""), None);
    let users = ["1", "2", "3"].map(id);
    let facts = |username: Option<&str>, status| {
        Arc::new(UserFacts { username: username.map(Into::into), status, ..UserFacts::default() })
    };
    let facts = [
        (users[0].clone(), facts(None, Some(2))),
        (users[1].clone(), facts(Some("b"), None)),
        (users[2].clone(), facts(None, None)),
    ];
    known.set_directory(Directory { facts: facts.into(), ..Directory::default() });
    known.begin(&users);
    users.iter().for_each(|user| known.record_devices(user, vec![], NOW));
    known.end(NOW, Duration::ZERO, true);
    registrar.add(identity("87654321", ""), None).begin(&[]);
    let text = rendered(&reader.snapshot(), Format::Text, &Group::ALL);
    let infos: Vec<_> = text.lines().filter(|line| line.starts_with("wickr_user_info{")).collect();
    assert_eq!(infos.len(), 2, "{infos:?}");
    assert!(
        infos[0].contains("status=\"active\"") && infos[1].contains("status=\"\""),
        "{infos:?}"
    );
    assert!(text.contains("wickr_exporter_poll_progress_ratio{network_id=\"87654321\"} 1\n"));
}
