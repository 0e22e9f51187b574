//! Identifies which users a configuration selects.
//!
//! The state file stores this id with the discovered user list. A list that was discovered for another
//! selection is incomplete. The id must be stable across releases, so it hashes an explicit encoding.

use sha2::{Digest, Sha256};

use crate::config::{FilterConfig, ShardConfig, UsersConfig};

/// The id of the selection. Encoding version 1: named, length-prefixed fields.
pub(super) fn id(users: &UsersConfig, shard: ShardConfig) -> u64 {
    let mut hash = Sha256::new_with_prefix("wickr-exporter user selector 1\n");
    let mut field = |name: &str, value: &str| {
        hash.update(format!("{name} {}\n{value}\n", value.len()));
    };
    match users {
        UsersConfig::Listed(ids) => ids.iter().for_each(|id| field("user", id.as_str())),
        UsersConfig::All(FilterConfig { status, groups, username }) => {
            field("users", "all");
            status.iter().for_each(|status| field("status", status.as_str()));
            groups.iter().for_each(|group| field("group", group));
            username.iter().for_each(|pattern| field("username", pattern.as_str()));
        }
    }
    match shard {
        ShardConfig::Of { index, total } => field("shard", &format!("{index}/{total}")),
        ShardConfig::Auto => field("shard", "auto"),
    }
    first_eight_bytes(&hash.finalize())
}

/// The id that versions up to 0.1.0 wrote, a hash of Rust debug output. `None` for a configured
/// user list, which they did not store.
pub(super) fn former_id(users: &UsersConfig, shard: ShardConfig) -> Option<u64> {
    let UsersConfig::All(FilterConfig { status, groups, username }) = users else { return None };
    let status = match status.map(|status| status.as_str()) {
        None => "None",
        Some("pending") => "Some(Pending)",
        Some(_) => "Some(Active)",
    };
    let username = match username {
        None => "None".to_owned(),
        Some(pattern) => format!("Some({:?})", pattern.as_str()),
    };
    let shard = match shard {
        ShardConfig::Of { index, total } => format!("Of {{ index: {index}, total: {total} }}"),
        ShardConfig::Auto => "Auto".to_owned(),
    };
    let text = format!(
        "All(UserFilter {{ status: {status}, groups: {groups:?}, username: {username} }}) {shard}"
    );
    Some(first_eight_bytes(&Sha256::digest(text)))
}

fn first_eight_bytes(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn ids(top: &str, network: &str) -> (u64, Option<u64>) {
        let text = format!("{top}[[network]]\nid = \"12345678\"\nusers = \"all\"\n{network}");
        let config = config::parse(&text, "test").unwrap();
        let users = &config.networks[0].users;
        (id(users, config.shard), former_id(users, config.shard))
    }

    /// If an id changes, restored user lists are incomplete until the first discovery.
    #[test]
    fn ids_match_those_in_state_files() {
        assert_eq!(ids("", ""), (9_443_680_279_560_433_059, Some(12_022_286_461_051_400_518)));
        let filter =
            "filter = { status = \"active\", groups = [\"a\", \"b\"], username = \"x\\\\.y\" }\n";
        let shard = "[shard]\nindex = 1\ntotal = 2\n";
        assert_eq!(ids(shard, filter).1, Some(18_103_107_210_106_028_104));
    }

    #[test]
    fn ids_differ_only_for_different_selections() {
        let all = ids("", "");
        for same in ["name = \"x\"\n", "poll.interval = \"7m\"\n", "filter = {}\n"] {
            assert_eq!(ids("", same), all, "{same}");
        }
        assert_eq!(ids("[sso]\nmax_idle = \"1h\"\n", ""), all);
        let others = [
            ids("", "filter = { status = \"active\" }\n"),
            ids("", "filter = { groups = [\"a\"] }\n"),
            ids("", "filter = { groups = [\"a\", \"b\"] }\n"),
            ids("", "filter = { username = \"a\" }\n"),
            ids("", "filter = { username = \"b\" }\n"),
            ids("[shard]\nindex = 0\ntotal = 2\n", ""),
            ids("[shard]\nindex = 1\ntotal = 2\n", ""),
        ];
        for ids in [|ids: &(u64, Option<u64>)| Some(ids.0), |ids: &(u64, Option<u64>)| ids.1] {
            let distinct: std::collections::BTreeSet<_> =
                others.iter().chain([&all]).map(ids).collect();
            assert_eq!(distinct.len(), others.len() + 1, "{others:?}");
        }
    }
}
