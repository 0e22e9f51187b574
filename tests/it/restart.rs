//! What outlives the process: the last data, with the times at which it was read.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
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

fn read_at(samples: &Samples, id: &str) -> Option<f64> {
    samples.get("wickr_user_last_poll_timestamp_seconds", &[("user_id", id)])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_data_is_served_at_once_with_its_own_times_and_not_as_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"\nstale_after = \"10h\"");
    let exporter = Exporter::start(&text);
    let before = exporter.polled(1.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // The service is away, and nothing is looked up: what was known is there all the same.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    let samples = exporter.metrics().await;
    assert_eq!(exporter.get("/-/ready").await.status(), 200);
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

    // And when it is back, all is fresh again.
    simulator.faults().clear();
    let exporter = Exporter::start(&text);
    exporter.wait_for("fresh data", |s| s.sum("wickr_up") == 1.0).await;
    let saved = "wickr_exporter_state_last_save_timestamp_seconds";
    exporter.wait_for("a save", |s| s.sum(saved) > 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_is_polled_even_if_nobody_can_be_looked_up() {
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
async fn one_accounts_networks_are_not_taken_for_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let ours = serving(Fleet::new().network(network("11111111").user(user("1")))).await;
    let theirs = serving(Fleet::new().network(network("22222222").user(user("1")))).await;
    let whole = |simulator: &Simulator| {
        format!(
            "[[network]]\nid = \"all\"\nusers = \"all\"\naws = {{ endpoint_url = \"{}\" }}\n",
            simulator.endpoint()
        )
    };
    let text = format!(
        "[aws]\nregion = \"us-east-1\"\n[poll]\ninterval = \"1s\"\nmax_attempts = 1\nrequests_per_second = 1000\n\
         [state]\npath = \"{}\"\n{}{}",
        file.display(),
        whole(&ours),
        whole(&theirs)
    );
    let exporter = Exporter::start(&text);
    exporter.wait_for("both", |s| s.sum("wickr_up") == 2.0).await;
    exporter.stop();
    ours.faults().add("forbidden,op=ListNetworks".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    exporter.wait_for("both again", |s| s.sum("wickr_up") == 2.0).await;
    assert!(ours.requests().recent().iter().all(|request| !request.path.contains("22222222")));
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_killed_process_are_removed_and_odd_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    for name in [".state.abc123.tmp", ".other.abc123.tmp", "state.old"] {
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
    assert_eq!(names, [".other.abc123.tmp", "state", "state.old"]);
    // A folder where the file should be: warned of, and everything else goes on, to the end.
    let exporter = Exporter::start(&config(&simulator, folder.path(), "interval = \"1h\""));
    exporter.polled(1.0).await;
    let (status, took, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(12) && log.contains("level=warn"), "{took:?} {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_after_counts_on_over_a_restart() {
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
    let samples = exporter.wait_for("it has gone", |s| missing(s) == Some(2.0)).await;
    assert_eq!(
        samples.get("wickr_network_devices", &[("device_type", "iOS")]),
        Some(0.0),
        "a type once seen stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_no_use_costs_a_warning_and_never_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    let (_, _, log) = exporter.stop();
    assert!(
        !log.contains("level=warn"),
        "a file that is not there yet is no reason to warn: {log}"
    );
    let whole = std::fs::read(&file).unwrap();
    let mut useless = 0;
    for content in [
        whole[..whole.len() / 2].to_vec(),
        b"wickr-exporter state 99\n\x00".to_vec(),
        b"something else".to_vec(),
        vec![],
    ] {
        std::fs::write(&file, &content).unwrap();
        let exporter = Exporter::start(&text);
        exporter.wait_for("it polls", |s| s.sum("wickr_up") == 1.0).await;
        let (_, _, log) = exporter.stop();
        assert!(log.contains("state file ignored"), "{log}");
        useless += 1;
        let kept = if useless == 1 { "state.old".into() } else { format!("state.old.{useless}") };
        assert_eq!(std::fs::read(folder.path().join(kept)).unwrap(), content);
        assert_eq!(
            state::decode(&std::fs::read(&file).unwrap(), &Interner::default()).unwrap().len(),
            1
        );
    }
    // One that cannot be written is warned of, and everything else goes on.
    let nowhere = folder.path().join("no/such/folder/state");
    let exporter = Exporter::start(&config(&simulator, &nowhere, "interval = \"1s\""));
    exporter.polled(2.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("saving the state file failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_version_stays_until_something_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let newer = b"wickr-exporter state 2\nof which nobody knows yet";
    std::fs::write(&file, newer).unwrap();
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"100ms\"\nmax_attempts = 1");
    // Nothing can be read, and it is stopped: whoever went back by mistake has lost nothing.
    let fault = simulator.faults();
    fault.add("500".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    exporter.wait_for("it asks", |s| s.sum("wickr_exporter_api_retries_total") >= 0.0).await;
    let (status, _, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("format version 2 is not supported"), "{log}");
    assert_eq!(std::fs::read(&file).unwrap(), newer);
    fault.clear();
    let exporter = Exporter::start(&text);
    let saved = "wickr_exporter_state_last_save_timestamp_seconds";
    exporter.wait_for("a save", |s| s.sum(saved) > 0.0).await;
    exporter.stop();
    assert!(state::decode(&std::fs::read(&file).unwrap(), &Interner::default()).is_ok());
    let old = folder.path().join("state.old");
    assert_eq!(std::fs::read(old).unwrap(), newer, "and even then it is only set aside");
}

/// Whether a file could be given to another user, which only root can do. CI does.
fn is_given_to(user: u32, file: &Path) -> bool {
    let given = std::os::unix::fs::chown(file, Some(user), None).is_ok();
    if !given {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        eprintln!("SKIPPED: only root can give files away");
    }
    given
}

/// A folder that everybody may write to, as /tmp is.
fn everybodys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_the_state_file_is_told_nothing_and_holds_up_nobody() {
    let folder = everybodys();
    let pipe = folder.path().join("state");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let simulator = serving(fleet()).await;
    let exporter = Exporter::start(&config(&simulator, &pipe, "interval = \"100ms\""));
    exporter.polled(5.0).await;
    // Whoever opens it for reading finds nobody at the other end.
    let reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
    exporter.next_poll().await;
    let (status, took, log) = exporter.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(log.contains("it is not a regular file"), "{log}");
    let mut told = Vec::new();
    let mut reader = std::fs::File::from(reader.into_blocking_fd().unwrap());
    std::io::Read::read_to_end(&mut reader, &mut told).unwrap();
    assert!(told.is_empty(), "{} bytes were written to it", told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_planted_is_neither_believed_nor_followed() {
    const NOBODY: u32 = 65_534;
    let folder = everybodys();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    if !is_given_to(NOBODY, &file) {
        return;
    }
    // A state that is good but for who wrote it.
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&text);
    assert!(!exporter.metrics().await.has("wickr_network_devices"));
    let (_, _, log) = exporter.stop();
    assert!(log.contains("it belongs to another user"), "{log}");
    // A link to what only we may write to.
    let ours = folder.path().join("ours");
    std::fs::write(&ours, "precious").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&ours, &file).unwrap();
    std::os::unix::fs::lchown(&file, Some(NOBODY), None).unwrap();
    simulator.faults().clear();
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    let (_, _, log) = exporter.stop();
    assert!(log.contains("it is a link of another user"), "{log}");
    assert_eq!(std::fs::read(&ours).unwrap(), b"precious");
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ours", "state"]);
}

/// Where the exporter itself cannot write, and so cannot make a file of its own to see who it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_not_believed_wherever_it_is() {
    const WE: u32 = 65_534;
    const ANOTHER: u32 = 65_533;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = serving(fleet()).await;
    let text = config(&simulator, &file, "interval = \"1h\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    if !is_given_to(ANOTHER, &file) {
        return;
    }
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    for (owner, believed) in [(ANOTHER, false), (WE, true), (0, true)] {
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        let exporter = Exporter::start_as(WE, &text);
        assert_eq!(exporter.metrics().await.has("wickr_network_devices"), believed, "{owner}");
        let (_, _, log) = exporter.stop();
        assert_eq!(log.contains("it belongs to another user"), !believed, "{log}");
    }
}

/// A file with a right checksum over content that was made to hurt.
fn sealed(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).unwrap();
    let packed = packed.finish().unwrap();
    let mut file = b"wickr-exporter state 1\n".to_vec();
    file.extend_from_slice(&<sha2::Sha256 as sha2::Digest>::digest(&packed));
    file.extend_from_slice(&packed);
    file
}

#[test]
fn a_state_file_that_is_deep_or_promises_much_is_refused_and_costs_nothing() {
    let labels = Interner::default();
    let deep = |open: &[u8]| open.repeat(1_000_000);
    // A network with one user with one device, whose time of creation is a list of lists.
    let device = b"\x92\x90\x91\x97\xa812345678\xa0\xa0\x90\xc0\xc0\x91\x93\xa11\x00\x91\x96\xc0\x00\x00\xc0";
    for content in [
        deep(b"\x91"),
        deep(b"\x81\xc0"),
        [&device[..], &deep(b"\x91")].concat(),
        // Lists and texts of four thousand millions, of which nothing follows.
        b"\x92\xdd\xff\xff\xff\xff".to_vec(),
        b"\x92\x91\xdb\xff\xff\xff\xff".to_vec(),
        b"\x92\x90\xdd\xff\xff\xff\xff".to_vec(),
        [&device[..], b"\xdd\xff\xff\xff\xff"].concat(),
    ] {
        let started = Instant::now();
        let refused = state::decode(&sealed(&content), &labels);
        assert!(matches!(refused, Err(state::StateError::InvalidContent(_))), "{refused:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

/// How often the process is killed; a long run is for `WICKR_TEST_KILLS=200`.
fn kills() -> u32 {
    std::env::var("WICKR_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(15)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_last_complete_state_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let simulator = simulator(Options { users: 200, ..Options::default() }).await;
    let text = config(&simulator, &file, "interval = \"100ms\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    exporter.stop();
    let seed =
        std::env::var("WICKR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = fastrand::Rng::with_seed(seed);
    let started = Instant::now();
    for round in 0..kills() {
        let exporter = Exporter::start(&text);
        tokio::time::sleep(Duration::from_millis(random.u64(0..1_500))).await;
        exporter.kill();
        let networks = state::decode(&std::fs::read(&file).unwrap(), &Interner::default());
        let networks = networks.unwrap_or_else(|bad| panic!("kill {round} of seed {seed}: {bad}"));
        let users: usize = networks.values().map(|network| network.users.len()).sum();
        assert_eq!(users, 200, "kill {round} of seed {seed}, after {:?}", started.elapsed());
    }
}
