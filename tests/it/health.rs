//! `wickr-exporter health`, for the health checks of container images.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use wickr_exporter::simulator::{Fault, Fleet, device, network, user};

use crate::{
    harness::{Exporter, FAST, config, program, serving},
    tools,
};

const NETWORK: &str = "12345678";

/// The exit status and output.
async fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program();
    command.arg("health").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_the_exporters_response_and_fails_unless_it_is_200() {
    let fleet = Fleet::new().network(network(NETWORK).user(user("1001").device(device("a"))));
    let simulator = serving(fleet).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
    let (healthy, ready) =
        (format!("{}/-/healthy", exporter.base), format!("{}/-/ready", exporter.base));
    assert_eq!(health(&[&healthy]).await, (Some(0), "wickr-exporter is healthy.\n".into()));
    let (status, output) = health(&[&ready]).await;
    assert_eq!(status, Some(1));
    assert!(output.starts_with(&format!("{ready}: 503 Service Unavailable: ")), "{output}");
    assert!(output.contains("the first poll or lookup of a network has not ended"), "{output}");

    exporter.stop();
    let (status, output) = health(&[&healthy]).await;
    assert_eq!(status, Some(1));
    assert!(output.starts_with(&format!("{healthy}: ")), "{output}");
    assert!(output.to_lowercase().contains("connection refused"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_without_printing_the_password_of_the_url() {
    // Accepts connections and never responds.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://somebody:hush@{address}/-/healthy");
    let (status, output) = health(&[&url, "--timeout=200ms"]).await;
    assert_eq!(status, Some(1));
    assert!(output.contains("timed out") && output.contains(&address.to_string()), "{output}");
    assert!(!output.contains("hush") && !output.contains("somebody"), "{output}");
    let (status, output) = health(&["no-url"]).await;
    assert_eq!(status, Some(2), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verifies_certificates_unless_insecure_or_with_a_ca_file() {
    let Some(openssl) = tools::find("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    certificate(&openssl, folder.path());
    let server = TlsServer::start(&openssl, folder.path());
    let url = format!("https://{}/", server.address);
    let file = folder.path().join("cert.pem").display().to_string();

    let (status, output) = health(&[&url]).await;
    assert_eq!(status, Some(1), "self-signed");
    assert!(output.to_lowercase().contains("certificate"), "{output}");
    assert_eq!(health(&[&url, "--insecure"]).await.0, Some(0));
    let (status, output) = health(&[&url, "--ca.file", &file]).await;
    assert_eq!(status, Some(0), "{output}");
    let conflict = health(&[&url, "--insecure", "--ca.file", &file]).await;
    assert_eq!(conflict.0, Some(2));

    let key = folder.path().join("key.pem").display().to_string();
    for (file, error) in [("/nowhere", "No such file"), (&*key, "no certificate")] {
        let (status, output) = health(&[&url, "--ca.file", file]).await;
        assert_eq!(status, Some(1));
        assert!(output.contains(file) && output.contains(error), "{output}");
    }
}

/// Writes a self-signed certificate for loopback: `cert.pem`, `key.pem`.
pub fn certificate(openssl: &Path, folder: &Path) {
    let settings = "[req]\ndistinguished_name = name\nx509_extensions = extensions\n[name]\n\
                    [extensions]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(folder.join("settings"), settings).unwrap();
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                     -subj /CN=test -config settings -keyout key.pem -out cert.pem";
    let output = Command::new(openssl).current_dir(folder).args(arguments.split(' ')).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `openssl s_server`, which responds to every GET. Dropping it kills it.
struct TlsServer {
    child: Child,
    address: String,
}

impl TlsServer {
    fn start(openssl: &Path, folder: &Path) -> TlsServer {
        let arguments = "s_server -www -accept 127.0.0.1:0 -key key.pem -cert cert.pem";
        let mut child = Command::new(openssl)
            .current_dir(folder)
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()));
        TlsServer { child, address: address.expect("openssl prints its address") }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
