//! Other people's programs at the doors: curl, openssl, Python, Prometheus and promtool.

use super::*;
#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_agree_on_versions_suites_and_curves() {
    let (Some(curl), Some(openssl)) = (tools::find("curl"), tools::find("openssl")) else { return };
    for (settings, expected) in [
        ("", ["200", "200"]),
        ("  min_version: TLS13\n", ["000", "200"]),
        ("  max_version: TLS12\n", ["200", "000"]),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", ["000", "200"]),
    ] {
        let house = House::new(&format!("{TLS}{settings}")).await;
        let found = [&["--tls-max", "1.2"], &["--tlsv1.3", "--http1.1"]]
            .map(|version| house.curl(&curl, version, "/metrics"));
        assert_eq!(found, expected, "{settings}");
        assert_eq!(house.curl(&curl, &["--tls-max", "1.1"], "/metrics"), "000");
        house.simulator.stop().await.unwrap();
    }
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let house = House::new(&format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [{suite}]\n  curve_preferences: [CurveP384]\n"
    ))
    .await;
    let said = s_client(&openssl, &house, &["-alpn", "h2,http/1.1"]);
    for part in ["ECDHE-ECDSA-AES256-GCM-SHA384", "secp384r1", "ALPN protocol: http/1.1"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    for refused in [&["-cipher", "AES128-SHA"][..], &["-groups", "P-256"], &["-alpn", "h2"]] {
        let said = s_client(&openssl, &house, refused);
        assert!(said.contains("alert"), "{refused:?}: {said}");
    }
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_python_come_in_with_what_is_asked_for_and_not_without() {
    let (Some(curl), Some(python)) = (tools::find("curl"), tools::find("python3")) else { return };
    let house = House::new(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n{}",
        users(&[ALICE])
    ))
    .await;
    for (name, pair) in
        [("good", house.keys.client("scraper")), ("bad", house.keys.stranger("scraper"))]
    {
        house.write(&format!("{name}.crt"), &pair.certificate);
        house.write(&format!("{name}.key"), &pair.key);
    }
    let file = |name: &str| house.folder.join(name).display().to_string();
    let (good, good_key) = (file("good.crt"), file("good.key"));
    let (bad, bad_key) = (file("bad.crt"), file("bad.key"));
    let (certificate, stranger) =
        (["--cert", &good, "--key", &good_key], ["--cert", &bad, "--key", &bad_key]);
    let user = ["--user", "alice:wonderland"];
    for (arguments, path, status) in [
        (vec![], "/-/healthy", "200"),
        (vec![], "/metrics", "403"),
        (user.to_vec(), "/metrics", "403"),
        (certificate.to_vec(), "/metrics", "401"),
        ([&certificate[..], &["--user", "alice:x"]].concat(), "/metrics", "401"),
        ([&certificate[..], &user].concat(), "/metrics", "200"),
        ([&stranger[..], &user].concat(), "/metrics", "000"),
    ] {
        assert_eq!(house.curl(&curl, &arguments, path), status, "{arguments:?} {path}");
    }
    const SCRIPT: &str = r#"
import base64, ssl, sys, urllib.error, urllib.request
base, ca, *pairs = sys.argv[1:]
for name in [""] + pairs:
    for authorization in ["", "alice:wonderland", "alice:alice"]:
        context = ssl.create_default_context(cafile=ca)
        if name:
            context.load_cert_chain(name + ".crt", name + ".key")
        handlers = [urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})]
        request = urllib.request.Request(base + "/metrics")
        if authorization:
            encoded = base64.b64encode(authorization.encode()).decode()
            request.add_header("Authorization", "Basic " + encoded)
        try:
            status = urllib.request.build_opener(*handlers).open(request, timeout=30).status
        except urllib.error.HTTPError as error:
            status = error.code
        except (urllib.error.URLError, OSError):
            status = 0
        print(status)
"#;
    let said = tools::run(
        &python,
        &["-c", SCRIPT, &house.https, &file("ca.crt"), &file("good"), &file("bad")],
    );
    let statuses: Vec<_> = said.split_whitespace().collect();
    assert_eq!(statuses, ["403", "403", "403", "401", "200", "401", "0", "0", "0"]);
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_it_over_tls_with_a_password() {
    let Some(prometheus) = tools::find("prometheus") else { return };
    let shipped = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(name);
        fs::read_to_string(path).unwrap()
    };
    let house = House::new(&shipped("web-config.example.yml")).await;
    let target = house.https.trim_start_matches("https://127.0.0.1");
    let scrapes = shipped("prometheus-tls.yml")
        .replace("scrape_interval: 1m", "scrape_interval: 1s")
        .replace(":10471", target)
        .replace("rule_files:\n  - wickr-exporter.rules.yml\n", "");
    house.write("prometheus.yml", &scrapes);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(prometheus)
        .arg(format!("--config.file={}", house.folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", house.folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/api/v1/query?query=wickr_up");
    let scraped = async || {
        let Ok(answer) = crate::harness::http().get(&url).send().await else { return false };
        answer.text().await.is_ok_and(|text| text.contains("\"network_id\":\"12345678\""))
    };
    let until = Instant::now() + PATIENCE;
    let mut found = false;
    while !found && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = scraped().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found, "{}", house.exporter.log());
    let user = ("prometheus", DEPLOYED_PASSWORD);
    let refused = "wickr_exporter_web_refusals_total{reason=\"credentials\"}";
    assert_eq!(house.metric(refused, user).await, Some(0.0));
    house.simulator.stop().await.unwrap();
}

#[test]
fn the_toolkit_and_we_agree_on_what_is_good_but_where_it_says_so() {
    let Some(promtool) = tools::find("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::generate();
    keys.write_as_deployed(folder.path());
    let server = keys.server();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("server.crt", &server.certificate);
    write("server.key", &server.key);
    write("ca.crt", &keys.authority());
    write("config.toml", &config("http://127.0.0.1:1", FAST, NETWORK, &["1001"]));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let example = fs::read_to_string(example.join("web-config.example.yml")).unwrap();
    let verify = "  client_auth_type: RequireAndVerifyClientCert\n";
    let tls = |more: &str| format!("{TLS}{more}");
    for (text, toolkit, ours) in [
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
        // Where we are stricter, as docs/tls-and-authentication.md says.
        (tls(verify), true, false),
        (tls("  min_version: TLS10\n"), true, false),
        (tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"), true, false),
        (tls("  curve_preferences: [CurveP521]\n"), true, false),
        ("tls_server_config: {min_version: TLS13}".into(), true, false),
        (tls(&format!("{verify}  client_ca_file: server.key\n")), true, false),
    ] {
        write("web.yml", &text);
        let said = Command::new(&promtool).args(["check", "web-config", &path("web.yml")]).output();
        let said = said.unwrap();
        assert_eq!(said.status.success(), toolkit, "promtool: {text}\n{said:?}");
        let said = program()
            .args(["check", &format!("--config.file={}", path("config.toml"))])
            .arg(format!("--web.config.file={}", path("web.yml")))
            .output()
            .unwrap();
        assert_eq!(said.status.success(), ours, "{text}\n{said:?}");
    }
}
