//! What is not written out one by one, and the tables that turn something on.

use super::*;

/// A configuration of these networks.
fn networks(text: &str) -> Vec<Network> {
    parse(text, "f").unwrap_or_else(|error| panic!("{error}\n{text}")).networks
}

#[test]
fn all_networks_and_all_users() {
    let networks = networks(
        r#"
[[network]]
id = "all"
users = "all"
[[network]]
id = "12345678"
users = "all"
name = "written out"
filter = { status = "active", groups = ["g2", "g1"], username = "@example\\.com$" }
"#,
    );
    let [all, one] = &networks[..] else { panic!() };
    assert_eq!((&all.id, all.id.to_string().as_str()), (&NetworkChoice::All, "all"));
    assert_eq!(all.users, UserChoice::All(FilterConfig::default()));
    assert_eq!(one.id.to_string(), "12345678");
    let filter = FilterConfig {
        status: Some(UserStatus::Active),
        groups: vec!["g2".into(), "g1".into()],
        username: Some(r"@example\.com$".parse().unwrap()),
    };
    assert_eq!(one.users, UserChoice::All(filter));
}

#[test]
fn a_filter_may_leave_parts_out() {
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
        assert_eq!(networks(&text)[0].users, UserChoice::All(expected));
    }
}

#[test]
fn all_may_be_asked_for_in_several_places() {
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
fn sso_sessions_end_by_group_or_all_alike() {
    let sso = |max_idle: &str| good(&format!("[sso]\nmax_idle = \"{max_idle}\"")).sso;
    assert_eq!(sso("security-groups"), Some(SsoMaxIdle::SecurityGroups));
    assert_eq!(sso("30d"), Some(SsoMaxIdle::Fixed(secs(30 * 86_400))));
}

#[test]
fn discovery_and_state() {
    let config = good("[discovery]\ninterval = \"90s\"\n[state]\npath = \"/var/lib/w x/state\"");
    assert_eq!(config.discovery, Discovery { interval: secs(90) });
    assert_eq!(config.state.as_deref(), Some(Path::new("/var/lib/w x/state")));
}

#[test]
fn a_shard_is_two_numbers_or_auto() {
    let shard = |text: &str| good(&format!("[shard]\n{text}")).shard;
    assert_eq!(shard(""), Shard::Of { index: 0, total: 1 });
    assert_eq!(shard("total = 1"), Shard::Of { index: 0, total: 1 });
    assert_eq!(shard("index = 2\ntotal = 3"), Shard::Of { index: 2, total: 3 });
    assert_eq!(shard("index = 999\ntotal = 1000"), Shard::Of { index: 999, total: 1000 });
    assert_eq!(shard("index = \"auto\"\ntotal = \"auto\""), Shard::Auto);
}
