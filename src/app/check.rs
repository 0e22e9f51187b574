//! `check`: what a configuration would do, what it costs, what it needs, and whether it works.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use humantime::format_duration;
use serde::Serialize;

use super::{
    AppError,
    accounts::{self, Account, Accounts},
};
use crate::{
    config::{Config, Detail, Network},
    telemetry::Metrics,
    wickr::{Client, Error, ErrorKind, Lane, Lanes, Operation, Partition, UserId},
};

/// How many devices a user is taken to have where nobody has counted them.
const DEVICES_A_USER: usize = 3;
/// How many device types a network is taken to have: those of the service's reference.
const TYPES: usize = 4;
/// The share of the interval that a poll may take before it is called too long: retries need room.
const ROOM: f64 = 0.8;

/// What `config` would do and cost, for people. A region that is not known yet is said to be so.
pub fn check(config: &Config) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = describe(config, &mut text);
    text
}

fn describe(config: &Config, out: &mut String) -> fmt::Result {
    for network in &config.networks {
        describe_network(network, out)?;
    }
    writeln!(out, "What polling costs, with at most one page a user:")?;
    for (account, cost) in costs(config) {
        describe_cost(account, &cost, config.poll.requests_per_second, out)?;
    }
    let series = series(config);
    writeln!(
        out,
        "Series at metrics.detail = \"{}\": about {series}, if a user has {DEVICES_A_USER} devices of {TYPES} types",
        config.metrics.detail
    )
}

fn describe_cost(account: Account, cost: &Cost, ceiling: f64, out: &mut String) -> fmt::Result {
    let mut place = account.region;
    for (word, name) in [("with profile", account.profile), ("as", account.role_arn)] {
        if !name.is_empty() {
            place = format!("{place} {word} {name}");
        }
    }
    let users = counted(cost.users, "user");
    let (hourly, share) = (cost.per_second * 3600.0, cost.per_second / ceiling * 100.0);
    writeln!(
        out,
        "  {place}: {users}, {hourly:.0} requests an hour, {share:.1} % of the {ceiling} a second that are allowed"
    )?;
    let whole = Duration::from_secs_f64(cost.users as f64 / ceiling);
    writeln!(
        out,
        "    one poll of all of them takes at least {}; the shortest sensible interval is {}",
        human(whole),
        human(shortest_interval(whole)),
    )?;
    if cost.per_second > ceiling * ROOM {
        let trouble = if cost.per_second > ceiling {
            "polls will outlast their interval"
        } else {
            "that leaves no room for retries and second pages"
        };
        writeln!(
            out,
            "    WARNING: {trouble}. Raise poll.interval, or poll.requests_per_second if the service allows it"
        )?;
    }
    Ok(())
}

/// `1 user`, `2 users`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn describe_network(network: &Network, out: &mut String) -> fmt::Result {
    let aws = &network.aws;
    match &network.name {
        Some(name) => writeln!(out, "network {} ({name})", network.id)?,
        None => writeln!(out, "network {}", network.id)?,
    }
    match &aws.region {
        Some(region) => writeln!(out, "  region       {region}")?,
        None => writeln!(
            out,
            "  region       not named here; at the start, from the instance's metadata"
        )?,
    }
    if aws.region.is_some() || aws.endpoint_url.is_some() {
        writeln!(out, "  endpoint     {}", accounts::endpoint(aws))?;
    }
    let chain = match &aws.profile {
        Some(profile) => format!("the profile {profile}"),
        None => "the SDK's default chain".into(),
    };
    match &aws.role_arn {
        Some(role) => writeln!(out, "  credentials  {chain}, then the role {role}")?,
        None => writeln!(out, "  credentials  {chain}")?,
    }
    let poll = &network.poll;
    writeln!(out, "  users        {} listed", network.users.len())?;
    writeln!(
        out,
        "  polled       every {}; what cannot be read is served as stale for {}",
        format_duration(poll.interval),
        format_duration(poll.stale_after)
    )
}

/// What one account is asked.
#[derive(Debug, Default)]
struct Cost {
    users: usize,
    /// Requests.
    per_second: f64,
}

fn costs(config: &Config) -> BTreeMap<Account, Cost> {
    let mut costs: BTreeMap<Account, Cost> = BTreeMap::new();
    for network in &config.networks {
        let mut account = Account::of(&network.aws);
        if account.region.is_empty() {
            account.region = "the instance's region".into();
        }
        let cost = costs.entry(account).or_default();
        cost.users += network.users.len();
        cost.per_second += network.users.len() as f64 / network.poll.interval.as_secs_f64();
    }
    costs
}

/// The shortest interval into which a poll of `whole` fits with room to spare: in steps that
/// people use.
fn shortest_interval(whole: Duration) -> Duration {
    const STEPS: [u64; 14] = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    let needed = whole.as_secs_f64() / ROOM;
    let step = STEPS.into_iter().find(|step| *step as f64 >= needed);
    let hours = || (needed / 3600.0).ceil() as u64 * 3600;
    Duration::from_secs(step.unwrap_or_else(hours))
}

/// By the tenth of a second, or the second when it is long.
fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// How many series a configuration comes to, roughly.
fn series(config: &Config) -> usize {
    let histogram = config.metrics.idle_buckets.len() + 3;
    // Up, info, users by freshness, polls, failures and the like, for each network.
    let network = 5 + TYPES * (4 + histogram) + 20;
    let types_of_a_user = DEVICES_A_USER.min(TYPES);
    let user = 4 + 2 * types_of_a_user;
    let device = 5 * DEVICES_A_USER;
    let each_user = match config.metrics.detail {
        Detail::Network => 0,
        Detail::User => user,
        Detail::Device => user + device,
    };
    let users: usize = config.networks.iter().map(|network| network.users.len()).sum();
    config.networks.len() * network + users * each_user
}

/// Signs in and reads one page from each network, every one of which names its region. Gives a line
/// for each, and whether all went well.
///
/// # Errors
///
/// When it cannot be set up.
pub async fn check_online(config: &Config) -> Result<(String, bool), AppError> {
    let nobody = Metrics::new([]).map_err(|error| AppError::Setup(error.to_string()))?;
    let mut accounts = Accounts::new(None, accounts::limiters(config), Arc::new(nobody));
    let lane = Lanes::new(1).open();
    let (mut text, mut good) = (String::new(), true);
    for network in &config.networks {
        let client = accounts.client(network).map_err(AppError::Setup)?;
        let line = match try_users(&client, network, &lane).await {
            Ok((user, devices)) => {
                format!("good, the first page of user {user} has {}", counted(devices, "device"))
            }
            Err(error) => {
                good = false;
                format!("FAILED: {error}\n  {}", error.kind.remedy())
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "network {}: {line}", network.id);
    }
    Ok((text, good))
}

/// Users that are tried before a network is taken to be unknown.
const TRIES: usize = 5;

/// Reads a page of the first user that the service knows: a few that have left are no failure.
async fn try_users<'a>(
    client: &Client,
    network: &'a Network,
    lane: &Lane,
) -> Result<(&'a UserId, usize), Error> {
    let mut tried = Err(Error::new(
        Operation::ListDevicesForUser,
        ErrorKind::InvalidRequest,
        "no user is listed",
    ));
    for user in network.users.iter().take(TRIES) {
        tried = client.try_devices(&network.id, user, lane).await.map(|devices| (user, devices));
        if !matches!(&tried, Err(error) if error.kind == ErrorKind::NotFound) {
            break;
        }
    }
    tried
}

/// An IAM policy, its members in the order in which people write them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<String>,
    resource: Vec<String>,
}

/// The least IAM policy that `config` needs. Accounts that the configuration does not name are
/// `*`.
pub fn iam_policy(config: &Config) -> Policy {
    let mut resource: Vec<String> = config.networks.iter().map(network_arn).collect();
    resource.sort();
    Policy {
        version: "2012-10-17",
        statement: vec![Statement {
            sid: "WickrExporterReadDevices",
            effect: "Allow",
            action: vec![format!("wickr:{}", Operation::ListDevicesForUser.as_str())],
            resource,
        }],
    }
}

fn network_arn(network: &Network) -> String {
    // A role's account is the network's: arn:PARTITION:iam::ACCOUNT:role/NAME.
    let account =
        network.aws.role_arn.as_deref().and_then(|arn| arn.split(':').nth(4)).unwrap_or("*");
    let region = network.aws.region.as_deref().unwrap_or("*");
    let partition = match &network.aws.region {
        Some(region) => Partition::of_region(region).id,
        None => "aws",
    };
    format!("arn:{partition}:wickr:{region}:{account}:network/{}", network.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parsed(text: &str) -> Config {
        config::parse(text, "test").unwrap()
    }

    #[test]
    fn it_says_what_polling_costs() {
        let users: Vec<_> = (1..=3600).collect();
        let config = parsed(&format!(
            "[aws]\nregion = \"us-east-1\"\n[[network]]\nid = \"12345678\"\nname = \"prod\"\nusers = {users:?}"
        ));
        let text = check(&config);
        for part in [
            "network 12345678 (prod)",
            "https://admin.wickr.us-east-1.amazonaws.com",
            "us-east-1: 3600 users, 43200 requests an hour, 120.0 % of the 10 a second",
            "takes at least 6m; the shortest sensible interval is 10m",
            "WARNING",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_policy_names_each_network_in_its_partition_and_account() {
        let config = parsed(
            r#"[[network]]
            id = "12345678"
            users = ["1"]
            aws = { region = "us-gov-west-1", role_arn = "arn:aws-us-gov:iam::111122223333:role/r" }
            [[network]]
            id = "87654321"
            users = ["1"]
            aws = { region = "eu-central-1" }"#,
        );
        let statement = &iam_policy(&config).statement[0];
        assert_eq!(
            statement.resource,
            [
                "arn:aws-us-gov:wickr:us-gov-west-1:111122223333:network/12345678",
                "arn:aws:wickr:eu-central-1:*:network/87654321",
            ]
        );
        assert_eq!(statement.action, ["wickr:ListDevicesForUser"]);
    }
}
