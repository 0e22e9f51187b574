//! `wickr-exporter health`: what the health checks of images run.

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

/// Its exit status and all that it said.
async fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program();
    command.arg("health").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_the_exporter_says_of_itself() {
    let fleet = Fleet::new().network(network(NETWORK).user(user("1001").device(device("a"))));
    let simulator = serving(fleet).await;
    simulator.faults().add("hang".parse::<Fault>().unwrap());
    let exporter = Exporter::start(&config(&simulator.endpoint(), FAST, NETWORK, &["1001"]));
    let (healthy, ready) =
        (format!("{}/-/healthy", exporter.base), format!("{}/-/ready", exporter.base));
    assert_eq!(health(&[&healthy]).await, (Some(0), "wickr-exporter is healthy.\n".into()));
    let (status, said) = health(&[&ready]).await;
    assert_eq!(status, Some(1));
    assert!(said.starts_with(&format!("{ready}: 503 Service Unavailable: ")), "{said}");
    assert!(said.contains("first poll has not ended"), "{said}");

    // Nobody listens any more.
    exporter.stop();
    let (status, said) = health(&[&healthy]).await;
    assert_eq!(status, Some(1));
    assert!(said.starts_with(&format!("{healthy}: ")), "{said}");
    assert!(said.to_lowercase().contains("connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_is_not_waited_for_and_a_password_is_not_repeated() {
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("http://somebody:hush@{address}/-/healthy");
    let (status, said) = health(&[&url, "--timeout=200ms"]).await;
    assert_eq!(status, Some(1));
    assert!(said.contains("timed out") && said.contains(&address.to_string()), "{said}");
    assert!(!said.contains("hush") && !said.contains("somebody"), "{said}");
    let (status, said) = health(&["no-url"]).await;
    assert_eq!(status, Some(2), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_trusted_as_it_is_told() {
    let Some(openssl) = tools::find("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    certificate(&openssl, folder.path());
    let server = TlsServer::start(&openssl, folder.path());
    let url = format!("https://{}/", server.address);
    let file = folder.path().join("cert.pem").display().to_string();

    let (status, said) = health(&[&url]).await;
    assert_eq!(status, Some(1), "nobody vouches for it");
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    assert_eq!(health(&[&url, "--insecure"]).await.0, Some(0));
    let (status, said) = health(&[&url, "--ca.file", &file]).await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(health(&[&url, "--insecure", "--ca.file", &file]).await.0, Some(2), "one or other");

    let key = folder.path().join("key.pem").display().to_string();
    for (bad, why) in [("/nowhere", "No such file"), (&*key, "no certificate")] {
        let (status, said) = health(&[&url, "--ca.file", bad]).await;
        assert_eq!(status, Some(1));
        assert!(said.contains(bad) && said.contains(why), "{said}");
    }
}

/// Makes a certificate for loopback that vouches for itself: `cert.pem`, `key.pem`.
pub fn certificate(openssl: &Path, folder: &Path) {
    let settings = "[req]\ndistinguished_name = name\nx509_extensions = extensions\n[name]\n\
                    [extensions]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(folder.join("settings"), settings).unwrap();
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                     -subj /CN=test -config settings -keyout key.pem -out cert.pem";
    let made = Command::new(openssl).current_dir(folder).args(arguments.split(' ')).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// OpenSSL's own server, which answers every GET. Dropping it kills it.
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
        TlsServer { child, address: address.expect("openssl tells where it listens") }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
