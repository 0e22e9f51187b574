//! The commands `demo` and `simulate`.

use tokio::net::TcpListener;

use super::{Failure, INVALID_CONFIGURATION, SUCCESS, serving, web_config};
use crate::{
    app::{self, AppError},
    cli::{GlobalOptions, SimulateOptions},
    config::ListenAddress,
    shutdown, simulator,
};

pub(super) async fn demo(options: &GlobalOptions) -> Result<u8, Failure> {
    let shutdown = shutdown::signals()?;
    let loopback = [ListenAddress { host: Some("127.0.0.1".into()), port: 10471 }];
    let serving = serving(options, &loopback, web_config(options).await?).await?;
    app::demo(serving, shutdown).await?;
    Ok(SUCCESS)
}

pub(super) async fn simulate(options: SimulateOptions) -> Result<u8, Failure> {
    let address = options.address;
    if !address.ip().is_loopback() {
        return Err(Failure {
            message: "--listen: must be a loopback address".into(),
            status: INVALID_CONFIGURATION,
        });
    }
    let shutdown = shutdown::signals()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| AppError::Listen { address: address.to_string(), error })?;
    let options = simulator::Options {
        networks: options.networks,
        users: options.users,
        devices_per_user: options.devices_per_user,
        seed: options.seed,
        churn: options.churn,
        latency: options.latency,
        rate_limit: options.rate_limit,
        faults: options.faults,
        region: options.region,
        timestamps: options.timestamps,
        empty_pages: options.empty_pages,
        ..simulator::Options::default()
    };
    app::simulate(listener, options, shutdown).await?;
    Ok(SUCCESS)
}
