//! A Prometheus server for tests, or VictoriaMetrics, which has the same API.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{TIMEOUT, http};

/// A loopback port that was free a moment ago. If another process takes it, the test fails.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    child: Child,
    base: String,
    /// Configuration and data.
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these exporters and itself every second.
    pub async fn scraping(program: &Path, targets: &[&str]) -> Prometheus {
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
             - job_name: wickr-exporter\n  static_configs: [{{targets: {targets:?}}}]\n\
             - job_name: other\n  static_configs: [{{targets: [\"127.0.0.1:{port}\"]}}]\n"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let prometheus = Prometheus::start_at(program, folder, port);
        let up = format!("count(up == 1) == {}", targets.len() + 1);
        prometheus.wait_for(&up).await;
        prometheus
    }

    /// Starts with the `prometheus.yml` in a folder.
    pub fn start_in(program: &Path, folder: tempfile::TempDir) -> Prometheus {
        Prometheus::start_at(program, folder, free_port())
    }

    fn start_at(program: &Path, folder: tempfile::TempDir, port: u16) -> Prometheus {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (config, data) = (path("prometheus.yml"), path("data"));
        let address = format!("127.0.0.1:{port}");
        let arguments = match program.ends_with("victoria-metrics") {
            // By default, queries do not return the last 30 seconds.
            true => vec![
                format!("-promscrape.config={config}"),
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={address}"),
                "-search.latencyOffset=1s".to_owned(),
            ],
            false => vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={address}"),
            ],
        };
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Prometheus { child, base: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// The result of a query; `None` while Prometheus is starting.
    pub async fn query(&self, expression: &str) -> Option<Vec<Value>> {
        let url = reqwest::Url::parse_with_params(
            &format!("{}/api/v1/query", self.base),
            [("query", expression)],
        )
        .unwrap();
        let response = http().get(url).send().await.ok()?;
        let response: Value = serde_json::from_str(&response.text().await.ok()?).ok()?;
        assert!(response["status"] != "error", "{expression}: {response}");
        match &response["data"]["result"] {
            Value::Array(found) if response["data"]["resultType"] == "vector" => {
                Some(found.clone())
            }
            other => panic!("{expression} does not return a vector: {other}"),
        }
    }

    /// Repeats a query until its result has a sample.
    pub async fn wait_for(&self, expression: &str) -> Vec<Value> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.query(expression).await {
                Some(found) if !found.is_empty() => return found,
                _ => {}
            }
            assert!(Instant::now() < deadline, "no sample: {expression}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The value of a query with one sample.
    pub async fn number(&self, expression: &str) -> f64 {
        let found = self.query(expression).await.unwrap();
        assert_eq!(found.len(), 1, "{expression}: {found:?}");
        found[0]["value"][1].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
