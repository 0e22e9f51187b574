//! Commands, their exit statuses and output.

use std::{path::Path, process::Output};

use wickr_exporter::simulator::{Fault, Fleet, device, network, user};

use crate::harness::{Exporter, FAST, Samples, config, program, serving};

const NETWORK: &str = "12345678";

fn fleet() -> Fleet {
    Fleet::new().network(
        network(NETWORK)
            .user(user("1001").device(device("a").kind("iOS")))
            .user(user("1002").device(device("b").kind("Windows").suspended())),
    )
}

/// Runs the program in a new folder with this configuration.
async fn run(text: &str, arguments: &[&str]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let mut command = program();
    command.current_dir(folder.path()).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output, folder)
}

/// Stdout and stderr.
fn streams(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_one_poll_and_exits_with_its_result() {
    let simulator = serving(fleet()).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001", "1002"]);
    let (output, _) = run(&text, &["once"]).await;
    let (out, err) = streams(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let samples = Samples::parse(&out);
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!(samples.sum("wickr_network_devices"), 2.0);
    // The node exporter has these families, and rejects duplicates.
    assert!(!out.contains("process_"), "{out}");

    simulator.faults().add("500,user=1001".parse::<Fault>().unwrap());
    let text = text.replace("[poll]", "[poll]\nmax_attempts = 1");
    let (output, _) = run(&text, &["once"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(Samples::parse(&streams(&output).0).get("wickr_up", &[]), Some(0.0));

    simulator.faults().add("500".parse::<Fault>().unwrap());
    let (output, _) = run(&text, &["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(streams(&output).0.contains("wickr_exporter_user_failures"));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_writes_its_output_file_atomically() {
    use std::os::unix::fs::PermissionsExt;
    let simulator = serving(fleet()).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let (output, folder) = run(&text, &["once", "--output.file", "wickr.prom"]).await;
    let (out, err) = streams(&output);
    assert_eq!((output.status.code(), out.as_str()), (Some(0), ""), "{err}");
    let file = folder.path().join("wickr.prom");
    assert!(std::fs::read_to_string(&file).unwrap().contains("wickr_up{"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "temporary file: {names:?}");
    std::os::unix::fs::symlink("wickr.prom", folder.path().join("link.prom")).unwrap();
    std::fs::write(&file, "old").unwrap();
    let mut command = program();
    command.current_dir(folder.path()).args(["once", "--output.file", "link.prom"]);
    let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
    assert!(status.success());
    assert!(folder.path().join("link.prom").is_symlink(), "replaced a symbolic link");
    assert!(std::fs::read_to_string(&file).unwrap().contains("wickr_up{"));
    let (output, _) = run(&text, &["once", "--output.file", "/dev/stdout"]).await;
    assert!(streams(&output).0.contains("wickr_up{"), "not a regular file");
    let (output, _) = run(&text, &["once", "--output.file", "no/such/folder/x.prom"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(streams(&output).1.contains("cannot write no/such/folder/x.prom"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_reports_all_errors_of_the_configuration() {
    let text = "[poll]\nintervall = \"5m\"\n[[network]]\nid = \"1234\"\nusers = []\n";
    for command in
        [&[][..], &["check"], &["check", "--online"], &["check", "--iam-policy"], &["once"]]
    {
        let (output, _) = run(text, command).await;
        let (out, err) = streams(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{command:?}");
        for line in [
            "config.toml:2:1: poll.intervall: unknown key; did you mean poll.interval?",
            "config.toml:4:6: network[1].id:",
            "config.toml:5:9: network[1].users:",
        ] {
            assert!(err.contains(line), "{command:?}: {line} in {err}");
        }
        assert_eq!(err.lines().count(), 3, "{err}");
    }
    let (output, _) = run("", &["--config.file=elsewhere.toml"]).await;
    assert_eq!(output.status.code(), Some(2));
    let (_, err) = streams(&output);
    assert!(err.starts_with("elsewhere.toml: does not exist\n"), "{err}");
    assert!(err.contains("wickr-exporter demo"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_rejects_a_configuration_without_a_region() {
    let text = "[[network]]\nid = \"12345678\"\nusers = [\"1\"]\n";
    let (output, _) = run(text, &["once"]).await;
    let (_, err) = streams(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("network[1].aws.region: is missing"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_the_plan_and_online_tests_the_requests() {
    let simulator = serving(fleet()).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001", "1002"]);
    let (output, _) = run(&text, &["check"]).await;
    let (out, err) = streams(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    for part in [
        "config.toml is valid",
        "12345678 (test)",
        &simulator.endpoint(),
        "2 users, 7,200 requests per hour",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert_eq!(simulator.requests().total(), 0);

    let (output, _) = run(&text, &["check", "--online"]).await;
    let (out, err) = streams(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("OK, the first page of user 1001 has 1 device"), "{out}");
    assert_eq!(simulator.requests().total(), 1);

    let unknown = text.replace(NETWORK, "99999999");
    let (output, _) = run(&unknown, &["check", "--online"]).await;
    let (out, _) = streams(&output);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("FAILED") && out.contains("Check the ids of the network"), "{out}");

    simulator.credentials().deny_network(NETWORK);
    let (output, _) = run(&text, &["check", "--online"]).await;
    let (out, _) = streams(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out.contains("FAILED: ListDevicesForUser: 403 ForbiddenError")
            && out.contains("--iam-policy"),
        "{out}"
    );

    let (output, _) = run(&text, &["check", "--iam-policy"]).await;
    let policy: serde_json::Value = serde_json::from_str(&streams(&output).0).unwrap();
    assert_eq!(policy["Statement"][0]["Action"][0], "wickr:ListDevicesForUser");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_estimates_the_number_of_series() {
    let devices = |user: u32| {
        ["iOS", "Android", "Windows"].map(|kind| device(format!("{user}-{kind}")).kind(kind))
    };
    let users = (1..=200).map(|id| user(id.to_string()).with_devices(devices(id)));
    let simulator = serving(Fleet::new().network(network(NETWORK).with_users(users))).await;
    let ids: Vec<_> = (1..=200).map(|id| id.to_string()).collect();
    for detail in ["network", "user", "device"] {
        let text = config(&simulator.endpoint(), FAST, NETWORK, &ids);
        let text = format!("{text}[metrics]\ndetail = \"{detail}\"\n");
        let (output, _) = run(&text, &["once"]).await;
        let actual = Samples::parse(&streams(&output).0).0.len() as f64;
        let (output, _) = run(&text, &["check"]).await;
        let (out, _) = streams(&output);
        let estimate = out.split("about ").nth(1).unwrap().split(',').next().unwrap();
        let estimate: f64 = estimate.parse().unwrap();
        let accepted = if detail == "network" { 0.7..1.4 } else { 0.95..1.05 };
        assert!(accepted.contains(&(estimate / actual)), "{detail}: {estimate}, not {actual}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_accepts_the_example_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("config.example.toml")).unwrap();
    let (output, _) = run(&example, &["check"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", streams(&output).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_help_man_page_and_completions_and_rejects_invalid_arguments() {
    for (arguments, part) in [
        (&["--help"][..], "--config.file"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["man"], ".TH wickr-exporter"),
        (&["man"], "iam\\-policy"),
        (&["completions", "bash"], "_wickr__exporter"),
        (&["completions", "zsh"], "#compdef"),
        (&["simulate", "--help"], "--fault"),
    ] {
        let (output, _) = run("", arguments).await;
        let (out, err) = streams(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(out.contains(part), "{arguments:?}: {out}");
    }
    for arguments in [
        &["--web.listen-address=nonsense"][..],
        &["--web.telemetry-path=metrics"],
        &["--log.level=loud"],
        &["--no-such-flag"],
        &["no-such-command"],
        &["simulate", "--fault=nonsense-kind"],
        &["simulate", "--listen=0.0.0.0:0"],
        &["simulate", "--empty-pages=2"],
    ] {
        let (output, _) = run("", arguments).await;
        let (out, err) = streams(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exits_when_the_listen_address_is_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let simulator = serving(fleet()).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    for command in [&[][..], &["demo"]] {
        let flag = format!("--web.listen-address={address}");
        let arguments: Vec<_> = command.iter().copied().chain([flag.as_str()]).collect();
        let (output, _) = run(&text, &arguments).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(streams(&output).1.contains(&format!("cannot listen on {address}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listens_on_several_addresses() {
    let simulator = serving(fleet()).await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = Exporter::start_with(&text, &["--web.listen-address=localhost:0"], &[]);
    exporter.polled(1.0).await;
    let addresses: Vec<String> = exporter
        .log()
        .lines()
        .filter(|line| line.contains("message=listening"))
        .map(|line| line.split("address=").nth(1).unwrap().split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(addresses.len(), 2, "{}", exporter.log());
    for address in addresses {
        let response =
            crate::harness::http().get(format!("http://{address}/-/healthy")).send().await;
        assert_eq!(response.unwrap().status(), 200);
    }
}
