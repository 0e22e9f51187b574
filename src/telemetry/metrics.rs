//! What the exporter counts of its own doings, kept by the `prometheus` crate.
//!
//! What is known of networks is not here: that is worked out from the inventory at the scrape.

use std::{sync::Arc, time::Duration};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    proto::MetricFamily,
};

use crate::wickr::{ErrorKind, Observer, Operation, Outcome, RateLimiter};

/// Bounds of the request durations, in seconds: from a fast answer to the longest time-out.
const DURATIONS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The allowance of one region and role.
#[derive(Debug)]
struct Allowance {
    limiter: Arc<RateLimiter>,
    shown: Gauge,
}

/// The exporter's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
    throttled: Counter,
    allowances: Vec<Allowance>,
}

impl Metrics {
    /// Metrics that all stand at zero. `allowances` are the rates to show, by region and role.
    ///
    /// # Errors
    ///
    /// The registry's, when a name is bad or taken: not in a program whose tests pass.
    pub fn new<'a>(
        allowances: impl IntoIterator<Item = (&'a str, &'a str, Arc<RateLimiter>)>,
    ) -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new(
                "wickr_exporter_api_requests_total",
                "Attempts at requests to the Wickr API, by the HTTP status that answered, or timeout, or connection.",
            ),
            &["operation", "code"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "wickr_exporter_api_request_duration_seconds",
                "How long attempts at requests to the Wickr API took.",
            )
            .buckets(DURATIONS.to_vec()),
            &["operation"],
        )?;
        let retries = IntCounterVec::new(
            Opts::new(
                "wickr_exporter_api_retries_total",
                "Requests to the Wickr API that were sent again, by the reason.",
            ),
            &["reason"],
        )?;
        for kind in ErrorKind::ALL.into_iter().filter(|kind| kind.may_be_retried()) {
            retries.with_label_values(&[kind.as_str()]);
        }
        let throttled = Counter::new(
            "wickr_exporter_api_throttled_seconds_total",
            "Time that requests waited for the exporter's own rate limit, added up over requests.",
        )?;
        let rates = GaugeVec::new(
            Opts::new(
                "wickr_exporter_api_rate_limit",
                "Requests a second that the exporter allows itself now.",
            ),
            &["region", "role_arn"],
        )?;
        let allowances = allowances.into_iter().map(|(region, role_arn, limiter)| Allowance {
            limiter,
            shown: rates.with_label_values(&[region, role_arn]),
        });
        let metrics = Metrics {
            requests: requests.clone(),
            durations: durations.clone(),
            retries: retries.clone(),
            throttled: throttled.clone(),
            allowances: allowances.collect(),
            registry,
        };
        let build = Opts::new(
            "wickr_exporter_build_info",
            "The version that runs, the revision it was built from and the compiler, always 1.",
        )
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("revision", env!("WICKR_EXPORTER_REVISION"))
        .const_label("rustversion", env!("WICKR_EXPORTER_RUSTVERSION"));
        let build = Gauge::with_opts(build)?;
        build.set(1.0);
        let registry = &metrics.registry;
        registry.register(Box::new(build))?;
        registry.register(Box::new(requests))?;
        registry.register(Box::new(durations))?;
        registry.register(Box::new(retries))?;
        registry.register(Box::new(throttled))?;
        registry.register(Box::new(rates))?;
        Ok(metrics)
    }

    /// These, and those of the process that Prometheus's libraries all have, on Linux.
    ///
    /// # Errors
    ///
    /// As for [`Metrics::new`].
    pub fn with_process(self) -> prometheus::Result<Metrics> {
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(self)
    }

    /// All of them as they are now, sorted by name.
    pub fn gather(&self) -> Vec<MetricFamily> {
        // Accounts that only a profile tells apart have one series: what they are allowed together.
        for allowance in &self.allowances {
            allowance.shown.set(0.0);
        }
        for allowance in &self.allowances {
            allowance.shown.add(allowance.limiter.rate());
        }
        self.registry.gather()
    }
}

impl Observer for Metrics {
    fn attempted(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let mut digits = itoa::Buffer::new();
        let code = match outcome {
            Outcome::Status(status) => digits.format(status),
            Outcome::Timeout => "timeout",
            Outcome::Connection => "connection",
        };
        self.requests.with_label_values(&[operation.as_str(), code]).inc();
        self.durations.with_label_values(&[operation.as_str()]).observe(took.as_secs_f64());
    }

    fn retried(&self, kind: ErrorKind) {
        self.retries.with_label_values(&[kind.as_str()]).inc();
    }

    fn waited(&self, waited: Duration) {
        self.throttled.inc_by(waited.as_secs_f64());
    }
}
