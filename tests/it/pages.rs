//! The pages and the API: filters, errors, headers, and agreement with the metrics.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use wickr_exporter::simulator::{
    Count, Fault, Fleet, Options, Simulator, days, device, hours, network, security_group, user,
};

use crate::{
    harness::{Exporter, FAST, Samples, config, http, serving, simulator},
    tools,
};

pub const NETWORK: &str = "12345678";
pub const SLOW: &str = "interval = \"1h\"\nrequests_per_second = 10000\nmax_attempts = 1";

pub fn everything(simulator: &Simulator, poll: &str, more: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\n{poll}\n\
         [sso]\nmax_idle = \"security-groups\"\n{more}\n\
         [[network]]\nid = \"all\"\nusers = \"all\"\n",
        simulator.endpoint()
    )
}

pub fn fleet() -> Fleet {
    Fleet::new().network(
        network(NETWORK)
            .name("production")
            .group(security_group("g").sso_max_idle_minutes(60))
            .user(
                user("1001")
                    .username("ann@example.com")
                    .in_group("g")
                    .device(device("a").kind("iOS").last_login_ago(days(45)).suspended())
                    .device(device("b").kind("Android").last_login_ago(hours(2))),
            )
            .user(
                user("1002")
                    .username("=bob@example.com")
                    .device(device("c").kind("Windows").never_logged_in().reset())
                    .device(device("x").without("appId").last_login_ago(days(3))),
            ),
    )
}

pub async fn json(exporter: &Exporter, path: &str) -> Value {
    let response = exporter.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// The app ids in a list.
pub fn ids(list: &Value) -> Vec<&str> {
    let devices = list["devices"].as_array().unwrap();
    devices.iter().map(|device| device["app_id"].as_str().unwrap_or("none")).collect()
}

pub async fn settled(exporter: &Exporter) {
    exporter.polled(1.0).await;
    exporter.wait_for("the limits", |s| s.has("wickr_network_devices_sso_expired")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_sort_and_page_devices_at_any_level_of_detail() {
    let simulator = serving(fleet()).await;
    let exporter =
        Exporter::start(&everything(&simulator, SLOW, "[metrics]\ndetail = \"network\""));
    settled(&exporter).await;
    for (query, expected) in [
        ("", &["a", "none", "b", "c"][..]),
        ("?order=asc", &["b", "none", "a", "c"]),
        ("?sort=app_id", &["a", "b", "c", "none"]),
        ("?sort=last_login&order=desc", &["b", "none", "a", "c"]),
        ("?limit=2", &["a", "none"]),
        ("?limit=3&page=2", &["c"]),
        ("?limit=3&page=3", &[]),
        ("?idle_over=30d", &["a"]),
        ("?idle_over=1h&idle_up_to=7d", &["none", "b"]),
        ("?suspended=true", &["a"]),
        ("?suspended=false&device_type=Android&device_type=Windows", &["b", "c"]),
        ("?reset=true", &["c"]),
        ("?status=Reset", &["c"]),
        ("?never_logged_in=true", &["c"]),
        ("?sso_expired=true", &["a", "b"]),
        ("?sso_expires_within=30d", &[]),
        ("?user_id=1002&user_id=", &["none", "c"]),
        ("?network_id=12345678&freshness=fresh&user_id=1001", &["a", "b"]),
        ("?freshness=stale", &[]),
        ("?network_id=99999999", &[]),
    ] {
        let list = json(&exporter, &format!("/api/v1/devices{query}")).await;
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["complete"], !query.contains("9999"), "{query}");
    }
    let list = json(&exporter, "/api/v1/devices?idle_over=30d").await;
    let device = &list["devices"][0];
    assert_eq!(device["network_name"], "production");
    assert_eq!((&device["suspended"], &device["sso_expired"]), (&true.into(), &true.into()));
    assert_eq!(device["sso_max_idle_seconds"], 3600);
    let idle = device["idle_seconds"].as_f64().unwrap();
    assert!((45.0 * 86_400.0..45.1 * 86_400.0).contains(&idle), "{idle}");
    let age = |name: &str| {
        let time: jiff::Timestamp = device[name].as_str().unwrap().parse().unwrap();
        jiff::Timestamp::now().duration_since(time).as_secs_f64()
    };
    assert!((0.0..120.0).contains(&age("read_at")), "{device}");
    assert!((age("last_login") - idle).abs() < 60.0, "{device}");
    // `[metrics] username` is false by default.
    assert!(device.get("username").is_none());
    for path in ["/", "/devices", "/api/v1/devices", "/api/v1/status", "/api/v1/devices?format=csv"]
    {
        assert!(!exporter.text(path).await.contains("example.com"), "{path}");
    }
    let response = exporter.get("/devices?sort=username").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_invalid_parameters_by_name() {
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&everything(&simulator, SLOW, ""));
    settled(&exporter).await;
    for (query, name) in [
        ("network_id=1", "network_id"),
        ("user_id=ann", "user_id"),
        ("suspended=maybe", "suspended"),
        ("idle_over=30", "idle_over"),
        ("sso_expired=%3Cscript%3E", "sso_expired"),
        ("limit=0", "limit"),
        ("limit=1&limit=2", "limit"),
        ("sort=size", "sort"),
        ("%3Cscript%3E=1", "&lt;script&gt;"),
    ] {
        let api = exporter.get(&format!("/api/v1/devices?{query}")).await;
        assert_eq!(api.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(api.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let reason = api.text().await.unwrap();
        assert!(reason.starts_with(&name.replace("&lt;", "<").replace("&gt;", ">")), "{reason}");
        let page = exporter.get(&format!("/devices?{query}")).await;
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{query}");
        let page = page.text().await.unwrap().replace("&#60;", "&lt;").replace("&#62;", "&gt;");
        assert!(page.contains(&format!("<code>{name}</code>")), "{page}");
        assert!(!page.contains("<script") && !page.contains("<table"), "{page}");
    }
    for (path, name) in [
        ("/devices?format=csv", "format"),
        ("/devices?limit=1001", "limit"),
        ("/api/v1/devices?page=2", "page"),
    ] {
        let response = exporter.get(path).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(response.text().await.unwrap().contains(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_accept_get_and_head_and_send_security_headers() {
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&everything(&simulator, SLOW, ""));
    settled(&exporter).await;
    for path in [
        "/",
        "/devices",
        "/devices?idle_over=30d",
        "/api/v1/devices",
        "/api/v1/devices?format=csv",
        "/api/v1/status",
        "/docs",
        "/docs/api",
        "/static/style.css",
        "/static/icon.svg",
        "/nothing",
    ] {
        let mut content_types = Vec::new();
        for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)] {
            let request = http().request(
                Method::from_bytes(method.as_bytes()).unwrap(),
                format!("{}{path}", exporter.base),
            );
            let response = request.send().await.unwrap();
            let status = if path == "/nothing" { 404 } else { status };
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
            let headers = response.headers();
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            content_types.push(headers.get(header::CONTENT_TYPE).cloned());
            assert_eq!(response.bytes().await.unwrap().is_empty(), method == "HEAD");
        }
        assert_eq!(content_types[0], content_types[1], "{path}");
    }
    assert!(exporter.text("/docs/api").await.contains("/api/v1/devices"));
    // A submitted form redirects to the URL without empty fields and defaults.
    let form =
        "/devices?network_id=&user_id=1001&idle_over=&limit=100&sort=idle_seconds&order=desc";
    let response = exporter.get(form).await;
    assert_eq!(response.url().path(), "/devices");
    assert_eq!(response.url().query(), Some("user_id=1001"));
    // With the metrics at `/`, the status page is at `/status`.
    let moved =
        Exporter::start_with(&everything(&simulator, SLOW, ""), &["--web.telemetry-path=/"], &[]);
    assert!(moved.text("/status").await.contains("<h1>Status</h1>"));
    assert!(moved.text("/").await.contains("wickr_exporter_build_info"));
}

/// The query of each link to a list of devices, with the linked number.
fn linked_numbers(page: &str) -> Vec<(String, u64)> {
    let unescaped = page.replace("&#38;", "&").replace("&amp;", "&");
    let mut numbers = Vec::new();
    for part in unescaped.split("href=\"/devices?").skip(1) {
        let (query, rest) = part.split_once('"').unwrap();
        // The number of a bar follows its link; elsewhere, the number is the text of the link.
        let text = rest.split("</tr>").next().unwrap();
        let after = if text.contains("class=\"bar\"") {
            text.split("class=\"num\">").nth(1).unwrap()
        } else {
            text.split_once('>').unwrap().1
        };
        let digits: String = after
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .filter(|c| *c != ',')
            .collect();
        if let Ok(count) = digits.parse() {
            numbers.push((query.to_owned(), count));
        }
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_on_the_status_page_link_to_lists_of_that_length() {
    let simulator = simulator(Options {
        networks: 2,
        users: 60,
        devices_per_user: Count { min: 0, max: 9 },
        ..Options::default()
    })
    .await;
    let exporter = Exporter::start(&everything(&simulator, SLOW, ""));
    exporter.polled(2.0).await;
    exporter
        .wait_for("the limits of both networks", |s| {
            let limits = s.series("wickr_network_devices_sso_expired", &[]).count();
            limits > 0 && limits == s.series("wickr_network_devices", &[]).count()
        })
        .await;
    let numbers = linked_numbers(&exporter.text("/").await);
    assert!(numbers.len() > 30, "{numbers:?}");
    for name in ["suspended=true", "reset=true", "never_logged_in=true", "idle_over", "sso_expired"]
    {
        assert!(numbers.iter().any(|(query, count)| query.contains(name) && *count > 0), "{name}");
    }
    for (query, count) in numbers {
        let list = json(&exporter, &format!("/api/v1/devices?{query}&limit=1")).await;
        assert_eq!(list["matched"], count, "{query}");
    }
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["assessment"]["level"], "good");
    assert_eq!(status["networks"].as_array().unwrap().len(), 2);
    let network = &status["networks"][0];
    assert_eq!(network["polls"]["success"], 1);
    let time = |name: &str| network[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let ahead = time("next_poll_at").duration_since(time("last_success_at")).as_secs();
    assert!((3500..=3600).contains(&ahead), "{ahead}");
    let total: u64 = status["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|network| network["devices"]["total"].as_u64().unwrap())
        .sum();
    assert_eq!(total as f64, exporter.metrics().await.sum("wickr_network_devices"));
}

/// Compares the CSV and JSON lists, and prints the devices.
const COMPARE: &str = r#"
import csv, io, json, sys
table, document = json.load(sys.stdin)
rows = list(csv.DictReader(io.StringIO(table, newline="")))
devices = json.loads(document)["devices"]
texts = ("network_name", "username", "app_id", "device_type", "status")
def cell(name, text):
    return text[1:] if name in texts and text.startswith("'") else text
def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
def expected(value):
    return value if is_number(value) else {None: "", True: "true", False: "false"}.get(value, value)
assert len(rows) == len(devices), (len(rows), len(devices))
for row, device in zip(rows, devices):
    assert list(row) == list(device), (list(row), list(device))
    for name, value in device.items():
        if name == "idle_seconds":
            continue # differs between the two requests
        text, value = cell(name, row[name]), expected(value)
        assert (float(text) if is_number(value) else text) == value, (name, text, value)
    for name in texts:
        assert not row.get(name, "").lstrip().startswith(("=", "+", "-", "@")), row[name]
print(json.dumps(devices))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn csv_json_and_metrics_agree() {
    let Some(python) = tools::find("python3") else { return };
    let mut fleet = fleet();
    let hostile = user("1003").with_devices(
        ["=1+1", "-x", "@y", "'z", "a,\"b\"\r\nc", "\t=1", "+\u{1f980}", "<script>"]
            .map(|id| device(id).kind(id).status(id).last_login_ago(days(5))),
    );
    fleet.get_mut(NETWORK).unwrap().add_user(hostile);
    let simulator = serving(fleet).await;
    let exporter = Exporter::start(&everything(&simulator, SLOW, "[metrics]\nusername = true"));
    settled(&exporter).await;
    let table = exporter.get("/api/v1/devices?format=csv").await;
    assert_eq!(table.headers()[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
    assert!(table.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().contains("attachment"));
    let both = [table.text().await.unwrap(), exporter.text("/api/v1/devices?format=json").await];
    let input = serde_json::to_string(&both).unwrap();
    let devices = crate::peers::python(&python, COMPARE, &[], &input);
    let devices: Vec<Value> = serde_json::from_str(&devices).unwrap();
    assert_eq!(devices.len(), 12);
    assert_eq!(devices.iter().filter(|device| device["username"] == "=bob@example.com").count(), 2);

    // Devices with an id have series.
    let samples = exporter.metrics().await;
    let with_id: Vec<_> = devices.iter().filter(|device| device["app_id"].is_string()).collect();
    assert_eq!(samples.series("wickr_device_info", &[]).count(), with_id.len());
    for device in with_id {
        let escaped = |name: &str| {
            let text = device[name].as_str().unwrap();
            text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        };
        let (app_id, kind, status) = (escaped("app_id"), escaped("device_type"), escaped("status"));
        let labels = [("app_id", app_id.as_str()), ("device_type", kind.as_str())];
        let get = |name: &str| samples.get(name, &labels);
        assert!(samples.get("wickr_device_info", &[labels[0], ("status", &status)]).is_some());
        assert_eq!(get("wickr_device_suspended"), device["suspended"].as_bool().map(f64::from));
        for (name, field) in [
            ("wickr_device_created_timestamp_seconds", "created"),
            ("wickr_device_last_login_timestamp_seconds", "last_login"),
        ] {
            let at = device[field]
                .as_str()
                .map(|text| text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as f64 / 1e3);
            assert_eq!(get(name), at, "{name}");
        }
        match (get("wickr_device_idle_seconds"), device["idle_seconds"].as_f64()) {
            (Some(later), Some(idle)) => assert!((0.0..60.0).contains(&(later - idle))),
            (later, idle) => assert_eq!(later, idle),
        }
    }
    let page = exporter.text("/devices").await;
    assert!(!page.contains("<script") && page.contains("&#60;script&#62;"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_with_missing_or_stale_users_say_so() {
    let simulator = serving(fleet()).await;
    simulator.faults().add("500,user=1002,times=1000".parse::<Fault>().unwrap());
    let poll = format!("{FAST}\nmax_attempts = 1\nstale_after = \"1h\"");
    let exporter = Exporter::start(&everything(&simulator, &poll, ""));
    settled(&exporter).await;
    let list = json(&exporter, "/api/v1/devices").await;
    assert_eq!((&list["complete"], &list["users"]["missing"]), (&false.into(), &1.into()));
    assert_eq!(ids(&list), ["a", "b"]);
    let page = exporter.text("/devices").await;
    assert!(page.contains("Devices are missing: no data for 1 user."), "{page}");
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["assessment"]["level"], "bad");
    let failure = &status["networks"][0]["failures"][0];
    assert_eq!(
        (&failure["reason"], &failure["user_ids"][0]),
        (&"server_error".into(), &"1002".into())
    );
    assert_eq!(json(&exporter, "/api/v1/devices?user_id=1001").await["complete"], true);

    simulator.faults().clear();
    exporter.wait_for("success", |samples| samples.sum("wickr_up") == 1.0).await;
    assert_eq!(json(&exporter, "/api/v1/status").await["assessment"]["level"], "good");
    simulator.faults().add("500,user=1001".parse::<Fault>().unwrap());
    exporter.wait_for("a stale user", |samples| samples.sum("wickr_up") == 0.0).await;
    let list = json(&exporter, "/api/v1/devices?freshness=stale").await;
    assert_eq!((ids(&list), &list["complete"]), (vec!["a", "b"], &true.into()));
    let page = exporter.text("/devices").await;
    assert_eq!(page.matches("class=\"stale\"").count(), 2, "{page}");
    assert!(page.contains("The data of 1 user is stale"), "{page}");
    assert_eq!(json(&exporter, "/api/v1/status").await["assessment"]["level"], "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_use_up_the_permits_for_large_lists_only() {
    let options =
        Options { users: 240, devices_per_user: Count { min: 96, max: 96 }, ..Options::default() };
    let simulator = simulator(options).await;
    let exporter =
        Exporter::start(&everything(&simulator, SLOW, "[metrics]\ndetail = \"network\""));
    exporter.polled(1.0).await;
    let address = exporter.base.trim_start_matches("http://").to_owned();
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET /api/v1/devices HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut start = [0; 100];
            stream.read_exact(&mut start).unwrap();
            stream
        })
        .collect();
    let response = exporter.get("/api/v1/devices").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    for path in ["/", "/devices", "/metrics", "/-/healthy", "/api/v1/status"] {
        assert_eq!(exporter.get(path).await.status(), StatusCode::OK, "{path}");
    }
    drop(slow);
    let deadline = std::time::Instant::now() + crate::harness::TIMEOUT;
    let response = loop {
        let response = exporter.get("/api/v1/devices").await;
        if response.status() == StatusCode::OK {
            break response;
        }
        assert!(std::time::Instant::now() < deadline, "the permits were not released");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let count = simulator.read_fleet(|fleet| fleet.device_count());
    assert!(count > 20_000, "{count}");
    assert_eq!(list["devices"].as_array().unwrap().len(), count);
    assert_eq!(list["matched"], count);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_incomplete_until_the_first_poll_has_ended() {
    let simulator = serving(fleet()).await;
    simulator.faults().add("hang,user=1002".parse::<Fault>().unwrap());
    let text = config(&simulator.endpoint(), SLOW, NETWORK, &["1001", "1002"]);
    let exporter = Exporter::start(&text);
    exporter.wait_for("one user", |samples: &Samples| samples.sum("wickr_user_up") == 1.0).await;
    let list = json(&exporter, "/api/v1/devices").await;
    assert_eq!((&list["complete"], &list["unsettled_networks"]), (&false.into(), &1.into()));
    assert_eq!(list["users"]["pending"], 1);
    let status = json(&exporter, "/api/v1/status").await;
    assert_eq!(status["assessment"]["level"], "waiting");
    let network = &status["networks"][0];
    assert_eq!((&network["up"], &network["devices"]), (&Value::Null, &Value::Null));
    assert_eq!(network["poll_progress"], serde_json::json!({ "done": 1, "total": 2 }));
    assert!(exporter.text("/").await.contains("The data is not complete yet."));
}
