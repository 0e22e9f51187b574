//! Changes of devices between reads.

use super::*;

fn logged_in(app_id: &str, at: Millis) -> Device {
    Device { last_login: ApiTimestamp::at_millis(at), ..device(app_id) }
}

/// Added, removed and login.
fn counts(state: &NetworkState) -> [u64; 3] {
    let [added, removed, 0, 0, 0, login] = state.view().changes else { panic!() };
    [added, removed, login]
}

#[test]
fn counts_changes_since_the_last_read_of_the_user() {
    let mut state = new_state();
    let users = [id("1"), id("2")];
    state.begin(&users, 2);
    state.read(&users[0], vec![device("a"), device("b")], 0);
    state.read(&users[1], vec![device("a")], 0);
    state.end(0, DURATION, true);
    assert_eq!(counts(&state), [0, 0, 0], "first reads");
    state.begin(&users, 2);
    let changes = state.read(&users[0], vec![logged_in("a", 5), device("c")], 1_000);
    let changes: Vec<_> =
        changes.iter().map(|change| (change.kind, change.app_id.text())).collect();
    let expected = [(ChangeKind::Login, "a"), (ChangeKind::Removed, "b"), (ChangeKind::Added, "c")]
        .map(|(kind, id)| (kind, id.into()));
    assert_eq!(changes, expected);
    state.failed(&users[1], ErrorKind::Timeout);
    state.end(1_000, DURATION, true);
    assert_eq!(counts(&state), [1, 1, 1]);
    // The other user is read in a partial poll.
    state.begin(&users, 1);
    state.read(&users[1], vec![device("a"), device("x")], 2_000);
    state.end(2_000, None, true);
    assert_eq!(counts(&state), [2, 1, 1]);
    state.set_identity((*state.identity).clone());
    assert_eq!(counts(&state), [2, 1, 1], "after a reload");
}

#[test]
fn compares_with_expired_data() {
    let mut state = new_state();
    state.begin(&[id("1")], 1);
    state.read(&id("1"), vec![device("a")], 0);
    state.end(0, DURATION, true);
    for at in [20_000, 90_000, 110_000] {
        state.begin(&[id("1")], 1);
        state.failed(&id("1"), ErrorKind::Timeout);
        state.end(at, DURATION, true);
    }
    let view = state.view();
    assert_eq!((view.users_by_freshness(110_000), view.served_users(0).count()), ([0, 0, 1], 0));
    assert!(!state.has_data(&id("1")));
    state.begin(&[id("1")], 1);
    state.read(&id("1"), vec![device("b")], 120_000);
    state.end(120_000, DURATION, true);
    assert_eq!((counts(&state), state.view().users_by_freshness(120_000)), ([1, 1, 0], [1, 0, 0]));
}

#[test]
fn compares_with_restored_data_after_a_downtime_longer_than_stale_after() {
    let user = |id_: &str| RestoredUser {
        id: id(id_),
        data: UserData { at: 0, devices: Arc::new([device("a")]) },
    };
    let restored = RestoredNetwork {
        users: vec![user("1"), user("2")],
        last_poll: Some(LastPoll { at: 0, duration: Duration::ZERO, result: PollResult::Success }),
        last_success: Some(0),
        changes: RestoredChanges { counts: [5, 0, 0, 0, 0, 0], ..RestoredChanges::default() },
        ..RestoredNetwork::default()
    };
    let mut state = NetworkState::restored(new_state().identity.as_ref().clone(), restored);
    let start = 86_400_000;
    state.keep_restored(start);
    let view = state.view();
    assert_eq!((view.users_by_freshness(start), view.served_users(0).count()), ([0, 0, 2], 0));
    let users = [id("1"), id("2")];
    state.begin(&users, 2);
    state.read(&users[0], vec![device("b")], start + 1);
    state.failed(&users[1], ErrorKind::Timeout);
    state.end(start + 2, DURATION, true);
    assert_eq!(
        (counts(&state), state.view().users_by_freshness(start + 2)),
        ([6, 1, 0], [1, 0, 1])
    );
    // The data of the second user is still compared, later.
    state.begin(&users, 1);
    state.read(&users[1], vec![], start + 3);
    state.end(start + 4, None, true);
    assert_eq!(
        (counts(&state), state.view().users_by_freshness(start + 4)),
        ([6, 2, 0], [2, 0, 0])
    );
}

#[test]
fn compares_users_that_were_unknown_and_no_users_that_were_removed() {
    let mut state = new_state();
    let users = [id("1"), id("2"), id("3")];
    let read = |state: &mut NetworkState, app_ids: &[&str]| {
        state.begin(&users, 3);
        let devices = || app_ids.iter().map(|app_id| device(app_id)).collect();
        users.iter().for_each(|user| drop(state.read(user, devices(), 0)));
        state.end(0, DURATION, true);
    };
    read(&mut state, &["a", "b"]);
    // The data of the second user expires before it is unknown. The third is removed.
    state.begin(&users[..2], 2);
    state.not_found(&users[0]);
    state.failed(&users[1], ErrorKind::Timeout);
    state.end(0, DURATION, true);
    state.begin(&users[..2], 2);
    state.not_found(&users[0]);
    state.failed(&users[1], ErrorKind::Timeout);
    state.end(100_000, DURATION, true);
    state.not_found(&users[1]);
    assert_eq!((state.view().served_users(0).count(), counts(&state)), (0, [0, 0, 0]));
    read(&mut state, &["b", "c"]);
    assert_eq!(counts(&state), [2, 2, 0]);
}

#[test]
fn does_not_compare_logins_of_different_time_zones() {
    let mut state = new_state();
    state.set_timezone("UTC");
    let mut read = |timezone: &str, devices| {
        state.set_timezone(timezone);
        state.begin(&[id("1")], 1);
        state.read(&id("1"), devices, 0);
        counts(&state)
    };
    assert_eq!(read("UTC", vec![logged_in("a", 0)]), [0, 0, 0]);
    let shifted = 5 * 3_600_000;
    let devices = vec![logged_in("a", shifted), logged_in("b", shifted)];
    assert_eq!(read("America/New_York", devices), [1, 0, 0]);
    let devices = vec![logged_in("a", shifted + 1), logged_in("b", shifted)];
    assert_eq!(read("America/New_York", devices), [1, 0, 1]);
}
