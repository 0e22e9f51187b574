//! What the exporter counts of its own doings, kept by the `prometheus` crate.
//!
//! What is known of networks is not here: that is worked out from the inventory at the scrape.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, proto::MetricFamily,
};

use super::panics::panics_seen;
use crate::{
    clock::Millis,
    poll,
    wickr::{ErrorKind, Observer, Operation, Outcome, RateLimiter},
};

/// Bounds of the request durations, in seconds: from a fast answer to the longest time-out.
const DURATIONS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Why a client was sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There was too little room for one more connection, and it was the one to go.
    Connection,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// TLS is asked for, and the connection had none.
    Unencrypted,
    /// No client certificate that is valid here.
    Certificate,
    /// No name and password, or wrong ones.
    Credentials,
    /// Too many passwords were being tried.
    Busy,
    /// More requests than are allowed.
    RateLimit,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 7] = [
        Refusal::Connection,
        Refusal::Handshake,
        Refusal::Unencrypted,
        Refusal::Certificate,
        Refusal::Credentials,
        Refusal::Busy,
        Refusal::RateLimit,
    ];

    /// As a label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Connection => "connection",
            Refusal::Handshake => "handshake",
            Refusal::Unencrypted => "unencrypted",
            Refusal::Certificate => "certificate",
            Refusal::Credentials => "credentials",
            Refusal::Busy => "busy",
            Refusal::RateLimit => "rate_limit",
        }
    }
}

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
    rates: GaugeVec,
    allowances: Mutex<Vec<Allowance>>,
    discovery_failures: IntCounterVec,
    reload_successful: Gauge,
    reload_time: Gauge,
    state_saved: Gauge,
    refusals: IntCounterVec,
    panics: IntCounter,
    web_config: WebConfigMetrics,
}

/// How the web configuration fares. Without labels, and without values where there is none.
#[derive(Debug)]
struct WebConfigMetrics {
    successful: GaugeVec,
    time: GaugeVec,
    certificate_ends: GaugeVec,
}

impl WebConfigMetrics {
    fn new() -> prometheus::Result<WebConfigMetrics> {
        let gauge = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &[]);
        Ok(WebConfigMetrics {
            successful: gauge(
                "wickr_exporter_web_config_last_reload_successful",
                "Whether the web configuration and the files that it names are in force as they are now.",
            )?,
            time: gauge(
                "wickr_exporter_web_config_last_reload_success_timestamp_seconds",
                "When the web configuration or a file that it names was last taken up.",
            )?,
            certificate_ends: gauge(
                "wickr_exporter_web_certificate_not_after_timestamp_seconds",
                "When the certificate that the exporter shows to clients expires.",
            )?,
        })
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        for gauge in [&self.successful, &self.time, &self.certificate_ends] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    ///
    /// # Errors
    ///
    /// The registry's, when a name is bad or taken: not in a program whose tests pass.
    pub fn new() -> prometheus::Result<Metrics> {
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
        let discovery_failures = IntCounterVec::new(
            Opts::new(
                "wickr_exporter_discovery_failures_total",
                "Lookups of networks, users or security groups that failed; what was found before stays in use.",
            ),
            &["operation", "reason"],
        )?;
        let reload_successful = Gauge::new(
            "wickr_exporter_config_last_reload_successful",
            "Whether the last reload of the configuration was successful.",
        )?;
        reload_successful.set(1.0);
        let reload_time = Gauge::new(
            "wickr_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully.",
        )?;
        let state_saved = Gauge::new(
            "wickr_exporter_state_last_save_timestamp_seconds",
            "When this process last saved the state file; 0 if it has not.",
        )?;
        let refusals = IntCounterVec::new(
            Opts::new(
                "wickr_exporter_web_refusals_total",
                "Clients of the exporter's own HTTP server that were sent away, by the reason.",
            ),
            &["reason"],
        )?;
        for refusal in Refusal::ALL {
            refusals.with_label_values(&[refusal.as_str()]);
        }
        let panics = IntCounter::new(
            "wickr_exporter_panics_total",
            "Panics in the exporter. Each is a bug, of which the log tells more.",
        )?;
        let metrics = Metrics {
            refusals: refusals.clone(),
            panics: panics.clone(),
            web_config: WebConfigMetrics::new()?,
            requests: requests.clone(),
            durations: durations.clone(),
            retries: retries.clone(),
            throttled: throttled.clone(),
            rates: rates.clone(),
            allowances: Mutex::default(),
            discovery_failures: discovery_failures.clone(),
            reload_successful: reload_successful.clone(),
            reload_time: reload_time.clone(),
            state_saved,
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
        registry.register(Box::new(discovery_failures))?;
        registry.register(Box::new(reload_successful))?;
        registry.register(Box::new(reload_time))?;
        registry.register(Box::new(refusals))?;
        registry.register(Box::new(panics))?;
        metrics.web_config.register(registry)?;
        Ok(metrics)
    }

    /// These, and when the state was saved: 0 before that, for a file that can never be written is what
    /// an alert must see.
    ///
    /// # Errors
    ///
    /// As for [`Metrics::new`].
    pub fn with_state(self) -> prometheus::Result<Metrics> {
        self.registry.register(Box::new(self.state_saved.clone()))?;
        Ok(self)
    }

    /// Shows these allowances from now on, by region and role.
    pub fn show_rates(&self, rates: impl IntoIterator<Item = (String, String, Arc<RateLimiter>)>) {
        let mut allowances = self.allowances();
        self.rates.reset();
        *allowances = rates
            .into_iter()
            .map(|(region, role_arn, limiter)| Allowance {
                limiter,
                shown: self.rates.with_label_values(&[&region, &role_arn]),
            })
            .collect();
    }

    /// The configuration was loaded, or was not; at `now`.
    pub fn reloaded(&self, successful: bool, now: Millis) {
        self.reload_successful.set(f64::from(u8::from(successful)));
        if successful {
            self.reload_time.set(now as f64 / 1e3);
        }
    }

    /// A client was sent away.
    pub fn refused(&self, why: Refusal) {
        self.refusals.with_label_values(&[why.as_str()]).inc();
    }

    /// The web configuration was taken up, or could not be, at `now`. Its certificate is valid until
    /// then, in seconds since the epoch.
    pub fn web_config_loaded(&self, successful: bool, now: Millis, valid_until: Option<u64>) {
        let of = |gauge: &GaugeVec| gauge.with_label_values::<&str>(&[]);
        of(&self.web_config.successful).set(f64::from(u8::from(successful)));
        if successful {
            of(&self.web_config.time).set(now as f64 / 1e3);
        }
        match valid_until {
            Some(seconds) => of(&self.web_config.certificate_ends).set(seconds as f64),
            None => self.web_config.certificate_ends.reset(),
        }
    }

    /// The state was saved, at `now`.
    pub fn state_saved(&self, now: Millis) {
        self.state_saved.set(now as f64 / 1e3);
    }

    fn allowances(&self) -> MutexGuard<'_, Vec<Allowance>> {
        // A list is whole whatever a thread that held the lock died of.
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner)
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
        let allowances = self.allowances();
        for allowance in &*allowances {
            allowance.shown.set(0.0);
        }
        for allowance in &*allowances {
            allowance.shown.add(allowance.limiter.rate());
        }
        // Under the lock, so that none is added twice.
        self.panics.inc_by(panics_seen().saturating_sub(self.panics.get()));
        drop(allowances);
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

impl poll::Observer for Metrics {
    fn discovery_failed(&self, operation: Operation, kind: ErrorKind) {
        self.discovery_failures.with_label_values(&[operation.as_str(), kind.as_str()]).inc();
    }
}
