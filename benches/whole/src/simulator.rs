//! The program's own simulated Wickr Admin API, run as a process of its own.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{children::Child, sign::Access};

/// A large fleet takes some time to make up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to simulate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) users: u32,
    pub(crate) devices_per_user: u32,
    /// How long each answer takes.
    pub(crate) latency: Duration,
    /// Changes a second.
    pub(crate) churn: u32,
}

/// A running simulator with one network.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) access: Access,
    pub(crate) network: String,
    pub(crate) size: Size,
}

impl Simulator {
    /// Starts it on a free port. Where it is and how to sign for it, it tells itself.
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
        let networks = child.told("its networks", PATIENCE, after("Networks: ")).await?;
        let network = networks.split(['.', ',']).next().unwrap_or_default().to_owned();
        let mut access = Access::default();
        for (field, name) in [
            (&mut access.key_id, "export AWS_ACCESS_KEY_ID="),
            (&mut access.secret, "export AWS_SECRET_ACCESS_KEY="),
            (&mut access.region, "export AWS_REGION="),
        ] {
            *field = child.told("its credentials", PATIENCE, after(name)).await?;
        }
        let endpoint = "export AWS_ENDPOINT_URL_WICKR=http://";
        let address = child.told("its endpoint", PATIENCE, after(endpoint)).await?;
        let address = address.parse().context("the simulator's address")?;
        Ok(Simulator { child, address, access, network, size })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.child.end().await
    }
}
