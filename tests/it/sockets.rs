//! `--web.systemd-socket`: sockets that `systemd-socket-activate` passes as systemd does.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    harness::{TIMEOUT, http, program},
    prometheus::free_port,
    tools,
};

/// A configuration that cannot poll: the tests only use the server.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://127.0.0.1:1\"\n\
                  [[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

/// An exporter that starts with the first connection or datagram. Dropping it kills it.
struct Activated<'a>(Child, &'a Path);

impl Activated<'_> {
    fn new<'a>(program: &Path, options: &[&str], folder: &'a Path) -> Activated<'a> {
        let mut command = Command::new(program);
        command.args(options).arg(env!("CARGO_BIN_EXE_wickr-exporter")).arg("--web.systemd-socket");
        command.arg(format!("--config.file={}", folder.join("config.toml").display()));
        command.stderr(fs::File::create(folder.join("log")).unwrap());
        Activated(command.spawn().unwrap(), folder)
    }

    /// Waits for a log line, and calls `client` until then.
    async fn log_with(&self, text: &str, client: impl AsyncFn()) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            client().await;
            let log = fs::read_to_string(self.1.join("log")).unwrap();
            if log.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Activated<'_> {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn serves_tcp_and_unix_sockets_of_systemd() {
    let Some(activate) = tools::find("systemd-socket-activate") else { return };
    let folder = folder();
    let (address, file) = (format!("127.0.0.1:{}", free_port()), folder.path().join("socket"));
    let sockets = [format!("--listen={address}"), format!("--listen={}", file.display())];
    let exporter = Activated::new(&activate, &sockets.each_ref().map(|s| &**s), folder.path());
    let over_unix = reqwest::Client::builder().unix_socket(file.clone()).build().unwrap();
    for (client, name) in
        [(over_unix, format!("unix:{}", file.display())), (http().clone(), address.clone())]
    {
        let get = async || {
            // Fails until the program listens.
            if let Ok(response) = client.get(format!("http://{address}/metrics")).send().await {
                assert_eq!(response.status(), 200, "{name}");
                assert!(response.text().await.unwrap().contains("wickr_exporter_build_info"));
            }
        };
        exporter.log_with(&format!("message=listening address={name} "), get).await;
        get().await;
    }
}

#[tokio::test]
async fn refuses_sockets_of_systemd_that_it_cannot_serve() {
    let Some(activate) = tools::find("systemd-socket-activate") else { return };
    let folder = folder();
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("--listen={address}");
    let datagram =
        Activated::new(&activate, &["-d", "--fdname=web.socket", &listen], folder.path());
    let send = async || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Refused until the program listens.
        let _ = socket.send_to(b"x", &address);
    };
    let error = "socket 1 (web.socket): fd 3 is not a valid unix stream socket; use ListenStream= \
                 with a port or a path";
    datagram.log_with(error, send).await;
    drop(datagram);
    let connection = Activated::new(&activate, &["--accept", &listen], folder.path());
    let connect = async || _ = tokio::net::TcpStream::connect(&address).await;
    connection.log_with("is a connection, not a listening socket; use Accept=no", connect).await;
}

#[test]
fn fails_without_a_socket_of_systemd() {
    let folder = folder();
    let config = format!("--config.file={}", folder.path().join("config.toml").display());
    let run = |arguments: &[&str]| {
        let output = program().args(["--web.systemd-socket", &config]).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, text) = run(&[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("systemd passed no socket"), "{text}");
    let (status, text) = run(&["--web.listen-address=:1"]);
    assert_eq!(status, Some(2), "{text}");
}
