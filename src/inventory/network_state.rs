//! The working copy of what is known of one network: one poll after another is written into it, and
//! views are taken of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    block::Users,
    lookups::{Attempt, Lookups, Subject},
    network::{
        Directory, DiscoveredUsers, LastPoll, NetworkIdentity, NetworkView, PollLog, PollResult,
        Progress, Sso,
    },
    user::{UserData, UserRecord},
};
use crate::{
    clock::Millis,
    inventory::state::{RestoredNetwork, RestoredUser},
    wickr::{Device, ErrorKind, InternedStr, UserId},
};

/// The working copy of a network's view: one poll after another is written into it.
#[derive(Debug)]
pub(super) struct NetworkState {
    identity: Arc<NetworkIdentity>,
    users: Users,
    types: BTreeSet<InternedStr>,
    directory: Directory,
    covered: bool,
    polls: PollLog,
    lookups: Lookups,
    /// The lookups that the exposition depends on.
    needed: Vec<Subject>,
}

impl NetworkState {
    pub(super) fn new(identity: NetworkIdentity) -> NetworkState {
        NetworkState {
            identity: Arc::new(identity),
            users: Users::default(),
            types: BTreeSet::new(),
            directory: Directory::default(),
            covered: true,
            polls: PollLog::default(),
            lookups: Lookups::default(),
            needed: Vec::new(),
        }
    }

    /// The state that an earlier process left. Data of its last poll is overdue since the end of that
    /// poll; older data, which that poll failed to refresh, since it was read.
    pub(super) fn restored(identity: NetworkIdentity, restored: RestoredNetwork) -> NetworkState {
        let overdue_since = |at: Millis| match restored.last_poll {
            Some(poll) if at >= poll.at.saturating_sub(millis(poll.took)) => at.max(poll.at),
            _ => at,
        };
        let record = |id: UserId, last: Option<UserData>| UserRecord {
            id,
            failure: None,
            restored: true,
            facts: None,
            overdue_since: last.as_ref().map(|last| overdue_since(last.at)),
            last,
        };
        // Whoever else there was is missing, once it is told who there is.
        let others = restored.list.iter().filter(|_| restored.last_poll.is_some());
        let others = others.flat_map(|list| list.users.iter().cloned().map(|id| record(id, None)));
        let mut users: BTreeMap<_, _> = others.map(|user| (user.id.clone(), user)).collect();
        for RestoredUser { id, reading } in restored.users {
            users.insert(id.clone(), record(id, Some(reading)));
        }
        NetworkState {
            users: users.into_values().collect(),
            types: restored.types.into_iter().collect(),
            directory: Directory { list: restored.list, ..Directory::default() },
            polls: PollLog {
                last: restored.last_poll,
                last_success: restored.last_success,
                ..PollLog::default()
            },
            ..NetworkState::new(identity)
        }
    }

    /// The network goes by another name, interval or the like from now on.
    pub(super) fn rename(&mut self, identity: NetworkIdentity) {
        self.identity = Arc::new(identity);
        self.polls.under_way = None;
        self.polls.next = None;
        // Others may be to be looked up now, and that is done at once.
        self.lookups = Lookups::default();
    }

    /// Sets the lookups that the exposition depends on.
    pub(super) fn need(&mut self, lookups: Vec<Subject>) {
        self.needed = lookups;
    }

    /// A lookup ended, at `at`.
    pub(super) fn looked_up(&mut self, subject: Subject, attempt: Attempt, at: Millis) {
        self.lookups.ended(subject, attempt, at);
    }

    pub(super) fn retain(&mut self, wanted: impl Fn(&UserId) -> bool) {
        self.users.retain(wanted);
    }

    /// Whoever is to be polled and has not been asked for is not covered by the last poll.
    pub(super) fn assign(&mut self, users: &[UserId], all: bool) {
        self.covered = all && users.iter().all(|user| self.users.get(user).is_some());
    }

    pub(super) fn limit_all(&mut self, users: &[UserId], limit: Option<Duration>) {
        let mut directory = self.directory.clone();
        directory.sso = limit.map(|_| Arc::new(Sso::Fixed));
        for user in self.users().iter().chain(users).filter(|_| limit.is_some()) {
            directory.facts.entry(user.clone()).or_default();
        }
        for facts in directory.facts.values_mut() {
            Arc::make_mut(facts).sso_max_idle = limit;
        }
        self.set_directory(directory);
    }

    pub(super) fn keep_limits_of_groups(&mut self) {
        if !matches!(self.directory.sso.as_deref(), Some(Sso::Groups(_))) {
            self.limit_all(&[], None);
        }
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.users.iter().map(|user| user.id.clone()).collect()
    }

    pub(super) fn list(&self) -> Option<&DiscoveredUsers> {
        self.directory.list.as_ref()
    }

    /// What discovery tells from now on, of users known and to come.
    pub(super) fn set_directory(&mut self, directory: Directory) {
        self.directory = directory;
        let told = &self.directory.facts;
        self.users.update(|user| {
            let facts = told.get(&user.id);
            let news = user.facts.as_ref() != facts;
            news.then(|| UserRecord { facts: facts.cloned(), ..user.clone() })
        });
    }

    pub(super) fn view(&self) -> NetworkView {
        NetworkView {
            identity: self.identity.clone(),
            users: self.users.clone(),
            types: self.types.iter().cloned().collect(),
            sso: self.directory.sso.clone(),
            list: self.directory.list.clone(),
            covered: self.covered,
            polls: self.polls.clone(),
            lookups: self.lookups,
            lookups_pending: !self.needed.iter().all(|subject| self.has_looked_up(*subject)),
        }
    }

    /// Whether the first attempt of a lookup has ended, or an earlier process left its result.
    fn has_looked_up(&self, subject: Subject) -> bool {
        let restored = matches!(subject, Subject::Users) && self.directory.list.is_some();
        restored || self.lookups.has_ended(subject)
    }

    /// A poll of `asked` of `users` begins. Data of other users is dropped.
    pub(super) fn begin(&mut self, users: &[UserId], asked: usize) {
        let wanted: BTreeSet<&UserId> = users.iter().collect();
        self.users.retain(|id| wanted.contains(id));
        self.polls.under_way = Some(Progress { done: 0, total: asked });
        self.polls.next = None;
    }

    /// Polling begins at `at`. Restored data that is still served stays until the first poll has ended.
    pub(super) fn keep_restored(&mut self, at: Millis) {
        let stale_after = self.identity.stale_after;
        self.users.update(|user| {
            let waits = user.restored && user.overdue_since.is_some();
            let served = waits && user.reading(at, stale_after).is_some();
            served.then(|| UserRecord { overdue_since: None, ..user.clone() })
        });
    }

    /// The users of `users` that no poll of this process has asked for.
    pub(super) fn never_asked(&self, users: &[UserId]) -> Vec<UserId> {
        let was_asked = |user: &&UserId| self.users.get(user).is_some_and(|user| !user.restored);
        users.iter().filter(|user| !was_asked(user)).cloned().collect()
    }

    /// The users of `users` whose last attempt failed.
    pub(super) fn failed_users(&self, users: &[UserId]) -> Vec<UserId> {
        let failed = |id: &&UserId| self.users.get(id).is_some_and(|user| user.failure.is_some());
        users.iter().filter(failed).cloned().collect()
    }

    /// Whether any user's last attempt failed.
    pub(super) fn has_failures(&self) -> bool {
        self.users.iter().any(|user| user.failure.is_some())
    }

    /// Whether a user has data, expired or not.
    pub(super) fn has_data(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(UserRecord::was_read)
    }

    /// Whether the last poll covered all users of a complete list.
    pub(super) fn is_covered(&self) -> bool {
        self.covered
    }

    /// A user was read.
    pub(super) fn read(&mut self, user: &UserId, devices: Vec<Device>, at: Millis) {
        for device in &devices {
            if !self.types.contains(&device.device_type) {
                self.types.insert(device.device_type.clone());
            }
        }
        // Mostly nothing has changed since the last poll, and nothing new is kept then.
        let known = self.users.get(user).and_then(|record| record.last.as_ref());
        let devices = match known {
            Some(known) if *known.devices == devices[..] => known.devices.clone(),
            _ => devices.into(),
        };
        self.put(user, None, Some(UserData { at, devices }), None);
    }

    /// A user could not be read. Its last known data stays until it is overdue for too long.
    pub(super) fn failed(&mut self, user: &UserId, kind: ErrorKind) {
        let known = self.users.get(user);
        let overdue_since = known.and_then(|user| user.overdue_since);
        let last = known.and_then(|user| user.last.clone());
        self.put(user, Some(kind), last, overdue_since);
    }

    /// The service does not know a user: its data is dropped.
    pub(super) fn not_found(&mut self, user: &UserId) {
        self.put(user, Some(ErrorKind::NotFound), None, None);
    }

    fn put(
        &mut self,
        user: &UserId,
        failure: Option<ErrorKind>,
        last: Option<UserData>,
        overdue_since: Option<Millis>,
    ) {
        let facts = self.directory.facts.get(user).cloned();
        let id = user.clone();
        self.users.put(UserRecord { id, failure, restored: false, facts, last, overdue_since });
        if let Some(progress) = &mut self.polls.under_way {
            progress.done += 1;
        }
    }

    /// The poll under way ends at `at`. `took` is None for a poll of some users only: the duration of
    /// the last poll of all users stays. The result follows from the records of all users; it is no
    /// success unless the user list is complete (`all`).
    pub(super) fn end(&mut self, at: Millis, took: Option<Duration>, all: bool) -> PollResult {
        let failed = self.users.iter().filter(|user| user.failure.is_some()).count();
        let result = match failed {
            0 if all => PollResult::Success,
            failed if failed == self.users.len() => PollResult::Failure,
            _ => PollResult::Partial,
        };
        self.covered = all;
        self.polls.ended[result as usize] += 1;
        let before = self.polls.last.map(|last| last.took);
        let took = took.or(before).unwrap_or_default();
        self.polls.last = Some(LastPoll { at, took, result });
        self.polls.under_way = None;
        self.polls.next = None;
        // Expired data is dropped, so that cached lines of its block can be used again.
        let stale_after = self.identity.stale_after;
        self.users.update(|user| {
            if user.is_up() || user.last.is_none() {
                return None;
            }
            if user.overdue_since.is_none() {
                return Some(UserRecord { overdue_since: Some(at), ..user.clone() });
            }
            let expired = user.reading(at, stale_after).is_none();
            expired.then(|| UserRecord { last: None, overdue_since: None, ..user.clone() })
        });
        if result == PollResult::Success {
            self.polls.last_success = Some(at);
        }
        result
    }

    /// No poll is under way, and the next one is due at `at`.
    pub(super) fn due(&mut self, at: Millis) {
        self.polls.next = Some(at);
    }

    /// The poll under way has read no user for `stale_after` (at `at`): data that was read before
    /// `began` is overdue.
    pub(super) fn stalled(&mut self, began: Millis, at: Millis) {
        self.users.update(|user| {
            let is_old = user.last.as_ref().is_some_and(|last| last.at < began);
            let overdue = is_old && user.overdue_since.is_none();
            overdue.then(|| UserRecord { overdue_since: Some(at), ..user.clone() })
        });
    }

    /// The poll under way outlasts the interval.
    pub(super) fn overran(&mut self) {
        self.polls.overruns += 1;
    }
}

/// A duration in milliseconds, at most [`Millis::MAX`].
fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inventory::UserFacts,
        wickr::{ApiTimestamp, Operation, SecurityGroup},
    };

    const STALE_AFTER: Duration = Duration::from_secs(60);

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    fn device(app_id: &str, device_type: &str) -> Device {
        Device {
            app_id: Some(app_id.into()),
            device_type: device_type.into(),
            status: "Active".into(),
            suspended: Some(false),
            created: ApiTimestamp::NEVER,
            last_login: ApiTimestamp::NEVER,
        }
    }

    fn book() -> NetworkState {
        NetworkState::new(NetworkIdentity {
            id: "12345678".parse().unwrap(),
            name: "test".into(),
            region: "us-east-1".into(),
            account: String::new(),
            interval: Duration::from_secs(20),
            stale_after: STALE_AFTER,
        })
    }

    #[test]
    fn users_appear_as_they_are_read_and_the_network_when_the_poll_ends() {
        let mut book = book();
        book.begin(&[id("1"), id("2")], 2);
        assert!(book.view().users.is_empty());
        book.read(&id("1"), vec![device("a", "iOS")], 1_000);
        let view = book.view();
        assert!(!view.is_known());
        assert_eq!(view.readings(1_000).count(), 1);
        assert_eq!(view.polls.under_way, Some(Progress { done: 1, total: 2 }));
        book.failed(&id("2"), ErrorKind::Timeout);
        assert_eq!(book.end(2_000, Some(Duration::from_secs(1)), true), PollResult::Partial);
        let view = book.view();
        assert!(view.is_known() && !view.is_up(2_000));
        assert_eq!(view.users_by_freshness(2_000), [1, 0, 1]);
        assert_eq!(view.users_by_failure()[ErrorKind::Timeout as usize], 1);
    }

    #[test]
    fn a_user_that_cannot_be_read_keeps_its_devices_for_a_while() {
        let mut book = book();
        book.begin(&[id("1")], 1);
        book.read(&id("1"), vec![device("a", "iOS")], 0);
        assert_eq!(book.end(0, Some(Duration::ZERO), true), PollResult::Success);
        book.begin(&[id("1")], 1);
        book.failed(&id("1"), ErrorKind::ServerError);
        assert_eq!(book.end(30_000, Some(Duration::ZERO), true), PollResult::Failure);
        // Overdue since the end of that poll.
        assert_eq!(book.view().users_by_freshness(90_000), [0, 1, 0]);
        assert_eq!(book.view().readings(90_000).count(), 1);
        // It expires by the clock, not with the next poll.
        assert_eq!(book.view().users_by_freshness(90_001), [0, 0, 1]);
        assert_eq!(book.view().readings(90_001).count(), 0);
        // A type once seen stays.
        assert_eq!(book.view().types, [InternedStr::from("iOS")]);
        // The next poll that ends lets go of it, whatever `stale_after` will be then.
        book.end(91_000, Some(Duration::ZERO), true);
        let mut later = (*book.identity).clone();
        later.stale_after = Duration::from_secs(3600);
        book.rename(later);
        assert_eq!(book.view().users_by_freshness(91_000), [0, 0, 1]);
    }

    #[test]
    fn drops_overdue_data_after_the_clock_was_set_back() {
        let day = 86_400_000;
        let mut book = book();
        book.begin(&[id("1")], 1);
        book.read(&id("1"), vec![device("a", "iOS")], day);
        book.end(day, Some(Duration::ZERO), true);
        book.begin(&[id("1")], 1);
        book.failed(&id("1"), ErrorKind::Timeout);
        book.end(day, Some(Duration::ZERO), true);
        assert_eq!(book.view().users_by_freshness(day), [0, 1, 0]);
        assert_eq!(book.view().users_by_freshness(0), [0, 0, 1]);
        assert_eq!(book.view().readings(0).count(), 0);
    }

    #[test]
    fn keeps_data_through_a_poll_that_is_longer_than_stale_after() {
        let mut book = book();
        let users = [id("1"), id("2")];
        let hour = 3_600_000;
        book.begin(&users, 2);
        book.read(&users[0], vec![], 0);
        assert_eq!(book.view().users_by_freshness(hour), [1, 0, 0]);
        book.read(&users[1], vec![], hour);
        book.end(hour, Some(Duration::from_secs(3600)), true);
        // The next poll takes as long, and fails for the first user.
        book.begin(&users, 2);
        assert!(book.view().is_up(2 * hour));
        book.failed(&users[0], ErrorKind::Timeout);
        assert!(!book.view().is_up(2 * hour), "the first failure counts at once");
        assert_eq!(book.view().users_by_freshness(2 * hour), [1, 1, 0]);
        book.read(&users[1], vec![], 2 * hour);
        book.end(2 * hour, Some(Duration::from_secs(3600)), true);
        assert_eq!(book.view().users_by_freshness(2 * hour + 60_000), [1, 1, 0]);
        assert_eq!(book.view().users_by_freshness(2 * hour + 60_001), [1, 0, 1]);
    }

    #[test]
    fn data_is_overdue_from_the_moment_the_poll_stalls() {
        let mut book = book();
        let users = [id("1"), id("2")];
        book.begin(&users, 2);
        users.iter().for_each(|user| book.read(user, vec![], 0));
        book.end(0, Some(Duration::ZERO), true);
        book.begin(&users, 2);
        book.read(&users[0], vec![], 1_000);
        book.stalled(1_000, 70_000);
        assert_eq!(book.view().users_by_freshness(70_000), [1, 1, 0]);
        assert!(!book.view().is_up(70_000));
        assert_eq!(book.view().users_by_freshness(130_001), [1, 0, 1]);
        book.read(&users[1], vec![], 140_000);
        assert_eq!(book.view().users_by_freshness(140_000), [2, 0, 0]);
    }

    #[test]
    fn a_poll_of_some_users_completes_the_last_poll_and_keeps_its_duration() {
        let mut book = book();
        let users = [id("1"), id("2")];
        book.begin(&users, 2);
        book.read(&users[0], vec![], 0);
        book.failed(&users[1], ErrorKind::Timeout);
        assert_eq!(book.end(5, Some(Duration::from_secs(9)), true), PollResult::Partial);
        assert_eq!(book.failed_users(&users), [id("2")]);
        book.begin(&users, 1);
        book.read(&users[1], vec![], 6);
        assert_eq!(book.end(7, None, true), PollResult::Success);
        let view = book.view();
        assert!(view.is_up(7) && !book.has_failures());
        let last = view.polls.last.unwrap();
        assert_eq!((last.at, last.took), (7, Duration::from_secs(9)));
    }

    #[test]
    fn restored_data_that_is_still_served_stays_until_the_first_poll_has_ended() {
        let user = |id_: &str, at| RestoredUser {
            id: id(id_),
            reading: UserData { at, devices: Arc::new([]) },
        };
        // The last poll took ten minutes until 600,000 and failed for the third user.
        let restored = RestoredNetwork {
            name: String::new(),
            account: String::new(),
            users: vec![user("1", 10), user("2", 599_000), user("3", -1)],
            types: vec![],
            last_poll: Some(LastPoll {
                at: 600_000,
                took: Duration::from_secs(600),
                result: PollResult::Partial,
            }),
            last_success: None,
            list: None,
        };
        let state = || NetworkState::restored(book().identity.as_ref().clone(), restored.clone());
        assert_eq!(state().view().users_by_freshness(660_000), [0, 2, 1]);
        assert_eq!(state().view().users_by_freshness(660_001), [0, 0, 3]);
        let mut state = state();
        state.keep_restored(660_000);
        let users = ["1", "2", "3"].map(id);
        state.begin(&users, 3);
        assert_eq!(state.view().users_by_freshness(3_600_000), [0, 2, 1]);
        assert_eq!(state.never_asked(&users).len(), 3);
        for user in &users {
            state.failed(user, ErrorKind::Timeout);
        }
        state.end(3_600_000, Some(Duration::from_secs(3_000)), true);
        assert_eq!(state.view().users_by_freshness(3_660_000), [0, 2, 1]);
        assert_eq!(state.view().users_by_freshness(3_660_001), [0, 0, 3]);
    }

    #[test]
    fn a_user_that_the_service_does_not_know_loses_its_devices_at_once() {
        let mut book = book();
        book.begin(&[id("1"), id("2")], 2);
        book.read(&id("1"), vec![device("a", "iOS")], 0);
        book.read(&id("2"), vec![], 0);
        book.end(0, Some(Duration::ZERO), true);
        book.begin(&[id("1"), id("2")], 2);
        book.not_found(&id("1"));
        assert_eq!(book.view().users_by_freshness(0), [1, 0, 1]);
        assert_eq!(book.view().users.iter().next().unwrap().failure, Some(ErrorKind::NotFound));
        // And does not get them back by failing otherwise.
        book.failed(&id("1"), ErrorKind::Timeout);
        assert_eq!(book.view().users_by_freshness(0), [1, 0, 1]);
    }

    #[test]
    fn limits_that_come_from_elsewhere_now_are_not_kept() {
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let group = SecurityGroup { id: "g".into(), name: None, sso_max_idle: Some(hour) };
        let limit_after = |groups: Sso, then: &dyn Fn(&mut NetworkState)| {
            let facts =
                UserFacts { status: Some(2), sso_max_idle: Some(hour), ..UserFacts::default() };
            let facts = [(id("1"), Arc::new(facts))].into();
            let mut book = book();
            book.set_directory(Directory { facts, sso: Some(Arc::new(groups)), list: None });
            book.begin(&[id("1"), id("2")], 2);
            book.read(&id("1"), vec![], 0);
            then(&mut book);
            book.read(&id("2"), vec![], 0);
            let view = book.view();
            assert_eq!(view.users.get(&id("1")).unwrap().facts.as_ref().unwrap().status, Some(2));
            let limits = view.users.iter().map(|user| user.sso_max_idle());
            (view.sso.is_some(), limits.collect::<Vec<_>>())
        };
        let of_groups = || Sso::Groups(vec![group.clone()]);
        let kept = limit_after(of_groups(), &|book| book.keep_limits_of_groups());
        assert_eq!(kept, (true, vec![Some(hour), None]));
        let were_for_all = limit_after(Sso::Fixed, &|book| book.keep_limits_of_groups());
        assert_eq!(were_for_all, (false, vec![None, None]));
        let no_groups = limit_after(Sso::Groups(vec![]), &|book| book.keep_limits_of_groups());
        assert_eq!(no_groups, (true, vec![Some(hour), None]), "no groups are groups, too");
        let none = limit_after(of_groups(), &|book| book.limit_all(&[], None));
        assert_eq!(none, (false, vec![None, None]));
        let now_for_all =
            limit_after(of_groups(), &|book| book.limit_all(&[id("2")], Some(minute)));
        assert_eq!(now_for_all, (true, vec![Some(minute), Some(minute)]));
        // Of a user of whom discovery has told nothing, too.
        let and_later = limit_after(of_groups(), &|book| {
            book.read(&id("2"), vec![], 0);
            book.limit_all(&[], Some(minute));
        });
        assert_eq!(and_later, (true, vec![Some(minute), Some(minute)]));
    }

    #[test]
    fn a_user_that_is_no_longer_wanted_goes_with_the_next_poll() {
        let mut book = book();
        book.begin(&[id("1"), id("2")], 2);
        book.read(&id("1"), vec![], 0);
        book.read(&id("2"), vec![], 0);
        book.end(0, Some(Duration::ZERO), true);
        book.begin(&[id("2")], 1);
        let ids: Vec<_> = book.view().users.iter().map(|user| user.id.to_string()).collect();
        assert_eq!(ids, ["2"]);
    }

    #[test]
    fn the_last_success_is_that_of_a_poll_that_read_everybody() {
        let mut book = book();
        let users = [id("1"), id("2")];
        let mut poll = |at, failing: usize, known| {
            book.begin(&users, users.len());
            for (place, user) in users.iter().enumerate() {
                match place < failing {
                    true => book.failed(user, ErrorKind::Timeout),
                    false => book.read(user, vec![device("a", "iOS")], at),
                }
            }
            book.end(at, Some(Duration::ZERO), known);
            book.view().polls.last_success
        };
        assert_eq!(poll(1, 2, true), None);
        assert_eq!(poll(2, 1, true), None);
        assert_eq!(poll(3, 0, true), Some(3));
        assert_eq!(poll(4, 1, true), Some(3));
        assert_eq!(poll(5, 0, false), Some(3), "nobody knows whether that was everybody");
        assert_eq!(poll(6, 0, true), Some(6));
    }

    #[test]
    fn what_is_read_again_unchanged_is_shared_and_what_is_told_again_copies_nothing() {
        let mut book = book();
        book.begin(&[id("1")], 1);
        book.read(&id("1"), vec![device("a", "iOS")], 0);
        let devices =
            |book: &NetworkState| book.users.get(&id("1")).unwrap().last.clone().unwrap().devices;
        let before = devices(&book);
        book.read(&id("1"), vec![device("a", "iOS")], 1);
        assert!(Arc::ptr_eq(&before, &devices(&book)));
        book.read(&id("1"), vec![device("b", "iOS")], 2);
        assert_eq!(devices(&book)[..], [device("b", "iOS")]);
        let version = book.users.blocks()[0].version();
        book.set_directory(book.directory.clone());
        assert_eq!(book.users.blocks()[0].version(), version);
    }

    #[test]
    fn another_name_holds_at_once_and_lookups_begin_anew() {
        let mut book = book();
        book.looked_up(Subject::Users, Err((Operation::ListUsers, ErrorKind::Timeout)), 1);
        assert!(book.view().lookups.users.failure.is_some());
        let mut later = (*book.identity).clone();
        later.name = "another".into();
        book.rename(later);
        assert_eq!(book.view().identity.name, "another");
        assert_eq!(book.view().lookups, Lookups::default());
    }
}
