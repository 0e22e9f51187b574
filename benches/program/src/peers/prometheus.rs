//! A typical Rust exporter: axum, the `prometheus` crate with a collector that creates its metrics at
//! each scrape, and the TextEncoder.

use std::{collections::HashMap, io::Write as _, path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use prometheus::{
    Encoder as _, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// The data of the scrape. Each label set and each text is stored once.
#[derive(Debug, Default)]
struct Inventory {
    labels: Vec<Vec<(Arc<str>, Arc<str>)>>,
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    /// The values grow with time.
    idle: bool,
    /// Index of the label set, and value.
    samples: Vec<(u32, f64)>,
}

/// Serves `/metrics` on a free port until it is killed.
pub(super) async fn serve(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let inventory = Arc::new(Inventory::read(&text)?);
    drop(text);
    let registries = [registry(&inventory, "wickr_")?, registry(&inventory, "wickr_device_")?];
    let router = Router::new().route("/metrics", get(metrics)).with_state(Arc::new(registries));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

fn registry(inventory: &Arc<Inventory>, prefix: &'static str) -> Result<Registry> {
    let registry = Registry::new();
    let since = Instant::now();
    registry.register(Box::new(Inventory::collector(inventory.clone(), prefix, since)?))?;
    Ok(registry)
}

async fn metrics(
    State(registries): State<Arc<[Registry; 2]>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = accepted.is_some_and(|accepted| accepted.contains("gzip"));
    let devices_only = query.is_some_and(|query| query.contains("device"));
    let task = move || render(&registries[usize::from(devices_only)], gzip);
    match tokio::task::spawn_blocking(task).await {
        Ok(Ok(body)) if gzip => ([(header::CONTENT_ENCODING, "gzip")], body).into_response(),
        Ok(Ok(body)) => body.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn render(registry: &Registry, gzip: bool) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    if !gzip {
        return Ok(text);
    }
    // The default level of HTTP middleware.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    Ok(encoder.finish()?)
}

impl Inventory {
    /// Parses the gauges of the exporter's exposition.
    fn read(text: &str) -> Result<Inventory> {
        let (mut inventory, mut texts, mut sets) =
            (Inventory::default(), HashMap::new(), HashMap::new());
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map_or("", |(_, help)| help);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("invalid TYPE line")?;
                if kind == "gauge" && name.starts_with("wickr_") {
                    inventory.families.push(Family {
                        name: name.to_owned(),
                        help: help.to_owned(),
                        idle: name.ends_with("_idle_seconds"),
                        samples: Vec::new(),
                    });
                }
            } else if let Some(family) = inventory.families.last_mut()
                && let Some(rest) = line.strip_prefix(family.name.as_str())
                && let Some((labels, value)) = rest.rsplit_once(' ')
            {
                let next = u32::try_from(sets.len())?;
                let set = *sets.entry(labels).or_insert(next);
                if set == next {
                    inventory.labels.push(pairs(labels, &mut texts)?);
                }
                family.samples.push((set, value.parse()?));
            }
        }
        ensure!(!inventory.families.is_empty(), "no families");
        inventory.families.retain(|family| !family.samples.is_empty());
        Ok(inventory)
    }

    fn collector(
        inventory: Arc<Inventory>,
        prefix: &'static str,
        since: Instant,
    ) -> Result<Gauges> {
        let families = inventory.families.iter().filter(|family| family.name.starts_with(prefix));
        let descs = families.map(|family| {
            let labels =
                family.samples.first().and_then(|(set, _)| inventory.labels.get(*set as usize));
            let names = labels.into_iter().flatten().map(|(name, _)| name.to_string()).collect();
            Desc::new(family.name.clone(), family.help.clone(), names, HashMap::new())
        });
        let descs = descs.collect::<Result<Vec<_>, _>>()?;
        Ok(Gauges { inventory, prefix, since, descs })
    }
}

/// Parses `{name="value",…}`. The values of this fleet contain no escapes.
fn pairs<'a>(
    labels: &'a str,
    texts: &mut HashMap<&'a str, Arc<str>>,
) -> Result<Vec<(Arc<str>, Arc<str>)>> {
    let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}'));
    let mut shared = |text: &'a str| texts.entry(text).or_insert_with(|| text.into()).clone();
    let pairs = inner.unwrap_or_default().split("\",").filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once("=\"").context("invalid label")?;
            Ok((shared(name), shared(value.trim_end_matches('"'))))
        })
        .collect()
}

struct Gauges {
    inventory: Arc<Inventory>,
    prefix: &'static str,
    since: Instant,
    descs: Vec<Desc>,
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let elapsed = self.since.elapsed().as_millis() as f64 / 1e3;
        let families =
            self.inventory.families.iter().filter(|family| family.name.starts_with(self.prefix));
        let families = families.map(|family| {
            let metrics = family.samples.iter().map(|(set, value)| {
                let labels = self.inventory.labels.get(*set as usize).into_iter().flatten();
                let labels = labels.map(|(name, value)| {
                    let mut pair = LabelPair::default();
                    pair.set_name(name.to_string());
                    pair.set_value(value.to_string());
                    pair
                });
                let mut gauge = Gauge::default();
                gauge.set_value(if family.idle { value + elapsed } else { *value });
                let mut metric = Metric::from_label(labels.collect());
                metric.set_gauge(gauge);
                metric
            });
            let mut result = MetricFamily::default();
            result.set_name(family.name.clone());
            result.set_help(family.help.clone());
            result.set_field_type(MetricType::GAUGE);
            result.set_metric(metrics.collect());
            result
        });
        families.collect()
    }
}
