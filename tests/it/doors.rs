//! TLS, passwords, client certificates, and clients that mean no good.

mod attacks;
mod changes;
mod limits;

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

const NETWORK: &str = "12345678";
const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

async fn small() -> Simulator {
    let user = user("1001").device(device("a").kind("iOS"));
    serving(Fleet::new().network(network(NETWORK).user(user))).await
}

/// A hash as `htpasswd` makes it, cheap.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 5).unwrap().replacen("$2b$", "$2y$", 1)
}

fn users(users: &[(&str, &str)]) -> String {
    let lines = users.iter().map(|(name, password)| format!("  {name}: {}\n", hash(password)));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

/// An exporter with a web configuration, and the files that it names.
struct House {
    simulator: Simulator,
    exporter: Exporter,
    folder: PathBuf,
    keys: Keys,
    https: String,
}

impl House {
    async fn new(web_config: &str) -> House {
        House::with(web_config, &[]).await
    }

    async fn with(web_config: &str, arguments: &[&str]) -> House {
        let (simulator, folder) = (small().await, tempfile::tempdir().unwrap());
        let keys = Keys::generate();
        let path = folder.path().to_owned();
        keys.write_as_deployed(&path);
        let server = keys.server();
        let files = [
            ("config.toml", config(&simulator.endpoint(), FAST, NETWORK, &["1001"])),
            ("web.yml", web_config.to_owned()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("ca.crt", keys.authority()),
        ];
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        let flag = format!("--web.config.file={}", path.join("web.yml").display());
        let arguments = [&[flag.as_str()], arguments].concat();
        let exporter = Exporter::start_in(folder, &arguments, &[]);
        let https = exporter.base.replace("http://", "https://");
        House { simulator, exporter, folder: path, keys, https }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// A client that trusts the authority and may have a certificate. Each connects anew.
    fn client(&self, pair: Option<&Pair>) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.keys.authority().as_bytes()).unwrap();
        let mut builder =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([authority]);
        if let Some(pair) = pair {
            let identity = reqwest::Identity::from_pem(pair.both().as_bytes()).unwrap();
            builder = builder.identity(identity);
        }
        builder.build().unwrap()
    }

    /// The status of a request by a client of its own; none if there was no answer.
    async fn status(&self, path: &str, pair: Option<&Pair>, user: Option<(&str, &str)>) -> u16 {
        let mut request = self.client(pair).get(format!("{}{path}", self.https));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// A metric without labels, read with a name and a password.
    async fn metric(&self, name: &str, user: (&str, &str)) -> Option<f64> {
        let request = self.client(None).get(format!("{}/metrics", self.https));
        let answer = request.basic_auth(user.0, Some(user.1)).send().await.ok()?;
        let text = answer.text().await.ok()?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn curl(&self, curl: &Path, arguments: &[&str], path: &str) -> String {
        let output = Command::new(curl)
            .args(["-sS", "--path-as-is", "--max-time", "30", "--noproxy", "*", "--cacert"])
            .arg(self.folder.join("ca.crt"))
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.https))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Waits until it comes true.
async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const ALICE: (&str, &str) = ("alice", "wonderland");

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

fn s_client(openssl: &Path, house: &House, arguments: &[&str]) -> String {
    let address = house.https.trim_start_matches("https://");
    let output = Command::new(openssl)
        .args(["s_client", "-connect", address])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
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
        said.contains("good.yml is good: no TLS, a password (1 user), no client certificate."),
        "{said}"
    );
    simulator.stop().await.unwrap();
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
        let warned = log.contains("whoever reaches this address");
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
    assert!(said.contains("systemd has passed no socket"), "{said}");
    let (status, said) = run(&["--web.listen-address=:1"]);
    assert_eq!(status, Some(2), "{said}");
    simulator.stop().await.unwrap();
}
