//! The configuration as it is used: every value present, checked, and next to its peers right.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use jiff::tz::TimeZone;

use super::{filter::FilterConfig, listen::ListenAddress};
use crate::wickr::{Endpoint, NetworkId, UserId};

/// A configuration without any mistake in it.
///
/// What is written once for all networks has been worked into each of them, so nothing here needs
/// to be looked up twice: a network is complete in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How the exporter is reached.
    pub web: Web,
    /// What all networks share.
    pub poll: Shared,
    /// What is shown.
    pub metrics: Metrics,
    /// How "all" is looked up.
    pub discovery: Discovery,
    /// After how long an idle SSO session ends; None where nobody asked.
    pub sso: Option<SsoMaxIdle>,
    /// The file that outlives a restart; None where none is to be written. It need not exist, and a
    /// relative one is relative to the working directory.
    pub state: Option<PathBuf>,
    /// The part of the users that is this process's.
    pub shard: Shard,
    /// The networks in the order of the file: at least one, and each id once. Of those that are
    /// [`NetworkChoice::All`], no two name the same region, profile, role and endpoint; they may
    /// still turn out to be the same once a region or an account is known that the file leaves
    /// open. A network that is written out and is in reach of an `All` too is read as it is
    /// written out.
    pub networks: Vec<Network>,
}

/// How the exporter is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// At least one address, each once.
    pub listen: Vec<ListenAddress>,
    /// Scrapes answered at the same time; at least 1.
    pub max_concurrent_scrapes: usize,
}

impl Default for Web {
    fn default() -> Self {
        Web { listen: vec![ListenAddress { host: None, port: 10471 }], max_concurrent_scrapes: 8 }
    }
}

/// The limits that hold across networks.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// Requests in flight, of the whole process; at least 1.
    pub concurrency: usize,
    /// A ceiling for each account and region; finite, and at least 0.001.
    pub requests_per_second: f64,
}

impl Default for Shared {
    fn default() -> Self {
        Shared { concurrency: 16, requests_per_second: 10.0 }
    }
}

/// What is shown of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// How deep the series go.
    pub detail: Detail,
    /// Whether user names, which are email addresses, may be shown.
    pub username: bool,
    /// Upper bounds of the histogram of idle times: at least one, strictly ascending, above zero.
    pub idle_buckets: Vec<Duration>,
}

impl Default for Metrics {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        let hours = [1, 24, 7 * 24, 14 * 24, 30 * 24, 60 * 24, 90 * 24];
        Metrics {
            detail: Detail::Device,
            username: false,
            idle_buckets: hours.map(|hours| Duration::from_secs(hours * HOUR)).into(),
        }
    }
}

/// How deep the series go; each level has all of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Networks only: few series, however many devices.
    Network,
    /// Users too.
    User,
    /// Users and their devices.
    Device,
}

impl Detail {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Detail::Network => "network",
            Detail::User => "user",
            Detail::Device => "device",
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Detail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"network\", \"user\" or \"device\"")]
pub struct BadDetail;

impl FromStr for Detail {
    type Err = BadDetail;

    fn from_str(text: &str) -> Result<Self, BadDetail> {
        let all = [Detail::Network, Detail::User, Detail::Device];
        all.into_iter().find(|detail| detail.as_str() == text).ok_or(BadDetail)
    }
}

/// How "all" is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// From one look-up to the next; from 1s to 30d.
    pub interval: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Discovery { interval: Duration::from_secs(3600) }
    }
}

/// After how long an idle SSO session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsoMaxIdle {
    /// Each user's own limit, from its security groups.
    SecurityGroups,
    /// One for all; at least 1s.
    Fixed(Duration),
}

/// Which of several processes this is, where they share the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shard {
    /// This one of so many.
    Of {
        /// Counted from 0, and below `total`.
        index: u32,
        /// From 1, which is no sharing, to 1000.
        total: u32,
    },
    /// To be found in the environment.
    Auto,
}

impl Default for Shard {
    fn default() -> Self {
        Shard::Of { index: 0, total: 1 }
    }
}

/// A network to poll, or all that there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Which.
    pub id: NetworkChoice,
    /// A label for people; not empty, and none for [`NetworkChoice::All`].
    pub name: Option<String>,
    /// Whom to ask about; for [`NetworkChoice::All`], in each of them, and never a list.
    pub users: UserChoice,
    /// How to reach it.
    pub aws: Aws,
    /// When and how to ask.
    pub poll: Poll,
}

/// Which network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetworkChoice {
    /// This one.
    One(NetworkId),
    /// Every network of the account and region.
    All,
}

impl fmt::Display for NetworkChoice {
    /// As it is written in the configuration, without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkChoice::One(id) => id.fmt(f),
            NetworkChoice::All => f.write_str("all"),
        }
    }
}

/// Which users of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum UserChoice {
    /// These: at least one, each once, in numeric order.
    Listed(Vec<UserId>),
    /// Every user that passes the filter.
    All(FilterConfig),
}

/// How to reach the service. Networks with equal ones can share a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// None for the SDK's own chain.
    pub region: Option<String>,
    /// None for the SDK's own chain.
    pub profile: Option<String>,
    /// To be assumed on top of the credentials found.
    pub role_arn: Option<String>,
    /// None unless there is a `role_arn`.
    pub external_id: Option<ExternalId>,
    /// The endpoints with FIPS 140 cryptography; false if there is an `endpoint_url`.
    pub fips: bool,
    /// The endpoints with IPv6; false if there is an `endpoint_url`.
    pub dual_stack: bool,
    /// In place of the service's own.
    pub endpoint_url: Option<Endpoint>,
    /// The zone of timestamps that name none.
    pub timezone: TimeZone,
}

impl Aws {
    /// The IANA name of `timezone`.
    pub fn timezone_name(&self) -> &str {
        self.timezone.iana_name().unwrap_or("UTC")
    }
}

impl Default for Aws {
    fn default() -> Self {
        Aws {
            region: None,
            profile: None,
            role_arn: None,
            external_id: None,
            fips: false,
            dual_stack: false,
            endpoint_url: None,
            timezone: TimeZone::UTC,
        }
    }
}

// A time zone has no hash; equal ones have equal names.
impl Hash for Aws {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Aws { region, profile, role_arn, external_id, fips, dual_stack, endpoint_url, .. } =
            self;
        (region, profile, role_arn, external_id).hash(state);
        (fips, dual_stack, endpoint_url, self.timezone_name()).hash(state);
    }
}

/// The external id that a role asks for. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    pub(super) fn new(text: &str) -> ExternalId {
        ExternalId(text.to_owned())
    }

    /// The id itself, for the request and nowhere else.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// When and how a network is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// From the beginning of one poll to that of the next; above zero.
    pub interval: Duration,
    /// How long the last known data of a user that cannot be read is served; at least `interval`.
    pub stale_after: Duration,
    /// For one attempt.
    pub request_timeout: Duration,
    /// The first one counts; at least 1.
    pub max_attempts: u32,
    /// 1 to 100.
    pub page_size: u16,
}

impl Poll {
    /// `stale_after` where none is written: two failed polls in a row cost nothing.
    pub(super) fn stale_after_of(interval: Duration) -> Duration {
        interval.saturating_mul(3)
    }
}

impl Default for Poll {
    fn default() -> Self {
        let interval = Duration::from_secs(300);
        Poll {
            interval,
            stale_after: Poll::stale_after_of(interval),
            request_timeout: Duration::from_secs(10),
            max_attempts: 5,
            page_size: 100,
        }
    }
}
