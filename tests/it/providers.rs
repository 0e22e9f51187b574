//! Each provider of credentials: its requests, and the renewal of credentials before they expire.

use std::{fs, path::Path, sync::Arc};

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use wickr_exporter::simulator::{Credential, Fleet, Simulator, device, network, user};

use crate::{
    harness::{Exporter, FAST, config, program, serving},
    identity::Identity,
};

const NETWORK: &str = "12345678";
const ROLE: &str = "arn:aws:iam::111122223333:role/r";
/// Variables without which the chain ends with the instance metadata.
const NOTHING: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", "")];

/// An exporter whose credentials come from `identity`, for one user of a simulator.
struct Setup {
    identity: Arc<Identity>,
    simulator: Simulator,
    folder: TempDir,
    variables: Vec<(String, String)>,
    profile: String,
}

impl Setup {
    async fn new() -> Setup {
        let identity = Identity::start().await;
        let fleet = Fleet::new()
            .network(network(NETWORK).user(user("1001").device(device("a").kind("iOS"))));
        let mut setup = Setup {
            identity,
            simulator: serving(fleet).await,
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            profile: String::new(),
        };
        for (name, value) in NOTHING {
            setup.set(name, value);
        }
        let url = setup.identity.url();
        // A proxy that must not be used for loopback. Its port is never open.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            setup.set(name, "http://127.0.0.1:1");
        }
        for name in ["STS", "SSO", "SSO_OIDC", "SIGNIN"] {
            setup.set(&format!("AWS_ENDPOINT_URL_{name}"), &url);
        }
        setup.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
        setup.set("HOME", &setup.folder.path().display().to_string());
        setup
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Credentials that the simulator accepts, valid for some seconds.
    fn issue(&self, key: &str, seconds: i64) {
        let credential = Credential::new(key, "secret").session_token(format!("token-{key}"));
        self.simulator.credentials().add(credential);
        self.identity.issue(key, "secret", &format!("token-{key}"), seconds);
    }

    fn start(&mut self) -> Exporter {
        let files = self.write("aws-config", &self.profile);
        self.set("AWS_CONFIG_FILE", &files);
        let text = config(&self.simulator.endpoint(), FAST, NETWORK, &["1001"]);
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Exporter::start_with(&text, &["--log.level=debug"], &variables)
    }

    /// Starts with credentials for 3 seconds, and checks that the next are used before those expire.
    /// `fetch` is part of the request line for credentials.
    async fn renews(mut self, fetch: &str) -> (Setup, Exporter) {
        self.issue("ASIAFIRST", 3);
        let exporter = self.start();
        let samples = exporter.polled(1.0).await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
        let count = self.identity.requests(fetch).len();
        self.issue("ASIASECOND", 3600);
        let fetched = |_: &crate::harness::Samples| self.identity.requests(fetch).len() > count;
        exporter.wait_for("a renewal", fetched).await;
        self.simulator.credentials().revoke("ASIAFIRST");
        let samples = exporter.next_poll().await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
        let refused = samples.get("wickr_exporter_api_requests_total", &[("code", "403")]);
        assert_eq!(refused.unwrap_or(0.0), 0.0, "{}", exporter.log());
        assert!(!exporter.log().contains("token-ASIA"), "a secret in the log");
        (self, exporter)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_metadata_is_read_with_a_session_token() {
    let setup = Setup::new().await;
    let (setup, exporter) = setup.renews("security-credentials/exporter-role").await;
    let log = exporter.log();
    assert!(log.contains("provider=\"instance metadata (EC2)\""), "{log}");
    let tokens = setup.identity.requests("PUT /latest/api/token");
    assert!(tokens.iter().all(|r| r.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn region_comes_from_the_instance_metadata() {
    let mut setup = Setup::new().await;
    setup.issue("ASIAFIRST", 3600);
    let text = config(&setup.simulator.endpoint(), FAST, NETWORK, &["1001"])
        .replace("region = \"us-east-1\"\n", "");
    let file = setup.write("config.toml", &text);
    setup.set("AWS_REGION", "");
    let mut command = program();
    command.args(["once", "--config.file", &file]).envs(setup.variables);
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("region=\"us-east-1\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_beyond_the_hop_limit_is_named_with_a_remedy() {
    let mut setup = Setup::new().await;
    setup.identity.set_beyond_hop_limit();
    let exporter = setup.start();
    exporter.polled(1.0).await;
    let log = exporter.log();
    let error = log.lines().find(|line| line.contains("cannot get AWS credentials")).unwrap();
    for part in [
        "environment: ",
        "profile: ",
        "web identity: ",
        "container (ECS, EKS): ",
        "instance metadata (EC2): ",
        "no response within",
        "hop limit of 2",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn container_credentials_are_requested_with_the_current_token() {
    let mut setup = Setup::new().await;
    let file = setup.write("pod-identity-token", "first-token");
    let url = format!("{}/container", setup.identity.url());
    setup.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    setup.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file);
    setup.issue("ASIAFIRST", 3);
    let exporter = setup.start();
    exporter.polled(1.0).await;
    // Kubernetes replaces the token.
    setup.write("pod-identity-token", "second-token");
    setup.issue("ASIASECOND", 3600);
    let fetched = |_: &crate::harness::Samples| setup.identity.requests("/container").len() > 1;
    exporter.wait_for("a renewal", fetched).await;
    let requests = setup.identity.requests("GET /container");
    let tokens: Vec<_> =
        requests.iter().map(|r| r.headers["authorization"].to_str().unwrap()).collect();
    assert_eq!((tokens[0], *tokens.last().unwrap()), ("first-token", "second-token"));
    assert_eq!(exporter.next_poll().await.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn web_identity_is_renewed_with_the_current_token() {
    let mut setup = Setup::new().await;
    let file = setup.write("token", "web.identity.token");
    setup.set("AWS_WEB_IDENTITY_TOKEN_FILE", &file);
    setup.set("AWS_ROLE_ARN", ROLE);
    setup.set("AWS_ROLE_SESSION_NAME", "pod-1");
    let (setup, _) = setup.renews("POST /").await;
    let request = &setup.identity.requests("POST /")[0];
    for part in ["WebIdentityToken=web.identity.token", "RoleSessionName=pod-1"] {
        assert!(request.body.contains(part), "{part} in {}", request.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn role_of_a_profile_is_assumed_again_before_it_expires() {
    let mut setup = Setup::new().await;
    setup.profile = format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = source\nrole_session_name = of-profile\n\
         [profile source]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = secret\n"
    );
    let (setup, _) = setup.renews("POST /").await;
    assert!(setup.identity.requests("POST /")[0].body.contains("RoleSessionName=of-profile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn process_is_run_again_before_its_credentials_expire() {
    let mut setup = Setup::new().await;
    let url = format!("{}/container", setup.identity.url());
    // The program prints the format of the container agent, with two other names.
    let script = format!(
        "import json, urllib.request as u\n\
         c = json.load(u.build_opener(u.ProxyHandler({{}})).open('{url}'))\n\
         print(json.dumps(dict(c, Version=1, SessionToken=c['Token'])))\n"
    );
    let script = setup.write("credentials.py", &script);
    setup.profile = format!("[default]\ncredential_process = python3 {script}\n");
    setup.renews("GET /container").await;
}

const SSO: &str = "[default]\nsso_session = s\nsso_account_id = 111122223333\nsso_role_name = reader\n\
                   [sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n\
                   sso_registration_scopes = sso:account:access\n";

/// Writes the cached token of the SSO session `s`.
fn cache_sso_token(home: &Path, expires_at: &str) {
    let folder = home.join(".aws/sso/cache");
    fs::create_dir_all(&folder).unwrap();
    let token = json!({
        "startUrl": "https://example.awsapps.com/start", "region": "us-east-1",
        "accessToken": "cached-token", "expiresAt": expires_at,
        "clientId": "id", "clientSecret": "client-secret", "refreshToken": "refresh",
        "registrationExpiresAt": "2099-01-01T00:00:00Z",
    });
    // The SHA-1 of the session's name.
    let name = "a0f1490a20d0211c997b44bc357e1972deab8ae3.json";
    fs::write(folder.join(name), token.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sso_credentials_are_renewed_with_the_cached_token() {
    let mut setup = Setup::new().await;
    setup.profile = SSO.into();
    cache_sso_token(setup.folder.path(), "2099-01-01T00:00:00Z");
    let (setup, _) = setup.renews("/federation/credentials").await;
    let request = &setup.identity.requests("/federation/credentials")[0];
    assert!(request.line.contains("role_name=reader"), "{}", request.line);
    assert_eq!(request.headers["x-amz-sso_bearer_token"], "cached-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_sso_token_is_renewed_first() {
    let mut setup = Setup::new().await;
    setup.profile = SSO.into();
    cache_sso_token(setup.folder.path(), "2020-01-01T00:00:00Z");
    setup.issue("ASIAFIRST", 3600);
    let exporter = setup.start();
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert!(setup.identity.requests("POST /token")[0].body.contains("refresh"));
    let request = &setup.identity.requests("/federation/credentials")[0];
    assert_eq!(request.headers["x-amz-sso_bearer_token"], "renewed-token");
}

/// A key of the documentation of the SDKs.
const DPOP_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFDZHUzOG1Pzq+6F0mjMlOSp1syN9LRPBuHMoCFXTcXhoAoGCCqGSM49\nAwEHoUQDQgAE9qhj+KtcdHj1kVgwxWWWw++tqoh7H7UHs7oXh8jBbgF47rrYGC+t\ndjiIaHK3dBvvdE7MGj5HsepzLm3Kj91bqA==\n-----END EC PRIVATE KEY-----\n";

#[tokio::test(flavor = "multi_thread")]
async fn login_session_is_used_and_renewed() {
    let mut setup = Setup::new().await;
    let arn = "arn:aws:iam::111122223333:user/ann";
    setup.profile = format!("[default]\nlogin_session = {arn}\n");
    let token = |key: &str, expires_at: Timestamp| {
        json!({
            "accessToken": {
                "accessKeyId": key, "secretAccessKey": "secret",
                "sessionToken": format!("token-{key}"), "accountId": "111122223333",
                "expiresAt": expires_at.to_string(),
            },
            "tokenType": "aws_sigv4", "refreshToken": "refresh", "idToken": "id",
            "clientId": "arn:aws:signin:::devtools/same-device", "dpopKey": DPOP_KEY,
        })
        .to_string()
    };
    let cache = format!(".aws/login/cache/{}.json", sha256(arn));
    setup.write(&cache, &token("ASIAOLD", "2020-01-01T00:00:00Z".parse().unwrap()));
    setup.issue("ASIANEW", 900);
    let exporter = setup.start();
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    let request = &setup.identity.requests("POST /v1/token")[0];
    assert!(request.body.contains("refresh_token"), "{}", request.body);
    assert!(request.headers.contains_key("dpop"), "{:?}", request.headers);
    let cached = fs::read_to_string(setup.folder.path().join(&cache)).unwrap();
    assert!(cached.contains("ASIANEW"), "the AWS CLI would not find the renewed session");
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
