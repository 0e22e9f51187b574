//! The command line. Flags follow the Prometheus exporters; `commands` carries them out.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use reqwest::Url;

use crate::{
    app::Print,
    config::ListenAddress,
    simulator::{Count, Fault, Latency, TimestampForm},
    telemetry::{LogFormat, LogLevel},
    web::TelemetryPath,
    wickr::{NetworkId, UserId},
};

/// A Prometheus exporter for the devices of AWS Wickr networks.
///
/// Without a command it runs the daemon: it polls the Wickr Admin API for the devices of the
/// configured users and serves what it finds on /metrics.
#[derive(Debug, Parser)]
#[command(
    name = "wickr-exporter",
    version,
    after_help = "\
Exit status: 0 good, 1 the service or the machine refused, 2 bad configuration or arguments,
3 (once, devices) some users could not be read.

Start with `wickr-exporter demo`: it needs no AWS account and no configuration."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration.
    #[command(flatten)]
    pub options: GlobalOptions,
}

/// What holds for every command that can use it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct GlobalOptions {
    /// The configuration, in TOML
    #[arg(long = "config.file", value_name = "PATH", default_value = "config.toml", global = true)]
    pub config_file: PathBuf,
    /// Where to listen, host:port or :port; repeatable, beats web.listen of the configuration
    ///
    /// [default: :10471, and 127.0.0.1:10471 for the demo]
    #[arg(long = "web.listen-address", value_name = "ADDR", global = true)]
    pub listen: Vec<ListenAddress>,
    /// The path of the metrics
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics",
        global = true
    )]
    pub telemetry_path: TelemetryPath,
    /// TLS, passwords and client certificates, in the format of the Prometheus exporter-toolkit
    #[arg(long = "web.config.file", value_name = "PATH", global = true)]
    pub web_config_file: Option<PathBuf>,
    /// Listen on the sockets that systemd passes, and on no others
    #[arg(long = "web.systemd-socket", global = true, conflicts_with = "listen")]
    pub systemd_socket: bool,
    /// Allow POST /-/reload
    #[arg(long = "web.enable-lifecycle", global = true)]
    pub enable_lifecycle: bool,
    /// Reload the configuration when the file's content changes
    #[arg(long = "config.enable-auto-reload", global = true)]
    pub auto_reload: bool,
    /// How much to log, on standard error
    ///
    /// [default: info, and warn for the demo]
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, global = true)]
    pub log_level: Option<LogLevel>,
    /// How log lines are written
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        value_enum,
        default_value = "logfmt",
        global = true
    )]
    pub log_format: LogFormat,
}

/// What to do instead of running the daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate the configuration and say what it would do and cost
    Check(CheckOptions),
    /// Poll everything once and print the metrics
    ///
    /// For scripts, and with --output.file for the node exporter's textfile collector. Exit status:
    /// 0 all users were read, 3 some were not, 1 none was, 2 bad configuration.
    Once(OnceOptions),
    /// Poll everything once and list the devices, most idle first
    ///
    /// Or list them as an exporter that runs knows them, with --from. In the table, the column SSO
    /// says expired, - for within the limit or no limit, and ? where the limit is not known. Exit
    /// status as of once: 0 all users were read, 3 some were not, 1 none was, 2 bad configuration or
    /// arguments.
    Devices(Box<DevicesOptions>),
    /// Run the daemon on a simulated Wickr: no AWS account, no configuration
    Demo,
    /// Run the simulated Wickr Admin API alone, for any AWS SDK
    Simulate(SimulateOptions),
    /// Ask a running exporter whether it is well
    ///
    /// For images, which hold no other program that could. Exit status: 0 it is, 1 it is not, or
    /// does not answer.
    Health(HealthOptions),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Also sign in and read one page from each network
    #[arg(long)]
    pub online: bool,
    /// Print the least IAM policy that the configuration needs, and nothing else
    ///
    /// Where roles are assumed, there are several: first that of the identity that assumes them,
    /// then each role's, with whose it is on standard error.
    #[arg(long, conflicts_with = "online")]
    pub iam_policy: bool,
}

/// Options of `once`.
#[derive(Debug, Args)]
pub struct OnceOptions {
    /// Write to this file, at once or not at all, instead of standard output
    #[arg(long = "output.file", value_name = "PATH")]
    pub output_file: Option<PathBuf>,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct HealthOptions {
    /// What to ask: /-/healthy, which an address without a path stands for, or /-/ready
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:10471/-/healthy")]
    pub url: Url,
    /// Certificates in PEM that the exporter's has to be signed by, instead of a public authority
    #[arg(long = "ca.file", value_name = "PATH", conflicts_with = "insecure")]
    pub authorities: Option<PathBuf>,
    /// Take any certificate: for an exporter on the same machine
    #[arg(long)]
    pub insecure: bool,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Options of `devices`.
#[derive(Debug, Args)]
pub struct DevicesOptions {
    /// Only devices that nobody has logged in on for longer than this, such as 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle_over: Option<Duration>,
    /// Only devices that somebody has logged in on within this time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle_up_to: Option<Duration>,
    /// Only devices of this type, repeatable
    #[arg(long = "type", value_name = "TYPE")]
    pub device_types: Vec<String>,
    /// Only devices of this status, repeatable
    #[arg(long = "status", value_name = "STATUS")]
    pub statuses: Vec<String>,
    /// Only suspended devices
    #[arg(long)]
    pub suspended: bool,
    /// Only devices that are marked for reset
    #[arg(long)]
    pub reset: bool,
    /// Only devices that nobody ever logged in on
    #[arg(long)]
    pub never_logged_in: bool,
    /// Only devices that are idle for longer than their user's SSO sessions may be
    #[arg(long)]
    pub sso_expired: bool,
    /// Only this network, by its id, repeatable; no other is polled
    #[arg(long = "network", value_name = "ID")]
    pub networks: Vec<NetworkId>,
    /// Only this user, by its id, repeatable
    #[arg(long = "user", value_name = "ID")]
    pub users: Vec<UserId>,
    /// At most so many devices
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub limit: Option<usize>,
    /// How the list is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Print::Table)]
    pub format: Print,
    /// Ask the exporter that runs at this address instead of polling, such as http://localhost:10471
    ///
    /// A name and a password may stand in it, as in https://NAME:PASSWORD@HOST, where others on
    /// this machine can see them; --from-password-file hides the latter.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// A file that holds the password for --from
    #[arg(long, value_name = "PATH", requires = "from")]
    pub from_password_file: Option<PathBuf>,
    /// A file of certificates in PEM, which alone are trusted for --from
    #[arg(long, value_name = "PATH", requires = "from")]
    pub from_ca_file: Option<PathBuf>,
    /// A file that holds a client certificate in PEM to show to --from
    #[arg(long, value_name = "PATH", requires_all = ["from", "from_key_file"])]
    pub from_cert_file: Option<PathBuf>,
    /// A file that holds the key of --from-cert-file, in PEM
    #[arg(long, value_name = "PATH", requires_all = ["from", "from_cert_file"])]
    pub from_key_file: Option<PathBuf>,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateOptions {
    /// Loopback address to listen on; port 0 selects a free port
    // The global options already use the id `listen`.
    #[arg(long = "listen", value_name = "ADDR", default_value = "127.0.0.1:10472")]
    pub address: SocketAddr,
    /// Number of networks
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub networks: u32,
    /// Users per network
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub users: u32,
    /// Devices per user: a number or a range, such as 0..250
    #[arg(long, value_name = "COUNT", default_value = "0..8")]
    pub devices_per_user: Count,
    /// Delay of each response: a duration or a range, such as 10ms..80ms
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pub latency: Latency,
    /// Requests a second; further requests get 429 [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub rate_limit: Option<f64>,
    /// Fault to inject, repeatable: KIND, KIND:VALUE or KIND,KEY=VALUE,...
    ///
    /// Kinds: 400 to 599, error, unauthorized, forbidden, expired-token, hang, reset, close,
    /// truncate, endless, drip, nonsense, html, redirect, slow:TIME, skew:TIME, refuse-token,
    /// repeat-token, endless-pages. Keys that select requests: op, network, user, page, p
    /// (probability), after, times. Example: 429:retry-after=2,p=0.1
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Fault>,
    /// Changes to devices a second: logins, additions, removals, suspensions
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = not_negative)]
    pub churn: f64,
    /// Seed of the random numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// The region that requests must be signed for
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub region: String,
    /// Timestamp format: documented, epoch-seconds, epoch-seconds-number, epoch-millis,
    /// epoch-millis-number, rfc3339 or plain
    #[arg(long, value_name = "FORM", default_value = "documented")]
    pub timestamps: TimestampForm,
    /// Probability from 0 to 1 that a page is short or empty although another follows
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = probability)]
    pub empty_pages: f64,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| "is not a number".into())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|n| if n > 0.0 { Ok(n) } else { Err("must be above 0".into()) })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be a whole number above 0".into())
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text).and_then(|n| if n >= 0.0 { Ok(n) } else { Err("must not be below 0".into()) })
}

fn probability(text: &str) -> Result<f64, String> {
    number(text).and_then(|n| {
        if (0.0..=1.0).contains(&n) { Ok(n) } else { Err("must be from 0 to 1".into()) }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_or_after_the_command() {
        for arguments in [
            ["wickr-exporter", "--config.file=x", "check"],
            ["wickr-exporter", "check", "--config.file=x"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.options.config_file, PathBuf::from("x"));
            assert!(matches!(cli.command, Some(Command::Check(_))));
        }
    }

    #[test]
    fn options_of_commands_do_not_clash_with_the_global_ones() {
        let cli = Cli::try_parse_from(["wickr-exporter", "simulate", "--listen=127.0.0.1:1"]);
        let Some(Command::Simulate(options)) = cli.unwrap().command else { panic!("simulate") };
        assert_eq!(options.address.port(), 1);
    }
}
