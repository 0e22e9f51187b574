//! Log lines, on standard error.
//!
//! The levels mean: `error`, somebody must act or the exporter ends; `warn`, data is missing or
//! something is off; `info`, what happens at most a few times a poll; `debug`, single requests and
//! users; `trace`, all there is. Field names are stable. Nothing secret is logged at any level, and
//! for that reason other libraries never log below `warn`: some trace what they send.

use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// What happens a few times a poll.
    #[default]
    Info,
    /// Single requests and users.
    Debug,
    /// All there is.
    Trace,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// A JSON object a line.
    Json,
}

/// Starts logging for the whole process. Only the first call has an effect.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let filter =
        Targets::new().with_default(level.min(Level::WARN)).with_target("wickr_exporter", level);
    let lines = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .layer()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
    };
    // Tests start it more than once in one process; the first stays.
    if tracing_subscriber::registry().with(lines).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}
