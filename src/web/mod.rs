//! The HTTP server: routes, access control and limits. It only reads the inventory.
//!
//! | path | response |
//! |---|---|
//! | the telemetry path (`/metrics`) | the exposition, see `scrape` |
//! | `/`, `/devices`, `/api/v1/…` | pages and API, see `pages` |
//! | `/-/healthy` | 200 |
//! | `/-/ready` | 503 until the first poll and lookups of every network have ended, then 200 |
//! | `/-/reload` | a POST reloads the configuration, if enabled |
//!
//! All paths are below the route prefix (`paths`). Any other path is 404; a method other than GET and
//! HEAD is 405. `listener` opens sockets, `server` serves connections, and `connections` and `slots`
//! limit them and large responses; `web_config`, `auth` and `tls` protect them. `recompress` prepares
//! compressed scrapes.

mod auth;
mod body;
mod connections;
mod listener;
mod pages;
mod paths;
mod recompress;
mod scrape;
mod server;
mod slots;
mod tls;
mod web_config;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};

pub use auth::{AccessControl, Peer, credentials};
pub use listener::{Listener, bind, passed};
pub use paths::{ExternalUrl, RoutePrefix};
pub use recompress::recompress;
pub use scrape::groups;
pub use server::Server;
pub use slots::ResponseSlots;
pub use tls::names_of;
pub use web_config::{WebConfig, problems_of};

use crate::{
    clock::Clock,
    exposition::{CompressionCache, Group},
    inventory::Reader,
    lifecycle::ReloadHandle,
    telemetry::Metrics,
};

/// The data and settings behind all routes.
#[derive(Debug)]
pub struct Site {
    /// Read access to the inventory.
    pub reader: Reader,
    /// The exporter's own metrics.
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub clock: Clock,
    /// Replaced by a reload.
    pub settings: Arc<ArcSwap<DisplaySettings>>,
    /// The path of the metrics.
    pub telemetry_path: TelemetryPath,
    /// Precedes the paths of links and redirects.
    pub link_prefix: RoutePrefix,
    /// `None` if clients must not reload the configuration.
    pub reloads: Option<ReloadHandle>,
    /// Compressed chunks that scrapes share.
    pub compression_cache: Arc<CompressionCache>,
}

/// The configuration of metrics and pages.
#[derive(Debug)]
pub struct DisplaySettings {
    /// The groups that the level of detail allows, ascending.
    pub groups: Vec<Group>,
    /// Bounds of the idle histogram, ascending.
    pub idle_buckets: Vec<Duration>,
    /// Times until the end of SSO sessions, ascending.
    pub sso_horizons: Vec<Duration>,
    /// Whether usernames are shown.
    pub usernames: bool,
    /// Limits concurrent scrapes.
    pub scrape_slots: Arc<ResponseSlots>,
}

/// The path of the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl std::str::FromStr for TelemetryPath {
    type Err = &'static str;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.starts_with('/') || !path.bytes().all(is_allowed) {
            return Err("must begin with / and contain only letters, digits and /-._~");
        }
        if ["/-/healthy", "/-/ready", "/-/reload"].contains(&path) || pages::is_page(path) {
            return Err("is the path of another page");
        }
        Ok(TelemetryPath(path.to_owned()))
    }
}

impl TelemetryPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the status page: `/`, or `/status` if the metrics are at `/`.
    pub fn status_page(&self) -> &'static str {
        if self.0 == "/" { "/status" } else { "/" }
    }
}

/// The routes. Each request must have a [`Peer`] as an extension; [`Server`] adds it.
pub fn router(site: Site) -> Router {
    let site = Arc::new(site);
    let router = Router::new()
        .route(site.telemetry_path.as_str(), get(scrape::metrics))
        .route("/-/healthy", get(|| async { "wickr-exporter is healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload))
        .with_state(site.clone())
        .merge(pages::router(site));
    pages::with_security_headers(
        router.fallback(not_found).method_not_allowed_fallback(method_not_allowed),
    )
}

/// Locks a mutex whose data is valid even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.reader.is_ready() {
        "wickr-exporter is ready.\n".into_response()
    } else {
        let text =
            "wickr-exporter is not ready: the first poll or lookup of a network has not ended.\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// Whether a browser sends the request for a page of another site. Clients that are not browsers
/// send neither header.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_other_site = |site| !["same-origin", "none"].contains(&site);
    let is_other_origin = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_none() || host != header("host")
    };
    header("sec-fetch-site").is_some_and(is_other_site)
        || header("origin").is_some_and(is_other_origin)
}

async fn reload(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    if is_cross_site(&headers) {
        let text = "Pages of other sites must not reload the configuration.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Some(reloads) = &site.reloads else {
        let text = "Reloading by HTTP is not enabled; see --web.enable-lifecycle.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    match reloads.reload().await {
        Ok(()) => "The configuration was reloaded.\n".into_response(),
        Err(error) => {
            let text = format!(
                "The reload failed, and the previous configuration stays in use:\n{error}\n"
            );
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Not found. Start at /.\n").into_response()
}

async fn method_not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_requests_of_other_sites() {
        let is_cross_site = |name: &'static str, value: &'static str| {
            let headers = [("host", "x:1"), (name, value)].map(|(name, value)| {
                (name.parse().unwrap(), axum::http::HeaderValue::from_static(value))
            });
            is_cross_site(&headers.into_iter().collect())
        };
        for (name, value) in
            [("accept", "*/*"), ("origin", "http://x:1"), ("sec-fetch-site", "same-origin")]
        {
            assert!(!is_cross_site(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("origin", "http://y"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(is_cross_site(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn rejects_invalid_telemetry_paths() {
        for valid in ["/metrics", "/", "/a/b-c_d.e~f"] {
            assert!(valid.parse::<TelemetryPath>().is_ok(), "{valid}");
        }
        let invalid = ["", "metrics", "/{x}", "/a b", "/*", "/<script>", "/é"];
        for path in invalid.into_iter().chain(["/-/ready", "/devices", "/devices/", "/docs/"]) {
            assert!(path.parse::<TelemetryPath>().is_err(), "{path}");
        }
    }
}
