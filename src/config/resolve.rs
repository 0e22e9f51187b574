//! Resolves the raw configuration. A network's own value overrides the shared one, which overrides
//! the default.

use jiff::tz::TimeZone;

use super::{
    conflicts, raw,
    resolved::{Aws, Config, NetworkConfig, Poll, ShardConfig, UsersConfig},
};
use crate::diagnostics::{Field, Problems};

/// The result is valid only if there are no problems: defaults replace invalid values.
pub(super) fn resolve(file: raw::RawFile, problems: &Problems) -> Config {
    conflicts::check(&file, problems);
    Config {
        networks: networks(&file),
        web: file.web,
        poll: file.limits,
        discovery: file.discovery,
        metrics: file.metrics,
        sso: file.sso,
        sso_expiring_within: file.sso_expiring_within,
        collectors: file.collectors,
        state: file.state,
        shard: shard(file.shard),
        log_changes: file.log_changes,
    }
}

fn shard(raw: raw::RawShard) -> ShardConfig {
    match (raw.index.into_valid(), raw.total.into_valid()) {
        (Some(None), Some(None)) => ShardConfig::Auto,
        (Some(Some(index)), Some(Some(total))) => ShardConfig::Of { index, total },
        _ => ShardConfig::default(),
    }
}

/// Leaves out networks with an invalid id, which has been reported.
fn networks(file: &raw::RawFile) -> Vec<NetworkConfig> {
    let resolve = |network: &raw::RawNetwork| {
        Some(NetworkConfig {
            id: network.id.valid()?.clone(),
            name: network.name.valid().cloned(),
            users: network.users.valid().cloned().unwrap_or(UsersConfig::Listed(Vec::new())),
            aws: aws(&network.aws, &file.aws),
            poll: poll(&network.poll, &file.poll),
        })
    };
    file.networks.iter().filter_map(resolve).collect()
}

fn aws(own: &raw::RawAws, shared: &raw::RawAws) -> Aws {
    let role_arn = own.role_arn.or(&shared.role_arn).valid().cloned();
    let external_id = own.external_id.or(&shared.external_id).valid().cloned();
    Aws {
        region: own.region.or(&shared.region).valid().cloned(),
        profile: own.profile.or(&shared.profile).valid().cloned(),
        // A shared external id applies only to networks with a role.
        external_id: external_id.filter(|_| role_arn.is_some()),
        role_session_name: own.role_session_name.or(&shared.role_session_name).valid().cloned(),
        role_arn,
        fips: own.fips.or(&shared.fips).valid().copied(),
        dual_stack: own.dual_stack.or(&shared.dual_stack).valid().copied(),
        endpoint_url: own.endpoint_url.or(&shared.endpoint_url).valid().cloned(),
        timezone: first_valid(&own.timezone, &shared.timezone, TimeZone::UTC),
        settings: None,
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
