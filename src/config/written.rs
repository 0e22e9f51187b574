//! The tables as they were written: each value on its own is good, or was complained about.
//!
//! What a value means next to others, and what holds where none was written, is for
//! [`resolve`](super::resolve).

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use toml::de::DeTable;

use super::{
    filter::{UserStatus, UsernamePattern},
    listen::ListenAddress,
    problem::{Problems, Spot},
    reader::{Field, Table},
    shape,
    used::{Detail, ExternalId, NetworkChoice, SsoMaxIdle},
    values,
};
use crate::wickr::{Endpoint, UserId};

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
/// Each look-up lists every user.
const DISCOVERY: RangeInclusive<Duration> = SECOND..=days(30);
const MAX_IDLE: RangeInclusive<Duration> = SECOND..=days(3650);
/// A thousand processes are more than any fleet needs, and fewer than a mistyped number.
const SHARDS: RangeInclusive<i64> = 1..=1000;
const SHARD: RangeInclusive<i64> = 0..=999;

const NETWORK_EXAMPLE: &str = r#"[[network]] with id = "12345678" and users = ["1001"] below it"#;

/// A whole file.
pub(super) struct File {
    pub(super) web: Web,
    pub(super) aws: Aws,
    pub(super) shared: Shared,
    pub(super) poll: Poll,
    pub(super) discovery: Discovery,
    pub(super) metrics: Metrics,
    pub(super) sso: Sso,
    pub(super) state: State,
    pub(super) shard: Shard,
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

/// `[discovery]`
pub(super) struct Discovery {
    pub(super) interval: Field<Duration>,
}

/// `[metrics]`
pub(super) struct Metrics {
    pub(super) detail: Field<Detail>,
    pub(super) username: Field<bool>,
    pub(super) idle_buckets: Field<Vec<Duration>>,
}

/// `[sso]`
pub(super) struct Sso {
    pub(super) max_idle: Field<SsoMaxIdle>,
}

/// `[state]`
pub(super) struct State {
    pub(super) path: Field<PathBuf>,
}

/// `[shard]`; None is `"auto"`.
pub(super) struct Shard {
    pub(super) index: Field<Option<u32>>,
    pub(super) total: Field<Option<u32>>,
}

/// `[[network]]`
pub(super) struct Network {
    pub(super) spot: Spot,
    pub(super) id: Field<NetworkChoice>,
    pub(super) name: Field<String>,
    pub(super) users: Field<Users>,
    pub(super) filter: Filter,
    pub(super) aws: Aws,
    pub(super) poll: Poll,
}

/// `users` of a network
pub(super) enum Users {
    Listed(Vec<UserId>),
    All,
}

/// `filter` of a network
pub(super) struct Filter {
    /// Where it is, if it is.
    pub(super) spot: Option<Spot>,
    pub(super) status: Field<UserStatus>,
    pub(super) groups: Field<Vec<String>>,
    pub(super) username: Field<UsernamePattern>,
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
        discovery: discovery(&file.table("discovery", &shape::DISCOVERY)),
        metrics: metrics(&file.table("metrics", &shape::METRICS), problems),
        sso: sso(&file.table("sso", &shape::SSO)),
        state: state(&file.table("state", &shape::STATE)),
        shard: shard(&file.table("shard", &shape::SHARD)),
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

fn discovery(table: &Table<'_>) -> Discovery {
    Discovery { interval: table.read("interval", |v| values::duration(v, DISCOVERY)) }
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

fn sso(table: &Table<'_>) -> Sso {
    let max_idle = table.read("max_idle", |v| values::max_idle(v, MAX_IDLE));
    if table.is_written() && max_idle.is_absent() {
        table.missing(
            "max_idle",
            r#"is missing; write max_idle = "security-groups" for each user's own limit, or "30d" for one that all have"#,
        );
    }
    Sso { max_idle }
}

fn state(table: &Table<'_>) -> State {
    let path = table.read("path", values::path);
    if table.is_written() && path.is_absent() {
        table.missing(
            "path",
            r#"is missing; write path = "/var/lib/wickr-exporter/state", for example"#,
        );
    }
    State { path }
}

fn shard(table: &Table<'_>) -> Shard {
    Shard {
        index: table.read("index", |v| values::whole_or_auto(v, SHARD)),
        total: table.read("total", |v| values::whole_or_auto(v, SHARDS)),
    }
}

fn network(table: &Table<'_>) -> Network {
    let network = Network {
        spot: table.spot().clone(),
        id: table.read("id", values::network_choice),
        name: table.read("name", values::text),
        users: users(table),
        filter: filter(&table.table("filter", &shape::NETWORK_FILTER)),
        aws: aws(&table.table("aws", &shape::NETWORK_AWS)),
        poll: poll(&table.table("poll", &shape::NETWORK_POLL)),
    };
    if network.id.is_absent() {
        table.missing(
            "id",
            r#"is missing; write the network's 8 digits, id = "12345678", or id = "all""#,
        );
    }
    if network.users.is_absent() {
        table.missing(
            "users",
            r#"is missing; write the users' ids, users = ["1001", "1002"], or users = "all""#,
        );
    }
    network
}

fn users(table: &Table<'_>) -> Field<Users> {
    match table.read("users", values::all_or_list) {
        Field::Absent => Field::Absent,
        Field::Bad => Field::Bad,
        Field::Good(true, spot) => Field::Good(Users::All, spot),
        Field::Good(false, _) => {
            table.list("users", r#"["1001", "1002"]"#, values::user_id).map(Users::Listed)
        }
    }
}

fn filter(table: &Table<'_>) -> Filter {
    Filter {
        spot: table.is_written().then(|| table.spot().clone()),
        status: table.read("status", values::parsed),
        groups: table.list("groups", r#"["an-id-of-a-security-group"]"#, values::text),
        username: table.read("username", values::username_pattern),
    }
}
