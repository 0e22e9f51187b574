//! The options of `simulate`.

use std::net::SocketAddr;

use clap::Args;

use crate::simulator::{Count, Fault, Latency, TimestampForm};

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateOptions {
    /// Loopback address to listen on; port 0 uses a free port
    // Not named `listen`: that id belongs to the global options.
    #[arg(long = "listen", value_name = "ADDR", default_value = "127.0.0.1:10472")]
    pub address: SocketAddr,
    /// Number of networks
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub networks: u32,
    /// Number of users in each network
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub users: u32,
    /// Number of devices of each user: a number or a range, such as 0..250
    #[arg(long, value_name = "COUNT", default_value = "0..8")]
    pub devices_per_user: Count,
    /// Latency of each response: a time or a range, such as 10ms..80ms
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pub latency: Latency,
    /// Requests per second above which the simulator returns 429 [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub rate_limit: Option<f64>,
    /// Fault to inject; repeatable: KIND, KIND:VALUE or KIND,KEY=VALUE,...
    ///
    /// Kinds: 400 to 599, error, unauthorized, forbidden, expired-token, hang, reset, close,
    /// truncate, endless, drip, nonsense, html, redirect, slow:TIME, skew:TIME, refuse-token,
    /// repeat-token, endless-pages. Keys that select requests: op, network, user, page, p
    /// (probability), after, times. For example: 429:retry-after=2,p=0.1
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Fault>,
    /// Changes per second: devices log in, appear, disappear and are suspended
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = not_negative)]
    pub churn: f64,
    /// Seed of the random number generator
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Region that requests must be signed for
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub region: String,
    /// Format of timestamps: documented, epoch-seconds, epoch-seconds-number, epoch-millis,
    /// epoch-millis-number, rfc3339 or plain
    #[arg(long, value_name = "FORM", default_value = "documented")]
    pub timestamps: TimestampForm,
    /// Probability from 0 to 1 that a page is short or empty although another page follows
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0, value_parser = probability)]
    pub empty_pages: f64,
}

fn number(text: &str, valid: fn(f64) -> bool, error: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n: &f64| n.is_finite() && valid(*n)).ok_or_else(|| error.into())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |n| n > 0.0, "must be a number above 0")
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |n| n >= 0.0, "must be a number of at least 0")
}

fn probability(text: &str) -> Result<f64, String> {
    number(text, |n| (0.0..=1.0).contains(&n), "must be a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command};

    #[test]
    fn simulate_has_its_own_listen_option() {
        let cli = Cli::try_parse_from(["wickr-exporter", "simulate", "--listen=127.0.0.1:1"]);
        let Some(Command::Simulate(options)) = cli.unwrap().command else { panic!("simulate") };
        assert_eq!(options.address.port(), 1);
    }
}
