//! `demo` runs the daemon against a simulator; `simulate` runs only the simulator.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use tokio::net::TcpListener;

use super::{AppError, Daemon, Serving};
use crate::{
    clock::{Clock, Millis, Moment},
    collectors::CollectorRef,
    config::{self, Config},
    inventory::{Freshness, Reader, Summary, TypeSummary},
    simulator::{ACCESS_KEY, Count, Options, SECRET_KEY, Simulator},
    web::Listener,
    wickr::CredentialSource,
};

/// Poll interval of the demo, and how often it prints a summary.
const INTERVAL: Duration = Duration::from_secs(5);
/// The summary counts devices that have been idle for longer than 30 days.
const IDLE_MILLIS: Millis = 30 * 24 * 3600 * 1000;

/// Runs the demo until `shutdown`, with summaries on standard output.
///
/// # Errors
///
/// Setup failed, or a task ended.
pub async fn demo(
    serving: Serving,
    shutdown: impl Future<Output = &'static str>,
) -> Result<(), AppError> {
    let simulator = start(
        None,
        Options {
            networks: 2,
            users: 20,
            devices_per_user: Count { min: 1, max: 6 },
            churn: 1.0,
            empty_pages: 0.1,
            ..Options::default()
        },
    )
    .await?;
    let credentials = CredentialSource::Fixed {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
    };
    let (config, clock) = (configuration(&simulator)?, Clock::system());
    let daemon = Daemon::new(&config, None, Some(credentials), clock.clone())?;
    print(&welcome(&simulator, &serving));
    let reader = daemon.reader().clone();
    let summaries = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            print(&summary(&reader, clock.moment()));
        }
    };
    let result = tokio::select! {
        result = daemon.run(serving, shutdown) => result,
        () = summaries => Ok(()),
    };
    stop(simulator).await?;
    result
}

/// Runs a simulator on `listener` until `shutdown`.
///
/// # Errors
///
/// Setup failed, or the simulator ended.
pub async fn simulate(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = &'static str>,
) -> Result<(), AppError> {
    let region = options.region.clone();
    let simulator = start(Some(listener), options).await?;
    let endpoint = simulator.endpoint();
    let networks = simulator.read_fleet(|fleet| {
        fleet.networks().map(|network| network.id().to_owned()).collect::<Vec<_>>()
    });
    print(&format!(
        "Simulated Wickr Admin API for any AWS SDK on {endpoint}. Press Ctrl-C to stop.\n\
         Networks: {networks}. User ids start at 1001.\n\n\
         export AWS_ACCESS_KEY_ID={ACCESS_KEY}\n\
         export AWS_SECRET_ACCESS_KEY={SECRET_KEY}\n\
         export AWS_REGION={region}\n\
         export AWS_ENDPOINT_URL_WICKR={endpoint}\n\n\
         Configuration of this exporter:\n\n\
         [aws]\n\
         region = \"{region}\"\n\
         endpoint_url = \"{endpoint}\"\n",
        networks = networks.join(", "),
    ));
    shutdown.await;
    let requests = simulator.requests();
    stop(simulator).await?;
    print(&format!("Answered {} requests.\n", requests.total()));
    Ok(())
}

async fn stop(simulator: Simulator) -> Result<(), AppError> {
    let stopped = simulator.stop().await;
    stopped.map_err(|error| AppError::TaskEnded(format!("simulator ({error})")))
}

async fn start(listener: Option<TcpListener>, options: Options) -> Result<Simulator, AppError> {
    let setup =
        |error: std::io::Error| AppError::Setup(format!("cannot start the simulator: {error}"));
    let listener = match listener {
        Some(listener) => listener,
        None => TcpListener::bind("127.0.0.1:0").await.map_err(setup)?,
    };
    Simulator::start(listener, options).map_err(setup)
}

/// A configuration for all networks and users of the simulator.
fn configuration(simulator: &Simulator) -> Result<Config, AppError> {
    let mut text = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\ninterval = \"{}s\"\nrequests_per_second = 100\n\
         [sso]\nmax_idle = \"security-groups\"\n\
         [discovery]\ninterval = \"10s\"\n\
         [collectors]\nenable = {:?}\ninterval = \"10s\"\n",
        simulator.endpoint(),
        INTERVAL.as_secs(),
        CollectorRef::all().collect::<Vec<_>>(),
    );
    simulator.read_fleet(|fleet| {
        for (network, name) in fleet.networks().zip(["production", "staging"]) {
            let id = network.id();
            // Writing to a String cannot fail.
            let _ =
                write!(text, "[[network]]\nid = \"{id}\"\nname = \"{name}\"\nusers = \"all\"\n");
        }
    });
    config::parse(&text, "configuration of the demo").map_err(AppError::setup)
}

fn welcome(simulator: &Simulator, serving: &Serving) -> String {
    let address = serving.listeners.first().and_then(Listener::address);
    let scheme = match &serving.web_config {
        Some(config) if config.has_tls() => "https",
        _ => "http",
    };
    let base = match address {
        Some(at) if at.ip().is_unspecified() => format!("{scheme}://localhost:{}", at.port()),
        Some(at) => format!("{scheme}://{at}"),
        None => format!("{scheme}://localhost"),
    };
    let base = base + serving.route_prefix.as_str();
    let metrics = format!("{base}{}", serving.telemetry_path.as_str());
    let home = serving.telemetry_path.status_page();
    format!(
        "wickr-exporter demo: two networks of a simulated Wickr Admin API ({api}), without AWS.\n\n\
         \x20 status     {base}{home}\n\
         \x20 devices    {base}/devices\n\
         \x20 metrics    {metrics}\n\
         \x20 readiness  {base}/-/ready\n\n\
         In another terminal, try:\n\n\
         \x20 curl -s {metrics} | grep '^wickr_network_devices{{'\n\
         \x20 {program} devices --from {base} --idle-over 30d\n\n\
         Devices log in, appear, disappear, and are suspended and reset; bots, guests, accounts and settings\n\
         change, too. The exporter polls every {interval} s and prints a summary. Press Ctrl-C to stop.\n\n",
        // The program may not be in PATH.
        program = std::env::args().next().unwrap_or_else(|| "wickr-exporter".into()),
        api = simulator.endpoint(),
        interval = INTERVAL.as_secs(),
    )
}

/// A line for each network.
fn summary(reader: &Reader, now: Moment) -> String {
    let mut text = String::new();
    for view in &reader.snapshot().networks {
        let summary = Summary::new(view, now, &[IDLE_MILLIS], &[]);
        let sum = |count: fn(&TypeSummary) -> u64| summary.types.iter().map(count).sum::<u64>();
        let types: Vec<_> =
            summary.types.iter().map(|t| format!("{} {}", &*t.device_type, t.devices)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<10} {devices:>3} devices ({types}), {suspended} suspended, {idle} idle over 30 days, \
             {expired} over their SSO limit; {fresh} of {users} users fresh",
            name = view.identity.name,
            devices = sum(|t| t.devices),
            types = types.join(", "),
            suspended = sum(|t| t.suspended),
            idle = sum(|t| t.with_idle - t.idle_at_most[0]),
            expired = sum(|t| t.sso_expired),
            fresh = view.users_by_freshness(now)[Freshness::Fresh as usize],
            users = view.users.len(),
        );
    }
    text
}

/// Prints to standard output. If that is closed, the demo continues.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "cannot write to standard output");
    }
}
