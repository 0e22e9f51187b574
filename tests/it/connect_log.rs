//! Proxies on loopback that note the host of each connection and refuse it, so that a test sees which
//! host a program contacts without TLS.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

pub struct ConnectLog {
    port: u16,
    hosts: UnboundedReceiver<String>,
    accepting: JoinHandle<()>,
}

impl Drop for ConnectLog {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ConnectLog {
    pub async fn start() -> ConnectLog {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, hosts) = unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let refused = refuse(stream, sender.clone());
                tokio::spawn(tokio::time::timeout(Duration::from_secs(10), refused));
            }
        });
        ConnectLog { port, hosts, accepting }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next host that a client asks for, as `host:port` or as the request line if it is no CONNECT.
    pub async fn next(&mut self) -> String {
        self.hosts.recv().await.unwrap()
    }

    /// The hosts so far.
    pub fn so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.hosts.try_recv().ok()).collect()
    }
}

async fn refuse(mut stream: TcpStream, hosts: UnboundedSender<String>) -> std::io::Result<()> {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await?;
    request.truncate(length);
    if request.first() == Some(&5) {
        return refuse_socks(stream, hosts).await;
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let host = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let _ = hosts.send(host.unwrap_or(line).to_owned());
    stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await
}

/// SOCKS 5 (RFC 1928) without authentication, after the client's greeting.
async fn refuse_socks(
    mut stream: TcpStream,
    hosts: UnboundedSender<String>,
) -> std::io::Result<()> {
    stream.write_all(&[5, 0]).await?;
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    assert_eq!(head[..4], [5, 1, 0, 3], "no CONNECT to a name");
    let mut name = vec![0; head[4] as usize + 2];
    stream.read_exact(&mut name).await?;
    let port = name.split_off(name.len() - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    let _ = hosts.send(format!("{}:{port}", String::from_utf8_lossy(&name)));
    // Not allowed by the ruleset.
    stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
