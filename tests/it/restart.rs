//! The state file: what is restored, when it is rejected, and how it is written.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use wickr_exporter::{
    inventory::state,
    simulator::{Fault, Fleet, Options, Simulator, device, network, user},
    wickr::Interner,
};

use crate::harness::{Exporter, Samples, serving, simulator};

const NETWORK: &str = "12345678";

fn config(simulator: &Simulator, state: &Path, poll: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n[poll]\nrequests_per_second = 10000\n{poll}\n\
         [state]\npath = \"{}\"\n[[network]]\nid = \"all\"\nusers = \"all\"\n",
        simulator.endpoint(),
        state.display()
    )
}

fn fleet() -> Fleet {
    Fleet::new().network(
        network(NETWORK)
            .name("production")
            .user(
                user("1")
                    .device(device("a").kind("iOS"))
                    .device(device("b").kind("iOS").suspended()),
            )
            .user(user("2").device(device("c").kind("Windows"))),
    )
}

/// The state file of the network, with the configured path `path`.
fn own(path: &Path) -> PathBuf {
    path.with_extension(NETWORK)
}

fn read_at(samples: &Samples, id: &str) -> Option<f64> {
    samples.get("wickr_user_last_poll_timestamp_seconds", &[("user_id", id)])
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_restored_data_as_stale_with_original_read_times() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"\nstale_after = \"10h\"");
    let exporter = Exporter::start(&text);
    let before = exporter.polled(1.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(own(&file).metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // The API does not respond, so all data is from the state file.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    let samples = exporter.metrics().await;
    assert_eq!(exporter.get("/-/ready").await.status(), 503, "the lookup of users is pending");
    assert_eq!(samples.get("wickr_network_info", &[("network_name", "production")]), Some(1.0));
    assert_eq!(samples.sum("wickr_network_devices"), 3.0);
    assert_eq!(samples.sum("wickr_network_devices_suspended"), 1.0);
    let users = |freshness| samples.get("wickr_network_users", &[("freshness", freshness)]);
    assert_eq!((users("fresh"), users("stale")), (Some(0.0), Some(2.0)));
    assert!(!samples.has("wickr_up"), "no poll of this process has ended");
    assert_eq!(samples.sum("wickr_user_up"), 0.0);
    assert_eq!(read_at(&samples, "1"), read_at(&before, "1"));
    let succeeded = "wickr_exporter_last_success_timestamp_seconds";
    assert_eq!(samples.sum(succeeded), before.sum(succeeded));
    drop(exporter);

    // Only the requests for devices hang.
    simulator.faults().clear();
    simulator.faults().add("hang,op=ListDevicesForUser".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    let deadline = Instant::now() + Duration::from_secs(30);
    while exporter.get("/-/ready").await.status() != 200 {
        assert!(Instant::now() < deadline, "not ready after the lookup of users");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let samples = exporter.metrics().await;
    for family in ["wickr_network_admins", "wickr_network_users_suspended", "wickr_user_admin"] {
        assert!(samples.has(family), "{family}");
    }
    assert_eq!(samples.get("wickr_network_users", &[("freshness", "stale")]), Some(2.0));
    drop(exporter);

    // The API responds again.
    simulator.faults().clear();
    let exporter = Exporter::start(&text);
    exporter.wait_for("fresh data", |s| s.sum("wickr_up") == 1.0).await;
    let saved = "wickr_exporter_state_last_save_timestamp_seconds";
    exporter.wait_for("a save", |s| s.sum(saved) > 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_restored_users_while_discovery_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1s\"\nmax_attempts = 1");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    for operation in ["ListUsers", "ListNetworks"] {
        simulator.faults().add(format!("500,op={operation}").parse::<Fault>().unwrap());
    }
    let exporter = Exporter::start(&text);
    let samples = exporter.wait_for("fresh data", |s| s.sum("wickr_up") == 1.0).await;
    assert_eq!(samples.get("wickr_network_users", &[("freshness", "fresh")]), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_networks_to_their_own_account_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let first = serving(Fleet::new().network(network("11111111").user(user("1")))).await;
    let second = serving(Fleet::new().network(network("22222222").user(user("1")))).await;
    let all = |simulator: &Simulator| {
        format!(
            "[[network]]\nid = \"all\"\nusers = \"all\"\naws = {{ endpoint_url = \"{}\" }}\n",
            simulator.endpoint()
        )
    };
    let text = format!(
        "[aws]\nregion = \"us-east-1\"\n[poll]\ninterval = \"1s\"\nmax_attempts = 1\nrequests_per_second = 1000\n\
         [state]\npath = \"{}\"\n{}{}",
        file.display(),
        all(&first),
        all(&second)
    );
    let exporter = Exporter::start(&text);
    exporter.wait_for("both", |s| s.sum("wickr_up") == 2.0).await;
    exporter.stop();
    first.faults().add("forbidden,op=ListNetworks".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    exporter.wait_for("both again", |s| s.sum("wickr_up") == 2.0).await;
    assert!(first.requests().recent().iter().all(|request| !request.path.contains("22222222")));
}

#[tokio::test(flavor = "multi_thread")]
async fn removes_temporary_files_of_killed_process_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let others = [".other.abc123.tmp", ".state.other.abc123.tmp", "state.old"];
    for name in [".state.abc123.tmp", ".state.12345678.abc123.tmp"].iter().chain(&others) {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&config(&simulator, &file, "interval = \"1h\""));
    exporter.polled(1.0).await;
    exporter.stop();
    let mut names: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let [other, of_longer_name, old] = others;
    assert_eq!(names, [other, of_longer_name, "state.12345678", old]);
    // A directory in place of the file causes a warning only.
    let blocked = folder.path().join("blocked");
    std::fs::create_dir(own(&blocked)).unwrap();
    let exporter = Exporter::start(&config(&simulator, &blocked, "interval = \"1h\""));
    exporter.polled(1.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("level=warn") && !log.contains("timed out"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_after_includes_time_before_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"3s\"\nstale_after = \"3s\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    let missing = |s: &Samples| s.get("wickr_network_users", &[("freshness", "missing")]);
    let samples = exporter.wait_for("missing users", |s| missing(s) == Some(2.0)).await;
    assert_eq!(
        samples.get("wickr_network_devices", &[("device_type", "iOS")]),
        Some(0.0),
        "known types remain"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_with_a_warning_despite_unusable_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    let (_, _, log) = exporter.stop();
    assert!(!log.contains("level=warn"), "warning about an absent file: {log}");
    let file = own(&file);
    let valid = std::fs::read(&file).unwrap();
    let mut rejected = 0;
    for content in [
        valid[..valid.len() / 2].to_vec(),
        b"wickr-exporter state 99\n\x00".to_vec(),
        b"something else".to_vec(),
        vec![],
    ] {
        std::fs::write(&file, &content).unwrap();
        let exporter = Exporter::start(&text);
        exporter.wait_for("a poll", |s| s.sum("wickr_up") == 1.0).await;
        let (_, _, log) = exporter.stop();
        assert!(log.contains("state file ignored"), "{log}");
        rejected += 1;
        let number = if rejected == 1 { String::new() } else { format!(".{rejected}") };
        let backup = folder.path().join(format!("state.{NETWORK}.old{number}"));
        assert_eq!(std::fs::read(backup).unwrap(), content);
        assert_eq!(
            state::decode(&std::fs::read(&file).unwrap(), &Interner::default()).unwrap().len(),
            1
        );
    }
    // A file that cannot be written causes a warning only.
    let missing = folder.path().join("no/such/folder/state");
    let exporter = Exporter::start(&config(&simulator, &missing, "interval = \"1s\""));
    exporter.polled(2.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("saving the state file failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_state_of_other_version_until_new_data_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let newer = b"wickr-exporter state 2\nunknown content";
    std::fs::write(own(&file), newer).unwrap();
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"100ms\"\nmax_attempts = 1");
    // No user can be read, so the file is not replaced. An accidental downgrade loses no data.
    let faults = simulator.faults();
    faults.add("500".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    exporter.wait_for("a scrape", |s| s.sum("wickr_exporter_api_retries_total") >= 0.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("format version 2 is not supported"), "{log}");
    assert_eq!(std::fs::read(own(&file)).unwrap(), newer);
    faults.clear();
    let exporter = Exporter::start(&text);
    let saved = "wickr_exporter_state_last_save_timestamp_seconds";
    exporter.wait_for("a save", |s| s.sum(saved) > 0.0).await;
    exporter.stop();
    assert!(state::decode(&std::fs::read(own(&file)).unwrap(), &Interner::default()).is_ok());
    let old = folder.path().join("state.12345678.old");
    assert_eq!(std::fs::read(old).unwrap(), newer, "the old file is renamed, not deleted");
}

/// Changes the owner of a file. Only root can; CI runs as root.
fn change_owner(user: u32, file: &Path) -> bool {
    let changed = std::os::unix::fs::chown(file, Some(user), None).is_ok();
    if !changed {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        eprintln!("SKIPPED: only root can change the owner of files");
    }
    changed
}

/// A world-writable directory with the sticky bit, like /tmp.
fn shared_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_writes_nor_waits_for_a_pipe_in_place_of_the_state_file() {
    let folder = shared_folder();
    let path = folder.path().join("state");
    let pipe = own(&path);
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&config(&simulator, &path, "interval = \"100ms\""));
    exporter.polled(5.0).await;
    // The exporter must not write to the pipe once it has a reader.
    let reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
    exporter.next_poll().await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("it is not a regular file") && !log.contains("timed out"), "{log}");
    let mut received = Vec::new();
    let mut reader = std::fs::File::from(reader.into_blocking_fd().unwrap());
    std::io::Read::read_to_end(&mut reader, &mut received).unwrap();
    assert!(received.is_empty(), "{} bytes were written to it", received.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_state_file_and_link_of_another_user() {
    const NOBODY: u32 = 65_534;
    let folder = shared_folder();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    let file = own(&file);
    if !change_owner(NOBODY, &file) {
        return;
    }
    // A valid state file of another user.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    assert!(!exporter.metrics().await.has("wickr_network_devices"));
    let (_, _, log) = exporter.stop();
    assert!(log.contains("it belongs to another user"), "{log}");
    // A link of another user to a file of the exporter.
    let linked = folder.path().join("linked");
    std::fs::write(&linked, "unchanged").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&linked, &file).unwrap();
    std::os::unix::fs::lchown(&file, Some(NOBODY), None).unwrap();
    simulator.faults().clear();
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    let (_, _, log) = exporter.stop();
    assert!(log.contains("it is a link of another user"), "{log}");
    assert_eq!(std::fs::read(&linked).unwrap(), b"unchanged");
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["linked", "state.12345678"]);
}

/// The exporter cannot write to the directory, so it cannot create a file to learn its own user id.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_state_file_of_another_user_in_unwritable_directory() {
    const OWN: u32 = 65_534;
    const OTHER: u32 = 65_533;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    let file = own(&file);
    if !change_owner(OTHER, &file) {
        return;
    }
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    for (owner, accepted) in [(OTHER, false), (OWN, true), (0, true)] {
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        let exporter = Exporter::start_as(OWN, &text);
        assert_eq!(exporter.metrics().await.has("wickr_network_devices"), accepted, "{owner}");
        let (_, _, log) = exporter.stop();
        assert_eq!(log.contains("it belongs to another user"), !accepted, "{log}");
    }
}

/// A state file with this content and a valid checksum.
fn with_checksum(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    let compressed = encoder.finish().unwrap();
    let mut file = b"wickr-exporter state 1\n".to_vec();
    file.extend_from_slice(&<sha2::Sha256 as sha2::Digest>::digest(&compressed));
    file.extend_from_slice(&compressed);
    file
}

#[test]
fn rejects_deeply_nested_and_oversized_state_content_quickly() {
    let labels = Interner::default();
    let nested = |open: &[u8]| open.repeat(1_000_000);
    // A network with one user and one device, up to the creation time.
    let device = b"\x92\x90\x91\x97\xa812345678\xa0\xa0\x90\xc0\xc0\x91\x93\xa11\x00\x91\x96\xc0\x00\x00\xc0";
    for content in [
        nested(b"\x91"),
        nested(b"\x81\xc0"),
        [&device[..], &nested(b"\x91")].concat(),
        // Lists and strings that claim a length of 4 billion.
        b"\x92\xdd\xff\xff\xff\xff".to_vec(),
        b"\x92\x91\xdb\xff\xff\xff\xff".to_vec(),
        b"\x92\x90\xdd\xff\xff\xff\xff".to_vec(),
        [&device[..], b"\xdd\xff\xff\xff\xff"].concat(),
    ] {
        let started = Instant::now();
        let result = state::decode(&with_checksum(&content), &labels);
        assert!(matches!(result, Err(state::StateError::InvalidContent(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

/// The number of kills. `WICKR_TEST_KILLS=200` makes the test run longer.
fn kills() -> u32 {
    std::env::var("WICKR_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(15)
}

#[tokio::test(flavor = "multi_thread")]
async fn state_file_is_complete_after_kill_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = simulator(Options { users: 200, ..Options::default() }).await;
    let text = config(&simulator, &file, "interval = \"100ms\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    let seed =
        std::env::var("WICKR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let started = Instant::now();
    for kill in 0..kills() {
        let exporter = Exporter::start(&text);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..1_500))).await;
        exporter.kill();
        let networks = state::decode(&std::fs::read(own(&file)).unwrap(), &Interner::default());
        let networks =
            networks.unwrap_or_else(|error| panic!("kill {kill} of seed {seed}: {error}"));
        let users: usize = networks.values().map(|network| network.users.len()).sum();
        assert_eq!(users, 200, "kill {kill} of seed {seed}, after {:?}", started.elapsed());
    }
}
