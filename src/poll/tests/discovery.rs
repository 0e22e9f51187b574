//! Who is found, what is told of them, and what is carried over to the next poller.

use super::*;

fn user(id: &str, username: &str, groups: &[&str]) -> User {
    User {
        id: Some(id.parse().unwrap()),
        username: Some(username.into()),
        status: Some(2),
        suspended: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

fn group(id: &str, minutes: Option<u64>) -> SecurityGroup {
    let sso_max_idle = minutes.map(|minutes| Duration::from_secs(minutes * 60));
    SecurityGroup { id: id.into(), name: None, sso_max_idle }
}

fn all(pass: UserFilter, sso: SsoLimits) -> UserListPlan {
    UserListPlan { users: UserSelector::All(pass), sso, ..listed(0) }
}

fn ids(reader: &Reader) -> Vec<String> {
    reader.snapshot().networks[0].users.iter().map(|user| user.id.to_string()).collect()
}

fn broken(operation: Operation) -> Error {
    Error::new(operation, ErrorKind::Forbidden, "scripted")
}

#[tokio::test(start_paused = true)]
async fn users_are_found_kept_when_they_cannot_be_and_go_when_they_are_gone() {
    let source =
        Script { users: Mutex::new(Err(broken(Operation::ListUsers))), ..Script::default() };
    let (mut poller, reader, failures) =
        poller_of(all(UserFilter::default(), SsoLimits::Off), 4, source);
    assert_eq!(poller.poll().await, PollResult::Failure, "nobody knows whom to ask");
    assert!(reader.is_ready() && !reader.snapshot().networks[0].is_up(0));
    let failure = || reader.snapshot().networks[0].lookups.users.failure.map(|f| f.kind);
    assert_eq!(failure(), Some(ErrorKind::Forbidden));
    assert_eq!(*failures.0.lock().unwrap(), [(Operation::ListUsers, ErrorKind::Forbidden)]);

    // It is tried again, and then not again for an hour.
    tokio::time::advance(Duration::from_secs(60)).await;
    *poller.plan.source.users.lock().unwrap() = Ok(vec![user("1", "a", &[]), user("2", "b", &[])]);
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!((ids(&reader), failure()), (vec!["1".to_owned(), "2".to_owned()], None));
    assert_eq!(poller.plan.source.asked_for_users.lock().unwrap().len(), 2);

    tokio::time::advance(Duration::from_secs(3600)).await;
    *poller.plan.source.users.lock().unwrap() = Err(broken(Operation::ListUsers));
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(ids(&reader), ["1", "2"], "the former list stays in use");
    assert_eq!(failures.0.lock().unwrap().len(), 2);
    tokio::time::advance(Duration::from_secs(60)).await;
    *poller.plan.source.users.lock().unwrap() = Ok(vec![user("2", "b", &[])]);
    poller.poll().await;
    assert_eq!(ids(&reader), ["1", "2"], "it is looked up beside the poll");
    poller.poll().await;
    assert_eq!(ids(&reader), ["2"]);
    // That there is nobody is an answer, too.
    tokio::time::advance(Duration::from_secs(3600)).await;
    *poller.plan.source.users.lock().unwrap() = Ok(vec![]);
    poller.poll().await;
    assert_eq!(poller.poll().await, PollResult::Success);
    assert!(ids(&reader).is_empty() && failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_first_list_of_as_many_others_is_polled_at_once() {
    let source = Script {
        users: Mutex::new(Ok(vec![user("1", "a", &[]), user("3", "c", &[])])),
        ..Script::default()
    };
    let (first, reader, _) = poller_of(listed(2), 1, source);
    let NetworkPoller { mut plan, mut publisher, .. } = first;
    plan.roster = all(UserFilter::default(), SsoLimits::Off);
    let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
    let list = Some(inventory::DiscoveredUsers { selector_id: plan.roster.selector_id, users });
    publisher.set_directory(Directory { list, ..Directory::default() });
    let mut second = NetworkPoller::new(plan, publisher);
    second.poll().await;
    assert_eq!(ids(&reader), ["1", "2"]);
    assert!(second.roster.take_news());
    second.poll().await;
    assert_eq!(ids(&reader), ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_stored_under_the_former_selector_id_is_complete() {
    for (selector_id, complete) in [(1, true), (7, true), (2, false)] {
        let (first, _, _) = poller_of(listed(1), 1, Script::default());
        let NetworkPoller { mut plan, mut publisher, .. } = first;
        plan.roster = all(UserFilter::default(), SsoLimits::Off);
        let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
        let list = Some(inventory::DiscoveredUsers { selector_id, users });
        publisher.set_directory(Directory { list, ..Directory::default() });
        assert_eq!(NetworkPoller::new(plan, publisher).roster.is_all(), complete, "{selector_id}");
    }
}

#[tokio::test(start_paused = true)]
async fn filters_are_the_services_own_where_it_has_them() {
    let users = vec![user("1", "ann@x", &["g"]), user("2", "bob@x", &["g", "h"])];
    let source = Script { users: Mutex::new(Ok(users)), ..Script::default() };
    let pass = UserFilter {
        status: Some(2),
        groups: vec!["g".into(), "h".into()],
        username: Some(UsernameMatcher(Arc::new(|name| name.starts_with("bob")))),
    };
    let (mut poller, reader, _) = poller_of(all(pass, SsoLimits::Off), 4, source);
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(ids(&reader), ["2"], "in both groups, and once");
    let asked = poller.plan.source.asked_for_users.lock().unwrap().clone();
    let filter = |group: &str| ListUsersFilter { status: Some(2), group: Some(group.into()) };
    assert_eq!(asked, [filter("g"), filter("h")]);
}

#[tokio::test(start_paused = true)]
async fn users_without_a_usable_id_are_told_of() {
    let nameless = User { id: None, ..user("1", "a", &[]) };
    let users = vec![nameless, user("2", "b", &[])];
    let source = Script { users: Mutex::new(Ok(users)), ..Script::default() };
    let (mut poller, reader, failures) =
        poller_of(all(UserFilter::default(), SsoLimits::Off), 4, source);
    assert_eq!(poller.poll().await, PollResult::Partial, "somebody is unseen");
    assert!(!reader.snapshot().networks[0].is_up(0));
    assert_eq!(reader.snapshot().networks[0].list, None, "which is not all of them");
    assert_eq!(ids(&reader), ["2"]);
    assert_eq!(*failures.0.lock().unwrap(), [(Operation::ListUsers, ErrorKind::InvalidResponse)]);

    // All of them unusable is not the news that there is nobody.
    let nameless = User { id: None, ..user("1", "a", &[]) };
    *poller.plan.source.users.lock().unwrap() = Ok(vec![nameless]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    poller.poll().await;
    poller.poll().await;
    assert_eq!(ids(&reader), ["2"]);
    assert_eq!(failures.0.lock().unwrap().len(), 2);

    // One of those who were known may be the one without an id now.
    let nameless = User { id: None, ..user("2", "b", &[]) };
    *poller.plan.source.users.lock().unwrap() = Ok(vec![nameless, user("3", "c", &[])]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    poller.poll().await;
    assert_eq!(poller.poll().await, PollResult::Partial);
    assert_eq!(ids(&reader), ["2", "3"]);

    // Who is only invited is nobody yet.
    let invited = User { id: None, status: Some(1), ..user("9", "i", &[]) };
    *poller.plan.source.users.lock().unwrap() = Ok(vec![invited, user("3", "c", &[])]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    poller.poll().await;
    assert_eq!(poller.poll().await, PollResult::Success);
    assert_eq!(ids(&reader), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn users_of_an_earlier_time_are_polled_until_the_first_list_which_is_then_polled_at_once() {
    let users = vec![user("1", "a", &[]), user("2", "b", &[])];
    let source = Script { users: Mutex::new(Ok(users)), ..Script::default() };
    let (first, reader, _) = poller_of(all(UserFilter::default(), SsoLimits::Off), 4, source);
    let stop = CancellationToken::new();
    let task = tokio::spawn(first.run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    let publisher = task.await.unwrap();
    // Another poller takes over, on a service that has one user more, and answers late.
    let users = vec![user("1", "a", &[]), user("2", "b", &[]), user("3", "c", &[])];
    let source = Script {
        users: Mutex::new(Ok(users)),
        list_latency: Duration::from_secs(10),
        ..Script::default()
    };
    let (mut next, _, _) = poller_of(all(UserFilter::default(), SsoLimits::Off), 4, source);
    next.plan.identity.interval = Duration::from_secs(3600);
    let next = NetworkPoller::new(next.plan, publisher);
    let source = next.plan.source.clone();
    let task = tokio::spawn(next.run(stop_later(Duration::from_secs(60))));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(source.asked.load(Ordering::Relaxed), 2, "those who are known");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        source.asked.load(Ordering::Relaxed),
        5,
        "and all of them, an hour before they are due"
    );
    assert_eq!(ids(&reader), ["1", "2", "3"]);
    task.await.unwrap();
}

fn stop_later(after: Duration) -> CancellationToken {
    let stop = CancellationToken::new();
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        later.cancel();
    });
    stop
}

#[tokio::test(start_paused = true)]
async fn a_first_lookup_that_failed_is_tried_again_before_the_next_poll_is_due() {
    let source =
        Script { users: Mutex::new(Err(broken(Operation::ListUsers))), ..Script::default() };
    let (mut poller, reader, _) = poller_of(all(UserFilter::default(), SsoLimits::Off), 4, source);
    poller.plan.identity.interval = Duration::from_secs(3600);
    let source = poller.plan.source.clone();
    let task = tokio::spawn(poller.run(stop_later(Duration::from_secs(120))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    *source.users.lock().unwrap() = Ok(vec![user("1", "a", &[])]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ids(&reader), ["1"]);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn limits_are_the_least_of_the_groups_and_absent_where_they_cannot_be_had() {
    let users = vec![user("1", "a", &["g", "h"]), user("2", "b", &["none"]), user("3", "c", &[])];
    let source = Script {
        users: Mutex::new(Ok(users)),
        groups: Mutex::new(Err(broken(Operation::ListSecurityGroups))),
        ..Script::default()
    };
    // Listed users, too: their groups are looked up.
    let plan = UserListPlan { sso: SsoLimits::Groups, ..listed(3) };
    let (mut poller, reader, failures) = poller_of(plan, 4, source);
    assert_eq!(poller.poll().await, PollResult::Success, "everything else goes on");
    poller.poll().await;
    assert!(reader.snapshot().networks[0].sso.is_none());
    let failed = [(Operation::ListSecurityGroups, ErrorKind::Forbidden)];
    assert_eq!(*failures.0.lock().unwrap(), failed);

    *poller.plan.source.groups.lock().unwrap() =
        Ok(vec![group("h", Some(30)), group("g", Some(60)), group("none", None)]);
    tokio::time::advance(Duration::from_secs(60)).await;
    poller.poll().await;
    poller.poll().await;
    assert_eq!(poller.plan.source.asked_for_users.lock().unwrap().len(), 1, "those were known");
    let view = reader.snapshot().networks[0].clone();
    assert_eq!(view.sso.as_ref().unwrap().groups().len(), 3);
    let limits: Vec<_> = view.users.iter().map(|user| user.sso_max_idle()).collect();
    assert_eq!(limits, [Some(Duration::from_secs(1800)), None, None]);
    let facts = view.users.iter().next().unwrap().facts.as_ref().unwrap();
    assert!(facts.username.is_none(), "not asked for, not kept");
}

#[tokio::test(start_paused = true)]
async fn one_limit_for_all_needs_no_lookup() {
    let limit = Duration::from_secs(1800);
    let plan = UserListPlan { sso: SsoLimits::Fixed(limit), ..listed(2) };
    let (mut poller, reader, _) = poller_of(plan, 4, Script::default());
    poller.poll().await;
    let view = reader.snapshot().networks[0].clone();
    assert_eq!(view.sso.as_deref(), Some(&inventory::Sso::Fixed));
    assert!(view.users.iter().all(|user| user.sso_max_idle() == Some(limit)));
    assert!(poller.plan.source.asked_for_users.lock().unwrap().is_empty());

    // Those who are found have it, too.
    let source =
        Script { users: Mutex::new(Ok(vec![user("1", "a", &["g"])])), ..Script::default() };
    let plan = all(UserFilter::default(), SsoLimits::Fixed(limit));
    let (mut poller, reader, _) = poller_of(plan, 4, source);
    poller.poll().await;
    let view = reader.snapshot().networks[0].clone();
    let limits: Vec<_> = view.users.iter().map(|user| user.sso_max_idle()).collect();
    assert_eq!(limits, [Some(limit)]);
}

#[tokio::test(start_paused = true)]
async fn shards_share_the_users_among_themselves() {
    let mut everybody = Vec::new();
    for index in 0..3 {
        let plan = UserListPlan { shard: Shard { index, total: 3 }, ..listed(300) };
        let (mut poller, reader, _) = poller_of(plan, 16, Script::default());
        poller.poll().await;
        let own = ids(&reader);
        assert!((70..130).contains(&own.len()), "{}", own.len());
        everybody.extend(own);
    }
    let shard = Shard { index: 1, total: 3 };
    let users = (1..=300).map(|id: u32| user(&id.to_string(), "a", &[])).collect();
    let source = Script { users: Mutex::new(Ok(users)), ..Script::default() };
    let plan = UserListPlan { shard, ..all(UserFilter::default(), SsoLimits::Off) };
    let (mut poller, reader, _) = poller_of(plan, 16, source);
    poller.poll().await;
    let network = "12345678".parse().unwrap();
    let has = |id: &String| shard.has(&network, &id.parse().unwrap());
    assert_eq!(ids(&reader), everybody.iter().filter(|id| has(id)).cloned().collect::<Vec<_>>());
    everybody.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(everybody, (1..=300).map(|id| id.to_string()).collect::<Vec<_>>());
}

/// The publisher of a first poll that a reload breaks off, after one of the users.
fn broken_off(poller: NetworkPoller<Script>) -> (Plan<Script>, inventory::Publisher) {
    let NetworkPoller { plan, mut publisher, .. } = poller;
    let users = ["1".parse().unwrap(), "2".parse().unwrap()];
    publisher.begin(&users);
    publisher.read(&users[0], vec![], 0);
    (plan, publisher)
}

#[tokio::test(start_paused = true)]
async fn some_who_are_known_are_polled_but_they_are_not_all() {
    let source = Script {
        users: Mutex::new(Err(Error::new(Operation::ListUsers, ErrorKind::RateLimited, "x"))),
        ..Script::default()
    };
    let (first, reader, _) = poller_of(listed(2), 1, source);
    let (mut plan, publisher) = broken_off(first);
    // Another configuration comes: now all users are wanted, and nobody can say who they are.
    plan.roster = all(UserFilter::default(), SsoLimits::Off);
    let mut second = NetworkPoller::new(plan, publisher);
    for _ in 0..2 {
        assert_eq!(second.poll().await, PollResult::Partial);
        let view = &reader.snapshot().networks[0];
        assert!(!view.is_up(0) && view.polls.last_success.is_none());
        assert_eq!(view.users_by_freshness(0), [1, 0, 0]);
    }
    // Nor are they after one more reload, or when another choice is made.
    let NetworkPoller { plan, publisher, .. } = second;
    let mut third = NetworkPoller::new(plan, publisher);
    assert_eq!(third.poll().await, PollResult::Partial);
    *third.plan.source.users.lock().unwrap() = Ok(vec![user("1", "a", &[])]);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(third.poll().await, PollResult::Partial);
    assert!(third.roster.take_news(), "that they are all is a reason to poll at once");
    assert_eq!(third.poll().await, PollResult::Success);
    assert!(reader.snapshot().networks[0].is_up(0));
    // Another choice is made: whoever was read, it is not known who there is.
    let NetworkPoller { mut plan, publisher, .. } = third;
    *plan.source.users.lock().unwrap() = Err(broken(Operation::ListUsers));
    plan.roster.selector_id += 1;
    let mut fourth = NetworkPoller::new(plan, publisher);
    assert!(!reader.snapshot().networks[0].is_up(0));
    assert_eq!(fourth.poll().await, PollResult::Partial);
    assert!(!reader.snapshot().networks[0].is_up(0));
    // Those who are listed are known to be all, and are covered once they have been asked for.
    let NetworkPoller { mut plan, publisher, .. } = fourth;
    plan.roster = listed(2);
    let mut fifth = NetworkPoller::new(plan, publisher);
    assert_eq!(fifth.poll().await, PollResult::Success);
    let view = reader.snapshot().networks[0].clone();
    assert!(view.list.is_none() && view.users.iter().all(|user| user.facts.is_none()));
    let NetworkPoller { mut plan, publisher, .. } = fifth;
    plan.roster = listed(3);
    let mut sixth = NetworkPoller::new(plan, publisher);
    assert!(!reader.snapshot().networks[0].is_up(0), "the third was never asked for");
    assert_eq!(sixth.poll().await, PollResult::Success);
    assert!(reader.snapshot().networks[0].is_up(0));
}

#[tokio::test(start_paused = true)]
async fn a_poll_of_those_who_turn_out_to_be_all_is_whole_and_one_of_some_is_not() {
    for (found, result) in [(1, PollResult::Success), (3, PollResult::Partial)] {
        let users = (1..=found).map(|id| user(&id.to_string(), "a", &[])).collect();
        let source = Script {
            users: Mutex::new(Ok(users)),
            latency: Duration::from_secs(10),
            list_latency: Duration::from_secs(1),
            ..Script::default()
        };
        let (first, reader, _) = poller_of(listed(2), 1, source);
        let (mut plan, publisher) = broken_off(first);
        plan.roster = all(UserFilter::default(), SsoLimits::Off);
        let mut second = NetworkPoller::new(plan, publisher);
        assert_eq!(second.poll().await, result);
        assert_eq!(
            second.roster.take_news(),
            result != PollResult::Success,
            "polled again at once"
        );
        assert_eq!(reader.snapshot().networks[0].is_up(0), result == PollResult::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_found_and_not_reached_yet_is_polled_by_the_next_poller_too() {
    let users = vec![user("1", "a", &[]), user("2", "b", &[]), user("3", "c", &[])];
    let source = Script {
        users: Mutex::new(Ok(users)),
        latency: Duration::from_secs(10),
        ..Script::default()
    };
    let (first, reader, _) = poller_of(all(UserFilter::default(), SsoLimits::Off), 1, source);
    let publisher = first.run(stop_later(Duration::from_secs(15))).await;
    assert_eq!(ids(&reader), ["1"]);
    let mute = Script { users: Mutex::new(Err(broken(Operation::ListUsers))), ..Script::default() };
    let (next, _, _) = poller_of(all(UserFilter::default(), SsoLimits::Off), 1, mute);
    let mut second = NetworkPoller::new(next.plan, publisher);
    assert_eq!(second.poll().await, PollResult::Success);
    assert_eq!(ids(&reader), ["1", "2", "3"]);
    assert!(reader.snapshot().networks[0].is_up(0));
}
