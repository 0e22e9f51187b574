//! Changes of the web configuration while the exporter runs.

use super::*;

const SUCCESSFUL: &str = "wickr_exporter_web_config_last_reload_successful";

/// The first line of a PEM file's content.
fn body(pem: &str) -> String {
    pem.lines().nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_a_renewed_certificate_and_rejects_an_invalid_one() {
    let Some(openssl) = tools::find("openssl") else { return };
    let setup = Setup::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let presents = |pem: &str| setup.s_client(&openssl, &[]).contains(&body(pem));
    assert!(presents(&fs::read_to_string(setup.directory.join("server.crt")).unwrap()));
    // An existing connection keeps working.
    let client = setup.client(None);
    let scrape = async || setup.get(&client, "/metrics", Some(ALICE)).await.unwrap().0;
    assert_eq!(scrape().await, StatusCode::OK);

    let renewed = setup.keys.server();
    setup.write("server.crt", &renewed.certificate);
    setup.write("server.key", &renewed.key);
    eventually("renewed", async || presents(&renewed.certificate)).await;
    assert_eq!(scrape().await, StatusCode::OK);
    assert_eq!(setup.metric(SUCCESSFUL, ALICE).await, Some(1.0));

    // The key of another certificate.
    setup.write("server.key", &setup.keys.server().key);
    eventually("rejected", async || setup.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
    assert!(presents(&renewed.certificate));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = setup.exporter.log();
    assert_eq!(log.matches("web configuration reload failed").count(), 1, "{log}");
    assert!(log.contains("cannot be used with the key"), "{log}");

    setup.write("server.key", &renewed.key);
    eventually("fixed", async || setup.metric(SUCCESSFUL, ALICE).await == Some(1.0)).await;
    assert_eq!(scrape().await, StatusCode::OK);
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_changes_apply_to_existing_connections() {
    let setup = Setup::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let bob = ("bob", "builder");
    let client = setup.client(None);
    let scrape = async || setup.get(&client, "/metrics", Some(ALICE)).await.unwrap().0;
    assert_eq!(scrape().await, StatusCode::OK);
    assert_eq!(setup.status("/metrics", None, Some(bob)).await, 401);
    setup.write("web.yml", &format!("{TLS}{}", users(&[bob])));
    eventually("bob", async || setup.status("/metrics", None, Some(bob)).await == 200).await;
    assert_eq!(scrape().await, StatusCode::UNAUTHORIZED);
    setup.write("web.yml", &format!("{TLS}{}", users(&[("alice", "changed"), bob])));
    let changed = Some(("alice", "changed"));
    eventually("changed", async || setup.status("/metrics", None, changed).await == 200).await;
    assert_eq!(scrape().await, StatusCode::UNAUTHORIZED);
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_authority_applies_to_existing_connections() {
    let setup = Setup::new(&format!("{TLS}{VERIFY}")).await;
    let client = setup.client(Some(&setup.keys.client("scraper")));
    let scrape = async || setup.get(&client, "/metrics", None).await.map(|(status, _)| status);
    assert_eq!(scrape().await.unwrap(), StatusCode::OK);
    setup.write("ca.crt", &Keys::generate().authority());
    // The response is 403, or the handshake fails if the client uses a new connection.
    eventually("rejected", async || !matches!(scrape().await, Ok(StatusCode::OK))).await;
    // 403 closes the connection, and the next handshake fails.
    eventually("handshake fails", async || scrape().await.is_err()).await;
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_explicit_reload_weakens_protection() {
    let protected = format!("{TLS}{}", users(&[ALICE]));
    let setup = Setup::with_arguments(&protected, &["--web.enable-lifecycle"]).await;
    for weaker in ["", TLS, &users(&[ALICE]), "tls_server_config: [\n"] {
        setup.write("web.yml", weaker);
        eventually("rejected", async || setup.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
        assert_eq!(setup.status("/metrics", None, None).await, 401, "{weaker}");
        setup.write("web.yml", &protected);
        eventually("fixed", async || setup.metric(SUCCESSFUL, ALICE).await == Some(1.0)).await;
    }
    setup.write("web.yml", "tls_server_config: [\n");
    let reload = setup.client(None).post(format!("{}/-/reload", setup.https));
    let response = reload.basic_auth(ALICE.0, Some(ALICE.1)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = response.text().await.unwrap();
    assert!(text.contains("web.yml:2:1: not valid YAML"), "{text}");
    assert_eq!(setup.status("/metrics", None, None).await, 401);

    setup.write("web.yml", TLS);
    setup.exporter.signal("HUP");
    eventually("no password", async || setup.status("/metrics", None, None).await == 200).await;
    let warning = "the new web configuration weakens protection";
    eventually("a warning", async || setup.exporter.log().contains(warning)).await;
    setup.write("web.yml", "");
    setup.exporter.signal("HUP");
    let url = format!("{}/metrics", setup.exporter.base);
    // Keeps its connection, unlike the harness's client.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
    let scrape = async || {
        let response = client.get(&url).send().await.ok()?;
        let status = response.status();
        response.text().await.ok().map(|_| status)
    };
    eventually("no TLS", async || scrape().await == Some(StatusCode::OK)).await;
    setup.write("web.yml", TLS);
    eventually("TLS", async || setup.status("/metrics", None, None).await == 200).await;
    // The existing connection without TLS is rejected, too.
    let status = scrape().await;
    let rejected = [StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST].map(Some);
    assert!(rejected.contains(&status), "{status:?}");
    setup.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_never_logged() {
    let alice_hash = hash(ALICE.1);
    let text = format!("{TLS}basic_auth_users:\n  alice: {alice_hash}\n");
    let setup = Setup::with_arguments(&text, &["--log.level=trace"]).await;
    for user in [ALICE, ("alice", "wrong-password"), ("mallory-user", "wrong-password")] {
        let _ = setup.status("/metrics", None, Some(user)).await;
    }
    setup.write("web.yml", &text.replace(&alice_hash, "plain-text-password"));
    eventually("rejected", async || setup.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
    setup.exporter.signal("HUP");
    let reloaded = "wickr_exporter_config_last_reload_successful";
    eventually("reload", async || setup.metric(reloaded, ALICE).await == Some(0.0)).await;
    let key = fs::read_to_string(setup.directory.join("server.key")).unwrap();
    let (status, duration, log) = setup.exporter.stop();
    assert!(status.success() && duration < Duration::from_secs(10), "{status} {duration:?}");
    let header = "Basic YWxpY2U6d29uZGVybGFuZA";
    for secret in
        [&alice_hash[..], ALICE.1, "wrong-password", "mallory", "plain-text", header, &body(&key)]
    {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    setup.simulator.stop().await.unwrap();
}
