//! Resolves the raw configuration. A network's own value overrides the shared one, which overrides
//! the default.

use std::time::Duration;

use super::{
    conflicts,
    filter::FilterConfig,
    raw,
    resolved::{
        Aws, CollectorsConfig, Config, DiscoveryConfig, MetricsConfig, NetworkConfig, Poll,
        RequestLimits, ShardConfig, UsersConfig, Web,
    },
};
use crate::diagnostics::{Field, Problems};

/// A day to act before a session ends, and a week to plan.
const DEFAULT_EXPIRING_WITHIN: [Duration; 2] =
    [Duration::from_secs(86_400), Duration::from_secs(7 * 86_400)];

/// The result is valid only if there are no problems: defaults replace invalid values.
pub(super) fn resolve(file: raw::RawFile, problems: &Problems) -> Config {
    conflicts::check(&file, problems);
    Config {
        networks: networks(&file),
        web: web(file.web),
        poll: limits(file.limits),
        discovery: discovery(file.discovery_interval),
        metrics: metrics(file.metrics),
        sso: file.sso_max_idle.into_valid(),
        sso_expiring_within: file.sso_expiring_within.valid_or(DEFAULT_EXPIRING_WITHIN.into()),
        collectors: collectors(file.collectors),
        state: file.state_path.into_valid(),
        shard: shard(file.shard),
        log_changes: file.log_changes.valid_or(false),
    }
}

fn web(raw: raw::RawWeb) -> Web {
    let default = Web::default();
    Web {
        listen: raw.listen.valid_or(default.listen),
        max_concurrent_scrapes: raw.max_concurrent_scrapes.valid_or(default.max_concurrent_scrapes),
    }
}

fn limits(raw: raw::RawRequestLimits) -> RequestLimits {
    let default = RequestLimits::default();
    RequestLimits {
        concurrency: raw.concurrency.valid_or(default.concurrency),
        requests_per_second: raw.requests_per_second.valid_or(default.requests_per_second),
    }
}

fn discovery(interval: Field<Duration>) -> DiscoveryConfig {
    DiscoveryConfig { interval: interval.valid_or(DiscoveryConfig::default().interval) }
}

fn collectors(raw: raw::RawCollectors) -> CollectorsConfig {
    let mut enable = raw.enable.into_valid().unwrap_or_default();
    enable.sort_by_key(|collector| collector.name());
    CollectorsConfig {
        enable,
        interval: raw.interval.valid_or(CollectorsConfig::default().interval),
    }
}

fn shard(raw: raw::RawShard) -> ShardConfig {
    match (raw.index.into_valid(), raw.total.into_valid()) {
        (Some(None), Some(None)) => ShardConfig::Auto,
        (Some(Some(index)), Some(Some(total))) => ShardConfig::Of { index, total },
        _ => ShardConfig::default(),
    }
}

fn metrics(raw: raw::RawMetrics) -> MetricsConfig {
    let default = MetricsConfig::default();
    MetricsConfig {
        detail: raw.detail.valid_or(default.detail),
        username: raw.username.valid_or(default.username),
        idle_buckets: raw.idle_buckets.valid_or(default.idle_buckets),
    }
}

/// Leaves out networks with an invalid id, which has been reported.
fn networks(file: &raw::RawFile) -> Vec<NetworkConfig> {
    let resolve = |network: &raw::RawNetwork| {
        Some(NetworkConfig {
            id: network.id.valid()?.clone(),
            name: network.name.valid().cloned(),
            users: users(network),
            aws: aws(&network.aws, &file.aws),
            poll: poll(&network.poll, &file.poll),
        })
    };
    file.networks.iter().filter_map(resolve).collect()
}

fn users(network: &raw::RawNetwork) -> UsersConfig {
    match network.users.valid() {
        Some(raw::RawUsers::All) => UsersConfig::All(filter(&network.filter)),
        Some(raw::RawUsers::Listed(users)) => {
            let mut users = users.clone();
            users.sort_unstable();
            UsersConfig::Listed(users)
        }
        None => UsersConfig::Listed(Vec::new()),
    }
}

fn filter(raw: &raw::RawFilter) -> FilterConfig {
    FilterConfig {
        status: raw.status.valid().copied(),
        groups: raw.groups.valid().cloned().unwrap_or_default(),
        username: raw.username.valid().cloned(),
    }
}

fn aws(own: &raw::RawAws, shared: &raw::RawAws) -> Aws {
    let default = Aws::default();
    let role_arn = own.role_arn.or(&shared.role_arn).valid().cloned();
    let external_id = own.external_id.or(&shared.external_id).valid().cloned();
    Aws {
        region: own.region.or(&shared.region).valid().cloned(),
        profile: own.profile.or(&shared.profile).valid().cloned(),
        // A shared external id applies only to networks with a role.
        external_id: external_id.filter(|_| role_arn.is_some()),
        role_arn,
        fips: first_valid(&own.fips, &shared.fips, default.fips),
        dual_stack: first_valid(&own.dual_stack, &shared.dual_stack, default.dual_stack),
        endpoint_url: own.endpoint_url.or(&shared.endpoint_url).valid().cloned(),
        timezone: first_valid(&own.timezone, &shared.timezone, default.timezone),
    }
}

fn poll(own: &raw::RawPoll, shared: &raw::RawPoll) -> Poll {
    let default = Poll::default();
    let interval = first_valid(&own.interval, &shared.interval, default.interval);
    // The shared `stale_after` was chosen for the shared interval.
    let shared_stale_after = shared.stale_after.valid().filter(|_| own.interval.is_absent());
    let stale_after = own.stale_after.valid().or(shared_stale_after).copied();
    Poll {
        interval,
        stale_after: stale_after.unwrap_or_else(|| Poll::default_stale_after(interval)),
        request_timeout: first_valid(
            &own.request_timeout,
            &shared.request_timeout,
            default.request_timeout,
        ),
        max_attempts: first_valid(&own.max_attempts, &shared.max_attempts, default.max_attempts),
        page_size: first_valid(&own.page_size, &shared.page_size, default.page_size),
    }
}

fn first_valid<T: Clone>(own: &Field<T>, shared: &Field<T>, default: T) -> T {
    own.or(shared).valid().cloned().unwrap_or(default)
}
