//! Writes families and samples in either format, into a sink that takes them chunk by chunk.
//!
//! Everything that is exposed passes through here, so the two formats cannot drift apart. What they
//! differ in: OpenMetrics names a counter without its `_total`, knows a gaugehistogram whose sums
//! are `_gcount` and `_gsum`, states units, writes bounds as floats, and ends with `# EOF`.

use std::io;

use bytes::Bytes;

use super::{
    cache::{CompressionCache, Key},
    compression::{CompressedChunk, Compressor, Encoding},
    family::{Family, Kind},
    value::{Value, put_escaped, put_float},
};
use crate::clock::Millis;

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

/// Takes an exposition, chunk by chunk.
pub trait Sink {
    /// Takes a chunk, which is not empty.
    ///
    /// # Errors
    ///
    /// Whatever makes it useless to go on.
    fn take(&mut self, chunk: Bytes) -> io::Result<()>;
}

impl Sink for Vec<u8> {
    fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        self.extend_from_slice(&chunk);
        Ok(())
    }
}

/// Bytes of text that are gathered before they are sent or packed.
const CHUNK: usize = 64 * 1024;
/// A chunk, and the lines of one more user.
const ROOM: usize = CHUNK + CHUNK / 4;

/// Writes one exposition.
pub(super) struct Writer<'a, S> {
    format: Format,
    encoding: Encoding,
    packer: Option<Compressor>,
    kept: &'a CompressionCache,
    now: Millis,
    /// Text that was not sent yet.
    text: Vec<u8>,
    sink: &'a mut S,
}

impl<'a, S: Sink> Writer<'a, S> {
    /// A writer that has begun, of an exposition at `now`.
    ///
    /// # Errors
    ///
    /// The sink's, or the compressor's.
    pub(super) fn new(
        format: Format,
        encoding: Encoding,
        kept: &'a CompressionCache,
        now: Millis,
        sink: &'a mut S,
    ) -> io::Result<Writer<'a, S>> {
        let packer = Compressor::new(encoding)?;
        let text = Vec::with_capacity(ROOM);
        let mut writer = Writer { format, encoding, packer, kept, now, text, sink };
        let start = writer.packer.as_ref().map(Compressor::start);
        writer.send(start.unwrap_or_default())?;
        Ok(writer)
    }

    /// The encoding, where there is anything to pack.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Begins a family. Its header is written before its first sample, and not without one.
    pub(super) fn family(&mut self, family: &Family) -> FamilyWriter<'_, 'a, S> {
        self.named(family.name, family.help, family.kind)
    }

    /// Begins a family whose description comes from elsewhere.
    pub(super) fn named<'f>(
        &'f mut self,
        name: &'f str,
        help: &'f str,
        kind: Kind,
    ) -> FamilyWriter<'f, 'a, S> {
        let base = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        FamilyWriter { writer: self, name, base, help, kind, begun: false }
    }

    /// Ends the exposition.
    ///
    /// # Errors
    ///
    /// The sink's, or the compressor's.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::OpenMetrics {
            self.text.extend_from_slice(b"# EOF\n");
        }
        self.flush()?;
        let end = self.packer.take().map(Compressor::end);
        self.send(end.unwrap_or_default())
    }

    fn put(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// To be called between lines.
    fn pause(&mut self) -> io::Result<()> {
        if self.text.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let chunk = match &mut self.packer {
            None => std::mem::replace(&mut self.text, Vec::with_capacity(ROOM)).into(),
            Some(packer) => {
                let piece = packer.pack(&self.text, false)?;
                self.text.clear();
                packer.next(&piece)
            }
        };
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        if chunk.is_empty() { Ok(()) } else { self.sink.take(chunk) }
    }
}

/// Writes the samples of one family.
pub(super) struct FamilyWriter<'f, 'a, S> {
    writer: &'f mut Writer<'a, S>,
    name: &'f str,
    /// The name in the header.
    base: &'f str,
    help: &'f str,
    kind: Kind,
    begun: bool,
}

impl<S: Sink> FamilyWriter<'_, '_, S> {
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

    /// Writes the lines of many items, those of each by `write`, which may write none. The family
    /// must be one whose lines are the same in both formats.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub(super) fn lines<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Vec<u8>),
    ) -> io::Result<()> {
        for item in items {
            let before = self.writer.text.len();
            write(item, &mut self.writer.text);
            if self.writer.text.len() == before {
                continue;
            }
            if !self.begun {
                let lines = self.writer.text.split_off(before);
                self.begin();
                self.writer.text.extend_from_slice(&lines);
            }
            self.writer.pause()?;
        }
        Ok(())
    }

    /// Does as [`FamilyWriter::lines`], but where it packs, what was packed under this key before
    /// is used again.
    ///
    /// # Errors
    ///
    /// The sink's, or the compressor's.
    pub(super) fn kept_lines<T>(
        &mut self,
        key: Key,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Vec<u8>),
    ) -> io::Result<()> {
        let Writer { packer: Some(packer), kept, now, .. } = &mut *self.writer else {
            return self.lines(items, write);
        };
        let piece = kept.get(key, *now, || {
            let mut text = Vec::new();
            items.into_iter().for_each(|item| write(item, &mut text));
            packer.pack(&text, key.at.is_none())
        })?;
        if piece.is_empty() {
            return Ok(());
        }
        self.begin();
        self.writer.flush()?;
        self.send(&piece)
    }

    fn send(&mut self, piece: &CompressedChunk) -> io::Result<()> {
        let chunk = self.writer.packer.as_mut().map(|packer| packer.next(piece));
        self.writer.send(chunk.unwrap_or_default())
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels,
        bound: Option<f64>,
        value: Value,
    ) -> io::Result<()> {
        self.begin();
        let writer = &mut *self.writer;
        writer.put(self.name);
        writer.put(suffix);
        if !labels.0.is_empty() || bound.is_some() {
            writer.put("{");
            writer.text.extend_from_slice(&labels.0);
            if let Some(bound) = bound {
                writer.put(if labels.0.is_empty() { "le=\"" } else { ",le=\"" });
                // OpenMetrics wants `1.0` where the text format has always had `1`.
                put_float(&mut writer.text, bound, writer.format == Format::OpenMetrics);
                writer.put("\"");
            }
            writer.put("}");
        }
        writer.put(" ");
        value.put(&mut writer.text);
        writer.put("\n");
        writer.pause()
    }

    /// The header, unless it is there.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
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
        put_escaped(&mut writer.text, self.help, open);
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
        put_label(&mut self.0, name, value);
    }

    /// The text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Writes one label.
pub(super) fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    put_escaped(out, value, true);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let labels = Labels::of(&[("a", "x\"y\\z\n{é}"), ("b", "")]);
        assert_eq!(String::from_utf8(labels.0).unwrap(), r#"a="x\"y\\z\n{é}",b="""#);
    }

    #[test]
    fn a_sink_that_fails_ends_the_writing() {
        struct Gone;
        impl Sink for Gone {
            fn take(&mut self, _: Bytes) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let (kept, mut sink) = (CompressionCache::default(), Gone);
        let mut writer =
            Writer::new(Format::Text, Encoding::Identity, &kept, 0, &mut sink).unwrap();
        let mut family = writer.named("x", "X.", Kind::Gauge);
        let labels = Labels::of(&[("long", &"x".repeat(1000))]);
        let written =
            (0..1000).take_while(|_| family.sample(&labels, Value::Count(1)).is_ok()).count();
        assert!(written < 100, "{written}");
    }
}
