//! Micro-benchmarks: `cargo bench`. `benches/program` measures the complete program.
//!
//! The fleet has 20,000 users with 5 devices each, half a million device series, unless an argument
//! overrides it. Compare only values of one run.

#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    io,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use jiff::tz::TimeZone;
use wickr_exporter::{
    clock::Moment,
    exposition::{CompressionCache, Encoding, Exposition, Format, Group, Sink},
    inventory::{self, NetworkIdentity, Publisher, Reader, Summary},
    wickr::{self, ApiTimestamp, AppId, Device, Interner, UserId, devices_page},
};

const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
const USERS: u32 = 20_000;
const DEVICES: u32 = 5;

fn main() {
    divan::main();
}

fn user(number: u32) -> UserId {
    (1000 + number).to_string().parse().unwrap()
}

fn devices(user: u32, labels: &Interner) -> Vec<Device> {
    let device = |number| {
        let seed = i64::from(user * DEVICES + number);
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let id: String = (0..8).map(|_| format!("{:08x}", random.u32(..))).collect();
        Device {
            app_id: Some(id.into()),
            attributes: labels.attributes(
                ["MacOSX", "Windows", "iOS", "Android"][number as usize % 4],
                "Active",
                Some(seed % 10 == 0),
            ),
            created: ApiTimestamp::at_millis(NOW - 400 * DAY - seed * 1000),
            last_login: ApiTimestamp::at_millis(NOW - random.i64(0..90 * DAY) / 1000 * 1000),
        }
    };
    (0..DEVICES).map(device).collect()
}

/// A polled fleet and the publisher to poll it again.
struct Fleet {
    publisher: Publisher,
    reader: Reader,
    labels: Interner,
}

fn fleet(users: u32) -> Fleet {
    let (registry, reader) = inventory::open();
    let identity = NetworkIdentity {
        id: "12345678".parse().unwrap(),
        name: "production".into(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(300),
        stale_after: Duration::from_secs(900),
    };
    let mut publisher = registry.add(identity, None);
    let labels = Interner::default();
    let ids: Vec<UserId> = (0..users).map(user).collect();
    publisher.begin(&ids);
    for (number, id) in ids.iter().enumerate() {
        publisher.record_devices(id, devices(number as u32, &labels), NOW);
    }
    publisher.end(Moment::unstepped(NOW), Duration::from_secs(1), true);
    Fleet { publisher, reader, labels }
}

static FLEET: LazyLock<Fleet> = LazyLock::new(|| fleet(USERS));

/// Counts the bytes and discards them.
#[derive(Default)]
struct CountingSink(usize);

impl Sink for CountingSink {
    fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.0 += black_box(&chunk).len();
        Ok(())
    }
}

fn render(encoding: Encoding, groups: &[Group], cache: &CompressionCache, now: i64) -> usize {
    let snapshot = FLEET.reader.snapshot();
    let exposition = Exposition {
        snapshot: &snapshot,
        now: Moment::unstepped(now),
        idle_buckets: &[1, 7, 30, 90].map(|days| Duration::from_secs(days * 86_400)),
        sso_horizons: &[1, 7].map(|days| Duration::from_secs(days * 86_400)),
        usernames: false,
        exporter_metrics: &[],
        groups,
    };
    let mut sink = CountingSink::default();
    exposition.render(Format::Text, encoding, cache, &mut sink).unwrap();
    sink.0
}

/// A scrape on one core, without HTTP.
#[divan::bench(args = ["network", "identity", "gzip", "gzip again", "zstd", "zstd again"])]
fn scrape(bencher: Bencher<'_, '_>, what: &str) {
    let (encoding, groups) = match what {
        "network" => (Encoding::Identity, &[Group::Network][..]),
        "identity" => (Encoding::Identity, &Group::ALL[..]),
        "gzip" | "gzip again" => (Encoding::Gzip, &Group::ALL[..]),
        _ => (Encoding::Zstd, &Group::ALL[..]),
    };
    // Throughput counts the uncompressed bytes.
    let bytes =
        BytesCount::new(render(Encoding::Identity, groups, &CompressionCache::default(), NOW));
    let bencher = bencher.counter(bytes);
    if what.ends_with("again") {
        let cache = CompressionCache::default();
        let mut now = NOW;
        render(encoding, groups, &cache, now);
        // Idle times change in each scrape; the rest is cached.
        bencher.bench_local(|| {
            now += 1_000;
            render(encoding, groups, &cache, now)
        });
    } else {
        bencher.bench_local(|| render(encoding, groups, &CompressionCache::default(), NOW));
    }
}

/// Five of the thirteen device families of `scrape("identity")`, by a typical collector of the
/// `prometheus` crate: metric objects that each scrape creates, and the `TextEncoder`.
#[divan::bench(sample_count = 10)]
fn scrape_with_prometheus_crate(bencher: Bencher<'_, '_>) {
    use prometheus::{Encoder, GaugeVec, Opts, Registry, TextEncoder};
    const NAMES: [&str; 5] = ["info", "suspended", "created", "last_login", "idle"];
    let snapshot = FLEET.reader.snapshot();
    bencher.bench_local(|| {
        let registry = Registry::new();
        for name in NAMES {
            let name = format!("wickr_device_{name}_timestamp_seconds");
            let labels = ["network_id", "user_id", "app_id", "device_type"];
            let gauge = GaugeVec::new(Opts::new(name, "Help."), &labels).unwrap();
            for network in &snapshot.networks {
                let id = network.identity.id.as_str();
                for (user, reading) in network.served_users(Moment::unstepped(NOW)) {
                    for device in reading.devices.iter() {
                        let app_id = device.app_id.as_ref().map(AppId::text).unwrap_or_default();
                        let values = [id, user.id.as_str(), &*app_id, device.device_type()];
                        let value = device.last_login.millis().unwrap_or_default();
                        gauge.with_label_values(&values).set(value as f64 / 1e3);
                    }
                }
            }
            registry.register(Box::new(gauge)).unwrap();
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        text.len()
    });
}

/// The summary of a network whose blocks are unchanged.
#[divan::bench]
fn summary() -> Summary {
    let snapshot = FLEET.reader.snapshot();
    Summary::new(
        &snapshot.networks[0],
        Moment::unstepped(NOW),
        &[DAY, 7 * DAY, 30 * DAY],
        &[DAY, 7 * DAY],
    )
}

/// Updates a user and publishes the view, in a network of this many users.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn publish(bencher: Bencher<'_, '_>, users: u32) {
    let Fleet { mut publisher, labels, .. } = fleet(users);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7_919) % users;
        publisher.record_devices(&user(number), devices(number + 1, &labels), NOW);
        publisher.flush();
    });
}

#[divan::bench(args = [5, 100])]
fn page(bencher: Bencher<'_, '_>, count: usize) {
    let device = r#"{"appId":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","created":"January 5th 2026, 3:04:05 pm","lastLogin":"February 21st 2026, 11:59:59 am","statusText":"Active","suspend":false,"type":"MacOSX"}"#;
    let body = format!(r#"{{"devices":[{}],"nextToken":"t"}}"#, vec![device; count].join(","));
    let labels = Interner::default();
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        devices_page(body.as_bytes(), &labels, &TimeZone::UTC, &mut |_| {}).unwrap()
    });
}

#[divan::bench(args = ["January 5th 2026, 3:04:05 pm", "1767225600", "2026-01-05T15:04:05Z", "2026-01-05 15:04:05.123"])]
fn timestamp(text: &str) -> ApiTimestamp {
    ApiTimestamp::from_text(black_box(text), &TimeZone::UTC)
}

const HOST: &str = "admin.wickr.us-east-1.amazonaws.com";

fn url() -> String {
    format!(
        "https://{HOST}/networks/12345678/users/1001/devices?maxResults=100&sortDirection=ASC&sortFields=created"
    )
}

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "a secret access key", None, None, "bench")
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let (identity, url) = (credentials().into(), url());
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW as u64);
    bencher.bench_local(|| wickr::sign(&url, HOST, "us-east-1", &identity, time).unwrap());
}

#[divan::bench(sample_count = 10)]
fn state_encode() -> usize {
    inventory::state::encode(&FLEET.reader.snapshot()).unwrap().len()
}

#[divan::bench(sample_count = 10)]
fn state_decode(bencher: Bencher<'_, '_>) {
    let bytes = inventory::state::encode(&FLEET.reader.snapshot()).unwrap();
    let labels = Arc::new(Interner::default());
    bencher.bench_local(|| inventory::state::decode(&bytes, &labels).unwrap());
}
