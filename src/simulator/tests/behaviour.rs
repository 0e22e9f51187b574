//! Behaviour without faults.

use serde_json::json;

use super::*;

const BY_CREATION: [(&str, &str); 3] =
    [("sortFields", "created"), ("sortDirection", "ASC"), ("maxResults", "7")];

async fn all_devices(simulator: &Simulator, pairs: &[(&str, &str)]) -> Vec<String> {
    let pages = pages(simulator, DEVICES, pairs).await;
    pages.iter().flat_map(|page| page.ids("devices", "appId")).collect()
}

#[tokio::test]
async fn devices_have_the_documented_json() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let one = device("a")
        .kind("MacOSX")
        .created_at(at("2024-01-15T14:30:45Z"))
        .last_login_at(at("2024-01-20T09:15:30Z"))
        .suspended();
    let raw = json!({ "appId": 5, "odd": [null] });
    let jane = user("1001")
        .device(one)
        .device_raw(raw.clone())
        .device(device("b").never_logged_in().without("created").with("type", 7));
    let fleet = Fleet::new().network(network("12345678").user(jane));
    let simulator = start(Options::serving(fleet)).await;
    let reply = get(&simulator, DEVICES, "").await;
    let expected = json!({ "devices": [
        {
            "appId": "a", "type": "MacOSX", "suspend": true, "statusText": "Suspended",
            "created": "January 15th 2024, 2:30:45 pm",
            "lastLogin": "January 20th 2024, 9:15:30 am",
        },
        raw,
        { "appId": "b", "type": 7, "suspend": false, "statusText": "Active", "lastLogin": "" },
    ] });
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["x-amzn-requestid"].len(), 36);
    assert!(httpdate::parse_http_date(reply.headers["date"].to_str().unwrap()).is_ok());
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn networks_users_and_groups_have_the_documented_json() {
    let jane = user("1001").username("jane@example.com").in_group("abc12345").admin();
    let joe = user("999").named("Joe", "Invited").pending("INVITE789");
    let group = security_group("abc12345").name("all").sso_max_idle_minutes(43_200);
    let fleet = Fleet::new()
        .network(network("12345678").name("One").user(jane).user(joe).group(group))
        .network(network("87654321").name("Two").account("999999999999"));
    let simulator = start(Options::serving(fleet)).await;
    let networks = get(&simulator, "/networks", "").await.json();
    assert_eq!(
        networks["networks"][0],
        json!({
            "networkId": "12345678", "networkName": "One", "accessLevel": "PREMIUM",
            "awsAccountId": "111122223333", "standing": 1,
            "networkArn": "arn:aws:wickr:us-east-1:111122223333:network/12345678",
        })
    );
    assert_eq!(networks["networks"][1]["awsAccountId"], "999999999999");
    let users = get(&simulator, "/networks/12345678/users", "").await.json();
    assert_eq!(
        users["users"],
        json!([
            {
                "userId": "999", "firstName": "Joe", "lastName": "Invited", "status": 1,
                "username": "user-999@example.com", "securityGroups": [], "isAdmin": false,
                "suspended": false, "type": "user", "inviteCode": "INVITE789",
                "isInviteExpired": false,
            },
            {
                "userId": "1001", "firstName": "Jane", "lastName": "Doe", "status": 2,
                "username": "jane@example.com", "securityGroups": ["abc12345"],
                "isAdmin": true, "suspended": false, "type": "user",
            },
        ])
    );
    let groups = get(&simulator, "/networks/12345678/security-groups", "").await.json();
    let settings = json!({ "lockoutThreshold": 10, "ssoMaxIdleMinutes": 43_200 });
    assert_eq!(groups["securityGroups"][0]["securityGroupSettings"], settings);
    assert_eq!(groups["securityGroups"][0]["id"], "abc12345");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn filters_users() {
    let fleet = Fleet::new().network(
        network("12345678")
            .user(user("1").username("anna@example.com").named("Anna", "Berg").in_group("g1"))
            .user(user("2").username("bert@example.com").named("Bert", "Ann").pending("X"))
            .user(user("3").username("carl@example.com").named("Carl", "Berg").in_group("g2")),
    );
    let simulator = start(Options::serving(fleet)).await;
    for (name, value, expected) in [
        ("status", "2", vec!["1", "3"]),
        ("status", "1", vec!["2"]),
        ("groupId", "g2", vec!["3"]),
        ("groupId", "g", vec![]),
        ("username", "ANN", vec!["1"]),
        ("username", "@example.com", vec!["1", "2", "3"]),
        ("firstName", "arl", vec!["3"]),
        ("lastName", "berg", vec!["1", "3"]),
    ] {
        let reply = get(&simulator, "/networks/12345678/users", &query(&[(name, value)])).await;
        assert_eq!(reply.ids("users", "userId"), expected, "{name}={value}");
    }
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn pages_contain_every_row_in_any_order() {
    let options = Options { users: 120, empty_pages: 0.5, ..Options::default() };
    let simulator = start(options).await;
    let mut by_id: Vec<String> = (1001..1121).map(|id: u32| id.to_string()).collect();
    for pairs in [
        vec![("maxResults", "9")],
        vec![("sortFields", "userId"), ("maxResults", "100")],
        vec![("sortFields", "userId"), ("sortDirection", "DESC")],
        vec![("sortFields", "lastName+firstName"), ("maxResults", "13")],
    ] {
        let pages = pages(&simulator, "/networks/12345678/users", &pairs).await;
        let mut ids: Vec<String> =
            pages.iter().flat_map(|page| page.ids("users", "userId")).collect();
        if pairs.contains(&("sortDirection", "DESC")) {
            ids.reverse();
        }
        if pairs[0].1.starts_with("lastName") {
            ids.sort();
            by_id.sort();
        }
        assert_eq!(ids, by_id, "{pairs:?}");
    }
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn changes_between_pages_neither_skip_nor_repeat_devices() {
    let simulator = start(Options::serving(devices(20))).await;
    let first = get(&simulator, DEVICES, &query(&BY_CREATION)).await;
    simulator.change_fleet(|fleet| {
        let jane = fleet.user_mut("12345678", "1001").unwrap();
        assert!(jane.remove_device("d002") && !jane.remove_device("nobody"));
        jane.add_device(device("oldest").created_ago(days(2000)));
        jane.device_mut("d004").unwrap().log_in();
        jane.add_device(device("new").created_ago(minutes(1)));
    });
    let token = first.token().unwrap();
    let pairs = [&BY_CREATION[..], &[("nextToken", &token)]].concat();
    let mut ids = first.ids("devices", "appId");
    let second = get(&simulator, DEVICES, &query(&pairs)).await;
    ids.extend(second.ids("devices", "appId"));
    let expected: Vec<String> = (0..14).map(|n| format!("d{n:03}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(all_devices(&simulator, &BY_CREATION).await.last().unwrap(), "new");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn tokens_are_valid_only_for_their_list() {
    let fleet = devices(20).network(network("87654321").user(user("1001")));
    let simulator = start(Options::serving(fleet)).await;
    let token = get(&simulator, DEVICES, &query(&BY_CREATION)).await.token().unwrap();
    let with = |pairs: &[(&'static str, &'static str)]| {
        query(&[pairs, &[("nextToken", token.as_str())]].concat())
    };
    assert_eq!(get(&simulator, DEVICES, &with(&BY_CREATION)).await.status, 200);
    let larger = [BY_CREATION[0], BY_CREATION[1], ("maxResults", "100")];
    assert_eq!(get(&simulator, DEVICES, &with(&larger)).await.status, 200, "another page size");
    for (path, pairs) in [
        (DEVICES, &[][..]),
        (DEVICES, &BY_CREATION[..1]),
        ("/networks/87654321/users/1001/devices", &BY_CREATION[..]),
        ("/networks/12345678/users", &[]),
    ] {
        let reply = get(&simulator, path, &with(pairs)).await;
        assert_eq!(reply.error(), "400 BadRequestError", "{path} {pairs:?}");
        assert_eq!(reply.json(), json!({ "message": "Invalid nextToken." }));
    }
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn invalid_requests_get_the_documented_errors() {
    let simulator = start(Options::serving(devices(1))).await;
    for (path, query, error) in [
        ("/networks/1234567/users", "", "422 ValidationError"),
        ("/networks/12345678/users/x/devices", "", "422 ValidationError"),
        (DEVICES, "maxResults=0", "422 ValidationError"),
        (DEVICES, "sortFields=colour", "422 ValidationError"),
        ("/networks/11111111/users", "", "404 ResourceNotFoundError"),
        ("/networks/12345678/users/1002/devices", "", "404 ResourceNotFoundError"),
        ("/networks/12345678/tdf", "", "404 UnknownOperationException"),
        (DEVICES, "maxResults=1+0", "403 InvalidSignatureException"),
    ] {
        assert_eq!(get(&simulator, path, query).await.error(), error, "{path}?{query}");
    }
    let reply = get(&simulator, "/networks/12345678/users/x/devices", "").await;
    assert_eq!(reply.json()["reasons"][0]["field"], "userId");
    let host = simulator.address();
    let reply = exchange(
        &simulator,
        &format!("DELETE {DEVICES} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
    )
    .await;
    assert_eq!((reply.status, &reply.headers["allow"]), (405, &HeaderValue::from_static("GET")));
    let request = format!("GET {DEVICES} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let reply = exchange(&simulator, &request).await;
    assert_eq!(reply.error(), "403 MissingAuthenticationTokenException");
    simulator.stop().await.unwrap();

    let unknown_user = UnknownUser::BadRequest;
    let simulator = start(Options { unknown_user, ..Options::serving(devices(1)) }).await;
    let reply = get(&simulator, "/networks/12345678/users/1002/devices", "").await;
    assert_eq!(reply.error(), "400 BadRequestError");
    assert_eq!(reply.json(), json!({ "message": "Invalid userId." }));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn credentials_allow_only_their_networks() {
    let fleet = devices(1).network(network("87654321").account("999999999999").user(user("1001")));
    let simulator = start(Options::serving(fleet)).await;
    let limited = Credential::new("AKIALIMITED", "s").networks(["12345678"]);
    let other = Credential::new("ASIAOTHER", "s").account("999999999999").session_token("a/+=");
    simulator.credentials().add(limited.clone());
    simulator.credentials().add(other.clone());
    for (credential, allowed, other) in
        [(&limited, "12345678", "87654321"), (&other, "87654321", "12345678")]
    {
        let networks = get_as(&simulator, "/networks", "", credential).await;
        assert_eq!(networks.ids("networks", "networkId"), [allowed]);
        let path = |id| format!("/networks/{id}/users");
        assert_eq!(get_as(&simulator, &path(allowed), "", credential).await.status, 200);
        let denied = get_as(&simulator, &path(other), "", credential).await;
        assert_eq!(denied.error(), "403 ForbiddenError");
    }
    simulator.credentials().deny_network("12345678");
    assert_eq!(get(&simulator, DEVICES, "").await.error(), "403 ForbiddenError");
    simulator.credentials().allow_network("12345678");
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    simulator.credentials().expire(ACCESS_KEY);
    assert_eq!(get(&simulator, DEVICES, "").await.error(), "403 ExpiredTokenException");
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn requests_beyond_the_rate_limit_get_429() {
    let options = Options { rate_limit: Some(0.5), ..Options::serving(devices(1)) };
    let simulator = start(options).await;
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    let reply = get(&simulator, DEVICES, "").await;
    assert_eq!(reply.error(), "429 RateLimitError");
    assert_eq!(reply.json(), json!({ "message": "Rate limit exceeded." }));
    assert!(!reply.headers.contains_key("retry-after"));
    simulator.set_rate_limit(None);
    assert_eq!(get(&simulator, DEVICES, "").await.status, 200);
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn records_requests() {
    let latency = Latency::from(Duration::from_millis(200));
    let simulator = start(Options { latency, ..Options::serving(devices(20)) }).await;
    let requests = simulator.requests();
    let query = query(&[("maxResults", "5")]);
    tokio::join!(get(&simulator, DEVICES, &query), get(&simulator, "/networks", ""));
    get(&simulator, "/networks/12345678/users/5/devices", "").await;
    simulator.stop().await.unwrap();
    assert_eq!((requests.total(), requests.max_in_flight(), requests.in_flight()), (3, 2, 0));
    assert_eq!(requests.count(Operation::ListDevicesForUser), 2);
    let recent = requests.recent();
    assert_eq!(recent.iter().map(|r| r.status).max(), Some(Some(404)));
    let record = recent.iter().find(|record| record.path == DEVICES).unwrap();
    assert_eq!((record.query.as_str(), record.page), ("maxResults=5", Some(1)));
    assert_eq!(record.user_agent.as_deref(), Some("test/1"));
    assert_eq!(recent[2].error.as_deref(), Some("ResourceNotFoundError"));
}

#[tokio::test]
async fn churn_changes_the_fleet() {
    let options = Options { users: 20, churn: 500.0, ..Options::default() };
    let simulator = start(options).await;
    let snapshot = || simulator.read_fleet(|fleet| format!("{fleet:?}"));
    let before = snapshot();
    let deadline = Instant::now() + Duration::from_secs(5);
    while snapshot() == before && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(snapshot(), before);
    simulator.stop().await.unwrap();
}
