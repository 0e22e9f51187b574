//! From what was written to what is used: a network's own values over the shared ones over the
//! defaults.

use super::{
    conflicts,
    filter::FilterConfig,
    problem::Problems,
    reader::Field,
    used::{self, Config, UserChoice},
    written::{self, File},
};

/// The configuration that `file` means. It is only good if there are no problems in the end: until
/// then, defaults stand in for what is bad.
pub(super) fn resolve(file: File, problems: &Problems) -> Config {
    conflicts::find(&file, problems);
    Config {
        networks: networks(&file),
        web: web(file.web),
        poll: shared(file.shared),
        discovery: discovery(file.discovery),
        metrics: metrics(file.metrics),
        sso: file.sso.max_idle.into_good(),
        state: file.state.path.into_good(),
        shard: shard(file.shard),
    }
}

fn web(web: written::Web) -> used::Web {
    let default = used::Web::default();
    used::Web {
        listen: web.listen.into_good().unwrap_or(default.listen),
        max_concurrent_scrapes: web
            .max_concurrent_scrapes
            .into_good()
            .unwrap_or(default.max_concurrent_scrapes),
    }
}

fn shared(shared: written::Shared) -> used::Shared {
    let default = used::Shared::default();
    used::Shared {
        concurrency: shared.concurrency.into_good().unwrap_or(default.concurrency),
        requests_per_second: shared
            .requests_per_second
            .into_good()
            .unwrap_or(default.requests_per_second),
    }
}

fn discovery(discovery: written::Discovery) -> used::Discovery {
    let default = used::Discovery::default();
    used::Discovery { interval: discovery.interval.into_good().unwrap_or(default.interval) }
}

fn shard(shard: written::Shard) -> used::Shard {
    match (shard.index.into_good(), shard.total.into_good()) {
        (Some(None), Some(None)) => used::Shard::Auto,
        (Some(Some(index)), Some(Some(total))) => used::Shard::Of { index, total },
        _ => used::Shard::default(),
    }
}

fn metrics(metrics: written::Metrics) -> used::Metrics {
    let default = used::Metrics::default();
    used::Metrics {
        detail: metrics.detail.into_good().unwrap_or(default.detail),
        username: metrics.username.into_good().unwrap_or(default.username),
        idle_buckets: metrics.idle_buckets.into_good().unwrap_or(default.idle_buckets),
    }
}

/// Those whose id is good: without it, there is a problem, and nobody will see the others.
fn networks(file: &File) -> Vec<used::Network> {
    let resolved = |network: &written::Network| {
        Some(used::Network {
            id: network.id.good()?.clone(),
            name: network.name.good().cloned(),
            users: users(network),
            aws: aws(&network.aws, &file.aws),
            poll: poll(&network.poll, &file.poll),
        })
    };
    file.networks.iter().filter_map(resolved).collect()
}

fn users(network: &written::Network) -> UserChoice {
    match network.users.good() {
        Some(written::Users::All) => UserChoice::All(filter(&network.filter)),
        Some(written::Users::Listed(users)) => {
            let mut users = users.clone();
            users.sort_unstable();
            UserChoice::Listed(users)
        }
        None => UserChoice::Listed(Vec::new()),
    }
}

fn filter(filter: &written::Filter) -> FilterConfig {
    FilterConfig {
        status: filter.status.good().copied(),
        groups: filter.groups.good().cloned().unwrap_or_default(),
        username: filter.username.good().cloned(),
    }
}

fn aws(own: &written::Aws, shared: &written::Aws) -> used::Aws {
    let default = used::Aws::default();
    let role_arn = own.role_arn.or(&shared.role_arn).good().cloned();
    let external_id = own.external_id.or(&shared.external_id).good().cloned();
    used::Aws {
        region: own.region.or(&shared.region).good().cloned(),
        profile: own.profile.or(&shared.profile).good().cloned(),
        // A shared external id is for those networks that have a role to go with it.
        external_id: external_id.filter(|_| role_arn.is_some()),
        role_arn,
        fips: first_good(&own.fips, &shared.fips, default.fips),
        dual_stack: first_good(&own.dual_stack, &shared.dual_stack, default.dual_stack),
        endpoint_url: own.endpoint_url.or(&shared.endpoint_url).good().cloned(),
        timezone: first_good(&own.timezone, &shared.timezone, default.timezone),
    }
}

fn poll(own: &written::Poll, shared: &written::Poll) -> used::Poll {
    let default = used::Poll::default();
    let interval = first_good(&own.interval, &shared.interval, default.interval);
    // Who sets an interval of its own does not want a limit that was chosen for another.
    let shared_stale_after = shared.stale_after.good().filter(|_| own.interval.is_absent());
    let stale_after = own.stale_after.good().or(shared_stale_after).copied();
    used::Poll {
        interval,
        stale_after: stale_after.unwrap_or_else(|| used::Poll::stale_after_of(interval)),
        request_timeout: first_good(
            &own.request_timeout,
            &shared.request_timeout,
            default.request_timeout,
        ),
        max_attempts: first_good(&own.max_attempts, &shared.max_attempts, default.max_attempts),
        page_size: first_good(&own.page_size, &shared.page_size, default.page_size),
    }
}

fn first_good<T: Clone>(own: &Field<T>, shared: &Field<T>, default: T) -> T {
    own.or(shared).good().cloned().unwrap_or(default)
}
