//! Pages and API.
//!
//! | path | response |
//! |---|---|
//! | `/` | the status page |
//! | `/devices` | a filtered and sorted table of devices |
//! | `/api/v1/devices` | the same list as JSON or CSV, of any length |
//! | `/api/v1/status` | the status as JSON |
//! | `/docs/…` | the documentation |
//! | `/static/…` | the stylesheet and the icon |
//!
//! A slash at the end of a page's path is redirected to the page.
//!
//! No page has a script, and the templates escape all outside text. Work that grows with the fleet
//! runs on blocking threads, with limits of its own, so it never delays metrics and health checks.

mod api;
mod assessment;
mod collectors;
mod devices_page;
mod docs;
mod format;
mod links;
mod status;
mod status_page;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::sync::Semaphore;

use super::{ResponseSlots, Site};
use crate::{clock::Moment, query::BadParameter};
use links::{NavLinks, devices_url};
use status::Status;

/// Maximum number of pages that are rendered at the same time; further requests are rejected.
const MAX_PAGES: usize = 4;
/// Lists of devices that are sent at the same time.
const MAX_LISTS: usize = 4;

/// Whether a page has this path, so that it cannot be the telemetry path.
pub(super) fn is_page(path: &str) -> bool {
    ["/devices", "/status"].contains(&path.trim_end_matches('/'))
        || ["/api", "/docs", "/static"].iter().any(|folder| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

/// The state of the handlers.
struct Pages {
    site: Arc<Site>,
    started: Moment,
    page_permits: Arc<Semaphore>,
    list_slots: Arc<ResponseSlots>,
}

/// The routes of the pages and the API.
pub(super) fn router(site: Arc<Site>) -> Router {
    let asset = |content_type: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, content_type)], text).into_response() })
    };
    let status_path = site.telemetry_path.status_page();
    let pages = Pages {
        started: site.clock.moment(),
        page_permits: Arc::new(Semaphore::new(MAX_PAGES)),
        list_slots: ResponseSlots::new(MAX_LISTS),
        site,
    };
    let documents = docs::DOCUMENTS.iter().map(|document| {
        let page = move |State(pages): State<Arc<Pages>>| async move {
            html(&document.page(pages.links()))
        };
        (document.path, get(page))
    });
    let others = [(status_path, get(status_page)), ("/devices", get(devices_page))];
    let router = documents.chain(others).fold(Router::new(), |router, (path, page)| {
        let router = router.route(path, page);
        match path {
            "/" => router,
            _ => router.route(&format!("{path}/"), get(without_slash)),
        }
    });
    router
        .route("/api/v1/devices", get(api::devices))
        .route("/api/v1/status", get(api::status))
        .route("/static/style.css", asset("text/css; charset=utf-8", STYLE))
        .route("/static/icon.svg", asset("image/svg+xml", ICON))
        .with_state(Arc::new(pages))
}

/// Adds the security headers to every response.
pub(super) fn with_security_headers<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
) -> Router<S> {
    router.layer(from_fn(|request: Request, next: Next| async {
        let mut response = next.run(request).await;
        add_security_headers(response.headers_mut());
        response
    }))
}

/// Adds the security headers that are not set: no caching, framing or referrer, and no content
/// except our own stylesheet, icon and form.
pub(super) fn add_security_headers(headers: &mut HeaderMap) {
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

impl Pages {
    fn status(&self) -> Status {
        let site = &self.site;
        let settings = site.settings.load();
        Status::of(&site.reader, &settings.idle_buckets, self.started, site.clock.moment())
    }

    fn links(&self) -> NavLinks {
        let path = &self.site.telemetry_path;
        NavLinks {
            base: self.site.link_prefix.as_str().to_owned(),
            status: path.status_page(),
            metrics: path.as_str().to_owned(),
        }
    }

    /// Renders a response on a blocking thread, or rejects the request if too many are rendered.
    async fn render(
        self: Arc<Pages>,
        render: impl FnOnce(&Pages) -> Response + Send + 'static,
    ) -> Response {
        let Ok(permit) = self.page_permits.clone().try_acquire_owned() else { return busy() };
        let rendered = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            render(&self)
        });
        rendered.await.unwrap_or_else(|error| internal_error(&error))
    }
}

fn busy() -> Response {
    let text = "Too many requests at the same time. Try again in a moment.\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}

fn internal_error(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "rendering a page failed");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn status_page(State(pages): State<Arc<Pages>>) -> Response {
    pages.render(|pages| html(&status_page::status_page(&pages.status(), pages.links()))).await
}

async fn devices_page(State(pages): State<Arc<Pages>>, RawQuery(query): RawQuery) -> Response {
    let settings = pages.site.settings.load_full();
    match devices_page::parse(&query.unwrap_or_default(), settings.usernames) {
        Err(BadParameter { name, reason }) => {
            let page = html(&ErrorPage { links: pages.links(), name, reason });
            (StatusCode::BAD_REQUEST, page).into_response()
        }
        // A form sends its empty fields, too. The redirect gives the page a short URL.
        Ok(params) if params.has_empty => {
            let url = devices_url("/devices", &params.query);
            Redirect::to(&format!("{}{url}", pages.site.link_prefix.as_str())).into_response()
        }
        Ok(params) => {
            let render = move |pages: &Pages| {
                let (snapshot, now) = (pages.site.reader.snapshot(), pages.site.clock.moment());
                let links = pages.links();
                html(&devices_page::page(&snapshot, now, &params.query, &settings, links))
            };
            pages.render(render).await
        }
    }
}

/// Redirects the path of a page with a slash at its end to the page.
async fn without_slash(State(pages): State<Arc<Pages>>, uri: Uri) -> Redirect {
    let (base, path) = (pages.site.link_prefix.as_str(), uri.path().trim_end_matches('/'));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::to(&format!("{base}{path}{query}"))
}

#[derive(Template)]
#[template(path = "error.html", config = "src/web/pages/askama.toml")]
struct ErrorPage {
    links: NavLinks,
    name: String,
    reason: String,
}

fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => internal_error(&error),
    }
}
