//! The exporter's simulator as a separate process.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{children::Child, sign::Credentials};

/// Allows for the generation of a large fleet.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) users: u32,
    pub(crate) devices_per_user: u32,
    pub(crate) latency: Duration,
    /// Changes to devices per second.
    pub(crate) churn: u32,
}

/// A running simulator with one network.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) network: String,
    pub(crate) size: Size,
}

impl Simulator {
    /// Starts it on a free port and parses its address and credentials from its output.
    pub(crate) async fn start(program: &Path, size: Size) -> Result<Simulator> {
        let mut command = Command::new(program);
        command.args([
            "simulate".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--users={}", size.users),
            format!("--devices-per-user={}", size.devices_per_user),
            format!("--latency={}ms", size.latency.as_millis()),
            format!("--churn={}", size.churn),
        ]);
        let mut child = Child::start("the simulator", command)?;
        let after =
            |prefix: &'static str| move |line: &str| Some(line.strip_prefix(prefix)?.to_owned());
        let networks = child.wait_for("its networks", TIMEOUT, after("Networks: ")).await?;
        let network = networks.split(['.', ',']).next().unwrap_or_default().to_owned();
        let mut credentials = Credentials::default();
        for (field, name) in [
            (&mut credentials.key_id, "export AWS_ACCESS_KEY_ID="),
            (&mut credentials.secret, "export AWS_SECRET_ACCESS_KEY="),
            (&mut credentials.region, "export AWS_REGION="),
        ] {
            *field = child.wait_for("its credentials", TIMEOUT, after(name)).await?;
        }
        let endpoint = "export AWS_ENDPOINT_URL_WICKR=http://";
        let address = child.wait_for("its endpoint", TIMEOUT, after(endpoint)).await?;
        let address = address.parse().context("invalid address of the simulator")?;
        Ok(Simulator { child, address, credentials, network, size })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.child.stop().await
    }
}
