//! What is wrong with the tables that all networks share.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
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
        r#"[aws]
secret_access_key = "hunter2""#,
        &[
            "f:2:1: aws.secret_access_key: unknown key; known here are region, profile, role_arn, external_id, fips, dual_stack, endpoint_url, timezone",
        ],
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
        &["f:2:16: aws.endpoint_url: must not contain a user name or password"],
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
        r#"[discovery]
intervall = "1h"
[sso]
maxidle = "30d"
max_idle = "30d"
[state]
file = "/x"
path = "/x"
[shard]
totl = 2"#,
        &[
            "f:2:1: discovery.intervall: unknown key; did you mean discovery.interval?",
            "f:4:1: sso.maxidle: unknown key; did you mean sso.max_idle?",
            "f:7:1: state.file: unknown key; the only one here is path",
            "f:10:1: shard.totl: unknown key; did you mean shard.total?",
        ],
    ),
    (
        r#"[discovery]
interval = "500ms"
[sso]
[state]
path = ""
[shard]
index = 3
total = 3"#,
        &[
            r#"f:2:12: discovery.interval: must be a duration from 1s to 30d, written like "90s" or "1h 30m", not "500ms""#,
            r#"f:3:1: sso.max_idle: is missing; write max_idle = "security-groups" for each user's own limit, or "30d" for one that all have"#,
            "f:5:8: state.path: must not be empty",
            "f:7:9: shard.index: must be below shard.total, which is 3, but is 3; the first is 0",
        ],
    ),
    (
        r#"discovery = 1
sso = "security-groups"
state = "/x"
shard = "auto""#,
        &[
            "f:1:13: discovery: must be a table, not an integer",
            "f:2:7: sso: must be a table, not a string",
            "f:3:9: state: must be a table, not a string",
            "f:4:9: shard: must be a table, not a string",
        ],
    ),
    (
        r#"state = {}
[discovery]
interval = "31d"
[sso]
max_idle = "security_groups"
[shard]
index = 0"#,
        &[
            r#"f:1:9: state.path: is missing; write path = "/var/lib/wickr-exporter/state", for example"#,
            r#"f:3:12: discovery.interval: must be a duration from 1s to 30d, written like "90s" or "1h 30m", not "31d""#,
            r#"f:5:12: sso.max_idle: must be "security-groups" or a duration from 1s to 3650d, written like "90s" or "1h 30m", not "security_groups""#,
            "f:7:9: shard.index: means nothing without shard.total; write that too",
        ],
    ),
    (
        r#"[sso]
max_idle = 30
[state]
path = "a\u0000b"
[shard]
index = "auto""#,
        &[
            r#"f:2:12: sso.max_idle: must be "security-groups" or a duration with its unit, such as "5m"; 30 has none"#,
            "f:4:8: state.path: must be a path, and no path has a NUL character in it",
            r#"f:6:9: shard.index: "auto" is for both or neither; write index = "auto" and total = "auto", or two numbers"#,
        ],
    ),
    (
        r#"[sso]
max_idle = "0s"
[shard]
index = 0
total = "auto""#,
        &[
            r#"f:2:12: sso.max_idle: must be "security-groups" or a duration from 1s to 3650d, written like "90s" or "1h 30m", not "0s""#,
            r#"f:5:9: shard.total: "auto" is for both or neither; write index = "auto" and total = "auto", or two numbers"#,
        ],
    ),
    (
        "[shard]
total = 2",
        &["f:2:9: shard.total: means nothing without shard.index; write that too"],
    ),
    (
        r#"[shard]
index = -1
total = 1001
[state]
path = 1"#,
        &[
            r#"f:2:9: shard.index: must be "auto" or a whole number from 0 to 999, not -1"#,
            r#"f:3:9: shard.total: must be "auto" or a whole number from 1 to 1000, not 1001"#,
            "f:5:8: state.path: must be a string, not an integer",
        ],
    ),
    (
        r#"[shard]
index = "3"
total = 0"#,
        &[
            r#"f:2:9: shard.index: must be "auto" or a whole number from 0 to 999, not a string"#,
            r#"f:3:9: shard.total: must be "auto" or a whole number from 1 to 1000, not 0"#,
        ],
    ),
];
