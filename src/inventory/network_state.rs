//! The working copy of one network. [`super::Publisher`] documents its methods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    block::Users,
    changes::{ChangeCounts, ChangeKind, DeviceChange, ExposedChanges, changes_between},
    lookups::{Attempt, Lookups, Subject},
    network::{
        Directory, DiscoveredUsers, LastPoll, NetworkIdentity, NetworkView, PollLog, PollResult,
        Progress, Sso,
    },
    user::{SharedFacts, UserData, UserFacts, UserRecord},
};
use crate::{
    clock::{Millis, Moment, to_millis},
    inventory::state::{RestoredNetwork, RestoredUser},
    wickr::{Device, ErrorKind, InternedStr, NetworkId, UserId},
};

#[derive(Debug)]
pub(super) struct NetworkState {
    identity: Arc<NetworkIdentity>,
    users: Users,
    types: BTreeSet<InternedStr>,
    directory: Directory,
    covered: bool,
    /// Counts polls.
    poll: u32,
    polls: PollLog,
    lookups: Lookups,
    required_lookups: Vec<Subject>,
    changes: ChangeCounts,
    exposed_changes: Arc<ExposedChanges>,
    timezone: Arc<str>,
}

impl NetworkState {
    pub(super) fn new(identity: NetworkIdentity) -> NetworkState {
        NetworkState {
            identity: Arc::new(identity),
            users: Users::default(),
            types: BTreeSet::new(),
            directory: Directory::default(),
            covered: true,
            poll: 0,
            polls: PollLog::default(),
            lookups: Lookups::default(),
            required_lookups: Vec::new(),
            changes: [0; 6],
            exposed_changes: Arc::default(),
            timezone: "".into(),
        }
    }

    /// The state that an earlier process saved. Data of its last poll is overdue from the end of that poll,
    /// and older data, which that poll failed to refresh, from when it was read. These are times of day,
    /// which count as steady times until [`NetworkState::keep_restored`].
    pub(super) fn restored(identity: NetworkIdentity, restored: RestoredNetwork) -> NetworkState {
        let overdue_since = |at: Millis| match restored.last_poll {
            Some(poll) if at >= poll.at.saturating_sub(to_millis(poll.duration)) => at.max(poll.at),
            _ => at,
        };
        let in_other_timezone = &restored.changes.in_other_timezone;
        let record = |id: UserId, last: Option<UserData>| UserRecord {
            in_other_timezone: in_other_timezone.contains(&id),
            id,
            failure: None,
            restored: true,
            poll: 0,
            facts: None,
            overdue_since: last.as_ref().map(|last| overdue_since(last.at)),
            last,
            expired: false,
        };
        // If a poll has ended, listed users without data are missing, not pending.
        let listed = restored.user_list.iter().filter(|_| restored.last_poll.is_some());
        let listed = listed.flat_map(|list| list.users.iter().cloned());
        let mut users: BTreeMap<_, _> = listed.map(|id| (id.clone(), record(id, None))).collect();
        for RestoredUser { id, data } in restored.changes.expired {
            let expired =
                UserRecord { expired: true, overdue_since: None, ..record(id, Some(data)) };
            users.insert(expired.id.clone(), expired);
        }
        for RestoredUser { id, data } in restored.users {
            users.insert(id.clone(), record(id, Some(data)));
        }
        NetworkState {
            users: users.into_values().collect(),
            types: restored.types.into_iter().collect(),
            changes: restored.changes.counts,
            exposed_changes: Arc::new(ExposedChanges::new(restored.changes.counts)),
            timezone: restored.changes.timezone.into(),
            directory: Directory { user_list: restored.user_list, ..Directory::default() },
            polls: PollLog {
                last: restored.last_poll,
                last_success: restored.last_success,
                ..PollLog::default()
            },
            ..NetworkState::new(identity)
        }
    }

    pub(super) fn network_id(&self) -> &NetworkId {
        &self.identity.id
    }

    pub(super) fn set_identity(&mut self, identity: NetworkIdentity) {
        self.identity = Arc::new(identity);
        self.polls.progress = None;
        self.polls.next = None;
        // What is looked up may change, and the lookups run again immediately.
        self.lookups = Lookups::default();
    }

    pub(super) fn set_timezone(&mut self, name: &str) {
        if !self.timezone.is_empty() && *self.timezone != *name {
            self.users.update(|user| {
                let unmarked = user.last.is_some() && !user.in_other_timezone;
                unmarked.then(|| UserRecord { in_other_timezone: true, ..user.clone() })
            });
        }
        self.timezone = name.into();
    }

    pub(super) fn set_required_lookups(&mut self, lookups: Vec<Subject>) {
        self.required_lookups = lookups;
    }

    pub(super) fn record_lookup(
        &mut self,
        subject: Subject,
        attempt: Attempt,
        at: impl Into<Moment>,
    ) {
        self.lookups.get_mut(subject).record(attempt, at);
    }

    pub(super) fn retain(&mut self, wanted: impl Fn(&UserId) -> bool) {
        self.users.retain(wanted);
    }

    pub(super) fn set_user_list(&mut self, users: &[UserId], complete: bool) {
        self.covered = complete && users.iter().all(|user| self.users.get(user).is_some());
    }

    pub(super) fn set_sso_limit(&mut self, users: &[UserId], limit: Option<Duration>) {
        let mut directory = self.directory.clone();
        directory.sso = limit.map(|_| Arc::new(Sso::Fixed));
        for user in self.users().iter().chain(users).filter(|_| limit.is_some()) {
            directory.facts.entry(user.clone()).or_default();
        }
        let mut shared = SharedFacts::default();
        for facts in directory.facts.values_mut().filter(|facts| facts.sso_max_idle != limit) {
            *facts = shared.share(UserFacts { sso_max_idle: limit, ..UserFacts::clone(facts) });
        }
        self.set_directory(directory);
    }

    pub(super) fn keep_group_limits(&mut self) {
        if !matches!(self.directory.sso.as_deref(), Some(Sso::Groups(_))) {
            self.set_sso_limit(&[], None);
        }
    }

    pub(super) fn user_count(&self) -> usize {
        self.users.len()
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.users.iter().map(|user| user.id.clone()).collect()
    }

    pub(super) fn discovered_users(&self) -> Option<&DiscoveredUsers> {
        self.directory.user_list.as_ref()
    }

    pub(super) fn set_directory(&mut self, directory: Directory) {
        self.directory = directory;
        self.users.update(|user| {
            let facts = self.directory.facts.get(&user.id);
            let changed = user.facts.as_ref() != facts;
            changed.then(|| UserRecord { facts: facts.cloned(), ..user.clone() })
        });
    }

    pub(super) fn view(&self) -> NetworkView {
        NetworkView {
            identity: self.identity.clone(),
            users: self.users.clone(),
            types: self.types.iter().cloned().collect(),
            sso: self.directory.sso.clone(),
            counts: self.directory.counts,
            user_list: self.directory.user_list.clone(),
            covered: self.covered,
            polls: self.polls.clone(),
            lookups: self.lookups,
            changes: self.changes,
            exposed_changes: self.exposed_changes.clone(),
            timezone: self.timezone.clone(),
            // A restored user list does not count: its accounts and facts are not saved.
            lookups_pending: self.required_lookups.iter().any(|s| !self.lookups.has_ended(*s)),
        }
    }

    pub(super) fn begin(&mut self, users: &[UserId], count: usize) {
        let wanted: BTreeSet<&UserId> = users.iter().collect();
        self.users.retain(|id| wanted.contains(id));
        self.poll = self.poll.wrapping_add(1);
        self.polls.progress = Some(Progress { done: 0, total: count });
        self.polls.next = None;
    }

    /// Data that has expired is not served, but the next read is compared with it. Data from the
    /// future is served: most likely, this machine has no clock that runs while it is off.
    pub(super) fn keep_restored(&mut self, at: impl Into<Moment>) {
        // Until now, the restored times of day count as steady times.
        let now = Moment::unstepped(at.into().time);
        let stale_after = self.identity.stale_after;
        self.users.update(|user| {
            if !user.restored || user.overdue_since.is_none() {
                return None;
            }
            let expired = user.data(now, stale_after).is_none();
            Some(UserRecord { expired, overdue_since: None, ..user.clone() })
        });
    }

    pub(super) fn never_polled(&self, users: &[UserId]) -> Vec<UserId> {
        let polled = |id: &&UserId| self.users.get(id).is_some_and(|user| !user.restored);
        users.iter().filter(|id| !polled(id)).cloned().collect()
    }

    pub(super) fn failed_users(&self, users: &[UserId]) -> Vec<UserId> {
        let failed = |id: &&UserId| self.users.get(id).is_some_and(|user| user.failure.is_some());
        users.iter().filter(failed).cloned().collect()
    }

    pub(super) fn has_failures(&self) -> bool {
        self.users.iter().any(|user| user.failure.is_some())
    }

    pub(super) fn has_data(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(UserRecord::has_data)
    }

    pub(super) fn is_covered(&self) -> bool {
        self.covered
    }

    pub(super) fn read(
        &mut self,
        user: &UserId,
        devices: Vec<Device>,
        at: Millis,
    ) -> Vec<DeviceChange> {
        for device in &devices {
            if !self.types.contains(device.device_type()) {
                self.types.insert(device.device_type().clone());
            }
        }
        // Most users are unchanged; they share the devices with the last poll.
        let record = self.users.get(user);
        let is_same_timezone = !record.is_some_and(|record| record.in_other_timezone);
        let known = record.and_then(|record| record.last.as_ref());
        let mut changes = Vec::new();
        let devices = match known {
            Some(known) if *known.devices == devices[..] => known.devices.clone(),
            Some(known) => {
                changes = changes_between(&known.devices, &devices);
                // In another time zone, a login at the same time can look later.
                changes.retain(|change| change.kind != ChangeKind::Login || is_same_timezone);
                devices.into()
            }
            None => devices.into(),
        };
        for change in &changes {
            let count = &mut self.changes[change.kind as usize];
            *count = count.saturating_add(1);
        }
        self.put(UserRecord { last: Some(UserData { at, devices }), ..self.requested(user) });
        changes
    }

    pub(super) fn failed(&mut self, user: &UserId, kind: ErrorKind) {
        let requested = UserRecord { failure: Some(kind), ..self.requested(user) };
        self.put(match self.users.get(user).cloned() {
            Some(UserRecord { last, expired, in_other_timezone, overdue_since, .. }) => {
                UserRecord { last, expired, in_other_timezone, overdue_since, ..requested }
            }
            None => requested,
        });
    }

    /// The data is no longer served, but the next reading is compared with it: the service can be wrong.
    pub(super) fn not_found(&mut self, user: &UserId) {
        let requested = UserRecord { failure: Some(ErrorKind::NotFound), ..self.requested(user) };
        self.put(match self.users.get(user).cloned() {
            Some(UserRecord { last, in_other_timezone, .. }) => {
                UserRecord { expired: last.is_some(), last, in_other_timezone, ..requested }
            }
            None => requested,
        });
    }

    /// The record of a user that the current poll requested, without data.
    fn requested(&self, user: &UserId) -> UserRecord {
        UserRecord {
            id: user.clone(),
            failure: None,
            restored: false,
            poll: self.poll,
            facts: self.directory.facts.get(user).cloned(),
            last: None,
            expired: false,
            in_other_timezone: false,
            overdue_since: None,
        }
    }

    fn put(&mut self, record: UserRecord) {
        self.users.put(record);
        if let Some(progress) = &mut self.polls.progress {
            progress.done += 1;
        }
    }

    /// `duration` is None for a poll of some users; the last duration stays. The result covers the
    /// records of all users.
    pub(super) fn end(
        &mut self,
        at: impl Into<Moment>,
        duration: Option<Duration>,
        complete: bool,
    ) -> PollResult {
        let at = at.into();
        let failed = self.users.iter().filter(|user| user.failure.is_some()).count();
        let result = match failed {
            0 if complete => PollResult::Success,
            failed if failed == self.users.len() => PollResult::Failure,
            _ => PollResult::Partial,
        };
        self.covered = complete;
        self.polls.ended[result as usize] += 1;
        let last_duration = self.polls.last.map(|last| last.duration);
        let duration = duration.or(last_duration).unwrap_or_default();
        self.polls.last = Some(LastPoll { at: at.time, duration, result });
        self.polls.last_ended = Some(at);
        self.polls.progress = None;
        self.polls.next = None;
        // Without expired data, the compressed chunks of a block can be cached again.
        let stale_after = self.identity.stale_after;
        self.users.update(|user| {
            if user.is_up() || !user.has_data() {
                return None;
            }
            if user.overdue_since.is_none() {
                return Some(UserRecord { overdue_since: Some(at.steady), ..user.clone() });
            }
            let expired = user.data(at, stale_after).is_none();
            expired.then(|| UserRecord { expired: true, overdue_since: None, ..user.clone() })
        });
        if result == PollResult::Success {
            self.polls.last_success = Some(at.time);
        }
        result
    }

    pub(super) fn set_next_poll(&mut self, at: Moment) {
        self.polls.next = Some(at);
    }

    pub(super) fn stalled(&mut self, at: impl Into<Moment>) {
        let overdue_since = Some(at.into().steady);
        // The poll may still be waiting for its users.
        let poll = self.polls.progress.map(|_| self.poll);
        self.users.update(|user| {
            let refreshed = Some(user.poll) == poll && user.failure.is_none();
            let has_data = user.unexpired().is_some();
            let overdue = has_data && !refreshed && user.overdue_since.is_none();
            overdue.then(|| UserRecord { overdue_since, ..user.clone() })
        });
    }

    pub(super) fn overran(&mut self) {
        self.polls.overruns += 1;
    }
}

#[cfg(test)]
mod tests;
