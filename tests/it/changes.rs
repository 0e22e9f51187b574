//! Changes of devices: the counters and log lines after changes in the simulator, failures, reloads and
//! restarts.

use std::{collections::BTreeMap, path::Path};

use wickr_exporter::simulator::{
    Fault, Fleet, Network, Simulator, days, device, hours, network, user,
};

use crate::harness::{Exporter, Samples, http, serving};

const FAMILY: &str = "wickr_network_device_changes_total";
const NETWORK: &str = "12345678";

fn fleet() -> Fleet {
    let devices = |user: &str| {
        ["a", "b", "c", "d"]
            .map(|name| device(format!("{user}{name}")).kind("iOS").last_login_ago(days(2)))
    };
    let users = ["1", "2"].map(|id| user(id).username("ann@example.com").with_devices(devices(id)));
    Fleet::new().network(network(NETWORK).with_users(users))
}

fn config(simulator: &Simulator, more: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\ninterval = \"500ms\"\nrequests_per_second = 10000\nmax_attempts = 1\npage_size = 2\n\
         [discovery]\ninterval = \"1s\"\n{more}\n\
         [[network]]\nid = \"{NETWORK}\"\nusers = \"all\"\n",
        simulator.endpoint()
    )
}

fn state(folder: &Path) -> String {
    format!("[state]\npath = \"{}\"\n", folder.join("state").display())
}

/// The counters of all exporters: added, removed, suspended, unsuspended, reset, login.
fn counts(samples: &Samples) -> [f64; 6] {
    ["added", "removed", "suspended", "unsuspended", "reset", "login"]
        .map(|change| samples.get(FAMILY, &[("change", change)]).unwrap_or(f64::NAN))
}

async fn wait_for(exporter: &Exporter, expected: [f64; 6]) {
    exporter.wait_for(&format!("{expected:?}"), |s| counts(s) == expected).await;
    // Another poll counts nothing.
    exporter.next_poll().await;
    assert_eq!(counts(&exporter.next_poll().await), expected);
}

fn change(simulator: &Simulator, change: impl FnOnce(&mut Network)) {
    simulator.change_fleet(|fleet| change(fleet.get_mut(NETWORK).unwrap()));
}

/// One change of each kind.
fn change_each(network: &mut Network) {
    let first = network.user_mut("1").unwrap();
    first.add_device(device("1e").kind("Android").suspended());
    first.remove_device("1a");
    first.device_mut("1b").unwrap().set_suspended(true);
    let second = network.user_mut("2").unwrap();
    second.device_mut("2a").unwrap().log_in();
    let reset = second.device_mut("2b").unwrap();
    *reset = reset.clone().reset();
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_logs_each_kind_of_change_but_not_the_first_read() {
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&config(&simulator, "[log]\nchanges = true"));
    let samples = exporter.wait_for("the network", |s| s.has("wickr_network_devices")).await;
    assert_eq!(counts(&samples), [0.0; 6]);
    change(&simulator, change_each);
    wait_for(&exporter, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]).await;
    // A new user and its devices.
    change(&simulator, |network| network.add_user(user("3").device(device("3a"))));
    exporter.wait_for("the user", |s| s.sum("wickr_user_up") == 3.0).await;
    change(&simulator, |network| {
        network.user_mut("1").unwrap().device_mut("1b").unwrap().set_suspended(false);
        network.remove_user("2");
    });
    let expected = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    // Until discovery drops the user, `wickr_user_up` is 0, and its devices are still compared.
    let second = |s: &Samples| s.get("wickr_user_up", &[("user_id", "2")]);
    exporter.wait_for("the removal", |s| second(s).is_none()).await;
    wait_for(&exporter, expected).await;
    change(&simulator, |network| network.add_user(user("2").device(device("2z"))));
    exporter.wait_for("the return", |s| s.sum("wickr_user_up") == 3.0).await;
    wait_for(&exporter, expected).await;
    let log = exporter.log();
    let mut lines: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" level=info message=\"device changed\" "))
        .map(|(_, fields)| fields)
        .collect();
    lines.sort_unstable();
    let line = |user: u8, device: &str, kind: &str, change: &str| {
        format!(
            "network_id={NETWORK} user_id={user} app_id={device} device_type={kind} change={change}"
        )
    };
    assert_eq!(
        lines,
        [
            line(1, "1a", "iOS", "removed"),
            line(1, "1b", "iOS", "suspended"),
            line(1, "1b", "iOS", "unsuspended"),
            line(1, "1e", "Android", "added"),
            line(2, "2a", "iOS", "login"),
            line(2, "2b", "iOS", "reset"),
        ],
        "{log}"
    );
    assert!(!log.contains("example.com"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compares_with_the_last_complete_read_after_failures() {
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(
        &config(&simulator, "").replace("[discovery]", "stale_after = \"1s\"\n[discovery]"),
    );
    exporter.wait_for("the network", |s| s.has("wickr_network_devices")).await;
    // Only the second page fails, until the data has expired.
    simulator.faults().add("500,op=ListDevicesForUser,page=2".parse::<Fault>().unwrap());
    change(&simulator, change_each);
    let missing = |s: &Samples| s.get("wickr_network_users", &[("freshness", "missing")]);
    let samples = exporter.wait_for("no data", |s| missing(s) == Some(2.0)).await;
    assert_eq!(counts(&samples), [0.0; 6]);
    exporter.next_poll().await;
    simulator.faults().clear();
    wait_for(&exporter, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn continues_after_reloads_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &state(folder.path()));
    let exporter = Exporter::start_with(&text, &["--web.enable-lifecycle"], &[]);
    exporter.wait_for("the network", |s| s.has("wickr_network_devices")).await;
    change(&simulator, change_each);
    wait_for(&exporter, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]).await;
    // The times of the simulator have no zone: all are five hours later now, which is no login.
    let reloaded = text.replace("[poll]", "timezone = \"Etc/GMT+5\"\n[poll]");
    std::fs::write(exporter.config_path(), &reloaded).unwrap();
    let login = exporter.metrics().await.sum("wickr_device_last_login_timestamp_seconds");
    let response = http().post(format!("{}/-/reload", exporter.base)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    exporter
        .wait_for("the time zone", |s| {
            s.sum("wickr_device_last_login_timestamp_seconds") - login == 8.0 * 5.0 * 3600.0
        })
        .await;
    wait_for(&exporter, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]).await;
    exporter.stop();
    change(&simulator, |network| {
        network.user_mut("1").unwrap().add_device(device("1x"));
        network.user_mut("2").unwrap().device_mut("2c").unwrap().log_in();
    });
    let exporter = Exporter::start(&reloaded);
    let first = counts(&exporter.metrics().await);
    assert!(first[0] >= 1.0 && first[5] >= 1.0, "{first:?}");
    wait_for(&exporter, [2.0, 1.0, 1.0, 0.0, 1.0, 2.0]).await;
    exporter.kill();
    change(&simulator, |network| {
        network.user_mut("1").unwrap().remove_device("1x");
    });
    // The time zone changes while the exporter does not run.
    let exporter = Exporter::start(&text.replace("[poll]", "timezone = \"Etc/GMT+9\"\n[poll]"));
    wait_for(&exporter, [2.0, 2.0, 1.0, 0.0, 1.0, 2.0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_count_the_changes_of_their_users() {
    let users = (1..=12)
        .map(|id| user(id.to_string()).device(device(format!("{id}a")).last_login_ago(hours(3))));
    let simulator = serving(Fleet::new().network(network(NETWORK).with_users(users))).await;
    let shards = [0, 1].map(|index| {
        Exporter::start(&config(&simulator, &format!("[shard]\nindex = {index}\ntotal = 2")))
    });
    let sum = async || {
        let mut sum = BTreeMap::<_, f64>::new();
        for shard in &shards {
            for change in ["added", "removed"] {
                let samples = shard.metrics().await;
                *sum.entry(change).or_default() +=
                    samples.get(FAMILY, &[("change", change)]).unwrap();
            }
        }
        (sum["added"], sum["removed"])
    };
    for shard in &shards {
        shard.wait_for("the network", |s| s.has(FAMILY)).await;
    }
    assert_eq!(sum().await, (0.0, 0.0));
    change(&simulator, |network| {
        for id in 1..=12 {
            network.user_mut(&id.to_string()).unwrap().add_device(device(format!("{id}b")));
        }
        network.user_mut("5").unwrap().remove_device("5a");
    });
    for shard in &shards {
        shard.next_poll().await;
        shard.next_poll().await;
    }
    assert_eq!(sum().await, (12.0, 1.0));
}
