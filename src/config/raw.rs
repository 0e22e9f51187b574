//! The raw configuration: the values in the file, each valid on its own or reported.
//!
//! Most tables are complete here, with defaults. [`resolve`](super::resolve) completes those that
//! networks override, and checks values against each other.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use super::{
    filter::FilterConfig,
    resolved::{
        CollectorsConfig, DiscoveryConfig, ExternalId, MetricsConfig, NetworkSelector,
        RequestLimits, SsoMaxIdle, UsersConfig, Web,
    },
    shape, values,
};
use crate::{
    collectors::CollectorRef,
    diagnostics::{Field, Location, Node, Problems, Table},
    text::format_duration,
    wickr::Endpoint,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// The minimum is for tests.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=days(30);
const STALE_AFTER: RangeInclusive<Duration> = Duration::from_millis(100)..=days(365);
const REQUEST_TIMEOUT: RangeInclusive<Duration> = MILLISECOND..=Duration::from_secs(300);
const BUCKET: RangeInclusive<Duration> = SECOND..=days(3650);
/// Later attempts would each follow minutes of backoff.
const ATTEMPTS: RangeInclusive<i64> = 1..=20;
/// The API's limits for `maxResults`.
const PAGE_SIZE: RangeInclusive<i64> = 1..=100;
/// The maximum is above the API's rate limits and below common limits on open files.
const CONCURRENCY: RangeInclusive<i64> = 1..=1000;
const DISCOVERY_INTERVAL: RangeInclusive<Duration> = SECOND..=days(30);
const MAX_IDLE: RangeInclusive<Duration> = SECOND..=days(3650);
/// The values of collectors change slowly; a short interval is for tests and the demo.
const COLLECTORS_INTERVAL: RangeInclusive<Duration> = SECOND..=days(30);
const TOTAL_SHARDS: RangeInclusive<i64> = 1..=1000;
const SHARD_INDEX: RangeInclusive<i64> = 0..=999;

/// A day to act before a session ends, and a week to plan.
const DEFAULT_EXPIRING_WITHIN: [Duration; 2] = [days(1), days(7)];

const NETWORK_EXAMPLE: &str = r#"[[network]] with id = "12345678" and users = ["1001"]"#;

/// Invalid values are replaced by defaults, except in a [`Field`].
pub(super) struct RawFile {
    pub(super) web: Web,
    pub(super) aws: RawAws,
    pub(super) limits: RequestLimits,
    pub(super) poll: RawPoll,
    pub(super) discovery: DiscoveryConfig,
    pub(super) metrics: MetricsConfig,
    pub(super) sso: Option<SsoMaxIdle>,
    pub(super) sso_expiring_within: Vec<Duration>,
    pub(super) collectors: CollectorsConfig,
    pub(super) state: Option<PathBuf>,
    pub(super) shard: RawShard,
    pub(super) log_changes: bool,
    pub(super) networks: Vec<RawNetwork>,
}

/// `[aws]` or `network.aws`.
pub(super) struct RawAws {
    pub(super) region: Field<String>,
    pub(super) profile: Field<String>,
    pub(super) role_arn: Field<String>,
    pub(super) external_id: Field<ExternalId>,
    pub(super) role_session_name: Field<String>,
    pub(super) fips: Field<bool>,
    pub(super) dual_stack: Field<bool>,
    pub(super) endpoint_url: Field<Endpoint>,
    pub(super) timezone: Field<TimeZone>,
}

/// The keys of `[poll]` that a network can override, or `network.poll`.
pub(super) struct RawPoll {
    pub(super) interval: Field<Duration>,
    pub(super) stale_after: Field<Duration>,
    pub(super) request_timeout: Field<Duration>,
    pub(super) max_attempts: Field<u32>,
    pub(super) page_size: Field<u16>,
}

/// `None` is `"auto"`.
pub(super) struct RawShard {
    pub(super) index: Field<Option<u32>>,
    pub(super) total: Field<Option<u32>>,
}

pub(super) struct RawNetwork {
    pub(super) location: Location,
    pub(super) id: Field<NetworkSelector>,
    pub(super) name: Field<String>,
    pub(super) users: Field<UsersConfig>,
    /// None if the network has no filter.
    pub(super) filter: Option<Location>,
    pub(super) aws: RawAws,
    pub(super) poll: RawPoll,
}

pub(super) fn read(tree: &Node, problems: &Problems) -> RawFile {
    let root = Table::root(problems, &shape::SCHEMA, Some(tree));
    let poll_table = root.table("poll", &shape::POLL);
    let sso = root.table("sso", &shape::SSO);
    RawFile {
        web: web(&root.table("web", &shape::WEB)),
        aws: aws(&root.table("aws", &shape::AWS)),
        limits: limits(&poll_table),
        poll: poll(&poll_table),
        discovery: discovery(&root.table("discovery", &shape::DISCOVERY)),
        metrics: metrics(&root.table("metrics", &shape::METRICS)),
        sso: sso_max_idle(&sso),
        sso_expiring_within: ascending(&sso, "expiring_within", r#"["1d", "7d"]"#)
            .valid_or(DEFAULT_EXPIRING_WITHIN.into()),
        collectors: collectors(&root.table("collectors", &shape::COLLECTORS)),
        state: state_path(&root.table("state", &shape::STATE)),
        shard: shard(&root.table("shard", &shape::SHARD)),
        log_changes: root
            .table("log", &shape::LOG)
            .read("changes", values::boolean)
            .valid_or(false),
        networks: root
            .tables("network", &shape::NETWORK, NETWORK_EXAMPLE)
            .iter()
            .map(network)
            .collect(),
    }
}

fn web(table: &Table<'_>) -> Web {
    let default = Web::default();
    Web {
        listen: table
            .unique_list("listen", r#"[":10471"]"#, values::parsed)
            .valid_or(default.listen),
        max_concurrent_scrapes: table
            .read("max_concurrent_scrapes", |value| values::integer(value, CONCURRENCY))
            .valid_or(default.max_concurrent_scrapes),
    }
}

fn aws(table: &Table<'_>) -> RawAws {
    RawAws {
        region: table.read("region", values::region),
        profile: table.read("profile", values::non_empty),
        role_arn: table.read("role_arn", values::role_arn),
        external_id: table.read("external_id", values::external_id),
        role_session_name: table.read("role_session_name", values::role_session_name),
        fips: table.read("fips", values::boolean),
        dual_stack: table.read("dual_stack", values::boolean),
        endpoint_url: table.read("endpoint_url", values::endpoint),
        timezone: table.read("timezone", values::timezone),
    }
}

fn limits(table: &Table<'_>) -> RequestLimits {
    let default = RequestLimits::default();
    RequestLimits {
        concurrency: table
            .read("concurrency", |value| values::integer(value, CONCURRENCY))
            .valid_or(default.concurrency),
        requests_per_second: table
            .read("requests_per_second", values::rate)
            .valid_or(default.requests_per_second),
    }
}

fn poll(table: &Table<'_>) -> RawPoll {
    let duration = |key, range| table.read(key, |value| values::duration(value, range));
    RawPoll {
        interval: duration("interval", INTERVAL),
        stale_after: duration("stale_after", STALE_AFTER),
        request_timeout: duration("request_timeout", REQUEST_TIMEOUT),
        max_attempts: table.read("max_attempts", |value| values::integer(value, ATTEMPTS)),
        page_size: table.read("page_size", |value| values::integer(value, PAGE_SIZE)),
    }
}

fn discovery(table: &Table<'_>) -> DiscoveryConfig {
    let interval = table.read("interval", |value| values::duration(value, DISCOVERY_INTERVAL));
    DiscoveryConfig { interval: interval.valid_or(DiscoveryConfig::default().interval) }
}

fn metrics(table: &Table<'_>) -> MetricsConfig {
    let default = MetricsConfig::default();
    MetricsConfig {
        detail: table.read("detail", values::parsed).valid_or(default.detail),
        username: table.read("username", values::boolean).valid_or(default.username),
        idle_buckets: ascending(table, "idle_buckets", r#"["1h", "1d"]"#)
            .valid_or(default.idle_buckets),
    }
}

/// Durations are not sorted: one out of order more often has the wrong unit than the wrong position.
fn ascending(table: &Table<'_>, key: &'static str, example: &str) -> Field<Vec<Duration>> {
    let list = table.unique_list(key, example, |value| values::duration(value, BUCKET));
    list.and_then(|list, location| {
        let Some(pair) = list.windows(2).find(|pair| pair[0] >= pair[1]) else {
            return Field::Valid(list, location);
        };
        let (previous, next) = (format_duration(pair[0]), format_duration(pair[1]));
        let message = format!("must be in ascending order, but {next} follows {previous}");
        table.problems.add(&location, message);
        Field::Invalid
    })
}

fn sso_max_idle(table: &Table<'_>) -> Option<SsoMaxIdle> {
    let max_idle = table.read("max_idle", |value| values::max_idle(value, MAX_IDLE));
    let example =
        r#"max_idle = "security-groups" for each user's own limit, or "30d" for one limit for all"#;
    table.require("max_idle", &max_idle, example);
    max_idle.into_valid()
}

fn collectors(table: &Table<'_>) -> CollectorsConfig {
    let default = CollectorsConfig::default();
    let mut enable: Vec<CollectorRef> = table
        .unique_list("enable", r#"["accounts", "bots"]"#, values::parsed)
        .valid_or(default.enable);
    enable.sort_by_key(|collector| collector.name());
    let interval = table.read("interval", |value| values::duration(value, COLLECTORS_INTERVAL));
    CollectorsConfig { enable, interval: interval.valid_or(default.interval) }
}

fn state_path(table: &Table<'_>) -> Option<PathBuf> {
    let path = table.read("path", values::path);
    table.require("path", &path, r#"path = "/var/lib/wickr-exporter/state", for example"#);
    path.into_valid()
}

fn shard(table: &Table<'_>) -> RawShard {
    RawShard {
        index: table.read("index", |value| values::integer_or_auto(value, SHARD_INDEX)),
        total: table.read("total", |value| values::integer_or_auto(value, TOTAL_SHARDS)),
    }
}

fn network(table: &Table<'_>) -> RawNetwork {
    let filter_table = table.table("filter", &shape::NETWORK_FILTER);
    let network = RawNetwork {
        location: table.location.clone(),
        id: table.read("id", values::network_selector),
        name: table.read("name", values::non_empty),
        users: users(table, filter(&filter_table)),
        filter: filter_table.is_present().then_some(filter_table.location),
        aws: aws(&table.table("aws", &shape::NETWORK_AWS)),
        poll: poll(&table.table("poll", &shape::NETWORK_POLL)),
    };
    let example = r#"the network's 8 digits, id = "12345678", or id = "all""#;
    table.require("id", &network.id, example);
    let example = r#"the user ids, users = ["1001", "1002"], or users = "all""#;
    table.require("users", &network.users, example);
    network
}

fn users(table: &Table<'_>, filter: FilterConfig) -> Field<UsersConfig> {
    table.read("users", values::all_or_list).and_then(|is_all, location| match is_all {
        true => Field::Valid(UsersConfig::All(filter), location),
        false => {
            let users = table.unique_list("users", r#"["1001", "1002"]"#, values::user_id);
            users.map(|mut users| {
                users.sort_unstable();
                UsersConfig::Listed(users)
            })
        }
    })
}

fn filter(table: &Table<'_>) -> FilterConfig {
    FilterConfig {
        status: table.read("status", values::parsed).into_valid(),
        groups: table
            .unique_list("groups", r#"["security-group-id"]"#, values::non_empty)
            .valid_or(Vec::new()),
        username: table.read("username", values::username_pattern).into_valid(),
    }
}
