//! TLS, passwords, client certificates and attacks.

mod attacks;
mod fixture;
mod interop;
mod limits;
mod reload;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use wickr_exporter::simulator::{Fleet, Simulator, device, network, user};

use crate::{
    harness::{Exporter, FAST, TIMEOUT, config, program, serving},
    keys::{DEPLOYED_PASSWORD, Keys, Pair},
    tools,
};

use fixture::{ALICE, NETWORK, Setup, TLS, VERIFY, eventually, hash, one_device, users};

#[tokio::test(flavor = "multi_thread")]
async fn all_paths_but_health_require_a_password() {
    let setup = Setup::new(&format!("{TLS}{}", users(&[ALICE, ("bob", "builder")]))).await;
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
        assert_eq!(setup.status(path, None, None).await, status, "{path}");
    }
    eventually("ready", async || setup.status("/-/ready", None, None).await == 200).await;
    for (user, status) in [
        (ALICE, 200),
        (("bob", "builder"), 200),
        (("alice", "builder"), 401),
        (("alice", ""), 401),
        (("carol", "wonderland"), 401),
        (("", ""), 401),
    ] {
        assert_eq!(setup.status("/metrics", None, Some(user)).await, status, "{user:?}");
    }
    let request = setup.client(None).get(format!("{}/metrics", setup.https));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"wickr-exporter\"");
    let plain = setup.exporter.get("/metrics").await;
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
    assert!(plain.text().await.unwrap().contains("https://"));
    let refusals = "wickr_exporter_web_refusals_total{reason=\"credentials\"}";
    assert!(setup.metric(refusals, ALICE).await.unwrap() >= 11.0);
    let not_after = "wickr_exporter_web_certificate_not_after_timestamp_seconds";
    assert!(setup.metric(not_after, ALICE).await.unwrap() > 1_700_000_000.0);
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_client_certificates_fail_the_handshake() {
    let setup = Setup::new(&format!("{TLS}{VERIFY}")).await;
    let keys = &setup.keys;
    assert_eq!(setup.status("/-/healthy", None, None).await, 200);
    assert_eq!(setup.status("/", None, Some(ALICE)).await, 403);
    // The server certificate is not valid for clients.
    for invalid in [keys.untrusted("scraper"), keys.expired("scraper"), keys.server()] {
        assert_eq!(setup.status("/metrics", Some(&invalid), None).await, 0);
        assert_eq!(setup.status("/-/healthy", Some(&invalid), None).await, 0);
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn client_auth_types_match_go() {
    // Without a certificate, with a valid and an untrusted one; 0 is a failed handshake.
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
            "  client_ca_file: ca.crt\n  client_allowed_sans: [other.example.com]\n",
            [403, 0, 0],
        ),
    ] {
        let setup = Setup::new(&format!("{TLS}  client_auth_type: {kind}\n{extra}")).await;
        let (valid, untrusted) = (setup.keys.client("scraper"), setup.keys.untrusted("scraper"));
        for (pair, status) in [None, Some(&valid), Some(&untrusted)].into_iter().zip(expected) {
            let found = setup.status("/metrics", pair, None).await;
            assert_eq!(found, status, "{kind} {extra} {}", pair.is_some());
        }
        setup.simulator.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_every_key_of_the_toolkit() {
    let setup = Setup::new(&format!(
        "# comment\n---\ntls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n\n\
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
        let mut request = setup.client(None).get(format!("{}{path}", setup.https));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        for (name, value) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-frame-options", "deny"),
            ("x-content-type-options", "nosniff"),
            ("x-xss-protection", "0"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ] {
            let values: Vec<_> = response.headers().get_all(name).iter().collect();
            assert_eq!(values, [value], "{path} {name}");
        }
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_web_config_fails_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = one_device().await;
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let web = file("web.yml", "basic_auth_users:\n  alice: hunter2\n");
    let toml = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let config = file("config.toml", &toml);
    let bad = file("bad.toml", &toml.replace("[poll]", "[pol]"));
    for (command, config, config_is_invalid) in [
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
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
        assert!(text.contains("web.yml:2:10: basic_auth_users: a password must be"), "{text}");
        let reported = text.contains("[pol]") || text.contains("unknown key");
        assert_eq!(reported, config_is_invalid, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let good = file("good.yml", &users(&[ALICE]));
    let output = program()
        .args(["check", &format!("--config.file={config}"), &format!("--web.config.file={good}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("good.yml is valid: no TLS, a password (1 user), no client certificate."),
        "{text}"
    );
    simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_about_exposure_beyond_loopback() {
    let all_addresses = "--web.listen-address=0.0.0.0:0";
    for (web_config, arguments, warning) in [
        ("", &[][..], ""),
        ("", &[all_addresses], "no password or client certificate"),
        (TLS, &[all_addresses], "no password or client certificate"),
        (&users(&[ALICE]), &[all_addresses], "without TLS"),
        (&format!("{TLS}{}", users(&[ALICE])), &[all_addresses], ""),
        (
            &format!("{TLS}  client_auth_type: RequireAnyClientCert\n"),
            &[all_addresses],
            "not verified",
        ),
    ] {
        let setup = Setup::with_arguments(web_config, arguments).await;
        let scheme = if web_config.contains("tls") { &setup.https } else { &setup.exporter.base };
        let health = setup.client(None).get(format!("{scheme}/-/healthy")).send().await;
        assert_eq!(health.unwrap().status(), StatusCode::OK);
        let lines = || setup.exporter.log().matches("message=listening").count();
        eventually("all addresses", async || lines() == 1 + arguments.len()).await;
        // The warning follows the last of these lines.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let log = setup.exporter.log();
        let warned = log.contains("address is exposed to the network");
        assert_eq!(warned, !warning.is_empty(), "{web_config}: {log}");
        assert!(log.contains(warning), "{web_config}: {log}");
        setup.simulator.stop().await.unwrap();
    }
}
