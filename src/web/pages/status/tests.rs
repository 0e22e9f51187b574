use super::{super::assessment::Level, *};
use crate::{
    inventory::{NetworkIdentity, Publisher, open, state::RestoredNetwork},
    wickr::{ApiTimestamp, Device, UserId},
};

const NOW: Millis = 1_700_000_000_000;

fn identity(id: &str) -> NetworkIdentity {
    NetworkIdentity {
        id: id.parse().unwrap(),
        name: "production".into(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(60),
        stale_after: Duration::from_secs(180),
    }
}

fn users() -> Vec<UserId> {
    ["1", "2"].map(|id| id.parse().unwrap()).into()
}

fn idle(days: i64) -> Device {
    Device {
        app_id: Some(days.to_string().into()),
        device_type: "iOS".into(),
        status: "Active".into(),
        suspended: None,
        created: ApiTimestamp::NEVER,
        last_login: ApiTimestamp::at_millis(NOW - days * 86_400_000),
    }
}

fn status(reader: &Reader, after: i64) -> Status {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    Status::of(reader, &[days(1), days(30)], NOW - 90_000, NOW + after)
}

fn read(publisher: &mut Publisher, failed: usize) {
    publisher.begin(&users());
    for (index, user) in users().iter().enumerate() {
        match index < failed {
            true => publisher.record_failure(user, ErrorKind::Forbidden),
            false => {
                publisher.record_devices(user, vec![idle(0), idle(20), idle(40), idle(50)], NOW)
            }
        }
    }
    publisher.end(NOW, Duration::from_secs(2), true);
}

#[test]
fn the_level_depends_on_the_state_of_the_users() {
    let (registrar, reader) = open();
    let level = |after| status(&reader, after).assessment.level;
    assert_eq!(level(0), Level::Waiting, "no network");
    let mut publisher = registrar.add(identity("12345678"), None);
    assert_eq!(level(0), Level::Waiting, "no poll");
    publisher.begin(&users());
    publisher.record_devices(&users()[0], vec![], NOW);
    publisher.flush();
    let waiting = status(&reader, 0);
    assert_eq!(waiting.assessment.level, Level::Waiting);
    assert!(waiting.assessment.text.contains("1 of 2 users"), "{}", waiting.assessment.text);
    assert!(waiting.networks[0].devices.is_none(), "no counts before the end of the poll");
    read(&mut publisher, 0);
    assert_eq!(level(0), Level::Good);
    assert_eq!(status(&reader, 0).networks[0].up, Some(true));
    read(&mut publisher, 1);
    assert_eq!(level(0), Level::Warning);
    assert_eq!(level(180_001), Level::Bad, "the stale data has expired");
    read(&mut publisher, 2);
    let missing = status(&reader, 180_001);
    assert_eq!(missing.assessment.level, Level::Bad);
    assert!(missing.networks[0].devices.is_none(), "no counts without data");
    let failure = &missing.networks[0].failures[0];
    assert_eq!((failure.reason, failure.users, failure.user_ids.len()), ("forbidden", 2, 2));
    publisher.retain(|_| false);
    publisher.end(NOW, Duration::ZERO, false);
    assert_eq!(level(0), Level::Bad, "unknown users");
    let mut other = registrar.add(identity("87654321"), None);
    read(&mut other, 0);
    let both = status(&reader, 0).assessment;
    assert_eq!(both.level, Level::Bad);
    assert!(both.text.contains("1 of 2 networks"), "{}", both.text);
}

#[test]
fn restored_data_is_stale() {
    let (registrar, reader) = open();
    let mut publisher = registrar.add(identity("12345678"), None);
    read(&mut publisher, 0);
    let view = reader.snapshot().networks[0].clone();
    let users = view.served_users(NOW).map(|(user, data)| crate::inventory::state::RestoredUser {
        id: user.id.clone(),
        data: data.clone(),
    });
    let restored = RestoredNetwork {
        name: String::new(),
        account: String::new(),
        users: users.collect(),
        types: view.types.clone(),
        last_poll: view.polls.last,
        last_success: view.polls.last_success,
        user_list: None,
        changes: Default::default(),
        collectors: Vec::new(),
    };
    publisher.withdraw();
    let _publisher = registrar.add(identity("12345678"), Some(restored));
    let status = status(&reader, 1000);
    assert_eq!(status.assessment.level, Level::Warning);
    assert!(status.assessment.text.contains("before the restart"), "{}", status.assessment.text);
    assert_eq!(status.networks[0].up, None);
}

#[test]
fn idle_buckets_count_devices_between_their_bounds() {
    let (registrar, reader) = open();
    let mut publisher = registrar.add(identity("12345678"), None);
    read(&mut publisher, 0);
    let status = status(&reader, 0);
    let devices = status.networks[0].devices.as_ref().unwrap();
    let counts: Vec<_> = devices.idle.iter().map(|bucket| bucket.devices).collect();
    assert_eq!((counts, devices.total), (vec![2, 2, 4], 8));
    assert_eq!(devices.idle[1].over_seconds, devices.idle[0].up_to_seconds);
    assert_eq!((devices.idle[0].over_seconds, devices.idle[2].up_to_seconds), (None, None));
    assert_eq!(
        (devices.sso_expired, status.uptime_seconds),
        (None, Seconds(Duration::from_secs(90)))
    );
}
