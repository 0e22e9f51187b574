//! The resolved configuration: complete and validated.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use jiff::tz::TimeZone;

use super::{filter::FilterConfig, listen::ListenAddress};
use crate::{
    collectors::CollectorRef,
    named::named_values,
    wickr::{ConfiguredSettings, Endpoint, NetworkId, Settings, UserId},
};

/// A valid configuration. Each network is complete: shared values and defaults are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[web]`
    pub web: Web,
    /// The limits in `[poll]` that apply across networks.
    pub poll: RequestLimits,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[discovery]`
    pub discovery: DiscoveryConfig,
    /// When idle SSO sessions end; `None` without `[sso]`.
    pub sso: Option<SsoMaxIdle>,
    /// `[sso] expiring_within`: at least one time, strictly ascending, above zero.
    pub sso_expiring_within: Vec<Duration>,
    /// `[collectors]`
    pub collectors: CollectorsConfig,
    /// The state file, which need not exist; `None` without `[state]`. A relative path is relative
    /// to the working directory.
    pub state: Option<PathBuf>,
    /// The part of the users that this process polls.
    pub shard: ShardConfig,
    /// `[log] changes`: whether each change of a device is logged.
    pub log_changes: bool,
    /// In the order of the file: at least one, and each id once.
    ///
    /// No two networks with [`NetworkSelector::All`] have the same region, profile, role and
    /// endpoint. They can still be the same once the environment adds a region or account. A
    /// network with its own entry uses that entry and not the one of an `All`.
    pub networks: Vec<NetworkConfig>,
}

/// The web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// At least one address, each once.
    pub listen: Vec<ListenAddress>,
    /// At least 1.
    pub max_concurrent_scrapes: usize,
}

impl Default for Web {
    fn default() -> Self {
        Web { listen: vec![ListenAddress { host: None, port: 10471 }], max_concurrent_scrapes: 8 }
    }
}

/// Limits across networks.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLimits {
    /// Requests in flight in the process; at least 1.
    pub concurrency: usize,
    /// The maximum rate per account and region; finite, at least 0.001.
    pub requests_per_second: f64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits { concurrency: 16, requests_per_second: 10.0 }
    }
}

/// What the exposition contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The level of detail.
    pub detail: Detail,
    /// Whether usernames, which are email addresses, are exposed.
    pub username: bool,
    /// Upper bounds of the histogram of idle times: at least one, strictly ascending, above zero.
    pub idle_buckets: Vec<Duration>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        let hours = [1, 24, 7 * 24, 14 * 24, 30 * 24, 60 * 24, 90 * 24];
        MetricsConfig {
            detail: Detail::Device,
            username: false,
            idle_buckets: hours.map(|hours| Duration::from_secs(hours * HOUR)).into(),
        }
    }
}

named_values! {
    /// The level of detail of the exposition. Each level includes those before it.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Detail {
        /// Networks only.
        Network = "network",
        /// Networks and users.
        User = "user",
        /// Networks, users and devices.
        Device = "device",
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Detail {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = Detail::ALL.into_iter().find(|detail| detail.as_str() == text);
        found.ok_or(r#"must be "network", "user" or "device""#)
    }
}

/// Lookups of networks, users and security groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// The time from one lookup to the next; from 1s to 30d.
    pub interval: Duration,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        DiscoveryConfig { interval: Duration::from_secs(3600) }
    }
}

/// What is read beyond devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorsConfig {
    /// The enabled collectors, each once, sorted by name; none by default.
    pub enable: Vec<CollectorRef>,
    /// The time from one run to the next; from 1s to 30d.
    pub interval: Duration,
}

impl Default for CollectorsConfig {
    fn default() -> Self {
        CollectorsConfig { enable: Vec::new(), interval: Duration::from_secs(3600) }
    }
}

/// The idle time after which an SSO session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SsoMaxIdle {
    /// Each user's own limit, from the user's security groups.
    SecurityGroups,
    /// One limit for all users; at least 1s.
    Fixed(Duration),
}

/// The part of the users that a process polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardConfig {
    /// One of `total` shards.
    Of {
        /// From 0, below `total`.
        index: u32,
        /// From 1 to 1000.
        total: u32,
    },
    /// From the environment.
    Auto,
}

impl Default for ShardConfig {
    fn default() -> Self {
        ShardConfig::Of { index: 0, total: 1 }
    }
}

/// A network to poll, or all networks of an account and region.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// The network id or `"all"`.
    pub id: NetworkSelector,
    /// A label, not empty; `None` for [`NetworkSelector::All`].
    pub name: Option<String>,
    /// The users to poll; never a list for [`NetworkSelector::All`].
    pub users: UsersConfig,
    /// `[aws]` with the network's overrides.
    pub aws: Aws,
    /// `[poll]` with the network's overrides.
    pub poll: Poll,
}

/// The value of a network's `id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetworkSelector {
    /// One network.
    One(NetworkId),
    /// All networks of the account and region.
    All,
}

impl fmt::Display for NetworkSelector {
    /// The value in the configuration, without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkSelector::One(id) => id.fmt(f),
            NetworkSelector::All => f.write_str("all"),
        }
    }
}

/// The value of a network's `users`.
#[derive(Debug, Clone, PartialEq)]
pub enum UsersConfig {
    /// At least one user, each once, in numeric order.
    Listed(Vec<UserId>),
    /// All users that match the filter.
    All(FilterConfig),
}

/// How to connect to the API. Networks with equal settings can share a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// `None` for the default of the AWS SDK.
    pub region: Option<String>,
    /// `None` for the default of the AWS SDK.
    pub profile: Option<String>,
    /// The role to assume.
    pub role_arn: Option<String>,
    /// `None` without a `role_arn`.
    pub external_id: Option<ExternalId>,
    /// The session name of the role; `None` for that of the environment.
    pub role_session_name: Option<String>,
    /// Whether to use FIPS endpoints; not true with an `endpoint_url`. `None` for the AWS SDK's setting.
    pub fips: Option<bool>,
    /// Whether to use dual-stack endpoints; likewise.
    pub dual_stack: Option<bool>,
    /// Replaces the AWS endpoint.
    pub endpoint_url: Option<Endpoint>,
    /// The zone of API timestamps without a zone.
    pub timezone: TimeZone,
    /// These settings with those of the environment and the profile; `None` before they are resolved.
    pub settings: Option<Settings>,
}

impl Aws {
    /// What the configuration sets.
    pub fn configured(&self) -> ConfiguredSettings {
        ConfiguredSettings {
            profile: self.profile.clone(),
            region: self.region.clone(),
            fips: self.fips,
            dual_stack: self.dual_stack,
            endpoint_url: self.endpoint_url.clone(),
            role_session_name: self.role_session_name.clone(),
            assumes_role: self.role_arn.is_some(),
        }
    }

    /// The resolved settings, or those of the configuration alone.
    pub fn settings(&self) -> Settings {
        self.settings.clone().unwrap_or_else(|| Settings::of_configuration(&self.configured()))
    }

    /// The IANA name of `timezone`.
    pub fn timezone_name(&self) -> &str {
        self.timezone.iana_name().unwrap_or("UTC")
    }
}

// `TimeZone` does not implement `Hash`. Equal zones have equal names.
impl Hash for Aws {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Aws { region, profile, role_arn, external_id, role_session_name, .. } = self;
        let Aws { fips, dual_stack, endpoint_url, .. } = self;
        (region, profile, role_arn, external_id, role_session_name).hash(state);
        (fips, dual_stack, endpoint_url, self.timezone_name()).hash(state);
    }
}

/// The external id for a role. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    pub(super) fn new(text: &str) -> ExternalId {
        ExternalId(text.to_owned())
    }

    /// The id, only for the request.
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
    /// From the start of one poll to the start of the next; above zero.
    pub interval: Duration,
    /// How long stale data is served; at least `interval`.
    pub stale_after: Duration,
    /// The timeout of one attempt.
    pub request_timeout: Duration,
    /// Includes the first attempt; at least 1.
    pub max_attempts: u32,
    /// From 1 to 100.
    pub page_size: u16,
}

impl Poll {
    /// Long enough for two failed polls in a row.
    pub(super) fn default_stale_after(interval: Duration) -> Duration {
        interval.saturating_mul(3)
    }
}

impl Default for Poll {
    fn default() -> Self {
        let interval = Duration::from_secs(300);
        Poll {
            interval,
            stale_after: Poll::default_stale_after(interval),
            request_timeout: Duration::from_secs(10),
            max_attempts: 5,
            page_size: 100,
        }
    }
}
