//! `check --iam-policy`: the least-privilege IAM policy for each identity that a configuration uses.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::collecting;
use crate::{
    config::{Config, NetworkConfig, NetworkSelector, SsoMaxIdle, UsersConfig},
    wickr::{Operation, Partition},
};

/// An IAM policy, with its members in the customary order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    effect: &'static str,
    action: Vec<String>,
    resource: Vec<String>,
}

/// An identity that sends requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The identity of the credentials from the default chain or a profile.
    Chain {
        /// `None` for the default chain.
        profile: Option<String>,
    },
    /// A role that the other identity assumes.
    Role {
        /// Its ARN.
        arn: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Chain { profile: None } => {
                f.write_str("the identity of the default credential chain")
            }
            Identity::Chain { profile: Some(name) } => write!(f, "the identity of profile {name}"),
            Identity::Role { arn } => write!(f, "the role {arn}"),
        }
    }
}

/// The policy of each identity: first those that assume roles or need none, then the roles, in the
/// order of the configuration. An unknown account or region is `*`.
pub fn iam_policies(config: &Config) -> Vec<(Identity, Policy)> {
    let (mut identities, mut roles) = (Vec::new(), Vec::new());
    for network in &config.networks {
        let (base, caller) = (base_identity(network), caller(network));
        if !identities.contains(&base) {
            identities.push(base);
        }
        if matches!(caller, Identity::Role { .. }) && !roles.contains(&caller) {
            roles.push(caller);
        }
    }
    identities.extend(roles);
    let with_policy = |identity: Identity| {
        let policy = policy(config, &identity);
        (identity, policy)
    };
    identities.into_iter().map(with_policy).collect()
}

/// The identity whose credentials are loaded.
fn base_identity(network: &NetworkConfig) -> Identity {
    Identity::Chain { profile: network.aws.profile.clone() }
}

/// The identity that calls the Wickr API.
fn caller(network: &NetworkConfig) -> Identity {
    match &network.aws.role_arn {
        Some(arn) => Identity::Role { arn: arn.clone() },
        None => base_identity(network),
    }
}

fn policy(config: &Config, identity: &Identity) -> Policy {
    let by_groups = config.sso == Some(SsoMaxIdle::SecurityGroups);
    let is_discovered = |network: &&NetworkConfig| network.id == NetworkSelector::All;
    let lists_users =
        |network: &&NetworkConfig| by_groups || matches!(network.users, UsersConfig::All(_));
    let networks = || config.networks.iter().filter(|network| caller(network) == *identity);
    let assumes = config.networks.iter().filter(|network| base_identity(network) == *identity);
    let statements = [
        statement(Operation::ListDevicesForUser, arns(networks())),
        statement(Operation::ListUsers, arns(networks().filter(lists_users))),
        statement(Operation::ListSecurityGroups, arns(networks().filter(|_| by_groups))),
        allow(
            "WickrExporterCollectors".to_owned(),
            collector_actions(config, networks),
            arns(networks()),
        ),
        // The service authorization reference allows only * for it.
        statement(
            Operation::ListNetworks,
            networks().filter(is_discovered).map(|_| "*".to_owned()).collect(),
        ),
        allow(
            "WickrExporterAssumeRole".to_owned(),
            vec!["sts:AssumeRole".to_owned()],
            assumes.filter_map(|network| network.aws.role_arn.clone()).collect(),
        ),
    ];
    Policy { version: "2012-10-17", statement: statements.into_iter().flatten().collect() }
}

fn statement(operation: Operation, resources: BTreeSet<String>) -> Option<Statement> {
    let sid = match operation {
        Operation::ListDevicesForUser => "WickrExporterReadDevices".to_owned(),
        operation => format!("WickrExporter{}", operation.as_str()),
    };
    allow(sid, vec![action(operation)], resources)
}

fn action(operation: Operation) -> String {
    format!("wickr:{}", operation.as_str())
}

/// The actions of collectors on `networks`, without those for what discovery reads.
fn collector_actions<'a, I: Iterator<Item = &'a NetworkConfig>>(
    config: &Config,
    networks: impl Fn() -> I,
) -> Vec<String> {
    let operations = config.collectors.enable.iter().flat_map(|collector| collector.operations());
    let actions = operations
        .filter(|operation| collecting::discovered_with(**operation, config, networks()).is_none());
    actions.map(|operation| action(*operation)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `None` without resources or actions.
fn allow(sid: String, action: Vec<String>, resources: BTreeSet<String>) -> Option<Statement> {
    let resource: Vec<_> = resources.into_iter().collect();
    let statement = Statement { sid, effect: "Allow", action, resource };
    (!statement.resource.is_empty() && !statement.action.is_empty()).then_some(statement)
}

fn arns<'a>(networks: impl Iterator<Item = &'a NetworkConfig>) -> BTreeSet<String> {
    networks.map(arn).collect()
}

fn arn(network: &NetworkConfig) -> String {
    // The network is in the account of the role: arn:PARTITION:iam::ACCOUNT:role/NAME.
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

    fn policies(text: &str) -> Vec<(String, Vec<Allowed>)> {
        let allowed = |policy: Policy| {
            policy.statement.into_iter().map(|s| (s.action.concat(), s.resource)).collect()
        };
        let config = config::parse(text, "test").unwrap();
        let policies = iam_policies(&config).into_iter();
        policies.map(|(identity, policy)| (identity.to_string(), allowed(policy))).collect()
    }

    #[test]
    fn each_identity_has_its_own_policy() {
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
        let expected = |identity: &str, allowed: &[(&str, &[&str])]| {
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
                expected(
                    "the identity of the default credential chain",
                    &[
                        (devices, &["arn:aws:wickr:eu-central-1:*:network/87654321"]),
                        (assume, &[first, second]),
                    ]
                ),
                expected("the identity of profile other", &[(assume, &[second])]),
                expected(
                    "the role arn:aws-us-gov:iam::111122223333:role/r",
                    &[(
                        devices,
                        &["arn:aws-us-gov:wickr:us-gov-west-1:111122223333:network/12345678"]
                    )]
                ),
                expected(
                    "the role arn:aws:iam::444455556666:role/s",
                    &[(devices, &[&network("87654322"), &network("87654323")])]
                ),
            ]
        );
    }

    #[test]
    fn discovery_and_sso_limits_need_further_actions() {
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
            policies(&text)[0].1,
            [
                action("ListDevicesForUser", &[&all, &one]),
                action("ListUsers", &[&all]),
                action("ListNetworks", &[&any]),
            ]
        );
        text.push_str("[sso]\nmax_idle = \"security-groups\"\n");
        assert_eq!(
            policies(&text)[0].1,
            [
                action("ListDevicesForUser", &[&all, &one]),
                action("ListUsers", &[&all, &one]),
                action("ListSecurityGroups", &[&all, &one]),
                action("ListNetworks", &[&any]),
            ]
        );
        // Collectors need no action for what discovery reads.
        text.push_str("[collectors]\nenable = [\"network\", \"security-groups\"]\n");
        let of_collectors = |text: &str| policies(text)[0].1[3].clone();
        let settings = action("GetNetworkSettings", &[&all, &one]);
        let both = ("wickr:GetNetwork".to_owned() + &settings.0, settings.1.clone());
        assert_eq!(of_collectors(&text), both);
        let by_id = "[[network]]\n            id = \"12345678\"\n            users = [\"1\"]\n";
        assert_eq!(of_collectors(&text.replace(by_id, "")).0, settings.0);
    }
}
