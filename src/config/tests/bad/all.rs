//! Invalid networks with `"all"`, and invalid filters.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
    (
        r#"[[network]]
id = "12345678"
users = ["1001"]
filter = { status = "active" }"#,
        &[r#"f:4:10: network[1].filter: requires users = "all", but users is a list; remove one"#],
    ),
    (
        r#"[[network]]
id = "12345678"
filter = 5"#,
        &[
            r#"f:1:1: network[1].users: is missing; set the user ids, users = ["1001", "1002"], or users = "all""#,
            "f:3:10: network[1].filter: must be a table, not an integer",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = "all"
filter = { status = "actve", group = ["1"], groups = [], usernames = "x" }"#,
        &[
            r#"f:4:21: network[1].filter.status: must be "pending" or "active", not "actve""#,
            "f:4:30: network[1].filter.group: unknown key; did you mean network[1].filter.groups?",
            r#"f:4:54: network[1].filter.groups: must be a list, such as ["security-group-id"], not an empty list"#,
            "f:4:58: network[1].filter.usernames: unknown key; did you mean network[1].filter.username?",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = "all"
filter = { status = 2, groups = ["a", "", 3, "a"], username = "(ann|bob" }"#,
        &[
            "f:4:21: network[1].filter.status: must be a string, not an integer",
            "f:4:39: network[1].filter.groups[2]: must not be empty",
            "f:4:43: network[1].filter.groups[3]: must be a string, not an integer",
            r#"f:4:46: network[1].filter.groups[4]: "a" is a duplicate of network[1].filter.groups[1]"#,
            r#"f:4:63: network[1].filter.username: "(ann|bob" is not a regular expression: found open group without closing ')'"#,
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = "all"
filter.username = """#,
        &["f:4:19: network[1].filter.username: must not be empty"],
    ),
    (
        r#"[[network]]
id = "12345678"
users = "all"
filter.username = '(?<=x)y'
[[network]]
id = "12345679"
users = "all"
filter.username = '\p{L}'
[[network]]
id = "12345680"
users = "all"
filter.groups = "a""#,
        &[
            r#"f:4:19: network[1].filter.username: "(?<=x)y" is not a regular expression: look-around is not supported"#,
            r#"f:8:19: network[2].filter.username: "\\p{L}" is not a regular expression: Unicode character classes are not supported"#,
            r#"f:12:17: network[3].filter.groups: must be a list, such as ["security-group-id"], not a string"#,
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = "all"
status = "active""#,
        &["f:4:1: network[1].status: unknown key; did you mean network[1].filter.status?"],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["all"]
[[network]]
id = "ALL"
users = "All"
[[network]]
id = "12345679"
users = 5"#,
        &[
            r#"f:3:10: network[1].users[1]: "all" cannot be in a list; set users = "all""#,
            r#"f:5:6: network[2].id: must be lowercase "all", not "ALL""#,
            r#"f:6:9: network[2].users: must be lowercase "all", not "All""#,
            r#"f:9:9: network[3].users: must be a list of ids, such as ["1001", "1002"], or "all", not 5"#,
        ],
    ),
    (
        r#"[[network]]
id = "all"
name = "mine"
users = ["1001"]"#,
        &[
            r#"f:3:8: network[1].name: cannot be set if id is "all": Wickr provides the names"#,
            r#"f:4:9: network[1].users: must be "all" if id is "all": user ids differ between networks"#,
        ],
    ),
    (
        r#"[[network]]
id = "all"
users = "all"
[[network]]
id = "all"
users = "all"
filter.status = "active"
[[network]]
id = "all"
users = "all"
aws = { timezone = "Europe/Zurich", dual_stack = true }"#,
        &[
            r#"f:5:6: network[2].id: "all" is a duplicate of network[1]: same account and region"#,
            r#"f:9:6: network[3].id: "all" is a duplicate of network[1]: same account and region"#,
        ],
    ),
    (
        r#"[aws]
region = "us-east-1"
[[network]]
id = "all"
users = "all"
aws.region = "US East"
[[network]]
id = "all"
users = "all"
aws.region = "US West"
[[network]]
id = "all"
users = "all"
[[network]]
id = "all"
users = "all"
aws.region = "us-east-1""#,
        &[
            r#"f:6:14: network[1].aws.region: must be a region name of lowercase letters, digits and hyphens, such as "us-east-1", not "US East""#,
            r#"f:10:14: network[2].aws.region: must be a region name of lowercase letters, digits and hyphens, such as "us-east-1", not "US West""#,
            r#"f:15:6: network[4].id: "all" is a duplicate of network[3]: same account and region"#,
        ],
    ),
];
