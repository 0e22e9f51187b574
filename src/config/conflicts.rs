//! Checks of keys against each other.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    raw::{self, RawFile},
    resolved::{NetworkSelector, Poll, UsersConfig},
};
use crate::{
    diagnostics::{Field, Location, Problems},
    text::format_duration,
    wickr::Endpoint,
};

/// Reports keys in `file` that conflict or that lack another key.
pub(super) fn check(file: &RawFile, problems: &Problems) {
    check_stale_after(&file.poll, None, problems);
    check_endpoint(&file.aws, None, problems);
    check_keys_of_roles(file, problems);
    check_shard(&file.shard, problems);
    for network in &file.networks {
        check_stale_after(&network.poll, Some(&file.poll), problems);
        check_endpoint(&network.aws, Some(&file.aws), problems);
        check_filter(network, problems);
        check_all(network, problems);
    }
    check_duplicates(file, problems);
}

/// Data must not become stale between two successful polls.
fn check_stale_after(poll: &raw::RawPoll, shared: Option<&raw::RawPoll>, problems: &Problems) {
    let Field::Valid(stale_after, location) = &poll.stale_after else { return };
    let interval = shared.map_or(&poll.interval, |shared| poll.interval.or(&shared.interval));
    let (interval, source) = match interval {
        Field::Valid(interval, location) => (*interval, location.key.as_str()),
        Field::Absent => (Poll::default().interval, "the default interval"),
        Field::Invalid => return,
    };
    if *stale_after < interval {
        let (stale_after, interval) = (format_duration(*stale_after), format_duration(interval));
        problems.add_derived(
            location,
            format!("must be at least {source}, which is {interval}, not {stale_after}"),
        );
    }
}

/// `fips` and `dual_stack` select an AWS endpoint, so they conflict with a custom one.
fn check_endpoint(aws: &raw::RawAws, shared: Option<&raw::RawAws>, problems: &Problems) {
    let shared = shared.unwrap_or(aws);
    let Field::Valid(_, endpoint) = aws.endpoint_url.or(&shared.endpoint_url) else { return };
    for (own, shared) in [(&aws.fips, &shared.fips), (&aws.dual_stack, &shared.dual_stack)] {
        let Field::Valid(true, option) = own.or(shared) else { continue };
        if !aws.endpoint_url.is_absent() {
            problems.add_derived(
                endpoint,
                format!(
                    "conflicts with {} = true, which selects an AWS endpoint; remove one",
                    option.key
                ),
            );
        } else if !own.is_absent() {
            problems.add_derived(
                option,
                format!(
                    "conflicts with {}, which replaces the AWS endpoint; remove one",
                    endpoint.key
                ),
            );
        }
        // A conflict between two shared keys is reported once, for `[aws]`.
    }
}

/// An external id and a session name have no effect without a role.
fn check_keys_of_roles(file: &RawFile, problems: &Problems) {
    check_without_role(file, problems, |aws| aws.external_id.location());
    check_without_role(file, problems, |aws| aws.role_session_name.location());
}

fn check_without_role(
    file: &RawFile,
    problems: &Problems,
    key: impl Fn(&raw::RawAws) -> Option<&Location>,
) {
    let message = "has no effect without role_arn; set it too";
    let has_role =
        |network: &raw::RawNetwork| !network.aws.role_arn.or(&file.aws.role_arn).is_absent();
    for network in file.networks.iter().filter(|network| !has_role(network)) {
        if let Some(location) = key(&network.aws) {
            problems.add_derived(location, message);
        }
    }
    if let Some(location) = key(&file.aws)
        && file.aws.role_arn.is_absent()
        && !file.networks.iter().any(has_role)
    {
        problems.add_derived(location, message);
    }
}

/// `index` and `total` are set together.
fn check_shard(shard: &raw::RawShard, problems: &Problems) {
    const AUTO: &str =
        r#""auto" applies to both keys; set index = "auto" and total = "auto", or two numbers"#;
    match (&shard.index, &shard.total) {
        (Field::Valid(Some(index), location), Field::Valid(Some(total), _)) if index >= total => {
            problems.add_derived(
                location,
                format!("must be below shard.total, which is {total}, not {index}; the first is 0"),
            );
        }
        (Field::Valid(Some(_), location), Field::Absent) => {
            problems.add_derived(location, "has no effect without shard.total; set it too");
        }
        (Field::Absent, Field::Valid(Some(2..), location)) => {
            problems.add_derived(location, "has no effect without shard.index; set it too");
        }
        (Field::Valid(None, location), Field::Absent | Field::Valid(Some(_), _))
        | (Field::Absent | Field::Valid(Some(_), _), Field::Valid(None, location)) => {
            problems.add_derived(location, AUTO);
        }
        _ => {}
    }
}

/// A filter does not apply to a list of users.
fn check_filter(network: &raw::RawNetwork, problems: &Problems) {
    if let (Some(location), Some(UsersConfig::Listed(_))) = (&network.filter, network.users.valid())
    {
        let message = r#"requires users = "all", but users is a list; remove one"#;
        problems.add_derived(location, message);
    }
}

/// User ids and a name belong to one network.
fn check_all(network: &raw::RawNetwork, problems: &Problems) {
    let Some(NetworkSelector::All) = network.id.valid() else { return };
    if let Field::Valid(UsersConfig::Listed(_), location) = &network.users {
        problems.add_derived(
            location,
            r#"must be "all" if id is "all": user ids differ between networks"#,
        );
    }
    if let Field::Valid(_, location) = &network.name {
        problems.add_derived(location, r#"cannot be set if id is "all": Wickr provides the names"#);
    }
}

/// Each network is polled once.
fn check_duplicates(file: &RawFile, problems: &Problems) {
    let mut ids = HashMap::with_capacity(file.networks.len());
    let mut accounts = HashMap::new();
    for network in &file.networks {
        let Field::Valid(id, location) = &network.id else { continue };
        let key = network.location.key.as_str();
        match id {
            NetworkSelector::One(id) => {
                if let Some(first) = insert_first(ids.entry(id), key) {
                    problems.add(location, format!("\"{id}\" is a duplicate of {first}"));
                }
            }
            NetworkSelector::All => {
                let Some(account) = AccountKey::new(&network.aws, &file.aws) else { continue };
                if let Some(first) = insert_first(accounts.entry(account), key) {
                    let message =
                        format!("\"all\" is a duplicate of {first}: same account and region");
                    problems.add_derived(location, message);
                }
            }
        }
    }
}

/// The earlier value of `entry`. Without one, inserts `key`.
fn insert_first<'f, K>(entry: Entry<'_, K, &'f str>, key: &'f str) -> Option<&'f str> {
    match entry {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(vacant) => {
            vacant.insert(key);
            None
        }
    }
}

/// The settings that determine the account and region of a network.
#[derive(PartialEq, Eq, Hash)]
struct AccountKey<'f> {
    region: Option<&'f String>,
    profile: Option<&'f String>,
    role_arn: Option<&'f String>,
    endpoint_url: Option<&'f Endpoint>,
}

impl<'f> AccountKey<'f> {
    /// None if a setting is invalid.
    fn new(own: &'f raw::RawAws, shared: &'f raw::RawAws) -> Option<Self> {
        fn valid<'f, T>(own: &'f Field<T>, shared: &'f Field<T>) -> Option<Option<&'f T>> {
            let field = own.or(shared);
            (!field.is_invalid()).then(|| field.valid())
        }
        Some(AccountKey {
            region: valid(&own.region, &shared.region)?,
            profile: valid(&own.profile, &shared.profile)?,
            role_arn: valid(&own.role_arn, &shared.role_arn)?,
            endpoint_url: valid(&own.endpoint_url, &shared.endpoint_url)?,
        })
    }
}
