//! Compares random queries on random inventories with a simple implementation (`reference`).

mod reference;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::reference::{matches, reference_records, sort_records};
use super::*;
use crate::{
    clock::Millis,
    inventory::{
        Directory, Freshness, NetworkIdentity, NetworkView, Publisher, Reader, Registrar, Sso,
        Summary, UserFacts, fixtures::identity, open,
    },
    wickr::{ApiTimestamp, Device, DeviceAttributes, ErrorKind, UserId},
};

const NOW: Millis = 1_700_000_000_000;
const DAY: i64 = 86_400_000;
const TYPES: [&str; 5] = ["iOS", "Android", "Windows", "=cmd|' /C calc'!A0", "<b>\"x\"</b>"];
const STATUSES: [&str; 4] = ["Active", "Reset", "reset", ""];

fn stamp(random: &mut fastrand::Rng) -> ApiTimestamp {
    match random.u8(0..8) {
        0 => ApiTimestamp::NEVER,
        1 => ApiTimestamp::INVALID,
        // Some are equal, and some are in the future.
        _ => ApiTimestamp::at_millis(NOW + DAY / 2 - random.i64(0..40) * DAY / 2),
    }
}

fn device(random: &mut fastrand::Rng, n: usize) -> Device {
    Device {
        app_id: random.u8(0..6).checked_sub(1).map(|_| format!("app{n}").into()),
        attributes: DeviceAttributes::new(
            random.choice(TYPES).unwrap(),
            random.choice(STATUSES).unwrap(),
            random.choice([Some(true), Some(false), None]).unwrap(),
        )
        .into(),
        created: stamp(random),
        last_login: stamp(random),
    }
}

fn network(random: &mut fastrand::Rng, registrar: &Registrar, n: usize) -> Publisher {
    let mut publisher = registrar.add(
        NetworkIdentity {
            name: ["", "production", "=x"][n % 3].into(),
            ..identity(&format!("1000000{n}"))
        },
        None,
    );
    let users: Vec<UserId> =
        (0..random.usize(0..12)).map(|u| (u * 7 + 1).to_string().parse().unwrap()).collect();
    let user_facts = |random: &mut fastrand::Rng| UserFacts {
        username: random.bool().then(|| format!("+{}@example.com", random.u8(..)).into()),
        status: Some(2),
        suspended: None,
        admin: None,
        sso_max_idle: random.bool().then(|| Duration::from_secs(random.u64(0..20) * 86_400)),
    };
    let facts: BTreeMap<_, _> = users
        .iter()
        .filter(|_| random.u8(..) > 40)
        .map(|user| (user.clone(), Arc::new(user_facts(&mut fastrand::Rng::with_seed(1)))))
        .collect();
    let sso = random.bool().then(|| Arc::new(Sso::Fixed));
    publisher.set_directory(Directory { facts, sso, ..Directory::default() });
    publisher.begin(&users);
    let ends = random.bool();
    for user in &users {
        let devices = (0..random.usize(0..9)).map(|n| device(random, n)).collect();
        match random.u8(0..8) {
            0 => publisher.record_failure(user, ErrorKind::Timeout),
            // Too old to serve.
            1 => publisher.record_devices(user, devices, NOW - 10 * DAY),
            2 => {
                publisher.record_devices(user, devices, NOW - 1000);
                publisher.record_failure(user, ErrorKind::ServerError);
            }
            3 if !ends => {}
            _ => publisher.record_devices(user, devices, NOW - random.i64(0..30_000)),
        }
    }
    if ends {
        publisher.end(NOW, Duration::from_secs(1), true);
    }
    publisher.flush();
    publisher
}

pub(crate) fn inventory(random: &mut fastrand::Rng) -> (Vec<Publisher>, Reader) {
    let (registrar, reader) = open();
    let publishers = (0..random.usize(0..4)).map(|n| network(random, &registrar, n)).collect();
    (publishers, reader)
}

fn subset<T: Clone>(random: &mut fastrand::Rng, values: &[T]) -> Vec<T> {
    if random.u8(0..3) > 0 {
        return vec![];
    }
    values.iter().filter(|_| random.bool()).cloned().collect()
}

fn optional<T>(random: &mut fastrand::Rng, value: T) -> Option<T> {
    (random.u8(0..4) == 0).then_some(value)
}

fn query(random: &mut fastrand::Rng) -> Query {
    let days = |random: &mut fastrand::Rng| Duration::from_millis(random.u64(0..30) * 43_200_000);
    let boolean = random.bool();
    let ids = ["10000000", "10000001", "10000002", "99999999"].map(|id| id.parse().unwrap());
    let users = ["1", "8", "15", "22", "999"].map(|id| id.parse().unwrap());
    let limit = random.usize(1..9);
    Query {
        filter: Filter {
            networks: subset(random, &ids),
            users: subset(random, &users),
            device_types: subset(random, &TYPES.map(String::from)),
            statuses: subset(random, &STATUSES.map(String::from)[..3]),
            suspended: optional(random, boolean),
            reset: optional(random, boolean),
            idle_over: Some(days(random)).filter(|_| random.bool()),
            idle_up_to: Some(days(random)).filter(|_| random.u8(0..4) == 0),
            never_logged_in: optional(random, boolean),
            sso_expired: optional(random, boolean),
            sso_expires_within: Some(days(random)).filter(|_| random.u8(0..12) == 0),
            freshness: optional(random, if boolean { Freshness::Fresh } else { Freshness::Stale }),
        },
        sort: random.choice(Sort::ALL.iter().copied()).unwrap(),
        order: random.choice([None, Some(Order::Ascending), Some(Order::Descending)]).unwrap(),
        limit: Some(limit).filter(|_| random.bool()),
        page: 1,
    }
}

#[test]
fn finds_the_same_rows_as_a_simple_implementation() {
    let columns = Columns { usernames: true };
    let (mut nonempty, mut pages) = (0, 0);
    for seed in 0..1500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (_publishers, reader) = inventory(&mut random);
        let snapshot = reader.snapshot();
        let mut query = query(&mut random);
        let mut expected = reference_records(&snapshot.networks);
        expected.retain(|record| matches(&query.filter, record));
        sort_records(&mut expected, query.sort, query.order());
        // All pages, and an empty one after the last.
        let size = query.limit.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        loop {
            let page = find(&snapshot, NOW, &query);
            assert_eq!(page.matched, expected.len(), "seed {seed}: {query:?}");
            assert!(page.rows.len() <= size);
            if page.rows.is_empty() {
                break;
            }
            found.extend(page.rows.iter().map(|row| Record::of(row, columns)));
            if query.limit.is_none() {
                break;
            }
            query.page += 1;
            pages += 1;
        }
        assert_eq!(found, expected, "seed {seed}: {query:?}");
        nonempty += usize::from(!found.is_empty());
        // The query survives a round trip through its parameters.
        let params = Params::parse(&query.to_params()).unwrap();
        let parsed = Query { order: Some(params.query.order()), ..params.query };
        assert_eq!(parsed, Query { order: Some(query.order()), ..query.clone() }, "seed {seed}");
        assert!(!params.has_empty);
    }
    assert!(nonempty > 400 && pages > 400, "{nonempty} {pages}");
}

#[test]
fn counts_the_same_devices_as_the_metrics() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (_publishers, reader) = inventory(&mut random);
        let snapshot = reader.snapshot();
        let bound = 5 * DAY;
        for network in &snapshot.networks {
            let summary = Summary::new(network, NOW, &[bound], &[bound]);
            for of_type in &summary.types {
                let count = |set: &dyn Fn(&mut Filter)| {
                    let mut filter = Filter {
                        networks: vec![network.identity.id.clone()],
                        device_types: vec![of_type.device_type.to_string()],
                        ..Filter::default()
                    };
                    set(&mut filter);
                    find(&snapshot, NOW, &Query { filter, ..Query::default() }).matched as u64
                };
                let five_days = Some(Duration::from_millis(bound as u64));
                assert_eq!(count(&|_| {}), of_type.devices);
                assert_eq!(count(&|f| f.suspended = Some(true)), of_type.suspended);
                assert_eq!(count(&|f| f.reset = Some(true)), of_type.reset);
                assert_eq!(count(&|f| f.never_logged_in = Some(true)), of_type.never_logged_in);
                assert_eq!(count(&|f| f.idle_up_to = five_days), of_type.idle_at_most[0]);
                let over = of_type.with_idle - of_type.idle_at_most[0];
                assert_eq!(count(&|f| f.idle_over = five_days), over);
                if network.sso.is_some() {
                    assert_eq!(count(&|f| f.sso_expired = Some(true)), of_type.sso_expired);
                    let expiring = count(&|f| f.sso_expires_within = five_days);
                    assert_eq!(expiring, of_type.sso_expiring[0]);
                }
            }
        }
    }
}

#[test]
fn reports_whether_a_list_is_complete() {
    let scope = |reader: &Reader, text: &str| {
        find(&reader.snapshot(), NOW, &Params::parse(text).unwrap().query).scope
    };
    let (registrar, reader) = open();
    assert!(!scope(&reader, "").is_complete());
    let mut publisher = registrar.add(identity("10000000"), None);
    assert!(!scope(&reader, "").is_complete());
    let users: Vec<UserId> = ["1", "2"].map(|id| id.parse().unwrap()).into();
    publisher.begin(&users);
    publisher.record_devices(&users[0], vec![], NOW);
    publisher.flush();
    let counts = scope(&reader, "").users;
    assert_eq!(counts, UserCounts { fresh: 1, pending: 1, ..UserCounts::default() });
    publisher.record_failure(&users[1], ErrorKind::Timeout);
    publisher.end(NOW, Duration::ZERO, true);
    let counts = scope(&reader, "").users;
    assert_eq!(counts, UserCounts { fresh: 1, missing: 1, ..UserCounts::default() });
    assert!(!scope(&reader, "").is_complete());
    assert!(scope(&reader, "user_id=1").is_complete());
    assert!(!scope(&reader, "user_id=2").is_complete());
    let unknown = scope(&reader, "user_id=1,3&network_id=10000000,10000001");
    assert!(!unknown.is_complete());
    assert_eq!(unknown.not_known.user_id, ["3"]);
    assert_eq!(unknown.not_known.network_id, ["10000001"]);
    // An empty user list after a failed poll is not complete.
    publisher.retain(|_| false);
    publisher.end(NOW, Duration::ZERO, false);
    assert!(!scope(&reader, "").is_complete());
    publisher.begin(&[]);
    publisher.end(NOW, Duration::ZERO, true);
    assert!(scope(&reader, "").is_complete());
}

#[test]
fn csv_and_json_have_the_same_values() {
    let mut random = fastrand::Rng::with_seed(7);
    let (_publishers, reader) = inventory(&mut random);
    let snapshot = reader.snapshot();
    for usernames in [false, true] {
        let columns = Columns { usernames };
        let found = find(&snapshot, NOW, &Query::default());
        assert!(found.matched > 10);
        let records = || found.rows.iter().map(|row| Record::of(row, columns));
        let (mut json, mut table) = (Vec::new(), Vec::new());
        write_json(&mut json, &Listing::of(&found, NOW), records()).unwrap();
        write_csv(&mut table, columns, records()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["matched"], found.matched);
        let parsed: Vec<Record<'_>> = serde_json::from_value(json["devices"].clone()).unwrap();
        assert_eq!(parsed, records().collect::<Vec<_>>());
        let mut read = csv::Reader::from_reader(&table[..]);
        let header = read.headers().unwrap().clone();
        assert_eq!(header.iter().any(|name| name == "username"), usernames);
        for (row, device) in read.records().zip(json["devices"].as_array().unwrap()) {
            let row = row.unwrap();
            assert_eq!(row.len(), device.as_object().unwrap().len());
            for (name, cell) in header.iter().zip(&row) {
                let cell = cell.strip_prefix('\'').unwrap_or(cell);
                let same = match &device[name] {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Number(number) => {
                        assert_eq!(cell.parse::<f64>().unwrap(), number.as_f64().unwrap());
                        continue;
                    }
                    other => other.to_string(),
                };
                assert_eq!(cell, same, "{name}");
            }
        }
        let mut empty = Vec::new();
        write_csv(&mut empty, columns, std::iter::empty()).unwrap();
        assert!(empty.starts_with(b"\"network_id\",") && empty.ends_with(b"\"read_at\"\r\n"));
    }
}

#[test]
fn lists_the_statuses_of_all_devices() {
    let (registrar, reader) = open();
    let mut publisher = registrar.add(identity("10000000"), None);
    let user: UserId = "1".parse().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let devices = (0..300)
        .map(|n| Device {
            attributes: DeviceAttributes::new("iOS", &format!("s{n:03}"), None).into(),
            ..device(&mut random, n)
        })
        .collect();
    publisher.begin(std::slice::from_ref(&user));
    publisher.record_devices(&user, devices, NOW);
    publisher.flush();
    let query = Params::parse("status=s000").unwrap().query;
    let snapshot = reader.snapshot();
    let found = find(&snapshot, NOW, &query);
    assert_eq!((found.matched, found.statuses.len()), (1, 100));
}
