//! `check`: describes what a configuration does and how many requests and series it causes.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use humantime::format_duration;

use super::{accounts::RateLimitKey, collecting, files, settings_summary};
use crate::{
    collectors::CollectorRef,
    config::{
        CollectorsConfig, Config, Detail, FilterConfig, NetworkConfig, ShardConfig, SsoMaxIdle,
        UsersConfig,
    },
    text::{counted, grouped},
};

/// Assumed devices per user, for the estimate of series.
const DEVICES_PER_USER: usize = 3;
/// Assumed device types per network: those of the API reference.
const TYPES: usize = 4;
/// Fraction of the rate limit that polls can use; the rest is for retries and further pages.
const MAX_UTILIZATION: f64 = 0.8;

/// Describes `config`, in which a region can be unknown.
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
        ShardConfig::Of { total: 1, .. } => {}
        ShardConfig::Of { index, total } => {
            writeln!(out, "Shard {index} of {total}: polls about one user in {total}.")?;
        }
        ShardConfig::Auto => writeln!(
            out,
            "The shard comes from the StatefulSet. The numbers below are for all shards."
        )?,
    }
    match config.sso {
        None => {}
        Some(SsoMaxIdle::Fixed(limit)) => {
            writeln!(out, "SSO sessions end after {} without a login.", format_duration(limit))?;
        }
        Some(SsoMaxIdle::SecurityGroups) => {
            writeln!(out, "SSO sessions end at the limits of the security groups.")?;
        }
    }
    if let Some(path) = &config.state {
        writeln!(out, "State files: {}.NETWORK_ID", path.display())?;
        if let Some(problem) = files::write_problem(path) {
            writeln!(
                out,
                "    WARNING: {problem}. The exporter's user must be able to write it; systemd's \
                 StateDirectory creates the directory at the start"
            )?;
        }
    }
    if config.metrics.username {
        writeln!(out, "Usernames, which are email addresses, are in the metrics.")?;
    }
    writeln!(out, "Cost of polling, with one page per user:")?;
    for (account, cost) in costs(config) {
        describe_cost(account, &cost, config.poll.requests_per_second, out)?;
    }
    let collectors = collecting::of_shard(config);
    if collectors.enable.len() < config.collectors.enable.len() {
        writeln!(out, "Collectors run in shard 0 only.")?;
    }
    describe_collectors(&collectors, config, out)?;
    describe_series(config, out)
}

fn describe_collectors(
    collectors: &CollectorsConfig,
    config: &Config,
    out: &mut String,
) -> fmt::Result {
    if collectors.enable.is_empty() {
        return Ok(());
    }
    let interval = collectors.interval;
    writeln!(out, "Collectors, every {} in each network:", format_duration(interval))?;
    let hourly = |requests: usize| {
        let requests = requests as f64 * 3600.0 / interval.as_secs_f64();
        if requests < 10.0 { format!("{requests:.1}") } else { grouped(requests.round() as usize) }
    };
    let mut total = 0;
    for collector in &collectors.enable {
        let mut requests = 0;
        let names = collector.operations().iter().map(|operation| {
            let networks = config.networks.iter();
            match collecting::discovered_with(*operation, config, networks) {
                Some(discovered) => format!("{} of discovery", discovered.as_str()),
                None => {
                    requests += 1;
                    operation.as_str().to_owned()
                }
            }
        });
        let names: Vec<_> = names.collect();
        total += requests;
        let (name, hourly) = (collector.name(), hourly(requests));
        writeln!(out, "  {name:<15} {hourly} requests per hour: {}", names.join(", "))?;
    }
    writeln!(
        out,
        "  {:<15} {} requests per hour, plus further pages of lists",
        "total",
        hourly(total)
    )
}

fn describe_series(config: &Config, out: &mut String) -> fmt::Result {
    let (known, per_user) = series(config);
    write!(out, "Series with metrics.detail = \"{}\": about {known}", config.metrics.detail)?;
    if per_user > 0 && config.networks.iter().any(is_discovered) {
        write!(out, ", plus {per_user} per discovered user")?;
    }
    let enabled = collecting::of_shard(config).enable;
    let has = |label| enabled.iter().any(|collector| families_by(*collector, label) > 0);
    if has("bot_id") {
        write!(out, ", plus 3 per bot")?;
    }
    if has("group_id") {
        write!(out, ", plus about 35 per security group")?;
    }
    writeln!(
        out,
        ", assuming {DEVICES_PER_USER} devices per user and {TYPES} device types per network"
    )
}

fn describe_cost(
    account: RateLimitKey,
    cost: &Cost,
    rate_limit: f64,
    out: &mut String,
) -> fmt::Result {
    let mut name = account.region;
    for (word, value) in [("with profile", account.profile), ("as", account.role_arn)] {
        if !value.is_empty() {
            name = format!("{name} {word} {value}");
        }
    }
    if cost.has_discovery {
        let capacity = |seconds: f64| grouped((MAX_UTILIZATION * rate_limit * seconds) as usize);
        writeln!(
            out,
            "  {name}: users are discovered; at most {} users with an interval of 5m, {} with 1h",
            capacity(300.0),
            capacity(3600.0),
        )?;
        if cost.users == 0 {
            return Ok(());
        }
    }
    let users = counted(cost.users, "user", "users");
    let hourly = grouped((cost.per_second * 3600.0).round() as usize);
    let percent = cost.per_second / rate_limit * 100.0;
    writeln!(
        out,
        "  {name}: {users}, {hourly} requests per hour, {percent:.1} % of the limit of {rate_limit} per second"
    )?;
    let poll = Duration::from_secs_f64(cost.users as f64 / rate_limit);
    writeln!(
        out,
        "    a poll of all users takes at least {}; the shortest suitable interval is {}",
        human(poll),
        human(shortest_interval(poll)),
    )?;
    if cost.per_second > rate_limit * MAX_UTILIZATION {
        let problem = if cost.per_second > rate_limit {
            "polls will exceed the interval"
        } else {
            "no time is left for retries and additional pages"
        };
        writeln!(
            out,
            "    WARNING: {problem}. Increase poll.interval, or poll.requests_per_second if the service allows it"
        )?;
    }
    Ok(())
}

fn describe_network(network: &NetworkConfig, out: &mut String) -> fmt::Result {
    let aws = &network.aws;
    match &network.name {
        Some(name) => writeln!(out, "network {} ({name})", network.id)?,
        None => writeln!(out, "network {}", network.id)?,
    }
    settings_summary::write(aws, out)?;
    let poll = &network.poll;
    match &network.users {
        UsersConfig::Listed(users) => writeln!(out, "  users        {} listed", users.len())?,
        UsersConfig::All(filter) => writeln!(out, "  users        {}", describe_filter(filter))?,
    }
    writeln!(
        out,
        "  polls        every {}; users that cannot be read stay stale for {}",
        format_duration(poll.interval),
        format_duration(poll.stale_after)
    )
}

fn describe_filter(filter: &FilterConfig) -> String {
    let mut text = "all".to_owned();
    if let Some(status) = filter.status {
        text.push_str(&format!(", only {status}"));
    }
    if !filter.groups.is_empty() {
        text.push_str(&format!(", in group {}", filter.groups.join(" or ")));
    }
    if let Some(pattern) = &filter.username {
        text.push_str(&format!(", username matches {pattern}"));
    }
    text
}

/// Users in the configuration of a network that this process polls.
fn listed(network: &NetworkConfig, shard: ShardConfig) -> usize {
    let listed = match &network.users {
        UsersConfig::Listed(users) => users.len(),
        UsersConfig::All(_) => 0,
    };
    match shard {
        ShardConfig::Of { total, .. } => listed.div_ceil(total.max(1) as usize),
        ShardConfig::Auto => listed,
    }
}

/// The cost of polling one account.
#[derive(Debug, Default)]
struct Cost {
    /// Configured users.
    users: usize,
    /// There are also discovered users.
    has_discovery: bool,
    /// Requests per second for the configured users.
    per_second: f64,
}

fn costs(config: &Config) -> BTreeMap<RateLimitKey, Cost> {
    let mut costs: BTreeMap<RateLimitKey, Cost> = BTreeMap::new();
    for network in &config.networks {
        let mut account = RateLimitKey::of(&network.aws);
        if account.region.is_empty() {
            account.region = "region of the instance".into();
        }
        let cost = costs.entry(account).or_default();
        let users = listed(network, config.shard);
        cost.users += users;
        cost.has_discovery |= matches!(network.users, UsersConfig::All(_));
        cost.per_second += users as f64 / network.poll.interval.as_secs_f64();
    }
    costs
}

/// The shortest round interval that leaves a reserve for a poll of this duration.
fn shortest_interval(poll: Duration) -> Duration {
    const STEPS: [u64; 14] = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    let needed = poll.as_secs_f64() / MAX_UTILIZATION;
    let step = STEPS.into_iter().find(|step| *step as f64 >= needed);
    let hours = || (needed / 3600.0).ceil() as u64 * 3600;
    Duration::from_secs(step.unwrap_or_else(hours))
}

/// Rounded to seconds from 10 s, and to tenths below.
fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Families of a collector that have this label after `network_id`.
fn families_by(collector: CollectorRef, label: &str) -> usize {
    collector.families().iter().filter(|family| family.labels.get(1) == Some(&label)).count()
}

/// Estimated series of a collector in each network: 3 are about its runs, and a family by status or
/// setting has about 3. Those of bots and security groups are extra.
fn collector_series(collector: CollectorRef) -> usize {
    let families = collector.families().iter();
    let single = families.filter(|family| family.labels.len() == 1).count();
    3 + single + 3 * (families_by(collector, "status") + families_by(collector, "setting"))
}

fn is_discovered(network: &NetworkConfig) -> bool {
    matches!(network.users, UsersConfig::All(_))
}

/// Estimated series for the configured users, and for each discovered user.
fn series(config: &Config) -> (usize, usize) {
    let histogram = config.metrics.idle_buckets.len() + 3;
    // 31 do not depend on device types, such as wickr_up. Discovery adds 3, for the network and each user.
    let (sso_types, sso_users) = match config.sso {
        None => (0, 0),
        Some(_) => (1 + config.sso_expiring_within.len(), 2),
    };
    let collectors: usize =
        collecting::of_shard(config).enable.into_iter().map(collector_series).sum();
    let network = 31 + TYPES * (4 + histogram + sso_types) + collectors;
    let user = 4 + sso_users + 2 * DEVICES_PER_USER.min(TYPES);
    let device = 5 * DEVICES_PER_USER;
    let (listed_user, discovered_user) = match config.metrics.detail {
        Detail::Network => (0, 0),
        Detail::User => (user, user + 3),
        Detail::Device => (user + device, user + 3 + device),
    };
    let series_of = |users: &NetworkConfig| {
        network + if is_discovered(users) { 3 } else { listed(users, config.shard) * listed_user }
    };
    (config.networks.iter().map(series_of).sum(), discovered_user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parsed(text: &str) -> Config {
        config::parse(text, "test").unwrap()
    }

    #[test]
    fn describes_the_cost_of_polling() {
        let users: Vec<_> = (1..=3600).collect();
        let config = parsed(&format!(
            "[aws]\nregion = \"us-east-1\"\n[[network]]\nid = \"12345678\"\nname = \"prod\"\nusers = {users:?}"
        ));
        let text = check(&config);
        for part in [
            "network 12345678 (prod)",
            "https://admin.wickr.us-east-1.amazonaws.com",
            "us-east-1: 3,600 users, 43,200 requests per hour, 120.0 % of the limit of 10 per second",
            "takes at least 6m; the shortest suitable interval is 10m",
            "WARNING",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("sernames") && !text.contains("discovered"), "{text}");
        let text = check(&parsed(
            "[aws]\nregion = \"us-east-1\"\n[[network]]\nid = \"12345678\"\nusers = \"all\"",
        ));
        assert!(text.contains(", plus 28 per discovered user, assuming"), "{text}");
    }

    #[test]
    fn only_the_first_shard_has_collectors_and_their_series() {
        let shard = |index: u32, enable: &str| {
            check(&parsed(&format!(
                "[aws]\nregion = \"us-east-1\"\n{enable}\n\
                 [shard]\nindex = {index}\ntotal = 2\n[[network]]\nid = \"12345678\"\nusers = [\"1\"]\n"
            )))
        };
        let enable = |names: &str| format!("[collectors]\nenable = [{names}]");
        let series = |text: &str| {
            let (_, rest) = text.split_once("\": about ").unwrap();
            rest.split([',', '\n']).next().unwrap().parse::<usize>().unwrap()
        };
        let (none, first) =
            (shard(0, ""), shard(0, &enable("\"accounts\", \"bots\", \"security-groups\"")));
        // accounts 4, bots 3 and 3 about the runs of each.
        assert_eq!(series(&first) - series(&none), 4 + 3 + 9);
        for part in ["accounts  ", ", plus 3 per bot, plus about 35 per security group, assuming"] {
            assert!(first.contains(part), "{part} in {first}");
        }
        let second = shard(1, &enable("\"accounts\", \"bots\""));
        assert_eq!(series(&second), series(&none));
        assert!(second.contains("Collectors run in shard 0 only.\n"), "{second}");
        assert!(!second.contains("ListBots") && !second.contains("per bot"), "{second}");
    }

    #[test]
    fn collectors_have_no_cost_for_what_discovery_reads() {
        let costs = |network: &str, more: &str| {
            let text = check(&parsed(&format!(
                "[aws]\nregion = \"us-east-1\"\n\
                 [collectors]\nenable = [\"accounts\", \"network\", \"security-groups\"]\n{more}\n\
                 [[network]]\nid = \"{network}\"\nusers = \"all\"\n"
            )));
            let (_, costs) = text.split_once("in each network:\n").unwrap();
            costs.lines().skip(1).take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            costs("12345678", ""),
            [
                "  network         2.0 requests per hour: GetNetwork, GetNetworkSettings",
                "  security-groups 1.0 requests per hour: ListSecurityGroups",
                "  total           4.0 requests per hour, plus further pages of lists",
            ]
        );
        assert_eq!(
            costs("all", "[sso]\nmax_idle = \"security-groups\""),
            [
                "  network         1.0 requests per hour: ListNetworks of discovery, GetNetworkSettings",
                "  security-groups 0.0 requests per hour: ListSecurityGroups of discovery",
                "  total           2.0 requests per hour, plus further pages of lists",
            ]
        );
        // Discovery is less frequent.
        assert_eq!(
            costs("all", "[discovery]\ninterval = \"2h\"\n[sso]\nmax_idle = \"security-groups\""),
            costs("12345678", "")
        );
    }

    #[test]
    fn warns_about_an_unwritable_state_file_and_shown_usernames() {
        let folder = tempfile::tempdir().unwrap();
        let checked = |path: &std::path::Path| {
            check(&parsed(&format!(
                "[aws]\nregion = \"us-east-1\"\n[metrics]\nusername = true\n\
                 [state]\npath = {path:?}\n[[network]]\nid = \"12345678\"\nusers = \"all\"\n"
            )))
        };
        let valid = checked(&folder.path().join("state"));
        assert!(!valid.contains("WARNING"), "{valid}");
        assert!(valid.contains("email addresses, are in the metrics"), "{valid}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "no temporary file");
        let missing = checked(&folder.path().join("missing/state"));
        assert!(missing.contains("WARNING: its directory"), "{missing}");
        let directory = checked(folder.path());
        assert!(directory.contains("WARNING: it is not a regular file"), "{directory}");
    }
}
