//! Whom to poll in a network, and what is known of them: listed or discovered, this process's part,
//! with SSO limits where those are wanted.
//!
//! What discovery found stays in use until it finds something else: a failure costs a log line and a
//! count, never the list. What could not be had is asked for again with the next poll, what was, when
//! it has grown old.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Source, shard::Shard};
use crate::{
    inventory::{Directory, Facts, Sso},
    wickr::{
        Error, ErrorKind, Label, Labels, Lane, NetworkId, Operation, SecurityGroup, User,
        UserFilter, UserId,
    },
};

/// Who is told of failures to discover.
pub trait Observer: fmt::Debug + Send + Sync {
    /// This could not be looked up.
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind);
}

/// Whom to poll, as it was decided.
#[derive(Debug, Clone)]
pub struct RosterPlan {
    /// The users.
    pub users: Choice,
    /// This process's part of them.
    pub shard: Shard,
    /// Where SSO limits come from.
    pub sso: SsoLimits,
    /// Whether usernames are kept.
    pub usernames: bool,
    /// How often discovery is repeated.
    pub refresh: Duration,
}

/// Users, or how to find them.
#[derive(Debug, Clone)]
pub enum Choice {
    /// These, each once.
    Listed(Vec<UserId>),
    /// All that pass.
    All(Pass),
}

/// Whom to let pass.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// 1 for pending, 2 for active.
    pub status: Option<u8>,
    /// One of these groups; empty for any.
    pub groups: Vec<String>,
    /// What the username must be like.
    pub username: Option<UsernameTest>,
}

/// A test of usernames.
#[derive(Clone)]
pub struct UsernameTest(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for UsernameTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsernameTest")
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

/// Whom to poll now.
#[derive(Debug)]
pub(super) struct Roster {
    plan: RosterPlan,
    /// None until they are known.
    users: Option<Vec<UserId>>,
    /// What is known of those users by the service's list; None until it was read.
    listed: Option<BTreeMap<UserId, Listed>>,
    groups: Option<Vec<SecurityGroup>>,
    /// When everything that is wanted was last found.
    found: Option<Instant>,
}

/// What the service's list tells of a user.
#[derive(Debug)]
struct Listed {
    username: Option<Box<str>>,
    status: Option<i64>,
    groups: Box<[Label]>,
}

impl Roster {
    pub(super) fn new(plan: RosterPlan) -> Roster {
        Roster { plan, users: None, listed: None, groups: None, found: None }
    }

    /// Whom to poll; none if that could not be found out yet.
    pub(super) fn users(&self) -> Option<&[UserId]> {
        self.users.as_deref()
    }

    /// Looks up what is wanted and not known, or known for too long. Gives what is to be said of
    /// the network from now on, if anything has changed.
    pub(super) async fn refresh<S: Source>(
        &mut self,
        source: &S,
        network: &NetworkId,
        lane: &Lane,
        observer: &dyn Observer,
    ) -> Option<Directory> {
        if self.found.is_some_and(|found| found.elapsed() < self.plan.refresh) {
            return None;
        }
        let started = Instant::now();
        let failed = |error: Error| {
            observer.discovery_failed(error.operation, error.kind);
            tracing::warn!(
                network_id = %network,
                operation = error.operation.as_str(),
                %error,
                remedy = error.kind.remedy(),
                "discovery failed; what it found before stays in use"
            );
        };
        let mut all_well = true;
        if self.wants_list() {
            match self.list(source, network, lane).await {
                Ok(nameless) => {
                    if nameless > 0 {
                        all_well = false;
                        let why = format!("{nameless} users come without a usable userId");
                        failed(Error::new(Operation::ListUsers, ErrorKind::InvalidResponse, why));
                    }
                }
                Err(error) => {
                    all_well = false;
                    failed(error);
                }
            }
        }
        if self.plan.sso == SsoLimits::Groups {
            match source.security_groups(network, lane).await {
                Ok(mut groups) => {
                    groups.sort_by(|a, b| a.id.cmp(&b.id));
                    groups.dedup_by(|a, b| a.id == b.id);
                    self.groups = Some(groups);
                }
                Err(error) => {
                    all_well = false;
                    failed(error);
                }
            }
        }
        self.users = match (&self.plan.users, &self.listed) {
            (Choice::Listed(users), _) => Some(self.own(network, users.iter().cloned())),
            (Choice::All(_), Some(listed)) => Some(listed.keys().cloned().collect()),
            (Choice::All(_), None) => None,
        };
        if all_well {
            self.found = Some(started);
        }
        if let Some(users) = self.users.as_ref().filter(|_| self.wants_list()) {
            tracing::info!(network_id = %network, users = users.len(), "looked up users");
        }
        Some(self.directory())
    }

    fn wants_list(&self) -> bool {
        matches!(self.plan.users, Choice::All(_)) || self.plan.sso == SsoLimits::Groups
    }

    fn own(&self, network: &NetworkId, users: impl Iterator<Item = UserId>) -> Vec<UserId> {
        users.filter(|user| self.plan.shard.has(network, user)).collect()
    }

    /// Reads the service's list and keeps of it what is this process's. Gives how many entries
    /// cannot be used for want of an id.
    async fn list<S: Source>(
        &mut self,
        source: &S,
        network: &NetworkId,
        lane: &Lane,
    ) -> Result<usize, Error> {
        let (pass, only): (Pass, Option<BTreeSet<&UserId>>) = match &self.plan.users {
            Choice::All(pass) => (pass.clone(), None),
            Choice::Listed(users) => (Pass::default(), Some(users.iter().collect())),
        };
        // A list for each group, or one for all; who is in several groups comes several times.
        let groups: Vec<Option<String>> = match pass.groups.len() {
            0 => vec![None],
            _ => pass.groups.iter().cloned().map(Some).collect(),
        };
        let names = Labels::default();
        // None for one that passes and cannot be used.
        let keep = |user: User| -> Option<Option<(UserId, Listed)>> {
            if !pass.username.as_ref().is_none_or(|test| test.passes(&user)) {
                return None;
            }
            let Some(id) = user.id.clone() else { return Some(None) };
            let wanted = only.as_ref().is_none_or(|only| only.contains(&id));
            (wanted && self.plan.shard.has(network, &id))
                .then(|| Some((id, self.keep(user, &names))))
        };
        let (mut listed, mut nameless) = (BTreeMap::new(), 0);
        for group in groups {
            let filter = UserFilter { status: pass.status, group };
            for kept in source.users(network, &filter, lane, keep).await? {
                match kept {
                    Some((id, facts)) => _ = listed.insert(id, facts),
                    None => nameless += 1,
                }
            }
        }
        self.listed = Some(listed);
        Ok(nameless)
    }

    fn keep(&self, user: User, names: &Labels) -> Listed {
        Listed {
            username: user.username.filter(|_| self.plan.usernames).map(String::into_boxed_str),
            status: user.status,
            groups: match self.plan.sso {
                SsoLimits::Groups => user.groups.iter().map(|group| names.get(group)).collect(),
                _ => Box::default(),
            },
        }
    }

    /// What is to be said of the network and its users.
    fn directory(&self) -> Directory {
        let limits: Option<HashMap<&str, Duration>> = self.groups.as_ref().map(|groups| {
            groups.iter().filter_map(|group| Some((&*group.id, group.sso_max_idle?))).collect()
        });
        let limit = |groups: &[Label]| match (self.plan.sso, &limits) {
            (SsoLimits::Fixed(limit), _) => Some(limit),
            (SsoLimits::Groups, Some(limits)) => {
                groups.iter().filter_map(|group| limits.get(&**group)).min().copied()
            }
            _ => None,
        };
        let mut facts: BTreeMap<UserId, Arc<Facts>> = BTreeMap::new();
        for (id, listed) in self.listed.iter().flatten() {
            let Listed { username, status, groups } = listed;
            let known =
                Facts { username: username.clone(), status: *status, sso_max_idle: limit(groups) };
            facts.insert(id.clone(), Arc::new(known));
        }
        // Nothing is known of listed users but a limit that all have.
        if let (SsoLimits::Fixed(limit), Choice::Listed(_)) = (self.plan.sso, &self.plan.users) {
            let same = Arc::new(Facts { sso_max_idle: Some(limit), ..Facts::default() });
            for id in self.users.iter().flatten() {
                facts.insert(id.clone(), same.clone());
            }
        }
        let sso = match (self.plan.sso, &self.groups, &self.listed) {
            (SsoLimits::Off, ..) => None,
            (SsoLimits::Fixed(_), ..) => Some(Sso::default()),
            // Limits without members, or members without limits, tell nothing.
            (SsoLimits::Groups, Some(groups), Some(_)) => Some(Sso { groups: groups.clone() }),
            (SsoLimits::Groups, ..) => None,
        };
        Directory { facts, sso: sso.map(Arc::new) }
    }
}

impl UsernameTest {
    /// Who has no username passes no test of it.
    fn passes(&self, user: &User) -> bool {
        user.username.as_deref().is_some_and(|name| (self.0)(name))
    }
}
