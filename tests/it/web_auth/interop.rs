//! Interoperability with curl, openssl, Prometheus and promtool.

use super::*;

/// A file of `deploy/prometheus`.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(name);
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_see_configured_versions_suites_and_curves() {
    let (Some(curl), Some(openssl)) = (tools::find("curl"), tools::find("openssl")) else { return };
    for (settings, expected) in [
        ("", ["200", "200"]),
        ("  min_version: TLS13\n", ["000", "200"]),
        ("  max_version: TLS12\n", ["200", "000"]),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", ["000", "200"]),
    ] {
        let setup = Setup::new(&format!("{TLS}{settings}")).await;
        let found = [&["--tls-max", "1.2"], &["--tlsv1.3", "--http1.1"]]
            .map(|version| setup.curl(&curl, version, "/metrics"));
        assert_eq!(found, expected, "{settings}");
        assert_eq!(setup.curl(&curl, &["--tls-max", "1.1"], "/metrics"), "000");
        setup.simulator.stop().await.unwrap();
    }
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let setup = Setup::new(&format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [{suite}]\n  curve_preferences: [CurveP384]\n"
    ))
    .await;
    let output = setup.s_client(&openssl, &["-alpn", "h2,http/1.1"]);
    for part in ["ECDHE-ECDSA-AES256-GCM-SHA384", "secp384r1", "ALPN protocol: http/1.1"] {
        assert!(output.contains(part), "{part} in {output}");
    }
    for refused in [&["-cipher", "AES128-SHA"][..], &["-groups", "P-256"], &["-alpn", "h2"]] {
        let output = setup.s_client(&openssl, refused);
        assert!(output.contains("alert"), "{refused:?}: {output}");
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_needs_a_certificate_and_a_password() {
    let Some(curl) = tools::find("curl") else { return };
    let setup = Setup::new(&format!("{TLS}{VERIFY}{}", users(&[ALICE]))).await;
    for (name, pair) in
        [("valid", setup.keys.client("scraper")), ("invalid", setup.keys.untrusted("scraper"))]
    {
        setup.write(&format!("{name}.crt"), &pair.certificate);
        setup.write(&format!("{name}.key"), &pair.key);
    }
    let file = |name: &str| setup.directory.join(name).display().to_string();
    let (cert, key) = (file("valid.crt"), file("valid.key"));
    let valid = ["--cert", &cert, "--key", &key];
    let (cert, key) = (file("invalid.crt"), file("invalid.key"));
    let invalid = ["--cert", &cert, "--key", &key];
    let user = ["--user", "alice:wonderland"];
    for (arguments, path, status) in [
        (vec![], "/-/healthy", "200"),
        (vec![], "/metrics", "403"),
        (user.to_vec(), "/metrics", "403"),
        (valid.to_vec(), "/metrics", "401"),
        ([&valid[..], &["--user", "alice:x"]].concat(), "/metrics", "401"),
        ([&valid[..], &user].concat(), "/metrics", "200"),
        ([&invalid[..], &user].concat(), "/metrics", "000"),
    ] {
        assert_eq!(setup.curl(&curl, &arguments, path), status, "{arguments:?} {path}");
    }
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_with_the_shipped_tls_configuration() {
    let Some(prometheus) = tools::find("prometheus") else { return };
    let setup = Setup::new(&shipped("web-config.example.yml")).await;
    let target = setup.https.trim_start_matches("https://127.0.0.1");
    let prometheus_config = shipped("prometheus-tls.yml")
        .replace("scrape_interval: 1m", "scrape_interval: 1s")
        .replace(":10471", target)
        .replace("rule_files:\n  - wickr-exporter.rules.yml\n  - wickr-governance.rules.yml\n", "");
    setup.write("prometheus.yml", &prometheus_config);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(prometheus)
        .arg(format!("--config.file={}", setup.directory.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", setup.directory.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/api/v1/query?query=wickr_up");
    let scraped = async || {
        let Ok(response) = crate::harness::http().get(&url).send().await else { return false };
        response.text().await.is_ok_and(|text| text.contains("\"network_id\":\"12345678\""))
    };
    let deadline = Instant::now() + TIMEOUT;
    let mut found = false;
    while !found && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = scraped().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found, "{}", setup.exporter.log());
    let user = ("prometheus", DEPLOYED_PASSWORD);
    let refusals = "wickr_exporter_web_refusals_total{reason=\"credentials\"}";
    assert_eq!(setup.metric(refusals, user).await, Some(0.0));
    setup.simulator.stop().await.unwrap();
}

#[test]
fn check_agrees_with_promtool_except_for_documented_differences() {
    let Some(promtool) = tools::find("promtool") else { return };
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::generate();
    keys.write_as_deployed(directory.path());
    let server = keys.server();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("server.crt", &server.certificate);
    write("server.key", &server.key);
    write("ca.crt", &keys.authority());
    write("config.toml", &config("http://127.0.0.1:1", FAST, NETWORK, &["1001"]));
    let path = |name: &str| directory.path().join(name).display().to_string();
    let example = shipped("web-config.example.yml");
    let verify = "  client_auth_type: RequireAndVerifyClientCert\n";
    let tls = |more: &str| format!("{TLS}{more}");
    for (text, promtool_accepts, check_accepts) in [
        (example, true, true),
        (String::new(), true, true),
        (tls(""), true, true),
        (tls("  min_version: TLS13\n  max_version: TLS13\n"), true, true),
        (tls(&format!("{verify}  client_ca_file: ca.crt\n")), true, true),
        (tls("  client_auth_type: RequireAnyClientCert\n"), true, true),
        (tls("  client_auth_type: RequireClientCert\n"), true, true),
        (tls("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"), true, true),
        (tls("  curve_preferences: [CurveP256, X25519]\n"), true, true),
        (tls("  prefer_server_cipher_suites: yes\n"), true, true),
        (tls("  client_ca_file: ''\n  client_auth_type: ''\n"), true, true),
        (users(&[ALICE, ("1234", "x"), ("a b", "y")]), true, true),
        (
            "http_server_config: {http2: false, headers: {X-XSS-Protection: \"0\"}}".into(),
            true,
            true,
        ),
        ("x: &x {http2: true}\n".into(), false, false),
        ("http_server_config: {headers: {X-Frame-Options: allow}}".into(), false, false),
        ("http_server_config: {headers: {Server: x}}".into(), false, false),
        ("http_server_config: {http2: maybe}".into(), false, false),
        ("basic_auth_users: {a: plain}".into(), false, false),
        ("basic_auth_users: [a]".into(), false, false),
        (users(&[ALICE, ALICE]), false, false),
        (tls("  client_auth_type: Whatever\n"), false, false),
        (tls("  client_ca_file: ca.crt\n"), false, false),
        (tls("  min_version: TLS14\n"), false, false),
        (tls("  cipher_suites: [TLS_NULL]\n"), false, false),
        (tls("  curve_preferences: [CurveP1]\n"), false, false),
        (tls("  key_file: server.key\n"), false, false),
        (TLS.replace("server.key", "exporter.key"), false, false),
        (TLS.replace("server.key", "none.key"), false, false),
        (TLS.replace("  key_file: server.key\n", ""), false, false),
        // Documented differences.
        (tls(verify), true, false),
        (tls("  min_version: TLS10\n"), true, false),
        (tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"), true, false),
        (tls("  curve_preferences: [CurveP521]\n"), true, false),
        ("tls_server_config: {min_version: TLS13}".into(), true, false),
        (tls(&format!("{verify}  client_ca_file: server.key\n")), true, false),
    ] {
        write("web.yml", &text);
        let check = ["check", "web-config", &path("web.yml")];
        let output = Command::new(&promtool).args(check).output().unwrap();
        assert_eq!(output.status.success(), promtool_accepts, "promtool: {text}\n{output:?}");
        let output = program()
            .args(["check", &format!("--config.file={}", path("config.toml"))])
            .arg(format!("--web.config.file={}", path("web.yml")))
            .output()
            .unwrap();
        assert_eq!(output.status.success(), check_accepts, "{text}\n{output:?}");
    }
}
