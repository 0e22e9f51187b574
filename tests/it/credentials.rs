//! Where credentials come from, and when they are replaced: the container's endpoint and a role
//! of STS, both played by a small server here; profiles, from files.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
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

/// Hands out credentials as a container's endpoint and as STS do.
#[derive(Default)]
struct Vendor {
    asked: AtomicUsize,
    /// The bodies and `Authorization` headers of what STS was asked.
    sts: Mutex<Vec<(String, String)>>,
    /// Access key, secret, token, and the seconds they live.
    current: Mutex<(String, String, String, i64)>,
}

impl Vendor {
    fn hand_out(&self, key: &str, secret: &str, token: &str, life: i64) {
        *self.current.lock().unwrap() = (key.into(), secret.into(), token.into(), life);
    }

    async fn answer(State(vendor): State<Arc<Vendor>>, headers: HeaderMap, body: Bytes) -> String {
        vendor.asked.fetch_add(1, Ordering::Relaxed);
        let (key, secret, token, life) = vendor.current.lock().unwrap().clone();
        let expiration = (Timestamp::now() + life.seconds()).to_string();
        if body.is_empty() {
            return json!({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": expiration})
                .to_string();
        }
        let authorization = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        let body = String::from_utf8(body.to_vec()).unwrap();
        vendor.sts.lock().unwrap().push((body, authorization.unwrap_or_default()));
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/r/x</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleResult></AssumeRoleResponse>"
        )
    }

    async fn start() -> (Arc<Vendor>, String) {
        let vendor = Arc::new(Vendor::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(Vendor::answer)).with_state(vendor.clone());
        tokio::spawn(async move {
            let metrics = std::sync::Arc::new(wickr_exporter::telemetry::Metrics::new().unwrap());
            let access = wickr_exporter::web::AccessControl::new(None, metrics).unwrap();
            let server = wickr_exporter::web::Server::new(router, std::sync::Arc::new(access));
            server.serve(listener, Default::default()).await;
        });
        (vendor, url)
    }
}

/// No keys in the environment: the chain must look further.
fn without_keys<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], others].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_replaced_before_they_expire_and_when_they_are_refused() {
    let (vendor, url) = Vendor::start().await;
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("ASIAFIRST", "s1").session_token("t1/+="));
    vendor.hand_out("ASIAFIRST", "s1", "t1/+=", 3600);
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let environment = without_keys(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        // The systemd unit always names one.
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials"),
    ]);
    let exporter = Exporter::start_with(&text, &[], &environment);
    let samples = exporter.polled(3.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    assert_eq!(vendor.asked.load(Ordering::Relaxed), 1, "kept as long as they are good");

    // The service refuses them; the vendor has others, which live for 10 seconds only.
    simulator.credentials().add(Credential::new("ASIASECOND", "s2").session_token("t2"));
    vendor.hand_out("ASIASECOND", "s2", "t2", 10);
    simulator.credentials().refuse("ASIAFIRST", Refusal::ExpiredToken);
    let refused = |s: &crate::harness::Samples| {
        s.get("wickr_exporter_api_requests_total", &[("code", "403")]).unwrap_or(0.0)
    };
    let samples = exporter.wait_for("a refusal", |s| refused(s) >= 1.0).await;
    assert_eq!(refused(&samples), 1.0);
    let samples = exporter.polled_anew().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
    assert_eq!(samples.get("wickr_exporter_polls_total", &[("result", "failure")]), Some(0.0));
    assert_eq!(vendor.asked.load(Ordering::Relaxed), 2);

    // The next ones are fetched before those expire: nothing is ever refused again.
    simulator.credentials().add(Credential::new("ASIATHIRD", "s3").session_token("t3"));
    vendor.hand_out("ASIATHIRD", "s3", "t3", 3600);
    exporter.wait_for("a third fetch", |_| vendor.asked.load(Ordering::Relaxed) == 3).await;
    let samples = exporter.polled_anew().await;
    assert_eq!(refused(&samples), 1.0);
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_with_its_external_id() {
    let (vendor, url) = Vendor::start().await;
    let simulator = one_user().await;
    simulator.credentials().add(Credential::new("ASIAROLE", "sr").session_token("tr"));
    vendor.hand_out("ASIAROLE", "sr", "tr", 3600);
    let role =
        "role_arn = \"arn:aws:iam::111122223333:role/wickr-read\"\nexternal_id = \"shibboleth\"";
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"])
        .replace("[aws]", &format!("[aws]\n{role}"));
    let exporter =
        Exporter::start_with(&text, &["--log.level=trace"], &[("AWS_ENDPOINT_URL_STS", &url)]);
    let samples = exporter.polled(2.0).await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
    let asked = vendor.sts.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    let (body, authorization) = &asked[0];
    for part in ["Action=AssumeRole", "role%2Fwickr-read", "ExternalId=shibboleth"] {
        assert!(body.contains(part), "{part} in {body}");
    }
    assert!(authorization.contains("/us-east-1/sts/aws4_request"), "{authorization}");
    let rate = [("region", "us-east-1"), ("role_arn", "arn:aws:iam::111122223333:role/wickr-read")];
    assert!(samples.get("wickr_exporter_api_rate_limit", &rate).is_some());
    assert!(!exporter.log().contains("shibboleth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_gives_keys_and_region_and_its_file_is_read_anew_when_they_are_refused() {
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
    let samples = exporter.polled_anew().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_it_says_so_and_goes_on_trying() {
    let simulator = one_user().await;
    let text = config(&simulator.endpoint(), FAST, NETWORK, &["1001"]);
    let exporter = Exporter::start_with(&text, &[], &without_keys(&[]));
    let samples = exporter.polled(1.0).await;
    assert_eq!(
        samples.get("wickr_exporter_user_failures", &[("reason", "unauthorized")]),
        Some(1.0)
    );
    assert_eq!(samples.get("wickr_up", &[]), Some(0.0));
    assert!(exporter.log().contains("cannot get AWS credentials"), "{}", exporter.log());
    assert_eq!(simulator.requests().total(), 0);
    tokio::time::sleep(Duration::from_millis(10)).await;
}
