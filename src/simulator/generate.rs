//! A fleet from a seed: the same seed generates the same ids, names, devices and ages.

use std::borrow::Cow;

use fastrand::Rng;
use serde_json::json;

use super::device::{Device, Devices};
use super::fleet::{Fleet, Network, Overrides, SecurityGroup, network, security_group};
use super::options::{Count, Options};
use super::organisation::Organisation;
use super::user::{User, user};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;

const FIRST: [&str; 16] = [
    "Alice", "Bob", "Charlie", "Dana", "Émile", "Fatima", "Grace", "Hiro", "Ingrid", "João",
    "Kofi", "Léa", "Mei", "Noor", "Øyvind", "Priya",
];
const LAST: [&str; 16] = [
    "Anderson",
    "Brown",
    "Chen",
    "Davis",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lindström",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Petrov",
];
const NETWORK_NAMES: [&str; 6] =
    ["Production", "Field Operations", "Engineering", "Legal & Finance", "Partners", "Training"];
/// Name and `ssoMaxIdleMinutes`: absent, limits, and 0, which is no limit.
const GROUPS: [(&str, Option<i64>); 4] = [
    ("default", None),
    ("engineering", Some(43_200)),
    ("executives", Some(10_080)),
    ("contractors", Some(0)),
];

/// Generates the same devices of one user every time.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceGenerator {
    seed: u64,
    count: u32,
    /// The time that ages are relative to, in milliseconds since 1970.
    now_ms: i64,
}

pub(super) fn generate_fleet(options: &Options, now_ms: i64) -> Fleet {
    (0..options.networks)
        .fold(Fleet::new(), |fleet, index| fleet.network(generate_network(options, index, now_ms)))
}

/// Starts at 12345678. The step has no common factor with 10^8, so that ids are unique.
fn network_id(index: u32) -> String {
    format!("{:08}", (12_345_678 + u64::from(index) * 11_111_111) % 100_000_000)
}

fn generate_network(options: &Options, index: u32, now_ms: i64) -> Network {
    let seed = mix(options.seed, u64::from(index));
    let mut rng = Rng::with_seed(seed);
    let groups: Vec<SecurityGroup> = GROUPS
        .iter()
        .map(|&(name, limit)| {
            let group = security_group(alphanumeric(&mut rng, 8)).name(name);
            let group = if name == "default" { group.default_group() } else { group };
            let group = group_settings(group, name);
            limit.map_or(group.clone(), |limit| group.sso_max_idle_minutes(limit))
        })
        .collect();
    let group_ids: Vec<String> = groups.iter().map(|group| group.id.clone()).collect();
    let users = (0..options.users)
        .map(|n| generate_user(u64::from(n), seed, options.devices_per_user, now_ms, &group_ids));
    let mut network = network(network_id(index)).name(network_name(index)).with_users(users);
    network.organisation = Organisation::generate(&group_ids, now_ms, seed);
    network.access_level = if index % 3 == 2 { "STANDARD" } else { "PREMIUM" }.to_owned();
    let mut members = vec![0; groups.len()];
    for user in network.users().filter(|user| user.status == 2) {
        for group in &user.groups {
            if let Some(at) = group_ids.iter().position(|id| id == group) {
                members[at] += 1;
            }
        }
    }
    groups.into_iter().zip(members).fold(network, |network, (mut group, members)| {
        group.active_members = members;
        network.group(group)
    })
}

/// Stricter settings for executives, and a session limit for contractors.
fn group_settings(group: SecurityGroup, name: &str) -> SecurityGroup {
    let strict = name == "executives";
    let group = group
        .setting("isAtoEnabled", strict)
        .setting("filesEnabled", true)
        .setting("enableGuestFederation", !strict)
        .setting("globalFederation", !strict)
        .setting("calling", json!({ "canStart11Call": true, "canVideoCall": !strict }))
        .setting("shredder", json!({ "canProcessManually": true, "intensity": 60 }))
        .setting("maxTtl", 2_592_000);
    match name {
        "contractors" => group.setting("maxNonSsoSessionMinutes", 1440),
        _ => group,
    }
}

fn network_name(index: u32) -> String {
    let count = NETWORK_NAMES.len() as u32;
    let name = NETWORK_NAMES[(index % count) as usize];
    if index < count { name.to_owned() } else { format!("{name} {}", index / count + 1) }
}

fn generate_user(
    n: u64,
    network_seed: u64,
    devices: Count,
    now_ms: i64,
    groups: &[String],
) -> User {
    let id = (1001 + n).to_string();
    let seed = mix(network_seed, 1001 + n);
    let mut rng = Rng::with_seed(seed);
    let first = FIRST[rng.usize(..FIRST.len())];
    let last = LAST[rng.usize(..LAST.len())];
    let mut user = user(id.clone());
    user.username = format!("{}.{}.{id}@example.com", ascii(first), ascii(last));
    user.first_name = Cow::Borrowed(first);
    user.last_name = Cow::Borrowed(last);
    user.admin = rng.u8(..100) < 3;
    user.suspended = rng.u8(..100) < 2;
    // One user in fifty is pending, but not the first, so that every fleet has an active one.
    if n > 0 && rng.u8(..50) == 0 {
        return user.pending(format!("INVITE{}", alphanumeric(&mut rng, 10)));
    }
    user.groups.push(groups[0].clone());
    if rng.u8(..3) == 0 {
        user.groups.push(groups[rng.usize(1..groups.len())].clone());
    }
    user.devices = Devices::generated(DeviceGenerator {
        seed,
        count: device_count(devices, &mut rng),
        now_ms,
    });
    user
}

/// Squaring makes small counts more likely than large ones.
fn device_count(range: Count, rng: &mut Rng) -> u32 {
    let spread = f64::from(range.max.saturating_sub(range.min)) + 1.0;
    let position = rng.f64().powi(2);
    range.min + ((spread * position) as u32).min(range.max.saturating_sub(range.min))
}

impl DeviceGenerator {
    pub(super) fn devices(&self) -> Vec<Device> {
        let mut rng = Rng::with_seed(self.seed ^ 0xD0D0);
        (0..u64::from(self.count))
            .map(|serial| generate_device(serial, self.now_ms, &mut rng))
            .collect()
    }
}

/// A device that was used up to 120 days ago, a third of them within a day.
pub(super) fn generate_device(serial: u64, now_ms: i64, rng: &mut Rng) -> Device {
    let kind = match rng.u8(..100) {
        0..35 => "iOS",
        35..60 => "Android",
        60..82 => "Windows",
        _ => "MacOSX",
    };
    let idle_ms = match rng.u8(..100) {
        0..35 => rng.i64(MINUTE_MS..DAY_MS),
        35..70 => rng.i64(DAY_MS..7 * DAY_MS),
        70..88 => rng.i64(7 * DAY_MS..30 * DAY_MS),
        _ => rng.i64(30 * DAY_MS..120 * DAY_MS),
    };
    let created_ms = now_ms - idle_ms - rng.i64(MINUTE_MS..400 * DAY_MS);
    let (status, suspend) = match rng.u8(..100) {
        0..5 => ("Suspended", true),
        5..8 => ("Reset", false),
        _ => ("Active", false),
    };
    Device {
        serial,
        app_id: app_id(rng),
        kind: Cow::Borrowed(kind),
        status: Cow::Borrowed(status),
        suspend,
        created_ms,
        last_login_ms: (rng.u8(..100) >= 4).then_some(now_ms - idle_ms),
        raw: None,
        overrides: Overrides::default(),
    }
}

/// 64 lowercase hex digits.
fn app_id(rng: &mut Rng) -> String {
    use std::fmt::Write;
    (0..4).fold(String::with_capacity(64), |mut id, _| {
        // Writing to a String cannot fail.
        let _ = write!(id, "{:016x}", rng.u64(..));
        id
    })
}

fn alphanumeric(rng: &mut Rng, length: usize) -> String {
    (0..length).map(|_| rng.alphanumeric()).collect()
}

fn ascii(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
}

/// Combines two seeds; similar seeds give unrelated results (splitmix64).
pub(super) fn mix(seed: u64, with: u64) -> u64 {
    let mut z = seed ^ with.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { networks: 2, users: 400, ..Options::default() }
    }

    #[test]
    fn the_same_seed_generates_the_same_fleet() {
        let [one, two] = [1, 2].map(|_| generate_fleet(&options(), 0));
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
        let other = generate_fleet(&Options { seed: 7, ..options() }, 0);
        assert_ne!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn ids_start_as_documented() {
        let fleet = generate_fleet(&options(), 0);
        let ids: Vec<&str> = fleet.networks().map(Network::id).collect();
        assert_eq!(ids, ["12345678", "23456789"]);
        let network = fleet.get("12345678").unwrap();
        let first: Vec<&str> = network.users().map(User::id).take(2).collect();
        assert_eq!(first, ["1001", "1002"]);
        assert_eq!(network.users().count(), 400);
    }

    #[test]
    fn devices_have_the_documented_distribution() {
        let now = 1_700_000_000_000;
        let devices = DeviceGenerator { seed: 5, count: 10_000, now_ms: now }.devices();
        let fraction = |test: &dyn Fn(&Device) -> bool| {
            devices.iter().filter(|device| test(device)).count() as f64 / devices.len() as f64
        };
        let near = |fraction: f64, expected: f64| (fraction - expected).abs() < 0.01;
        assert!(near(fraction(&|d| d.suspend && d.status == "Suspended"), 0.05));
        assert!(near(fraction(&|d| d.status == "Reset"), 0.03));
        assert!(near(fraction(&|d| d.last_login_ms.is_none()), 0.04));
        assert!(devices.iter().all(|d| d.app_id.len() == 64));
        assert!(devices.iter().flat_map(|d| d.last_login_ms).all(|at| {
            let age = now - at;
            (MINUTE_MS..=120 * DAY_MS).contains(&age)
        }));
    }

    #[test]
    fn device_counts_stay_in_the_range() {
        let mut rng = Rng::with_seed(1);
        let counts: Vec<u32> =
            (0..5_000).map(|_| device_count(Count { min: 0, max: 250 }, &mut rng)).collect();
        assert_eq!(counts.iter().min(), Some(&0));
        assert!((200..=250).contains(counts.iter().max().unwrap()));
        assert_eq!(device_count(Count { min: 5, max: 5 }, &mut rng), 5);
    }
}
