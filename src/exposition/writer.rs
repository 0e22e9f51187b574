//! Writes families and samples in either format, into a sink that takes them chunk by chunk.
//!
//! Everything that is exposed passes through here, so the two formats cannot drift apart. What they
//! differ in: OpenMetrics names a counter without its `_total`, knows a gaugehistogram whose sums
//! are `_gcount` and `_gsum`, states units, writes bounds as floats, and ends with `# EOF`.

use std::io::{self, Write};

use super::family::{Family, Kind};

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Bytes that are gathered before the sink gets them.
const CHUNK: usize = 64 * 1024;

/// Writes one exposition.
#[derive(Debug)]
pub(super) struct Writer<W> {
    format: Format,
    buffer: Vec<u8>,
    sink: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(format: Format, sink: W) -> Writer<W> {
        Writer { format, buffer: Vec::with_capacity(CHUNK + CHUNK / 4), sink }
    }

    /// Begins a family. Its header is written before its first sample, and not without one.
    pub(super) fn family(&mut self, family: &Family) -> FamilyWriter<'_, W> {
        self.named(family.name, family.help, family.kind)
    }

    /// Begins a family whose description comes from elsewhere.
    pub(super) fn named<'a>(
        &'a mut self,
        name: &'a str,
        help: &'a str,
        kind: Kind,
    ) -> FamilyWriter<'a, W> {
        let base = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        FamilyWriter { writer: self, name, base, help, kind, begun: false }
    }

    /// Ends the exposition and gives back the sink.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.format == Format::OpenMetrics {
            self.buffer.extend_from_slice(b"# EOF\n");
        }
        self.sink.write_all(&self.buffer)?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn put(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn line_ended(&mut self) -> io::Result<()> {
        if self.buffer.len() >= CHUNK {
            self.sink.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Writes the samples of one family.
#[derive(Debug)]
pub(super) struct FamilyWriter<'a, W> {
    writer: &'a mut Writer<W>,
    name: &'a str,
    /// The name in the header.
    base: &'a str,
    help: &'a str,
    kind: Kind,
    begun: bool,
}

impl<W: Write> FamilyWriter<'_, W> {
    /// Writes one sample.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn sample(&mut self, labels: &Labels, value: Value) -> io::Result<()> {
        self.line("", labels, None, value)
    }

    /// Writes one distribution: `at_most` pairs each bound with how many lie at or below it.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn histogram(
        &mut self,
        labels: &Labels,
        at_most: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: Value,
    ) -> io::Result<()> {
        for (bound, at_most) in at_most {
            self.line("_bucket", labels, Some(bound), Value::Count(at_most))?;
        }
        self.line("_bucket", labels, Some(f64::INFINITY), Value::Count(count))?;
        let (sum_suffix, count_suffix) = match (self.writer.format, self.kind) {
            (Format::OpenMetrics, Kind::GaugeHistogram) => ("_gsum", "_gcount"),
            _ => ("_sum", "_count"),
        };
        self.line(sum_suffix, labels, None, sum)?;
        self.line(count_suffix, labels, None, Value::Count(count))
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels,
        bound: Option<f64>,
        value: Value,
    ) -> io::Result<()> {
        if !self.begun {
            self.header();
            self.begun = true;
        }
        let writer = &mut *self.writer;
        writer.put(self.name);
        writer.put(suffix);
        if !labels.0.is_empty() || bound.is_some() {
            writer.put("{");
            writer.buffer.extend_from_slice(&labels.0);
            if let Some(bound) = bound {
                writer.put(if labels.0.is_empty() { "le=\"" } else { ",le=\"" });
                put_bound(&mut writer.buffer, bound, writer.format);
                writer.put("\"");
            }
            writer.put("}");
        }
        writer.put(" ");
        value.put(&mut writer.buffer);
        writer.put("\n");
        writer.line_ended()
    }

    fn header(&mut self) {
        let open = self.writer.format == Format::OpenMetrics;
        let kind = match self.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::GaugeHistogram if open => "gaugehistogram",
            Kind::GaugeHistogram | Kind::Histogram => "histogram",
        };
        let writer = &mut *self.writer;
        writer.put("# HELP ");
        writer.put(self.base);
        writer.put(" ");
        escape(&mut writer.buffer, self.help, open);
        writer.put("\n# TYPE ");
        writer.put(self.base);
        writer.put(" ");
        writer.put(kind);
        writer.put("\n");
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit.filter(|_| open) {
            writer.put("# UNIT ");
            writer.put(self.base);
            writer.put(" ");
            writer.put(unit);
            writer.put("\n");
        }
    }
}

/// Labels as they are written, without the braces.
///
/// It can be cut back to a former [`Labels::len`], so that what many series share is written once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels(Vec<u8>);

impl Labels {
    /// Labels of these names and values.
    pub(super) fn of(pairs: &[(&str, &str)]) -> Labels {
        Labels::default().with(pairs)
    }

    /// These and some more.
    pub(super) fn with(&self, pairs: &[(&str, &str)]) -> Labels {
        let mut labels = self.clone();
        for (name, value) in pairs {
            labels.push(name, value);
        }
        labels
    }

    /// Adds one.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"=\"");
        escape(&mut self.0, value, true);
        self.0.push(b'"');
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Cuts back to a former length.
    pub(super) fn cut(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Count(u64),
    /// Seconds, by the thousandth: a duration or a time.
    Millis(i64),
    /// Anything else.
    Float(f64),
}

impl From<bool> for Value {
    fn from(yes: bool) -> Value {
        Value::Count(yes.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl Value {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Value::Count(count) => {
                out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes())
            }
            Value::Millis(millis) => put_millis(out, millis),
            Value::Float(float) => put_float(out, float, false),
        }
    }
}

fn put_millis(out: &mut Vec<u8>, millis: i64) {
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    let fraction = millis % 1000;
    if fraction > 0 {
        let digit = |place: u64| b'0' + (fraction / place % 10) as u8;
        let figures = [b'.', digit(100), digit(10), digit(1)];
        let end = figures.iter().rposition(|figure| *figure != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&figures[..end]);
    }
}

/// The shortest text that reads back the same. A whole number gets its `.0` if asked for.
fn put_float(out: &mut Vec<u8>, float: f64, point: bool) {
    if float.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if float.is_infinite() {
        out.extend_from_slice(if float > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if float.fract() == 0.0 && float.abs() < 1e15 {
        out.extend_from_slice(itoa::Buffer::new().format(float as i64).as_bytes());
        if point {
            out.extend_from_slice(b".0");
        }
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes());
    }
}

/// A bucket's bound. OpenMetrics wants `1.0` where the text format has always had `1`.
fn put_bound(out: &mut Vec<u8>, bound: f64, format: Format) {
    put_float(out, bound, format == Format::OpenMetrics);
}

/// Escapes a label's value, or a help text. Quotes stay as they are in the text format's help.
fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value) -> String {
        let mut out = Vec::new();
        value.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_read_back_the_same() {
        for (value, text) in [
            (Value::Count(0), "0"),
            (Value::Count(u64::MAX), "18446744073709551615"),
            (Value::Millis(1_704_067_200_000), "1704067200"),
            (Value::Millis(1_704_067_200_120), "1704067200.12"),
            (Value::Millis(5), "0.005"),
            (Value::Millis(-1500), "-1.5"),
            (Value::Millis(0), "0"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(3.0), "3"),
            (Value::Float(-0.25), "-0.25"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Float(f64::INFINITY), "+Inf"),
            (Value::Float(f64::NEG_INFINITY), "-Inf"),
        ] {
            assert_eq!(written(value), text);
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let float = f64::from_bits(random.u64(..));
            if float.is_finite() {
                assert_eq!(written(Value::Float(float)).parse::<f64>().unwrap(), float);
            }
        }
    }

    #[test]
    fn labels_are_escaped_and_can_be_cut_back() {
        let mut labels = Labels::of(&[("a", "x\"y\\z\n{é}")]);
        let len = labels.len();
        labels.push("b", "");
        assert_eq!(String::from_utf8(labels.0.clone()).unwrap(), r#"a="x\"y\\z\n{é}",b="""#);
        labels.cut(len);
        assert_eq!(labels, Labels::of(&[("a", "x\"y\\z\n{é}")]));
    }

    #[test]
    fn a_sink_that_fails_ends_the_writing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = Writer::new(Format::Text, Gone);
        let mut family = writer.named("x", "X.", Kind::Gauge);
        let labels = Labels::of(&[("long", &"x".repeat(1000))]);
        let written =
            (0..1000).take_while(|_| family.sample(&labels, Value::Count(1)).is_ok()).count();
        assert!(written < 100, "{written}");
    }
}
