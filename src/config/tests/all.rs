//! `"all"`, filters and optional tables.

use super::*;

fn networks(text: &str) -> Vec<NetworkConfig> {
    parse(text, "f").unwrap_or_else(|error| panic!("{error}\n{text}")).networks
}

#[test]
fn reads_all_networks_and_all_users() {
    let networks = networks(
        r#"
[[network]]
id = "all"
users = "all"
[[network]]
id = "12345678"
users = "all"
name = "production"
filter = { status = "active", groups = ["g2", "g1"], username = "@example\\.com$" }
"#,
    );
    let [all, one] = &networks[..] else { panic!() };
    assert_eq!((&all.id, all.id.to_string().as_str()), (&NetworkSelector::All, "all"));
    assert_eq!(all.users, UsersConfig::All(FilterConfig::default()));
    assert_eq!(one.id.to_string(), "12345678");
    let filter = FilterConfig {
        status: Some(UserStatus::Active),
        groups: vec!["g2".into(), "g1".into()],
        username: Some(r"@example\.com$".parse().unwrap()),
    };
    assert_eq!(one.users, UsersConfig::All(filter));
}

#[test]
fn reads_partial_filters() {
    for (filter, expected) in [
        ("{}", FilterConfig::default()),
        (
            "{ status = \"pending\" }",
            FilterConfig { status: Some(UserStatus::Pending), ..FilterConfig::default() },
        ),
        (
            "{ groups = [\"g\"] }",
            FilterConfig { groups: vec!["g".into()], ..FilterConfig::default() },
        ),
    ] {
        let text = format!("[[network]]\nid = \"12345678\"\nusers = \"all\"\nfilter = {filter}");
        assert_eq!(networks(&text)[0].users, UsersConfig::All(expected));
    }
}

#[test]
fn accepts_all_for_several_accounts_and_regions() {
    let networks = networks(
        r#"
[aws]
region = "us-east-1"
[[network]]
id = "all"
users = "all"
[[network]]
id = "all"
users = "all"
aws.region = "eu-central-1"
[[network]]
id = "all"
users = "all"
aws.role_arn = "arn:aws:iam::111122223333:role/r"
[[network]]
id = "all"
users = "all"
aws.profile = "other"
[[network]]
id = "all"
users = "all"
aws.endpoint_url = "https://vpce.example.com"
"#,
    );
    assert_eq!(networks.len(), 5);
}

#[test]
fn reads_the_sso_limit() {
    let sso = |max_idle: &str| parse_with_network(&format!("[sso]\nmax_idle = \"{max_idle}\"")).sso;
    assert_eq!(sso("security-groups"), Some(SsoMaxIdle::SecurityGroups));
    assert_eq!(sso("30d"), Some(SsoMaxIdle::Fixed(secs(30 * 86_400))));
    let within = |text: &str| {
        parse_with_network(&format!("[sso]\nmax_idle = \"30d\"\n{text}")).sso_expiring_within
    };
    assert_eq!(within(""), [secs(86_400), secs(7 * 86_400)]);
    assert_eq!(within("expiring_within = [\"12h\"]"), [secs(43_200)]);
}

#[test]
fn reads_discovery_and_state() {
    let config = parse_with_network(
        "[discovery]\ninterval = \"90s\"\n[state]\npath = \"/var/lib/w x/state\"",
    );
    assert_eq!(config.discovery, DiscoveryConfig { interval: secs(90) });
    assert_eq!(config.state.as_deref(), Some(Path::new("/var/lib/w x/state")));
}

#[test]
fn reads_a_shard_as_two_numbers_or_auto() {
    let shard = |text: &str| parse_with_network(&format!("[shard]\n{text}")).shard;
    assert_eq!(shard(""), ShardConfig::Of { index: 0, total: 1 });
    assert_eq!(shard("total = 1"), ShardConfig::Of { index: 0, total: 1 });
    assert_eq!(shard("index = 2\ntotal = 3"), ShardConfig::Of { index: 2, total: 3 });
    assert_eq!(shard("index = 999\ntotal = 1000"), ShardConfig::Of { index: 999, total: 1000 });
    assert_eq!(shard("index = \"auto\"\ntotal = \"auto\""), ShardConfig::Auto);
}
