//! The raw configuration: the values in the file, each valid on its own or reported.
//!
//! [`resolve`](super::resolve) adds defaults and checks values against each other.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use super::{
    filter::{UserStatus, UsernamePattern},
    listen::ListenAddress,
    resolved::{Detail, ExternalId, NetworkSelector, SsoMaxIdle},
    shape, values,
};
use crate::{
    collectors::CollectorRef,
    diagnostics::{Field, Location, Node, Problems, Table},
    wickr::{Endpoint, UserId},
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

const NETWORK_EXAMPLE: &str = r#"[[network]] with id = "12345678" and users = ["1001"]"#;

pub(super) struct RawFile {
    pub(super) web: RawWeb,
    pub(super) aws: RawAws,
    pub(super) limits: RawRequestLimits,
    pub(super) poll: RawPoll,
    pub(super) discovery_interval: Field<Duration>,
    pub(super) metrics: RawMetrics,
    pub(super) sso_max_idle: Field<SsoMaxIdle>,
    pub(super) sso_expiring_within: Field<Vec<Duration>>,
    pub(super) collectors: RawCollectors,
    pub(super) state_path: Field<PathBuf>,
    pub(super) shard: RawShard,
    pub(super) log_changes: Field<bool>,
    pub(super) networks: Vec<RawNetwork>,
}

pub(super) struct RawWeb {
    pub(super) listen: Field<Vec<ListenAddress>>,
    pub(super) max_concurrent_scrapes: Field<usize>,
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

/// The keys of `[poll]` that a network cannot override.
pub(super) struct RawRequestLimits {
    pub(super) concurrency: Field<usize>,
    pub(super) requests_per_second: Field<f64>,
}

/// The other keys of `[poll]`, or `network.poll`.
pub(super) struct RawPoll {
    pub(super) interval: Field<Duration>,
    pub(super) stale_after: Field<Duration>,
    pub(super) request_timeout: Field<Duration>,
    pub(super) max_attempts: Field<u32>,
    pub(super) page_size: Field<u16>,
}

pub(super) struct RawMetrics {
    pub(super) detail: Field<Detail>,
    pub(super) username: Field<bool>,
    pub(super) idle_buckets: Field<Vec<Duration>>,
}

pub(super) struct RawCollectors {
    pub(super) enable: Field<Vec<CollectorRef>>,
    pub(super) interval: Field<Duration>,
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
    pub(super) users: Field<RawUsers>,
    pub(super) filter: RawFilter,
    pub(super) aws: RawAws,
    pub(super) poll: RawPoll,
}

pub(super) enum RawUsers {
    Listed(Vec<UserId>),
    All,
}

pub(super) struct RawFilter {
    /// None if the network has no filter.
    pub(super) location: Option<Location>,
    pub(super) status: Field<UserStatus>,
    pub(super) groups: Field<Vec<String>>,
    pub(super) username: Field<UsernamePattern>,
}

pub(super) fn read(tree: &Node, problems: &Problems) -> RawFile {
    let root = Table::root(problems, &shape::SCHEMA, Some(tree));
    let poll_table = root.table("poll", &shape::POLL);
    let discovery = root.table("discovery", &shape::DISCOVERY);
    let sso = root.table("sso", &shape::SSO);
    RawFile {
        web: web(&root.table("web", &shape::WEB)),
        aws: aws(&root.table("aws", &shape::AWS)),
        limits: limits(&poll_table),
        poll: poll(&poll_table),
        discovery_interval: discovery
            .read("interval", |value| values::duration(value, DISCOVERY_INTERVAL)),
        metrics: metrics(&root.table("metrics", &shape::METRICS)),
        sso_max_idle: sso_max_idle(&sso),
        sso_expiring_within: ascending(&sso, "expiring_within", r#"["1d", "7d"]"#),
        collectors: collectors(&root.table("collectors", &shape::COLLECTORS)),
        state_path: state_path(&root.table("state", &shape::STATE)),
        shard: shard(&root.table("shard", &shape::SHARD)),
        log_changes: root.table("log", &shape::LOG).read("changes", values::boolean),
        networks: root
            .tables("network", &shape::NETWORK, NETWORK_EXAMPLE)
            .iter()
            .map(network)
            .collect(),
    }
}

fn web(table: &Table<'_>) -> RawWeb {
    RawWeb {
        listen: table.unique_list("listen", r#"[":10471"]"#, values::parsed),
        max_concurrent_scrapes: table
            .read("max_concurrent_scrapes", |value| values::integer(value, CONCURRENCY)),
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

fn limits(table: &Table<'_>) -> RawRequestLimits {
    RawRequestLimits {
        concurrency: table.read("concurrency", |value| values::integer(value, CONCURRENCY)),
        requests_per_second: table.read("requests_per_second", values::rate),
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

fn metrics(table: &Table<'_>) -> RawMetrics {
    RawMetrics {
        detail: table.read("detail", values::parsed),
        username: table.read("username", values::boolean),
        idle_buckets: ascending(table, "idle_buckets", r#"["1h", "1d"]"#),
    }
}

/// Durations are not sorted: one out of order more often has the wrong unit than the wrong position.
fn ascending(table: &Table<'_>, key: &'static str, example: &str) -> Field<Vec<Duration>> {
    let list = table.unique_list(key, example, |value| values::duration(value, BUCKET));
    list.and_then(|list, location| {
        let Some(pair) = list.windows(2).find(|pair| pair[0] >= pair[1]) else {
            return Field::Valid(list, location);
        };
        let (previous, next) = (values::brief(pair[0]), values::brief(pair[1]));
        let message = format!("must be in ascending order, but {next} follows {previous}");
        table.problems.add(&location, message);
        Field::Invalid
    })
}

fn sso_max_idle(table: &Table<'_>) -> Field<SsoMaxIdle> {
    let max_idle = table.read("max_idle", |value| values::max_idle(value, MAX_IDLE));
    let example =
        r#"max_idle = "security-groups" for each user's own limit, or "30d" for one limit for all"#;
    table.require("max_idle", &max_idle, example);
    max_idle
}

fn collectors(table: &Table<'_>) -> RawCollectors {
    let enable = table.unique_list("enable", r#"["accounts", "bots"]"#, values::parsed);
    let interval = table.read("interval", |value| values::duration(value, COLLECTORS_INTERVAL));
    RawCollectors { enable, interval }
}

fn state_path(table: &Table<'_>) -> Field<PathBuf> {
    let path = table.read("path", values::path);
    table.require("path", &path, r#"path = "/var/lib/wickr-exporter/state", for example"#);
    path
}

fn shard(table: &Table<'_>) -> RawShard {
    RawShard {
        index: table.read("index", |value| values::integer_or_auto(value, SHARD_INDEX)),
        total: table.read("total", |value| values::integer_or_auto(value, TOTAL_SHARDS)),
    }
}

fn network(table: &Table<'_>) -> RawNetwork {
    let network = RawNetwork {
        location: table.location.clone(),
        id: table.read("id", values::network_selector),
        name: table.read("name", values::non_empty),
        users: users(table),
        filter: filter(&table.table("filter", &shape::NETWORK_FILTER)),
        aws: aws(&table.table("aws", &shape::NETWORK_AWS)),
        poll: poll(&table.table("poll", &shape::NETWORK_POLL)),
    };
    let example = r#"the network's 8 digits, id = "12345678", or id = "all""#;
    table.require("id", &network.id, example);
    let example = r#"the user ids, users = ["1001", "1002"], or users = "all""#;
    table.require("users", &network.users, example);
    network
}

fn users(table: &Table<'_>) -> Field<RawUsers> {
    table.read("users", values::all_or_list).and_then(|is_all, location| match is_all {
        true => Field::Valid(RawUsers::All, location),
        false => {
            table.unique_list("users", r#"["1001", "1002"]"#, values::user_id).map(RawUsers::Listed)
        }
    })
}

fn filter(table: &Table<'_>) -> RawFilter {
    RawFilter {
        location: table.is_present().then(|| table.location.clone()),
        status: table.read("status", values::parsed),
        groups: table.unique_list("groups", r#"["security-group-id"]"#, values::non_empty),
        username: table.read("username", values::username_pattern),
    }
}
