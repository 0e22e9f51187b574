//! What people and tools read beside the metrics: the status page, the devices behind a figure, and
//! both for tools.
//!
//! | path | what |
//! |---|---|
//! | `/` | the status page: can the numbers be trusted, and why not |
//! | `/devices` | a table of devices, filtered, sorted and paged |
//! | `/api/v1/devices` | the same as JSON or CSV, as long as it is |
//! | `/api/v1/status` | what the status page shows, as JSON |
//! | `/docs`, `/docs/api` | the README, and the reference of the API |
//! | `/static/…` | the one stylesheet and the icon |
//!
//! Nothing here has a script. Whatever comes from outside is escaped by the templates. Work that
//! grows with the fleet runs on threads of its own, and only so much of it at the same time: the
//! metrics and the health paths are never in its way.

mod api;
mod devices;
mod status;
mod verdict;
mod view;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::sync::Semaphore;

use super::{ResponseSlots, Site};
use crate::{clock::Millis, query::BadParameter};
use status::Status;

/// Pages that are made at the same time; more are refused.
const PAGES: usize = 4;
/// Lists that are sent at the same time.
const LISTS: usize = 4;

/// Paths that are taken, whatever is served on them.
pub(super) const PATHS: [&str; 8] = [
    "/devices",
    "/status",
    "/api/v1/devices",
    "/api/v1/status",
    "/docs",
    "/docs/api",
    "/static/style.css",
    "/static/icon.svg",
];

const README: &str = include_str!("../../../README.md");
const API: &str = include_str!("../../../docs/api.md");
const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

/// What pages are made of.
struct Face {
    site: Arc<Site>,
    started: Millis,
    pages: Arc<Semaphore>,
    lists: Arc<ResponseSlots>,
    /// Where the status page is.
    home: &'static str,
}

/// The routes of the pages.
pub(super) fn router(site: Arc<Site>) -> Router {
    let home = site.telemetry_path.home();
    let text = |text: &'static str| get(move || async move { text.into_response() });
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text).into_response() })
    };
    let face = Face {
        started: site.clock.now(),
        pages: Arc::new(Semaphore::new(PAGES)),
        lists: ResponseSlots::new(LISTS),
        home,
        site,
    };
    Router::new()
        .route(home, get(status_page))
        .route("/devices", get(devices_page))
        .route("/api/v1/devices", get(api::devices))
        .route("/api/v1/status", get(api_status))
        .route("/docs", text(README))
        .route("/docs/api", text(API))
        .route("/static/style.css", asset("text/css; charset=utf-8", STYLE))
        .route("/static/icon.svg", asset("image/svg+xml", ICON))
        .with_state(Arc::new(face))
}

/// Headers for every answer: nothing is kept, framed, guessed at or told to others, and a page may
/// use our own stylesheet and icon and send its form back to us, and nothing else.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(from_fn(|request: Request, next: Next| async {
        let mut response = next.run(request).await;
        guard(response.headers_mut());
        response
    }))
}

/// Puts those headers on an answer that has none of its own.
pub(super) fn guard(headers: &mut HeaderMap) {
    const HEADERS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

impl Face {
    fn status(&self) -> Status {
        let site = &self.site;
        let shown = site.shown.load();
        Status::of(&site.reader, &shown.idle_buckets, self.started, site.clock.now())
    }

    fn links(&self) -> view::Links {
        view::Links { home: self.home, metrics: self.site.telemetry_path.as_str().to_owned() }
    }

    /// Makes an answer on a thread of its own, if there is room.
    async fn make(
        self: &Arc<Face>,
        make: impl FnOnce(&Face) -> Response + Send + 'static,
    ) -> Response {
        let Ok(permit) = self.pages.clone().try_acquire_owned() else { return busy() };
        let face = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            make(&face)
        });
        made.await.unwrap_or_else(|error| {
            tracing::error!(%error, "making a page failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        })
    }
}

fn busy() -> Response {
    let text = "Too many pages are asked for at the same time. Try again in a moment.\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}

fn bad_request(error: &BadParameter) -> Response {
    (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
}

async fn status_page(State(face): State<Arc<Face>>) -> Response {
    face.make(|face| page(&view::status_page(&face.status(), face.links()))).await
}

async fn api_status(State(face): State<Arc<Face>>) -> Response {
    face.make(|face| match serde_json::to_vec(&face.status()) {
        Ok(mut json) => {
            json.push(b'\n');
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(error) => broken(&error),
    })
    .await
}

async fn devices_page(State(face): State<Arc<Face>>, RawQuery(query): RawQuery) -> Response {
    let text = query.unwrap_or_default();
    let shown = face.site.shown.load_full();
    match devices::read(&text, shown.usernames) {
        Err(error) => {
            let page = page(&view::ErrorPage::new(&error, face.links()));
            (StatusCode::BAD_REQUEST, page).into_response()
        }
        // What a form sent with nothing in it is left out, so that the address can be passed on.
        Ok(params) if params.has_empty => {
            Redirect::to(&devices::link("/devices", &params.query)).into_response()
        }
        Ok(params) => {
            let make = move |face: &Face| {
                let site = &face.site;
                let (snapshot, now) = (site.reader.snapshot(), site.clock.now());
                page(&devices::page(&snapshot, now, &params.query, &shown, face.links()))
            };
            face.make(make).await
        }
    }
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => broken(&error),
    }
}

fn broken(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "a page cannot be written");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
