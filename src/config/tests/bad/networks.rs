//! Invalid networks.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
    (
        "# network: none",
        &[
            r#"f:1:1: network: is missing; add [[network]] with id = "12345678" and users = ["1001"]"#,
        ],
    ),
    (
        "network = []",
        &[
            r#"f:1:11: network: must be [[network]] with id = "12345678" and users = ["1001"], not an empty list"#,
        ],
    ),
    (
        r#"[network]
id = "12345678""#,
        &[
            r#"f:1:1: network: must be [[network]] with id = "12345678" and users = ["1001"], not a table"#,
        ],
    ),
    ("network = [1]", &["f:1:12: network[1]: must be a table, not an integer"]),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
interval = "5m"
aws.page_size = 3"#,
        &[
            "f:4:1: network[1].interval: unknown key; did you mean network[1].poll.interval?",
            "f:5:5: network[1].aws.page_size: unknown key; did you mean network[1].poll.page_size?",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
poll = { concurrency = 1, requests_per_second = 1 }"#,
        &[
            "f:4:10: network[1].poll.concurrency: belongs in [poll]: it applies to all networks",
            "f:4:27: network[1].poll.requests_per_second: belongs in [poll]: it applies to all networks",
        ],
    ),
    (
        r#"[[network]]
name = """#,
        &[
            r#"f:1:1: network[1].id: is missing; set the network's 8 digits, id = "12345678", or id = "all""#,
            r#"f:1:1: network[1].users: is missing; set the user ids, users = ["1001", "1002"], or users = "all""#,
            "f:2:8: network[1].name: must not be empty",
        ],
    ),
    (
        "[[network]]
id = 1234567
users = []",
        &[
            "f:2:6: network[1].id: 1234567 is not valid: a network id is exactly 8 digits",
            r#"f:3:9: network[1].users: must be a list, such as ["1001", "1002"], not an empty list"#,
        ],
    ),
    (
        r#"[[network]]
id = "1234567a"
users = "1001""#,
        &[
            r#"f:2:6: network[1].id: "1234567a" is not valid: a network id is exactly 8 digits"#,
            r#"f:3:9: network[1].users: must be a list of ids, such as ["1001", "1002"], or "all", not "1001""#,
        ],
    ),
    (
        r#"[[network]]
id = 12345678.0
users = ["", -1, 12345678901, 1.5, "1", 1]"#,
        &[
            "f:2:6: network[1].id: must be an id in quotes, not 12345678.0",
            r#"f:3:10: network[1].users[1]: "" is not valid: a user id is 1 to 10 digits"#,
            "f:3:14: network[1].users[2]: -1 is not valid: a user id is 1 to 10 digits",
            "f:3:18: network[1].users[3]: 12345678901 is not valid: a user id is 1 to 10 digits",
            "f:3:31: network[1].users[4]: must be an id in quotes, not 1.5",
            "f:3:41: network[1].users[6]: 1 is a duplicate of network[1].users[5]",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
[[network]]
id = 12345678
users = ["1"]"#,
        &[r#"f:5:6: network[2].id: "12345678" is a duplicate of network[1]"#],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
aws.external_id = "xyz""#,
        &["f:4:19: network[1].aws.external_id: has no effect without role_arn; set it too"],
    ),
    (
        r#"[aws]
fips = true
[[network]]
id = "12345678"
users = ["1"]
aws.endpoint_url = "https://example.com""#,
        &[
            "f:6:20: network[1].aws.endpoint_url: conflicts with aws.fips = true, which selects an AWS endpoint; remove one",
        ],
    ),
    (
        r#"[aws]
endpoint_url = "https://example.com"
[[network]]
id = "12345678"
users = ["1"]
aws.dual_stack = true"#,
        &[
            "f:6:18: network[1].aws.dual_stack: conflicts with aws.endpoint_url, which replaces the AWS endpoint; remove one",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
poll = { interval = "1h", stale_after = "30m" }"#,
        &[
            "f:4:41: network[1].poll.stale_after: must be at least network[1].poll.interval, which is 1h, not 30m",
        ],
    ),
    (
        r#"[poll]
interval = "2h"
[[network]]
id = "12345678"
users = ["1"]
poll.stale_after = "1h""#,
        &[
            "f:6:20: network[1].poll.stale_after: must be at least poll.interval, which is 2h, not 1h",
        ],
    ),
];
