//! The mistakes that only show between two keys.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use super::{
    problem::{Problems, Spot},
    reader::Field,
    used::{self, NetworkChoice},
    values::brief,
    written::{self, File, Users},
};
use crate::wickr::Endpoint;

/// Complains of whatever in `file` contradicts or lacks something else.
pub(super) fn find(file: &File, problems: &Problems) {
    check_stale_after(&file.poll, None, problems);
    check_endpoint(&file.aws, None, problems);
    check_external_ids(file, problems);
    check_shard(&file.shard, problems);
    for network in &file.networks {
        check_stale_after(&network.poll, Some(&file.poll), problems);
        check_endpoint(&network.aws, Some(&file.aws), problems);
        check_filter(network, problems);
        check_all(network, problems);
    }
    check_doubles(file, problems);
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

/// A shard is told by two keys that only mean something together.
fn check_shard(shard: &written::Shard, problems: &Problems) {
    match (&shard.index, &shard.total) {
        (Field::Good(Some(index), spot), Field::Good(Some(total), _)) if index >= total => problems
            .conclude(
                spot,
                format!(
                    "must be below shard.total, which is {total}, but is {index}; the first is 0"
                ),
            ),
        (Field::Good(Some(_), spot), Field::Absent) => {
            problems.conclude(spot, "means nothing without shard.total; write that too");
        }
        (Field::Absent, Field::Good(Some(2..), spot)) => {
            problems.conclude(spot, "means nothing without shard.index; write that too");
        }
        (Field::Good(None, spot), Field::Absent | Field::Good(Some(_), _)) => {
            problems.conclude(spot, AUTO_FOR_BOTH);
        }
        (Field::Absent | Field::Good(Some(_), _), Field::Good(None, spot)) => {
            problems.conclude(spot, AUTO_FOR_BOTH);
        }
        _ => {}
    }
}

const AUTO_FOR_BOTH: &str =
    r#""auto" is for both or neither; write index = "auto" and total = "auto", or two numbers"#;

/// A list of users is meant as it is.
fn check_filter(network: &written::Network, problems: &Problems) {
    if let (Some(spot), Some(Users::Listed(_))) = (&network.filter.spot, network.users.good()) {
        let message =
            r#"only goes with users = "all", and here users is a list; write one or the other"#;
        problems.conclude(spot, message);
    }
}

/// What is said of one network cannot be said of all.
fn check_all(network: &written::Network, problems: &Problems) {
    let Some(NetworkChoice::All) = network.id.good() else { return };
    if let Field::Good(Users::Listed(_), spot) = &network.users {
        problems.conclude(
            spot,
            r#"must be "all" where id is: the same ids mean other users in another network"#,
        );
    }
    if let Field::Good(_, spot) = &network.name {
        problems.conclude(spot, r#"has no place where id is "all": the names come from Wickr"#);
    }
}

/// Two that would poll the same network.
fn check_doubles(file: &File, problems: &Problems) {
    let mut ones = HashMap::with_capacity(file.networks.len());
    let mut alls = HashMap::new();
    for network in &file.networks {
        let Field::Good(id, spot) = &network.id else { continue };
        let key = network.spot.key.as_str();
        match id {
            NetworkChoice::One(id) => {
                if let Some(before) = before(ones.entry(id), key) {
                    problems.add(spot, format!("\"{id}\" is given twice, first in {before}"));
                }
            }
            NetworkChoice::All => {
                let Some(place) = Place::of(&network.aws, &file.aws) else { continue };
                if let Some(before) = before(alls.entry(place), key) {
                    let message = format!(
                        "\"all\" is given twice for the same account and region, first in {before}"
                    );
                    problems.conclude(spot, message);
                }
            }
        }
    }
}

/// What was there before `key`, which is there now if nothing was.
fn before<'f, K>(entry: Entry<'_, K, &'f str>, key: &'f str) -> Option<&'f str> {
    match entry {
        Entry::Occupied(before) => Some(*before.get()),
        Entry::Vacant(free) => {
            free.insert(key);
            None
        }
    }
}

/// What decides which account and region a network is in. The other settings only say how to get
/// there, or how to read what is there.
#[derive(PartialEq, Eq, Hash)]
struct Place<'f> {
    region: Option<&'f str>,
    profile: Option<&'f str>,
    role_arn: Option<&'f str>,
    endpoint_url: Option<&'f Endpoint>,
}

impl<'f> Place<'f> {
    /// None if a part of it is bad.
    fn of(own: &'f written::Aws, shared: &'f written::Aws) -> Option<Self> {
        let (region, profile) = (own.region.or(&shared.region), own.profile.or(&shared.profile));
        let role_arn = own.role_arn.or(&shared.role_arn);
        let endpoint_url = own.endpoint_url.or(&shared.endpoint_url);
        let text_is_bad = [region, profile, role_arn].into_iter().any(Field::is_bad);
        if text_is_bad || endpoint_url.is_bad() {
            return None;
        }
        Some(Place {
            region: region.good().map(String::as_str),
            profile: profile.good().map(String::as_str),
            role_arn: role_arn.good().map(String::as_str),
            endpoint_url: endpoint_url.good(),
        })
    }
}
