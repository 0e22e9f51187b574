//! Whom to poll in a network, and what is known of them: listed or discovered, this process's part,
//! with SSO limits where those are wanted.
//!
//! What discovery found stays in use until it finds something else: a failure costs a log line and a
//! count, never the list. It goes on beside the polls, so however long it takes, those who are known
//! are polled; whom it finds is polled from the next time on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Source,
    discovery::{Listed, LookedUp, SsoLimits, UserListPlan, UserSelector, unusable},
};
use crate::{
    inventory::{Attempt, Directory, DiscoveredUsers, Sso, Subject, UserFacts},
    wickr::{
        Error, ErrorKind, InternedStr, NetworkId, NetworkLimiter, Operation, SecurityGroup, UserId,
    },
};

/// Who is told of failures to discover.
pub trait Observer: fmt::Debug + Send + Sync {
    /// This could not be looked up.
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind);
}

/// Whom to poll now.
#[derive(Debug)]
pub(super) struct UserList {
    plan: Arc<UserListPlan>,
    /// None until they are known.
    users: Option<Arc<[UserId]>>,
    /// Whether those are all that there are, as far as can be known.
    all: bool,
    /// What is known of those users by the service's list; None until it was read.
    listed: Option<BTreeMap<UserId, Listed>>,
    groups: Option<Vec<SecurityGroup>>,
    /// When each is to be looked up again.
    list_due: Instant,
    groups_due: Instant,
    /// The first list has brought others than were known before.
    news: bool,
    /// The lookup under way: it goes on beside the polls, which never wait for it if there is
    /// anybody to poll.
    under_way: JoinSet<LookedUp>,
    /// How lookups ended that nobody was told of yet.
    ended: Vec<(Subject, Attempt)>,
}

/// What cannot be looked up is tried again after this, or at the interval if that is less.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl UserList {
    /// A roster. Those of a `list` that was discovered for the same choice are polled until there is
    /// a newer one; for want of it, those who are `known` otherwise, until it is known who else there
    /// is.
    pub(super) fn new(
        plan: UserListPlan,
        network: &NetworkId,
        list: Option<&DiscoveredUsers>,
        known: Vec<UserId>,
    ) -> UserList {
        let own = |users: &[UserId]| -> Arc<[UserId]> {
            users.iter().filter(|user| plan.shard.has(network, user)).cloned().collect()
        };
        let list = list.filter(|list| {
            list.selector_id == plan.selector_id
                || Some(list.selector_id) == plan.former_selector_id
        });
        let (users, all) = match (&plan.users, list) {
            (UserSelector::Listed(users), _) => (Some(own(users)), true),
            (UserSelector::All(_), Some(list)) => (Some(list.users.clone()), true),
            (UserSelector::All(_), None) => (Some(own(&known)), false),
        };
        // Who asks for nobody learns nothing: better to wait for the list.
        let discovers = matches!(plan.users, UserSelector::All(_));
        let users = users.filter(|users| !(discovers && users.is_empty()));
        let now = Instant::now();
        UserList {
            users,
            all,
            listed: None,
            groups: None,
            list_due: now,
            groups_due: now,
            news: false,
            under_way: JoinSet::new(),
            ended: Vec::new(),
            plan: Arc::new(plan),
        }
    }

    /// Whom to poll; none if that could not be found out yet.
    pub(super) fn users(&self) -> Option<&[UserId]> {
        self.users.as_deref()
    }

    /// Whether those are all that there are, as far as can be known.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// Whether all that there are were polled with these. Then that they are all is no news.
    pub(super) fn is_covered_by(&mut self, polled: &[UserId]) -> bool {
        let polled: HashSet<&UserId> = polled.iter().collect();
        let covered =
            self.all && self.users().unwrap_or_default().iter().all(|u| polled.contains(u));
        self.news &= !covered;
        covered
    }

    /// What can be said of the network without looking anything up.
    pub(super) fn at_first(&self) -> Option<Directory> {
        self.directory()
    }

    /// Begins to look up what has grown old by `soon` from now, and waits for it only if nobody is
    /// known. Gives what is to be said of the network from now on, if anything has changed.
    pub(super) async fn advance<S: Source + 'static>(
        &mut self,
        source: &Arc<S>,
        network: &NetworkId,
        lane: &Arc<NetworkLimiter>,
        observer: &dyn Observer,
        soon: Duration,
    ) -> Option<Directory> {
        let by = Instant::now() + soon;
        let list = self.wants_list() && self.list_due <= by;
        let groups = self.plan.sso == SsoLimits::Groups && self.groups_due <= by;
        if self.under_way.is_empty() && (list || groups) {
            let (plan, source) = (self.plan.clone(), source.clone());
            let (network, lane) = (network.clone(), lane.clone());
            self.under_way
                .spawn(async move { plan.look_up(&*source, &network, &lane, list, groups).await });
        }
        if self.users.is_some() {
            return None;
        }
        self.found(network, observer).await
    }

    /// When to try again to find out whom to poll, if nobody knows.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.users.is_none().then_some(self.list_due)
    }

    /// Whether the first list has brought others than were known before: told once.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// How lookups ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<(Subject, Attempt)> {
        std::mem::take(&mut self.ended)
    }

    /// Whether anything is being looked up.
    pub(super) fn is_looking(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Waits for what is being looked up, and takes it up. Gives what is to be said of the network
    /// from now on, if anything has changed. Dropping the future loses nothing.
    pub(super) async fn found(
        &mut self,
        network: &NetworkId,
        observer: &dyn Observer,
    ) -> Option<Directory> {
        match self.under_way.join_next().await? {
            Ok(found) => self.take(found, network, observer),
            // It panicked, or this is the end of the process.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => None,
            },
        }
    }

    fn wants_list(&self) -> bool {
        matches!(self.plan.users, UserSelector::All(_)) || self.plan.sso == SsoLimits::Groups
    }

    /// What is not known where the list of users is not.
    fn list_is_for(&self) -> Subject {
        match self.plan.users {
            UserSelector::All(_) => Subject::Users,
            UserSelector::Listed(_) => Subject::Members,
        }
    }

    fn ended(&mut self, subject: Subject, attempt: Result<(), Error>) {
        self.ended.push((subject, attempt.map_err(|error| (error.operation, error.kind))));
    }

    fn take(
        &mut self,
        found: LookedUp,
        network: &NetworkId,
        observer: &dyn Observer,
    ) -> Option<Directory> {
        let failed = |error: Error| {
            observer.discovery_failed(error.operation, error.kind);
            tracing::warn!(
                network_id = %network,
                operation = error.operation.as_str(),
                %error,
                remedy = error.kind.remedy(),
                "discovery failed; what it found before, if anything, stays in use"
            );
        };
        let again = found.started + self.plan.refresh;
        let retry = Instant::now() + RETRY_AFTER.min(self.plan.refresh);
        if let Some(list) = &found.list {
            let attempt = match list {
                Ok((_, 0)) => Ok(()),
                // Some of them are not known: so it is not known who there is.
                Ok((_, nameless)) => Err(unusable(*nameless)),
                Err(error) => Err(error.clone()),
            };
            self.ended(self.list_is_for(), attempt);
        }
        if let Some(groups) = &found.groups {
            self.ended(Subject::Groups, groups.as_ref().map(drop).map_err(Clone::clone));
        }
        match found.list {
            None => {}
            // All of them unusable is not the news that there is nobody.
            Some(Ok((listed, nameless))) if listed.is_empty() && nameless > 0 => {
                self.list_due = retry;
                failed(unusable(nameless));
            }
            Some(Ok((mut listed, nameless))) => {
                self.list_due = again;
                let (is_first, mut former) = (self.listed.is_none(), Vec::new());
                if nameless > 0 {
                    let error = unusable(nameless);
                    observer.discovery_failed(error.operation, error.kind);
                    tracing::warn!(network_id = %network, %error, "some users cannot be polled");
                    // One of them may be one of those who were known: they stay.
                    former.extend(self.users.iter().flat_map(|users| users.iter().cloned()));
                    for (id, known) in self.listed.take().unwrap_or_default() {
                        listed.entry(id).or_insert(known);
                    }
                }
                if matches!(self.plan.users, UserSelector::All(_)) {
                    let before = self.users.take();
                    // The first list is acted on at once, for much may have changed before it;
                    // later ones with the next poll.
                    self.news = is_first
                        && before.is_some_and(|before| {
                            !self.all
                                || before.len() != listed.len()
                                || before.iter().any(|user| !listed.contains_key(user))
                        });
                    let users: BTreeSet<_> = listed.keys().cloned().chain(former).collect();
                    self.users = Some(users.into_iter().collect());
                    self.all = nameless == 0;
                }
                tracing::info!(network_id = %network, users = listed.len(), "looked up users");
                self.listed = Some(listed);
            }
            Some(Err(error)) => {
                self.list_due = retry;
                failed(error);
            }
        }
        match found.groups {
            None => {}
            Some(Ok(groups)) => {
                self.groups_due = again;
                self.groups = Some(groups);
            }
            Some(Err(error)) => {
                self.groups_due = retry;
                failed(error);
            }
        }
        self.directory()
    }

    /// What is to be said of the network and its users; nothing while the list of them is wanted and
    /// was not read yet, for what was said before may still be true.
    fn directory(&self) -> Option<Directory> {
        if self.wants_list() && self.listed.is_none() {
            return None;
        }
        let limits: Option<HashMap<&str, Duration>> = self.groups.as_ref().map(|groups| {
            groups.iter().filter_map(|group| Some((&*group.id, group.sso_max_idle?))).collect()
        });
        let limit = |groups: &[InternedStr]| match (self.plan.sso, &limits) {
            (SsoLimits::Fixed(limit), _) => Some(limit),
            (SsoLimits::Groups, Some(limits)) => {
                groups.iter().filter_map(|group| limits.get(&**group)).min().copied()
            }
            _ => None,
        };
        let mut facts: BTreeMap<UserId, Arc<UserFacts>> = BTreeMap::new();
        for (id, listed) in self.listed.iter().flatten() {
            let Listed { username, status, groups } = listed;
            let known = UserFacts {
                username: username.clone(),
                status: *status,
                sso_max_idle: limit(groups),
            };
            facts.insert(id.clone(), Arc::new(known));
        }
        // Nothing is known of listed users but a limit that all have.
        if let (SsoLimits::Fixed(limit), UserSelector::Listed(_)) =
            (self.plan.sso, &self.plan.users)
        {
            let same = Arc::new(UserFacts { sso_max_idle: Some(limit), ..UserFacts::default() });
            for id in self.users().unwrap_or_default() {
                facts.insert(id.clone(), same.clone());
            }
        }
        let sso = match (self.plan.sso, &self.groups, &self.listed) {
            (SsoLimits::Off, ..) => None,
            (SsoLimits::Fixed(_), ..) => Some(Sso::Fixed),
            // Limits without members, or members without limits, tell nothing.
            (SsoLimits::Groups, Some(groups), Some(_)) => Some(Sso::Groups(groups.clone())),
            (SsoLimits::Groups, ..) => None,
        };
        let list = match (&self.plan.users, &self.users) {
            (UserSelector::All(_), Some(users)) if self.all => {
                Some(DiscoveredUsers { selector_id: self.plan.selector_id, users: users.clone() })
            }
            _ => None,
        };
        Some(Directory { facts, sso: sso.map(Arc::new), list })
    }
}
