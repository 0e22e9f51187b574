//! Lookup of the users of a network and of its security groups, on a schedule of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{Source, shard::Shard};
use crate::{
    in_place,
    inventory::{ListedCounts, Subject},
    wickr::{
        Error, ErrorKind, InternedStr, Interner, ListUsersFilter, NetworkId, NetworkLimiter,
        Operation, SecurityGroup, User, UserId,
    },
};

/// Delay before a failed lookup is retried, and before a list that lacks known users is confirmed;
/// the discovery interval if that is shorter.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The configured selection of users.
#[derive(Debug, Clone)]
pub struct UserListPlan {
    /// The users.
    pub users: UserSelector,
    /// The part of them that this process polls.
    pub shard: Shard,
    /// The source of SSO limits.
    pub sso: SsoLimits,
    /// Whether usernames are stored.
    pub usernames: bool,
    /// The interval of lookups.
    pub refresh: Duration,
    /// Identifies `users` and `shard`. A restored user list is complete only for the same selection.
    pub selector_id: u64,
}

/// The users to poll, or how to find them.
#[derive(Debug, Clone)]
pub enum UserSelector {
    /// Configured ids, each once.
    Listed(Vec<UserId>),
    /// All users that match.
    All(UserFilter),
}

/// Selects users of the service's list. The default selects all.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// 1 for pending, 2 for active.
    pub status: Option<u8>,
    /// Ids of security groups. A user must be in at least one; empty for no restriction.
    pub groups: Vec<String>,
    /// A condition on the username.
    pub username: Option<UsernameMatcher>,
}

/// A condition on a username.
#[derive(Clone)]
pub struct UsernameMatcher(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for UsernameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsernameMatcher")
    }
}

impl UsernameMatcher {
    /// A user without a username never matches.
    fn matches(&self, user: &User) -> bool {
        user.username.as_deref().is_some_and(|name| (self.0)(name))
    }
}

/// The source of SSO limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsoLimits {
    /// No SSO families.
    Off,
    /// One limit for all users.
    Fixed(Duration),
    /// The shortest limit of each user's security groups.
    Groups,
}

/// The status of a user who was invited and has not joined yet.
const PENDING: i64 = 1;

/// What the service's list has about a user.
#[derive(Debug)]
pub(super) struct ListedUser {
    pub(super) username: Option<Box<str>>,
    pub(super) status: Option<i64>,
    /// Ids; empty unless SSO limits come from groups.
    pub(super) groups: Box<[InternedStr]>,
    pub(super) marks: Marks,
}

/// What the service's list has about an account. None where it lacks the member.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    pending: bool,
    pub(super) suspended: Option<bool>,
    pub(super) admin: Option<bool>,
    invite_expired: Option<bool>,
}

impl Marks {
    fn of(user: &User) -> Marks {
        Marks {
            pending: user.status == Some(PENDING),
            suspended: user.suspended,
            admin: user.admin,
            invite_expired: user.invite_expired,
        }
    }

    /// Counts marks. None if there are accounts and none of them has the member.
    pub(super) fn count(all: impl Iterator<Item = Marks> + Clone) -> ListedCounts {
        let count = |of_pending: bool, mark: fn(Marks) -> Option<bool>| {
            let mut accounts = all.clone().filter(|marks| marks.pending || !of_pending).peekable();
            let is_empty = accounts.peek().is_none();
            let (mut known, mut set) = (is_empty, 0);
            for mark in accounts.filter_map(mark) {
                known = true;
                set += u64::from(mark);
            }
            known.then_some(set)
        };
        ListedCounts {
            suspended: count(false, |marks| marks.suspended),
            admins: count(false, |marks| marks.admin),
            invites_expired: count(true, |marks| marks.invite_expired),
        }
    }
}

/// The users of the service's list that this process polls.
#[derive(Debug)]
pub(super) struct UserListing {
    pub(super) users: BTreeMap<UserId, ListedUser>,
    /// Invited users without an id, who have no devices yet, each once.
    pub(super) invited: Vec<Marks>,
    /// Number of active entries without a usable id.
    pub(super) unusable: usize,
}

/// An entry of the service's list.
enum Entry {
    User(UserId, ListedUser),
    /// An invited user without an id, with its username.
    Invited(Option<String>, Marks),
    /// A user without a usable id.
    Unusable,
}

/// The result of one lookup.
#[derive(Debug)]
pub(super) enum LookupResult {
    Users(Result<UserListing, Error>),
    Groups(Result<Vec<SecurityGroup>, Error>),
}

impl LookupResult {
    /// The number of users in it.
    pub(super) fn users(&self) -> usize {
        match self {
            LookupResult::Users(Ok(listing)) => listing.users.len(),
            _ => 0,
        }
    }
}

impl UserListPlan {
    /// Whether the service's list of users is needed.
    pub(super) fn needs_users(&self) -> bool {
        matches!(self.users, UserSelector::All(_)) || self.sso == SsoLimits::Groups
    }

    /// Whether the security groups are needed.
    pub(super) fn needs_groups(&self) -> bool {
        self.sso == SsoLimits::Groups
    }

    /// What a lookup of users finds: the users, or the groups of configured users.
    pub(super) fn users_subject(&self) -> Subject {
        match self.users {
            UserSelector::All(_) => Subject::Users,
            UserSelector::Listed(_) => Subject::Members,
        }
    }

    /// The lookups that the exposition depends on.
    pub(super) fn needed_lookups(&self) -> Vec<Subject> {
        let users = self.needs_users().then(|| self.users_subject());
        users.into_iter().chain(self.needs_groups().then_some(Subject::Groups)).collect()
    }
}

/// Everything that a lookup needs.
#[derive(Debug)]
pub(super) struct Discovery<S> {
    pub(super) plan: Arc<UserListPlan>,
    pub(super) network: NetworkId,
    pub(super) source: Arc<S>,
    pub(super) limiter: Arc<NetworkLimiter>,
    /// Requests another list of users soon.
    pub(super) confirm: Arc<Notify>,
}

impl<S: Source> Discovery<S> {
    /// Repeats every lookup that is needed, each at the discovery interval and sooner after a failure,
    /// until dropped. Ends early only if `results` is closed.
    pub(super) async fn run(self, results: mpsc::Sender<LookupResult>) {
        let users = async {
            if !self.plan.needs_users() {
                return pending().await;
            }
            self.repeat(&results, || async { LookupResult::Users(self.users().await) }).await;
        };
        let groups = async {
            if !self.plan.needs_groups() {
                return pending().await;
            }
            self.repeat(&results, || async { LookupResult::Groups(self.groups().await) }).await;
        };
        tokio::select! { () = users => {} () = groups => {} }
    }

    /// Every lookup that is needed, once.
    pub(super) async fn run_once(&self) -> Vec<LookupResult> {
        let mut results = Vec::new();
        if self.plan.needs_users() {
            results.push(LookupResult::Users(self.users().await));
        }
        if self.plan.needs_groups() {
            results.push(LookupResult::Groups(self.groups().await));
        }
        results
    }

    async fn repeat<F: Future<Output = LookupResult>>(
        &self,
        results: &mpsc::Sender<LookupResult>,
        lookup: impl Fn() -> F,
    ) {
        let soon = RETRY_AFTER.min(self.plan.refresh);
        loop {
            let started = Instant::now();
            let result = lookup().await;
            let (succeeded, is_users) = match &result {
                LookupResult::Users(users) => (users.is_ok(), true),
                LookupResult::Groups(groups) => (groups.is_ok(), false),
            };
            if results.send(result).await.is_err() {
                return;
            }
            if !succeeded {
                tokio::time::sleep(soon).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(started + self.plan.refresh) => {}
                () = self.confirm.notified(), if is_users => tokio::time::sleep(soon).await,
            }
        }
    }

    /// Reads the service's list of users and keeps those that this process polls.
    async fn users(&self) -> Result<UserListing, Error> {
        let plan = &self.plan;
        let (filter, configured): (UserFilter, Option<BTreeSet<&UserId>>) = match &plan.users {
            UserSelector::All(filter) => (filter.clone(), None),
            UserSelector::Listed(users) => {
                let users = in_place::for_users(users.len(), || users.iter().collect());
                (UserFilter::default(), Some(users))
            }
        };
        // One list for each group, or one for all. A user of several groups is in several lists.
        let groups: Vec<Option<String>> = match filter.groups.len() {
            0 => vec![None],
            _ => filter.groups.iter().cloned().map(Some).collect(),
        };
        let names = Interner::default();
        let keep = |user: User| -> Option<Entry> {
            if !filter.username.as_ref().is_none_or(|condition| condition.matches(&user)) {
                return None;
            }
            let Some(id) = user.id.clone() else {
                let marks = Marks::of(&user);
                return match marks.pending {
                    // No id assigns it to a shard, so the first one counts it.
                    true => (plan.shard.index == 0).then_some(Entry::Invited(user.username, marks)),
                    false => Some(Entry::Unusable),
                };
            };
            let selected = configured.as_ref().is_none_or(|users| users.contains(&id));
            (selected && plan.shard.has(&self.network, &id))
                .then(|| Entry::User(id, plan.keep(user, &names)))
        };
        let mut listing = UserListing { users: BTreeMap::new(), invited: Vec::new(), unusable: 0 };
        let mut invited = HashSet::new();
        for group in groups {
            let filter = ListUsersFilter { status: filter.status, group };
            let users = self.source.users(&self.network, &filter, &self.limiter, keep).await?;
            in_place::for_users(users.len(), || {
                for user in users {
                    match user {
                        Entry::User(id, user) => _ = listing.users.insert(id, user),
                        Entry::Invited(name, marks) => {
                            // A user of several groups is in several lists.
                            if name.is_none_or(|name| invited.insert(name)) {
                                listing.invited.push(marks);
                            }
                        }
                        Entry::Unusable => listing.unusable += 1,
                    }
                }
            });
        }
        // An empty network and one whose users all lack an id must not look the same.
        match listing {
            UserListing { users, unusable: n, .. } if users.is_empty() && n > 0 => Err(unusable(n)),
            listing => Ok(listing),
        }
    }

    async fn groups(&self) -> Result<Vec<SecurityGroup>, Error> {
        let mut groups = self.source.security_groups(&self.network, &self.limiter).await?;
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        groups.dedup_by(|a, b| a.id == b.id);
        Ok(groups)
    }
}

impl UserListPlan {
    fn keep(&self, user: User, names: &Interner) -> ListedUser {
        ListedUser {
            marks: Marks::of(&user),
            username: user.username.filter(|_| self.usernames).map(String::into_boxed_str),
            status: user.status,
            groups: match self.sso {
                SsoLimits::Groups => user.groups.iter().map(|group| names.string(group)).collect(),
                _ => Box::default(),
            },
        }
    }
}

/// The error of a list in which users have no usable id.
pub(super) fn unusable(users: usize) -> Error {
    let why = format!("{users} users have no usable userId");
    Error::new(Operation::ListUsers, ErrorKind::InvalidResponse, why)
}
