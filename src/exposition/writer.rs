//! Writes families and samples in both formats to a sink, in chunks.
//!
//! OpenMetrics differs from the text format: its headers name counters without `_total`, it has
//! gaugehistograms with `_gcount` and `_gsum`, `# UNIT` lines and `# EOF`, and bounds are floats.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    cache::{CompressionCache, Key},
    compression::{CompressedChunk, Compressor, Encoding},
    family::{Family, Kind},
    value::{Value, put_escaped, put_float},
};

/// The format of an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Receives an exposition in chunks.
pub trait Sink {
    /// Writes a chunk, which is not empty.
    ///
    /// # Errors
    ///
    /// An error ends the exposition.
    fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()>;
}

impl Sink for Vec<u8> {
    fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.extend_from_slice(&chunk);
        Ok(())
    }
}

/// Text is sent or compressed when it exceeds this many bytes. With smaller chunks, threads wake each
/// other more often; larger ones do not fit into the processor's cache.
const CHUNK: usize = 256 * 1024;
/// A chunk plus the lines of one more user.
const CAPACITY: usize = CHUNK + 16 * 1024;

/// Writes one exposition.
pub(super) struct Writer<'a, S> {
    format: Format,
    encoding: Encoding,
    compressor: Option<Compressor>,
    cache: &'a CompressionCache,
    /// Text that is not sent yet.
    text: Vec<u8>,
    sink: &'a mut S,
}

impl<'a, S: Sink> Writer<'a, S> {
    /// Starts an exposition.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub(super) fn new(
        format: Format,
        encoding: Encoding,
        cache: &'a CompressionCache,
        sink: &'a mut S,
    ) -> io::Result<Writer<'a, S>> {
        let compressor = Compressor::new(encoding)?;
        let text = Vec::with_capacity(CAPACITY);
        let mut writer = Writer { format, encoding, compressor, cache, text, sink };
        let header = writer.compressor.as_ref().map(Compressor::header);
        writer.send(header.unwrap_or_default())?;
        Ok(writer)
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The cache, if chunks are compressed.
    pub(super) fn cache(&self) -> Option<&'a CompressionCache> {
        self.compressor.as_ref().map(|_| self.cache)
    }

    /// Starts a family. A family without samples has no header.
    pub(super) fn family(&mut self, family: &Family) -> FamilyWriter<'_, 'a, S> {
        self.family_named(family.name, family.help, family.kind)
    }

    pub(super) fn family_named<'f>(
        &'f mut self,
        name: &'f str,
        help: &'f str,
        kind: Kind,
    ) -> FamilyWriter<'f, 'a, S> {
        let header_name = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        FamilyWriter { writer: self, name, header_name, help, kind, has_header: false }
    }

    /// Ends the exposition.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::OpenMetrics {
            self.text.extend_from_slice(b"# EOF\n");
        }
        self.flush()?;
        let trailer = self.compressor.take().map(Compressor::trailer);
        self.send(trailer.unwrap_or_default())
    }

    fn put(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Call it between lines only.
    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.text.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let chunk = match &mut self.compressor {
            None => std::mem::replace(&mut self.text, Vec::with_capacity(CAPACITY)).into(),
            Some(compressor) => {
                let chunk = compressor.compress(&self.text, false)?;
                self.text.clear();
                compressor.append(&chunk)
            }
        };
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        if chunk.is_empty() { Ok(()) } else { self.sink.write_chunk(chunk) }
    }
}

/// Writes the samples of one family.
pub(super) struct FamilyWriter<'f, 'a, S> {
    writer: &'f mut Writer<'a, S>,
    name: &'f str,
    /// The name in `# HELP` and `# TYPE`.
    header_name: &'f str,
    help: &'f str,
    kind: Kind,
    has_header: bool,
}

impl<S: Sink> FamilyWriter<'_, '_, S> {
    /// Writes one sample.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub(super) fn sample(&mut self, labels: &Labels, value: Value) -> io::Result<()> {
        self.line("", labels, None, value)
    }

    /// Writes one histogram. `buckets` are bounds and cumulative counts.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub(super) fn histogram(
        &mut self,
        labels: &Labels,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: Value,
    ) -> io::Result<()> {
        for (bound, count) in buckets {
            self.line("_bucket", labels, Some(bound), Value::Count(count))?;
        }
        self.line("_bucket", labels, Some(f64::INFINITY), Value::Count(count))?;
        let (sum_suffix, count_suffix) = match (self.writer.format, self.kind) {
            (Format::OpenMetrics, Kind::GaugeHistogram) => ("_gsum", "_gcount"),
            _ => ("_sum", "_count"),
        };
        self.line(sum_suffix, labels, None, sum)?;
        self.line(count_suffix, labels, None, Value::Count(count))
    }

    /// Calls `write` for each item; it can write no lines. Only for families whose lines are the same
    /// in both formats.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
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
            if !self.has_header {
                let lines = self.writer.text.split_off(before);
                self.write_header();
                self.writer.text.extend_from_slice(&lines);
            }
            self.writer.flush_if_full()?;
        }
        Ok(())
    }

    /// Like [`FamilyWriter::lines`], but stores and reuses the compressed chunk of all items.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub(super) fn cached_lines<T>(
        &mut self,
        key: Key,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(T, &mut Vec<u8>),
    ) -> io::Result<()> {
        let Writer { compressor: Some(compressor), cache, .. } = &mut *self.writer else {
            return self.lines(items, write);
        };
        let chunk = cached_chunk(cache, compressor, key, items, write)?;
        if chunk.is_empty() {
            return Ok(());
        }
        self.write_header();
        self.writer.flush()?;
        self.send(&chunk)
    }

    fn send(&mut self, chunk: &CompressedChunk) -> io::Result<()> {
        let bytes = self.writer.compressor.as_mut().map(|compressor| compressor.append(chunk));
        self.writer.send(bytes.unwrap_or_default())
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels,
        bound: Option<f64>,
        value: Value,
    ) -> io::Result<()> {
        self.write_header();
        let writer = &mut *self.writer;
        writer.put(self.name);
        writer.put(suffix);
        if !labels.0.is_empty() || bound.is_some() {
            writer.put("{");
            writer.text.extend_from_slice(&labels.0);
            if let Some(bound) = bound {
                writer.put(if labels.0.is_empty() { "le=\"" } else { ",le=\"" });
                // OpenMetrics requires `1.0`; the text format uses `1`.
                put_float(&mut writer.text, bound, writer.format == Format::OpenMetrics);
                writer.put("\"");
            }
            writer.put("}");
        }
        writer.put(" ");
        value.put(&mut writer.text);
        writer.put("\n");
        writer.flush_if_full()
    }

    fn write_header(&mut self) {
        if std::mem::replace(&mut self.has_header, true) {
            return;
        }
        let is_open_metrics = self.writer.format == Format::OpenMetrics;
        let kind = match self.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::GaugeHistogram if is_open_metrics => "gaugehistogram",
            Kind::GaugeHistogram | Kind::Histogram => "histogram",
        };
        let writer = &mut *self.writer;
        writer.put("# HELP ");
        writer.put(self.header_name);
        writer.put(" ");
        put_escaped(&mut writer.text, self.help, is_open_metrics);
        writer.put("\n# TYPE ");
        writer.put(self.header_name);
        writer.put(" ");
        writer.put(kind);
        writer.put("\n");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| {
            self.header_name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
        });
        if let Some(unit) = unit.filter(|_| is_open_metrics) {
            writer.put("# UNIT ");
            writer.put(self.header_name);
            writer.put(" ");
            writer.put(unit);
            writer.put("\n");
        }
    }
}

/// The cached chunk of `key`. If it is missing, it is compressed from the lines that `write` writes.
///
/// # Errors
///
/// Those of the compressor.
pub(super) fn cached_chunk<T>(
    cache: &CompressionCache,
    compressor: &mut Compressor,
    key: Key,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) -> io::Result<Arc<CompressedChunk>> {
    cache.get(key, || {
        let mut text = Vec::new();
        items.into_iter().for_each(|item| write(item, &mut text));
        compressor.compress(&text, true)
    })
}

/// Formatted labels, without the braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels(Vec<u8>);

impl Labels {
    pub(super) fn new(pairs: &[(&str, &str)]) -> Labels {
        Labels::default().with(pairs)
    }

    /// A copy with more labels.
    pub(super) fn with(&self, pairs: &[(&str, &str)]) -> Labels {
        let mut labels = self.clone();
        for (name, value) in pairs {
            labels.push(name, value);
        }
        labels
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        put_label(&mut self.0, name, value);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

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
    fn a_failed_sink_ends_the_exposition() {
        struct ClosedSink;
        impl Sink for ClosedSink {
            fn write_chunk(&mut self, _: Bytes) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let (cache, mut sink) = (CompressionCache::default(), ClosedSink);
        let mut writer = Writer::new(Format::Text, Encoding::Identity, &cache, &mut sink).unwrap();
        let mut family = writer.family_named("x", "X.", Kind::Gauge);
        let labels = Labels::new(&[("long", &"x".repeat(1000))]);
        let written =
            (0..1000).take_while(|_| family.sample(&labels, Value::Count(1)).is_ok()).count();
        assert!(written <= CAPACITY / 1000, "{written}");
    }
}
