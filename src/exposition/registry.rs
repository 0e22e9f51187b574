//! Renders the families of the `prometheus` crate.

use std::io;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{
    family::Kind,
    value::Value,
    writer::{Labels, Sink, Writer},
};

/// Writes gathered families, which are sorted by name, and their series by labels.
pub(super) fn write<S: Sink>(families: &[MetricFamily], out: &mut Writer<'_, S>) -> io::Result<()> {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            // The exporter registers no summaries and no untyped metrics.
            _ => Kind::Gauge,
        };
        let mut writer = out.family_named(family.name(), family.help(), kind);
        for metric in family.get_metric() {
            let labels = labels(metric);
            match kind {
                Kind::Counter => {
                    writer.sample(&labels, Value::Float(metric.get_counter().get_value()))?
                }
                Kind::Histogram => {
                    let histogram = metric.get_histogram();
                    let buckets = histogram
                        .get_bucket()
                        .iter()
                        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
                    writer.histogram(
                        &labels,
                        buckets,
                        histogram.get_sample_count(),
                        Value::Float(histogram.get_sample_sum()),
                    )?;
                }
                _ => writer.sample(&labels, Value::Float(metric.get_gauge().get_value()))?,
            }
        }
    }
    Ok(())
}

fn labels(metric: &Metric) -> Labels {
    let mut labels = Labels::default();
    for pair in metric.get_label() {
        labels.push(pair.name(), pair.value());
    }
    labels
}
