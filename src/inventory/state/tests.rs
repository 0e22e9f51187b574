//! Round trips and invalid files.

use std::sync::Arc;

use super::*;
use crate::{
    clock::Moment,
    inventory::{self, Directory, NetworkIdentity, fixtures},
    wickr::{ApiTimestamp, DeviceAttributes},
};

fn identity() -> NetworkIdentity {
    let (name, account) = ("a name".into(), "an account".into());
    NetworkIdentity { name, account, ..fixtures::identity("12345678") }
}

fn device(app_id: Option<&str>, last_login: ApiTimestamp) -> Device {
    Device {
        app_id: app_id.map(Into::into),
        attributes: DeviceAttributes::new("iOS", "Active", app_id.map(|_| true)).into(),
        created: ApiTimestamp::at_millis(-5),
        last_login,
    }
}

fn encoded() -> (Vec<Device>, Vec<u8>) {
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity(), None);
    let users: Vec<UserId> = ["1", "2", "3"].map(|id| id.parse().unwrap()).into();
    let devices = vec![
        device(Some("a"), ApiTimestamp::at_millis(1_700_000_000_123)),
        device(Some("b"), ApiTimestamp::NEVER),
        device(None, ApiTimestamp::INVALID),
    ];
    publisher.begin(&users);
    publisher.record_devices(&users[0], devices.clone(), 1_000);
    publisher.record_failure(&users[1], crate::wickr::ErrorKind::Timeout);
    publisher.record_devices(&users[2], vec![], 2_000);
    publisher.end(3_000, Duration::from_millis(1_500), true);
    (devices, encode(&reader.snapshot()).unwrap())
}

#[test]
fn restores_data_with_its_times_as_stale() {
    let (devices, bytes) = encoded();
    let mut networks = decode(&bytes, &Interner::default()).unwrap();
    let restored = networks.remove(&identity().id).unwrap();
    assert!(networks.is_empty());
    assert_eq!((restored.name.as_str(), restored.account.as_str()), ("a name", "an account"));
    assert_eq!(restored.users.len(), 2, "only users with data");
    assert_eq!(*restored.users[0].data.devices, devices[..]);

    let (registrar, reader) = inventory::open();
    let _publisher = registrar.add(identity(), Some(restored));
    registrar.mark_complete();
    assert!(reader.is_ready(), "restored data makes it ready");
    let view = reader.snapshot().networks[0].clone();
    assert_eq!(view.users_by_freshness(3_000), [0, 2, 0]);
    assert!(!view.is_up(3_000) && !view.users.iter().any(|user| user.is_up()));
    assert_eq!(view.types, [InternedStr::from("iOS")]);
    // The first user was read before the last poll, the third in it.
    assert_eq!(view.users_by_freshness(181_001), [0, 1, 1]);
    assert_eq!(view.users_by_freshness(183_000), [0, 1, 1]);
    assert_eq!(view.users_by_freshness(183_001), [0, 0, 2]);
}

#[test]
fn restores_the_user_list_with_users_that_were_not_read() {
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity(), None);
    let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
    let list = DiscoveredUsers { selector_id: u64::MAX, users: users.clone() };
    publisher.set_directory(Directory { user_list: Some(list.clone()), ..Directory::default() });
    publisher.begin(&users);
    publisher.record_devices(&users[0], vec![], 1_000);
    publisher.flush();
    let bytes = encode(&reader.snapshot()).unwrap();
    let restored = decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();
    assert_eq!((restored.users.len(), &restored.user_list), (1, &Some(list.clone())));
    let again = registrar.add(identity(), Some(restored.clone()));
    assert_eq!(
        (again.discovered_users(), again.users().len()),
        (Some(&list), 1),
        "no poll had ended"
    );
    // If a poll had ended, a user that was not read is missing.
    let last_poll = Some(LastPoll { at: 1, duration: Duration::ZERO, result: PollResult::Partial });
    let again = registrar.add(identity(), Some(RestoredNetwork { last_poll, ..restored }));
    assert_eq!(again.users(), list.users[..]);
    let view = reader.snapshot().networks[2].clone();
    assert_eq!(view.users_by_freshness(1_000), [0, 1, 1]);
    // Older files have no user list.
    let earlier = rmp_serde::to_vec(&("12345678", "", "", [0; 0], (), (), [0; 0])).unwrap();
    let part: NetworkPart = rmp_serde::from_slice(&earlier).unwrap();
    assert_eq!(restore(part, &[], &Interner::default()).unwrap().1.user_list, None);
}

#[tokio::test]
async fn keeps_data_after_its_poller_panics() {
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity(), None);
    let user = ["1".parse().unwrap()];
    publisher.begin(&user);
    publisher.record_devices(&user[0], vec![], 1_000);
    publisher.flush();
    let polling = tokio::spawn(async move {
        tokio::task::yield_now().await;
        let beyond = publisher.users().len();
        publisher.record_failure(&[][beyond..][0], crate::wickr::ErrorKind::Timeout);
    });
    assert!(polling.await.unwrap_err().is_panic());
    let saved = decode(&encode(&reader.snapshot()).unwrap(), &Interner::default()).unwrap();
    assert_eq!(saved[&identity().id].users.len(), 1);
    let other = NetworkIdentity { id: "87654321".parse().unwrap(), ..identity() };
    registrar.add(other, None).withdraw();
    assert_eq!(reader.snapshot().networks.len(), 1);
}

#[test]
fn rejects_truncated_changed_foreign_and_newer_files() {
    let (_, bytes) = encoded();
    let interner = Interner::default();
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end], &interner).is_err(), "{end}");
    }
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        assert!(decode(&changed, &interner).is_err(), "{index}");
    }
    assert_eq!(decode(b"", &interner), Err(StateError::NotStateFile));
    assert_eq!(
        decode(b"wickr-exporter state 2\nx", &interner),
        Err(StateError::UnsupportedVersion(2))
    );
    assert_eq!(decode(b"wickr-exporter state x\nx", &interner), Err(StateError::NotStateFile));
    // Invalid content with a correct checksum.
    for payload in [&b""[..], b"\xc1", b"\x92\x90\x91\x90", b"\xff\xff"] {
        let mut file = [MAGIC, &Sha256::digest(payload)].concat();
        file.extend_from_slice(payload);
        assert!(
            matches!(decode(&file, &interner), Err(StateError::InvalidContent(_))),
            "{payload:?}"
        );
    }
}

#[test]
fn a_user_with_one_device_takes_less_than_a_hundred_bytes() {
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity(), None);
    let users: Vec<UserId> =
        (1_000..6_000).map(|id: u32| id.to_string().parse().unwrap()).collect();
    publisher.begin(&users);
    let mut random = fastrand::Rng::with_seed(1);
    for user in &users {
        let id: String = (0..4).map(|_| format!("{:016x}", random.u64(..))).collect();
        let at = |random: &mut fastrand::Rng| {
            ApiTimestamp::at_millis(1_700_000_000_000 + random.i64(0..9_999_999_999))
        };
        let device = Device { created: at(&mut random), ..device(Some(&id), at(&mut random)) };
        publisher.record_devices(user, vec![device], 1_700_000_000_000 + random.i64(0..100_000));
    }
    publisher.end(1_700_000_100_000, Duration::ZERO, true);
    let without = encode(&reader.snapshot()).unwrap().len();
    let user_list = Some(DiscoveredUsers { selector_id: 1, users: users.into() });
    publisher.set_directory(Directory { user_list, ..Directory::default() });
    let bytes = encode(&reader.snapshot()).unwrap().len();
    let for_list = bytes - without;
    assert!((250_000..500_000).contains(&bytes), "{bytes}, {for_list} of them for the list");
}

#[test]
fn rejects_times_out_of_range() {
    let read = |millis: u64| {
        let bytes = rmp_serde::to_vec(&millis).unwrap();
        rmp_serde::from_slice::<TimestampPart>(&bytes).map(ApiTimestamp::from).ok()
    };
    assert_eq!(read(i64::MAX as u64), Some(ApiTimestamp::at_millis(i64::MAX)));
    assert_eq!(read(i64::MAX as u64 + 1), None);
    assert_eq!(read(u64::MAX), None);
}

#[test]
fn continues_counting_changes_of_devices() {
    let (registrar, reader) = inventory::open();
    registrar.defer_changes();
    let mut publisher = registrar.add(identity(), None);
    let users = ["1", "2"].map(|id| id.parse().unwrap());
    let device = |app_id: &str| device(Some(app_id), ApiTimestamp::at_millis(1));
    let poll = |publisher: &mut inventory::Publisher, app_id: &str, readable: usize, at| {
        publisher.begin(&users);
        users[..readable]
            .iter()
            .for_each(|user| publisher.record_devices(user, vec![device(app_id)], at));
        let kind = crate::wickr::ErrorKind::Timeout;
        users[readable..].iter().for_each(|user| publisher.record_failure(user, kind));
        publisher.end(at, Duration::ZERO, true);
    };
    publisher.set_timezone("UTC");
    poll(&mut publisher, "a", 2, 0);
    // The data of the second user expires.
    for at in [1_000, 1_000_000, 2_000_000] {
        poll(&mut publisher, "b", 1, at);
    }
    let snapshot = reader.snapshot();
    assert_eq!(
        (snapshot.networks[0].changes, snapshot.networks[0].exposed_changes()),
        ([1, 1, 0, 0, 0, 0], [0; 6])
    );
    let bytes = encode(&snapshot).unwrap();
    assert!(snapshot.has_unexposed_changes());
    snapshot.networks[0].expose_changes();
    assert!(!reader.snapshot().has_unexposed_changes());
    let restored = decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();
    assert_eq!((restored.users.len(), restored.changes.expired.len()), (1, 1));
    publisher.withdraw();
    let mut again = registrar.add(identity(), Some(restored.clone()));
    let view = reader.snapshot().networks[0].clone();
    assert_eq!(
        (view.exposed_changes(), view.served_users(2_000_000).count()),
        ([1, 1, 0, 0, 0, 0], 1)
    );
    again.set_timezone("UTC");
    poll(&mut again, "c", 2, 2_001_000);
    assert_eq!(reader.snapshot().networks[0].changes, [3, 3, 0, 0, 0, 0]);
    again.withdraw();
    // In another time zone, logins are not compared.
    let mut again = registrar.add(identity(), Some(restored));
    again.set_timezone("Europe/Berlin");
    again.begin(&users);
    let later = Device { last_login: ApiTimestamp::at_millis(2), ..device("b") };
    again.record_devices(&users[0], vec![later], 3_000_000);
    again.flush();
    assert_eq!(reader.snapshot().networks[0].changes, [1, 1, 0, 0, 0, 0]);
}

#[test]
fn compares_no_logins_after_a_time_zone_change_and_restarts() {
    let hour = 3_600_000;
    let users = ["1", "2", "3"].map(|id| id.parse().unwrap());
    let logged_in = |at| vec![device(Some("a"), ApiTimestamp::at_millis(at))];
    let logins = |publisher: &mut inventory::Publisher, user: usize, at| {
        publisher.begin_partial(&users, 1);
        publisher.record_devices(&users[user], logged_in(at), at);
        publisher.end_partial(at, true);
    };
    let mut restored = None;
    // Each process polls one more user in the new time zone, in which times are 5 hours later.
    for (process, timezone) in ["UTC", "Etc/GMT+5", "Etc/GMT+5", "Etc/GMT+5"].iter().enumerate() {
        let (registrar, reader) = inventory::open();
        let mut publisher = registrar.add(identity(), restored.take());
        publisher.set_timezone(timezone);
        match process {
            0 => (0..3).for_each(|user| logins(&mut publisher, user, 0)),
            process => logins(&mut publisher, process - 1, 5 * hour),
        }
        let snapshot = reader.snapshot();
        assert_eq!(snapshot.networks[0].changes, [0; 6], "process {process}");
        restored = decode(&encode(&snapshot).unwrap(), &Interner::default())
            .unwrap()
            .remove(&identity().id);
        let remaining = restored.as_ref().unwrap().changes.in_other_timezone.len();
        assert_eq!(remaining, [0, 2, 1, 0][process], "process {process}");
    }
    let (registrar, reader) = inventory::open();
    let mut publisher = registrar.add(identity(), restored);
    publisher.set_timezone("Etc/GMT+5");
    (0..3).for_each(|user| logins(&mut publisher, user, 6 * hour));
    assert_eq!(reader.snapshot().networks[0].changes, [0, 0, 0, 0, 0, 3]);
}

#[test]
fn restores_the_values_of_collectors_that_still_exist() {
    use crate::{
        family::Family,
        inventory::{Collection, open},
    };
    const KEPT: Family = Family::network_gauge("wickr_kept", &["network_id", "status"], "X.");
    const CHANGED: Family = Family::network_gauge("wickr_changed", &["network_id", "a"], "X.");
    const RELABELLED: Family = Family::network_gauge("wickr_changed", &["network_id"], "X.");
    const GONE: Family = Family::network_gauge("wickr_gone", &["network_id"], "X.");
    let (registrar, reader) = open();
    let _publisher = registrar.add(identity(), None);
    let recorder = registrar.add_collectors(identity().id, Vec::new());
    let interval = Duration::from_secs(60);
    let collectors = [("kept", &[KEPT, CHANGED, GONE][..]), ("other", &[])];
    recorder.enable(interval, &collectors, 1000.into());
    let mut collection = Collection::default();
    collection.add(&KEPT, &["a\n"], Some(0.1));
    collection.add(&CHANGED, &["b"], Some(2.0));
    collection.add(&GONE, &[], Some(3.0));
    collection.info.insert("account_id", "111122223333".into());
    recorder.record("kept", 1000.into(), interval, Ok(collection));
    recorder.record("other", 1000.into(), interval, Ok(Collection::default()));
    let bytes = encode(&reader.snapshot()).unwrap();
    let restored = decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();

    let (registrar, reader) = open();
    let recorder = registrar.add_collectors(identity().id, restored.collectors);
    recorder.enable(interval, &[("kept", &[KEPT, RELABELLED])], 1000.into());
    let collected = reader.snapshot().collected.remove(&identity().id).unwrap();
    assert_eq!(collected.collectors.len(), 1);
    assert_eq!(collected.collectors["kept"].last_run, None);
    let values = collected.values("kept", (1000 + 180_000).into()).unwrap();
    let samples: Vec<_> =
        values.samples.iter().map(|s| (s.family, &*s.labels[0], s.value)).collect();
    assert_eq!(samples, [("wickr_kept", "a\n", 0.1)]);
    assert_eq!(collected.info("account_id", 1000.into()), "111122223333");
    assert_eq!(collected.values("kept", (1000 + 180_001).into()), None);
}

/// The records of a network whose collector `kept` an earlier process ran at `read`, restored and
/// enabled at `start`.
fn restored_collector(
    read: i64,
    start: Moment,
) -> (inventory::Reader, inventory::CollectorRecorder) {
    let saved = |registrar: &inventory::Registrar, restored| {
        let recorder = registrar.add_collectors(identity().id, restored);
        recorder.enable(Duration::from_secs(60), &[("kept", &[])], start);
        recorder
    };
    let (registrar, reader) = inventory::open();
    let _publisher = registrar.add(identity(), None);
    let recorder = saved(&registrar, Vec::new());
    recorder.record("kept", read.into(), Duration::ZERO, Ok(inventory::Collection::default()));
    let bytes = encode(&reader.snapshot()).unwrap();
    let restored = decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();
    let (registrar, reader) = inventory::open();
    let recorder = saved(&registrar, restored.collectors);
    (reader, recorder)
}

#[test]
fn a_clock_step_does_not_expire_restored_collector_values() {
    let (read, day) = (1_767_225_600_000, 86_400_000);
    // The age by the clock at the start, and the age that counts.
    for (age, counted) in [(30_000, 30_000), (0, 0), (-30 * day, 0), (-read, 0)] {
        let start = read + age;
        let (reader, _recorder) = restored_collector(read, start.into());
        // The clock is corrected immediately.
        let at = |passed| Moment { time: read + 30_000 + passed, steady: start + passed };
        let collected = reader.snapshot().collected.remove(&identity().id).unwrap();
        let last = collected.collectors["kept"].last_success.clone().unwrap();
        assert_eq!(last.time(at(1_000)), read, "{age}");
        assert!(collected.values("kept", at(180_000 - counted)).is_some(), "{age}");
        assert!(collected.values("kept", at(180_001 - counted)).is_none(), "{age}");
    }
}

#[test]
fn restores_the_values_of_a_collector_only_once() {
    let (reader, recorder) = restored_collector(1_000, 2_000.into());
    let last_success = || {
        let collected = reader.snapshot().collected.remove(&identity().id).unwrap();
        collected.collectors.get("kept").map(|record| record.last_success.is_some())
    };
    assert_eq!(last_success(), Some(true));
    recorder.enable(Duration::from_secs(60), &[("other", &[])], 3_000.into());
    assert_eq!(last_success(), None);
    recorder.enable(Duration::from_secs(60), &[("kept", &[])], 4_000.into());
    assert_eq!(last_success(), Some(false));
}
