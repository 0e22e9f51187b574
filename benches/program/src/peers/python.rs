//! Python's prometheus_client with a custom collector, if it is installed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Result;
use tokio::process::Command;

use super::ServingPeer;

const SERVER: &str = include_str!("python.py");

/// A Python with prometheus_client: the tests' virtual environment, or the one in `PATH`.
pub(crate) async fn find() -> Option<PathBuf> {
    let home = env::var_os("HOME").unwrap_or_default();
    let venv = env::var_os("WICKR_TEST_VENV")
        .map_or_else(|| Path::new(&home).join(".cache/wickr-exporter-tests"), PathBuf::from);
    for python in [venv.join("bin/python3"), "python3".into()] {
        let mut command = Command::new(&python);
        command.args(["-c", "import prometheus_client"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().await.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    None
}

/// Serves the gauges of a saved scrape.
pub(crate) async fn serve(python: &Path, scrape: &Path) -> Result<ServingPeer> {
    let mut command = Command::new(python);
    command.args(["-u", "-c", SERVER]).arg(scrape);
    ServingPeer::start("Python's prometheus_client", command).await
}
