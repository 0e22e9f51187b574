//! `check`: what a configuration would do, and what it costs.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use humantime::format_duration;

use super::{
    accounts::{self, Account},
    files,
};
use crate::{
    config::{Config, Detail, FilterConfig, Network, Shard, SsoMaxIdle, UsersConfig},
    query::{counted, grouped},
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
    match config.shard {
        Shard::Of { total: 1, .. } => {}
        Shard::Of { index, total } => {
            writeln!(
                out,
                "This is shard {index} of {total}: about one user in {total} is polled here."
            )?;
        }
        Shard::Auto => {
            writeln!(out, "The shard is told by the StatefulSet; what follows is for all.")?
        }
    }
    match config.sso {
        None => {}
        Some(SsoMaxIdle::Fixed(limit)) => {
            writeln!(out, "SSO sessions end after {} idle.", format_duration(limit))?;
        }
        Some(SsoMaxIdle::SecurityGroups) => {
            writeln!(out, "SSO sessions end when the user's security groups say.")?;
        }
    }
    if let Some(path) = &config.state {
        writeln!(out, "The last data is kept in {}.", path.display())?;
        if let Some(trouble) = files::trouble(path) {
            writeln!(
                out,
                "    WARNING: {trouble}. Whoever runs the exporter must be able to write there; \
                 systemd's StateDirectory sees to it at the start"
            )?;
        }
    }
    if config.metrics.username {
        writeln!(out, "Usernames, which are email addresses, are shown to whoever may scrape.")?;
    }
    writeln!(out, "What polling costs, with at most one page a user:")?;
    for (account, cost) in costs(config) {
        describe_cost(account, &cost, config.poll.requests_per_second, out)?;
    }
    describe_series(config, out)
}

fn describe_series(config: &Config, out: &mut String) -> fmt::Result {
    let (known, each) = series(config);
    let detail = config.metrics.detail;
    write!(out, "Series at metrics.detail = \"{detail}\": about {known}")?;
    let found = |network: &Network| matches!(network.users, UsersConfig::All(_));
    if each > 0 && config.networks.iter().any(found) {
        write!(out, ", and {each} more for each user that is found")?;
    }
    writeln!(
        out,
        ", if each user has {DEVICES_A_USER} devices and the devices of a network are of {TYPES} types"
    )
}

fn describe_cost(account: Account, cost: &Cost, ceiling: f64, out: &mut String) -> fmt::Result {
    let mut place = account.region;
    for (word, name) in [("with profile", account.profile), ("as", account.role_arn)] {
        if !name.is_empty() {
            place = format!("{place} {word} {name}");
        }
    }
    if cost.unknown {
        let whole = ROOM * ceiling;
        writeln!(
            out,
            "  {place}: users are looked up; an interval of 5m has room for {:.0} of them, one of 1h for {:.0}",
            whole * 300.0,
            whole * 3600.0,
        )?;
        if cost.users == 0 {
            return Ok(());
        }
    }
    let users = counted(cost.users, "user", "users");
    let (hourly, share) =
        (grouped((cost.per_second * 3600.0).round() as usize), cost.per_second / ceiling * 100.0);
    writeln!(
        out,
        "  {place}: {users}, {hourly} requests an hour, {share:.1} % of the {ceiling} a second that are allowed"
    )?;
    let whole = Duration::from_secs_f64(cost.users as f64 / ceiling);
    writeln!(
        out,
        "    one poll of all of them takes at least {}; the shortest interval for that is {}",
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
    match &network.users {
        UsersConfig::Listed(users) => writeln!(out, "  users        {} listed", users.len())?,
        UsersConfig::All(filter) => writeln!(out, "  users        {}", described(filter))?,
    }
    writeln!(
        out,
        "  polled       every {}; what cannot be read is served as stale for {}",
        format_duration(poll.interval),
        format_duration(poll.stale_after)
    )
}

/// Whom a filter lets pass.
fn described(filter: &FilterConfig) -> String {
    let mut text = "all that there are".to_owned();
    if let Some(status) = filter.status {
        text.push_str(&format!(", {status} ones only"));
    }
    if !filter.groups.is_empty() {
        text.push_str(&format!(", of group {}", filter.groups.join(" or ")));
    }
    if let Some(pattern) = &filter.username {
        text.push_str(&format!(", whose username matches {pattern}"));
    }
    text
}

/// How many users of a network this process polls, as far as that is written down.
fn listed(network: &Network, shard: Shard) -> usize {
    let listed = match &network.users {
        UsersConfig::Listed(users) => users.len(),
        UsersConfig::All(_) => 0,
    };
    match shard {
        Shard::Of { total, .. } => listed.div_ceil(total.max(1) as usize),
        Shard::Auto => listed,
    }
}

/// What one account is asked.
#[derive(Debug, Default)]
struct Cost {
    users: usize,
    /// There are users beyond those, who are to be looked up.
    unknown: bool,
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
        let users = listed(network, config.shard);
        cost.users += users;
        cost.unknown |= matches!(network.users, UsersConfig::All(_));
        cost.per_second += users as f64 / network.poll.interval.as_secs_f64();
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
/// Series of what is listed, and of each user beyond that.
fn series(config: &Config) -> (usize, usize) {
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
    let users: usize = config.networks.iter().map(|network| listed(network, config.shard)).sum();
    (config.networks.len() * network + users * each_user, each_user)
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
            "us-east-1: 3,600 users, 43,200 requests an hour, 120.0 % of the 10 a second",
            "takes at least 6m; the shortest interval for that is 10m",
            "WARNING",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("sernames") && !text.contains("that is found"), "{text}");
        let text = check(&parsed(
            "[aws]\nregion = \"us-east-1\"\n[[network]]\nid = \"12345678\"\nusers = \"all\"",
        ));
        assert!(text.contains(", and 25 more for each user that is found, if each"), "{text}");
    }

    #[test]
    fn it_warns_of_a_state_that_cannot_be_kept_and_says_what_is_shown_of_people() {
        let folder = tempfile::tempdir().unwrap();
        let about = |path: &std::path::Path| {
            check(&parsed(&format!(
                "[aws]\nregion = \"us-east-1\"\n[metrics]\nusername = true\n\
                 [state]\npath = {path:?}\n[[network]]\nid = \"12345678\"\nusers = \"all\"\n"
            )))
        };
        let good = about(&folder.path().join("state"));
        assert!(!good.contains("WARNING"), "{good}");
        assert!(good.contains("email addresses, are shown"), "{good}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing stays behind");
        let missing = about(&folder.path().join("missing/state"));
        assert!(missing.contains("WARNING: its folder"), "{missing}");
        let taken = about(folder.path());
        assert!(taken.contains("WARNING: it is no regular file"), "{taken}");
    }
}
