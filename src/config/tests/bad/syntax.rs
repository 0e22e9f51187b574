//! Syntax errors, and the problems that are reported with them.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
    (
        "[poll]
interval = 5m
page_size = 0",
        &[
            "f:2:12: not valid TOML: string values must be quoted",
            "f:3:13: poll.page_size: must be an integer from 1 to 100, not 0",
        ],
    ),
    (
        "[poll]
page_size = 0
page_size = 5
[poll]
max_attempts = 0",
        &[
            "f:2:13: poll.page_size: must be an integer from 1 to 100, not 0",
            "f:3:1: not valid TOML: duplicate key",
            "f:4:2: not valid TOML: duplicate key",
            "f:5:16: poll.max_attempts: must be an integer from 1 to 20, not 0",
        ],
    ),
    (
        "[poll
page_size = 0",
        &["f:1:6: not valid TOML: unclosed table, expected `]`"],
    ),
    (
        r#"[web]
max_concurrent_scrapes = 0
listen = [":1"
[poll]
page_size = 0"#,
        &[
            "f:2:26: web.max_concurrent_scrapes: must be an integer from 1 to 1000, not 0",
            "f:4:1: not valid TOML: missing `,` or `]` before this",
            "f:5:1: not valid TOML: string values must be quoted",
        ],
    ),
    (
        r#"[aws]
region = "us-east-1
profile = """#,
        &[
            r#"f:2:20: not valid TOML: invalid basic string, expected `"`"#,
            "f:3:11: aws.profile: must not be empty",
        ],
    ),
    (
        r#"[aws]
region
fips = tru
= 1
profile = """#,
        &["f:2:7: not valid TOML: key with no value, expected `=`"],
    ),
    (
        "[web]
max_concurrent_scrapes = 010",
        &[
            "f:2:26: not valid TOML: a number cannot start with a zero; if it is an id, put it in quotes",
        ],
    ),
    (
        r#"[aws]
external_id = "xyz
role_arn = "hunter2"""#,
        &[
            r#"f:2:19: not valid TOML: invalid basic string, expected `"`"#,
            "f:3:21: not valid TOML: unexpected key or value, expected newline, `#`",
        ],
    ),
    (
        r#"[web]
listen = [":1, ":2"]
max_concurrent_scrapes = 0"#,
        &["f:2:17: not valid TOML: missing `,` or `]` before this"],
    ),
    (
        r#"[[network]]
id = 00000001
users = ["1
"2"]
name = """#,
        &[
            "f:2:6: not valid TOML: a number cannot start with a zero; if it is an id, put it in quotes",
            r#"f:3:12: not valid TOML: invalid basic string, expected `"`"#,
            "f:4:1: not valid TOML: missing `,` or `]` before this",
        ],
    ),
    (
        r#"[web]
listen = [":1
max_concurrent_scrapes = 0"#,
        &[
            r#"f:2:14: not valid TOML: invalid basic string, expected `"`"#,
            "f:3:1: not valid TOML: missing `,` or `]` before this",
        ],
    ),
    (
        "a
b = tru
c = tru
d=tru
[poll]
page_size = 0",
        &["f:1:2: not valid TOML: key with no value, expected `=`"],
    ),
    (
        "[poll]
page_size = = 5
max_attempts = 0
x = 2024-13-01",
        &[
            "f:2:13: not valid TOML: extra `=`, expected nothing",
            "f:4:5: not valid TOML: invalid date, expected month between 01 and 12",
        ],
    ),
];
