//! What each command does: arguments in, the app, an exit status out.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::CommandFactory;
use tokio::net::TcpListener;

use crate::{
    app::{self, AppError, Content, Daemon, Origin, Outcome, Question, Regions, Remote, Serving},
    cli::{
        CheckOptions, Cli, Command, DevicesOptions, GlobalOptions, HealthOptions, OnceOptions,
        SimulateOptions,
    },
    clock::Clock,
    config::{self, Config, ListenAddress},
    query::{Filter, Query},
    shutdown, simulator,
    telemetry::{self, LogLevel},
    web::{self, WebConfig},
};

/// Everything went well.
const GOOD: u8 = 0;
/// The service or the machine refused.
const REFUSED: u8 = 1;
/// The configuration is bad. `clap` ends with it too when arguments are.
const BAD_CONFIGURATION: u8 = 2;
/// Some users could not be read.
const SOME_FAILED: u8 = 3;

/// The node exporter, which reads such a file, runs as somebody else.
const TEXTFILE_MODE: u32 = 0o644;

/// A command that ends without success: what to say, and the exit status.
struct Failure {
    message: String,
    status: u8,
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Failure {
        Failure { message: error.to_string(), status: REFUSED }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { message: error.to_string(), status: REFUSED }
    }
}

/// Carries out what the command line says.
pub async fn run(cli: Cli) -> ExitCode {
    let demo = matches!(cli.command, Some(Command::Demo));
    let level = cli.options.log_level.unwrap_or(if demo { LogLevel::Warn } else { LogLevel::Info });
    telemetry::start_logs(level, cli.options.log_format);
    telemetry::watch_panics();
    let done = match cli.command {
        None => daemon(&cli.options).await,
        Some(Command::Check(options)) => check(&cli.options, &options).await,
        Some(Command::Once(options)) => once(&cli.options, &options).await,
        Some(Command::Devices(wanted)) => devices(&cli.options, *wanted).await,
        Some(Command::Demo) => demo_command(&cli.options).await,
        Some(Command::Simulate(options)) => simulate(options).await,
        Some(Command::Health(options)) => health(options).await,
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wickr-exporter", &mut script);
            print(&script)
        }
        Some(Command::Man) => man(),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // Nobody may be reading; the status tells it all the same.
            let _ = writeln!(io::stderr(), "{}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

async fn daemon(options: &GlobalOptions) -> Result<u8, Failure> {
    // Before it is loaded, so that a change that comes meanwhile is seen as one.
    let watch = match options.auto_reload {
        true => Some(Content::of(&options.config_file).await),
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
    let daemon = Daemon::new(&config, Some(Origin { file, watch }), None, Clock::System)?;
    daemon.run(serving, shutdown).await?;
    Ok(GOOD)
}

async fn check(options: &GlobalOptions, wanted: &CheckOptions) -> Result<u8, Failure> {
    let web_config = web_config(options).await;
    if wanted.online {
        let (config, _) = both(load(options).await, web_config)?;
        let (text, good) = app::check_online(&config).await?;
        print(text.as_bytes())?;
        return Ok(if good { GOOD } else { REFUSED });
    }
    let (mut config, web_config) = both(read(options), web_config)?;
    // A region that only the instance knows, or a shard that only its pod does, is no mistake here.
    let mut notes = String::new();
    match app::completed(config.clone(), Regions::Local).await {
        Ok(completed) => config = completed,
        Err(problems) => {
            for problem in problems {
                notes.push_str(&format!(
                    "Not known here, and needed where it runs:\n  {problem}\n\n"
                ));
            }
        }
    }
    if wanted.iam_policy {
        return iam_policies(&config);
    }
    let path = options.config_file.display();
    let mut good = format!("{path} is good.\n");
    if let (Some(path), Some(web_config)) = (&options.web_config_file, web_config) {
        good.push_str(&format!("{} is good: {}.\n", path.display(), web_config.summary()));
    }
    print(format!("{good}\n{notes}{}", app::check(&config)).as_bytes())
}

/// Prints the policies, each ready to be pasted. Where there are several, whose each one is stands
/// before it, on standard error, for it is no part of it.
fn iam_policies(config: &Config) -> Result<u8, Failure> {
    let policies = app::iam_policies(config);
    let several = policies.len() > 1;
    for (identity, policy) in policies {
        let policy = serde_json::to_string_pretty(&policy);
        let policy = policy.map_err(|error| AppError::Setup(error.to_string()))?;
        if several {
            // Nobody may be reading.
            let _ = writeln!(io::stderr(), "The policy of {identity}:");
        }
        print(format!("{policy}\n").as_bytes())?;
    }
    Ok(GOOD)
}

async fn once(options: &GlobalOptions, wanted: &OnceOptions) -> Result<u8, Failure> {
    let config = load(options).await?;
    let (outcome, text) = app::once(&config, Clock::System).await?;
    match &wanted.output_file {
        Some(path) => app::write_atomically(path, &text, TEXTFILE_MODE)?,
        None => _ = print(&text)?,
    }
    Ok(status(outcome))
}

fn status(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::AllRead => GOOD,
        Outcome::SomeRead => SOME_FAILED,
        Outcome::NoneRead => REFUSED,
    }
}

async fn devices(options: &GlobalOptions, wanted: DevicesOptions) -> Result<u8, Failure> {
    let print_as = wanted.format;
    let from = wanted.from.as_deref().map(|address| {
        let remote = Remote::new(
            address,
            wanted.from_password_file.as_deref(),
            wanted.from_ca_file.as_deref(),
            wanted.from_cert_file.as_deref().zip(wanted.from_key_file.as_deref()),
        );
        remote.map_err(|message| Failure { message, status: BAD_CONFIGURATION })
    });
    let from = from.transpose()?;
    let query = query(wanted);
    let list = match from {
        Some(remote) => app::devices_from(&remote, &query, print_as).await?,
        None => app::devices(&load(options).await?, Clock::System, &query, print_as).await?,
    };
    print(&list.text)?;
    for note in &list.notes {
        // Nobody may be reading; the status tells it all the same.
        let _ = writeln!(io::stderr(), "{note}");
    }
    Ok(status(list.outcome))
}

fn query(wanted: DevicesOptions) -> Query {
    let filter = Filter {
        networks: wanted.networks,
        users: wanted.users,
        device_types: wanted.device_types,
        statuses: wanted.statuses,
        suspended: wanted.suspended.then_some(true),
        reset: wanted.reset.then_some(true),
        idle_over: wanted.idle_over,
        idle_up_to: wanted.idle_up_to,
        never_logged_in: wanted.never_logged_in.then_some(true),
        sso_expired: wanted.sso_expired.then_some(true),
        freshness: None,
    };
    Query { filter, limit: wanted.limit, page: 1, ..Query::default() }
}

async fn demo_command(options: &GlobalOptions) -> Result<u8, Failure> {
    let shutdown = shutdown::signals()?;
    // A demo is for who sits at this machine.
    let loopback = [ListenAddress { host: Some("127.0.0.1".into()), port: 10471 }];
    let serving = serving(options, &loopback, web_config(options).await?).await?;
    app::demo(serving, shutdown).await?;
    Ok(GOOD)
}

async fn simulate(options: SimulateOptions) -> Result<u8, Failure> {
    let address = options.address;
    if !address.ip().is_loopback() {
        return Err(Failure {
            message: "--listen: must be a loopback address".into(),
            status: BAD_CONFIGURATION,
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
    Ok(GOOD)
}

async fn health(options: HealthOptions) -> Result<u8, Failure> {
    let answer = app::health(Question {
        url: options.url,
        timeout: options.timeout,
        authorities: options.authorities.as_deref(),
        insecure: options.insecure,
    });
    print(format!("{}\n", answer.await?).as_bytes())
}

fn man() -> Result<u8, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let whole = clap_mangen::Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    // One page for all, so the commands follow with what is theirs alone.
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let own = command.clone().mut_args(|arg| {
            let foreign = arg.is_global_set() || arg.get_id() == "help";
            arg.hide(foreign)
        });
        let about = command.get_long_about().or(command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SH \"COMMAND {}\"\n{about}", command.get_name().to_uppercase())?;
        let mut options = Vec::new();
        clap_mangen::Man::new(own).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replacen(".SH OPTIONS", ".PP", 1);
        page.extend_from_slice(options.as_bytes());
    }
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    print(&page)
}

/// The configuration as the file has it.
fn read(options: &GlobalOptions) -> Result<Config, Failure> {
    config::load(&options.config_file).map_err(|error| bad_configuration(options, error))
}

/// The configuration with what its file leaves to the environment.
async fn load(options: &GlobalOptions) -> Result<Config, Failure> {
    app::load(&options.config_file).await.map_err(|error| bad_configuration(options, error))
}

/// What is wrong, and for who has no file yet, where to go from here.
fn bad_configuration(options: &GlobalOptions, problems: impl Display) -> Failure {
    let mut message = problems.to_string();
    if !options.config_file.exists() {
        message.push_str(
            "\nconfig.example.toml shows how to write one, --config.file names another, and \
             `wickr-exporter demo` needs none.",
        );
    }
    Failure { message, status: BAD_CONFIGURATION }
}

/// What the web configuration says, if one is named.
async fn web_config(options: &GlobalOptions) -> Result<Option<WebConfig>, Failure> {
    let Some(path) = &options.web_config_file else { return Ok(None) };
    let bad = |message| Failure { message, status: BAD_CONFIGURATION };
    WebConfig::load(path).await.map(Some).map_err(bad)
}

/// Both, or what is wrong with either.
fn both<A, B>(one: Result<A, Failure>, other: Result<B, Failure>) -> Result<(A, B), Failure> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => {
            let message = format!("{}\n{}", one.message, other.message);
            Err(Failure { message, status: one.status })
        }
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
    }
}

/// Binds the addresses of the command line, else those of the configuration; or takes what systemd
/// has bound.
async fn serving(
    options: &GlobalOptions,
    configured: &[ListenAddress],
    web_config: Option<WebConfig>,
) -> Result<Serving, Failure> {
    let listeners = match options.systemd_socket {
        true => passed()?,
        false => bound(options, configured).await?,
    };
    let telemetry_path = options.telemetry_path.clone();
    Ok(Serving { listeners, telemetry_path, lifecycle: options.enable_lifecycle, web_config })
}

fn passed() -> Result<Vec<TcpListener>, Failure> {
    let listeners = web::passed().map_err(|error| Failure {
        message: format!("--web.systemd-socket: cannot listen on a socket from systemd: {error}"),
        status: REFUSED,
    })?;
    if listeners.is_empty() {
        let message = "--web.systemd-socket: systemd has passed no socket to this process; \
                       start it by its .socket unit, or use --web.listen-address";
        return Err(Failure { message: message.into(), status: REFUSED });
    }
    Ok(listeners)
}

async fn bound(
    options: &GlobalOptions,
    configured: &[ListenAddress],
) -> Result<Vec<TcpListener>, Failure> {
    let addresses = if options.listen.is_empty() { configured } else { &options.listen };
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = web::bind(address.host.as_deref(), address.port).await;
        let listener =
            bound.map_err(|error| AppError::Listen { address: address.to_string(), error })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Prints to standard output. Whoever reads may have had enough, as `head` has.
fn print(text: &[u8]) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(GOOD),
    }
}
