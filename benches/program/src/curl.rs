//! Scrapes with curl, if it is installed. Clients that read small pieces measure mostly themselves.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, time::sleep};

use crate::scrape::{PAUSE, Server, Spread, Variant};

pub(crate) async fn is_installed() -> bool {
    let mut command = Command::new("curl");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// The times of complete responses, as curl measures them.
pub(crate) async fn measure(server: Server, variant: Variant, times: u32) -> Result<Spread> {
    let mut durations = Vec::new();
    for _ in 0..times {
        sleep(PAUSE).await;
        durations.push(scrape(server, variant).await?);
    }
    Spread::new(durations)
}

async fn scrape(server: Server, variant: Variant) -> Result<Duration> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--globoff", "--output", "/dev/null"]);
    command.args(["--write-out", "%{time_total}"]);
    for (name, value) in variant.headers() {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    command.arg(format!("http://{}{}", server.address, variant.path()));
    let output = command.stdin(Stdio::null()).output().await.context("curl")?;
    ensure!(output.status.success(), "curl failed: {}", output.status);
    let seconds = String::from_utf8(output.stdout).context("curl")?;
    Ok(Duration::from_secs_f64(seconds.parse().context("curl")?))
}
