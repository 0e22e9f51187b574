//! The demo: the daemon against a simulator on loopback. Everything is real but AWS.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use tokio::net::TcpListener;

use super::{AppError, Daemon, Serving};
use crate::{
    clock::{Clock, Millis},
    config::{self, Config},
    inventory::{Freshness, Reader, Summary},
    simulator::{ACCESS_KEY, Count, Options, SECRET_KEY, Simulator},
    wickr::CredentialSource,
};

/// How often the demo polls, and tells what it sees.
const INTERVAL: Duration = Duration::from_secs(5);
/// Idle for longer than this is worth a line.
const LONG_IDLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Runs the demo until `shutdown`. What it says goes to standard output.
///
/// # Errors
///
/// When it cannot be set up, or when a part of it dies.
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
    let config = configuration(&simulator)?;
    let daemon = Daemon::new(&config, None, Some(credentials), Clock::System)?;
    say(&welcome(&simulator, &serving));
    let reader = daemon.reader().clone();
    let telling = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            say(&news(&reader, Clock::System.now()));
        }
    };
    let ended = tokio::select! {
        ended = daemon.run(serving, shutdown) => ended,
        () = telling => Ok(()),
    };
    simulator.stop().await.map_err(|error| AppError::Died(format!("the simulator ({error})")))?;
    ended
}

/// Runs only the simulator until `shutdown`.
///
/// # Errors
///
/// The simulator cannot start, or it panicked.
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
    say(&format!(
        "A simulated Wickr Admin API for any AWS SDK, on {endpoint}. Press Ctrl-C to stop.\n\
         Networks: {networks}. User ids start at 1001.\n\n\
         export AWS_ACCESS_KEY_ID={ACCESS_KEY}\n\
         export AWS_SECRET_ACCESS_KEY={SECRET_KEY}\n\
         export AWS_REGION={region}\n\
         export AWS_ENDPOINT_URL_WICKR={endpoint}\n\n\
         Configuration for wickr-exporter:\n\n\
         [aws]\n\
         region = \"{region}\"\n\
         endpoint_url = \"{endpoint}\"\n",
        networks = networks.join(", "),
    ));
    shutdown.await;
    let requests = simulator.requests();
    simulator.stop().await.map_err(|error| AppError::Died(format!("the simulator ({error})")))?;
    say(&format!("{} requests served.\n", requests.total()));
    Ok(())
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

/// A configuration for the simulator's fleet, as one would write it.
fn configuration(simulator: &Simulator) -> Result<Config, AppError> {
    let mut text = format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\ninterval = \"{}s\"\nrequests_per_second = 100\n\
         [sso]\nmax_idle = \"security-groups\"\n",
        simulator.endpoint(),
        INTERVAL.as_secs()
    );
    simulator.read_fleet(|fleet| {
        for (network, name) in fleet.networks().zip(["production", "staging"]) {
            let users: Vec<_> = network.users().map(|user| user.id().to_owned()).collect();
            let id = network.id();
            // Writing to a String cannot fail.
            let _ =
                write!(text, "[[network]]\nid = \"{id}\"\nname = \"{name}\"\nusers = {users:?}\n");
        }
    });
    config::parse(&text, "the demo's configuration")
        .map_err(|error| AppError::Setup(error.to_string()))
}

fn welcome(simulator: &Simulator, serving: &Serving) -> String {
    let address = serving.listeners.first().and_then(|listener| listener.local_addr().ok());
    let scheme = match &serving.web_config {
        Some(config) if config.has_tls() => "https",
        _ => "http",
    };
    let base = match address {
        Some(at) if at.ip().is_unspecified() => format!("{scheme}://localhost:{}", at.port()),
        Some(at) => format!("{scheme}://{at}"),
        None => format!("{scheme}://localhost"),
    };
    let metrics = format!("{base}{}", serving.telemetry_path.as_str());
    let home = serving.telemetry_path.home();
    format!(
        "wickr-exporter demo: two networks on a simulated Wickr Admin API ({api}), no AWS involved.\n\n\
         \x20 status     {base}{home}\n\
         \x20 devices    {base}/devices\n\
         \x20 metrics    {metrics}\n\
         \x20 readiness  {base}/-/ready\n\n\
         Try, in another terminal:\n\n\
         \x20 curl -s {metrics} | grep '^wickr_network_devices{{'\n\
         \x20 {program} devices --from {base} --idle-over 30d\n\n\
         Devices log in, come, go, are suspended and reset all the time. The exporter polls every {every} s,\n\
         and this is what it then knows. Ctrl-C ends it.\n\n",
        // As it was called: it may not be installed.
        program = std::env::args().next().unwrap_or_else(|| "wickr-exporter".into()),
        api = simulator.endpoint(),
        every = INTERVAL.as_secs(),
    )
}

/// What is known of each network, a line each.
fn news(reader: &Reader, now: Millis) -> String {
    let bound = i64::try_from(LONG_IDLE.as_millis()).unwrap_or(i64::MAX);
    let mut text = String::new();
    for view in &reader.snapshot().networks {
        let summary = Summary::new(view, now, &[bound]);
        let sum = |of: fn(&crate::inventory::TypeSummary) -> u64| -> u64 {
            summary.types.iter().map(of).sum()
        };
        let types: Vec<_> =
            summary.types.iter().map(|t| format!("{} {}", &*t.device_type, t.devices)).collect();
        let fresh = view.users_by_freshness(now)[Freshness::Fresh as usize];
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<10} {devices:>3} devices ({types}), {suspended} suspended, {idle} idle for over 30 days, \
             {expired} beyond their SSO limit; \
             {fresh} of {users} users fresh",
            name = view.identity.name,
            devices = sum(|t| t.devices),
            types = types.join(", "),
            suspended = sum(|t| t.suspended),
            idle = sum(|t| t.with_idle - t.idle_at_most[0]),
            expired = sum(|t| t.sso_expired),
            users = view.users.len(),
        );
    }
    text
}

/// Says it on standard output. Nobody may be listening, and that is no reason to end.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}
