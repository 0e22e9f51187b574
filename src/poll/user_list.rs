//! The users to poll in a network, and what discovery knows about them.
//!
//! A failed lookup never shortens the list: the last result stays in use. A user that is missing from
//! one list is dropped only when the next list confirms it, because the service's page tokens are
//! offsets: a change between two pages can hide a user.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use super::discovery::{
    ListedUser, LookupResult, Marks, SsoLimits, UserListPlan, UserListing, UserSelector, unusable,
};
use crate::{
    inventory::{Attempt, Directory, DiscoveredUsers, SharedFacts, Sso, Subject, UserFacts},
    wickr::{Error, ErrorKind, InternedStr, NetworkId, Operation, SecurityGroup, UserId},
};

/// Counts failed lookups.
pub trait DiscoveryObserver: fmt::Debug + Send + Sync {
    /// A lookup failed.
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind);
}

/// The users to poll now.
#[derive(Debug)]
pub(super) struct UserList {
    plan: Arc<UserListPlan>,
    network: NetworkId,
    observer: Arc<dyn DiscoveryObserver>,
    /// None until they are known.
    users: Option<Arc<[UserId]>>,
    /// Whether `users` are all that match the selection, as far as can be known.
    complete: bool,
    /// The service's list, restricted to `plan`; None until it was read.
    listed: Option<BTreeMap<UserId, ListedUser>>,
    /// Invited users without an id in the service's list.
    invited: Vec<Marks>,
    groups: Option<Vec<SecurityGroup>>,
    /// Users that the last list lacks and that stay until the next list confirms it.
    unconfirmed: BTreeSet<UserId>,
    /// Requests that confirmation.
    confirm: Arc<Notify>,
}

impl UserList {
    /// The list at the start of a poller. Until the first lookup, a `restored` list of the same
    /// selection is used or else the users of `known`, which may not be all.
    pub(super) fn new(
        plan: Arc<UserListPlan>,
        network: &NetworkId,
        observer: Arc<dyn DiscoveryObserver>,
        restored: Option<&DiscoveredUsers>,
        known: &[UserId],
    ) -> UserList {
        let own = |users: &[UserId]| -> Arc<[UserId]> {
            users.iter().filter(|user| plan.shard.has(network, user)).cloned().collect()
        };
        let restored = restored.filter(|list| list.selector_id == plan.selector_id);
        let (users, complete) = match (&plan.users, restored) {
            (UserSelector::Listed(users), _) => (Some(own(users)), true),
            (UserSelector::All(_), Some(list)) => (Some(list.users.clone()), true),
            (UserSelector::All(_), None) => (Some(own(known)), false),
        };
        // Without a user to poll, the first poll waits for the lookup.
        let discovers = matches!(plan.users, UserSelector::All(_));
        let users = users.filter(|users| !(discovers && users.is_empty()));
        UserList {
            network: network.clone(),
            observer,
            users,
            complete,
            listed: None,
            invited: Vec::new(),
            groups: None,
            unconfirmed: BTreeSet::new(),
            confirm: Arc::default(),
            plan,
        }
    }

    /// The users to poll; None while they are unknown.
    pub(super) fn users(&self) -> Option<&[UserId]> {
        self.users.as_deref()
    }

    /// [`UserList::users`], or none.
    pub(super) fn shared_users(&self) -> Arc<[UserId]> {
        self.users.clone().unwrap_or_default()
    }

    /// Whether these are all users that match the selection, as far as can be known.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Notified when a list of users should be read again soon.
    pub(super) fn confirm(&self) -> &Arc<Notify> {
        &self.confirm
    }

    /// Applies the result of a lookup. Returns how it ended and, if anything changed, what is known
    /// of the network's users now.
    pub(super) fn apply(&mut self, result: LookupResult) -> (Subject, Attempt, Option<Directory>) {
        let network_id = &self.network;
        let (subject, error) = match result {
            LookupResult::Users(Ok(listing)) => {
                let error = (listing.unusable > 0).then(|| unusable(listing.unusable));
                if let Some(error) = &error {
                    tracing::warn!(%network_id, %error, "users without a usable userId are not polled");
                }
                tracing::info!(%network_id, users = listing.users.len(), "users discovered");
                self.apply_users(listing);
                (self.plan.users_subject(), error)
            }
            LookupResult::Users(Err(error)) => {
                self.log_failure(&error);
                (self.plan.users_subject(), Some(error))
            }
            LookupResult::Groups(Ok(groups)) => {
                self.groups = Some(groups);
                (Subject::Groups, None)
            }
            LookupResult::Groups(Err(error)) => {
                self.log_failure(&error);
                (Subject::Groups, Some(error))
            }
        };
        let attempt = match error {
            None => Ok(()),
            Some(error) => {
                self.observer.discovery_failed(error.operation, error.kind);
                Err((error.operation, error.kind))
            }
        };
        (subject, attempt, self.directory())
    }

    fn log_failure(&self, error: &Error) {
        tracing::warn!(
            network_id = %self.network,
            operation = error.operation.as_str(),
            %error,
            remedy = error.remedy(),
            "discovery failed; the last result stays in use"
        );
    }

    fn apply_users(&mut self, mut listing: UserListing) {
        let discovers = matches!(self.plan.users, UserSelector::All(_));
        let mut former = self.listed.take().unwrap_or_default();
        let known: BTreeSet<UserId> = match &self.users {
            // Users of another selection may not match this one.
            Some(users) if discovers && self.complete => users.iter().cloned().collect(),
            Some(users) if discovers && listing.unusable > 0 => users.iter().cloned().collect(),
            _ => former.keys().cloned().collect(),
        };
        let missing: BTreeSet<UserId> =
            known.into_iter().filter(|user| !listing.users.contains_key(user)).collect();
        // An entry without an id can be any of the missing users.
        let stay: BTreeSet<UserId> = match listing.unusable {
            0 => missing.difference(&self.unconfirmed).cloned().collect(),
            _ => missing.clone(),
        };
        for user in &stay {
            if let Some(known) = former.remove(user) {
                listing.users.insert(user.clone(), known);
            }
        }
        if discovers {
            let users: BTreeSet<UserId> =
                listing.users.keys().cloned().chain(stay.clone()).collect();
            self.users = Some(users.into_iter().collect());
            self.complete = listing.unusable == 0;
        }
        if !stay.is_empty() && listing.unusable == 0 {
            let network_id = &self.network;
            tracing::info!(%network_id, users = stay.len(), "known users missing from the list, listing again");
            self.confirm.notify_one();
        }
        self.unconfirmed = stay;
        self.listed = Some(listing.users);
        self.invited = listing.invited;
    }

    /// What is known about the network and its users. None while the list of users is needed and was
    /// not read yet: earlier results may still be correct.
    pub(super) fn directory(&self) -> Option<Directory> {
        if self.plan.needs_users() && self.listed.is_none() {
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
        let mut shared = SharedFacts::default();
        for (id, listed) in self.listed.iter().flatten() {
            let ListedUser { username, status, groups, marks } = listed;
            let known = UserFacts {
                username: username.clone(),
                status: *status,
                suspended: marks.suspended,
                admin: marks.admin,
                sso_max_idle: limit(groups),
            };
            facts.insert(id.clone(), shared.share(known));
        }
        // Configured users have only the common limit.
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
            // A user's limit needs both its groups and their limits.
            (SsoLimits::Groups, Some(groups), Some(_)) => Some(Sso::Groups(groups.clone())),
            (SsoLimits::Groups, ..) => None,
        };
        let user_list = match (&self.plan.users, &self.users) {
            (UserSelector::All(_), Some(users)) if self.complete => {
                Some(DiscoveredUsers { selector_id: self.plan.selector_id, users: users.clone() })
            }
            _ => None,
        };
        let counts = match (&self.plan.users, &self.listed) {
            (UserSelector::All(_), Some(listed)) if self.complete => {
                let users = listed.values().map(|user| user.marks);
                Some(Marks::count(users.chain(self.invited.iter().copied())))
            }
            _ => None,
        };
        Some(Directory { facts, counts, sso: sso.map(Arc::new), user_list })
    }
}
