//! Responses are joined from compressed chunks. Python, curl and Prometheus decode all of them.

use std::process::{Command, Stdio};

use reqwest::header;
use wickr_exporter::simulator::{Count, Options};

use crate::{
    harness::{Exporter, config, http, simulator},
    prometheus::Prometheus,
    tools,
};

/// Prints the decompressed file.
const PYTHON: &str = r#"
import gzip, sys, zlib, zstandard
encoding, path = sys.argv[1:]
compressed = open(path, "rb").read()
if encoding == "gzip":
    text = gzip.decompress(compressed)
    # Browsers read one gzip member only.
    member = zlib.decompressobj(31)
    assert member.decompress(compressed) == text and member.eof and not member.unused_data
else:
    reader = zstandard.ZstdDecompressor().stream_reader(compressed, read_across_frames=True)
    text = reader.read()
sys.stdout.buffer.write(text)
"#;

/// Compares two scrapes, except for the values that depend on the time of the scrape.
fn assert_same(text: &str, plain: &str) {
    fn constant(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.contains("_idle_seconds")).collect()
    }
    assert_eq!(constant(text), constant(plain));
    assert_eq!(text.lines().count(), plain.lines().count());
}

/// A fleet that is large enough for cached chunks, polled once.
async fn polled() -> (wickr_exporter::simulator::Simulator, Exporter) {
    let simulator = simulator(Options {
        users: 600,
        devices_per_user: Count { min: 1, max: 4 },
        ..Options::default()
    })
    .await;
    let poll = "interval = \"1h\"\nrequests_per_second = 10000";
    let text = config(&simulator.endpoint(), poll, "12345678", &[""]);
    let exporter = Exporter::start(&text.replace("users = [\"\"]", "users = \"all\""));
    exporter.polled(1.0).await;
    (simulator, exporter)
}

const PATH: &str = "/metrics?collect[]=user&collect[]=device";

#[tokio::test(flavor = "multi_thread")]
async fn python_decodes_gzip_and_zstd() {
    let Some(python3) = tools::python("zstandard") else { return };
    let (_simulator, exporter) = polled().await;
    let plain = exporter.text(PATH).await;
    assert!(plain.lines().count() > 600 * 8 + 600 * 5);
    let folder = tempfile::tempdir().unwrap();
    // The second response uses cached chunks.
    for encoding in ["gzip", "gzip", "zstd", "zstd"] {
        let url = format!("{}{PATH}", exporter.base);
        let response =
            http().get(url).header(header::ACCEPT_ENCODING, encoding).send().await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_ENCODING], encoding);
        let file = folder.path().join(encoding);
        std::fs::write(&file, response.bytes().await.unwrap()).unwrap();
        let output = Command::new(&python3)
            .args(["-c", PYTHON, encoding])
            .arg(&file)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{encoding}");
        assert_same(&String::from_utf8(output.stdout).unwrap(), &plain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_decodes_compressed_responses() {
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
        assert_same(&String::from_utf8(output.stdout).unwrap(), &plain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_ingests_all_series_of_compressed_responses() {
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
