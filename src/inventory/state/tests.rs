//! Files that are read as they were written, and files that are none.

use super::*;
use crate::inventory::{self, Directory, NetworkIdentity};

fn identity() -> NetworkIdentity {
    NetworkIdentity {
        id: "12345678".parse().unwrap(),
        name: "a name".into(),
        region: "us-east-1".into(),
        account: "an account".into(),
        interval: Duration::from_secs(60),
        stale_after: Duration::from_secs(180),
    }
}

fn device(app_id: Option<&str>, last_login: ApiTimestamp) -> Device {
    Device {
        app_id: app_id.map(Into::into),
        device_type: "iOS".into(),
        status: "Active".into(),
        suspended: app_id.map(|_| true),
        created: ApiTimestamp::at_millis(-5),
        last_login,
    }
}

fn known() -> (Vec<Device>, Vec<u8>) {
    let (keeper, reader) = inventory::open();
    let mut publisher = keeper.add(identity(), None);
    let users: Vec<UserId> = ["1", "2", "3"].map(|id| id.parse().unwrap()).into();
    let devices = vec![
        device(Some("a"), ApiTimestamp::at_millis(1_700_000_000_123)),
        device(Some("b"), ApiTimestamp::NEVER),
        device(None, ApiTimestamp::INVALID),
    ];
    publisher.begin(&users);
    publisher.read(&users[0], devices.clone(), 1_000);
    publisher.failed(&users[1], crate::wickr::ErrorKind::Timeout);
    publisher.read(&users[2], vec![], 2_000);
    publisher.end(3_000, Duration::from_millis(1_500), true);
    (devices, encode(&reader.snapshot()).unwrap())
}

#[test]
fn what_is_written_is_read_with_its_times_and_is_not_fresh() {
    let (devices, bytes) = known();
    let mut networks = decode(&bytes, &Interner::default()).unwrap();
    let restored = networks.remove(&identity().id).unwrap();
    assert!(networks.is_empty());
    assert_eq!((restored.name.as_str(), restored.account.as_str()), ("a name", "an account"));
    assert_eq!(restored.users.len(), 2, "those that had data");
    assert_eq!(*restored.users[0].reading.devices, devices[..]);

    let (keeper, reader) = inventory::open();
    let _publisher = keeper.add(identity(), Some(restored));
    keeper.settle();
    assert!(reader.is_ready(), "restored data is there at once");
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
fn who_there_is_is_written_whether_it_was_read_or_not_and_may_be_missing() {
    let (keeper, reader) = inventory::open();
    let mut publisher = keeper.add(identity(), None);
    let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
    let list = DiscoveredUsers { selector_id: u64::MAX, users: users.clone() };
    publisher.set_directory(Directory { list: Some(list.clone()), ..Directory::default() });
    publisher.begin(&users);
    publisher.read(&users[0], vec![], 1_000);
    publisher.flush();
    let bytes = encode(&reader.snapshot()).unwrap();
    let restored = decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();
    assert_eq!((restored.users.len(), &restored.list), (1, &Some(list.clone())));
    let again = keeper.add(identity(), Some(restored.clone()));
    assert_eq!((again.list(), again.users().len()), (Some(&list), 1), "the poll had not ended");
    // After one that had, whoever was not read is missing.
    let last_poll = Some(LastPoll { at: 1, took: Duration::ZERO, result: PollResult::Partial });
    let again = keeper.add(identity(), Some(RestoredNetwork { last_poll, ..restored }));
    assert_eq!(again.users(), list.users[..]);
    let view = reader.snapshot().networks[2].clone();
    assert_eq!(view.users_by_freshness(1_000), [0, 1, 1]);
    // As they were written before there was a list in them: one field less.
    let earlier = rmp_serde::to_vec(&("12345678", "", "", [0; 0], (), (), [0; 0])).unwrap();
    let part: NetworkPart = rmp_serde::from_slice(&earlier).unwrap();
    assert_eq!(super::restored(part, &[]).unwrap().1.list, None);
}

#[tokio::test]
async fn what_is_known_outlives_who_polls_until_the_process_ends() {
    let (keeper, reader) = inventory::open();
    let mut publisher = keeper.add(identity(), None);
    let user = ["1".parse().unwrap()];
    publisher.begin(&user);
    publisher.read(&user[0], vec![], 1_000);
    publisher.flush();
    let polling = tokio::spawn(async move {
        tokio::task::yield_now().await;
        let beyond = publisher.users().len();
        publisher.failed(&[][beyond..][0], crate::wickr::ErrorKind::Timeout);
    });
    assert!(polling.await.unwrap_err().is_panic());
    let saved = decode(&encode(&reader.snapshot()).unwrap(), &Interner::default()).unwrap();
    assert_eq!(saved[&identity().id].users.len(), 1);
    let other = NetworkIdentity { id: "87654321".parse().unwrap(), ..identity() };
    keeper.add(other, None).withdraw();
    assert_eq!(reader.snapshot().networks.len(), 1);
}

#[test]
fn what_is_cut_short_changed_foreign_or_newer_is_refused() {
    let (_, bytes) = known();
    let labels = Interner::default();
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end], &labels).is_err(), "{end}");
    }
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert!(decode(&changed, &labels).is_err(), "{place}");
    }
    assert_eq!(decode(b"", &labels), Err(BadState::Foreign));
    assert_eq!(decode(b"wickr-exporter state 2\nx", &labels), Err(BadState::OtherVersion(2)));
    assert_eq!(decode(b"wickr-exporter state x\nx", &labels), Err(BadState::Foreign));
    // A right checksum over nonsense.
    for payload in [&b""[..], b"\xc1", b"\x92\x90\x91\x90", b"\xff\xff"] {
        let mut file = [MAGIC, &Sha256::digest(payload)].concat();
        file.extend_from_slice(payload);
        assert!(matches!(decode(&file, &labels), Err(BadState::Nonsense(_))), "{payload:?}");
    }
}

#[test]
fn a_device_takes_less_than_a_hundred_bytes_even_if_it_is_its_users_only_one() {
    let (keeper, reader) = inventory::open();
    let mut publisher = keeper.add(identity(), None);
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
        publisher.read(user, vec![device], 1_700_000_000_000 + random.i64(0..100_000));
    }
    publisher.end(1_700_000_100_000, Duration::ZERO, true);
    let without = encode(&reader.snapshot()).unwrap().len();
    let list = Some(DiscoveredUsers { selector_id: 1, users: users.into() });
    publisher.set_directory(Directory { list, ..Directory::default() });
    let bytes = encode(&reader.snapshot()).unwrap().len();
    let for_list = bytes - without;
    assert!((250_000..500_000).contains(&bytes), "{bytes}, {for_list} of them for the list");
}

#[test]
fn a_time_beyond_all_times_is_refused_and_not_another_time() {
    let read = |millis: u64| {
        let bytes = rmp_serde::to_vec(&millis).unwrap();
        rmp_serde::from_slice::<StampPart>(&bytes).map(ApiTimestamp::from).ok()
    };
    assert_eq!(read(i64::MAX as u64), Some(ApiTimestamp::at_millis(i64::MAX)));
    assert_eq!(read(i64::MAX as u64 + 1), None);
    assert_eq!(read(u64::MAX), None);
}
