//! Proxies, certificate authorities, and what `check` says about settings and failed connections.

use std::{fs, process::Output};

use wickr_exporter::simulator::{Fleet, Simulator, device, network, user};

use crate::{
    connect_log::ConnectLog,
    harness::{program, serving},
    identity::Identity,
    inspecting_proxy::InspectingProxy,
};

const NETWORK: &str = "12345678";
const WICKR: &str = "admin.wickr.us-east-1.amazonaws.com";
const STS: &str = "sts.us-east-1.amazonaws.com";
const ROLE: &str = "arn:aws:iam::111122223333:role/wickr-read";

async fn one_user() -> Simulator {
    let user = user("1001").device(device("a").kind("iOS"));
    serving(Fleet::new().network(network(NETWORK).user(user))).await
}

/// Runs a command with lines of `[aws]` and variables. Returns its output and all that it prints.
async fn run(command: &[&str], aws: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = format!(
        "[aws]\nregion = \"us-east-1\"\n{aws}\n[poll]\nmax_attempts = 1\n\
         [[network]]\nid = \"{NETWORK}\"\nusers = [\"1001\"]\n"
    );
    fs::write(&file, text).unwrap();
    let mut program = program();
    program.args(command).arg("--config.file").arg(&file).envs(variables.iter().copied());
    let output = tokio::process::Command::from(program).output().await.unwrap();
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let text = String::from_utf8(text).unwrap();
    (output, text)
}

const ONLINE: &[&str] = &["check", "--online"];

#[tokio::test(flavor = "multi_thread")]
async fn loopback_and_container_credentials_bypass_the_proxy() {
    let (simulator, identity) = (one_user().await, Identity::start().await);
    identity.issue("AKIAEXAMPLE", "secret", "token", 3600);
    let credential = wickr_exporter::simulator::Credential::new("AKIAEXAMPLE", "secret");
    simulator.credentials().add(credential.session_token("token"));
    let mut proxy = ConnectLog::start().await;
    let address = format!("http://{}", proxy.address());
    let container = format!("{}/container", identity.url());
    let endpoint = format!("endpoint_url = \"{}\"", simulator.endpoint());
    let (output, text) = run(
        ONLINE,
        &endpoint,
        &[
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
            ("HTTP_PROXY", &address),
            ("HTTPS_PROXY", &address),
            ("ALL_PROXY", &address),
            ("http_proxy", &address),
        ],
    )
    .await;
    assert!(output.status.success(), "{text}");
    assert_eq!(proxy.so_far(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wickr_and_sts_are_reached_through_http_and_socks_proxies() {
    let mut proxy = ConnectLog::start().await;
    for (name, scheme) in [
        ("HTTPS_PROXY", "http://me:hunter2@"),
        ("https_proxy", ""),
        ("ALL_PROXY", "socks5h://"),
        ("all_proxy", "http://"),
    ] {
        let address = format!("{scheme}{}", proxy.address());
        let (_, text) = run(ONLINE, "", &[(name, &address)]).await;
        assert!(text.contains(&format!("({name}) refused or failed")), "{text}");
        assert!(text.contains("what the proxy allows") && !text.contains("hunter2"), "{text}");
        assert_eq!(proxy.so_far(), [format!("{WICKR}:443")]);
        let role = format!("role_arn = {ROLE:?}");
        let (_, text) = run(ONLINE, &role, &[(name, &address)]).await;
        assert!(text.contains("no AWS credentials: cannot assume"), "{text}");
        assert!(text.contains(&format!("({name}) refused or failed")), "{text}");
        assert!(text.contains("what the proxy allows") && !text.contains("hunter2"), "{text}");
        assert!(proxy.so_far().iter().all(|host| *host == format!("{STS}:443")));
    }
    let address = format!("http://{}", proxy.address());
    let variables = [("HTTPS_PROXY", address.as_str()), ("NO_PROXY", "10.0.0.0/8, .wickr.invalid")];
    let aws = "endpoint_url = \"https://admin.wickr.invalid\"";
    let (_, text) = run(ONLINE, aws, &variables).await;
    assert_eq!(proxy.so_far(), [""; 0], "{text}");
    let (output, text) = run(ONLINE, "", &[("HTTPS_PROXY", "ftp://me:hunter2@x")]).await;
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("HTTPS_PROXY: ftp:// is not supported"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_apply_to_wickr_and_sts_behind_a_proxy_that_inspects_tls() {
    let (simulator, identity) = (one_user().await, Identity::start().await);
    identity.issue("ASIAROLE", "secret", "token", 3600);
    let credential = wickr_exporter::simulator::Credential::new("ASIAROLE", "secret");
    simulator.credentials().add(credential.session_token("token"));
    let address = |url: String| url.strip_prefix("http://").unwrap().parse().unwrap();
    let servers = [(WICKR, address(simulator.endpoint())), (STS, address(identity.url()))];
    let proxy = InspectingProxy::start(&servers).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let bundle = write("ca.pem", &proxy.authority);
    let profile = write("config", &format!("[default]\nca_bundle = {bundle}\n"));
    let other = write("other.pem", &crate::keys::Keys::generate().authority());
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let role = format!("role_arn = {ROLE:?}");
    for (name, value) in
        [("AWS_CA_BUNDLE", &bundle), ("AWS_CONFIG_FILE", &profile), ("SSL_CERT_FILE", &bundle)]
    {
        let (output, text) = run(ONLINE, &role, &[("HTTPS_PROXY", &url), (name, value)]).await;
        assert!(output.status.success(), "{name}: {text}");
    }
    assert_eq!(identity.requests("POST /").len(), 3);
    for aws in ["", role.as_str()] {
        // AWS_CA_BUNDLE overrides the profile and SSL_CERT_FILE.
        let variables = [
            ("HTTPS_PROXY", url.as_str()),
            ("AWS_CA_BUNDLE", &other),
            ("AWS_CONFIG_FILE", &profile),
            ("SSL_CERT_FILE", &bundle),
        ];
        let (output, text) = run(ONLINE, aws, &variables).await;
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("TLS failed: ") && text.contains("set AWS_CA_BUNDLE"), "{text}");
    }
    let invalid = write("invalid.pem", "nonsense");
    let (output, text) = run(&["check"], "", &[("AWS_CA_BUNDLE", &invalid)]).await;
    assert!(text.contains("AWS_CA_BUNDLE: cannot read the certificate authorities"), "{text}");
    assert!(output.status.success(), "the file may exist where the exporter runs");
    let (output, _) = run(&["once"], "", &[("AWS_CA_BUNDLE", &invalid)]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_names_the_step_that_failed_and_its_remedy() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let tcp = format!("endpoint_url = \"https://127.0.0.1:{closed}\"");
    let identity = Identity::start().await;
    identity.refuse_roles();
    let role = format!("role_arn = {ROLE:?}");
    let sts = identity.url();
    for (aws, variables, error, remedy) in [
        (
            "endpoint_url = \"https://admin.wickr.invalid\"",
            &[][..],
            "DNS failed: ",
            "whether a VPC endpoint has private DNS names",
        ),
        (tcp.as_str(), &[], "TCP failed: ", "security groups"),
        (
            "",
            &[("AWS_ACCESS_KEY_ID", "")],
            "no provider returned credentials: environment: ",
            "AWS_PROFILE",
        ),
        (
            role.as_str(),
            &[("AWS_ENDPOINT_URL_STS", sts.as_str())],
            "cannot assume arn:aws:iam::111122223333:role/wickr-read: ",
            "the trust policy",
        ),
    ] {
        let (output, text) = run(ONLINE, aws, variables).await;
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(error) && text.contains(remedy), "{error}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_beyond_loopback_and_an_empty_endpoint_of_sts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("config");
    fs::write(&profile, "[default]\nendpoint_url = http://me:hunter2@h.invalid\n").unwrap();
    let profile = profile.to_str().unwrap();
    let role = format!("role_arn = {ROLE:?}");
    for (aws, name, value, status, error) in [
        (
            "",
            "AWS_ENDPOINT_URL_WICKR",
            "http://h.invalid",
            2,
            "AWS_ENDPOINT_URL_WICKR: must be https",
        ),
        ("", "AWS_ENDPOINT_URL", "http://10.0.0.1", 2, "AWS_ENDPOINT_URL: must be https"),
        ("", "AWS_CONFIG_FILE", profile, 2, "endpoint_url of the profile default: must be https"),
        (
            role.as_str(),
            "AWS_ENDPOINT_URL_STS",
            "http://h.invalid",
            1,
            "http://h.invalid is refused",
        ),
        (role.as_str(), "AWS_ENDPOINT_URL_STS", "", 2, "AWS_ENDPOINT_URL_STS: is empty"),
    ] {
        let (output, text) = run(ONLINE, aws, &[(name, value)]).await;
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(error) && !text.contains("hunter2"), "{error}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_each_setting_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("config");
    let text = "[profile p]\nregion = eu-west-1\nuse_dualstack_endpoint = true\nsso_session = s\n";
    fs::write(&profile, text).unwrap();
    let variables = [
        ("AWS_CONFIG_FILE", profile.to_str().unwrap()),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_PROFILE", "p"),
        ("AWS_ROLE_SESSION_NAME", "exporter-1"),
        ("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128"),
        ("SSL_CERT_FILE", "/etc/authorities.pem"),
    ];
    let role = format!("role_arn = {ROLE:?}");
    let (output, text) = run(&["check"], &role, &variables).await;
    assert!(output.status.success(), "{text}");
    for line in [
        "  region       us-east-1 (aws.region)",
        "  endpoint     https://admin.wickr-fips.us-east-1.api.aws (region; FIPS by \
         AWS_USE_FIPS_ENDPOINT, also for STS; dual stack by use_dualstack_endpoint of the profile p, \
         also for STS)",
        "    WARNING: AWS documents no FIPS endpoint of Wickr in us-east-1; `check --online` shows \
         whether there is one",
        "  credentials  sso_session of the profile p, then role \
         arn:aws:iam::111122223333:role/wickr-read, session exporter-1 (AWS_ROLE_SESSION_NAME)",
        "  proxy        http://proxy.example:3128 (HTTPS_PROXY)",
        "  authorities  /etc/authorities.pem (SSL_CERT_FILE)",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}\n{text}");
    }
    let (_, text) = run(&["check"], "", &[("AWS_ACCESS_KEY_ID", "")]).await;
    assert!(text.contains("  credentials  NONE: no provider is configured"), "{text}");
    let aws = "endpoint_url = \"https://vpce.example\"\nprofile = \"q\"";
    let (_, text) = run(&["check"], aws, &variables).await;
    assert!(text.contains("aws.profile: \"q\" is in neither"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_ca_certificates_are_an_error_that_names_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let (file, empty) = (folder.path().join("none.pem"), folder.path().to_str().unwrap());
    let file = file.to_str().unwrap();
    let missing = [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", empty)];
    let expected = format!(
        "no CA certificates found in SSL_CERT_FILE={file} and SSL_CERT_DIR={empty}: install the \
         package ca-certificates"
    );
    let from = ["devices", "--from", "https://example.invalid"];
    for (command, status) in [(ONLINE, 1), (&["once"], 1), (&[][..], 1), (&from, 2)] {
        let (output, text) = run(command, "", &missing).await;
        assert_eq!(output.status.code(), Some(status), "{command:?}: {text}");
        assert!(text.contains(&expected), "{command:?}: {text}");
    }
    let mut health = program();
    health.args(["health", "https://localhost"]).envs(missing);
    let output = tokio::process::Command::from(health).output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&expected), "{text}");
    // Plain HTTP needs none. It is for loopback, which is not proxied.
    let simulator = one_user().await;
    let endpoint = format!("endpoint_url = \"{}\"", simulator.endpoint());
    let proxied = [missing[0], missing[1], ("HTTPS_PROXY", "http://127.0.0.1:1")];
    let (output, text) = run(ONLINE, &endpoint, &proxied).await;
    assert!(output.status.success(), "{text}");
    let (_, text) = run(&["devices", "--from", "http://127.0.0.1:1"], "", &missing).await;
    assert!(text.contains("127.0.0.1:1") && !text.contains("certificates"), "{text}");
}
