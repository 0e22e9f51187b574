//! Log lines, on standard error.
//!
//! The levels mean: `error`, somebody must act or the exporter ends; `warn`, data is missing or
//! something is off; `info`, what happens at most a few times a poll; `debug`, single requests and
//! users; `trace`, scrapes too. Field names are stable and the same in both formats: `ts`, `level`,
//! `message`, then the line's own. Nothing secret is logged at any level, and for that reason other
//! libraries are heard at `error` only: some tell what they send.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use jiff::Timestamp;
use serde_json::{Map, Number, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, filter::Targets, layer::Context, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::query::is_invisible;

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
    /// Scrapes too.
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
    let filter = Targets::new().with_default(Level::ERROR).with_target("wickr_exporter", level);
    let lines = Lines { format }.with_filter(filter);
    // Tests start it more than once in one process; the first stays.
    if tracing_subscriber::registry().with(lines).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Writes each event as a line.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = fields.line(self.format, Timestamp::now(), *event.metadata().level());
        // Nobody may be reading, and there is nowhere else to say so.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// An event's message and fields, in the order in which they were written.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn line(self, format: LogFormat, at: Timestamp, level: Level) -> String {
        let level = level.as_str().to_ascii_lowercase();
        let first = [
            ("ts", Value::String(format!("{at:.3}"))),
            ("level", Value::String(level)),
            ("message", Value::String(self.message)),
        ];
        let all = first.into_iter().chain(self.others);
        match format {
            LogFormat::Json => {
                let object: Map<_, _> = all.map(|(name, value)| (name.to_owned(), value)).collect();
                format!("{}\n", harmless(Value::Object(object).to_string()))
            }
            LogFormat::Logfmt => {
                let mut line = String::new();
                for (name, value) in all {
                    if !line.is_empty() {
                        line.push(' ');
                    }
                    // Writing to a String cannot fail.
                    let _ = write!(line, "{name}={}", logfmt(&value));
                }
                line.push('\n');
                line
            }
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
}

/// A value as logfmt has it: bare where it can be, else quoted with JSON's escapes, which all
/// readers of logfmt know.
fn logfmt(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let bare = |c: char| c > ' ' && c != '"' && c != '=' && c != '\\' && !is_invisible(c);
    if !text.is_empty() && text.chars().all(bare) {
        text.clone()
    } else {
        harmless(value.to_string())
    }
}

/// JSON in which whatever would steer a terminal or turn the reading direction about is escaped. JSON
/// itself asks that only of the first 32 characters; where others stand, they stand in texts.
fn harmless(json: String) -> String {
    if !json.contains(is_invisible) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_can_be_had_back() {
        for bad in ["\u{1b}[2J", "\u{9b}2J", "\u{7f}", "a\nb", "\u{202e}x", "\u{2028}", "\u{e0041}"]
        {
            for format in [LogFormat::Logfmt, LogFormat::Json] {
                let others = vec![("why", Value::from(bad))];
                let fields = Fields { message: bad.into(), others };
                let line = fields.line(format, Timestamp::UNIX_EPOCH, Level::WARN);
                let text = line.strip_suffix('\n').unwrap();
                assert!(!text.contains(is_invisible), "{text:?}");
                let quoted = match format {
                    LogFormat::Json => serde_json::from_str::<Value>(text).unwrap()["why"].clone(),
                    LogFormat::Logfmt => {
                        serde_json::from_str(text.split_once(" why=").unwrap().1).unwrap()
                    }
                };
                assert_eq!(quoted, bad, "{text:?}");
            }
        }
    }

    fn line(format: LogFormat) -> String {
        let fields = Fields {
            message: "it's \"done\"\n".into(),
            others: vec![
                ("network_id", "12345678".into()),
                ("users", 2.into()),
                ("seconds", 0.25.into()),
                ("empty", "".into()),
                ("path", "/a=b".into()),
                ("early", true.into()),
            ],
        };
        fields.line(format, "2026-01-02T03:04:05.678Z".parse().unwrap(), Level::WARN)
    }

    #[test]
    fn both_formats_have_the_same_fields() {
        assert_eq!(
            line(LogFormat::Logfmt),
            "ts=2026-01-02T03:04:05.678Z level=warn message=\"it's \\\"done\\\"\\n\" \
             network_id=12345678 users=2 seconds=0.25 empty=\"\" path=\"/a=b\" early=true\n"
        );
        let json: Value = serde_json::from_str(&line(LogFormat::Json)).unwrap();
        assert_eq!(json["message"], "it's \"done\"\n");
        assert_eq!((&json["level"], &json["users"]), (&"warn".into(), &2.into()));
        assert_eq!(json["ts"], "2026-01-02T03:04:05.678Z");
        assert_eq!(json.as_object().unwrap().len(), 9);
    }
}
