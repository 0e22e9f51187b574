//! This version reads the files of all earlier ones. `tests/releases/VERSION` has the state file and
//! configurations of a version. `UPDATE_RELEASES=1 cargo test state_of_every_release` adds the folder
//! of the current version and never changes an existing one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wickr_exporter::{
    app::{Daemon, Serving},
    clock::{Clock, ManualClock, Millis},
    config,
    inventory::state,
    simulator::{
        ACCESS_KEY, Fault, Fleet, Options, SECRET_KEY, Simulator, device, network, security_group,
        user,
    },
    web::{RoutePrefix, TelemetryPath},
    wickr::{CredentialSource, Interner},
};

use crate::{
    harness::{Exporter, Samples, TIMEOUT, http, program},
    keys::Keys,
};

/// The endpoint in each `stateful.toml`. The tests listen there without responding, so that all data
/// is from the state file.
const ENDPOINT: &str = "127.113.19.87:20471";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The configuration for the state file.
const STATEFUL: &str = "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://127.113.19.87:20471\"\n\
    [poll]\ninterval = \"1h\"\nstale_after = \"30d\"\nrequests_per_second = 10000\nrequest_timeout = \"5m\"\n\
    [state]\npath = \"state\"\n\
    [[network]]\nid = \"22222222\"\nname = \"written out\"\nusers = [\"2001\", \"2002\"]\n\
    [[network]]\nid = \"all\"\nusers = \"all\"\n";
const MINIMAL: &str =
    "[aws]\nregion = \"us-east-1\"\n\n[[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";

fn releases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/releases")
}

/// The folders of all versions, including the current one.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(releases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let current = releases().join(VERSION);
    assert!(
        folders.contains(&current),
        "{} is missing: run UPDATE_RELEASES=1 cargo test state_of_every_release",
        current.display()
    );
    folders
}

/// The state files: `state.NETWORK`.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_stem().is_some_and(|stem| stem == "state"));
    assert!(!files.is_empty(), "{} has no state", folder.display());
    files
}

/// A copy of a folder's state files, and the configuration with their path.
fn copy_state(folder: &Path) -> (TempDir, String) {
    let copy = tempfile::tempdir().unwrap();
    for file in state_files(folder) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let state = copy.path().join("state");
    let text = fs::read_to_string(folder.join("stateful.toml")).unwrap();
    (copy, with_state(&text, &state))
}

fn with_state(config: &str, state: &Path) -> String {
    config.replace("\"state\"", &format!("{:?}", state.display().to_string()))
}

/// Listens on the endpoint, after a parallel test has released it.
async fn listen() -> TcpListener {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        match TcpListener::bind(ENDPOINT).await {
            Ok(listener) => return listener,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{ENDPOINT}: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A fleet with every kind of data in a state file.
fn fleet() -> Fleet {
    let unusual = user("1003")
        .device_raw(json!({"appId": "no time", "type": "iOS", "created": "long ago", "lastLogin": "some day"}))
        .device_raw(json!({"type": "Android", "statusText": "Active", "suspend": false, "lastLogin": 1_704_067_200}))
        .device_raw(json!({"appId": "no type", "type": null, "suspend": "perhaps", "lastLogin": null}))
        .device_raw(json!({"appId": "é\"\\\n{語", "type": "Telefón 📱", "statusText": "Gesperrt…", "suspend": true}));
    let many = (0..30).map(|number| {
        let device = device(format!("many-{number}")).kind(["iOS", "Windows", "Mac"][number % 3]);
        device.last_login_ago(std::time::Duration::from_secs(86_400 * (number as u64 + 1)))
    });
    Fleet::new()
        .network(
            network("11111111")
                .name("Zürich \"East\"\\")
                .group(
                    security_group("g1")
                        .name("everybody")
                        .sso_max_idle_minutes(1_440)
                        .default_group(),
                )
                .user(user("1001").username("a@example.com").device(device("a")))
                .user(user("1002").device(device("b").suspended()).device(device("c").reset()))
                .user(unusual)
                .user(user("1004"))
                .user(user("1005").with_devices(many))
                .user(user("1006").device(device("d").never_logged_in())),
        )
        .network(
            network("22222222")
                .name("another")
                .user(user("2001").device(device("e").kind("Linux")))
                .user(user("2002").device(device("f"))),
        )
        .network(network("33333333").name("empty"))
}

/// Writes the folder of the current version.
async fn write(folder: &Path) {
    let temporary = tempfile::tempdir_in(releases()).unwrap();
    let path = |name: &str| temporary.path().join(name);
    let put = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    let simulator = Simulator::start(listen().await, Options::serving(fleet())).unwrap();
    // A user without data.
    simulator.faults().add("404,user=2002".parse::<Fault>().unwrap());
    let state = path("state");
    let exporter = Exporter::start(&with_state(STATEFUL, &state));
    let ended = "wickr_exporter_last_poll_timestamp_seconds";
    exporter.wait_for("three polls", |s| s.series(ended, &[]).count() == 3).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    simulator.stop().await.unwrap();

    put("stateful.toml", STATEFUL);
    put("minimal.toml", MINIMAL);
    // The example configuration has every key.
    let example = fs::read_to_string("config.example.toml").unwrap();
    let keys = example.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    });
    let keys: Vec<_> = keys.filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    put("full.toml", &format!("{}\n", keys.join("\n")));
    // New keys are added to the copy by hand.
    let mut earlier: Vec<_> =
        fs::read_dir(releases()).unwrap().map(|e| e.unwrap().path()).collect();
    earlier.retain(|path| path.join("web.yml").exists());
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('.').map(|number| number.parse().unwrap()).collect()
    };
    let newest = earlier.iter().max_by_key(|path| version(path));
    fs::copy(newest.expect("an earlier release").join("web.yml"), path("web.yml")).unwrap();

    // One hour after the last poll, when all data is stale.
    let decode = |file: PathBuf| state::decode(&fs::read(file).unwrap(), &Interner::default());
    let networks = state_files(temporary.path()).into_iter().flat_map(|file| decode(file).unwrap());
    let last = networks.filter_map(|(_, network)| network.last_poll).map(|poll| poll.at).max();
    let now = last.unwrap() + 3_600_000;
    put("now", &format!("{now}\n"));
    put("metrics.txt", &exposition(temporary.path(), now).await);
    fs::rename(temporary.keep(), folder).unwrap();
}

/// The exposition of a folder's state at that time, before any response of the API.
async fn exposition(folder: &Path, now: Millis) -> String {
    let (_copy, text) = copy_state(folder);
    let config = config::parse(&text, "stateful.toml").unwrap();
    let credentials = CredentialSource::Fixed {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
    };
    let _endpoint = listen().await;
    let clock = Clock::manual(&ManualClock::new(now));
    let daemon = Daemon::new(&config, None, Some(credentials), clock).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let telemetry_path: TelemetryPath = "/metrics".parse().unwrap();
    let serving = Serving {
        listeners: vec![listener.into()],
        telemetry_path,
        route_prefix: RoutePrefix::default(),
        external_url: None,
        lifecycle: false,
        web_config: None,
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
        "the test"
    };
    let running = tokio::spawn(daemon.run(serving, shutdown));
    let get = async |query: &str| {
        let response = http().get(format!("{base}/metrics{query}")).send().await.unwrap();
        response.text().await.unwrap()
    };
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !is_polling(&Samples::parse(&get("").await)) {
        assert!(tokio::time::Instant::now() < deadline, "no poll starts");
    }
    let text = get("?collect[]=network&collect[]=user&collect[]=device").await;
    drop(stop);
    running.await.unwrap().unwrap();
    text
}

/// Whether both networks with users are being polled. Then missing users are known.
fn is_polling(samples: &Samples) -> bool {
    let progress = |id| samples.get("wickr_exporter_poll_progress_ratio", &[("network_id", id)]);
    progress("11111111") == Some(0.0) && progress("22222222") == Some(0.0)
}

/// The samples with one of these metric names.
fn select(samples: &Samples, names: &BTreeSet<String>) -> Vec<(String, f64)> {
    let matches = |series: &str| names.contains(series.split('{').next().unwrap());
    samples.0.iter().filter(|(series, _)| matches(series)).map(|(s, v)| (s.clone(), *v)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exposes_state_of_every_release_unchanged() {
    let current = releases().join(VERSION);
    if std::env::var_os("UPDATE_RELEASES").is_some() && !current.exists() {
        write(&current).await;
    }
    for folder in folders() {
        let now = fs::read_to_string(folder.join("now")).unwrap().trim().parse().unwrap();
        let before = Samples::parse(&fs::read_to_string(folder.join("metrics.txt")).unwrap());
        let after = Samples::parse(&exposition(&folder, now).await);
        // Later versions can have more families.
        let names = before.0.keys().map(|s| s.split('{').next().unwrap().to_owned()).collect();
        let (before, after) = (select(&before, &names), select(&after, &names));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "{}", folder.display());
        }
        assert_eq!(before.len(), after.len(), "{}", folder.display());
    }
}

/// Independent of `write`: the expected numbers are counted by hand.
#[test]
fn exposition_of_the_first_release_agrees_with_its_fleet() {
    let folder = releases().join("0.1.0");
    let text = fs::read_to_string(folder.join("metrics.txt")).unwrap();
    let samples = Samples::parse(&text);
    let users = |id, freshness| {
        samples.get("wickr_network_users", &[("network_id", id), ("freshness", freshness)])
    };
    assert_eq!([users("11111111", "fresh"), users("11111111", "stale")], [Some(0.0), Some(6.0)]);
    assert_eq!([users("22222222", "stale"), users("33333333", "stale")], [Some(1.0), Some(0.0)]);
    let devices = |kind| {
        samples.get("wickr_network_devices", &[("network_id", "11111111"), ("device_type", kind)])
    };
    // a to d, "no time" and 10 of `many`.
    assert_eq!(devices("iOS"), Some(15.0));
    assert_eq!(
        [devices("Windows"), devices("Mac"), devices("Android")],
        [Some(10.0), Some(10.0), Some(1.0)]
    );
    assert_eq!([devices("unknown"), devices("Telefón 📱")], [Some(1.0), Some(1.0)]);
    assert_eq!(samples.sum("wickr_network_devices_suspended"), 2.0);
    assert_eq!(samples.sum("wickr_network_devices_reset"), 1.0);
    // d, "no type" and the device with special characters.
    assert_eq!(samples.sum("wickr_network_devices_never_logged_in"), 3.0);
    assert!(text.contains(r#"app_id="é\"\\\n{語""#), "{text}");
    assert!(text.contains(r#"network_name="Zürich \"East\"\\""#), "{text}");
    assert!(!samples.has("wickr_up"), "no poll has ended");
    assert_eq!(samples.sum("wickr_user_up"), 0.0);
}

/// With the real clock, the devices in the state file can be too old, but the users remain.
#[tokio::test(flavor = "multi_thread")]
async fn program_restores_users_from_state_of_every_release() {
    for folder in folders() {
        let (_copy, config) = copy_state(&folder);
        let _endpoint = listen().await;
        let exporter = Exporter::start(&config);
        let before = Samples::parse(&fs::read_to_string(folder.join("metrics.txt")).unwrap());
        let after = exporter.wait_for("polls", is_polling).await;
        let names: BTreeSet<String> =
            ["wickr_network_info".to_owned(), "wickr_user_up".to_owned()].into();
        assert_eq!(select(&before, &names), select(&after, &names), "{}", folder.display());
        let (_, _, log) = exporter.stop();
        assert!(
            log.contains("restored the state files") && !log.contains("state file ignored"),
            "{log}"
        );
    }
}

#[test]
fn check_accepts_configurations_of_every_release() {
    for folder in folders() {
        let check = |config: &str, web_config: Option<&Path>| {
            let mut check = program();
            check.arg("check").arg("--config.file").arg(folder.join(config));
            if let Some(path) = web_config {
                check.arg("--web.config.file").arg(path);
            }
            let output = check.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{}/{config}: {stderr}", folder.display());
        };
        for name in ["full.toml", "minimal.toml", "stateful.toml"] {
            check(name, None);
        }
        let copy = tempfile::tempdir().unwrap();
        let keys = Keys::generate();
        let pair = keys.server();
        let web = copy.path().join("web.yml");
        fs::copy(folder.join("web.yml"), &web).unwrap();
        let files = [
            ("server.crt", pair.certificate),
            ("server.key", pair.key),
            ("ca.crt", keys.authority()),
        ];
        for (name, text) in files {
            fs::write(copy.path().join(name), text).unwrap();
        }
        check("minimal.toml", Some(&web));
    }
}

#[test]
fn rejects_truncated_changed_and_extended_state_files() {
    let labels = Interner::default();
    for file in folders().iter().flat_map(|folder| state_files(folder)) {
        let valid = fs::read(file).unwrap();
        assert!(state::decode(&valid, &labels).is_ok());
        for end in 0..valid.len() {
            assert!(state::decode(&valid[..end], &labels).is_err(), "truncated to {end}");
        }
        for bit in 0..valid.len() * 8 {
            let mut changed = valid.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(state::decode(&changed, &labels).is_err(), "bit {bit}");
        }
        for suffix in [&b"\0"[..], &valid] {
            assert!(state::decode(&[&valid[..], suffix].concat(), &labels).is_err());
        }
    }
}
