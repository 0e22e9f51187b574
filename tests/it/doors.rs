//! TLS, passwords, client certificates, and clients that mean no good.

mod attacks;
mod changes;
mod house;
mod limits;
mod programs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use wickr_exporter::simulator::{Fleet, Simulator, device, network, user};

use crate::{
    harness::{Exporter, FAST, PATIENCE, config, program, serving},
    keys::{DEPLOYED_PASSWORD, Keys, Pair},
    tools,
};

use house::{ALICE, House, NETWORK, TLS, eventually, hash, s_client, small, users};

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_asked_for_everywhere_but_for_health() {
    let house = House::new(&format!("{TLS}{}", users(&[ALICE, ("bob", "builder")]))).await;
    for (path, status) in [
        ("/-/healthy", 200),
        ("/-/healthy?x=y", 200),
        ("/metrics", 401),
        ("/", 401),
        ("/nothing", 401),
        ("/-/reload", 401),
        ("/-/", 401),
        ("/api/v1/devices", 401),
    ] {
        assert_eq!(house.status(path, None, None).await, status, "{path}");
    }
    eventually("ready", async || house.status("/-/ready", None, None).await == 200).await;
    for (user, status) in [
        (ALICE, 200),
        (("bob", "builder"), 200),
        (("alice", "builder"), 401),
        (("alice", ""), 401),
        (("carol", "wonderland"), 401),
        (("", ""), 401),
    ] {
        assert_eq!(house.status("/metrics", None, Some(user)).await, status, "{user:?}");
    }
    let answer = house.client(None).get(format!("{}/metrics", house.https)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let plain = house.exporter.get("/metrics").await;
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
    assert!(plain.text().await.unwrap().contains("https://"));
    assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"wickr-exporter\"");
    let refused = "wickr_exporter_web_refusals_total{reason=\"credentials\"}";
    assert!(house.metric(refused, ALICE).await.unwrap() >= 11.0);
    let expires =
        house.metric("wickr_exporter_web_certificate_not_after_timestamp_seconds", ALICE).await;
    assert!(expires.unwrap() > 1_700_000_000.0);
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_asked_for_and_bad_ones_never_taken() {
    let house = House::new(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
    ))
    .await;
    let keys = &house.keys;
    assert_eq!(house.status("/-/healthy", None, None).await, 200);
    assert_eq!(house.status("/metrics", None, None).await, 403);
    assert_eq!(house.status("/", None, Some(ALICE)).await, 403);
    assert_eq!(house.status("/metrics", Some(&keys.client("scraper")), None).await, 200);
    for bad in [keys.stranger("scraper"), keys.expired("scraper"), keys.not_for_clients()] {
        // The handshake fails, so not even health is told.
        assert_eq!(house.status("/metrics", Some(&bad), None).await, 0);
        assert_eq!(house.status("/-/healthy", Some(&bad), None).await, 0);
    }
    // A certificate alone, without its key, is worth nothing.
    let mut thief = keys.client("scraper");
    thief.key = keys.client("scraper").key;
    let identity = reqwest::Identity::from_pem(thief.both().as_bytes());
    let client =
        identity.and_then(|identity| reqwest::Client::builder().identity(identity).build());
    assert!(client.is_err(), "this test's own client lets it pass");
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_auth_type_does_what_it_says() {
    // With none, a good one, a stranger's; 0 is a handshake that fails.
    for (kind, extra, expected) in [
        ("NoClientCert", "", [200, 200, 200]),
        ("RequestClientCert", "", [200, 200, 200]),
        ("RequireAnyClientCert", "", [403, 200, 200]),
        ("VerifyClientCertIfGiven", "  client_ca_file: ca.crt\n", [200, 200, 0]),
        ("RequireAndVerifyClientCert", "  client_ca_file: ca.crt\n", [403, 200, 0]),
        (
            "RequireAndVerifyClientCert",
            "  client_ca_file: ca.crt\n  client_allowed_sans: [scraper@example.com, other]\n",
            [403, 200, 0],
        ),
        (
            "RequireAndVerifyClientCert",
            "  client_ca_file: ca.crt\n  client_allowed_sans: [somebody.example.com]\n",
            [403, 0, 0],
        ),
    ] {
        let house = House::new(&format!("{TLS}  client_auth_type: {kind}\n{extra}")).await;
        let (good, bad) = (house.keys.client("scraper"), house.keys.stranger("scraper"));
        for (pair, status) in [None, Some(&good), Some(&bad)].into_iter().zip(expected) {
            let found = house.status("/metrics", pair, None).await;
            assert_eq!(found, status, "{kind} {extra} {}", pair.is_some());
        }
        house.simulator.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_config_as_the_toolkit_documents_it_works_unchanged() {
    // All that its documentation names, in its order and forms, in our own words.
    let house = House::new(&format!(
        "# a stranger's\n---\ntls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n\n\
         \x20 client_auth_type: \"NoClientCert\"\n  min_version: \"TLS12\"\n  max_version: \"TLS13\"\n\
         \x20 cipher_suites:\n    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n\
         \x20   - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  prefer_server_cipher_suites: true\n\
         \x20 curve_preferences:\n    - CurveP256\n    - X25519\n\
         http_server_config:\n  http2: true\n  headers:\n\
         \x20   Content-Security-Policy: default-src 'none'\n    X-Frame-Options: deny\n\
         \x20   X-Content-Type-Options: nosniff\n    X-XSS-Protection: \"0\"\n\
         \x20   Strict-Transport-Security: max-age=31536000; includeSubDomains\n\
         {}rate_limit:\n  interval: \"1ms\"\n  burst: 1000\n",
        users(&[ALICE, ("bob", "builder")])
    ))
    .await;
    for (path, user, status) in [
        ("/metrics", Some(ALICE), StatusCode::OK),
        ("/", Some(ALICE), StatusCode::OK),
        ("/nothing", Some(ALICE), StatusCode::NOT_FOUND),
        ("/metrics", None, StatusCode::UNAUTHORIZED),
        ("/-/healthy", None, StatusCode::OK),
    ] {
        let mut request = house.client(None).get(format!("{}{path}", house.https));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        for (name, value) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-frame-options", "deny"),
            ("x-content-type-options", "nosniff"),
            ("x-xss-protection", "0"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ] {
            let values: Vec<_> = answer.headers().get_all(name).iter().collect();
            assert_eq!(values, [value], "{path} {name}");
        }
    }
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = small().await;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let web = file("web.yml", "basic_auth_users:\n  alice: hunter2\n");
    let toml = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let config = file("config.toml", &toml);
    let bad = file("bad.toml", &toml.replace("[poll]", "[pol]"));
    for (command, config, both) in [
        (&["check"][..], &config, false),
        (&["check"], &bad, true),
        (&[], &config, false),
        (&["demo", "--web.listen-address=127.0.0.1:0"], &config, false),
    ] {
        let output = program()
            .args(command)
            .args([format!("--config.file={config}"), format!("--web.config.file={web}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("web.yml:2:10: basic_auth_users: a password must be"), "{said}");
        assert_eq!(said.contains("[pol]") || said.contains("unknown key"), both, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let good = file("good.yml", &users(&[ALICE]));
    let output = program()
        .args(["check", &format!("--config.file={config}"), &format!("--web.config.file={good}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("good.yml is valid: no TLS, a password (1 user), no client certificate."),
        "{said}"
    );
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_warns_of_strangers_beyond_loopback() {
    let wide = "--web.listen-address=0.0.0.0:0";
    for (web_config, arguments, warning) in [
        ("", &[][..], ""),
        ("", &[wide], "nobody is asked for a password"),
        (TLS, &[wide], "nobody is asked for a password"),
        (&users(&[ALICE]), &[wide], "without TLS"),
        (&format!("{TLS}{}", users(&[ALICE])), &[wide], ""),
        (&format!("{TLS}  client_auth_type: RequireAnyClientCert\n"), &[wide], "anybody can make"),
    ] {
        let house = House::with(web_config, arguments).await;
        let scheme = if web_config.contains("tls") { &house.https } else { &house.exporter.base };
        let health = house.client(None).get(format!("{scheme}/-/healthy")).send().await;
        assert_eq!(health.unwrap().status(), StatusCode::OK);
        let lines = || house.exporter.log().matches("message=listening").count();
        eventually("all addresses", async || lines() == 1 + arguments.len()).await;
        // The warning of the last follows it at once.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let log = house.exporter.log();
        let warned = log.contains("address is exposed to the network");
        assert_eq!(warned, !warning.is_empty(), "{web_config}: {log}");
        assert!(log.contains(warning), "{web_config}: {log}");
        house.simulator.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_a_socket_that_systemd_passes() {
    let Some(python) = tools::find("python3") else { return };
    let (simulator, folder) = (small().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("config.toml");
    fs::write(&path, config(&simulator.endpoint(), FAST, NETWORK, &["1001"])).unwrap();
    // What systemd does: the socket is number 3, and the process is told so by its own id.
    const SCRIPT: &str = r#"
import os, socket, sys
passed = socket.socket()
passed.bind(("127.0.0.1", int(sys.argv[1])))
passed.listen(16)
os.dup2(passed.fileno(), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"#;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("--config.file={}", path.display());
    let mut child = Command::new(python)
        .args(["-c", SCRIPT, &port.to_string(), env!("CARGO_BIN_EXE_wickr-exporter")])
        .args(["--web.systemd-socket", "--log.level=error", &config])
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/-/healthy");
    let until = Instant::now() + PATIENCE;
    while crate::harness::http().get(&url).send().await.is_err() {
        assert!(Instant::now() < until, "it never answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let run = |arguments: &[&str]| {
        let output = program().args(["--web.systemd-socket", &config]).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = run(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("systemd passed no socket"), "{said}");
    let (status, said) = run(&["--web.listen-address=:1"]);
    assert_eq!(status, Some(2), "{said}");
    simulator.stop().await.unwrap();
}
