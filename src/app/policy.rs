//! The least IAM policies that a configuration needs: one for each identity that asks.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{
    config::{Config, Network, NetworkSelector, SsoMaxIdle, UsersConfig},
    wickr::{Operation, Partition},
};

/// An IAM policy, its members in the order in which people write them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<String>,
    resource: Vec<String>,
}

/// Who needs a policy. Each may be in an account of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whose credentials are found: by the SDK's default chain, or in a profile.
    Found {
        /// None for the default chain.
        profile: Option<String>,
    },
    /// A role that is assumed on top of those.
    Role {
        /// Its ARN.
        arn: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Found { profile: None } => {
                f.write_str("the identity of the SDK's default credential chain")
            }
            Identity::Found { profile: Some(name) } => write!(f, "the identity of profile {name}"),
            Identity::Role { arn } => write!(f, "the role {arn}"),
        }
    }
}

/// The least IAM policy that each identity of `config` needs: first those whose credentials are
/// found, then the roles, in the order of the configuration. Accounts and regions that it does not
/// name are `*`.
pub fn iam_policies(config: &Config) -> Vec<(Identity, Policy)> {
    let (mut found, mut roles) = (Vec::new(), Vec::new());
    for network in &config.networks {
        let (base, asks) = (base(network), asks(network));
        if !found.contains(&base) {
            found.push(base);
        }
        if matches!(asks, Identity::Role { .. }) && !roles.contains(&asks) {
            roles.push(asks);
        }
    }
    let identities = found.into_iter().chain(roles);
    identities.map(|identity| (identity.clone(), policy(config, &identity))).collect()
}

/// Whose credentials a network's requests begin with.
fn base(network: &Network) -> Identity {
    Identity::Found { profile: network.aws.profile.clone() }
}

/// Who asks the service about a network.
fn asks(network: &Network) -> Identity {
    match &network.aws.role_arn {
        Some(arn) => Identity::Role { arn: arn.clone() },
        None => base(network),
    }
}

fn policy(config: &Config, identity: &Identity) -> Policy {
    let by_groups = config.sso == Some(SsoMaxIdle::SecurityGroups);
    let is_whole = |network: &&Network| network.id == NetworkSelector::All;
    let lists_users =
        |network: &&Network| by_groups || matches!(network.users, UsersConfig::All(_));
    let networks = || config.networks.iter().filter(|network| asks(network) == *identity);
    let assumes = config.networks.iter().filter(|network| base(network) == *identity);
    let statements = [
        statement(Operation::ListDevicesForUser, arns(networks())),
        statement(Operation::ListUsers, arns(networks().filter(lists_users))),
        statement(Operation::ListSecurityGroups, arns(networks().filter(|_| by_groups))),
        // AWS's service authorization reference has it on * alone.
        statement(
            Operation::ListNetworks,
            networks().filter(is_whole).map(|_| "*".to_owned()).collect(),
        ),
        allowing(
            "WickrExporterAssumeRole",
            "sts:AssumeRole".to_owned(),
            assumes.filter_map(|network| network.aws.role_arn.clone()).collect(),
        ),
    ];
    Policy { version: "2012-10-17", statement: statements.into_iter().flatten().collect() }
}

fn statement(operation: Operation, resources: BTreeSet<String>) -> Option<Statement> {
    let sid = match operation {
        Operation::ListDevicesForUser => "WickrExporterReadDevices",
        Operation::ListUsers => "WickrExporterListUsers",
        Operation::ListSecurityGroups => "WickrExporterListSecurityGroups",
        Operation::ListNetworks => "WickrExporterListNetworks",
    };
    allowing(sid, format!("wickr:{}", operation.as_str()), resources)
}

/// None where there is nothing to allow.
fn allowing(sid: &'static str, action: String, resources: BTreeSet<String>) -> Option<Statement> {
    let resource: Vec<_> = resources.into_iter().collect();
    let statement = Statement { sid, effect: "Allow", action: vec![action], resource };
    (!statement.resource.is_empty()).then_some(statement)
}

fn arns<'a>(networks: impl Iterator<Item = &'a Network>) -> BTreeSet<String> {
    networks.map(arn).collect()
}

fn arn(network: &Network) -> String {
    // A role's account is the network's: arn:PARTITION:iam::ACCOUNT:role/NAME.
    let role = network.aws.role_arn.as_deref();
    let account = role.and_then(|arn| arn.split(':').nth(4)).unwrap_or("*");
    let region = network.aws.region.as_deref().unwrap_or("*");
    let partition = network.aws.region.as_deref().map_or("aws", |r| Partition::of_region(r).id);
    let id = match &network.id {
        NetworkSelector::One(id) => id.as_str(),
        NetworkSelector::All => "*",
    };
    format!("arn:{partition}:wickr:{region}:{account}:network/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// An action and its resources.
    type Allowed = (String, Vec<String>);

    /// What each identity is allowed to do.
    fn policies(text: &str) -> Vec<(String, Vec<Allowed>)> {
        let allowed = |policy: Policy| {
            policy.statement.into_iter().map(|s| (s.action.concat(), s.resource)).collect()
        };
        let config = config::parse(text, "test").unwrap();
        let policies = iam_policies(&config).into_iter();
        policies.map(|(identity, policy)| (identity.to_string(), allowed(policy))).collect()
    }

    /// That of the only identity.
    fn policy(text: &str) -> Vec<Allowed> {
        let [(_, policy)] = <[_; 1]>::try_from(policies(text)).unwrap();
        policy
    }

    #[test]
    fn each_identity_has_a_policy_of_its_own() {
        let policies = policies(
            r#"[aws]
            region = "eu-central-1"
            [[network]]
            id = "12345678"
            users = ["1"]
            aws = { region = "us-gov-west-1", role_arn = "arn:aws-us-gov:iam::111122223333:role/r" }
            [[network]]
            id = "87654321"
            users = ["1"]
            [[network]]
            id = "87654322"
            users = ["1"]
            aws = { profile = "other", role_arn = "arn:aws:iam::444455556666:role/s" }
            [[network]]
            id = "87654323"
            users = ["1"]
            aws = { role_arn = "arn:aws:iam::444455556666:role/s" }
            "#,
        );
        let own = |identity: &str, allowed: &[(&str, &[&str])]| {
            let allowed = allowed.iter().map(|(action, resources)| {
                ((*action).to_owned(), resources.iter().map(|r| (*r).to_owned()).collect())
            });
            (identity.to_owned(), allowed.collect::<Vec<Allowed>>())
        };
        let (devices, assume) = ("wickr:ListDevicesForUser", "sts:AssumeRole");
        let (first, second) =
            ("arn:aws-us-gov:iam::111122223333:role/r", "arn:aws:iam::444455556666:role/s");
        let network = |id| format!("arn:aws:wickr:eu-central-1:444455556666:network/{id}");
        assert_eq!(
            policies,
            [
                own(
                    "the identity of the SDK's default credential chain",
                    &[
                        (devices, &["arn:aws:wickr:eu-central-1:*:network/87654321"]),
                        (assume, &[first, second]),
                    ]
                ),
                own("the identity of profile other", &[(assume, &[second])]),
                own(
                    "the role arn:aws-us-gov:iam::111122223333:role/r",
                    &[(
                        devices,
                        &["arn:aws-us-gov:wickr:us-gov-west-1:111122223333:network/12345678"]
                    )]
                ),
                own(
                    "the role arn:aws:iam::444455556666:role/s",
                    &[(devices, &[&network("87654322"), &network("87654323")])]
                ),
            ]
        );
    }

    #[test]
    fn discovery_and_limits_need_their_own_actions_where_they_are_used() {
        let mut text = r#"[aws]
            region = "us-east-1"
            [[network]]
            id = "12345678"
            users = ["1"]
            [[network]]
            id = "all"
            users = "all"
            "#
        .to_owned();
        let one = "arn:aws:wickr:us-east-1:*:network/12345678".to_owned();
        let all = "arn:aws:wickr:us-east-1:*:network/*".to_owned();
        let action = |name: &str, resources: &[&String]| {
            (format!("wickr:{name}"), resources.iter().map(|r| (*r).clone()).collect::<Vec<_>>())
        };
        let any = "*".to_owned();
        assert_eq!(
            policy(&text),
            [
                action("ListDevicesForUser", &[&all, &one]),
                action("ListUsers", &[&all]),
                action("ListNetworks", &[&any]),
            ]
        );
        text.push_str("[sso]\nmax_idle = \"security-groups\"\n");
        assert_eq!(
            policy(&text),
            [
                action("ListDevicesForUser", &[&all, &one]),
                action("ListUsers", &[&all, &one]),
                action("ListSecurityGroups", &[&all, &one]),
                action("ListNetworks", &[&any]),
            ]
        );
    }
}
