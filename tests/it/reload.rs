//! Reloads of the configuration: by signal, by request, and after a change of the file.

use std::time::{Duration, Instant};

use wickr_exporter::simulator::{
    Fault, Fleet, Operation, Options, Simulator, device, network, user,
};

use crate::harness::{Exporter, Samples, TIMEOUT, http, serving, simulator};

fn two_networks() -> Fleet {
    ["11111111", "22222222"].iter().fold(Fleet::new(), |fleet, id| {
        fleet.network(
            network(*id)
                .user(user("1").device(device("a").kind("iOS")))
                .user(user("2").device(device("b").kind("Windows"))),
        )
    })
}

/// A configuration of networks with their intervals. At `1h`, a test sees one poll only.
fn config(simulator: &Simulator, networks: &[(&str, &str)], more: &str) -> String {
    let mut text = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\nrequests_per_second = 10000\n{more}\n",
        simulator.endpoint()
    );
    for (id, interval) in networks {
        text.push_str(&format!(
            "[[network]]\nid = \"{id}\"\nusers = [\"1\", \"2\"]\npoll = {{ interval = \"{interval}\" }}\n"
        ));
    }
    text
}

fn last_reload_successful(samples: &Samples) -> f64 {
    samples.get("wickr_exporter_config_last_reload_successful", &[]).unwrap()
}

fn polls(samples: &Samples, id: &str) -> f64 {
    samples
        .series("wickr_exporter_polls_total", &[("network_id", id)])
        .map(|(_, value)| value)
        .sum()
}

async fn post(exporter: &Exporter) -> (u16, String) {
    let response = http().post(format!("{}/-/reload", exporter.base)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_keeps_unchanged_networks_and_adds_and_removes_others() {
    let simulator = serving(two_networks()).await;
    let both = config(&simulator, &[("11111111", "1h"), ("22222222", "1h")], "");
    let exporter = Exporter::start_with(&both, &["--web.enable-lifecycle"], &[]);
    exporter.wait_for("both", |s| s.sum("wickr_up") == 2.0).await;
    let requests = simulator.requests().total();

    let first = config(&simulator, &[("11111111", "1h")], "[metrics]\ndetail = \"user\"");
    std::fs::write(exporter.config_path(), &first).unwrap();
    assert_eq!(post(&exporter).await.0, 200);
    let samples = exporter.metrics().await;
    assert_eq!(samples.series("wickr_up", &[]).count(), 1, "removed immediately");
    assert!(samples.0.keys().all(|series| !series.contains("22222222")));
    assert_eq!(samples.sum("wickr_network_devices"), 2.0, "data of the other network");
    assert!(!samples.has("wickr_device_info") && samples.has("wickr_user_up"));
    assert_eq!(polls(&samples, "11111111"), 1.0);
    assert_eq!(simulator.requests().total(), requests, "no new poll");
    assert_eq!(last_reload_successful(&samples), 1.0);

    // The first network has another interval, and keeps its data until its next poll.
    simulator.faults().add("slow:1s,network=11111111".parse::<Fault>().unwrap());
    let changed = config(&simulator, &[("11111111", "30m"), ("22222222", "1h")], "");
    std::fs::write(exporter.config_path(), &changed).unwrap();
    exporter.signal("HUP");
    let samples = exporter
        .wait_for("the second network", |s| {
            s.series("wickr_up", &[("network_id", "22222222")]).count() == 1
        })
        .await;
    assert_eq!(
        samples.get("wickr_network_devices", &[("network_id", "11111111"), ("device_type", "iOS")]),
        Some(1.0)
    );
    exporter.wait_for("another poll", |s| polls(s, "11111111") == 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_errors_of_invalid_file_and_keeps_previous_configuration() {
    let simulator = serving(two_networks()).await;
    let good = config(&simulator, &[("11111111", "1s")], "");
    let exporter = Exporter::start_with(&good, &["--web.enable-lifecycle"], &[]);
    let before = exporter.polled(1.0).await;
    let loaded = |s: &Samples| {
        s.get("wickr_exporter_config_last_reload_success_timestamp_seconds", &[]).unwrap()
    };
    for (bad, part) in [
        (
            "[poll]\nintervall = \"1s\"\n",
            "poll.intervall: unknown key; did you mean poll.interval?",
        ),
        ("nonsense", "not valid TOML"),
    ] {
        std::fs::write(exporter.config_path(), bad).unwrap();
        let (status, text) = post(&exporter).await;
        assert_eq!(status, 500);
        assert!(text.contains(part), "{text}");
        let samples = exporter.metrics().await;
        assert_eq!(last_reload_successful(&samples), 0.0);
        assert_eq!(loaded(&samples), loaded(&before));
        assert!(
            exporter.log().contains("the previous configuration stays in use"),
            "{}",
            exporter.log()
        );
    }
    std::fs::remove_file(exporter.config_path()).unwrap();
    assert_eq!(post(&exporter).await.0, 500);
    exporter.next_poll().await;
    std::fs::write(exporter.config_path(), good).unwrap();
    assert_eq!(post(&exporter).await.0, 200);
    let samples = exporter.metrics().await;
    assert_eq!(last_reload_successful(&samples), 1.0);
    assert!(loaded(&samples) > loaded(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_keeps_data_and_readiness_with_new_time_zone_or_network() {
    let simulator = serving(two_networks()).await;
    let all = |zone: &str| {
        format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\ntimezone = \"{zone}\"\n\
             [poll]\ninterval = \"1h\"\nstale_after = \"10h\"\nrequests_per_second = 10000\n\
             [[network]]\nid = \"all\"\nusers = \"all\"\n",
            simulator.endpoint()
        )
    };
    let exporter = Exporter::start_with(&all("UTC"), &["--web.enable-lifecycle"], &[]);
    exporter.wait_for("both", |s| s.sum("wickr_up") == 2.0).await;
    // The API stops responding.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    std::fs::write(exporter.config_path(), all("Europe/Berlin")).unwrap();
    assert_eq!(post(&exporter).await.0, 200);
    let samples = exporter.metrics().await;
    assert_eq!(samples.sum("wickr_network_devices"), 4.0);
    let extended = all("UTC") + "[[network]]\nid = \"33333333\"\nusers = [\"1\"]\n";
    std::fs::write(exporter.config_path(), extended).unwrap();
    assert_eq!(post(&exporter).await.0, 200);
    assert_eq!(exporter.get("/-/ready").await.status(), 200, "readiness is permanent");
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_from_listed_to_all_networks_keeps_data_until_discovery() {
    let simulator = serving(two_networks()).await;
    let listed = config(&simulator, &[("11111111", "1h")], "stale_after = \"10h\"");
    let exporter = Exporter::start_with(&listed, &["--web.enable-lifecycle"], &[]);
    exporter.polled(1.0).await;
    for operation in ["ListNetworks", "ListDevicesForUser"] {
        simulator.faults().add(format!("hang,op={operation}").parse::<Fault>().unwrap());
    }
    let all = listed.replace("\"11111111\"", "\"all\"").replace("[\"1\", \"2\"]", "\"all\"");
    std::fs::write(exporter.config_path(), all).unwrap();
    assert_eq!(post(&exporter).await.0, 200);
    let samples = exporter.metrics().await;
    assert_eq!(samples.sum("wickr_network_devices"), 2.0);
    // Discovery finds both networks.
    simulator.faults().clear();
    assert_eq!(post(&exporter).await.0, 200);
    exporter.wait_for("both", |s| s.sum("wickr_network_devices") == 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_reload_detects_changed_content_after_link_swap() {
    let simulator = serving(two_networks()).await;
    let folder = tempfile::tempdir().unwrap();
    // The layout of a mounted ConfigMap: config.toml -> ..data/config.toml, ..data -> a directory.
    let path = folder.path().to_owned();
    let write = |name: &str, text: &str| {
        let data = path.join(name);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("config.toml"), text).unwrap();
        let link = path.join("..new");
        std::os::unix::fs::symlink(name, &link).unwrap();
        std::fs::rename(link, path.join("..data")).unwrap();
    };
    write("..1", &config(&simulator, &[("11111111", "1h")], ""));
    std::os::unix::fs::symlink("..data/config.toml", folder.path().join("config.toml")).unwrap();
    let exporter = Exporter::start_in(folder, &["--config.enable-auto-reload"], &[]);
    exporter.polled(1.0).await;
    write("..2", &config(&simulator, &[("11111111", "1h"), ("22222222", "1h")], ""));
    exporter.wait_for("the other network", |s| s.sum("wickr_up") == 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frequent_reloads_lose_no_data_and_block_no_scrapes() {
    let simulator = simulator(Options { users: 2_000, churn: 50.0, ..Options::default() }).await;
    let text = |rate: u32| {
        format!(
            "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\ninterval = \"1h\"\n\
             requests_per_second = {rate}\n[[network]]\nid = \"12345678\"\nusers = \"all\"\n",
            simulator.endpoint()
        )
    };
    let exporter = Exporter::start_with(&text(10_000), &["--web.enable-lifecycle"], &[]);
    exporter.polled(1.0).await;
    let before = simulator.requests().count(Operation::ListDevicesForUser);
    let until = Instant::now() + Duration::from_secs(5);
    let mut reloads = 0;
    while Instant::now() < until {
        reloads += 1;
        std::fs::write(exporter.config_path(), text(10_000 + reloads)).unwrap();
        let ((status, body), samples) = tokio::join!(post(&exporter), exporter.metrics());
        assert_eq!(status, 200, "{body}");
        assert_eq!(samples.sum("wickr_network_users"), 2_000.0);
        assert_eq!(samples.sum("wickr_up"), 1.0);
    }
    assert!(reloads >= 3, "{reloads}");
    let samples = exporter.metrics().await;
    assert_eq!(samples.sum("wickr_exporter_api_rate_limit"), f64::from(10_000 + reloads));
    let after = simulator.requests().count(Operation::ListDevicesForUser);
    assert_eq!(after, before, "no user is polled again");
    assert!(until.elapsed() < TIMEOUT);
}
