//! Log lines on standard error.
//!
//! Levels: `error`, an operator must act or the exporter ends; `warn`, data is missing or wrong;
//! `info`, a few lines for each poll; `debug`, single requests and users; `trace`, scrapes. Both
//! formats have the same stable field names: `ts`, `level`, `message`, then those of the event. No
//! level logs a secret. Other libraries log at `error` only, because some log what they send.

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

use crate::text::is_invisible;

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also a few lines for each poll.
    #[default]
    Info,
    /// Also single requests and users.
    Debug,
    /// Also scrapes.
    Trace,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object for each line.
    Json,
}

/// Starts logging for the process. Only the first call has an effect.
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
    // It fails only if logging has started, as in tests.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

#[derive(Debug)]
struct Lines {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = fields.line(self.format, Timestamp::now(), *event.metadata().level());
        // Standard error may be closed. There is no other place to report that.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The message and fields of an event, in source order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn line(self, format: LogFormat, time: Timestamp, level: Level) -> String {
        let level = level.as_str().to_ascii_lowercase();
        let first = [
            ("ts", Value::String(format!("{time:.3}"))),
            ("level", Value::String(level)),
            ("message", Value::String(self.message)),
        ];
        let all = first.into_iter().chain(self.rest);
        match format {
            LogFormat::Json => {
                let object: Map<_, _> = all.map(|(name, value)| (name.to_owned(), value)).collect();
                format!("{}\n", escaped(&Value::Object(object).to_string()))
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

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
}

/// A logfmt value: bare if possible, otherwise quoted with JSON escapes, which logfmt parsers accept.
fn logfmt(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let bare = |c: char| c > ' ' && c != '"' && c != '=' && c != '\\' && !is_invisible(c);
    if !text.is_empty() && text.chars().all(bare) {
        text.clone()
    } else {
        escaped(&value.to_string())
    }
}

/// JSON with all invisible characters escaped, so that no value controls a terminal or changes the text
/// direction. JSON requires escapes only below U+0020. Others occur only in strings.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
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
    fn escapes_invisible_characters_reversibly() {
        for bad in ["\u{1b}[2J", "\u{9b}2J", "\u{7f}", "a\nb", "\u{202e}x", "\u{2028}", "\u{e0041}"]
        {
            for format in [LogFormat::Logfmt, LogFormat::Json] {
                let rest = vec![("error", Value::from(bad))];
                let fields = Fields { message: bad.into(), rest };
                let line = fields.line(format, Timestamp::UNIX_EPOCH, Level::WARN);
                let text = line.strip_suffix('\n').unwrap();
                assert!(!text.contains(is_invisible), "{text:?}");
                let parsed = match format {
                    LogFormat::Json => {
                        serde_json::from_str::<Value>(text).unwrap()["error"].clone()
                    }
                    LogFormat::Logfmt => {
                        serde_json::from_str(text.split_once(" error=").unwrap().1).unwrap()
                    }
                };
                assert_eq!(parsed, bad, "{text:?}");
            }
        }
    }

    fn line(format: LogFormat) -> String {
        let fields = Fields {
            message: "it's \"done\"\n".into(),
            rest: vec![
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
