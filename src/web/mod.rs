//! The HTTP room. It reads the inventory and never reaches back.
//!
//! | path | what |
//! |---|---|
//! | the telemetry path (`/metrics`) | the exposition, see `scrape` |
//! | `/`, `/devices`, `/api/v1/…` | what people and tools read beside them, see `pages` |
//! | `/-/healthy` | 200 while the process runs |
//! | `/-/ready` | 503 until every network's first poll has ended, then 200 |
//! | `/-/reload` | POST loads the configuration anew, where that is allowed |
//!
//! Any other path is 404; a method other than GET and HEAD is 405. `server` accepts connections,
//! `connections` and `slots` limit them and large responses; `web_config`, `auth` and `tls` protect them.

mod auth;
mod body;
mod connections;
mod pages;
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
pub use scrape::groups;
pub use server::{Server, bind, passed};
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

/// What the pages are made of.
#[derive(Debug)]
pub struct Site {
    /// What is known.
    pub reader: Reader,
    /// What the exporter counts of itself.
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub clock: Clock,
    /// What is shown of it. It may be swapped at any time.
    pub shown: Arc<ArcSwap<Shown>>,
    /// Where the metrics are: a [`TelemetryPath`].
    pub telemetry_path: TelemetryPath,
    /// Whom to ask for a reload, where clients may.
    pub reloads: Option<ReloadHandle>,
    /// What scrapes leave for each other.
    pub kept: CompressionCache,
}

/// What is shown of what is known.
#[derive(Debug)]
pub struct Shown {
    /// The parts that the configured detail allows, ascending.
    pub groups: Vec<Group>,
    /// Bounds of the idle histogram, ascending.
    pub idle_buckets: Vec<Duration>,
    /// Whether usernames are told.
    pub usernames: bool,
    /// The scrapes that are answered at the same time.
    pub scrapes: Arc<ResponseSlots>,
}

/// Where the metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl std::str::FromStr for TelemetryPath {
    type Err = &'static str;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.starts_with('/') || !path.bytes().all(plain) {
            return Err("must begin with / and hold letters, digits and /-._~ only");
        }
        if ["/-/healthy", "/-/ready", "/-/reload"].contains(&path) || pages::PATHS.contains(&path) {
            return Err("is taken");
        }
        Ok(TelemetryPath(path.to_owned()))
    }
}

impl TelemetryPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the status page is: who wants the metrics at / finds it elsewhere.
    pub fn home(&self) -> &'static str {
        if self.0 == "/" { "/status" } else { "/" }
    }
}

/// The routes. Each request must have a [`Peer`] as an extension, as [`Server`] sets it.
pub fn router(site: Site) -> Router {
    let site = Arc::new(site);
    let router = Router::new()
        .route(site.telemetry_path.as_str(), get(scrape::metrics))
        .route("/-/healthy", get(|| async { "wickr-exporter is healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload))
        .with_state(site.clone())
        .merge(pages::router(site));
    pages::guarded(router.fallback(not_found).method_not_allowed_fallback(wrong_method))
}

/// Locks a mutex whose data is valid even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.reader.is_ready() {
        "wickr-exporter is ready.\n".into_response()
    } else {
        let text = "wickr-exporter is not ready: a network's first poll has not ended yet.\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// Whether a browser asks on behalf of a page that is not ours. Tools say nothing of it.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site));
    let origin = text("origin").is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_none() || host != text("host")
    });
    site || origin
}

async fn reload(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        let text = "Another site's page may not ask for a reload.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Some(reloads) = &site.reloads else {
        let text = "Reloading by HTTP is not enabled; see --web.enable-lifecycle.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    match reloads.reload().await {
        Ok(()) => "The configuration was loaded anew.\n".into_response(),
        Err(why) => {
            let text =
                format!("The configuration cannot be loaded, the former one stays:\n{why}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing here. Start at /.\n").into_response()
}

async fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "That method is not answered here.\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ones_own_may_ask_for_a_reload() {
        let foreign = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (name.parse().unwrap(), axum::http::HeaderValue::from_static(value))
            });
            is_foreign(
                &headers.chain([("host".parse().unwrap(), "x:1".parse().unwrap())]).collect(),
            )
        };
        assert!(!foreign(&[]) && !foreign(&[("origin", "http://x:1")]));
        assert!(!foreign(&[("sec-fetch-site", "same-origin")]));
        assert!(foreign(&[("origin", "http://y")]) && foreign(&[("origin", "null")]));
        assert!(foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn a_telemetry_path_is_a_plain_path() {
        for good in ["/metrics", "/", "/a/b-c_d.e~f"] {
            assert!(good.parse::<TelemetryPath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "metrics",
            "/{x}",
            "/a b",
            "/*",
            "/<script>",
            "/-/ready",
            "/é",
            "/devices",
            "/docs",
        ] {
            assert!(bad.parse::<TelemetryPath>().is_err(), "{bad}");
        }
    }
}
