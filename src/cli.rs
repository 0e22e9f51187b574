//! The command line. Flags follow the Prometheus exporters. `commands` runs the commands.

#[cfg(feature = "simulator")]
mod simulate;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use reqwest::Url;

use crate::{
    app::OutputFormat,
    config::ListenAddress,
    telemetry::{LogFormat, LogLevel},
    web::{ExternalUrl, RoutePrefix, TelemetryPath},
    wickr::{NetworkId, UserId},
};

#[cfg(feature = "simulator")]
pub use simulate::SimulateOptions;

const AFTER_HELP: &str = if cfg!(feature = "simulator") {
    "\
Exit status: 0 success, 1 runtime error, 2 invalid configuration or arguments,
3 (once, devices) some users could not be read.

Start with `wickr-exporter demo`: it needs no AWS account and no configuration."
} else {
    "\
Exit status: 0 success, 1 runtime error, 2 invalid configuration or arguments,
3 (once, devices) some users could not be read."
};

/// A Prometheus exporter for the devices of AWS Wickr networks.
///
/// Without a command, it runs the daemon: it polls the Wickr Admin API for the devices of the
/// configured users and serves metrics on /metrics.
#[derive(Debug, Parser)]
#[command(
    name = "wickr-exporter",
    version,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// The command. Default: the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of all commands.
    #[command(flatten)]
    pub options: GlobalOptions,
}

/// Options of all commands. A command ignores those that do not apply to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct GlobalOptions {
    /// Configuration file, in TOML
    #[arg(long = "config.file", value_name = "PATH", default_value = "config.toml", global = true)]
    pub config_file: PathBuf,
    /// Address to listen on, host:port or :port; repeatable, overrides web.listen of the configuration
    ///
    /// [default: :10471, and 127.0.0.1:10471 for the demo]
    #[arg(long = "web.listen-address", value_name = "ADDR", global = true)]
    pub listen: Vec<ListenAddress>,
    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics",
        global = true
    )]
    pub telemetry_path: TelemetryPath,
    /// URL at which users reach the exporter, for example behind a proxy; links use it
    #[arg(long = "web.external-url", value_name = "URL", global = true)]
    pub external_url: Option<ExternalUrl>,
    /// Prefix of all paths of the HTTP server
    ///
    /// Set it to / if a proxy removes the path of --web.external-url. [default: the path of
    /// --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH", global = true)]
    pub route_prefix: Option<RoutePrefix>,
    /// File that configures TLS and authentication, in the format of the Prometheus exporter-toolkit
    #[arg(long = "web.config.file", value_name = "PATH", global = true)]
    pub web_config_file: Option<PathBuf>,
    /// Listen only on the sockets that systemd passes
    #[arg(long = "web.systemd-socket", global = true, conflicts_with = "listen")]
    pub systemd_socket: bool,
    /// Enable POST /-/reload
    #[arg(long = "web.enable-lifecycle", global = true)]
    pub enable_lifecycle: bool,
    /// Reload the configuration when the content of its file changes
    #[arg(long = "config.enable-auto-reload", global = true)]
    pub auto_reload: bool,
    /// Minimum level of log lines, which are written to standard error
    ///
    /// [default: info, and warn for the demo]
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, global = true)]
    pub log_level: Option<LogLevel>,
    /// Format of log lines
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        value_enum,
        default_value = "logfmt",
        global = true
    )]
    pub log_format: LogFormat,
}

/// A command other than the daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate the configuration and print a summary with the number of requests and series
    Check(CheckOptions),
    /// Poll all networks once and print the metrics
    ///
    /// For scripts, and with --output.file for the node exporter's textfile collector. Exit status:
    /// 0 all users read, 1 no user read, 2 invalid configuration, 3 some users not read.
    Once(OnceOptions),
    /// Poll all networks once and list the devices, most idle first
    ///
    /// With --from, list the devices that a running exporter knows. In the column SSO of the table,
    /// `expired` means idle for longer than the limit, `-` within the limit or no limit, and `?` an
    /// unknown limit. Exit status: 0 all users read, 1 no user read, 2 invalid configuration or arguments,
    /// 3 some users not read.
    Devices(Box<DevicesOptions>),
    /// Run the daemon against a simulated Wickr Admin API, without an AWS account or a configuration
    #[cfg(feature = "simulator")]
    Demo,
    /// Run only the simulated Wickr Admin API, for any AWS SDK
    #[cfg(feature = "simulator")]
    Simulate(SimulateOptions),
    /// Check whether a running exporter is healthy
    ///
    /// For the health checks of container images without a shell. Exit status: 0 healthy, 1 not
    /// healthy or no answer.
    Health(HealthOptions),
    /// Print a completion script for a shell
    Completions {
        /// Shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Also sign in, read one page from each network and run each collector
    #[arg(long)]
    pub online: bool,
    /// Print only the least-privilege IAM policy for the configuration
    ///
    /// If the configuration assumes roles, it prints a policy for each identity: first for the
    /// identities that assume roles, then for each role. Standard error names each identity.
    #[arg(long, conflicts_with = "online")]
    pub iam_policy: bool,
}

/// Options of `once`.
#[derive(Debug, Args)]
pub struct OnceOptions {
    /// Write to this file, atomically, instead of standard output
    #[arg(long = "output.file", value_name = "PATH")]
    pub output_file: Option<PathBuf>,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct HealthOptions {
    /// URL of /-/healthy or /-/ready; without a path, /-/healthy
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:10471/-/healthy")]
    pub url: Url,
    /// CA certificates in PEM that replace the public certificate authorities
    #[arg(long = "ca.file", value_name = "PATH", conflicts_with = "insecure")]
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate; only for an exporter on the same machine
    #[arg(long)]
    pub insecure: bool,
    /// Timeout for the response
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Options of `devices`.
#[derive(Debug, Args)]
pub struct DevicesOptions {
    /// Only devices without a login for longer than this, such as 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle_over: Option<Duration>,
    /// Only devices with a login within this time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle_up_to: Option<Duration>,
    /// Only devices of this type; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    pub device_types: Vec<String>,
    /// Only devices with this status; repeatable
    #[arg(long = "status", value_name = "STATUS")]
    pub statuses: Vec<String>,
    /// Only suspended devices
    #[arg(long)]
    pub suspended: bool,
    /// Only devices that are marked for reset
    #[arg(long)]
    pub reset: bool,
    /// Only devices without any login
    #[arg(long)]
    pub never_logged_in: bool,
    /// Only devices that have been idle for longer than the SSO limit of their user
    #[arg(long)]
    pub sso_expired: bool,
    /// Only devices whose SSO session has not expired and ends within this time, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub sso_expires_within: Option<Duration>,
    /// Only this network, by its id; repeatable. Other networks are not polled
    #[arg(long = "network", value_name = "ID")]
    pub networks: Vec<NetworkId>,
    /// Only this user, by its id; repeatable
    #[arg(long = "user", value_name = "ID")]
    pub users: Vec<UserId>,
    /// Maximum number of devices
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub limit: Option<usize>,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Read from a running exporter at this URL instead of polling, such as http://localhost:10471
    ///
    /// The URL can contain a username and a password, as in https://NAME:PASSWORD@HOST. Other users
    /// of this machine can see them. --from-password-file hides the password.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// File with the password for --from
    #[arg(long, value_name = "PATH", requires = "from")]
    pub from_password_file: Option<PathBuf>,
    /// File with CA certificates in PEM that replace the public certificate authorities for --from
    #[arg(long, value_name = "PATH", requires = "from")]
    pub from_ca_file: Option<PathBuf>,
    /// File with a client certificate in PEM for --from
    #[arg(long, value_name = "PATH", requires_all = ["from", "from_key_file"])]
    pub from_cert_file: Option<PathBuf>,
    /// File with the key of --from-cert-file, in PEM
    #[arg(long, value_name = "PATH", requires_all = ["from", "from_cert_file"])]
    pub from_key_file: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be an integer above 0".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn accepts_global_options_before_and_after_the_command() {
        for arguments in [
            ["wickr-exporter", "--config.file=x", "check"],
            ["wickr-exporter", "check", "--config.file=x"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.options.config_file, PathBuf::from("x"));
            assert!(matches!(cli.command, Some(Command::Check(_))));
        }
    }
}
