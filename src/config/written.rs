//! The tables as they were written: each value on its own is good, or was complained about.
//!
//! What a value means next to others, and what holds where none was written, is for
//! [`resolve`](super::resolve).

use std::{ops::RangeInclusive, time::Duration};

use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::{
    listen::ListenAddress,
    problem::{Problems, Spot},
    reader::{Field, Table},
    shape::{self, NOT_YET},
    used::{Detail, ExternalId},
    values,
};
use crate::wickr::{Endpoint, NetworkId, UserId};

const SECOND: Duration = Duration::from_secs(1);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// Ten polls a second serve a test; with a month between them, nobody watches.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=days(30);
const STALE_AFTER: RangeInclusive<Duration> = Duration::from_millis(100)..=days(365);
/// A request that outlasts five minutes has lost its connection.
const REQUEST_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(300);
const BUCKET: RangeInclusive<Duration> = SECOND..=days(3650);
/// The later ones would come after minutes of backoff each.
const ATTEMPTS: RangeInclusive<i64> = 1..=20;
/// The service's own limits of `maxResults`.
const PAGE_SIZE: RangeInclusive<i64> = 1..=100;
/// Far above what the service allows, and below what a process may open.
const CONCURRENCY: RangeInclusive<i64> = 1..=1000;

const NETWORK_EXAMPLE: &str = r#"[[network]] with id = "12345678" and users = ["1001"] below it"#;

/// A whole file.
pub(super) struct File {
    pub(super) web: Web,
    pub(super) aws: Aws,
    pub(super) shared: Shared,
    pub(super) poll: Poll,
    pub(super) metrics: Metrics,
    pub(super) networks: Vec<Network>,
}

/// `[web]`
pub(super) struct Web {
    pub(super) listen: Field<Vec<ListenAddress>>,
    pub(super) max_concurrent_scrapes: Field<usize>,
}

/// `[aws]`, and `aws` of a network
pub(super) struct Aws {
    pub(super) region: Field<String>,
    pub(super) profile: Field<String>,
    pub(super) role_arn: Field<String>,
    pub(super) external_id: Field<ExternalId>,
    pub(super) fips: Field<bool>,
    pub(super) dual_stack: Field<bool>,
    pub(super) endpoint_url: Field<Endpoint>,
    pub(super) timezone: Field<TimeZone>,
}

/// What of `[poll]` no network has for itself
pub(super) struct Shared {
    pub(super) concurrency: Field<usize>,
    pub(super) requests_per_second: Field<f64>,
}

/// The rest of `[poll]`, and `poll` of a network
pub(super) struct Poll {
    pub(super) interval: Field<Duration>,
    pub(super) stale_after: Field<Duration>,
    pub(super) request_timeout: Field<Duration>,
    pub(super) max_attempts: Field<u32>,
    pub(super) page_size: Field<u16>,
}

/// `[metrics]`
pub(super) struct Metrics {
    pub(super) detail: Field<Detail>,
    pub(super) username: Field<bool>,
    pub(super) idle_buckets: Field<Vec<Duration>>,
}

/// `[[network]]`
pub(super) struct Network {
    pub(super) spot: Spot,
    pub(super) id: Field<NetworkId>,
    pub(super) name: Field<String>,
    pub(super) users: Field<Vec<UserId>>,
    pub(super) aws: Aws,
    pub(super) poll: Poll,
}

/// Reads all tables of a file.
pub(super) fn read(tree: &DeTable<'_>, problems: &Problems) -> File {
    let file = Table::file(problems, &shape::FILE, tree);
    let poll = file.table("poll", &shape::POLL);
    File {
        web: web(&file.table("web", &shape::WEB)),
        aws: aws(&file.table("aws", &shape::AWS)),
        shared: shared(&poll),
        poll: self::poll(&poll),
        metrics: metrics(&file.table("metrics", &shape::METRICS), problems),
        networks: file
            .tables("network", &shape::NETWORK, NETWORK_EXAMPLE)
            .iter()
            .map(network)
            .collect(),
    }
}

fn web(table: &Table<'_>) -> Web {
    Web {
        listen: table.list("listen", r#"[":10471"]"#, values::parsed),
        max_concurrent_scrapes: table
            .read("max_concurrent_scrapes", |v| values::whole(v, CONCURRENCY)),
    }
}

fn aws(table: &Table<'_>) -> Aws {
    Aws {
        region: table.read("region", values::region),
        profile: table.read("profile", values::text),
        role_arn: table.read("role_arn", values::role_arn),
        external_id: table.read("external_id", values::external_id),
        fips: table.read("fips", values::truth),
        dual_stack: table.read("dual_stack", values::truth),
        endpoint_url: table.read("endpoint_url", values::endpoint),
        timezone: table.read("timezone", values::timezone),
    }
}

fn shared(table: &Table<'_>) -> Shared {
    Shared {
        concurrency: table.read("concurrency", |v| values::whole(v, CONCURRENCY)),
        requests_per_second: table.read("requests_per_second", values::rate),
    }
}

fn poll(table: &Table<'_>) -> Poll {
    Poll {
        interval: table.read("interval", |v| values::duration(v, INTERVAL)),
        stale_after: table.read("stale_after", |v| values::duration(v, STALE_AFTER)),
        request_timeout: table.read("request_timeout", |v| values::duration(v, REQUEST_TIMEOUT)),
        max_attempts: table.read("max_attempts", |v| values::whole(v, ATTEMPTS)),
        page_size: table.read("page_size", |v| values::whole(v, PAGE_SIZE)),
    }
}

fn metrics(table: &Table<'_>, problems: &Problems) -> Metrics {
    let buckets = table.list("idle_buckets", r#"["1h", "1d"]"#, |v| values::duration(v, BUCKET));
    Metrics {
        detail: table.read("detail", values::parsed),
        username: table.read("username", values::truth),
        idle_buckets: ascending(buckets, problems),
    }
}

/// Buckets are not sorted here: one out of order is more often a wrong unit than a wrong place.
fn ascending(buckets: Field<Vec<Duration>>, problems: &Problems) -> Field<Vec<Duration>> {
    let Field::Good(durations, spot) = &buckets else { return buckets };
    let Some(pair) = durations.windows(2).find(|pair| pair[0] >= pair[1]) else { return buckets };
    let (before, after) = (values::brief(pair[0]), values::brief(pair[1]));
    problems.add(spot, format!("must ascend, but {after} comes after {before}"));
    Field::Bad
}

fn network(table: &Table<'_>) -> Network {
    let network = Network {
        spot: table.spot().clone(),
        id: table.read("id", values::id),
        name: table.read("name", values::text),
        users: users(table),
        aws: aws(&table.table("aws", &shape::NETWORK_AWS)),
        poll: poll(&table.table("poll", &shape::NETWORK_POLL)),
    };
    if network.id.is_absent() {
        table.missing("id", r#"is missing; write the network's 8 digits, id = "12345678""#);
    }
    if network.users.is_absent() {
        table.missing("users", r#"is missing; write the users' ids, users = ["1001", "1002"]"#);
    }
    network
}

fn users(table: &Table<'_>) -> Field<Vec<UserId>> {
    let all = table.read("users", |value| match value {
        DeValue::String(text) if text == "all" => Err(format!("\"all\" {NOT_YET}")),
        _ => Ok(()),
    });
    match all {
        Field::Bad => Field::Bad,
        Field::Absent | Field::Good(..) => table.list("users", r#"["1001", "1002"]"#, values::id),
    }
}
