//! What happens when the files change while it runs.

use std::fs;

use super::*;

const SUCCESSFUL: &str = "wickr_exporter_web_config_last_reload_successful";

/// The certificate that is shown now, in PEM.
fn shown(openssl: &Path, house: &House) -> String {
    s_client(openssl, house, &[])
}

fn body(pem: &str) -> String {
    pem.lines().nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let Some(openssl) = tools::find("openssl") else { return };
    let house = House::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let first = fs::read_to_string(house.folder.join("server.crt")).unwrap();
    assert!(shown(&openssl, &house).contains(&body(&first)));
    // A client that stays connected is served through all of it.
    let stayed = house.client(None);
    let scrape = async || {
        let request = stayed.get(format!("{}/metrics", house.https));
        let answer = request.basic_auth(ALICE.0, Some(ALICE.1)).send().await.unwrap();
        let status = answer.status();
        // Else the connection could not be used again.
        answer.text().await.unwrap();
        status
    };
    assert_eq!(scrape().await, StatusCode::OK);

    let second = house.keys.server();
    house.write("server.crt", &second.certificate);
    house.write("server.key", &second.key);
    eventually("renewed", async || shown(&openssl, &house).contains(&body(&second.certificate)))
        .await;
    assert_eq!(scrape().await, StatusCode::OK);
    assert_eq!(house.metric(SUCCESSFUL, ALICE).await, Some(1.0));

    // The key of another, as if it had been forgotten.
    house.write("server.key", &house.keys.server().key);
    eventually("told", async || house.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
    assert!(shown(&openssl, &house).contains(&body(&second.certificate)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = house.exporter.log();
    assert_eq!(log.matches("is not taken up").count(), 1, "{log}");
    assert!(log.contains("cannot be used with the key"), "{log}");

    house.write("server.key", &second.key);
    eventually("mended", async || house.metric(SUCCESSFUL, ALICE).await == Some(1.0)).await;
    assert_eq!(scrape().await, StatusCode::OK);
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_and_who_was_let_in_does_not_stay() {
    let house = House::new(&format!("{TLS}{}", users(&[ALICE]))).await;
    let bob = ("bob", "builder");
    let stayed = house.client(None);
    let scrape = async || {
        let request = stayed.get(format!("{}/metrics", house.https));
        let answer = request.basic_auth(ALICE.0, Some(ALICE.1)).send().await.unwrap();
        let status = answer.status();
        // Else the connection could not be used again.
        answer.text().await.unwrap();
        status
    };
    assert_eq!(scrape().await, StatusCode::OK);
    assert_eq!(house.status("/metrics", None, Some(bob)).await, 401);
    house.write("web.yml", &format!("{TLS}{}", users(&[bob])));
    eventually("bob", async || house.status("/metrics", None, Some(bob)).await == 200).await;
    // On the same connection as before, and with the same password.
    assert_eq!(scrape().await, StatusCode::UNAUTHORIZED);
    house.write("web.yml", &format!("{TLS}{}", users(&[("alice", "changed"), bob])));
    let changed = Some(("alice", "changed"));
    eventually("changed", async || house.status("/metrics", None, changed).await == 200).await;
    assert_eq!(scrape().await, StatusCode::UNAUTHORIZED);
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_counts_for_connections_that_are_there_already() {
    let settings = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let house = House::new(&format!("{TLS}{settings}")).await;
    let stayed = house.client(Some(&house.keys.client("scraper")));
    let scrape = async || {
        let answer = stayed.get(format!("{}/metrics", house.https)).send().await?;
        let status = answer.status();
        // Else the connection could not be used again.
        answer.text().await.map(|_| status)
    };
    assert_eq!(scrape().await.unwrap(), StatusCode::OK);
    house.write("ca.crt", &Keys::generate().authority());
    // Mostly by a 403. But where the client has just made a new connection, its handshake fails.
    eventually("shut out", async || !matches!(scrape().await, Ok(StatusCode::OK))).await;
    // That connection was closed, and on a new one the handshake fails.
    eventually("not let in", async || scrape().await.is_err()).await;
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_opens_by_itself_but_by_a_reload() {
    let house =
        House::with(&format!("{TLS}{}", users(&[ALICE])), &["--web.enable-lifecycle"]).await;
    for emptied in ["", TLS, &users(&[ALICE]), "tls_server_config: [\n"] {
        house.write("web.yml", emptied);
        eventually("told", async || house.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
        assert_eq!(house.status("/metrics", None, None).await, 401, "{emptied}");
        house.write("web.yml", &format!("{TLS}{}", users(&[ALICE])));
        eventually("again", async || house.metric(SUCCESSFUL, ALICE).await == Some(1.0)).await;
    }
    let reload = async || {
        let request = house.client(None).post(format!("{}/-/reload", house.https));
        let answer = request.basic_auth(ALICE.0, Some(ALICE.1)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    // A broken one is refused whole.
    house.write("web.yml", "tls_server_config: [\n");
    let (status, said) = reload().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(said.contains("web.yml:2:1: not valid YAML"), "{said}");
    assert_eq!(house.status("/metrics", None, None).await, 401);
    // One that opens the door is taken up, since somebody asked for it.
    house.write("web.yml", TLS);
    house.exporter.signal("HUP");
    eventually("open", async || house.status("/metrics", None, None).await == 200).await;
    let log = house.exporter.log();
    assert!(log.contains("less is asked of clients than before"), "{log}");
    // And TLS can be turned off and on.
    house.write("web.yml", "");
    house.exporter.signal("HUP");
    let plain = format!("{}/metrics", house.exporter.base);
    eventually("plain", async || {
        crate::harness::http().get(&plain).send().await.is_ok_and(|a| a.status() == StatusCode::OK)
    })
    .await;
    let stayed = crate::harness::http();
    stayed.get(&plain).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    house.write("web.yml", TLS);
    eventually("TLS again", async || house.status("/metrics", None, None).await == 200).await;
    // Who is still connected without it gets nothing more.
    let answer = stayed.get(&plain).send().await.unwrap();
    assert!([StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST].contains(&answer.status()));
    house.simulator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_logged_whatever_happens() {
    let secret = hash("wonderland");
    let text = format!("{TLS}basic_auth_users:\n  alice: {secret}\n");
    let house = House::with(&text, &["--log.level=trace"]).await;
    for user in [ALICE, ("alice", "wrong-password"), ("mallory-user", "wrong-password")] {
        let _ = house.status("/metrics", None, Some(user)).await;
    }
    house.write("web.yml", &text.replace(&secret, "plain-text-password"));
    eventually("told", async || house.metric(SUCCESSFUL, ALICE).await == Some(0.0)).await;
    house.exporter.signal("HUP");
    eventually("reload", async || {
        house.exporter.log().contains("the previous configuration stays in use")
    })
    .await;
    let key = fs::read_to_string(house.folder.join("server.key")).unwrap();
    let (status, took, log) = house.exporter.stop();
    assert!(status.success() && took < Duration::from_secs(10), "{status} {took:?}");
    let basic = "Basic YWxpY2U6d29uZGVybGFuZA";
    for secret in
        [&secret[..], "wonderland", "wrong-password", "mallory", "plain-text", basic, &body(&key)]
    {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    house.simulator.stop().await.unwrap();
}
