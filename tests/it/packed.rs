//! What is packed in pieces is read whole by everybody: Python, curl, and Go's reader in a real
//! Prometheus.

use std::process::{Command, Stdio};

use reqwest::header;
use wickr_exporter::simulator::{Count, Options};

use crate::{
    harness::{Exporter, config, http, simulator},
    peers::python_with_libraries,
    prometheus::Prometheus,
    tools,
};

/// Reads an exposition in every way that Python knows, and prints it if they all agree.
const PYTHON: &str = r#"
import gzip, sys, zlib, zstandard
kind, path = sys.argv[1:]
packed = open(path, "rb").read()
if kind == "gzip":
    text = gzip.decompress(packed)
    # A reader of one member, as browsers are: nothing may be left over.
    one = zlib.decompressobj(31)
    assert one.decompress(packed) == text and one.eof and not one.unused_data
else:
    reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    text = reader.read()
sys.stdout.buffer.write(text)
"#;

/// The lines of what does not move with the clock.
fn lasting(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("_idle_seconds")).collect()
}

/// A fleet so large that packed pieces are kept, polled once.
async fn polled() -> (wickr_exporter::simulator::Simulator, Exporter) {
    let simulator = simulator(Options {
        users: 600,
        devices_per_user: Count { min: 1, max: 4 },
        ..Options::default()
    })
    .await;
    let text = config(
        &simulator.endpoint(),
        "interval = \"1h\"\nrequests_per_second = 10000",
        "12345678",
        &[],
    )
    .replace("users = []", "users = \"all\"");
    let exporter = Exporter::start(&text);
    exporter.polled(1.0).await;
    (simulator, exporter)
}

const PATH: &str = "/metrics?collect[]=user&collect[]=device";

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_what_is_packed_whole() {
    let Some(python3) = python_with_libraries() else { return };
    let (_simulator, exporter) = polled().await;
    let plain = exporter.text(PATH).await;
    assert!(plain.lines().count() > 600 * 8 + 600 * 5);
    let folder = tempfile::tempdir().unwrap();
    // The second time, most of it is what was kept.
    for encoding in ["gzip", "gzip", "zstd", "zstd"] {
        let url = format!("{}{PATH}", exporter.base);
        let answer =
            http().get(url).header(header::ACCEPT_ENCODING, encoding).send().await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], encoding);
        let file = folder.path().join(encoding);
        std::fs::write(&file, answer.bytes().await.unwrap()).unwrap();
        let output = Command::new(&python3)
            .args(["-c", PYTHON, encoding])
            .arg(&file)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{encoding}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lasting(&text), lasting(&plain), "{encoding}");
        assert_eq!(text.lines().count(), plain.lines().count(), "{encoding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reads_what_is_packed_whole() {
    let Some(curl) = tools::find("curl") else { return };
    let (_simulator, exporter) = polled().await;
    let plain = exporter.text(PATH).await;
    for _ in 0..2 {
        let output = Command::new(&curl)
            .args(["--silent", "--show-error", "--fail", "--globoff", "--compressed"])
            .arg(format!("{}{PATH}", exporter.base))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lasting(&text), lasting(&plain));
        assert_eq!(text.lines().count(), plain.lines().count());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_reads_what_is_packed_whole() {
    let Some(program) = tools::find("prometheus") else { return };
    let (_simulator, exporter) = polled().await;
    let target = exporter.base.trim_start_matches("http://");
    let prometheus = Prometheus::scraping(&program, &[target]).await;
    let plain = exporter.text(PATH).await;
    for name in
        ["wickr_user_up", "wickr_user_devices", "wickr_device_info", "wickr_device_idle_seconds"]
    {
        let lines = plain.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
        assert!(lines > 500, "{name}");
        assert_eq!(prometheus.number(&format!("count({name})")).await, lines as f64, "{name}");
    }
}
