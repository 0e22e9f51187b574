//! Random inventories with a shared cache: the exposition equals that of the simple reference.

use std::{collections::HashSet, io::Read, sync::Arc};

use super::*;
use crate::{
    clock::Millis,
    inventory::{
        self, Collection, CollectorRecorder, Directory, ListedCounts, NetworkIdentity, Publisher,
        Sso, UserFacts,
    },
    wickr::{ApiTimestamp, Device, DeviceAttributes, ErrorKind, SecurityGroup, UserId},
};

const START: Millis = 1_767_225_600_250;
const HOUR: i64 = 3_600_000;
const USERS: u32 = 700;

struct World {
    random: fastrand::Rng,
    now: Moment,
}

impl World {
    fn text(&mut self) -> &'static str {
        let texts = ["", "iOS", "Android", "Windows", "a\"b\\c\nd", "é{},= ", "Reset", "Active"];
        texts[self.random.usize(..texts.len())]
    }

    fn timestamp(&mut self) -> ApiTimestamp {
        match self.random.u8(..12) {
            0 => ApiTimestamp::NEVER,
            1 => ApiTimestamp::INVALID,
            // In the future.
            2 => ApiTimestamp::at_millis(self.now.time + self.random.i64(0..HOUR)),
            3 => ApiTimestamp::at_millis(self.now.time - 24 * HOUR),
            _ => ApiTimestamp::at_millis(self.now.time - self.random.i64(0..2_000 * HOUR)),
        }
    }

    fn device(&mut self) -> Device {
        let id = self.random.u64(..);
        let prefix = self.text();
        Device {
            app_id: match self.random.u8(..10) {
                0 => None,
                1 => Some(format!("{prefix}{id}").into()),
                2 => Some(format!("{id:016x}").into()),
                _ => Some(format!("{id:064x}").into()),
            },
            attributes: self.attributes().into(),
            created: self.timestamp(),
            last_login: self.timestamp(),
        }
    }

    fn attributes(&mut self) -> DeviceAttributes {
        let suspended = [None, Some(true), Some(false)][self.random.usize(..3)];
        DeviceAttributes::new(self.text(), self.text(), suspended)
    }

    fn devices(&mut self) -> Vec<Device> {
        (0..self.random.usize(..4)).map(|_| self.device()).collect()
    }

    /// A run of a collector, with random values or a failure.
    fn collect(
        &mut self,
        recorder: &CollectorRecorder,
        collectors: &[(&'static str, &'static [Family])],
    ) {
        let (name, families) = collectors[self.random.usize(..collectors.len())];
        let mut collection = Collection::default();
        for family in families {
            for _ in 0..self.random.usize(..4) {
                let labels: Vec<_> = family.labels[1..].iter().map(|_| self.text()).collect();
                let value = self.random.bool().then(|| f64::from(self.random.u16(..)) / 4.0);
                collection.add(family, &labels, value);
            }
        }
        if self.random.bool() {
            collection.info.insert("account_id", self.text().into());
            collection.invalid_times.insert(name, self.random.u8(..3).into());
        }
        let failure = Err((crate::wickr::Operation::ListBots, ErrorKind::Timeout));
        let result = if self.random.u8(..3) == 0 { failure } else { Ok(collection) };
        recorder.record(name, self.now, Duration::from_secs(1), result);
    }

    fn user(&mut self) -> UserId {
        self.random.u32(..USERS).to_string().parse().unwrap()
    }

    fn directory(&mut self) -> Directory {
        let mut directory = Directory::default();
        for _ in 0..self.random.usize(..400) {
            let facts = UserFacts {
                username: self.random.bool().then(|| self.text().into()),
                status: [None, Some(1), Some(2), Some(7)][self.random.usize(..4)],
                suspended: [None, Some(false), Some(true)][self.random.usize(..3)],
                admin: [None, Some(false), Some(true)][self.random.usize(..3)],
                sso_max_idle: self
                    .random
                    .bool()
                    .then(|| Duration::from_secs(self.random.u64(..3_000_000))),
            };
            directory.facts.insert(self.user(), Arc::new(facts));
        }
        directory.counts = self.random.bool().then(|| ListedCounts {
            suspended: self.random.bool().then(|| self.random.u64(..9)),
            admins: Some(self.random.u64(..)),
            invites_expired: None,
        });
        if self.random.bool() {
            let group = SecurityGroup { id: "g".into(), name: None, sso_max_idle: None };
            directory.sso = Some(Arc::new(Sso::Groups(vec![group])));
        }
        directory
    }

    /// Applies a random event to a network.
    fn apply_event(&mut self, publisher: &mut Publisher, known: &mut Vec<(UserId, Vec<Device>)>) {
        match self.random.u8(..8) {
            0 => {
                let tenths = 3 * self.random.u32(1..4);
                let users: Vec<UserId> = (0..USERS)
                    .filter(|_| self.random.u32(..10) < tenths)
                    .map(|id| id.to_string().parse().unwrap())
                    .collect();
                publisher.begin(&users);
            }
            1 => {
                publisher.end(self.now, Duration::from_millis(self.random.u64(..90_000)), true);
            }
            2 => publisher.set_directory(self.directory()),
            3 => {
                // Unchanged users are read again.
                for (user, devices) in known.iter() {
                    publisher.record_devices(user, devices.clone(), self.now.time);
                }
            }
            4 => {
                for _ in 0..self.random.usize(..40) {
                    let kind = ErrorKind::ALL[self.random.usize(..ErrorKind::ALL.len())];
                    publisher.record_failure(&self.user(), kind);
                }
            }
            _ => {
                for _ in 0..self.random.usize(..600) {
                    let (user, devices) = (self.user(), self.devices());
                    known.push((user.clone(), devices.clone()));
                    publisher.record_devices(&user, devices, self.now.time);
                }
                known.truncate(800);
            }
        }
        publisher.flush();
    }
}

fn decompress(encoding: Encoding, bytes: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        Encoding::Identity => text = String::from_utf8(bytes.to_vec()).unwrap(),
        Encoding::Gzip => {
            let mut rest = bytes;
            flate2::bufread::GzDecoder::new(&mut rest).read_to_string(&mut text).unwrap();
            assert!(rest.is_empty());
        }
        Encoding::Zstd => text = String::from_utf8(zstd::decode_all(bytes).unwrap()).unwrap(),
    }
    text
}

/// Panics with the first line that differs.
fn compare(actual: &str, expected: &str, name: &str) {
    if actual == expected {
        return;
    }
    for (number, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}, line {}", number + 1);
    }
    panic!("{name}: {} lines, expected {}", actual.lines().count(), expected.lines().count());
}

fn campaign(seed: u64, steps: usize) {
    let mut world = World { random: fastrand::Rng::with_seed(seed), now: START.into() };
    let (registrar, reader) = inventory::open();
    let identity = |id: &str, stale_minutes: u64| NetworkIdentity {
        id: id.parse().unwrap(),
        name: "a \"name\"".into(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(300),
        stale_after: Duration::from_secs(60 * stale_minutes),
    };
    let mut publishers = [
        (registrar.add(identity("12345678", 15), None), Vec::new()),
        (registrar.add(identity("87654321", 2_000), None), Vec::new()),
    ];
    let recorder = registrar.add_collectors("12345678".parse().unwrap(), Vec::new());
    let collectors: Vec<_> =
        collectors::CollectorRef::all().map(|c| (c.name(), c.families())).collect();
    recorder.enable(Duration::from_secs(900), &collectors, world.now);
    let cache = CompressionCache::default();
    let buckets = [HOUR, 24 * HOUR, 720 * HOUR].map(|ms| Duration::from_millis(ms as u64));
    for step in 0..steps {
        let (publisher, known) = &mut publishers[world.random.usize(..2)];
        world.apply_event(publisher, known);
        if world.random.u8(..4) == 0 {
            world.collect(&recorder, &collectors);
        }
        let passed = [0, 1, 999, 60_000, 400_000, -5_000][world.random.usize(..6)];
        world.now.time += passed;
        // The clock can be set back.
        world.now.steady += passed.max(0);
        let snapshot = reader.snapshot();
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Identity] {
            let exposition = Exposition {
                snapshot: &snapshot,
                now: world.now,
                idle_buckets: &buckets,
                sso_horizons: &buckets,
                usernames: world.random.bool(),
                exporter_metrics: &[],
                groups: &Group::ALL,
            };
            // The golden file covers the families that the reference lacks.
            let families: Vec<Family> = families()
                .filter(|family| {
                    let name = family.name;
                    !["wickr_security_group_info", "wickr_security_group_sso_max_idle_seconds"]
                        .contains(&name)
                        && (family.group != Group::Exporter
                            || name.ends_with("failures")
                            || name.ends_with("invalid_timestamps"))
                })
                .copied()
                .collect();
            let names: HashSet<&str> = families.iter().map(|family| family.name).collect();
            let expected = reference::text(&exposition, &families);
            if world.random.bool() {
                exposition.recompress(&cache, || Ok(())).unwrap();
            }
            let mut bytes = Vec::new();
            exposition.render(Format::Text, encoding, &cache, &mut bytes).unwrap();
            let text = decompress(encoding, &bytes);
            let mut actual = String::with_capacity(text.len());
            for line in text.lines().filter(|line| is_of_family(line, &names)) {
                actual.push_str(line);
                actual.push('\n');
            }
            compare(&actual, &expected, &format!("seed {seed}, step {step}, {encoding:?}"));

            let mut open_metrics = Vec::new();
            exposition.render(Format::OpenMetrics, encoding, &cache, &mut open_metrics).unwrap();
            assert_same_samples(&text, &decompress(encoding, &open_metrics));
        }
    }
}

fn is_of_family(line: &str, names: &HashSet<&str>) -> bool {
    let line = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    let end = line.bytes().position(|byte| byte == b'{' || byte == b' ').unwrap_or(line.len());
    let name = &line[..end];
    let suffixes = ["", "_bucket", "_sum", "_count"];
    suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|name| names.contains(name)))
}

/// Compares the samples of both formats, except for known differences.
fn assert_same_samples(text: &str, open_metrics: &str) {
    let text = text.lines().filter(|line| !line.starts_with('#'));
    let mut other_lines = open_metrics.lines().filter(|line| !line.starts_with('#'));
    for line in text {
        let other = other_lines.next().unwrap_or_default();
        if line != other {
            let other = other.replace("_gsum{", "_sum{").replace("_gcount{", "_count{");
            assert_eq!(line, other.replace(".0\"} ", "\"} "));
        }
    }
    assert_eq!(other_lines.next(), None);
}

#[test]
fn matches_the_reference_after_random_events() {
    for seed in 0..3 {
        campaign(seed, 8);
    }
}

/// A network of 600 users that is scraped.
struct Scraped {
    publisher: Publisher,
    reader: inventory::Reader,
    cache: CompressionCache,
    devices: Vec<Vec<Device>>,
}

impl Scraped {
    fn new() -> Scraped {
        let mut world = World { random: fastrand::Rng::with_seed(9), now: START.into() };
        let (registrar, reader) = inventory::open();
        let identity = NetworkIdentity {
            id: "12345678".parse().unwrap(),
            name: String::new(),
            region: "us-east-1".into(),
            account: String::new(),
            interval: Duration::from_secs(300),
            stale_after: Duration::from_secs(90_000),
        };
        let mut publisher = registrar.add(identity, None);
        let devices: Vec<_> = (0..600).map(|_| world.devices()).collect();
        for (user, devices) in devices.iter().enumerate() {
            publisher.record_devices(&Self::user(user), devices.clone(), START);
        }
        publisher.flush();
        Scraped { publisher, reader, cache: CompressionCache::default(), devices }
    }

    fn user(number: usize) -> UserId {
        number.to_string().parse().unwrap()
    }

    /// The body of a scrape, and the cached chunks after it.
    fn scrape(
        &self,
        now: impl Into<Moment>,
        encoding: Encoding,
    ) -> (Vec<u8>, Vec<Arc<compression::CompressedChunk>>) {
        let snapshot = self.reader.snapshot();
        let mut bytes = Vec::new();
        let exposition = Self::exposition(&snapshot, now.into());
        exposition.render(Format::Text, encoding, &self.cache, &mut bytes).unwrap();
        (bytes, self.cache.chunks())
    }

    fn recompress(&self, now: Millis) {
        let snapshot = self.reader.snapshot();
        Self::exposition(&snapshot, now.into()).recompress(&self.cache, || Ok(())).unwrap();
    }

    fn exposition(snapshot: &Snapshot, now: Moment) -> Exposition<'_> {
        Exposition {
            snapshot,
            now,
            idle_buckets: &[],
            sso_horizons: &[],
            usernames: false,
            exporter_metrics: &[],
            groups: &[Group::User, Group::Device],
        }
    }
}

fn count_new(
    chunks: &[Arc<compression::CompressedChunk>],
    before: &[Arc<compression::CompressedChunk>],
) -> usize {
    chunks.iter().filter(|chunk| !before.iter().any(|old| Arc::ptr_eq(old, chunk))).count()
}

/// All but the idle times of users and devices.
const CACHED_COLUMNS: usize = columns::USER_COLUMNS.len() + columns::DEVICE_COLUMNS.len() - 2;

#[test]
fn scrapes_use_the_chunks_of_earlier_ones() {
    let scraped = Scraped::new();
    let (first, made) = scraped.scrape(START, Encoding::Gzip);
    let blocks = scraped.reader.snapshot().networks[0].users.blocks().len();
    assert_eq!(made.len(), blocks * CACHED_COLUMNS);
    // An uncompressed scrape does not change the cache.
    scraped.scrape(START + 900, Encoding::Identity);
    let (second, then) = scraped.scrape(START, Encoding::Gzip);
    assert_eq!(first, second);
    assert_eq!((then.len(), count_new(&then, &made)), (made.len(), 0));
    // A moment later, only the idle times of users and devices are new. They are not cached.
    let (third, later) = scraped.scrape(START + 1, Encoding::Gzip);
    assert_ne!(first, third);
    assert_eq!((later.len(), count_new(&later, &made)), (made.len(), 0));
}

#[test]
fn compresses_only_changed_families() {
    let mut scraped = Scraped::new();
    let (_, made) = scraped.scrape(START, Encoding::Gzip);
    // A user is read again without a change.
    scraped.publisher.record_devices(&Scraped::user(7), scraped.devices[7].clone(), START);
    scraped.publisher.flush();
    let (_, read) = scraped.scrape(START, Encoding::Gzip);
    assert_eq!((read.len(), count_new(&read, &made)), (made.len(), 1), "only the read time");
    // A login: the last login of user and device, the SSO expiry, and the read time.
    let user = scraped.devices.iter().position(|devices| !devices.is_empty()).unwrap();
    let mut devices = scraped.devices[user].clone();
    devices[0].last_login = ApiTimestamp::at_millis(START - 5);
    scraped.publisher.record_devices(&Scraped::user(user), devices.clone(), START);
    scraped.publisher.flush();
    let (_, login) = scraped.scrape(START, Encoding::Gzip);
    assert_eq!((login.len(), count_new(&login, &read)), (made.len(), 4));
    toggle_suspended(&mut devices[0]);
    scraped.publisher.record_devices(&Scraped::user(user), devices, START);
    scraped.publisher.flush();
    let (_, all) = scraped.scrape(START, Encoding::Gzip);
    assert_eq!((all.len(), count_new(&all, &login)), (made.len(), CACHED_COLUMNS));
}

fn toggle_suspended(device: &mut Device) {
    let attributes = Arc::make_mut(&mut device.attributes);
    attributes.suspended = Some(attributes.suspended != Some(true));
}

#[test]
fn recompresses_what_scrapes_have_requested() {
    let mut scraped = Scraped::new();
    scraped.recompress(START);
    assert_eq!(scraped.cache.chunks().len(), 0, "nothing is requested");
    let (_, made) = scraped.scrape(START, Encoding::Gzip);
    let user = scraped.devices.iter().position(|devices| !devices.is_empty()).unwrap();
    let mut devices = scraped.devices[user].clone();
    toggle_suspended(&mut devices[0]);
    scraped.publisher.record_devices(&Scraped::user(user), devices, START);
    scraped.publisher.flush();
    scraped.recompress(START + 500);
    let ready = scraped.cache.chunks();
    assert_eq!(count_new(&ready, &made), CACHED_COLUMNS);
    let (bytes, chunks) = scraped.scrape(START + 60_000, Encoding::Gzip);
    assert_eq!(count_new(&chunks, &ready), 0);
    let plain = String::from_utf8(scraped.scrape(START + 60_000, Encoding::Identity).0).unwrap();
    compare(&decompress(Encoding::Gzip, &bytes), &plain, "after a change");
    // Without scrapes, nothing is kept.
    scraped.recompress(START + 660_000);
    assert_eq!(scraped.cache.chunks().len(), 0);
}

#[test]
fn compresses_sso_expiry_again_only_when_a_session_ends() {
    let mut scraped = Scraped::new();
    // A session of the first block ends a minute after the start. Other users have no limit.
    let last_login = ApiTimestamp::at_millis(START);
    let devices = vec![Device { last_login, ..scraped.devices.concat().remove(0) }];
    let facts = UserFacts { sso_max_idle: Some(Duration::from_secs(60)), ..UserFacts::default() };
    let facts = [(Scraped::user(1), Arc::new(facts))].into();
    scraped.publisher.set_directory(Directory { facts, ..Directory::default() });
    scraped.publisher.record_devices(&Scraped::user(1), devices, START);
    scraped.publisher.flush();
    let (_, made) = scraped.scrape(START, Encoding::Gzip);
    let (_, later) = scraped.scrape(START + 60_000, Encoding::Gzip);
    assert_eq!(count_new(&later, &made), 0);
    let (_, ended) = scraped.scrape(START + 60_001, Encoding::Gzip);
    assert_eq!(count_new(&ended, &later), 1);
    assert_eq!(ended.len(), made.len());
}

#[test]
fn drops_unused_chunks() {
    let scraped = Scraped::new();
    let (_, made) = scraped.scrape(START, Encoding::Gzip);
    let (_, both) = scraped.scrape(START, Encoding::Zstd);
    assert_eq!(both.len(), 2 * made.len());
    let (_, later) = scraped.scrape(START + 599_000, Encoding::Gzip);
    assert_eq!(later.len(), both.len());
    let (_, later) = scraped.scrape(START + 601_000, Encoding::Gzip);
    assert_eq!(later.len(), made.len());
}

#[test]
fn does_not_cache_a_block_with_many_devices() {
    let mut scraped = Scraped::new();
    let (_, made) = scraped.scrape(START, Encoding::Gzip);
    let device = |number: u32| Device {
        app_id: Some(format!("{number:032}").into()),
        attributes: DeviceAttributes::new("iOS", "Active", None).into(),
        created: ApiTimestamp::NEVER,
        last_login: ApiTimestamp::NEVER,
    };
    scraped.publisher.record_devices(&Scraped::user(7), (0..5_000).map(device).collect(), START);
    scraped.publisher.flush();
    let (bytes, chunks) = scraped.scrape(START, Encoding::Gzip);
    assert_eq!(chunks.len(), made.len() - CACHED_COLUMNS);
    let text = decompress(Encoding::Gzip, &bytes);
    let plain = String::from_utf8(scraped.scrape(START, Encoding::Identity).0).unwrap();
    compare(&text, &plain, "a large block");
}
