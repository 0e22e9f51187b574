//! The command `devices`, with a poll of its own and with `--from`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::Output,
};

use serde_json::Value;
use wickr_exporter::simulator::Fault;

use crate::{
    harness::{Exporter, program, serving},
    pages::{NETWORK, SLOW, everything, fleet, ids, settled},
    tools,
};

/// Runs `devices` in a new folder with this configuration: exit status, stdout, stderr.
pub(crate) async fn devices(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let mut command = program();
    command.current_dir(folder.path()).arg("devices").args(arguments);
    let run = move || command.output().unwrap();
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The last cell of each row of a table, without the header.
fn last_cells(table: &str) -> Vec<&str> {
    table.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_devices_of_a_poll_or_of_a_running_exporter() {
    let simulator = serving(fleet()).await;
    let text = everything(&simulator, SLOW, "[metrics]\ndetail = \"network\"\nusername = true");
    let exporter = Exporter::start(&text);
    settled(&exporter).await;
    let from = ["--from", exporter.base.as_str()];
    // With a limit of 7 days for all users, the next session ends in 4 days.
    let fixed = text.replace("\"security-groups\"", "\"7d\"");
    let (_, out, _) = devices(&fixed, &["--sso-expires-within", "5d"]).await;
    assert_eq!(last_cells(&out), ["-"], "{out}");
    let (_, out, _) = devices(&fixed, &["--sso-expires-within", "7d"]).await;
    assert_eq!(last_cells(&out), ["-", "b"], "{out}");
    for source in [&[][..], &from] {
        for (filter, expected) in [
            (&[][..], &["a", "-", "b", "c"][..]),
            (&["--idle-over", "30d"], &["a"]),
            (&["--type", "Android", "--type", "Windows"], &["b", "c"]),
            (&["--suspended", "--network", NETWORK], &["a"]),
            (&["--sso-expired"], &["a", "b"]),
            (&["--user", "1002", "--limit", "1"], &["-"]),
            (&["--reset", "--never-logged-in"], &["c"]),
        ] {
            let (status, out, err) = devices(&text, &[source, filter].concat()).await;
            assert_eq!(status, Some(0), "{source:?} {filter:?}: {err}");
            assert_eq!(last_cells(&out), expected, "{source:?} {filter:?}: {out}");
        }
        let (_, out, _) = devices(&text, &[source, &["--format", "json"]].concat()).await;
        let list: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(ids(&list), ["a", "none", "b", "c"]);
        assert_eq!(list["devices"][0]["username"], "ann@example.com");
        let (_, out, _) = devices(&text, &[source, &["--format", "csv"]].concat()).await;
        assert_eq!(out.lines().count(), 5);
        assert!(out.contains(",\"'=bob@example.com\","), "{out}");
        let (status, out, err) = devices(&text, &[source, &["--user", "9"]].concat()).await;
        assert_eq!((status, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("No data for user 9"), "{err}");
    }
    simulator.faults().add("500,user=1002".parse::<Fault>().unwrap());
    let (status, out, err) = devices(&text, &[]).await;
    assert_eq!((status, last_cells(&out)), (Some(3), vec!["a", "b"]), "{err}");
    assert!(err.contains("no data for 1 user"), "{err}");
    assert_eq!(devices(&text, &["--user", "1001"]).await.0, Some(0));
    simulator.faults().add("500".parse::<Fault>().unwrap());
    assert_eq!(devices(&text, &[]).await.0, Some(1));
    for (text, arguments) in [
        ("x", &[][..]),
        (text.as_str(), &["--idle-over", "30"]),
        (&text, &["--network", "1"]),
        (&text, &["--limit", "0"]),
        (&text, &["--from", "nonsense"]),
        (&text, &["--from-ca-file", "x"]),
    ] {
        let (status, out, _) = devices(text, arguments).await;
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
    }
}

/// A server that calls `respond` with each request; returns its address.
fn server(respond: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            stream.write_all(respond(&text).as_bytes()).unwrap();
        }
    });
    address.to_string()
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn escapes_control_characters_of_an_untrusted_response() {
    let escape = "\\u001b]0;x\\u0007\\u202e";
    let list = |more: &str, device: &str| {
        format!(
            r#"{{"generated_at":"","complete":true,"networks":1,"unsettled_networks":0,"users":{{"fresh":1,"stale":0,"missing":0,"pending":0}},"not_known":{{"network_id":[],"user_id":[{more}]}},"matched":1,"devices":[{{"network_id":"12345678","network_name":"","user_id":"1","app_id":null,"device_type":"{escape}","status":"","suspended":null,"created":null,"last_login":{device},"never_logged_in":null,"idle_seconds":null,"sso_max_idle_seconds":null,"sso_expired":null,"freshness":"fresh","read_at":""}}]}}"#
        )
    };
    let quoted = format!("\"{escape}\"");
    let no_exporter = "not a wickr-exporter of this version";
    for (body, status, expected) in [
        (response("200 OK", &list("", "null")), 0, "\\u{1b}"),
        (response("200 OK", &list(&quoted, "null")), 1, no_exporter),
        (response("200 OK", &list("", &quoted)), 1, no_exporter),
        (response("500 No", &format!("\u{1b}[2J\u{202e}{}", "x".repeat(70_000))), 1, "xxx"),
        (response("302 Found", ""), 1, "redirects"),
        (response("403 Forbidden", "A client certificate that is valid"), 1, "--from-cert-file"),
    ] {
        let host = server(move |_| body.clone());
        let (found, out, err) = devices("", &["--from", &format!("http://{host}")]).await;
        assert_eq!(found, Some(status), "{expected}: {err}");
        assert!(format!("{out}{err}").contains(expected), "{expected}: {out}{err}");
        assert!(!format!("{out}{err}").contains(['\u{1b}', '\u{7}', '\u{202e}']), "{out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_a_password_to_the_exporter_only_and_never_prints_it() {
    let list = r#"{"generated_at":"","complete":true,"networks":1,"unsettled_networks":0,
        "users":{"fresh":1,"stale":0,"missing":0,"pending":0},
        "not_known":{"network_id":[],"user_id":[]},"matched":0,"devices":[],"more":"to come"}"#;
    // ann:se cret
    let host =
        server(move |request| match request.contains("uthorization: Basic YW5uOnNlIGNyZXQ=\r\n") {
            true => response("200 OK", list),
            false => response("401 Unauthorized", "no"),
        });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "se cret\n").unwrap();
    let file = file.to_str().unwrap();
    let redirect = server(|_| response("302 Found", ""));
    let html = server(|_| response("200 OK", "<html>"));
    let password_file = ["--from-password-file", file];
    for (from, options, status, expected) in [
        (format!("http://ann:se%20cret@{host}"), &[][..], 0, "0 devices."),
        (format!("http://ann@{host}"), &password_file, 0, "0 devices."),
        (format!("http://{host}"), &[], 1, "requires a username and a password"),
        (format!("http://ann:se%20cre@{host}"), &[], 1, "wrong username or password"),
        (format!("http://ann:se%20cret@{redirect}"), &[], 1, "302"),
        (format!("http://ann:se%20cret@{html}"), &[], 1, "is not a wickr-exporter"),
        ("http://ann:se%20cret@127.0.0.1:1".into(), &[], 1, "refused"),
    ] {
        let arguments = [&["--log.level=trace", "--from", &from], options].concat();
        let (code, out, err) = devices("", &arguments).await;
        assert_eq!(code, Some(status), "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        let output = format!("{out}{err}");
        assert!(!output.contains("cret") && !output.contains("YW5u"), "{output}");
    }
}

/// An HTTPS server that requires a client certificate below `/client/`.
const TLS: &str = r#"
import http.server, ssl, sys
certificate, body = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        rejected = self.path.startswith("/client/") and not self.connection.getpeercert()
        self.send_response(403 if rejected else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
context.load_verify_locations(certificate)
context.verify_mode = ssl.CERT_OPTIONAL
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn accepts_a_ca_file_and_a_client_certificate() {
    let (Some(python), Some(openssl)) = (tools::find("python3"), tools::find("openssl")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, cert, both) = (path("key.pem"), path("cert.pem"), path("both.pem"));
    crate::health::certificate(&openssl, folder.path());
    let pem = [std::fs::read(&key).unwrap(), std::fs::read(&cert).unwrap()].concat();
    std::fs::write(&both, pem).unwrap();
    let body = r#"{"generated_at":"","complete":true,"networks":1,"unsettled_networks":0,"users":{"fresh":1,"stale":0,"missing":0,"pending":0},"not_known":{"network_id":[],"user_id":[]},"matched":0,"devices":[]}"#;
    let mut server = std::process::Command::new(python)
        .args(["-c", TLS, &both, body])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let from = format!("https://127.0.0.1:{}", port.trim());
    let trusted = devices("", &["--from", &from, "--from-ca-file", &cert]).await;
    let untrusted = devices("", &["--from", &from]).await;
    let key_as_ca = devices("", &["--from", &from, "--from-ca-file", &key]).await;
    let url = format!("{from}/client");
    let mutual = ["--from", &url, "--from-ca-file", &cert];
    let anonymous = devices("", &mutual).await;
    let identity = ["--from-cert-file", &cert, "--from-key-file", &key];
    let identified = devices("", &[&mutual[..], &identity].concat()).await;
    let no_key = ["--from-cert-file", &cert, "--from-key-file", &cert];
    let no_key = devices("", &[&mutual[..], &no_key].concat()).await;
    let no_key_file = devices("", &[&mutual[..], &["--from-cert-file", &key]].concat()).await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(trusted.0, Some(0), "{trusted:?}");
    assert_eq!((anonymous.0, identified.0), (Some(1), Some(0)), "{anonymous:?} {identified:?}");
    assert_eq!((no_key.0, no_key_file.0), (Some(2), Some(2)), "{no_key:?} {no_key_file:?}");
    assert!(no_key.2.contains("contain no certificate and key"), "{no_key:?}");
    assert_eq!(untrusted.0, Some(1), "{untrusted:?}");
    assert_eq!(key_as_ca.0, Some(2), "{key_as_ca:?}");
    assert!(key_as_ca.2.contains("contains no certificate"), "{key_as_ca:?}");
}
