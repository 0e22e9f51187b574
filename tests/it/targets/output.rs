//! Expositions and lists with arbitrary texts: the devices of a page, with its token as the name of
//! the network and of its user.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::Read,
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use serde_json::Value;
use wickr_exporter::{
    clock::Moment,
    exposition::{CompressionCache, Encoding, Exposition, Format, Group},
    inventory::{self, Directory, NetworkIdentity, Snapshot, UserFacts},
    query::{Columns, Listing, Query, Record, find, write_csv, write_json, write_table},
    wickr::{Device, Interner, UserId, devices_page},
};

const NOW: i64 = 1_767_225_600_000;

/// A network of one user with the devices of a page, without duplicate ids.
struct Fleet {
    name: String,
    devices: Vec<Device>,
    snapshot: Snapshot,
}

impl Fleet {
    fn of(data: &[u8]) -> Option<Fleet> {
        let (labels, mut ids) = (Interner::default(), HashSet::new());
        let (mut devices, token) = devices_page(data, &labels, &TimeZone::UTC, &mut |_| {}).ok()?;
        devices.retain(|device| device.app_id.is_none() || ids.insert(device.app_id.clone()));
        let name = token.unwrap_or_default();
        let (registrar, reader) = inventory::open();
        let mut publisher = registrar.add(
            NetworkIdentity {
                id: "12345678".parse().unwrap(),
                name: name.clone(),
                region: "us-east-1".into(),
                account: String::new(),
                interval: Duration::from_secs(300),
                stale_after: Duration::from_secs(900),
            },
            None,
        );
        let user: UserId = "1001".parse().unwrap();
        let facts = UserFacts {
            username: Some(name.as_str().into()),
            status: Some(2),
            suspended: None,
            admin: None,
            sso_max_idle: Some(Duration::from_secs(3600)),
        };
        let facts = BTreeMap::from([(user.clone(), Arc::new(facts))]);
        publisher.set_directory(Directory { facts, ..Directory::default() });
        publisher.begin(std::slice::from_ref(&user));
        publisher.record_devices(&user, devices.clone(), NOW);
        publisher.end(Moment::unstepped(NOW), Duration::from_secs(1), true);
        Some(Fleet { name, devices, snapshot: reader.snapshot() })
    }
}

/// The metric name and labels.
type Series = (String, BTreeMap<String, String>);

/// Expositions: a strict parser reads every text and time unchanged from both formats, and
/// compression is lossless.
pub fn exposition(data: &[u8]) {
    let Some(fleet) = Fleet::of(data) else { return };
    let exposition = Exposition {
        snapshot: &fleet.snapshot,
        now: Moment::unstepped(NOW),
        idle_buckets: &[Duration::from_secs(3600), Duration::from_secs(86_400)],
        sso_horizons: &[Duration::from_secs(86_400)],
        usernames: true,
        exporter_metrics: &[],
        groups: &Group::ALL,
    };
    let text = String::from_utf8(exposition.text(Format::Text).unwrap()).unwrap();
    let open = String::from_utf8(exposition.text(Format::OpenMetrics).unwrap()).unwrap();
    let samples = parse(&text);
    assert_eq!(samples.len(), parse(open.strip_suffix("# EOF\n").unwrap()).len());
    for format in [Format::Text, Format::OpenMetrics] {
        let mut compressed = Vec::new();
        exposition
            .render(format, Encoding::Gzip, &CompressionCache::default(), &mut compressed)
            .unwrap();
        let mut decompressed = String::new();
        flate2::bufread::GzDecoder::new(&compressed[..]).read_to_string(&mut decompressed).unwrap();
        assert_eq!(decompressed, if format == Format::Text { &*text } else { &*open });
    }

    let of = |family: &str| -> HashMap<String, (&BTreeMap<String, String>, f64)> {
        let of_family = samples.iter().filter(|((name, _), _)| name == family);
        of_family.map(|((_, labels), value)| (labels["app_id"].clone(), (labels, *value))).collect()
    };
    let (info, logins) = (of("wickr_device_info"), of("wickr_device_last_login_timestamp_seconds"));
    let with_id: Vec<_> = fleet.devices.iter().filter(|device| device.app_id.is_some()).collect();
    assert_eq!(info.len(), with_id.len());
    for device in with_id {
        let id = device.app_id.as_ref().unwrap().text();
        let (labels, _) = info[&*id];
        assert_eq!(labels["device_type"], **device.device_type());
        assert_eq!(labels["status"], **device.status());
        let login = logins.get(&*id).map(|(_, value)| (value * 1e3).round() as i64);
        assert_eq!(login, device.last_login.millis());
    }
    let mut usernames = samples.keys().filter_map(|(_, labels)| labels.get("username"));
    assert!(usernames.all(|name| *name == fleet.name));
    let types: BTreeSet<_> =
        fleet.devices.iter().map(|device| device.device_type().to_string()).collect();
    let counted = samples.keys().filter(|(name, _)| name == "wickr_network_devices");
    let counted: BTreeSet<_> = counted.map(|(_, labels)| labels["device_type"].clone()).collect();
    assert_eq!(counted, types);
}

/// Parses the common part of both formats. Each family and series must be unique and below its header.
fn parse(text: &str) -> HashMap<Series, f64> {
    let (mut samples, mut families) = (HashMap::new(), HashSet::new());
    let mut family = "";
    assert!(text.ends_with('\n'));
    for line in text.split_terminator('\n') {
        if let Some(header) = line.strip_prefix("# HELP ") {
            family = header.split(' ').next().unwrap();
            assert!(families.insert(family), "duplicate {family}");
            continue;
        } else if line.starts_with("# ") {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            assert!(["TYPE", "UNIT"].contains(&words[1]) && words[2] == family, "{line}");
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let suffix = name.strip_prefix(family).expect("a sample below its header");
        let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_gsum", "_gcount"];
        assert!(suffixes.contains(&suffix), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, value) = rest.split_once("=\"").unwrap();
                assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                let (value, after) = unquoted(value);
                assert_eq!(labels.insert(label.to_owned(), value), None, "{line}");
                match after.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => {
                        rest = after.strip_prefix('}').unwrap();
                        break;
                    }
                }
            }
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().replace("Inf", "inf").parse().unwrap();
        assert_eq!(samples.insert((name.to_owned(), labels), value), None, "duplicate {line}");
    }
    samples
}

/// The unescaped text before the closing quote, and the text after it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                other => panic!("invalid escape: {other:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("unterminated text");
}

/// Lists of devices: JSON and CSV preserve every text, no CSV cell is a formula, and the table has no
/// control characters.
pub fn listing(data: &[u8]) {
    let Some(fleet) = Fleet::of(data) else { return };
    let found =
        find(&fleet.snapshot, Moment::unstepped(NOW), &Query { page: 1, ..Query::default() });
    let columns = Columns { usernames: true };
    let records = || found.rows.iter().map(|row| Record::of(row, columns));
    assert_eq!(records().count(), fleet.devices.len());

    let mut json = Vec::new();
    write_json(&mut json, &Listing::of(&found, Moment::unstepped(NOW)), records()).unwrap();
    let list: Value = serde_json::from_slice(&json).unwrap();
    let objects = list["devices"].as_array().unwrap().iter();
    let parsed: Vec<Record<'_>> =
        objects.map(|device| serde_json::from_value(device.clone()).unwrap()).collect();
    assert_eq!(parsed, records().collect::<Vec<_>>());
    let texts = |device: &Device| {
        let id = device.app_id.as_ref().map(|id| id.to_string());
        (id, device.device_type().to_string(), device.status().to_string())
    };
    let mut expected: Vec<_> = fleet.devices.iter().map(texts).collect();
    let mut listed: Vec<_> = parsed
        .iter()
        .map(|record| {
            let id = record.app_id.as_deref().map(str::to_owned);
            (id, record.device_type.to_string(), record.status.to_string())
        })
        .collect();
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);

    let mut sheet = Vec::new();
    write_csv(&mut sheet, columns, records()).unwrap();
    let mut rows = csv::Reader::from_reader(&sheet[..]);
    let names = rows.headers().unwrap().clone();
    let rows: Vec<_> = rows.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), parsed.len());
    for (row, record) in rows.iter().zip(records()) {
        let cell = |name: &str| {
            let cell = row.get(names.iter().position(|known| known == name).unwrap()).unwrap();
            assert!(!cell.trim().starts_with(['=', '+', '-', '@']), "{cell:?}");
            cell.strip_prefix('\'').unwrap_or(cell)
        };
        assert_eq!(cell("network_name"), fleet.name);
        assert_eq!(cell("username"), fleet.name);
        assert_eq!(cell("app_id"), record.app_id.as_deref().unwrap_or_default());
        assert_eq!(cell("device_type"), record.device_type);
        assert_eq!(cell("status"), record.status);
    }

    let mut table = Vec::new();
    write_table(&mut table, columns, records()).unwrap();
    let table = String::from_utf8(table).unwrap();
    assert!(!table.chars().any(|c| c != '\n' && c.is_control()), "{table:?}");
    assert!(!table.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}']), "{table:?}");
    let lines = if parsed.is_empty() { 0 } else { 1 + parsed.len() };
    assert_eq!(table.lines().count(), lines, "{table:?}");
}
