//! Freshness, overdue data and restored data of one network.

mod changes;

use super::*;
use crate::{
    inventory::{
        UserFacts,
        fixtures::{device, identity},
        state::RestoredChanges,
    },
    wickr::{ApiTimestamp, Operation, SecurityGroup},
};

const DURATION: Option<Duration> = Some(Duration::ZERO);

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn new_state() -> NetworkState {
    NetworkState::new(NetworkIdentity {
        interval: Duration::from_secs(20),
        stale_after: Duration::from_secs(60),
        ..identity("12345678")
    })
}

#[test]
fn users_appear_during_the_first_poll_and_the_network_after_it() {
    let mut state = new_state();
    state.begin(&[id("1"), id("2")], 2);
    assert!(state.view().users.is_empty());
    state.read(&id("1"), vec![device("a")], 1_000);
    let view = state.view();
    assert!(!view.is_known());
    assert_eq!(view.served_users(1_000).count(), 1);
    assert_eq!(view.polls.progress, Some(Progress { done: 1, total: 2 }));
    state.failed(&id("2"), ErrorKind::Timeout);
    assert_eq!(state.end(2_000, Some(Duration::from_secs(1)), true), PollResult::Partial);
    let view = state.view();
    assert!(view.is_known() && !view.is_up(2_000));
    assert_eq!(view.users_by_freshness(2_000), [1, 0, 1]);
    assert_eq!(view.users_by_failure()[ErrorKind::Timeout as usize], 1);
}

#[test]
fn keeps_devices_of_a_failed_user_until_stale_after() {
    let mut state = new_state();
    state.begin(&[id("1")], 1);
    state.read(&id("1"), vec![device("a")], 0);
    assert_eq!(state.end(0, DURATION, true), PollResult::Success);
    state.begin(&[id("1")], 1);
    state.failed(&id("1"), ErrorKind::ServerError);
    assert_eq!(state.end(30_000, DURATION, true), PollResult::Failure);
    // Overdue since the end of that poll.
    assert_eq!(state.view().users_by_freshness(90_000), [0, 1, 0]);
    assert_eq!(state.view().served_users(90_000).count(), 1);
    // It expires by the clock, not with the next poll.
    assert_eq!(state.view().users_by_freshness(90_001), [0, 0, 1]);
    assert_eq!(state.view().served_users(90_001).count(), 0);
    assert_eq!(state.view().types, [InternedStr::from("iOS")]);
    // The next poll that ends drops it, and a longer `stale_after` does not restore it.
    state.end(91_000, DURATION, true);
    let mut later = (*state.identity).clone();
    later.stale_after = Duration::from_secs(3600);
    state.set_identity(later);
    assert_eq!(state.view().users_by_freshness(91_000), [0, 0, 1]);
}

#[test]
fn a_step_of_the_clock_changes_no_age() {
    let (start, day) = (1_767_225_600_000, 86_400_000);
    for step in [-30 * day, -7_200_000, 7_200_000, 30 * day] {
        let at = |steady| Moment { time: start + step + steady, steady: start + steady };
        let mut state = new_state();
        let users = [id("1"), id("2")];
        state.begin(&users, 2);
        users.iter().for_each(|user| drop(state.read(user, vec![], start)));
        state.end(start, DURATION, true);
        state.begin(&users, 2);
        state.failed(&users[0], ErrorKind::Timeout);
        // The clock steps in the middle of this poll.
        state.read(&users[1], vec![], at(1_000).time);
        state.stalled(at(1_500));
        state.end(at(2_000), DURATION, true);
        assert_eq!(state.view().users_by_freshness(at(61_500)), [1, 1, 0], "{step}");
        assert_eq!(state.view().users_by_freshness(at(61_501)), [1, 0, 1], "{step}");
        let polls = state.view().polls;
        assert_eq!(polls.last_at(at(9_000)), Some(at(2_000).time));
        assert_eq!(polls.last_at((start + 9_000).into()), Some(start + 2_000), "set back again");
    }
}

#[test]
fn a_clock_step_does_not_expire_restored_data() {
    let (read, day) = (1_767_225_600_000, 86_400_000);
    let user = RestoredUser { id: id("1"), data: UserData { at: read, devices: Arc::new([]) } };
    let restored = RestoredNetwork { users: vec![user], ..RestoredNetwork::default() };
    let identity = new_state().identity.as_ref().clone();
    for behind in [0, 7_200_000, 30 * day, read] {
        let mut state = NetworkState::restored(identity.clone(), restored.clone());
        let start = read + 30_000 - behind;
        state.keep_restored(start);
        state.begin(&[id("1")], 1);
        // The clock is corrected during the first poll, which fails.
        let at = |steady| Moment { time: start + steady + behind, steady: start + steady };
        assert_eq!(state.view().users_by_freshness(at(1_000)), [0, 1, 0], "{behind}");
        state.failed(&id("1"), ErrorKind::Connection);
        state.end(at(2_000), DURATION, true);
        assert_eq!(state.view().users_by_freshness(at(62_000)), [0, 1, 0], "{behind}");
        assert_eq!(state.view().users_by_freshness(at(62_001)), [0, 0, 1], "{behind}");
    }
    // By a clock that is ahead, it is too old, and stays so.
    let mut state = NetworkState::restored(identity, restored);
    state.keep_restored(read + 7_200_000);
    assert_eq!(state.view().users_by_freshness(read), [0, 0, 1]);
}

#[test]
fn keeps_data_during_a_poll_longer_than_stale_after() {
    let mut state = new_state();
    let users = [id("1"), id("2")];
    let hour = 3_600_000;
    state.begin(&users, 2);
    state.read(&users[0], vec![], 0);
    assert_eq!(state.view().users_by_freshness(hour), [1, 0, 0]);
    state.read(&users[1], vec![], hour);
    state.end(hour, Some(Duration::from_secs(3600)), true);
    // The next poll takes as long, and fails for the first user.
    state.begin(&users, 2);
    assert!(state.view().is_up(2 * hour));
    state.failed(&users[0], ErrorKind::Timeout);
    assert!(!state.view().is_up(2 * hour), "the first failure counts immediately");
    assert_eq!(state.view().users_by_freshness(2 * hour), [1, 1, 0]);
    state.read(&users[1], vec![], 2 * hour);
    state.end(2 * hour, Some(Duration::from_secs(3600)), true);
    assert_eq!(state.view().users_by_freshness(2 * hour + 60_000), [1, 1, 0]);
    assert_eq!(state.view().users_by_freshness(2 * hour + 60_001), [1, 0, 1]);
}

#[test]
fn data_is_overdue_when_the_poll_stalls() {
    let mut state = new_state();
    let users = [id("1"), id("2")];
    state.begin(&users, 2);
    users.iter().for_each(|user| drop(state.read(user, vec![], 0)));
    state.end(0, DURATION, true);
    state.begin(&users, 2);
    state.read(&users[0], vec![], 1_000);
    state.stalled(70_000);
    assert_eq!(state.view().users_by_freshness(70_000), [1, 1, 0]);
    assert!(!state.view().is_up(70_000));
    assert_eq!(state.view().users_by_freshness(130_001), [1, 0, 1]);
    state.read(&users[1], vec![], 140_000);
    assert_eq!(state.view().users_by_freshness(140_000), [2, 0, 0]);
}

#[test]
fn a_partial_poll_updates_the_result_and_keeps_the_duration() {
    let mut state = new_state();
    let users = [id("1"), id("2")];
    state.begin(&users, 2);
    state.read(&users[0], vec![], 0);
    state.failed(&users[1], ErrorKind::Timeout);
    assert_eq!(state.end(5, Some(Duration::from_secs(9)), true), PollResult::Partial);
    assert_eq!(state.failed_users(&users), [id("2")]);
    state.begin(&users, 1);
    state.read(&users[1], vec![], 6);
    assert_eq!(state.end(7, None, true), PollResult::Success);
    let view = state.view();
    assert!(view.is_up(7) && !state.has_failures());
    let last = view.polls.last.unwrap();
    assert_eq!((last.at, last.duration), (7, Duration::from_secs(9)));
}

#[test]
fn keeps_served_restored_data_until_the_first_poll_ends() {
    let user =
        |id_: &str, at| RestoredUser { id: id(id_), data: UserData { at, devices: Arc::new([]) } };
    // The last poll took ten minutes until 600,000 and failed for the third user.
    let restored = RestoredNetwork {
        users: vec![user("1", 10), user("2", 599_000), user("3", -1)],
        last_poll: Some(LastPoll {
            at: 600_000,
            duration: Duration::from_secs(600),
            result: PollResult::Partial,
        }),
        ..RestoredNetwork::default()
    };
    let restore =
        || NetworkState::restored(new_state().identity.as_ref().clone(), restored.clone());
    assert_eq!(restore().view().users_by_freshness(660_000), [0, 2, 1]);
    assert_eq!(restore().view().users_by_freshness(660_001), [0, 0, 3]);
    let mut state = restore();
    state.keep_restored(660_000);
    let users = ["1", "2", "3"].map(id);
    state.begin(&users, 3);
    assert_eq!(state.view().users_by_freshness(3_600_000), [0, 2, 1]);
    assert_eq!(state.never_polled(&users).len(), 3);
    for user in &users {
        state.failed(user, ErrorKind::Timeout);
    }
    state.end(3_600_000, Some(Duration::from_secs(3_000)), true);
    assert_eq!(state.view().users_by_freshness(3_660_000), [0, 2, 1]);
    assert_eq!(state.view().users_by_freshness(3_660_001), [0, 0, 3]);
}

#[test]
fn is_not_ready_with_a_restored_user_list_before_the_first_lookup_has_ended() {
    let list = DiscoveredUsers { selector_id: 1, users: [id("1")].into() };
    let last_poll = LastPoll { at: 0, duration: Duration::ZERO, result: PollResult::Success };
    for attempt in [Ok(()), Err((Operation::ListUsers, ErrorKind::Timeout))] {
        let restored = RestoredNetwork {
            last_poll: Some(last_poll),
            last_success: Some(0),
            user_list: Some(list.clone()),
            ..RestoredNetwork::default()
        };
        let mut state = NetworkState::restored(new_state().identity.as_ref().clone(), restored);
        state.set_required_lookups(vec![Subject::Users]);
        assert!(state.view().is_known() && !state.view().is_ready());
        state.record_lookup(Subject::Users, attempt, 1);
        assert!(state.view().is_ready());
    }
}

#[test]
fn drops_devices_of_an_unknown_user_at_once() {
    let mut state = new_state();
    state.begin(&[id("1"), id("2")], 2);
    state.read(&id("1"), vec![device("a")], 0);
    state.read(&id("2"), vec![], 0);
    state.end(0, DURATION, true);
    state.begin(&[id("1"), id("2")], 2);
    state.not_found(&id("1"));
    assert_eq!(state.view().users_by_freshness(0), [1, 0, 1]);
    assert_eq!(state.view().users.iter().next().unwrap().failure, Some(ErrorKind::NotFound));
    // Another failure does not restore them.
    state.failed(&id("1"), ErrorKind::Timeout);
    assert_eq!(state.view().users_by_freshness(0), [1, 0, 1]);
}

#[test]
fn replaces_limits_when_their_source_changes() {
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let group = SecurityGroup { id: "g".into(), name: None, sso_max_idle: Some(hour) };
    let limit_after = |groups: Sso, then: &dyn Fn(&mut NetworkState)| {
        let facts = UserFacts { status: Some(2), sso_max_idle: Some(hour), ..UserFacts::default() };
        let facts = [(id("1"), Arc::new(facts))].into();
        let mut state = new_state();
        state.set_directory(Directory {
            facts,
            sso: Some(Arc::new(groups)),
            ..Directory::default()
        });
        state.begin(&[id("1"), id("2")], 2);
        state.read(&id("1"), vec![], 0);
        then(&mut state);
        state.read(&id("2"), vec![], 0);
        let view = state.view();
        assert_eq!(view.users.get(&id("1")).unwrap().facts.as_ref().unwrap().status, Some(2));
        let limits = view.users.iter().map(|user| user.sso_max_idle());
        (view.sso.is_some(), limits.collect::<Vec<_>>())
    };
    let of_groups = || Sso::Groups(vec![group.clone()]);
    let kept = limit_after(of_groups(), &|state| state.keep_group_limits());
    assert_eq!(kept, (true, vec![Some(hour), None]));
    let fixed = limit_after(Sso::Fixed, &|state| state.keep_group_limits());
    assert_eq!(fixed, (false, vec![None, None]));
    let no_groups = limit_after(Sso::Groups(vec![]), &|state| state.keep_group_limits());
    assert_eq!(no_groups, (true, vec![Some(hour), None]), "no groups is a known list");
    let removed = limit_after(of_groups(), &|state| state.set_sso_limit(&[], None));
    assert_eq!(removed, (false, vec![None, None]));
    let changed = limit_after(of_groups(), &|state| state.set_sso_limit(&[id("2")], Some(minute)));
    assert_eq!(changed, (true, vec![Some(minute), Some(minute)]));
    // Known users without facts get the limit, too.
    let without_facts = limit_after(of_groups(), &|state| {
        state.read(&id("2"), vec![], 0);
        state.set_sso_limit(&[], Some(minute));
    });
    assert_eq!(without_facts, (true, vec![Some(minute), Some(minute)]));
}

#[test]
fn users_with_equal_facts_share_them() {
    let facts = |username: Option<&str>| UserFacts {
        username: username.map(Into::into),
        status: Some(2),
        ..UserFacts::default()
    };
    let mut shared = SharedFacts::default();
    let facts = [("1", None), ("2", None), ("3", Some("a")), ("4", Some("a"))]
        .map(|(user, username)| (id(user), shared.share(facts(username))));
    let mut state = new_state();
    state.set_directory(Directory { facts: facts.into(), ..Directory::default() });
    state.begin(&[id("1"), id("2"), id("3"), id("4")], 4);
    for limit in [None, Some(Duration::from_secs(60)), Some(Duration::from_secs(90))] {
        state.set_sso_limit(&[], limit);
        ["1", "2", "3", "4"].iter().for_each(|user| drop(state.read(&id(user), vec![], 0)));
        let view = state.view();
        let of = |user| view.users.get(&id(user)).unwrap().facts.as_ref().unwrap();
        assert!(Arc::ptr_eq(of("1"), of("2")) && !Arc::ptr_eq(of("3"), of("4")), "{limit:?}");
        assert_eq!(of("1").sso_max_idle, limit);
    }
}

#[test]
fn drops_users_that_the_next_poll_does_not_include() {
    let mut state = new_state();
    state.begin(&[id("1"), id("2")], 2);
    state.read(&id("1"), vec![], 0);
    state.read(&id("2"), vec![], 0);
    state.end(0, DURATION, true);
    state.begin(&[id("2")], 1);
    let ids: Vec<_> = state.view().users.iter().map(|user| user.id.to_string()).collect();
    assert_eq!(ids, ["2"]);
}

#[test]
fn last_success_requires_a_complete_list_and_no_failure() {
    let mut state = new_state();
    let users = [id("1"), id("2")];
    let mut poll = |at, failing: usize, complete| {
        state.begin(&users, users.len());
        for (index, user) in users.iter().enumerate() {
            match index < failing {
                true => state.failed(user, ErrorKind::Timeout),
                false => drop(state.read(user, vec![device("a")], at)),
            }
        }
        state.end(at, DURATION, complete);
        state.view().polls.last_success
    };
    assert_eq!(poll(1, 2, true), None);
    assert_eq!(poll(2, 1, true), None);
    assert_eq!(poll(3, 0, true), Some(3));
    assert_eq!(poll(4, 1, true), Some(3));
    assert_eq!(poll(5, 0, false), Some(3), "the list is incomplete");
    assert_eq!(poll(6, 0, true), Some(6));
}

#[test]
fn shares_unchanged_devices_and_facts() {
    let mut state = new_state();
    state.begin(&[id("1")], 1);
    state.read(&id("1"), vec![device("a")], 0);
    let devices =
        |state: &NetworkState| state.users.get(&id("1")).unwrap().last.clone().unwrap().devices;
    let before = devices(&state);
    state.read(&id("1"), vec![device("a")], 1);
    assert!(Arc::ptr_eq(&before, &devices(&state)));
    state.read(&id("1"), vec![device("b")], 2);
    assert_eq!(devices(&state)[..], [device("b")]);
    let version = state.users.blocks()[0].version();
    state.set_directory(state.directory.clone());
    assert_eq!(state.users.blocks()[0].version(), version);
}

#[test]
fn a_new_identity_resets_the_lookups() {
    let mut state = new_state();
    state.record_lookup(Subject::Users, Err((Operation::ListUsers, ErrorKind::Timeout)), 1);
    assert!(state.view().lookups.users.failure.is_some());
    let mut later = (*state.identity).clone();
    later.name = "renamed".into();
    state.set_identity(later);
    assert_eq!(state.view().identity.name, "renamed");
    assert_eq!(state.view().lookups, Lookups::default());
}
