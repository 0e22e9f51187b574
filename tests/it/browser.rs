//! Loads every page in Chromium, in several states of the exporter, with `browser/run.mjs`. The
//! variable `WICKR_TEST_PICTURES` names a folder for screenshots.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use wickr_exporter::simulator::{
    Count, Fault, Fleet, Options, Simulator, days, device, hours, network, security_group, user,
};

use crate::{
    harness::{Exporter, serving, simulator},
    tools,
};

const NETWORK: &str = "12345678";

fn config(simulator: &Simulator, poll: &str, more: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\nrequests_per_second = 10000\n{poll}\n\
         [sso]\nmax_idle = \"security-groups\"\n{more}\n\
         [[network]]\nid = \"all\"\nusers = \"all\"\n",
        simulator.endpoint()
    )
}

fn three_devices() -> Fleet {
    Fleet::new().network(
        network(NETWORK)
            .name("production")
            .group(security_group("g").sso_max_idle_minutes(60))
            .user(
                user("1001")
                    .in_group("g")
                    .device(device("a").kind("iOS").last_login_ago(days(45)).suspended())
                    .device(device("b").kind("Android").last_login_ago(hours(2))),
            )
            .user(user("1002").device(device("c").kind("Windows").never_logged_in().reset())),
    )
}

/// Hostile text in every field that the pages show.
fn hostile() -> Fleet {
    let script = "<script>alert(1)</script>";
    let long = "x".repeat(2000);
    let mut users = user("1001").username("\"><img src=x onerror=alert(1)>");
    for (id, kind) in [
        (script, script),
        ("\" onclick=\"alert(1)", "</table></main>"),
        ("{{ 7 * 7 }}", "=HYPERLINK(\"http://127.0.0.1\")"),
        ("\u{202e}\u{1b}[31m\u{0}\r\n", "javascript:alert(1)"),
        (&long, &long),
        ("漢字 🦀 é", "🏴‍☠️"),
    ] {
        users = users.device(device(id).kind(kind).status(kind).last_login_ago(days(3)));
    }
    users = users.device(device("x").without("appId").without("type").without("statusText"));
    users = users.device(device("t").with("lastLogin", "yesterday").with("created", "<b>"));
    Fleet::new().network(network(NETWORK).name(format!("{script}{}", "y".repeat(300))).user(users))
}

async fn wait_for(exporter: &Exporter, path: &str, expected: &str) {
    let deadline = std::time::Instant::now() + crate::harness::TIMEOUT;
    loop {
        let text = exporter.text(path).await;
        if text.contains(expected) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{path} does not show {expected}: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn site(name: &str, exporter: &Exporter, paths: &[(&str, &[&str])]) -> Value {
    let texts: serde_json::Map<_, _> =
        paths.iter().map(|(path, texts)| ((*path).to_owned(), json!(texts))).collect();
    let paths: Vec<_> = paths.iter().map(|(path, _)| path).collect();
    json!({ "name": name, "base": exporter.base, "paths": paths, "texts": texts })
}

const POLL: &str = "interval = \"1h\"\nmax_attempts = 1";
/// A time-out that is longer than the test.
const LONG_TIMEOUT: &str = "interval = \"1h\"\nmax_attempts = 1\nrequest_timeout = \"5m\"";

#[tokio::test(flavor = "multi_thread")]
async fn pages_work_in_a_browser_in_every_state() {
    let (Some(node), Some(chromium)) = (tools::find("node"), tools::find("chromium")) else {
        return;
    };
    let Some(modules) = tools::node_modules() else { return };
    let few = serving(three_devices()).await;
    let good = Exporter::start(&config(&few, POLL, "[metrics]\nusername = true"));
    wait_for(&good, "/api/v1/status", "\"level\":\"good\"").await;

    // For the pictures in the README.
    let typical = simulator(Options {
        users: 20,
        devices_per_user: Count { min: 1, max: 5 },
        ..Options::default()
    })
    .await;
    let readme = Exporter::start(&config(&typical, POLL, ""));
    wait_for(&readme, "/api/v1/status", "\"level\":\"good\"").await;

    let hostile = serving(hostile()).await;
    let escaped = Exporter::start(&config(&hostile, POLL, "[metrics]\nusername = true"));
    wait_for(&escaped, "/api/v1/status", "\"level\":\"good\"").await;

    // A forbidden network, one with two failed users, one without errors.
    let failing = simulator(Options {
        networks: 3,
        users: 30,
        devices_per_user: Count { min: 1, max: 4 },
        ..Options::default()
    })
    .await;
    for fault in
        ["forbidden,network=12345678,op=ListDevicesForUser", "500,user=1003", "429,user=1005"]
    {
        failing.faults().add(fault.parse::<Fault>().unwrap());
    }
    let broken = Exporter::start(&config(&failing, POLL, ""));
    wait_for(&broken, "/-/ready", "is ready").await;

    let hanging = serving(three_devices()).await;
    hanging.faults().add("hang,user=1002".parse::<Fault>().unwrap());
    let waiting = Exporter::start(&config(&hanging, LONG_TIMEOUT, ""));
    wait_for(&waiting, "/", "1 of 2 users").await;

    // A restored state, and an API that does not respond.
    let folder = tempfile::tempdir().unwrap();
    let state = format!("[state]\npath = {:?}", folder.path().join("state"));
    let before = serving(three_devices()).await;
    let first = Exporter::start(&config(&before, "interval = \"1h\"", &state));
    wait_for(&first, "/api/v1/status", "\"level\":\"good\"").await;
    assert!(first.stop().0.success());
    before.faults().add("hang".parse::<Fault>().unwrap());
    let restored = Exporter::start(&config(&before, LONG_TIMEOUT, &state));
    wait_for(&restored, "/api/v1/status", "users\":{\"fresh\"").await;

    let no_users = serving(Fleet::new().network(network(NETWORK))).await;
    let empty = Exporter::start(&config(&no_users, POLL, ""));
    wait_for(&empty, "/-/ready", "is ready").await;

    let mut keyboard = site(
        "three",
        &good,
        &[
            ("/", &["The data is complete and fresh.", "production", "us-east-1", "Android"]),
            ("/devices", &["3 devices", "45 d", "never logged in", "expired"]),
            ("/devices?idle_over=30d&suspended=true", &["Filter: suspended true, idle over 30d."]),
            ("/devices?device_type=none", &["No device matches the filter."]),
            ("/devices?nonsense=1", &["nonsense"]),
        ],
    );
    keyboard["keyboard"] = json!({
        "address": "/devices?device_type=iOS&suspended=true&idle_over=30d", "count": "1 device",
    });
    let sites = json!([
        keyboard,
        site(
            "readme",
            &readme,
            &[
                ("/", &["The data is complete and fresh."]),
                ("/devices?idle_over=30d", &["Filter: idle over 30d."])
            ]
        ),
        site(
            "hostile",
            &escaped,
            &[
                ("/", &["<script>alert(1)</script>", "</table></main>"]),
                (
                    "/devices",
                    &["<script>alert(1)</script>", "\" onclick=\"alert(1)", "{{ 7 * 7 }}"]
                ),
            ]
        ),
        site(
            "broken",
            &broken,
            &[
                ("/", &["The data is incomplete.", "forbidden", "check --iam-policy", "1003"]),
                ("/devices?limit=25", &["This list may be incomplete or stale.", "Next"]),
            ]
        ),
        site(
            "waiting",
            &waiting,
            &[("/", &["1 of 2 users", "not known yet"]), ("/devices", &["not been read yet"]),]
        ),
        site(
            "restored",
            &restored,
            &[("/", &["from before the restart"]), ("/devices", &["is stale"]),]
        ),
        site(
            "empty",
            &empty,
            &[("/", &["There are no users to poll."]), ("/devices", &["No device is known."]),]
        ),
    ]);
    let plan = folder.path().join("plan.json");
    std::fs::write(&plan, json!({ "chromium": chromium, "sites": sites }).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/run.mjs");
    let mut command = tokio::process::Command::new(node);
    command.arg(script).arg(plan).env("WICKR_TEST_NODE", modules).kill_on_drop(true);
    command.args(std::env::var_os("WICKR_TEST_PICTURES"));
    let output = tokio::time::timeout(Duration::from_secs(600), command.output());
    let output = output.await.expect("the browser ends within 10 minutes").unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
}
