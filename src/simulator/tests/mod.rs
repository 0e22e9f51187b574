//! Tests of a running simulator over raw TCP.

mod behaviour;
mod faulty;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::encoding::encode;
use super::sigv4::tests::authorize;
use super::*;

pub(super) const DEVICES: &str = "/networks/12345678/users/1001/devices";

/// A response, possibly incomplete.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        format!("{} {}", self.status, self.headers["x-amzn-errortype"].to_str().unwrap())
    }

    fn token(&self) -> Option<String> {
        self.json()["nextToken"].as_str().map(str::to_owned)
    }

    fn ids(&self, member: &str, id: &str) -> Vec<String> {
        let json = self.json();
        let rows = json[member].as_array().unwrap().iter();
        rows.map(|row| row[id].as_str().unwrap().to_owned()).collect()
    }
}

async fn start(options: Options) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Simulator::start(listener, options).unwrap()
}

/// One user with this many devices, d000, d001, …, oldest first.
fn devices(count: u64) -> Fleet {
    let all = (0..count).map(|n| device(format!("d{n:03}")).created_ago(days(1000 - n)));
    Fleet::new().network(network("12345678").user(user("1001").with_devices(all)))
}

/// Encodes a query.
fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value.as_bytes())));
    pairs.collect::<Vec<_>>().join("&")
}

/// Builds a signed request.
fn signed(simulator: &Simulator, path: &str, query: &str, credential: &Credential) -> String {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    };
    set("host", &simulator.address().to_string());
    set("x-amz-date", &now);
    if let Some(token) = &credential.session_token {
        set("x-amz-security-token", token);
    }
    let authorization = authorize(path, query, &headers, credential);
    headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
    headers.insert("connection", HeaderValue::from_static("close"));
    headers.insert("user-agent", HeaderValue::from_static("test/1"));
    let lines =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    format!("GET {target} HTTP/1.1\r\n{}\r\n", lines.collect::<String>())
}

async fn send(simulator: &Simulator, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

fn parse(bytes: &[u8]) -> Reply {
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("no end of the head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.trim_end().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Reply { status, headers, body: bytes[end..].to_vec() }
}

async fn exchange(simulator: &Simulator, request: &str) -> Reply {
    let mut stream = send(simulator, request).await;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
    parse(&bytes)
}

async fn get_as(simulator: &Simulator, path: &str, query: &str, credential: &Credential) -> Reply {
    exchange(simulator, &signed(simulator, path, query, credential)).await
}

async fn get(simulator: &Simulator, path: &str, query: &str) -> Reply {
    get_as(simulator, path, query, &Credential::new(ACCESS_KEY, SECRET_KEY)).await
}

/// Reads all pages of a list.
async fn pages(simulator: &Simulator, path: &str, pairs: &[(&str, &str)]) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut token = None;
    loop {
        let mut pairs = pairs.to_vec();
        pairs.extend(token.as_deref().map(|token| ("nextToken", token)));
        let reply = get(simulator, path, &query(&pairs)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.json());
        token = reply.token();
        replies.push(reply);
        assert!(replies.len() < 1000, "endless pages");
        if token.is_none() {
            return replies;
        }
    }
}
