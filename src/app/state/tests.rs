//! Which files a save writes.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt};

use super::*;
use crate::{
    clock::ManualClock,
    inventory::{self, NetworkIdentity, Publisher, Registrar},
    wickr::{ApiTimestamp, Device, ErrorKind, UserId},
};

const NOW: i64 = 1_767_225_600_000;

fn add(registrar: &Registrar, id: &str) -> Publisher {
    let identity = NetworkIdentity {
        id: id.parse().unwrap(),
        name: String::new(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(300),
        stale_after: Duration::from_secs(900),
    };
    registrar.add(identity, None)
}

fn users(count: u32) -> Vec<UserId> {
    (1_000..1_000 + count).map(|id| id.to_string().parse().unwrap()).collect()
}

fn poll(publisher: &mut Publisher, users: &[UserId], at: i64) {
    publisher.begin(users);
    users.iter().for_each(|user| poll_user(publisher, user, at));
    publisher.end(at, Duration::from_secs(1), true);
}

fn poll_user(publisher: &mut Publisher, user: &UserId, at: i64) {
    let mut random = fastrand::Rng::with_seed(user.as_str().parse().unwrap());
    let device = |number: u64| Device {
        app_id: Some((0..8).map(|_| format!("{:08x}", random.u32(..))).collect::<String>().into()),
        device_type: "iOS".into(),
        status: "Active".into(),
        suspended: Some(false),
        created: ApiTimestamp::at_millis(NOW - 1_000 * number as i64),
        last_login: ApiTimestamp::at_millis(NOW - 7_000 * number as i64),
    };
    // The devices of a response are sorted.
    let mut devices: Vec<_> = (0..5).map(device).collect();
    devices.sort_by(|a, b| a.app_id.cmp(&b.app_id));
    publisher.record_devices(user, devices, at);
}

fn state_files(path: &Path) -> StateFiles {
    StateFiles::new(path, Arc::new(Metrics::new().unwrap()), Clock::system())
}

/// Inode and size of each file. A file that is written again has another inode.
fn listed(folder: &Path) -> BTreeMap<String, (u64, u64)> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), (metadata.ino(), metadata.len()))
        })
        .collect()
}

#[test]
fn writes_only_networks_that_were_polled_since_the_last_save() {
    let folder = tempfile::tempdir().unwrap();
    let files = state_files(&folder.path().join("state"));
    let (registrar, reader) = inventory::open();
    let users = users(200);
    let mut networks: Vec<_> =
        (0..20).map(|number| add(&registrar, &(10_000_000 + number).to_string())).collect();
    for network in &mut networks {
        poll(network, &users, NOW);
    }
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    let before = listed(folder.path());
    assert_eq!(before.len(), 20);
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    assert_eq!(listed(folder.path()), before);

    poll(&mut networks[3], &users, NOW + 1);
    networks[4].begin(&users);
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    let after = listed(folder.path());
    let written: Vec<_> = after.iter().filter(|(name, file)| before[*name] != **file).collect();
    let total: u64 = after.values().map(|(_, size)| size).sum();
    println!("a poll writes {} of {total} bytes, {} devices", written[0].1.1, 5 * users.len());
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(written[0].0, "state.10000003");

    // Shutdown saves what was read in polls that have not ended.
    networks[4].record_devices(&users[0], vec![], NOW + 2);
    networks[4].flush();
    files.write(&reader.snapshot(), Since::LastChange).unwrap();
    let last = listed(folder.path());
    let written: Vec<_> = last.iter().filter(|(name, file)| after[*name] != **file).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    let restored = files.load(&Interner::default());
    assert!(restored[&"10000004".parse().unwrap()].users[0].data.devices.is_empty());
}

#[test]
fn removes_files_of_removed_networks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let (registrar, reader) = inventory::open();
    let (mut first, mut second) = (add(&registrar, "11111111"), add(&registrar, "22222222"));
    let users = users(3);
    poll(&mut first, &users, NOW);
    poll(&mut second, &users, NOW);

    let files = state_files(&path);
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    let names = |folder: &Path| listed(folder).into_keys().collect::<Vec<_>>();
    assert_eq!(names(folder.path()), ["state.11111111", "state.22222222"]);
    second.withdraw();
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    assert_eq!(names(folder.path()), ["state.11111111"]);
}

#[test]
fn follows_a_link_even_if_its_target_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let link = folder.path().join("state");
    std::os::unix::fs::symlink("volume/state", &link).unwrap();
    let (registrar, reader) = inventory::open();
    poll(&mut add(&registrar, "11111111"), &users(1), NOW);
    for _ in 0..2 {
        let files = state_files(&link);
        files.load(&Interner::default());
        files.write(&reader.snapshot(), Since::LastChange).unwrap();
        assert_eq!(listed(&volume).into_keys().collect::<Vec<_>>(), ["state.11111111"]);
    }
}

#[test]
fn exposes_changes_of_devices_once_they_are_saved_or_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let files = state_files(&folder.path().join("state"));
    let (registrar, reader) = inventory::open();
    registrar.defer_changes();
    let mut network = add(&registrar, "11111111");
    let users = users(2);
    let added = || reader.snapshot().networks[0].exposed_changes()[0];
    poll(&mut network, &users, NOW);
    network.record_devices(&users[0], vec![], NOW + 1);
    poll(&mut network, &users, NOW + 2);
    assert_eq!(added(), 0);
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    assert_eq!(added(), 5);
    // In the middle of a poll, only a save for this purpose includes them.
    let before = listed(folder.path());
    files.write(&reader.snapshot(), Since::UnexposedChange).unwrap();
    assert_eq!(listed(folder.path()), before);
    network.begin(&users);
    network.record_devices(&users[1], vec![], NOW + 3);
    poll_user(&mut network, &users[1], NOW + 4);
    network.flush();
    files.write(&reader.snapshot(), Since::LastPoll).unwrap();
    assert_eq!(added(), 5);
    files.write(&reader.snapshot(), Since::UnexposedChange).unwrap();
    assert_eq!(added(), 10);
    let restored = files.load(&Interner::default());
    assert_eq!(restored[&"11111111".parse().unwrap()].changes.counts[0], 10);
    // A save that fails.
    network.record_devices(&users[1], vec![], NOW + 5);
    poll(&mut network, &users, NOW + 6);
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert!(files.write(&reader.snapshot(), Since::LastPoll).is_err());
    assert_eq!(added(), 15);
}

#[tokio::test]
async fn last_save_advances_only_if_every_network_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.11111111"), "of a newer version").unwrap();
    let metrics = Arc::new(Metrics::new().unwrap().with_state().unwrap());
    let local = ManualClock::new(1_000);
    let path = folder.path().join("state");
    let files = StateFiles::new(&path, metrics.clone(), Clock::manual(&local));
    files.load(&Interner::default());
    let (registrar, reader) = inventory::open();
    let (mut first, mut second) = (add(&registrar, "11111111"), add(&registrar, "22222222"));
    let last_save = async |snapshot| {
        local.advance(1_000);
        files.save(snapshot, Since::LastPoll).await;
        let families = metrics.gather();
        let is_wanted = |name: &str| name == "wickr_exporter_state_last_save_timestamp_seconds";
        families.iter().find(|family| is_wanted(family.name())).unwrap().get_metric()[0]
            .get_gauge()
            .get_value()
    };
    let users = users(1);
    poll(&mut second, &users, NOW);
    first.begin(&users);
    first.record_failure(&users[0], ErrorKind::Timeout);
    first.end(NOW, Duration::from_secs(1), true);
    assert_eq!(
        last_save(reader.snapshot()).await,
        0.0,
        "there is no data to replace the file with"
    );
    poll(&mut first, &users, NOW + 1);
    assert_eq!(last_save(reader.snapshot()).await, 3.0);
    assert_eq!(last_save(reader.snapshot()).await, 4.0, "the files are up to date");
    poll(&mut first, &users, NOW + 2);
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(last_save(reader.snapshot()).await, 4.0, "a failure");
}
