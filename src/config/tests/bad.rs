//! Bad files, and the exact messages that each gets. Where a file has no network, the test adds a
//! good one below.

/// The file, and its messages in order.
pub(super) const BAD: &[(&str, &[&str])] = &[
    (
        "# network: none",
        &[
            r#"f:1:1: network: there is none; write one as [[network]] with id = "12345678" and users = ["1001"] below it"#,
        ],
    ),
    (
        "network = []",
        &[
            r#"f:1:11: network: must be written as [[network]] with id = "12345678" and users = ["1001"] below it, not as an empty list"#,
        ],
    ),
    (
        r#"[network]
id = "12345678""#,
        &[
            r#"f:1:1: network: must be written as [[network]] with id = "12345678" and users = ["1001"] below it, not as a table"#,
        ],
    ),
    ("network = [1]", &["f:1:12: network[1]: must be a table, not an integer"]),
    ("web = 5", &["f:1:7: web: must be a table, not an integer"]),
    (
        r#"[poll]
intervall = "5m""#,
        &["f:2:1: poll.intervall: unknown key; did you mean poll.interval?"],
    ),
    (
        r#"[web]
interval = "5m""#,
        &["f:2:1: web.interval: unknown key; did you mean poll.interval?"],
    ),
    (
        r#"[web]
colour = 1
"a\nb" = 2"#,
        &[
            "f:2:1: web.colour: unknown key; known here are listen, max_concurrent_scrapes",
            r#"f:3:1: web."a\nb": unknown key; known here are listen, max_concurrent_scrapes"#,
        ],
    ),
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
        r#"[aws]
secret_access_key = "hunter2""#,
        &[
            "f:2:1: aws.secret_access_key: unknown key; known here are region, profile, role_arn, external_id, fips, dual_stack, endpoint_url, timezone",
        ],
    ),
    (
        r#"[discovery]
interval = "1h"
[sso]
[state]
path = "/x"
[shard]
index = 0"#,
        &[
            "f:1:2: discovery: is not supported by this version yet",
            "f:3:2: sso: is not supported by this version yet",
            "f:4:2: state: is not supported by this version yet",
            "f:6:2: shard: is not supported by this version yet",
        ],
    ),
    (
        r#"[[network]]
id = "all"
users = "all"
filter = { status = "active" }"#,
        &[
            r#"f:2:6: network[1].id: "all" is not supported by this version yet"#,
            r#"f:3:9: network[1].users: "all" is not supported by this version yet"#,
            "f:4:1: network[1].filter: is not supported by this version yet",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
poll = { concurrency = 1, requests_per_second = 1 }"#,
        &[
            "f:4:10: network[1].poll.concurrency: belongs to [poll]: it holds for the whole process, not for one network",
            "f:4:27: network[1].poll.requests_per_second: belongs to [poll]: it holds for the whole process, not for one network",
        ],
    ),
    (
        r#"[[network]]
name = """#,
        &[
            r#"f:1:1: network[1].id: is missing; write the network's 8 digits, id = "12345678""#,
            r#"f:1:1: network[1].users: is missing; write the users' ids, users = ["1001", "1002"]"#,
            "f:2:8: network[1].name: must not be empty",
        ],
    ),
    (
        "[[network]]
id = 1234567
users = []",
        &[
            "f:2:6: network[1].id: 1234567 is not valid: a network id is exactly 8 digits",
            r#"f:3:9: network[1].users: must not be empty; write ["1001", "1002"], for example"#,
        ],
    ),
    (
        r#"[[network]]
id = "1234567a"
users = "1001""#,
        &[
            r#"f:2:6: network[1].id: "1234567a" is not valid: a network id is exactly 8 digits"#,
            r#"f:3:9: network[1].users: must be a list, such as ["1001", "1002"], not a string"#,
        ],
    ),
    (
        r#"[[network]]
id = 12345678.0
users = ["", -1, 12345678901, 1.5, "1", 1]"#,
        &[
            "f:2:6: network[1].id: must be an id in quotes, not a float",
            r#"f:3:10: network[1].users[1]: "" is not valid: a user id is 1 to 10 digits"#,
            "f:3:14: network[1].users[2]: -1 is not valid: a user id is 1 to 10 digits",
            "f:3:18: network[1].users[3]: 12345678901 is not valid: a user id is 1 to 10 digits",
            "f:3:31: network[1].users[4]: must be an id in quotes, not a float",
            "f:3:41: network[1].users[6]: 1 is given twice, first as network[1].users[5]",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
[[network]]
id = 12345678
users = ["1"]"#,
        &[r#"f:5:6: network[2].id: "12345678" is given twice, first in network[1]"#],
    ),
    (
        r#"[web]
listen = ":10471""#,
        &[r#"f:2:10: web.listen: must be a list, such as [":10471"], not a string"#],
    ),
    (
        r#"[web]
listen = ["10471", ":70000", "::1:80", 80]"#,
        &[
            r#"f:2:11: web.listen[1]: must be an address such as ":10471", "127.0.0.1:10471" or "[::1]:10471", not "10471""#,
            r#"f:2:20: web.listen[2]: must be an address such as ":10471", "127.0.0.1:10471" or "[::1]:10471", not ":70000""#,
            r#"f:2:30: web.listen[3]: must be an address such as ":10471", "127.0.0.1:10471" or "[::1]:10471", not "::1:80""#,
            "f:2:40: web.listen[4]: must be a string, not an integer",
        ],
    ),
    (
        r#"[web]
listen = [":1", "[::1]:2", ":1", "[0::1]:2"]"#,
        &[
            r#"f:2:28: web.listen[3]: ":1" is given twice, first as web.listen[1]"#,
            r#"f:2:34: web.listen[4]: "[0::1]:2" is given twice, first as web.listen[2]"#,
        ],
    ),
    (
        "[web]
max_concurrent_scrapes = 0",
        &["f:2:26: web.max_concurrent_scrapes: must be a whole number from 1 to 1000, not 0"],
    ),
    (
        r#"[aws]
region = "US East"
profile = ""
timezone = "Europe/Zurch""#,
        &[
            r#"f:2:10: aws.region: must be a region's name in lowercase letters, digits and dashes, such as "us-east-1", not "US East""#,
            "f:3:11: aws.profile: must not be empty",
            r#"f:4:12: aws.timezone: must be an IANA time zone, such as "UTC" or "America/New_York", not "Europe/Zurch"; did you mean "Europe/Zurich"?"#,
        ],
    ),
    (
        r#"[aws]
region = ""
profile = 1
timezone = "Mars/Olympus Mons""#,
        &[
            r#"f:2:10: aws.region: must be a region's name in lowercase letters, digits and dashes, such as "us-east-1", not """#,
            "f:3:11: aws.profile: must be a string, not an integer",
            r#"f:4:12: aws.timezone: must be an IANA time zone, such as "UTC" or "America/New_York", not "Mars/Olympus Mons""#,
        ],
    ),
    (
        r#"[aws]
role_arn = "arn:aws:iam::1234:role/x"
external_id = "a secret""#,
        &[
            r#"f:2:12: aws.role_arn: must be the ARN of a role, such as "arn:aws:iam::111122223333:role/wickr-read", not "arn:aws:iam::1234:role/x""#,
            "f:3:15: aws.external_id: must be 2 to 1224 letters, digits or any of _+=,.@:/-",
        ],
    ),
    (
        r#"[aws]
external_id = "xyz""#,
        &[
            "f:2:15: aws.external_id: is only sent along with a role_arn, and there is none; write that too",
        ],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
aws.external_id = "xyz""#,
        &[
            "f:4:19: network[1].aws.external_id: is only sent along with a role_arn, and there is none; write that too",
        ],
    ),
    (
        r#"[aws]
endpoint_url = "http://example.com"
fips = "yes""#,
        &[
            "f:2:16: aws.endpoint_url: must be https://; plain http:// is for loopback only",
            "f:3:8: aws.fips: must be true or false, not a string",
        ],
    ),
    (
        r#"[aws]
endpoint_url = "https://joe:hunter2@example.com""#,
        &["f:2:16: aws.endpoint_url: must not carry a user name or password"],
    ),
    (
        r#"[aws]
endpoint_url = "https://example.com"
fips = true
dual_stack = true"#,
        &[
            "f:2:16: aws.endpoint_url: contradicts aws.dual_stack = true, which chooses among the service's own; write one or the other",
            "f:2:16: aws.endpoint_url: contradicts aws.fips = true, which chooses among the service's own; write one or the other",
        ],
    ),
    (
        r#"[aws]
fips = true
[[network]]
id = "12345678"
users = ["1"]
aws.endpoint_url = "https://example.com""#,
        &[
            "f:6:20: network[1].aws.endpoint_url: contradicts aws.fips = true, which chooses among the service's own; write one or the other",
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
            "f:6:18: network[1].aws.dual_stack: contradicts aws.endpoint_url, which is used as it is; write one or the other",
        ],
    ),
    (
        "[poll]
interval = 300",
        &[r#"f:2:12: poll.interval: must be a duration with its unit, such as "5m"; 300 has none"#],
    ),
    (
        r#"[poll]
interval = "300""#,
        &[
            r#"f:2:12: poll.interval: must be a duration with its unit, such as "5m"; "300" has none"#,
        ],
    ),
    (
        r#"[poll]
interval = "5 moons"
stale_after = "1s""#,
        &[
            r#"f:2:12: poll.interval: must be a duration from 100ms to 30d, written like "90s" or "1h 30m", not "5 moons""#,
        ],
    ),
    (
        r#"[poll]
interval = "0s""#,
        &[
            r#"f:2:12: poll.interval: must be a duration from 100ms to 30d, written like "90s" or "1h 30m", not "0s""#,
        ],
    ),
    (
        r#"[poll]
interval = "-5m""#,
        &[
            r#"f:2:12: poll.interval: must be a duration from 100ms to 30d, written like "90s" or "1h 30m", not "-5m""#,
        ],
    ),
    (
        r#"[poll]
interval = "31d"
request_timeout = "6m""#,
        &[
            r#"f:2:12: poll.interval: must be a duration from 100ms to 30d, written like "90s" or "1h 30m", not "31d""#,
            r#"f:3:19: poll.request_timeout: must be a duration from 1ms to 5m, written like "90s" or "1h 30m", not "6m""#,
        ],
    ),
    (
        r#"[poll]
interval = ["5m"]"#,
        &[
            r#"f:2:12: poll.interval: must be a duration from 100ms to 30d, written like "90s" or "1h 30m", not a list"#,
        ],
    ),
    (
        r#"[poll]
interval = "10m"
stale_after = "9m 59s""#,
        &["f:3:15: poll.stale_after: must not be below poll.interval, which is 10m, but is 9m 59s"],
    ),
    (
        r#"[[network]]
id = "12345678"
users = ["1"]
poll = { interval = "1h", stale_after = "30m" }"#,
        &[
            "f:4:41: network[1].poll.stale_after: must not be below network[1].poll.interval, which is 1h, but is 30m",
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
            "f:6:20: network[1].poll.stale_after: must not be below poll.interval, which is 2h, but is 1h",
        ],
    ),
    (
        "[poll]
concurrency = -1
max_attempts = 21
page_size = 101",
        &[
            "f:2:15: poll.concurrency: must be a whole number from 1 to 1000, not -1",
            "f:3:16: poll.max_attempts: must be a whole number from 1 to 20, not 21",
            "f:4:13: poll.page_size: must be a whole number from 1 to 100, not 101",
        ],
    ),
    (
        r#"[poll]
concurrency = 1.5
max_attempts = "5"
page_size = 99999999999999999999"#,
        &[
            "f:2:15: poll.concurrency: must be a whole number from 1 to 1000, not a float",
            "f:3:16: poll.max_attempts: must be a whole number from 1 to 20, not a string",
            "f:4:13: poll.page_size: must be a whole number from 1 to 100, not 99999999999999999999",
        ],
    ),
    (
        "[poll]
requests_per_second = 0",
        &["f:2:23: poll.requests_per_second: must be a number from 0.001 to 1000000, not 0"],
    ),
    (
        "[poll]
requests_per_second = nan",
        &["f:2:23: poll.requests_per_second: must be a number from 0.001 to 1000000, not nan"],
    ),
    (
        "[poll]
requests_per_second = inf",
        &["f:2:23: poll.requests_per_second: must be a number from 0.001 to 1000000, not inf"],
    ),
    (
        r#"[poll]
requests_per_second = "10""#,
        &["f:2:23: poll.requests_per_second: must be a number from 0.001 to 1000000, not a string"],
    ),
    (
        r#"[metrics]
detail = "devices"
username = 1
idle_buckets = []"#,
        &[
            r#"f:2:10: metrics.detail: must be "network", "user" or "device", not "devices""#,
            "f:3:12: metrics.username: must be true or false, not an integer",
            r#"f:4:16: metrics.idle_buckets: must not be empty; write ["1h", "1d"], for example"#,
        ],
    ),
    (
        r#"[metrics]
idle_buckets = ["1d", "1h"]"#,
        &["f:2:16: metrics.idle_buckets: must ascend, but 1h comes after 1d"],
    ),
    (
        r#"[metrics]
idle_buckets = ["1h", "60m"]"#,
        &[
            r#"f:2:23: metrics.idle_buckets[2]: "60m" is given twice, first as metrics.idle_buckets[1]"#,
        ],
    ),
    (
        r#"[metrics]
idle_buckets = ["0s", "9999999d", 5]"#,
        &[
            r#"f:2:17: metrics.idle_buckets[1]: must be a duration from 1s to 3650d, written like "90s" or "1h 30m", not "0s""#,
            r#"f:2:23: metrics.idle_buckets[2]: must be a duration from 1s to 3650d, written like "90s" or "1h 30m", not "9999999d""#,
            r#"f:2:35: metrics.idle_buckets[3]: must be a duration with its unit, such as "5m"; 5 has none"#,
        ],
    ),
    (
        r#"[metrics]
detail = "a very long text that would make a line of messages unreadable if all of it were repeated""#,
        &[
            r#"f:2:10: metrics.detail: must be "network", "user" or "device", not "a very long text that would make a line of messages unreadab…""#,
        ],
    ),
    (
        "[poll]
interval = 5m
page_size = 0",
        &[
            "f:2:12: not valid TOML: string values must be quoted",
            "f:3:13: poll.page_size: must be a whole number from 1 to 100, not 0",
        ],
    ),
    (
        "[poll]
page_size = 0
page_size = 5
[poll]
max_attempts = 0",
        &[
            "f:2:13: poll.page_size: must be a whole number from 1 to 100, not 0",
            "f:3:1: not valid TOML: duplicate key",
            "f:4:2: not valid TOML: duplicate key",
            "f:5:16: poll.max_attempts: must be a whole number from 1 to 20, not 0",
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
            "f:2:26: web.max_concurrent_scrapes: must be a whole number from 1 to 1000, not 0",
            "f:4:1: not valid TOML: before this, a comma or the end of the list, `]`, is missing",
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
            "f:2:26: not valid TOML: a number must not begin with a zero; write it in quotes if it is an id",
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
        &["f:2:17: not valid TOML: before this, a comma or the end of the list, `]`, is missing"],
    ),
    (
        r#"[[network]]
id = 00000001
users = ["1
"2"]
name = """#,
        &[
            "f:2:6: not valid TOML: a number must not begin with a zero; write it in quotes if it is an id",
            r#"f:3:12: not valid TOML: invalid basic string, expected `"`"#,
            "f:4:1: not valid TOML: before this, a comma or the end of the list, `]`, is missing",
        ],
    ),
    (
        r#"[web]
listen = [":1
max_concurrent_scrapes = 0"#,
        &[
            r#"f:2:14: not valid TOML: invalid basic string, expected `"`"#,
            "f:3:1: not valid TOML: before this, a comma or the end of the list, `]`, is missing",
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
