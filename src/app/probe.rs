//! `check --online`: one page of everything that would be asked for.

use std::{fmt::Write as _, sync::Arc};

use super::{AppError, accounts::Accounts, progress::Bar};
use crate::{
    config::{Config, Network, NetworkSelector, SsoMaxIdle, UserStatus, UsersConfig},
    query::counted,
    telemetry::Metrics,
    wickr::{
        self, Client, ConcurrencyLimiter, Error, ErrorKind, Interner, NetworkId, NetworkLimiter,
        UserId,
    },
};

/// Users that are tried before a network is taken to be unknown: a few that have left are no
/// failure.
const TRIES: usize = 5;

/// Signs in and reads one page from each network, every one of which names its region. Gives a line
/// for each, and whether all went well.
///
/// # Errors
///
/// When it cannot be set up.
pub async fn check_online(config: &Config) -> Result<(String, bool), AppError> {
    let nobody = Metrics::new().map_err(|error| AppError::Setup(error.to_string()))?;
    let mut accounts = Accounts::new(None, Arc::new(Interner::default()), Arc::new(nobody));
    accounts.adjust(config);
    let lane = ConcurrencyLimiter::new(1).open();
    let (mut text, mut good) = (String::new(), true);
    for network in &config.networks {
        let client = accounts.client(network).map_err(AppError::Setup)?;
        let by_groups = config.sso == Some(SsoMaxIdle::SecurityGroups);
        let ids = match &network.id {
            NetworkSelector::One(id) => Ok(vec![id.clone()]),
            NetworkSelector::All => client
                .networks(&lane)
                .await
                .map(|(networks, _)| networks.into_iter().map(|network| network.id).collect()),
        };
        let lines = match ids {
            Err(error) => vec![("all networks".to_owned(), Err(error))],
            Ok(ids) if ids.is_empty() => {
                vec![("all networks".to_owned(), Ok("good, but there are none".to_owned()))]
            }
            Ok(ids) => {
                let (mut lines, bar) = (Vec::new(), Bar::new("networks"));
                let all = ids.len();
                for (done, id) in ids.into_iter().enumerate() {
                    bar.set(done, all);
                    let tried = try_network(&client, network, &id, by_groups, &lane).await;
                    lines.push((format!("network {id}"), tried));
                }
                lines
            }
        };
        for (name, line) in lines {
            let line = line.unwrap_or_else(|error| {
                good = false;
                format!("FAILED: {error}\n  {}", error.kind.remedy())
            });
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}: {line}");
        }
    }
    Ok((text, good))
}

/// Reads a page of what is to be read of a network, and says what came.
async fn try_network(
    client: &Client,
    network: &Network,
    id: &NetworkId,
    by_groups: bool,
    lane: &NetworkLimiter,
) -> Result<String, Error> {
    let mut more = String::new();
    if by_groups {
        let groups = client.security_groups(id, lane).await?;
        more = format!("; {}", counted(groups.len(), "security group", "security groups"));
    }
    let users: Vec<UserId> = match &network.users {
        UsersConfig::Listed(users) => {
            if by_groups {
                client.try_users(id, &wickr::ListUsersFilter::default(), lane).await?;
            }
            users.iter().take(TRIES).cloned().collect()
        }
        UsersConfig::All(filter) => {
            // A list for each group, or one for all.
            let groups = filter.groups.iter().cloned().map(Some);
            let groups = if filter.groups.is_empty() { vec![None] } else { groups.collect() };
            let mut users = Vec::new();
            for group in groups {
                let status = filter.status.map(UserStatus::as_number);
                let page = wickr::ListUsersFilter { status, group };
                let page = client.try_users(id, &page, lane).await?;
                users.extend(page.into_iter().filter_map(|user| user.id));
            }
            users.truncate(TRIES);
            users
        }
    };
    let mut last = None;
    for user in users {
        match client.try_devices(id, &user, lane).await {
            Ok(devices) => {
                let devices = counted(devices, "device", "devices");
                return Ok(format!("good, the first page of user {user} has {devices}{more}"));
            }
            Err(error) if error.kind == ErrorKind::NotFound => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(error) => Err(error),
        None => {
            Ok(format!("good, but there are no users, or none that the filter lets pass{more}"))
        }
    }
}
