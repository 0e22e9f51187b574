//! The exporter's own signals: log lines (`logs`), metrics (`metrics`), and panics, which go into both
//! (`panics`).

mod logs;
mod metrics;
mod panics;

pub use logs::{LogFormat, LogLevel, start as start_logs};
pub use metrics::{Metrics, RejectionReason};
pub use panics::watch_panics;
