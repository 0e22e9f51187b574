//! client_golang with a custom collector, if Go and Debian's package of client_golang are installed.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::ServingPeer;

const SERVER: &str = include_str!("golang.go");
/// Where Debian's packages have Go sources, in the structure of a GOPATH.
const SOURCES: &str = "/usr/share/gocode";

pub(crate) async fn is_installed() -> bool {
    let mut command = Command::new("go");
    command.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Path::new(SOURCES).join("src/github.com/prometheus/client_golang").is_dir()
        && command.status().await.is_ok_and(|status| status.success())
}

/// Builds the server, which takes up to a minute, and serves the gauges of a saved scrape.
pub(crate) async fn serve(scrape: &Path) -> Result<ServingPeer> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("golang.go"), SERVER)?;
    let mut build = Command::new("go");
    build.args(["build", "-o", "golang", "golang.go"]).current_dir(folder.path());
    build.env("GO111MODULE", "off").env("GOPATH", SOURCES).stdin(Stdio::null());
    let built = build.kill_on_drop(true).output().await.context("cannot run go")?;
    ensure!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
    let mut command = Command::new(folder.path().join("golang"));
    command.arg(scrape);
    let mut peer = ServingPeer::start("client_golang", command).await?;
    peer._folder = Some(folder);
    Ok(peer)
}
