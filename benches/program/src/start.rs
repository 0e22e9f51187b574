//! The time from start to serving and to ready.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{process::Command, time::sleep};

use crate::{children::Child, http, scrape::Spread};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Times since the start of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Until `/-/healthy` responds.
    pub(crate) serving: Spread,
    /// Until `/-/ready` returns 200: the demo has polled 40 users at 100 requests per second.
    pub(crate) ready: Spread,
}

pub(crate) async fn measure(program: &Path, times: u32) -> Result<Start> {
    let (mut serving, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let mut command = Command::new(program);
        command.args(["demo", "--web.listen-address=127.0.0.1:0"]);
        let started = Instant::now();
        let mut demo = Child::start("the demo", command)?;
        let address = demo.wait_for("its address", TIMEOUT, address).await?;
        ensure!(status(address, "/-/healthy").await? == 200, demo.error("is not healthy"));
        serving.push(started.elapsed());
        while status(address, "/-/ready").await? != 200 {
            ensure!(started.elapsed() < TIMEOUT, demo.error("is not ready"));
            sleep(Duration::from_millis(1)).await;
        }
        ready.push(started.elapsed());
        demo.stop().await?;
    }
    Ok(Start { serving: Spread::new(serving)?, ready: Spread::new(ready)? })
}

async fn status(address: SocketAddr, path: &str) -> Result<u16> {
    Ok(http::fetch(address, path, &[]).await?.0.status)
}

/// Parses the address in the demo's output.
fn address(line: &str) -> Option<SocketAddr> {
    let url = line.trim().strip_prefix("metrics")?.trim().strip_prefix("http://")?;
    url.split('/').next()?.parse().ok()
}
