//! Runs each command with its parsed arguments and returns the exit status.

#[cfg(feature = "simulator")]
mod simulator;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::CommandFactory;

use crate::{
    app::{
        self, AppError, ConfigSource, Daemon, FileDigest, HealthCheck, PollOutcome, RegionLookup,
        Remote, Serving,
    },
    cli::{CheckOptions, Cli, Command, DevicesOptions, GlobalOptions, HealthOptions, OnceOptions},
    clock::Clock,
    config::{self, Config, ListenAddress},
    query::{Filter, Query},
    shutdown,
    telemetry::{self, LogLevel},
    web::{self, Listener, WebConfig},
};

const SUCCESS: u8 = 0;
const RUNTIME_ERROR: u8 = 1;
/// `clap` uses the same status for invalid arguments.
const INVALID_CONFIGURATION: u8 = 2;
const SOME_USERS_FAILED: u8 = 3;

/// The node exporter runs as another user and must be able to read the file.
const TEXTFILE_MODE: u32 = 0o644;

/// The message and exit status of a command that failed.
struct Failure {
    message: String,
    status: u8,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { message: error.to_string(), status: RUNTIME_ERROR }
    }
}

/// Runs the command and returns its exit status.
pub async fn run(cli: Cli) -> ExitCode {
    let level = cli.options.log_level.unwrap_or(match cli.command {
        #[cfg(feature = "simulator")]
        Some(Command::Demo) => LogLevel::Warn,
        _ => LogLevel::Info,
    });
    telemetry::start_logs(level, cli.options.log_format);
    telemetry::watch_panics();
    let result = match cli.command {
        None => daemon(&cli.options).await,
        Some(Command::Check(options)) => check(&cli.options, &options).await,
        Some(Command::Once(options)) => once(&cli.options, &options).await,
        Some(Command::Devices(options)) => devices(&cli.options, *options).await,
        #[cfg(feature = "simulator")]
        Some(Command::Demo) => simulator::demo(&cli.options).await,
        #[cfg(feature = "simulator")]
        Some(Command::Simulate(options)) => simulator::simulate(options).await,
        Some(Command::Health(options)) => health(options).await,
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wickr-exporter", &mut script);
            print(&script)
        }
        Some(Command::Man) => man(),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // Standard error may be closed; the exit status remains.
            let _ = writeln!(io::stderr(), "{}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

async fn daemon(options: &GlobalOptions) -> Result<u8, Failure> {
    // Taken before the file is loaded, so that a change during the load is noticed.
    let digest = match options.auto_reload {
        true => Some(FileDigest::of(&options.config_file).await),
        false => None,
    };
    let (config, web_config) = (load(options).await, web_config(options).await);
    let (config, web_config) = both(config, web_config)?;
    let shutdown = shutdown::signals()?;
    let serving = serving(options, &config.web.listen, web_config).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("WICKR_EXPORTER_REVISION"),
        config = %options.config_file.display(),
        "starting"
    );
    let file = options.config_file.clone();
    let source = ConfigSource { file, digest };
    let daemon = Daemon::new(&config, Some(source), None, Clock::system())?;
    daemon.run(serving, shutdown).await?;
    Ok(SUCCESS)
}

async fn check(global: &GlobalOptions, options: &CheckOptions) -> Result<u8, Failure> {
    let web_config = web_config(global).await;
    if options.online {
        let (config, _) = both(load(global).await, web_config)?;
        let (text, successful) = app::check_online(&config).await?;
        print(text.as_bytes())?;
        return Ok(if successful { SUCCESS } else { RUNTIME_ERROR });
    }
    let (mut config, web_config) = both(read(global), web_config)?;
    // The region may come from instance metadata and the shard from the pod, so these are no errors.
    let mut notes = String::new();
    match app::resolve_environment(config.clone(), RegionLookup::Local).await {
        Ok(resolved) => config = resolved,
        Err(problems) => {
            for problem in problems {
                notes.push_str(&format!(
                    "Missing or invalid here, but required where the exporter runs:\n  {problem}\n\n"
                ));
            }
        }
    }
    if options.iam_policy {
        return iam_policies(&config);
    }
    let mut valid = format!("{} is valid.\n", global.config_file.display());
    if let (Some(path), Some(web_config)) = (&global.web_config_file, web_config) {
        valid.push_str(&format!("{} is valid: {}.\n", path.display(), web_config.summary()));
    }
    print(format!("{valid}\n{notes}{}", app::check(&config)).as_bytes())
}

/// Prints the policies. With several, standard error names the identity of each, so that standard output
/// contains only policies.
fn iam_policies(config: &Config) -> Result<u8, Failure> {
    let policies = app::iam_policies(config);
    let several = policies.len() > 1;
    for (identity, policy) in policies {
        let policy = serde_json::to_string_pretty(&policy)?;
        if several {
            let _ = writeln!(io::stderr(), "Policy of {identity}:");
        }
        print(format!("{policy}\n").as_bytes())?;
    }
    Ok(SUCCESS)
}

async fn once(global: &GlobalOptions, options: &OnceOptions) -> Result<u8, Failure> {
    let config = load(global).await?;
    let (outcome, text) = app::once(&config, Clock::system()).await?;
    match &options.output_file {
        Some(path) => app::write_atomically(path, &text, TEXTFILE_MODE)?,
        None => _ = print(&text)?,
    }
    Ok(status(outcome))
}

fn status(outcome: PollOutcome) -> u8 {
    match outcome {
        PollOutcome::AllRead => SUCCESS,
        PollOutcome::SomeRead => SOME_USERS_FAILED,
        PollOutcome::NoneRead => RUNTIME_ERROR,
    }
}

async fn devices(global: &GlobalOptions, options: DevicesOptions) -> Result<u8, Failure> {
    let format = options.format;
    let remote = options.from.as_deref().map(|url| {
        Remote::new(
            url,
            options.from_password_file.as_deref(),
            options.from_ca_file.as_deref(),
            options.from_cert_file.as_deref().zip(options.from_key_file.as_deref()),
        )
        .map_err(|message| Failure { message, status: INVALID_CONFIGURATION })
    });
    let remote = remote.transpose()?;
    let query = query(options);
    let report = match remote {
        Some(remote) => app::devices_from(&remote, &query, format).await?,
        None => app::devices(&load(global).await?, Clock::system(), &query, format).await?,
    };
    print(&report.text)?;
    for note in &report.notes {
        let _ = writeln!(io::stderr(), "{note}");
    }
    Ok(status(report.outcome))
}

fn query(options: DevicesOptions) -> Query {
    let filter = Filter {
        networks: options.networks,
        users: options.users,
        device_types: options.device_types,
        statuses: options.statuses,
        suspended: options.suspended.then_some(true),
        reset: options.reset.then_some(true),
        idle_over: options.idle_over,
        idle_up_to: options.idle_up_to,
        never_logged_in: options.never_logged_in.then_some(true),
        sso_expired: options.sso_expired.then_some(true),
        sso_expires_within: options.sso_expires_within,
        freshness: None,
    };
    Query { filter, limit: options.limit, page: 1, ..Query::default() }
}

async fn health(options: HealthOptions) -> Result<u8, Failure> {
    let response = app::health(HealthCheck {
        url: options.url,
        timeout: options.timeout,
        ca_file: options.ca_file.as_deref(),
        insecure: options.insecure,
    });
    print(format!("{}\n", response.await?).as_bytes())
}

fn man() -> Result<u8, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let main = clap_mangen::Man::new(command.clone());
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    main.render_options_section(&mut page)?;
    // A single page: a section for each command, with the options of that command only.
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let own = command.clone().mut_args(|arg| {
            let hidden = arg.is_global_set() || arg.get_id() == "help";
            arg.hide(hidden)
        });
        let about = command.get_long_about().or(command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SH \"COMMAND {}\"\n{about}", command.get_name().to_uppercase())?;
        let mut options = Vec::new();
        clap_mangen::Man::new(own).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replacen(".SH OPTIONS", ".PP", 1);
        page.extend_from_slice(options.as_bytes());
    }
    main.render_extra_section(&mut page)?;
    main.render_version_section(&mut page)?;
    print(&page)
}

/// The configuration without values from the environment.
fn read(options: &GlobalOptions) -> Result<Config, Failure> {
    config::load(&options.config_file).map_err(|error| invalid_configuration(options, error))
}

/// The configuration with values from the environment.
async fn load(options: &GlobalOptions) -> Result<Config, Failure> {
    app::load(&options.config_file).await.map_err(|error| invalid_configuration(options, error))
}

/// All problems, and a hint if the file does not exist.
fn invalid_configuration(options: &GlobalOptions, problems: impl Display) -> Failure {
    let mut message = problems.to_string();
    if !options.config_file.exists() {
        message.push_str("\nSee config.example.toml and set --config.file");
        message.push_str(if cfg!(feature = "simulator") {
            ", or run `wickr-exporter demo`, which needs no configuration."
        } else {
            "."
        });
    }
    Failure { message, status: INVALID_CONFIGURATION }
}

/// The web configuration, if the command line names one.
async fn web_config(options: &GlobalOptions) -> Result<Option<WebConfig>, Failure> {
    let Some(path) = &options.web_config_file else { return Ok(None) };
    let failure = |message| Failure { message, status: INVALID_CONFIGURATION };
    WebConfig::load(path).await.map(Some).map_err(failure)
}

/// Both values, or the failures of both.
fn both<A, B>(a: Result<A, Failure>, b: Result<B, Failure>) -> Result<(A, B), Failure> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => {
            let message = format!("{}\n{}", a.message, b.message);
            Err(Failure { message, status: a.status })
        }
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
    }
}

/// Listens on the sockets from systemd, or on the addresses of the command line or the configuration.
async fn serving(
    options: &GlobalOptions,
    configured: &[ListenAddress],
    web_config: Option<WebConfig>,
) -> Result<Serving, Failure> {
    let listeners = match options.systemd_socket {
        true => systemd_listeners()?,
        false => bind(options, configured).await?,
    };
    let external_url = options.external_url.clone();
    let external_path = external_url.as_ref().map(|url| url.path().clone());
    Ok(Serving {
        listeners,
        telemetry_path: options.telemetry_path.clone(),
        route_prefix: options.route_prefix.clone().or(external_path).unwrap_or_default(),
        external_url,
        lifecycle: options.enable_lifecycle,
        web_config,
    })
}

fn systemd_listeners() -> Result<Vec<Listener>, Failure> {
    let listeners = web::passed().map_err(|error| Failure {
        message: format!("--web.systemd-socket: {error}"),
        status: RUNTIME_ERROR,
    })?;
    if listeners.is_empty() {
        let message = "--web.systemd-socket: systemd passed no socket; start the .socket unit, or use \
                       --web.listen-address";
        return Err(Failure { message: message.into(), status: RUNTIME_ERROR });
    }
    Ok(listeners)
}

async fn bind(
    options: &GlobalOptions,
    configured: &[ListenAddress],
) -> Result<Vec<Listener>, Failure> {
    let addresses = if options.listen.is_empty() { configured } else { &options.listen };
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = web::bind(address.host.as_deref(), address.port).await;
        let listener =
            bound.map_err(|error| AppError::Listen { address: address.to_string(), error })?;
        listeners.push(listener.into());
    }
    Ok(listeners)
}

/// Prints to standard output. A closed pipe, as from `head`, is no failure.
fn print(text: &[u8]) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(SUCCESS),
    }
}
