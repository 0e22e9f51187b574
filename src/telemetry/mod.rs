//! What the exporter tells of itself: log lines (`logs`) and its own metrics (`metrics`).

mod logs;
mod metrics;

pub use logs::{LogFormat, LogLevel, start as start_logs};
pub use metrics::{Metrics, Refusal};
