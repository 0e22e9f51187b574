//! End-to-end alerting, from a device in the simulator to a notification, by Prometheus and
//! Alertmanager with the shipped configurations and rules.
//!
//! Differences to the shipped files: addresses; 1 second for the scrape and evaluation intervals, `for`,
//! `keep_firing_for`, `group_wait` and `group_interval`; 2 seconds for the age of a network with lost
//! shards; and a webhook instead of Slack. Thresholds are unchanged.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use serde_json::{Value, json};
use wickr_exporter::simulator::{Device, Fleet, Simulator, device, network, security_group, user};

use crate::{
    harness::{Exporter, TIMEOUT, serving},
    prometheus::{Prometheus, free_port},
    tools,
};

/// The network that is polled with `detail = "device"`.
const DEVICES: &str = "12345678";
/// The network that is polled with `detail = "network"`.
const TOTALS: &str = "87654321";

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(name);
    fs::read_to_string(path).unwrap()
}

/// Replaces the value in every line `key: value`.
fn set(text: &str, key: &str, value: &str) -> String {
    let mut found = false;
    let lines = text.lines().map(|line| match line.trim_start().strip_prefix(key) {
        Some(rest) if rest.starts_with(": ") => {
            found = true;
            let indent = &line[..line.len() - line.trim_start().len()];
            format!("{indent}{key}: {value}\n")
        }
        _ => format!("{line}\n"),
    });
    let text = lines.collect();
    assert!(found, "no {key}");
    text
}

/// Receives notifications and collects their alerts.
#[derive(Clone, Default)]
struct Webhook(Arc<Mutex<Vec<Value>>>);

impl Webhook {
    /// Starts listening and returns the URL.
    async fn listen(&self) -> String {
        let received = self.0.clone();
        let hook = async move |body: String| {
            let notification: Value = serde_json::from_str(&body).unwrap();
            let alerts = notification["alerts"].as_array().unwrap().clone();
            received.lock().unwrap().extend(alerts);
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(hook));
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}/")
    }

    /// Waits for an alert with this name, network (null for none) and status, `firing` or `resolved`.
    async fn wait_for(&self, name: &str, network: impl Into<Value>, status: &str) -> Value {
        let network = network.into();
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let alerts = self.0.lock().unwrap().clone();
            let matches = |alert: &&Value| {
                let labels = &alert["labels"];
                let actual = (&labels["alertname"], &labels["network_id"], &alert["status"]);
                actual == (&json!(name), &network, &json!(status))
            };
            if let Some(alert) = alerts.iter().find(matches) {
                return alert.clone();
            }
            assert!(Instant::now() < deadline, "{name} is not {status}: {alerts:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A running Alertmanager. Dropping it kills it.
struct Alertmanager {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start(program: &Path, webhook: &str) -> Alertmanager {
        let text = shipped("alertmanager.yml");
        let text = ["group_wait", "group_interval"]
            .into_iter()
            .fold(text, |text, key| set(&text, key, "1s"));
        let (before, rest) = text.split_once("\nreceivers:\n").unwrap();
        let (_, after) = rest.split_once("\ninhibit_rules:\n").unwrap();
        let text = format!(
            "{before}\nreceivers:\n  - name: slack\n    webhook_configs: [{{url: '{webhook}', send_resolved: true}}]\n\
             \ninhibit_rules:\n{after}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alertmanager.yml");
        fs::write(&file, text).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Alertmanager { child, address, _folder: folder }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prometheus with the shipped configuration and rules, and short intervals.
fn prometheus(program: &Path, exporters: &[&str], alertmanager: &str) -> Prometheus {
    let config = ["scrape_interval", "evaluation_interval"]
        .into_iter()
        .fold(shipped("prometheus.yml"), |text, key| set(&text, key, "1s"));
    assert_eq!(config.matches("[\"localhost:10471\"]").count(), 2);
    let config = config
        .replace("[\"localhost:10471\"]", &format!("{exporters:?}"))
        .replace("localhost:9093", alertmanager);
    assert!(config.contains(alertmanager));
    let rules = ["for", "keep_firing_for"]
        .into_iter()
        .fold(shipped("wickr-exporter.rules.yml"), |text, key| set(&text, key, "1s"))
        .replace(
            "wickr_exporter_poll_progress_ratio offset 1h",
            "wickr_exporter_poll_progress_ratio offset 2s",
        );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    fs::write(folder.path().join("wickr-exporter.rules.yml"), rules).unwrap();
    Prometheus::start_in(program, folder)
}

fn exporter(
    simulator: &Simulator,
    network: &str,
    name: &str,
    detail: &str,
    arguments: &[&str],
) -> Exporter {
    let config = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\ninterval = \"1s\"\nrequests_per_second = 10000\n\
         [metrics]\ndetail = \"{detail}\"\n\
         [sso]\nmax_idle = \"security-groups\"\n\
         [[network]]\nid = \"{network}\"\nname = \"{name}\"\nusers = \"all\"\n",
        simulator.endpoint()
    );
    Exporter::start_with(&config, arguments, &[])
}

/// A network of two users: one without an SSO idle limit, one with a limit of a week.
fn two_users(id: &str) -> wickr_exporter::simulator::Network {
    network(id)
        .group(security_group("week").sso_max_idle_minutes(7 * 24 * 60))
        .user(user("1001").device(device("phone").kind("iOS")))
        .user(user("1002").in_group("week").device(device("laptop").kind("Windows")))
}

/// Replaces the user's devices by this one, in both networks.
fn replace_device(simulator: &Simulator, user: &str, device: &Device) {
    simulator.change_fleet(|fleet| {
        for network in [DEVICES, TOTALS] {
            let user = fleet.user_mut(network, user).unwrap();
            user.retain_devices(|_| false);
            user.add_device(device.clone());
        }
    });
}

fn text<'a>(alert: &'a Value, annotation: &str) -> &'a str {
    alert["annotations"][annotation].as_str().unwrap_or_else(|| panic!("{annotation}: {alert:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_of_idle_devices_and_resolves_after_a_login() {
    let Some(prometheus_program) = tools::find("prometheus") else { return };
    let Some(alertmanager_program) = tools::find("prometheus-alertmanager") else { return };
    let simulator =
        serving(Fleet::new().network(two_users(DEVICES)).network(two_users(TOTALS))).await;
    let per_device = exporter(&simulator, DEVICES, "production", "device", &[]);
    let external = "https://example.com/wickr";
    let arguments = [&format!("--web.external-url={external}"), "--web.route-prefix=/"];
    let totals = exporter(&simulator, TOTALS, "staging", "network", &arguments);
    let webhook = Webhook::default();
    let alertmanager = Alertmanager::start(&alertmanager_program, &webhook.listen().await);
    let addresses =
        [&per_device, &totals].map(|exporter| exporter.base.trim_start_matches("http://"));
    let prometheus = prometheus(&prometheus_program, &addresses, &alertmanager.address);

    // Healthy in both jobs and in the recording rules.
    prometheus.wait_for("count(up{job=~\"wickr-exporter.*\"} == 1) == 4").await;
    prometheus.wait_for("count(wickr_network_devices_sso_expired) == 4").await;
    prometheus.wait_for("count(network:wickr_up:min == 1) == 2").await;
    let device_alerts = "ALERTS{alertname=~\"Wickr(Device.*|Devices.*|Sso.*)\"}";
    assert_eq!(prometheus.query(device_alerts).await.unwrap(), Vec::<Value>::new());

    replace_device(&simulator, "1001", &device("phone").kind("iOS").last_login_ago(days(31)));
    replace_device(&simulator, "1002", &device("laptop").kind("Windows").last_login_ago(days(8)));

    let idle = webhook.wait_for("WickrDeviceIdle", DEVICES, "firing").await;
    assert_eq!(
        idle["labels"],
        json!({
            "alertname": "WickrDeviceIdle", "severity": "info", "network_id": DEVICES,
            "network_name": "production", "user_id": "1001", "app_id": "phone", "device_type": "iOS",
        })
    );
    let summary = text(&idle, "summary");
    assert!(
        summary.starts_with("A device (iOS) of Wickr user 1001 has been idle for 31d 0h"),
        "{summary}"
    );
    let base = &per_device.base;
    let url = format!("{base}/devices?network_id={DEVICES}&user_id=1001&idle_over=30d");
    assert_eq!(text(&idle, "devices_url"), url);
    // The exporter with an external URL serves the runbooks for both.
    let runbook = text(&idle, "runbook_url").strip_prefix(external).unwrap();
    let (path, anchor) = runbook.split_once('#').unwrap();
    let page = totals.get(path).await.text().await.unwrap();
    assert!(page.contains(&format!("id=\"{anchor}\"")), "{runbook}");

    let expired = webhook.wait_for("WickrDeviceSsoExpired", DEVICES, "firing").await;
    assert_eq!(
        expired["labels"],
        json!({
            "alertname": "WickrDeviceSsoExpired", "severity": "info", "network_id": DEVICES,
            "network_name": "production", "user_id": "1002", "app_id": "laptop",
            "device_type": "Windows",
        })
    );
    let description = text(&expired, "description");
    assert!(
        description.contains("for 8d 0h")
            && description.contains("longer than the user's SSO idle limit"),
        "{description}"
    );
    let url = format!("{base}/devices?network_id={DEVICES}&user_id=1002&sso_expired=true");
    assert_eq!(text(&expired, "devices_url"), url);

    // Without device series, the alerts count devices.
    for (name, filter) in
        [("WickrDevicesIdle", "idle_over=30d"), ("WickrSsoSessionsExpired", "sso_expired=true")]
    {
        let counted = webhook.wait_for(name, TOTALS, "firing").await;
        assert_eq!(
            counted["labels"],
            json!({"alertname": name, "severity": "info", "network_id": TOTALS, "network_name": "staging"})
        );
        let summary = text(&counted, "summary");
        assert!(summary.starts_with("1 devices of Wickr network 87654321 (staging)"), "{summary}");
        let url = format!("{external}/devices?network_id={TOTALS}&{filter}");
        assert_eq!(text(&counted, "devices_url"), url);
    }

    // A login on both devices.
    for (user, device) in
        [("1001", device("phone").kind("iOS")), ("1002", device("laptop").kind("Windows"))]
    {
        replace_device(&simulator, user, &device.last_login_ago(Duration::ZERO));
    }
    for (name, network) in [
        ("WickrDeviceIdle", DEVICES),
        ("WickrDeviceSsoExpired", DEVICES),
        ("WickrDevicesIdle", TOTALS),
        ("WickrSsoSessionsExpired", TOTALS),
    ] {
        webhook.wait_for(name, network, "resolved").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_of_rejected_credentials_with_the_remedy() {
    let Some(prometheus_program) = tools::find("prometheus") else { return };
    let Some(alertmanager_program) = tools::find("prometheus-alertmanager") else { return };
    let simulator = serving(Fleet::new().network(two_users(DEVICES))).await;
    let exporter = exporter(&simulator, DEVICES, "production", "network", &[]);
    let webhook = Webhook::default();
    let alertmanager = Alertmanager::start(&alertmanager_program, &webhook.listen().await);
    let address = exporter.base.trim_start_matches("http://");
    let prometheus = prometheus(&prometheus_program, &[address], &alertmanager.address);
    prometheus.wait_for("network:wickr_up:min == 1").await;

    simulator.credentials().deny_network(DEVICES);
    let refused = webhook.wait_for("WickrCredentialsRefused", DEVICES, "firing").await;
    assert_eq!(
        refused["labels"],
        json!({
            "alertname": "WickrCredentialsRefused", "severity": "critical", "reason": "forbidden",
            "network_id": DEVICES, "network_name": "production",
        })
    );
    let description = text(&refused, "description");
    let start = "2 users were not read because the Wickr API answered forbidden.";
    assert!(description.starts_with(start), "{description}");
    assert!(description.contains("check --iam-policy"), "{description}");

    simulator.credentials().allow_network(DEVICES);
    webhook.wait_for("WickrCredentialsRefused", DEVICES, "resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_of_rejected_discovery_without_a_known_network() {
    let Some(prometheus_program) = tools::find("prometheus") else { return };
    let Some(alertmanager_program) = tools::find("prometheus-alertmanager") else { return };
    let simulator = serving(Fleet::new().network(two_users(DEVICES))).await;
    for fault in ["forbidden,op=ListNetworks", "forbidden,op=ListUsers"] {
        simulator.faults().add(fault.parse::<wickr_exporter::simulator::Fault>().unwrap());
    }
    let exporters = ["all", DEVICES].map(|id| {
        Exporter::start(&format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
             [poll]\ninterval = \"1s\"\n[discovery]\ninterval = \"1s\"\n\
             [[network]]\nid = \"{id}\"\nusers = \"all\"\n",
            simulator.endpoint()
        ))
    });
    let webhook = Webhook::default();
    let alertmanager = Alertmanager::start(&alertmanager_program, &webhook.listen().await);
    let addresses =
        exporters.each_ref().map(|exporter| exporter.base.trim_start_matches("http://"));
    let prometheus = prometheus(&prometheus_program, &addresses, &alertmanager.address);

    for (exporter, operation) in addresses.iter().zip(["ListNetworks", "ListUsers"]) {
        let alert = format!(
            "ALERTS{{alertname=\"WickrDiscoveryRefused\", alertstate=\"firing\", instance=\"{exporter}\", operation=\"{operation}\"}}"
        );
        prometheus.wait_for(&alert).await;
    }
    let refused = webhook.wait_for("WickrDiscoveryRefused", Value::Null, "firing").await;
    assert_eq!(refused["labels"]["severity"], "critical");
    assert!(text(&refused, "description").contains("check --iam-policy"));
    let no_network = "ALERTS{alertname=\"WickrNoNetwork\", alertstate=\"firing\"}";
    let no_network = prometheus.wait_for(no_network).await;
    assert_eq!(no_network.len(), 1, "{no_network:?}");
    assert_eq!(no_network[0]["metric"]["instance"], addresses[0]);

    simulator.faults().clear();
    prometheus.wait_for("count(network:wickr_up:min == 1)").await;
    prometheus.wait_for("absent(ALERTS{alertname=\"WickrNoNetwork\"})").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifies_of_a_shard_without_a_target() {
    let Some(prometheus_program) = tools::find("prometheus") else { return };
    let Some(alertmanager_program) = tools::find("prometheus-alertmanager") else { return };
    // At least one of three shards has no user.
    let simulator = serving(Fleet::new().network(two_users(DEVICES))).await;
    let shards = [0, 1, 2].map(|index| {
        Exporter::start(&format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\ninterval = \"1s\"\n\
             [shard]\nindex = {index}\ntotal = 3\n[[network]]\nid = \"all\"\nusers = \"all\"\n",
            simulator.endpoint()
        ))
    });
    let webhook = Webhook::default();
    let alertmanager = Alertmanager::start(&alertmanager_program, &webhook.listen().await);
    let addresses = shards.each_ref().map(|shard| shard.base.trim_start_matches("http://"));
    let complete = prometheus(&prometheus_program, &addresses, &alertmanager.address);
    complete.wait_for("count(wickr_exporter_poll_progress_ratio offset 3s) == 3").await;
    let alerts = complete.query("ALERTS{alertname=~\"WickrShard.*\"}").await.unwrap();
    assert!(alerts.is_empty(), "{alerts:?}");

    let targets = [addresses[0], addresses[2]];
    let _incomplete = prometheus(&prometheus_program, &targets, &alertmanager.address);
    let missing = webhook.wait_for("WickrShardsMissing", Value::Null, "firing").await;
    assert_eq!(text(&missing, "summary"), "1 shard of the job wickr-exporter is missing.");
    let description = text(&missing, "description");
    assert!(description.starts_with("Running shards: 0, 2. "), "{description}");
}
