//! From what was written to what is used: a network's own values over the shared ones over the
//! defaults, and the mistakes that only show between two keys.

use std::{collections::HashMap, time::Duration};

use super::{
    problem::{Problems, Spot},
    reader::Field,
    used::{self, Config},
    values::brief,
    written::{self, File},
};

/// The configuration that `file` means. It is only good if there are no problems in the end: until
/// then, defaults stand in for what is bad.
pub(super) fn resolve(file: File, problems: &Problems) -> Config {
    check_stale_after(&file.poll, None, problems);
    check_endpoint(&file.aws, None, problems);
    check_external_ids(&file, problems);
    Config {
        networks: networks(&file, problems),
        web: web(file.web),
        poll: shared(file.shared),
        metrics: metrics(file.metrics),
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

fn metrics(metrics: written::Metrics) -> used::Metrics {
    let default = used::Metrics::default();
    used::Metrics {
        detail: metrics.detail.into_good().unwrap_or(default.detail),
        username: metrics.username.into_good().unwrap_or(default.username),
        idle_buckets: metrics.idle_buckets.into_good().unwrap_or(default.idle_buckets),
    }
}

fn networks(file: &File, problems: &Problems) -> Vec<used::Network> {
    let mut first = HashMap::with_capacity(file.networks.len());
    let mut networks = Vec::with_capacity(file.networks.len());
    for network in &file.networks {
        check_stale_after(&network.poll, Some(&file.poll), problems);
        check_endpoint(&network.aws, Some(&file.aws), problems);
        let Field::Good(id, spot) = &network.id else { continue };
        if let Some(before) = first.insert(id.clone(), &network.spot) {
            let before = &before.key;
            problems.add(spot, format!("\"{id}\" is given twice, first in {before}"));
        }
        let mut users = network.users.good().cloned().unwrap_or_default();
        users.sort_unstable();
        networks.push(used::Network {
            id: id.clone(),
            name: network.name.good().cloned(),
            users,
            aws: aws(&network.aws, &file.aws),
            poll: poll(&network.poll, &file.poll),
        });
    }
    networks
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

/// Data must not go stale between two polls that go well.
fn check_stale_after(poll: &written::Poll, shared: Option<&written::Poll>, problems: &Problems) {
    let Field::Good(stale_after, spot) = &poll.stale_after else { return };
    let interval = shared.map_or(&poll.interval, |shared| poll.interval.or(&shared.interval));
    let (interval, source): (Duration, _) = match interval {
        Field::Good(interval, spot) => (*interval, spot.key.as_str()),
        Field::Absent => (used::Poll::default().interval, "the default interval"),
        Field::Bad => return,
    };
    if *stale_after < interval {
        let (stale_after, interval) = (brief(*stale_after), brief(interval));
        problems.conclude(
            spot,
            format!("must not be below {source}, which is {interval}, but is {stale_after}"),
        );
    }
}

/// An endpoint of one's own is what it is: `fips` and `dual_stack` choose among the service's.
fn check_endpoint(aws: &written::Aws, shared: Option<&written::Aws>, problems: &Problems) {
    let over = shared.unwrap_or(aws);
    let Field::Good(_, endpoint) = aws.endpoint_url.or(&over.endpoint_url) else { return };
    for choice in [aws.fips.or(&over.fips), aws.dual_stack.or(&over.dual_stack)] {
        let Field::Good(true, choice) = choice else { continue };
        if aws.endpoint_url.good().is_some() {
            let message = format!(
                "contradicts {} = true, which chooses among the service's own; write one or the other",
                choice.key
            );
            problems.conclude(endpoint, message);
        } else if is_within(choice, aws) {
            let message = format!(
                "contradicts {}, which is used as it is; write one or the other",
                endpoint.key
            );
            problems.conclude(choice, message);
        }
        // Otherwise both are shared, and it has been said there.
    }
}

/// Whether the choice at `spot` is one of `aws` itself rather than a shared one.
fn is_within(spot: &Spot, aws: &written::Aws) -> bool {
    [&aws.fips, &aws.dual_stack]
        .into_iter()
        .any(|choice| matches!(choice, Field::Good(_, own) if own == spot))
}

/// An external id without a role does nothing, so someone forgot the role.
fn check_external_ids(file: &File, problems: &Problems) {
    let message = "is only sent along with a role_arn, and there is none; write that too";
    let has_role =
        |network: &written::Network| !network.aws.role_arn.or(&file.aws.role_arn).is_absent();
    for network in file.networks.iter().filter(|network| !has_role(network)) {
        if let Field::Good(_, spot) = &network.aws.external_id {
            problems.conclude(spot, message);
        }
    }
    if let Field::Good(_, spot) = &file.aws.external_id
        && file.aws.role_arn.is_absent()
        && !file.networks.iter().any(has_role)
    {
        problems.conclude(spot, message);
    }
}
