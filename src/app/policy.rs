//! The least IAM policy that a configuration needs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    config::{Config, Network, NetworkChoice, SsoMaxIdle, UserChoice},
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

/// The least IAM policy that `config` needs. Accounts and regions that the configuration does not
/// name are `*`. AWS's service authorization reference has ListNetworks on `*` alone.
pub fn iam_policy(config: &Config) -> Policy {
    let by_groups = config.sso == Some(SsoMaxIdle::SecurityGroups);
    let is_whole = |network: &&Network| network.id == NetworkChoice::All;
    let lists_users = |network: &&Network| by_groups || matches!(network.users, UserChoice::All(_));
    let networks = || config.networks.iter();
    let statements = [
        statement(Operation::ListDevicesForUser, arns(networks())),
        statement(Operation::ListUsers, arns(networks().filter(lists_users))),
        statement(Operation::ListSecurityGroups, arns(networks().filter(|_| by_groups))),
        statement(
            Operation::ListNetworks,
            networks().filter(is_whole).map(|_| "*".to_owned()).collect(),
        ),
    ];
    Policy { version: "2012-10-17", statement: statements.into_iter().flatten().collect() }
}

/// None where there is nothing to allow.
fn statement(operation: Operation, resources: BTreeSet<String>) -> Option<Statement> {
    let sid = match operation {
        Operation::ListDevicesForUser => "WickrExporterReadDevices",
        Operation::ListUsers => "WickrExporterListUsers",
        Operation::ListSecurityGroups => "WickrExporterListSecurityGroups",
        Operation::ListNetworks => "WickrExporterListNetworks",
    };
    let action = vec![format!("wickr:{}", operation.as_str())];
    let resource: Vec<_> = resources.into_iter().collect();
    (!resource.is_empty()).then_some(Statement { sid, effect: "Allow", action, resource })
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
        NetworkChoice::One(id) => id.as_str(),
        NetworkChoice::All => "*",
    };
    format!("arn:{partition}:wickr:{region}:{account}:network/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn policy(text: &str) -> Vec<(String, Vec<String>)> {
        let policy = iam_policy(&config::parse(text, "test").unwrap());
        policy.statement.into_iter().map(|s| (s.action.concat(), s.resource)).collect()
    }

    #[test]
    fn each_network_is_named_in_its_partition_and_account() {
        let policy = policy(
            r#"[[network]]
            id = "12345678"
            users = ["1"]
            aws = { region = "us-gov-west-1", role_arn = "arn:aws-us-gov:iam::111122223333:role/r" }
            [[network]]
            id = "87654321"
            users = ["1"]
            aws = { region = "eu-central-1" }"#,
        );
        let devices = [
            "arn:aws-us-gov:wickr:us-gov-west-1:111122223333:network/12345678",
            "arn:aws:wickr:eu-central-1:*:network/87654321",
        ];
        assert_eq!(
            policy,
            [("wickr:ListDevicesForUser".to_owned(), devices.map(Into::into).into())]
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
