//! The exporter's own metrics, in the registry of the `prometheus` crate. Metrics about networks are
//! derived from the inventory at each scrape, and are not here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector, proto::MetricFamily,
};

use super::panics::panic_count;
use crate::{
    clock::Millis,
    poll,
    wickr::{ErrorKind, Operation, Outcome, RateLimiter, RequestObserver},
};

/// Bucket bounds of request durations in seconds, up to the longest timeout.
const DURATION_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Why the HTTP server refused a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    /// The connection limit was reached, and this connection was closed.
    Connection,
    /// The TLS handshake failed or timed out.
    Handshake,
    /// A plain-text connection to a TLS port.
    Unencrypted,
    /// No valid client certificate.
    Certificate,
    /// No or wrong username and password.
    Credentials,
    /// Too many concurrent password checks.
    Busy,
    /// Rate limit exceeded.
    RateLimit,
}

impl RejectionReason {
    /// All reasons.
    pub const ALL: [RejectionReason; 7] = [
        RejectionReason::Connection,
        RejectionReason::Handshake,
        RejectionReason::Unencrypted,
        RejectionReason::Certificate,
        RejectionReason::Credentials,
        RejectionReason::Busy,
        RejectionReason::RateLimit,
    ];

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectionReason::Connection => "connection",
            RejectionReason::Handshake => "handshake",
            RejectionReason::Unencrypted => "unencrypted",
            RejectionReason::Certificate => "certificate",
            RejectionReason::Credentials => "credentials",
            RejectionReason::Busy => "busy",
            RejectionReason::RateLimit => "rate_limit",
        }
    }
}

/// The limiter of one account, and the gauge that shows its rate.
#[derive(Debug)]
struct AccountRate {
    limiter: Arc<RateLimiter>,
    gauge: Gauge,
}

/// The exporter's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
    throttled: Counter,
    rates: GaugeVec,
    account_rates: Mutex<Vec<AccountRate>>,
    discovery_failures: IntCounterVec,
    reload_successful: Gauge,
    reload_time: Gauge,
    state_saved: Gauge,
    refusals: IntCounterVec,
    panics: IntCounter,
    info: GaugeVec,
    total_shards: IntGauge,
    shard_ordinal: IntGaugeVec,
    // Vectors without labels: they have no sample where there is no web configuration.
    web_reload_successful: GaugeVec,
    web_reload_time: GaugeVec,
    certificate_not_after: GaugeVec,
}

/// Registers a metric and returns it.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    ///
    /// A metric name is invalid or duplicate.
    pub fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str| registered(&registry, Gauge::new(name, help));
        let gauge_vec = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, GaugeVec::new(Opts::new(name, help), labels))
        };
        let throttled = Counter::new(
            "wickr_exporter_api_throttled_seconds_total",
            "Time that requests waited for the exporter's own rate limit, summed over requests.",
        );
        let panics = IntCounter::new(
            "wickr_exporter_panics_total",
            "Panics in the exporter. Each is a bug; the log shows its location.",
        );
        let build_info = Opts::new(
            "wickr_exporter_build_info",
            "Version, source revision and Rust version of the exporter. Always 1.",
        )
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("revision", env!("WICKR_EXPORTER_REVISION"))
        .const_label("rustversion", env!("WICKR_EXPORTER_RUSTVERSION"));
        registered(&registry, Gauge::with_opts(build_info))?.set(1.0);
        let durations = HistogramOpts::new(
            "wickr_exporter_api_request_duration_seconds",
            "Duration of request attempts to the Wickr API.",
        )
        .buckets(DURATION_BUCKETS.to_vec());
        let shard_ordinal = Opts::new(
            "wickr_exporter_shard_ordinal",
            "The shard of this process, counted from 0; the value and the label are equal.",
        );
        let metrics = Metrics {
            requests: counter(
                "wickr_exporter_api_requests_total",
                "Request attempts to the Wickr API. The code is the HTTP status, timeout or connection.",
                &["operation", "code"],
            )?,
            durations: registered(&registry, HistogramVec::new(durations, &["operation"]))?,
            retries: counter(
                "wickr_exporter_api_retries_total",
                "Retries of requests to the Wickr API, by reason.",
                &["reason"],
            )?,
            throttled: registered(&registry, throttled)?,
            rates: gauge_vec(
                "wickr_exporter_api_rate_limit",
                "Current limit on the requests per second that the exporter sends.",
                &["region", "role_arn"],
            )?,
            account_rates: Mutex::default(),
            discovery_failures: counter(
                "wickr_exporter_discovery_failures_total",
                "Failed lookups of networks, users or security groups. The last result stays in use.",
                &["operation", "reason"],
            )?,
            reload_successful: gauge(
                "wickr_exporter_config_last_reload_successful",
                "Whether the last reload of the configuration was successful.",
            )?,
            reload_time: gauge(
                "wickr_exporter_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded successfully.",
            )?,
            // Registered only with a state file.
            state_saved: Gauge::new(
                "wickr_exporter_state_last_save_timestamp_seconds",
                "When this process last saved the state files, or found them up to date; 0 if it has not.",
            )?,
            refusals: counter(
                "wickr_exporter_web_refusals_total",
                "Clients that the exporter's HTTP server refused, by reason.",
                &["reason"],
            )?,
            panics: registered(&registry, panics)?,
            info: gauge_vec(
                "wickr_exporter_info",
                "The URL at which users reach the exporter; absent without --web.external-url. Always 1.",
                &["external_url"],
            )?,
            total_shards: registered(
                &registry,
                IntGauge::new(
                    "wickr_exporter_total_shards",
                    "Processes that share the users, from the configuration; 1 without shards.",
                ),
            )?,
            shard_ordinal: registered(
                &registry,
                IntGaugeVec::new(shard_ordinal, &["shard_ordinal"]),
            )?,
            web_reload_successful: gauge_vec(
                "wickr_exporter_web_config_last_reload_successful",
                "Whether the current content of the web configuration and its files is in use.",
                &[],
            )?,
            web_reload_time: gauge_vec(
                "wickr_exporter_web_config_last_reload_success_timestamp_seconds",
                "When the web configuration or one of its files was last loaded successfully.",
                &[],
            )?,
            certificate_not_after: gauge_vec(
                "wickr_exporter_web_certificate_not_after_timestamp_seconds",
                "When the server certificate expires.",
                &[],
            )?,
            registry: registry.clone(),
        };
        metrics.reload_successful.set(1.0);
        for kind in ErrorKind::ALL.into_iter().filter(|kind| kind.may_be_retried()) {
            metrics.retries.with_label_values(&[kind.as_str()]);
        }
        for refusal in RejectionReason::ALL {
            metrics.refusals.with_label_values(&[refusal.as_str()]);
        }
        Ok(metrics)
    }

    /// Adds the time of the last save of the state file. It is 0 before the first save, so that an alert
    /// fires if no save ever succeeds.
    ///
    /// # Errors
    ///
    /// As for [`Metrics::new`].
    pub fn with_state(self) -> prometheus::Result<Metrics> {
        self.registry.register(Box::new(self.state_saved.clone()))?;
        Ok(self)
    }

    /// Adds the standard `process_` metrics, on Linux.
    ///
    /// # Errors
    ///
    /// As for [`Metrics::new`].
    pub fn with_process(self) -> prometheus::Result<Metrics> {
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(self)
    }

    /// Replaces the rate limiters to show, given as (region, role ARN, limiter).
    pub fn show_rates(&self, rates: impl IntoIterator<Item = (String, String, Arc<RateLimiter>)>) {
        let mut account_rates = self.account_rates.lock().unwrap_or_else(PoisonError::into_inner);
        self.rates.reset();
        *account_rates = rates
            .into_iter()
            .map(|(region, role_arn, limiter)| AccountRate {
                limiter,
                gauge: self.rates.with_label_values(&[&region, &role_arn]),
            })
            .collect();
    }

    /// Records whether the configuration was loaded.
    pub fn config_loaded(&self, successful: bool, now: Millis) {
        self.reload_successful.set(f64::from(u8::from(successful)));
        if successful {
            self.reload_time.set(now as f64 / 1e3);
        }
    }

    /// Sets the URL for links of alerts and dashboards.
    pub fn set_external_url(&self, url: &str) {
        self.info.with_label_values(&[url]).set(1.0);
    }

    /// Sets the shard of this process, which a reload can change.
    pub fn set_shard(&self, ordinal: u32, total: u32) {
        self.total_shards.set(total.into());
        self.shard_ordinal.reset();
        self.shard_ordinal.with_label_values(&[&ordinal.to_string()]).set(ordinal.into());
    }

    /// Counts a refused client.
    pub fn refused(&self, why: RejectionReason) {
        self.refusals.with_label_values(&[why.as_str()]).inc();
    }

    /// Records whether the web configuration was loaded. `not_after` is the expiry of its
    /// certificate in seconds since the epoch.
    pub fn web_config_loaded(&self, successful: bool, now: Millis, not_after: Option<u64>) {
        let set = |gauge: &GaugeVec, value| gauge.with_label_values::<&str>(&[]).set(value);
        set(&self.web_reload_successful, f64::from(u8::from(successful)));
        if successful {
            set(&self.web_reload_time, now as f64 / 1e3);
        }
        match not_after {
            Some(seconds) => set(&self.certificate_not_after, seconds as f64),
            None => self.certificate_not_after.reset(),
        }
    }

    /// Records that the state file was saved.
    pub fn state_saved(&self, now: Millis) {
        self.state_saved.set(now as f64 / 1e3);
    }

    /// All families, sorted by name.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let account_rates = self.account_rates.lock().unwrap_or_else(PoisonError::into_inner);
        // Accounts that differ only in their profile share a series: the sum of their rates.
        for rate in &*account_rates {
            rate.gauge.set(0.0);
        }
        for rate in &*account_rates {
            rate.gauge.add(rate.limiter.rate());
        }
        // The lock prevents two scrapes from adding the same panics.
        self.panics.inc_by(panic_count().saturating_sub(self.panics.get()));
        drop(account_rates);
        self.registry.gather()
    }
}

impl RequestObserver for Metrics {
    fn attempted(&self, operation: Operation, outcome: Outcome, duration: Duration) {
        let mut buffer = itoa::Buffer::new();
        let code = match outcome {
            Outcome::Status(status) => buffer.format(status),
            Outcome::Timeout => "timeout",
            Outcome::Connection => "connection",
        };
        self.requests.with_label_values(&[operation.as_str(), code]).inc();
        self.durations.with_label_values(&[operation.as_str()]).observe(duration.as_secs_f64());
    }

    fn retried(&self, kind: ErrorKind) {
        self.retries.with_label_values(&[kind.as_str()]).inc();
    }

    fn waited(&self, duration: Duration) {
        self.throttled.inc_by(duration.as_secs_f64());
    }
}

impl poll::DiscoveryObserver for Metrics {
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind) {
        self.discovery_failures.with_label_values(&[operation.as_str(), kind.as_str()]).inc();
    }
}
