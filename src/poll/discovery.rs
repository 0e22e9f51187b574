//! Whom to poll in a network as it was decided, and what the service tells of them when it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Source, shard::Shard};
use crate::wickr::{
    Error, ErrorKind, InternedStr, Interner, ListUsersFilter, NetworkId, NetworkLimiter, Operation,
    SecurityGroup, User, UserId,
};

/// Whom to poll, as it was decided.
#[derive(Debug, Clone)]
pub struct UserListPlan {
    /// The users.
    pub users: UserSelector,
    /// This process's part of them.
    pub shard: Shard,
    /// Where SSO limits come from.
    pub sso: SsoLimits,
    /// Whether usernames are kept.
    pub usernames: bool,
    /// How often discovery is repeated.
    pub refresh: Duration,
    /// Identifies `users` and `shard`. A restored user list is complete only for the same selection.
    pub selector_id: u64,
    /// The id that earlier versions stored for the same selection.
    pub former_selector_id: Option<u64>,
}

/// Users, or how to find them.
#[derive(Debug, Clone)]
pub enum UserSelector {
    /// These, each once.
    Listed(Vec<UserId>),
    /// All that pass.
    All(UserFilter),
}

/// Whom to let pass.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// 1 for pending, 2 for active.
    pub status: Option<u8>,
    /// One of these groups; empty for any.
    pub groups: Vec<String>,
    /// What the username must be like.
    pub username: Option<UsernameMatcher>,
}

/// A test of usernames.
#[derive(Clone)]
pub struct UsernameMatcher(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for UsernameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsernameMatcher")
    }
}

/// Where SSO limits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsoLimits {
    /// Nobody asks for them.
    Off,
    /// One for all.
    Fixed(Duration),
    /// Each user's groups.
    Groups,
}

/// The status of a user who was invited and has not come yet.
const PENDING: i64 = 1;

/// What the service's list tells of a user.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) username: Option<Box<str>>,
    pub(super) status: Option<i64>,
    pub(super) groups: Box<[InternedStr]>,
}

/// What a lookup gave of what was asked for.
#[derive(Debug)]
pub(super) struct LookedUp {
    pub(super) started: Instant,
    pub(super) list: Option<Result<List, Error>>,
    pub(super) groups: Option<Result<Vec<SecurityGroup>, Error>>,
}

/// Those that can be used, and how many cannot for want of an id.
pub(super) type List = (BTreeMap<UserId, Listed>, usize);

impl UserListPlan {
    pub(super) async fn look_up<S: Source>(
        &self,
        source: &S,
        network: &NetworkId,
        lane: &NetworkLimiter,
        list: bool,
        groups: bool,
    ) -> LookedUp {
        let started = Instant::now();
        let list = if list { Some(self.list(source, network, lane).await) } else { None };
        let groups = if groups { Some(sorted_groups(source, network, lane).await) } else { None };
        LookedUp { started, list, groups }
    }

    /// Reads the service's list and keeps of it what is this process's. Gives how many entries
    /// cannot be used for want of an id, too.
    async fn list<S: Source>(
        &self,
        source: &S,
        network: &NetworkId,
        lane: &NetworkLimiter,
    ) -> Result<List, Error> {
        let (pass, only): (UserFilter, Option<BTreeSet<&UserId>>) = match &self.users {
            UserSelector::All(pass) => (pass.clone(), None),
            UserSelector::Listed(users) => (UserFilter::default(), Some(users.iter().collect())),
        };
        // A list for each group, or one for all; who is in several groups comes several times.
        let groups: Vec<Option<String>> = match pass.groups.len() {
            0 => vec![None],
            _ => pass.groups.iter().cloned().map(Some).collect(),
        };
        let names = Interner::default();
        // None for one that passes and cannot be used.
        let keep = |user: User| -> Option<Option<(UserId, Listed)>> {
            if !pass.username.as_ref().is_none_or(|test| test.passes(&user)) {
                return None;
            }
            let Some(id) = user.id.clone() else {
                // Who is only invited has no devices yet.
                return (user.status != Some(PENDING)).then_some(None);
            };
            let wanted = only.as_ref().is_none_or(|only| only.contains(&id));
            (wanted && self.shard.has(network, &id)).then(|| Some((id, self.keep(user, &names))))
        };
        let (mut listed, mut nameless) = (BTreeMap::new(), 0);
        for group in groups {
            let filter = ListUsersFilter { status: pass.status, group };
            for kept in source.users(network, &filter, lane, keep).await? {
                match kept {
                    Some((id, facts)) => _ = listed.insert(id, facts),
                    None => nameless += 1,
                }
            }
        }
        Ok((listed, nameless))
    }

    fn keep(&self, user: User, names: &Interner) -> Listed {
        Listed {
            username: user.username.filter(|_| self.usernames).map(String::into_boxed_str),
            status: user.status,
            groups: match self.sso {
                SsoLimits::Groups => user.groups.iter().map(|group| names.get(group)).collect(),
                _ => Box::default(),
            },
        }
    }
}

/// So many users come without an id.
pub(super) fn unusable(users: usize) -> Error {
    let why = format!("{users} users come without a usable userId");
    Error::new(Operation::ListUsers, ErrorKind::InvalidResponse, why)
}

async fn sorted_groups<S: Source>(
    source: &S,
    network: &NetworkId,
    lane: &NetworkLimiter,
) -> Result<Vec<SecurityGroup>, Error> {
    let mut groups = source.security_groups(network, lane).await?;
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    groups.dedup_by(|a, b| a.id == b.id);
    Ok(groups)
}

impl UsernameMatcher {
    /// Who has no username passes no test of it.
    fn passes(&self, user: &User) -> bool {
        user.username.as_deref().is_some_and(|name| (self.0)(name))
    }
}
