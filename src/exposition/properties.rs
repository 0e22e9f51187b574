//! Random inventories: whatever happens to them, and whatever was kept from former scrapes, what is
//! streamed is byte for byte what the plain, slow reference writes.

use std::{io::Read, sync::Arc};

use super::*;
use crate::{
    inventory::{self, Directory, NetworkIdentity, Publisher, Sso, UserFacts},
    wickr::{ApiTimestamp, Device, ErrorKind, SecurityGroup, UserId},
};

const START: Millis = 1_767_225_600_250;
const HOUR: i64 = 3_600_000;
const USERS: u32 = 700;

struct World {
    random: fastrand::Rng,
    now: Millis,
}

impl World {
    fn text(&mut self) -> &'static str {
        let texts = ["", "iOS", "Android", "Windows", "a\"b\\c\nd", "é{},= ", "Reset", "Active"];
        texts[self.random.usize(..texts.len())]
    }

    fn stamp(&mut self) -> ApiTimestamp {
        match self.random.u8(..12) {
            0 => ApiTimestamp::NEVER,
            1 => ApiTimestamp::INVALID,
            // Ahead of the clock.
            2 => ApiTimestamp::at_millis(self.now + self.random.i64(0..HOUR)),
            3 => ApiTimestamp::at_millis(self.now - 24 * HOUR),
            _ => ApiTimestamp::at_millis(self.now - self.random.i64(0..2_000 * HOUR)),
        }
    }

    fn device(&mut self) -> Device {
        let id = self.random.u64(..);
        let odd = self.text();
        Device {
            app_id: match self.random.u8(..10) {
                0 => None,
                1 => Some(format!("{odd}{id}").into()),
                _ => Some(format!("{id:016x}").into()),
            },
            device_type: self.text().into(),
            status: self.text().into(),
            suspended: [None, Some(true), Some(false)][self.random.usize(..3)],
            created: self.stamp(),
            last_login: self.stamp(),
        }
    }

    fn devices(&mut self) -> Vec<Device> {
        (0..self.random.usize(..4)).map(|_| self.device()).collect()
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
                sso_max_idle: self
                    .random
                    .bool()
                    .then(|| Duration::from_secs(self.random.u64(..3_000_000))),
            };
            directory.facts.insert(self.user(), Arc::new(facts));
        }
        if self.random.bool() {
            let group = SecurityGroup { id: "g".into(), name: None, sso_max_idle: None };
            directory.sso = Some(Arc::new(Sso::Groups(vec![group])));
        }
        directory
    }

    /// Something happens to a network.
    fn happens(&mut self, publisher: &mut Publisher, known: &mut Vec<(UserId, Vec<Device>)>) {
        match self.random.u8(..8) {
            0 => {
                let few = self.random.u32(1..4);
                let wanted: Vec<UserId> = (0..USERS)
                    .filter(|_| self.random.u32(..10) < 3 * few)
                    .map(|id| id.to_string().parse().unwrap())
                    .collect();
                publisher.begin(&wanted);
            }
            1 => {
                publisher.end(self.now, Duration::from_millis(self.random.u64(..90_000)), true);
            }
            2 => publisher.set_directory(self.directory()),
            3 => {
                // The same as before, later.
                for (user, devices) in known.iter() {
                    publisher.read(user, devices.clone(), self.now);
                }
            }
            4 => {
                for _ in 0..self.random.usize(..40) {
                    let kind = ErrorKind::ALL[self.random.usize(..ErrorKind::ALL.len())];
                    publisher.failed(&self.user(), kind);
                }
            }
            _ => {
                for _ in 0..self.random.usize(..600) {
                    let (user, devices) = (self.user(), self.devices());
                    known.push((user.clone(), devices.clone()));
                    publisher.read(&user, devices, self.now);
                }
                known.truncate(800);
            }
        }
        publisher.flush();
    }
}

fn unpacked(encoding: Encoding, bytes: &[u8]) -> String {
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

/// The first line that differs.
fn compare(is: &str, should: &str, what: &str) {
    if is == should {
        return;
    }
    for (number, (is, should)) in is.lines().zip(should.lines()).enumerate() {
        assert_eq!(is, should, "{what}, line {}", number + 1);
    }
    panic!("{what}: {} lines, should be {}", is.lines().count(), should.lines().count());
}

fn campaign(seed: u64, steps: usize) {
    let mut world = World { random: fastrand::Rng::with_seed(seed), now: START };
    let (keeper, reader) = inventory::open();
    let identity = |id: &str, stale_minutes: u64| NetworkIdentity {
        id: id.parse().unwrap(),
        name: "a \"name\"".into(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(300),
        stale_after: Duration::from_secs(60 * stale_minutes),
    };
    let mut publishers = [
        (keeper.add(identity("12345678", 15), None), Vec::new()),
        (keeper.add(identity("87654321", 2_000), None), Vec::new()),
    ];
    let kept = CompressionCache::default();
    let buckets = [HOUR, 24 * HOUR, 720 * HOUR].map(|ms| Duration::from_millis(ms as u64));
    for step in 0..steps {
        let (publisher, known) = &mut publishers[world.random.usize(..2)];
        world.happens(publisher, known);
        world.now += [0, 1, 999, 60_000, 400_000, -5_000][world.random.usize(..6)];
        let snapshot = reader.snapshot();
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Identity] {
            let exposition = Exposition {
                snapshot: &snapshot,
                now: kept.moment(world.now),
                idle_buckets: &buckets,
                usernames: world.random.bool(),
                own: &[],
                groups: &Group::ALL,
            };
            // What the reference does not know, the golden file shows.
            let families: Vec<Family> = FAMILIES
                .iter()
                .filter(|family| {
                    let name = family.name;
                    !name.starts_with("wickr_security_group")
                        && (family.group != Group::Exporter
                            || name.ends_with("failures")
                            || name.ends_with("invalid_timestamps"))
                })
                .copied()
                .collect();
            let should = reference::text(&exposition, &families);
            let mut bytes = Vec::new();
            exposition.render(Format::Text, encoding, &kept, &mut bytes).unwrap();
            let text = unpacked(encoding, &bytes);
            let mut is = String::with_capacity(text.len());
            let known = |line: &str| families.iter().any(|family| of_family(line, family.name));
            for line in text.lines().filter(|line| known(line)) {
                is.push_str(line);
                is.push('\n');
            }
            compare(&is, &should, &format!("seed {seed}, step {step}, {encoding:?}"));

            let mut open = Vec::new();
            exposition.render(Format::OpenMetrics, encoding, &kept, &mut open).unwrap();
            same_samples(&text, &unpacked(encoding, &open));
        }
    }
}

/// Whether a line is of a family.
fn of_family(line: &str, name: &str) -> bool {
    let line = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let rest = line[..end].strip_prefix(name);
    rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
}

/// Whether both formats say the same, but for what they are known to differ in.
fn same_samples(text: &str, open: &str) {
    let text = text.lines().filter(|line| !line.starts_with('#'));
    let mut open = open.lines().filter(|line| !line.starts_with('#'));
    for line in text {
        let other = open.next().unwrap_or_default();
        if line != other {
            let other = other.replace("_gsum{", "_sum{").replace("_gcount{", "_count{");
            assert_eq!(line, other.replace(".0\"} ", "\"} "));
        }
    }
    assert_eq!(open.next(), None);
}

#[test]
fn the_stream_is_what_the_reference_writes_whatever_happens() {
    for seed in 0..3 {
        campaign(seed, 8);
    }
}

/// A network of 600 users, and scrapes of it.
struct Scraped {
    publisher: Publisher,
    reader: inventory::Reader,
    kept: CompressionCache,
    devices: Vec<Vec<Device>>,
}

impl Scraped {
    fn new() -> Scraped {
        let mut world = World { random: fastrand::Rng::with_seed(9), now: START };
        let (keeper, reader) = inventory::open();
        let identity = NetworkIdentity {
            id: "12345678".parse().unwrap(),
            name: String::new(),
            region: "us-east-1".into(),
            account: String::new(),
            interval: Duration::from_secs(300),
            stale_after: Duration::from_secs(90_000),
        };
        let mut publisher = keeper.add(identity, None);
        let devices: Vec<_> = (0..600).map(|_| world.devices()).collect();
        for (user, devices) in devices.iter().enumerate() {
            publisher.read(&Self::user(user), devices.clone(), START);
        }
        publisher.flush();
        Scraped { publisher, reader, kept: CompressionCache::default(), devices }
    }

    fn user(number: usize) -> UserId {
        number.to_string().parse().unwrap()
    }

    /// What a scrape is sent, and the pieces that are kept then.
    fn at(
        &self,
        now: Millis,
        encoding: Encoding,
    ) -> (Vec<u8>, Vec<Arc<compression::CompressedChunk>>) {
        let exposition = Exposition {
            snapshot: &self.reader.snapshot(),
            now,
            idle_buckets: &[],
            usernames: false,
            own: &[],
            groups: &[Group::User, Group::Device],
        };
        let mut bytes = Vec::new();
        exposition.render(Format::Text, encoding, &self.kept, &mut bytes).unwrap();
        (bytes, self.kept.pieces())
    }
}

/// How many of these pieces were not there before.
fn new_of(
    pieces: &[Arc<compression::CompressedChunk>],
    before: &[Arc<compression::CompressedChunk>],
) -> usize {
    pieces.iter().filter(|piece| !before.iter().any(|old| Arc::ptr_eq(old, piece))).count()
}

const COLUMNS: usize = columns::OF_USERS.len() + columns::OF_DEVICES.len();

#[test]
fn scrapes_of_the_same_moment_are_the_same_and_cost_nothing_twice() {
    let scraped = Scraped::new();
    let (first, made) = scraped.at(START, Encoding::Gzip);
    let blocks = scraped.reader.snapshot().networks[0].users.blocks().len();
    assert_eq!(made.len(), blocks * COLUMNS);
    // Nor does one in between that packs nothing cost anything.
    scraped.at(START + 900, Encoding::Identity);
    let (second, then) = scraped.at(START, Encoding::Gzip);
    assert_eq!(first, second);
    assert_eq!((then.len(), new_of(&then, &made)), (made.len(), 0));
    // A second later only idle times are new, of users and of devices.
    let (third, later) = scraped.at(START + 1_000, Encoding::Gzip);
    assert_ne!(first, third);
    assert_eq!((later.len(), new_of(&later, &made)), (made.len(), 2 * blocks));
}

#[test]
fn what_has_not_changed_is_not_packed_again() {
    let mut scraped = Scraped::new();
    let (_, made) = scraped.at(START, Encoding::Gzip);
    // Read again, and nothing new.
    scraped.publisher.read(&Scraped::user(7), scraped.devices[7].clone(), START);
    scraped.publisher.flush();
    let (_, read) = scraped.at(START, Encoding::Gzip);
    assert_eq!((read.len(), new_of(&read, &made)), (made.len(), 1), "when it was read");
    // Somebody has logged in: that, how long ago, and when it was read, of a user and a device.
    let user = scraped.devices.iter().position(|devices| !devices.is_empty()).unwrap();
    let mut devices = scraped.devices[user].clone();
    devices[0].last_login = ApiTimestamp::at_millis(START - 5);
    scraped.publisher.read(&Scraped::user(user), devices.clone(), START);
    scraped.publisher.flush();
    let (_, login) = scraped.at(START, Encoding::Gzip);
    assert_eq!((login.len(), new_of(&login, &read)), (made.len(), 5));
    devices[0].suspended = Some(devices[0].suspended != Some(true));
    scraped.publisher.read(&Scraped::user(user), devices, START);
    scraped.publisher.flush();
    let (_, all) = scraped.at(START, Encoding::Gzip);
    assert_eq!((all.len(), new_of(&all, &login)), (made.len(), COLUMNS));
}

#[test]
fn what_nobody_asks_for_goes() {
    let scraped = Scraped::new();
    let (_, made) = scraped.at(START, Encoding::Gzip);
    let (_, both) = scraped.at(START, Encoding::Zstd);
    assert_eq!(both.len(), 2 * made.len());
    let (_, later) = scraped.at(START + 599_000, Encoding::Gzip);
    assert_eq!(later.len(), both.len() - 2 * (made.len() / COLUMNS), "idle times of the other");
    let (_, later) = scraped.at(START + 601_000, Encoding::Gzip);
    assert_eq!(later.len(), made.len());
}

#[test]
fn a_block_that_would_be_large_in_memory_is_not_kept_but_sent() {
    let mut scraped = Scraped::new();
    let (_, made) = scraped.at(START, Encoding::Gzip);
    let device = |number: u32| Device {
        app_id: Some(format!("{number:032}").into()),
        device_type: "iOS".into(),
        status: "Active".into(),
        suspended: None,
        created: ApiTimestamp::NEVER,
        last_login: ApiTimestamp::NEVER,
    };
    scraped.publisher.read(&Scraped::user(7), (0..5_000).map(device).collect(), START);
    scraped.publisher.flush();
    let (bytes, kept) = scraped.at(START, Encoding::Gzip);
    assert_eq!(kept.len(), made.len() - COLUMNS);
    let text = unpacked(Encoding::Gzip, &bytes);
    let plain = String::from_utf8(scraped.at(START, Encoding::Identity).0).unwrap();
    compare(&text, &plain, "a large block");
}
