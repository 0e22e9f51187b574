//! Discovery: which users are polled and when, and what the next poller takes over.

use super::*;

fn user(id: &str, username: &str, groups: &[&str]) -> User {
    User {
        admin: None,
        invite_expired: None,
        id: Some(id.parse().unwrap()),
        username: Some(username.into()),
        status: Some(2),
        suspended: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        is_bot: false,
    }
}

fn without_id(username: &str) -> User {
    User { id: None, ..user("1", username, &[]) }
}

fn users(ids: &[&str]) -> Vec<User> {
    ids.iter().map(|id| user(id, "a", &[])).collect()
}

fn group(id: &str, minutes: Option<u64>) -> SecurityGroup {
    let sso_max_idle = minutes.map(|minutes| Duration::from_secs(minutes * 60));
    SecurityGroup { id: id.into(), name: None, sso_max_idle }
}

fn all() -> UserListPlan {
    UserListPlan { users: UserSelector::All(UserFilter::default()), ..listed(0) }
}

fn source(users: Result<Vec<User>, Error>) -> Script {
    Script { users: Mutex::new(users), ..Script::default() }
}

fn forbidden(operation: Operation) -> Error {
    Error::new(operation, ErrorKind::Forbidden, "scripted")
}

impl Running {
    fn list_requests(&self) -> usize {
        self.source.list_requests.lock().unwrap().len()
    }

    fn users_failure(&self) -> Option<ErrorKind> {
        self.view().lookups.users.failure.map(|failure| failure.kind)
    }
}

/// A poller with another user list or source that takes over `publisher`.
fn successor(
    publisher: inventory::Publisher,
    user_list: UserListPlan,
    source: Script,
) -> NetworkPoller<Script> {
    let (other, _, _) = poller_of(user_list, 4, source);
    NetworkPoller::new(other.plan, publisher)
}

#[tokio::test(start_paused = true)]
async fn retries_a_failed_lookup_after_a_minute_whatever_the_poll_interval() {
    let poller = Running::start(all(), HOUR, source(Err(forbidden(Operation::ListUsers))));
    seconds(1).await;
    assert_eq!(poller.view().polls.ended, [0, 0, 1], "no user is known");
    assert!(poller.reader.is_ready() && !poller.view().is_up(0));
    assert_eq!(poller.users_failure(), Some(ErrorKind::Forbidden));
    let failed = [(Operation::ListUsers, ErrorKind::Forbidden)];
    assert_eq!(*poller.failures.0.lock().unwrap(), failed);
    poller.list(Ok(users(&["1", "2"])));
    seconds(58).await;
    assert!(poller.ids().is_empty());
    seconds(2).await;
    assert_eq!((poller.ids(), poller.users_failure()), (vec!["1".into(), "2".into()], None));
    assert!(poller.view().is_up(0));
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn polls_found_users_at_once_and_repeats_the_lookup_at_its_own_interval() {
    let plan = UserListPlan { refresh: Duration::from_secs(10), ..all() };
    let poller = Running::start(plan, HOUR, source(Ok(users(&["1"]))));
    seconds(1).await;
    assert_eq!((poller.ids(), poller.requests()), (vec!["1".into()], 1));
    poller.list(Ok(users(&["1", "2", "3"])));
    seconds(10).await;
    assert_eq!(poller.ids(), ["1", "2", "3"]);
    assert_eq!(poller.requests(), 3, "the known user waits for the interval");
    assert!(poller.view().is_up(0));
    assert_eq!(poller.list_requests(), 2);
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_the_last_list_while_lookups_fail_and_drops_a_user_that_two_lists_lack() {
    let interval = Duration::from_secs(1);
    let poller = Running::start(all(), interval, source(Ok(users(&["1", "2"]))));
    seconds(1).await;
    poller.list(Err(forbidden(Operation::ListUsers)));
    seconds(3600).await;
    assert_eq!(poller.users_failure(), Some(ErrorKind::Forbidden));
    assert_eq!(poller.ids(), ["1", "2"]);
    poller.list(Ok(users(&["2"])));
    seconds(60).await;
    assert_eq!((poller.ids(), poller.users_failure()), (vec!["1".into(), "2".into()], None));
    // The list is repeated after a minute. In it the user is back.
    poller.list(Ok(users(&["1", "2"])));
    seconds(60).await;
    poller.list(Ok(users(&["2"])));
    seconds(3600).await;
    assert_eq!(poller.ids(), ["1", "2"]);
    seconds(62).await;
    assert_eq!(poller.ids(), ["2"]);
    // An empty list is confirmed, too.
    poller.list(Ok(vec![]));
    seconds(3662).await;
    assert!(poller.ids().is_empty() && poller.view().is_up(0));
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn passes_filters_to_the_service_and_matches_usernames_itself() {
    let list = vec![user("1", "ann@x", &["g"]), user("2", "bob@x", &["g", "h"])];
    let filter = UserFilter {
        status: Some(2),
        groups: vec!["g".into(), "h".into()],
        username: Some(UsernameMatcher(Arc::new(|name| name.starts_with("bob")))),
    };
    let plan = UserListPlan { users: UserSelector::All(filter), ..listed(0) };
    let poller = Running::start(plan, HOUR, source(Ok(list)));
    seconds(1).await;
    assert_eq!(poller.ids(), ["2"], "a member of both groups, once");
    let requests = poller.source.list_requests.lock().unwrap().clone();
    let filter = |group: &str| ListUsersFilter { status: Some(2), group: Some(group.into()) };
    assert_eq!(requests, [filter("g"), filter("h")]);
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_with_entries_without_an_id_is_incomplete_and_drops_nobody() {
    let interval = Duration::from_secs(1);
    let list = vec![without_id("a"), user("2", "b", &[])];
    let poller = Running::start(all(), interval, source(Ok(list)));
    seconds(1).await;
    assert!(poller.view().polls.ended[1] > 0 && !poller.view().is_up(0));
    assert_eq!((poller.view().user_list.clone(), poller.ids()), (None, vec!["2".into()]));
    let failure = (Operation::ListUsers, ErrorKind::InvalidResponse);
    assert_eq!(*poller.failures.0.lock().unwrap(), [failure]);
    // A list of unusable entries is an error, not an empty network.
    poller.list(Ok(vec![without_id("a")]));
    seconds(3600).await;
    assert_eq!(poller.ids(), ["2"]);
    assert_eq!(poller.failures.0.lock().unwrap().len(), 2);
    // The entry without an id can be the known user.
    poller.list(Ok(vec![without_id("b"), user("3", "c", &[])]));
    seconds(60).await;
    assert_eq!(poller.ids(), ["2", "3"]);
    // Invited users have no id and no devices yet.
    let invited = User { status: Some(1), ..without_id("i") };
    poller.list(Ok(vec![invited, user("3", "c", &[])]));
    seconds(3601).await;
    assert_eq!(poller.ids(), ["3"]);
    assert!(poller.view().is_up(0));
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_poller_polls_known_users_at_once_and_found_users_when_they_are_listed() {
    let first = Running::start(all(), HOUR, source(Ok(users(&["1", "2"]))));
    seconds(1).await;
    let reader = first.reader.clone();
    let publisher = first.stop().await;
    let slow =
        Script { list_latency: Duration::from_secs(10), ..source(Ok(users(&["1", "2", "3"]))) };
    let mut second = successor(publisher, all(), slow);
    second.plan.identity.interval = HOUR;
    let second = Running::of(second, reader, Arc::default());
    seconds(5).await;
    assert_eq!(second.requests(), 2);
    seconds(10).await;
    assert_eq!(second.requests(), 3);
    assert_eq!(second.ids(), ["1", "2", "3"]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_poller_polls_listed_users_that_the_last_one_did_not_reach() {
    let slow = Script { latency: Duration::from_secs(10), ..source(Ok(users(&["1", "2", "3"]))) };
    let (mut poller, reader, failures) = poller_of(all(), 1, slow);
    poller.plan.identity.interval = HOUR;
    let first = Running::of(poller, reader.clone(), failures);
    seconds(15).await;
    assert_eq!(first.ids(), ["1"]);
    let publisher = first.stop().await;
    let mut second = successor(publisher, all(), source(Err(forbidden(Operation::ListUsers))));
    assert_eq!(second.poll().await, PollResult::Success);
    assert!(reader.snapshot().networks[0].is_up(0));
}

#[tokio::test(start_paused = true)]
async fn a_list_stored_for_the_same_selection_is_complete() {
    for (selector_id, complete) in [(1, true), (2, false)] {
        let (first, _, _) = poller_of(listed(1), 1, Script::default());
        let mut publisher = first.publisher;
        let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
        let user_list = Some(inventory::DiscoveredUsers { selector_id, users });
        publisher.set_directory(Directory { user_list, ..Directory::default() });
        let second = successor(publisher, all(), Script::default());
        assert_eq!(second.list.is_complete(), complete, "{selector_id}");
    }
}

/// A publisher with one of two configured users, after a reload ended the first poll.
fn interrupted() -> (inventory::Publisher, Reader) {
    let (poller, reader, _) = poller_of(listed(2), 1, Script::default());
    let mut publisher = poller.publisher;
    let users = ["1".parse().unwrap(), "2".parse().unwrap()];
    publisher.begin(&users);
    publisher.record_devices(&users[0], vec![], 0);
    (publisher, reader)
}

#[tokio::test(start_paused = true)]
async fn a_poll_of_cached_users_is_partial_until_a_list_confirms_them() {
    let (publisher, reader) = interrupted();
    let unlisted = || source(Err(Error::new(Operation::ListUsers, ErrorKind::RateLimited, "x")));
    // After the reload, all users are selected, and they cannot be listed.
    let mut second = successor(publisher, all(), unlisted());
    assert_eq!(second.poll().await, PollResult::Partial);
    let view = || reader.snapshot().networks[0].clone();
    assert!(!view().is_up(0) && view().polls.last_success.is_none());
    assert_eq!(view().users_by_freshness(0), [1, 0, 0]);
    let mut third = successor(second.publisher, all(), unlisted());
    third.plan.identity.interval = HOUR;
    let third = Running::of(third, reader.clone(), Arc::default());
    seconds(1).await;
    assert!(!view().is_up(0));
    third.list(Ok(users(&["1"])));
    seconds(60).await;
    assert!(view().is_up(0) && view().polls.last_success.is_some());
    assert_eq!(third.requests(), 1, "the user is not requested again");
    // Another selection: its list is unknown again.
    let other = UserListPlan { selector_id: 9, ..all() };
    let mut fourth = successor(third.stop().await, other, unlisted());
    assert!(!view().is_up(0));
    assert_eq!(fourth.poll().await, PollResult::Partial);
    // Configured users are complete once all of them have been polled.
    let mut fifth = successor(fourth.publisher, listed(2), Script::default());
    assert_eq!(fifth.poll().await, PollResult::Success);
    assert!(view().user_list.is_none() && view().users.iter().all(|user| user.facts.is_none()));
    let mut sixth = successor(fifth.publisher, listed(3), Script::default());
    assert!(!view().is_up(0), "the third user was never polled");
    assert_eq!(sixth.poll().await, PollResult::Success);
    assert!(view().is_up(0));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_arrives_during_the_poll_confirms_the_polled_users_or_adds_others() {
    for (found, ended, requests) in [(&["1"][..], [1, 0, 0], 1), (&["1", "2", "3"], [1, 1, 0], 3)] {
        let (publisher, reader) = interrupted();
        let slow = Script {
            latency: Duration::from_secs(10),
            list_latency: Duration::from_secs(1),
            ..source(Ok(users(found)))
        };
        let mut second = successor(publisher, all(), slow);
        second.plan.identity.interval = HOUR;
        let second = Running::of(second, reader, Arc::default());
        seconds(60).await;
        assert_eq!((second.view().polls.ended, second.requests()), (ended, requests));
        assert!(second.view().is_up(0));
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_user_is_the_shortest_of_its_groups_and_absent_until_known() {
    let members = vec![user("1", "a", &["g", "h"]), user("2", "b", &["none"]), user("3", "c", &[])];
    let script = Script {
        groups: Mutex::new(Err(forbidden(Operation::ListSecurityGroups))),
        ..source(Ok(members))
    };
    // The groups of configured users are looked up, too.
    let plan = UserListPlan { sso: SsoLimits::Groups, ..listed(3) };
    let poller = Running::start(plan, HOUR, script);
    seconds(1).await;
    assert!(poller.view().is_up(0) && poller.view().sso.is_none());
    let failed = [(Operation::ListSecurityGroups, ErrorKind::Forbidden)];
    assert_eq!(*poller.failures.0.lock().unwrap(), failed);
    *poller.source.groups.lock().unwrap() =
        Ok(vec![group("h", Some(30)), group("g", Some(60)), group("none", None)]);
    seconds(60).await;
    assert_eq!(poller.list_requests(), 1);
    let view = poller.view();
    assert_eq!(view.sso.as_ref().unwrap().groups().len(), 3);
    let limits: Vec<_> = view.users.iter().map(|user| user.sso_max_idle()).collect();
    assert_eq!(limits, [Some(Duration::from_secs(1800)), None, None]);
    let facts = view.users.iter().next().unwrap().facts.as_ref().unwrap();
    assert!(facts.username.is_none(), "usernames are off");
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn is_ready_when_the_first_poll_and_the_first_lookups_have_ended() {
    let script = Script { list_latency: Duration::from_secs(10), ..source(Ok(users(&["1", "2"]))) };
    let plan = UserListPlan { sso: SsoLimits::Groups, ..listed(2) };
    let poller = Running::start(plan, HOUR, script);
    seconds(5).await;
    assert!(poller.view().is_up(0) && !poller.reader.is_ready());
    seconds(6).await;
    assert!(poller.reader.is_ready() && poller.view().sso.is_some());
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fixed_limit_needs_no_lookup() {
    let limit = Duration::from_secs(1800);
    let plan = UserListPlan { sso: SsoLimits::Fixed(limit), ..listed(2) };
    let poller = Running::start(plan, HOUR, Script::default());
    seconds(1).await;
    let view = poller.view();
    assert_eq!(view.sso.as_deref(), Some(&inventory::Sso::Fixed));
    assert!(view.users.iter().all(|user| user.sso_max_idle() == Some(limit)));
    assert_eq!(poller.list_requests(), 0);
    poller.stop().await;
    // Discovered users have it, too.
    let plan = UserListPlan { sso: SsoLimits::Fixed(limit), ..all() };
    let poller = Running::start(plan, HOUR, source(Ok(vec![user("1", "a", &["g"])])));
    seconds(1).await;
    assert_eq!(poller.view().users.iter().next().unwrap().sso_max_idle(), Some(limit));
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn shards_divide_configured_and_discovered_users() {
    let mut all_ids = Vec::new();
    for index in 0..3 {
        let plan = UserListPlan { shard: Shard { index, total: 3 }, ..listed(300) };
        let poller = Running::start(plan, HOUR, Script::default());
        seconds(1).await;
        let own = poller.ids();
        assert!((70..130).contains(&own.len()), "{}", own.len());
        all_ids.extend(own);
        poller.stop().await;
    }
    let shard = Shard { index: 1, total: 3 };
    let list = (1..=300).map(|id: u32| user(&id.to_string(), "a", &[])).collect();
    let poller = Running::start(UserListPlan { shard, ..all() }, HOUR, source(Ok(list)));
    seconds(1).await;
    let network = "12345678".parse().unwrap();
    let has = |id: &String| shard.has(&network, &id.parse().unwrap());
    assert_eq!(poller.ids(), all_ids.iter().filter(|id| has(id)).cloned().collect::<Vec<_>>());
    all_ids.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(all_ids, (1..=300).map(|id| id.to_string()).collect::<Vec<_>>());
    poller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn counts_listed_accounts_with_invited_ones_in_the_first_shard() {
    let marked = |user: User, suspended, admin| User { suspended, admin, ..user };
    let invited = |name: &str, expired| User {
        status: Some(1),
        invite_expired: expired,
        admin: Some(true),
        ..without_id(name)
    };
    let list = vec![
        marked(user("1", "a", &[]), Some(true), Some(true)),
        marked(user("2", "b", &[]), Some(false), Some(false)),
        invited("c", Some(true)),
        // The same user in the list of another group.
        invited("c", Some(true)),
        invited("d", Some(false)),
        invited("e", None),
    ];
    let counts = async |shard, list: Vec<User>| {
        let plan = UserListPlan { shard, ..all() };
        let (mut poller, reader, _) = poller_of(plan, 4, source(Ok(list)));
        poller.poll().await;
        let view = reader.snapshot().networks[0].clone();
        let suspended = view.users.iter().map(|user| user.facts.as_ref().unwrap().suspended);
        (view.counts, suspended.collect::<Vec<_>>())
    };
    let listed = |suspended, admins, invites_expired| {
        Some(inventory::ListedCounts { suspended, admins, invites_expired })
    };
    let whole = counts(Shard::default(), list.clone()).await;
    assert_eq!(whole, (listed(Some(1), Some(4), Some(1)), vec![Some(true), Some(false)]));
    let mut sum = 0;
    for index in 0..2 {
        let (counts, _) = counts(Shard { index, total: 2 }, list.clone()).await;
        sum += counts.unwrap().admins.unwrap();
    }
    assert_eq!(sum, 4, "each account is counted in one shard");
    let unknown = counts(Shard::default(), vec![user("1", "a", &[])]).await;
    assert_eq!(unknown.0, listed(None, None, Some(0)), "absent members are not zero");
    let unusable = counts(Shard::default(), vec![user("1", "a", &[]), without_id("b")]).await;
    assert_eq!(unusable.0, None, "the list is incomplete");
}
