//! `check --online`: reads one page of each list that the configuration needs.

use std::{fmt::Write as _, sync::Arc};

use super::{AppError, accounts::Accounts, collecting, progress::Bar};
use crate::{
    clock::Clock,
    collectors::{Api, Discovered, LastLookup},
    config::{Config, NetworkConfig, NetworkSelector, SsoMaxIdle, UserStatus, UsersConfig},
    telemetry::Metrics,
    text::counted,
    wickr::{
        self, Client, ConcurrencyLimiter, Error, ErrorKind, NetworkId, NetworkLimiter,
        SecurityGroup, UserId,
    },
};

/// Users to try per network. A network fails only if all of them are unknown.
const MAX_USERS: usize = 5;

/// Signs in, reads one page from each network and runs each collector of this process. Each network must
/// have a region. Returns a line for each network and collector, and whether all succeeded.
///
/// # Errors
///
/// Setup failed.
pub async fn check_online(config: &Config) -> Result<(String, bool), AppError> {
    let metrics = Metrics::new().map_err(AppError::setup)?;
    let mut accounts = Accounts::new(None, Arc::default(), Arc::new(metrics), Clock::system());
    accounts.set_limits(config);
    let limiter = ConcurrencyLimiter::new(1).open();
    let by_groups = config.sso == Some(SsoMaxIdle::SecurityGroups);
    let collectors = collecting::of_shard(config);
    let mut lines = Vec::new();
    for network in &config.networks {
        let client = accounts.client(network).map_err(AppError::Setup)?;
        let found = LastLookup::new(false);
        let discovered = Discovered { networks: found.reader(), ..Discovered::default() };
        let ids = match &network.id {
            NetworkSelector::One(id) => Ok(vec![id.clone()]),
            NetworkSelector::All => client.networks(&limiter).await.map(|(networks, _)| {
                found.set(Ok(&networks));
                networks.into_iter().map(|network| network.id).collect()
            }),
        };
        match ids {
            Err(error) => lines.push(("all networks".to_owned(), Err(error))),
            Ok(ids) if ids.is_empty() => {
                lines.push((
                    "all networks".to_owned(),
                    Ok("OK, but there is no network".to_owned()),
                ));
            }
            Ok(ids) => {
                let (bar, total) = (Bar::new("networks"), ids.len());
                for (done, id) in ids.into_iter().enumerate() {
                    bar.set(done, total);
                    let result = probe(&client, network, &id, by_groups, &limiter).await;
                    lines.push((format!("network {id}"), result));
                    for collector in &collectors.enable {
                        let (client, limiter) = (&*client, &limiter);
                        let api = Api { client, network: &id, limiter, discovered: &discovered };
                        let result = collector.collect(api).await.map(|collection| {
                            format!("OK, {}", counted(collection.samples.len(), "value", "values"))
                        });
                        lines.push((format!("network {id}, {}", collector.name()), result));
                    }
                }
            }
        }
    }
    let successful = lines.iter().all(|(_, result)| result.is_ok());
    let mut text = String::new();
    for (name, result) in lines {
        let result =
            result.unwrap_or_else(|error| format!("FAILED: {error}\n  {}", error.remedy()));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {result}");
    }
    Ok((text, successful))
}

/// Reads one page of each list of a network and describes the result.
async fn probe(
    client: &Client,
    network: &NetworkConfig,
    id: &NetworkId,
    by_groups: bool,
    limiter: &NetworkLimiter,
) -> Result<String, Error> {
    let mut groups_note = String::new();
    if by_groups {
        let groups = SecurityGroup::parse_all(&client.security_groups(id, limiter).await?)?;
        groups_note = format!("; {}", counted(groups.len(), "security group", "security groups"));
    }
    let users: Vec<UserId> = match &network.users {
        UsersConfig::Listed(users) => {
            if by_groups {
                client.try_users(id, &wickr::ListUsersFilter::default(), limiter).await?;
            }
            users.iter().take(MAX_USERS).cloned().collect()
        }
        UsersConfig::All(filter) => {
            // One list per group, or one for all.
            let groups = filter.groups.iter().cloned().map(Some);
            let groups = if filter.groups.is_empty() { vec![None] } else { groups.collect() };
            let mut users = Vec::new();
            for group in groups {
                let status = filter.status.map(UserStatus::as_number);
                let filter = wickr::ListUsersFilter { status, group };
                let page = client.try_users(id, &filter, limiter).await?;
                users.extend(page.into_iter().filter_map(|user| user.id));
            }
            users.truncate(MAX_USERS);
            users
        }
    };
    let mut not_found = None;
    for user in users {
        match client.try_devices(id, &user, limiter).await {
            Ok(devices) => {
                let devices = counted(devices, "device", "devices");
                return Ok(format!("OK, the first page of user {user} has {devices}{groups_note}"));
            }
            Err(error) if error.kind == ErrorKind::NotFound => not_found = Some(error),
            Err(error) => return Err(error),
        }
    }
    match not_found {
        Some(error) => Err(error),
        None => {
            Ok(format!("OK, but there is no user, or none that matches the filter{groups_note}"))
        }
    }
}
