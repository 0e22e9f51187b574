//! The families that the `prometheus` crate keeps, through the same writer as all others.

use std::io;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{
    family::Kind,
    value::Value,
    writer::{Labels, Sink, Writer},
};

/// Writes gathered families; they come sorted by name, and their series by labels.
pub(super) fn write<S: Sink>(families: &[MetricFamily], out: &mut Writer<'_, S>) -> io::Result<()> {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            // Nothing here registers summaries or untyped metrics.
            _ => Kind::Gauge,
        };
        let mut writer = out.named(family.name(), family.help(), kind);
        for metric in family.get_metric() {
            let labels = labels(metric);
            match kind {
                Kind::Counter => {
                    writer.sample(&labels, Value::Float(metric.get_counter().get_value()))?
                }
                Kind::Histogram => {
                    let histogram = metric.get_histogram();
                    let at_most = histogram
                        .get_bucket()
                        .iter()
                        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
                    writer.histogram(
                        &labels,
                        at_most,
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
