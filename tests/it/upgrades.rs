//! What earlier versions left is taken up by this one: `tests/releases/` has a folder for each, with
//! the state file and the configurations as that version wrote and read them. `UPDATE_RELEASES=1 cargo
//! test state_of_every_release` adds the folder of the present version, if there is none. What is there is never
//! written again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
};

use serde_json::json;
use tokio::net::TcpListener;
use wickr_exporter::{
    app::{Daemon, Serving},
    clock::{Clock, Millis},
    config,
    inventory::state,
    simulator::{
        ACCESS_KEY, Fault, Fleet, Options, SECRET_KEY, Simulator, device, network, security_group,
        user,
    },
    web::TelemetryPath,
    wickr::{CredentialSource, Interner},
};

use crate::{
    harness::{Exporter, PATIENCE, Samples, http, program},
    keys::Keys,
};

/// Where the service of all folders was. Nothing else listens on such an address, and what holds it
/// here says nothing: what is known then comes from the state file alone.
const ENDPOINT: &str = "127.113.19.87:20471";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The configuration that the state file was written with; its path is a file beside it.
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

/// The folders, the present version's among them.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(releases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let present = releases().join(VERSION);
    assert!(
        folders.contains(&present),
        "there is no {}: UPDATE_RELEASES=1 cargo test state_of_every_release makes it",
        present.display()
    );
    folders
}

/// Holds the service's address. Another run of these tests may hold it for a moment.
async fn hold() -> TcpListener {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(ENDPOINT).await {
            Ok(listener) => return listener,
            Err(error) => assert!(tokio::time::Instant::now() < until, "{ENDPOINT}: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A fleet with all that a state file may hold.
fn fleet() -> Fleet {
    let odd = user("1003")
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
                .user(odd)
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

/// Writes the folder of the present version.
async fn write(folder: &Path) {
    let unfinished = tempfile::tempdir_in(releases()).unwrap();
    let at = |name: &str| unfinished.path().join(name);
    let put = |name: &str, text: &str| fs::write(at(name), text).unwrap();
    let simulator = Simulator::start(hold().await, Options::serving(fleet())).unwrap();
    // One that cannot be read, of which nothing is known.
    simulator.faults().add("404,user=2002".parse::<Fault>().unwrap());
    let state = at("state");
    let config = STATEFUL.replace("\"state\"", &format!("{:?}", state.display().to_string()));
    let exporter = Exporter::start(&config);
    let ended = "wickr_exporter_last_poll_timestamp_seconds";
    exporter.wait_for("a poll of each", |s| s.series(ended, &[]).count() == 3).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    simulator.stop().await.unwrap();

    put("stateful.toml", STATEFUL);
    put("minimal.toml", MINIMAL);
    // Every key that there is.
    let example = fs::read_to_string("config.example.toml").unwrap();
    let keys = example.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    });
    let keys: Vec<_> = keys.filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    put("full.toml", &format!("{}\n", keys.join("\n")));
    // The one before has what there was; what is new since then is added by hand.
    let mut earlier: Vec<_> =
        fs::read_dir(releases()).unwrap().map(|e| e.unwrap().path()).collect();
    earlier.retain(|path| path.join("web.yml").exists());
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('.').map(|number| number.parse().unwrap()).collect()
    };
    let newest = earlier.iter().max_by_key(|path| version(path));
    fs::copy(newest.expect("a folder to begin with").join("web.yml"), at("web.yml")).unwrap();

    // An hour after it was written, all of it is stale.
    let decoded = state::decode(&fs::read(&state).unwrap(), &Interner::default()).unwrap();
    let last = decoded.values().filter_map(|known| known.last_poll).map(|poll| poll.at).max();
    let now = last.unwrap() + 3_600_000;
    put("now", &format!("{now}\n"));
    put("metrics.txt", &served(unfinished.path(), now).await);
    fs::rename(unfinished.keep(), folder).unwrap();
}

/// What the present program serves of a folder's state at that moment, before any answer has come.
async fn served(folder: &Path, now: Millis) -> String {
    let copy = tempfile::tempdir().unwrap();
    let state = copy.path().join("state");
    fs::copy(folder.join("state"), &state).unwrap();
    let text = fs::read_to_string(folder.join("stateful.toml")).unwrap();
    let text = text.replace("\"state\"", &format!("{:?}", state.display().to_string()));
    let config = config::parse(&text, "stateful.toml").unwrap();
    let credentials = CredentialSource::Fixed {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
    };
    let _silent = hold().await;
    let clock = Clock::Manual(Arc::new(AtomicI64::new(now)));
    let daemon = Daemon::new(&config, None, Some(credentials), clock).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let telemetry_path: TelemetryPath = "/metrics".parse().unwrap();
    let serving =
        Serving { listeners: vec![listener], telemetry_path, lifecycle: false, web_config: None };
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        // Dropping the sender ends it, too.
        let _ = ended.await;
        "the test"
    };
    let running = tokio::spawn(daemon.run(serving, shutdown));
    let get = async |parts: &str| {
        let answer = http().get(format!("{base}/metrics{parts}")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let until = tokio::time::Instant::now() + PATIENCE;
    while !begun(&Samples::parse(&get("").await)) {
        assert!(tokio::time::Instant::now() < until, "no poll begins");
    }
    let text = get("?collect[]=network&collect[]=user&collect[]=device").await;
    drop(end);
    running.await.unwrap().unwrap();
    text
}

/// Whether both networks that have users are being polled: then it is known who is missing.
fn begun(samples: &Samples) -> bool {
    let progress = |id| samples.get("wickr_exporter_poll_progress_ratio", &[("network_id", id)]);
    progress("11111111") == Some(0.0) && progress("22222222") == Some(0.0)
}

/// What belongs to a family that is among these.
fn of_families(samples: &Samples, names: &BTreeSet<String>) -> Vec<(String, f64)> {
    let of = |series: &str| names.contains(series.split('{').next().unwrap());
    samples.0.iter().filter(|(series, _)| of(series)).map(|(s, v)| (s.clone(), *v)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_every_release_is_taken_up_whole_with_its_times() {
    let present = releases().join(VERSION);
    if std::env::var_os("UPDATE_RELEASES").is_some() && !present.exists() {
        write(&present).await;
    }
    for folder in folders() {
        let now = fs::read_to_string(folder.join("now")).unwrap().trim().parse().unwrap();
        let before = Samples::parse(&fs::read_to_string(folder.join("metrics.txt")).unwrap());
        let after = Samples::parse(&served(&folder, now).await);
        // What a later version tells beyond that is its own affair; what it tells alike is the same.
        let names = before.0.keys().map(|s| s.split('{').next().unwrap().to_owned()).collect();
        let (before, after) = (of_families(&before, &names), of_families(&after, &names));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "{}", folder.display());
        }
        assert_eq!(before.len(), after.len(), "{}", folder.display());
    }
}

/// The figures that the state of 0.1.0 holds, by hand: what the others compare with was written by a
/// program.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_release_knew_what_its_fleet_was() {
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
    // a to d, "no time" and ten of the many.
    assert_eq!(devices("iOS"), Some(15.0));
    assert_eq!(
        [devices("Windows"), devices("Mac"), devices("Android")],
        [Some(10.0), Some(10.0), Some(1.0)]
    );
    assert_eq!([devices("unknown"), devices("Telefón 📱")], [Some(1.0), Some(1.0)]);
    assert_eq!(samples.sum("wickr_network_devices_suspended"), 2.0);
    assert_eq!(samples.sum("wickr_network_devices_reset"), 1.0);
    // d, "no type" and the one with a name that is hard to write.
    assert_eq!(samples.sum("wickr_network_devices_never_logged_in"), 3.0);
    assert!(text.contains(r#"app_id="é\"\\\n{語""#), "{text}");
    assert!(text.contains(r#"network_name="Zürich \"East\"\\""#), "{text}");
    assert!(!samples.has("wickr_up"), "no poll of that process had ended");
    assert_eq!(samples.sum("wickr_user_up"), 0.0);
}

/// What a running program says, by its own clock: years later, all that was known is too old to tell,
/// and who was known still is.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_restores_the_state_of_every_release() {
    for folder in folders() {
        let copy = tempfile::tempdir().unwrap();
        let state = copy.path().join("state");
        fs::copy(folder.join("state"), &state).unwrap();
        let text = fs::read_to_string(folder.join("stateful.toml")).unwrap();
        let _silent = hold().await;
        let exporter = Exporter::start(
            &text.replace("\"state\"", &format!("{:?}", state.display().to_string())),
        );
        let now = Samples::parse(&fs::read_to_string(folder.join("metrics.txt")).unwrap());
        let then = exporter.wait_for("polls", begun).await;
        let names: BTreeSet<String> =
            ["wickr_network_info".to_owned(), "wickr_user_up".to_owned()].into();
        assert_eq!(of_families(&now, &names), of_families(&then, &names), "{}", folder.display());
        let (_, _, log) = exporter.stop();
        assert!(
            log.contains("restored the state file") && !log.contains("state file ignored"),
            "{log}"
        );
    }
}

#[test]
fn the_configurations_of_every_release_are_still_good() {
    for folder in folders() {
        for name in ["full.toml", "minimal.toml", "stateful.toml"] {
            let mut check = program();
            // What `full.toml` names is somebody else's profile.
            check.args(["check", "--config.file"]).arg(folder.join(name));
            let done = check.output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert_eq!(done.status.code(), Some(0), "{}/{name}: {said}", folder.display());
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
        let mut check = program();
        check.arg("check").arg("--config.file").arg(folder.join("minimal.toml"));
        let done = check.arg("--web.config.file").arg(&web).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "{}/web.yml: {said}", folder.display());
    }
}

#[test]
fn a_state_file_that_is_not_whole_is_refused_whatever_is_wrong_with_it() {
    let labels = Interner::default();
    for folder in folders() {
        let whole = fs::read(folder.join("state")).unwrap();
        assert!(state::decode(&whole, &labels).is_ok());
        for end in 0..whole.len() {
            assert!(state::decode(&whole[..end], &labels).is_err(), "cut at {end}");
        }
        for place in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[place / 8] ^= 1 << (place % 8);
            assert!(state::decode(&changed, &labels).is_err(), "bit {place}");
        }
        let longer = [&whole[..], b"\0"].concat();
        assert!(state::decode(&longer, &labels).is_err());
        let doubled = [&whole[..], &whole].concat();
        assert!(state::decode(&doubled, &labels).is_err());
    }
}
