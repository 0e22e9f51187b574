//! Credentials of containers, roles and profiles, and their renewal.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::any};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use wickr_exporter::simulator::{Credential, Fleet, Refusal, Simulator, device, network, user};

use crate::harness::{Exporter, FAST, config, serving};

const NETWORK: &str = "12345678";

async fn one_user() -> Simulator {
    serving(
        Fleet::new().network(network(NETWORK).user(user("1001").device(device("a").kind("iOS")))),
    )
    .await
}

/// A container credentials endpoint (for requests without a body) and STS.
#[derive(Default)]
struct Provider {
    requests: AtomicUsize,
    /// The bodies and `Authorization` headers of requests to STS.
    sts: Mutex<Vec<(String, String)>>,
    /// Access key, secret, token, and lifetime in seconds.
    current: Mutex<(String, String, String, i64)>,
}

impl Provider {
    fn set(&self, key: &str, secret: &str, token: &str, lifetime: i64) {
        *self.current.lock().unwrap() = (key.into(), secret.into(), token.into(), lifetime);
    }

    async fn respond(
        State(provider): State<Arc<Provider>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> String {
        provider.requests.fetch_add(1, Ordering::Relaxed);
        let (key, secret, token, lifetime) = provider.current.lock().unwrap().clone();
        let expiration = (Timestamp::now() + lifetime.seconds()).to_string();
        if body.is_empty() {
            return json!({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": expiration})
                .to_string();
        }
        let authorization = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        let body = String::from_utf8(body.to_vec()).unwrap();
        provider.sts.lock().unwrap().push((body, authorization.unwrap_or_default()));
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/r/x</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleResult></AssumeRoleResponse>"
        )
    }

    async fn start() -> (Arc<Provider>, String) {
        let provider = Arc::new(Provider::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(Provider::respond)).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (provider, url)
    }
}

/// An environment without access keys, so that the chain continues to the next provider.
fn without_keys<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], others].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_credentials_before_expiry_and_after_a_rejection() {
    let (provider, url) = Provider::start().await;
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("ASIAFIRST", "s1").session_token("t1/+="));
    provider.set("ASIAFIRST", "s1", "t1/+=", 3600);
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let environment = without_keys(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        // The systemd unit always sets this variable.
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials"),
    ]);
    let exporter = Exporter::start_with(&text, &[], &environment);
    let samples = exporter.polled(3.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert_eq!(provider.requests.load(Ordering::Relaxed), 1, "not cached");

    // The service rejects them; the next ones are valid for 10 seconds.
    simulator.credentials().add(Credential::new("ASIASECOND", "s2").session_token("t2"));
    provider.set("ASIASECOND", "s2", "t2", 10);
    simulator.credentials().refuse("ASIAFIRST", Refusal::ExpiredToken);
    let rejected = |s: &crate::harness::Samples| {
        s.get("wickr_exporter_api_requests_total", &[("code", "403")]).unwrap_or(0.0)
    };
    let samples = exporter.wait_for("a rejection", |s| rejected(s) >= 1.0).await;
    assert_eq!(rejected(&samples), 1.0);
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!(samples.get("wickr_exporter_polls_total", &[("result", "failure")]), Some(0.0));
    assert_eq!(provider.requests.load(Ordering::Relaxed), 2);

    // The third ones are fetched before the second ones expire.
    simulator.credentials().add(Credential::new("ASIATHIRD", "s3").session_token("t3"));
    provider.set("ASIATHIRD", "s3", "t3", 3600);
    exporter.wait_for("a third fetch", |_| provider.requests.load(Ordering::Relaxed) == 3).await;
    let samples = exporter.next_poll().await;
    assert_eq!(rejected(&samples), 1.0);
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn assumes_a_role_with_its_external_id_and_does_not_log_it() {
    let (provider, url) = Provider::start().await;
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("ASIAROLE", "sr").session_token("tr"));
    provider.set("ASIAROLE", "sr", "tr", 3600);
    let role =
        "role_arn = \"arn:aws:iam::111122223333:role/wickr-read\"\nexternal_id = \"shibboleth\"";
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"])
        .replace("[aws]", &format!("[aws]\n{role}"));
    let exporter =
        Exporter::start_with(&text, &["--log.level=trace"], &[("AWS_ENDPOINT_URL_STS", &url)]);
    let samples = exporter.polled(2.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    let requests = provider.sts.lock().unwrap().clone();
    assert_eq!(requests.len(), 1);
    let (body, authorization) = &requests[0];
    let parts = [
        "Action=AssumeRole",
        "role%2Fwickr-read",
        "ExternalId=shibboleth",
        "RoleSessionName=wickr-exporter",
    ];
    for part in parts {
        assert!(body.contains(part), "{part} in {body}");
    }
    assert!(authorization.contains("/us-east-1/sts/aws4_request"), "{authorization}");
    let rate = [("region", "us-east-1"), ("role_arn", "arn:aws:iam::111122223333:role/wickr-read")];
    assert!(samples.get("wickr_exporter_api_rate_limit", &rate).is_some());
    assert!(!exporter.log().contains("shibboleth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn session_name_comes_from_the_configuration_before_the_environment() {
    let (provider, url) = Provider::start().await;
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("ASIAROLE", "sr").session_token("tr"));
    provider.set("ASIAROLE", "sr", "tr", 3600);
    let variables = [("AWS_ENDPOINT_URL_STS", url.as_str()), ("AWS_ROLE_SESSION_NAME", "host-1")];
    for (key, name) in [("", "host-1"), ("role_session_name = \"network-1\"", "network-1")] {
        let role = format!("[aws]\nrole_arn = \"arn:aws:iam::111122223333:role/r\"\n{key}");
        let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]).replace("[aws]", &role);
        let exporter = Exporter::start_with(&text, &[], &variables);
        let samples = exporter.polled(1.0).await;
        assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
        let (body, _) = provider.sts.lock().unwrap().pop().unwrap();
        assert!(body.contains(&format!("RoleSessionName={name}")), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_keys_and_region_from_a_profile_and_reads_it_again_after_a_rejection() {
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("AKIAPROFILE", "sp"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profile =
        |key: &str| format!("[watch]\naws_access_key_id = {key}\naws_secret_access_key = sp\n");
    std::fs::write(&file, profile("AKIAPROFILE")).unwrap();
    let settings = folder.path().join("config");
    std::fs::write(&settings, "[profile watch]\nregion = us-east-1\n").unwrap();
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"])
        .replace("region = \"us-east-1\"", "profile = \"watch\"");
    let environment = without_keys(&[
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_CONFIG_FILE", settings.to_str().unwrap()),
    ]);
    let exporter = Exporter::start_with(&text, &[], &environment);
    let samples = exporter.polled(1.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert_eq!(samples.series("wickr_network_info", &[("region", "us-east-1")]).count(), 1);

    simulator.credentials().add(Credential::new("AKIAROTATED", "sp"));
    std::fs::write(&file, profile("AKIAROTATED")).unwrap();
    simulator.credentials().revoke("AKIAPROFILE");
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_fail_the_poll_as_unauthorized() {
    let simulator = one_user().await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = Exporter::start_with(&text, &[], &without_keys(&[]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(
        samples.get("wickr_exporter_user_failures", &[("reason", "unauthorized")]),
        Some(1.0)
    );
    assert_eq!(samples.get("wickr_up", &[]), Some(0.0));
    let log = exporter.log();
    let error = log.lines().find(|line| line.contains("cannot get AWS credentials")).unwrap();
    for provider in ["environment", "profile", "web identity", "container (ECS, EKS)"] {
        assert!(error.contains(&format!("{provider}: ")), "{provider} in {error}");
    }
    assert!(error.contains("instance metadata (EC2): IMDS disabled by"), "{error}");
    assert_eq!(simulator.requests().total(), 0);
}
