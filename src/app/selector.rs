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

fn first_eight_bytes(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn id_of(top: &str, network: &str) -> u64 {
        let text = format!("{top}[[network]]\nid = \"12345678\"\nusers = \"all\"\n{network}");
        let config = config::parse(&text, "test").unwrap();
        id(&config.networks[0].users, config.shard)
    }

    /// If an id changes, restored user lists are incomplete until the first discovery.
    #[test]
    fn ids_match_those_in_state_files() {
        assert_eq!(id_of("", ""), 9_443_680_279_560_433_059);
        let filter =
            "filter = { status = \"active\", groups = [\"a\", \"b\"], username = \"x\\\\.y\" }\n";
        let shard = "[shard]\nindex = 1\ntotal = 2\n";
        assert_eq!(id_of(shard, filter), 14_813_307_018_753_008_865);
    }

    #[test]
    fn ids_differ_only_for_different_selections() {
        let all = id_of("", "");
        for same in ["name = \"x\"\n", "poll.interval = \"7m\"\n", "filter = {}\n"] {
            assert_eq!(id_of("", same), all, "{same}");
        }
        assert_eq!(id_of("[sso]\nmax_idle = \"1h\"\n", ""), all);
        let others = [
            id_of("", "filter = { status = \"active\" }\n"),
            id_of("", "filter = { groups = [\"a\"] }\n"),
            id_of("", "filter = { groups = [\"a\", \"b\"] }\n"),
            id_of("", "filter = { username = \"a\" }\n"),
            id_of("", "filter = { username = \"b\" }\n"),
            id_of("[shard]\nindex = 0\ntotal = 2\n", ""),
            id_of("[shard]\nindex = 1\ntotal = 2\n", ""),
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&all]).collect();
        assert_eq!(distinct.len(), others.len() + 1, "{others:?}");
    }
}
