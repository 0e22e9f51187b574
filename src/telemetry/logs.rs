//! Log lines on standard error.
//!
//! Levels: `error`, an operator must act or the exporter ends; `warn`, data is missing or wrong;
//! `info`, a few lines for each poll, and with `[log] changes` one for each change of a device;
//! `debug`, individual requests and users; `trace`, scrapes. Both formats have the same stable field
//! names: `ts`, `level`, `message`, then those of the event. No level logs a secret. Other libraries log
//! at `error` only, because some log what they send.
//!
//! `tracing-logfmt` 0.3.7 writes U+009B, U+007F and U+202E unescaped and unquoted, escapes others as
//! `\u{1b}`, which logfmt parsers reject, and has no option for milliseconds or quoted empty values.
//! The `json` format of `tracing-subscriber`, converted to logfmt and escaped here, takes 70 lines
//! instead of 78, but adds `tracing-serde` and `indexmap` and parses each JSON line again.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, filter::Targets, layer::Context, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{in_place, text::is_invisible};

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
        let mut line = Line::new(self.format, Timestamp::now(), *event.metadata().level());
        event.record(&mut line);
        // Standard error may be closed. There is no other place to report that.
        // A reader that has stopped delays only the tasks that log.
        in_place::run(|| {
            let _ = std::io::stderr().lock().write_all(line.finish().as_bytes());
        });
    }
}

/// A log line with the fields so far. The macros of `tracing` record the message first.
struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    fn new(format: LogFormat, time: Timestamp, level: Level) -> Line {
        let level = level.as_str().to_ascii_lowercase();
        let text = match format {
            LogFormat::Logfmt => format!("ts={time:.3} level={level}"),
            LogFormat::Json => format!(r#"{{"ts":"{time:.3}","level":"{level}""#),
        };
        Line { format, text }
    }

    fn push(&mut self, name: &str, value: impl Into<Value>) {
        let json = escaped(&value.into().to_string());
        // Writing to a String cannot fail.
        let _ = match self.format {
            // Bare if possible. Logfmt parsers accept JSON escapes in quoted values.
            LogFormat::Logfmt if json != r#""""# && !json.contains([' ', '=', '\\']) => {
                write!(self.text, " {name}={}", json.trim_matches('"'))
            }
            LogFormat::Logfmt => write!(self.text, " {name}={json}"),
            LogFormat::Json => write!(self.text, r#","{name}":{json}"#),
        };
    }

    fn finish(self) -> String {
        self.text + if self.format == LogFormat::Json { "}\n" } else { "\n" }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), value);
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
                let mut line = Line::new(format, Timestamp::UNIX_EPOCH, Level::WARN);
                line.push("message", bad);
                line.push("error", bad);
                let line = line.finish();
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
        let time = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let mut line = Line::new(format, time, Level::WARN);
        line.push("message", "it's \"done\"\n");
        line.push("network_id", "12345678");
        line.push("users", 2);
        line.push("seconds", 0.25);
        line.push("empty", "");
        line.push("path", "/a=b");
        line.push("early", true);
        line.finish()
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
