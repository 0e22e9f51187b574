//! URLs of pages and lists of devices.

use crate::query::Query;

/// Devices on a page if the URL has no limit.
pub(super) const DEFAULT_PAGE_SIZE: usize = 100;

/// Links in the header of every page.
#[derive(Debug, Clone)]
pub(super) struct NavLinks {
    /// Precedes all paths.
    pub(super) base: String,
    pub(super) status: &'static str,
    pub(super) metrics: String,
}

/// The URL of a query without the base, at `/devices` or `/api/v1/devices`.
pub(super) fn devices_url(path: &str, query: &Query) -> String {
    let is_default = path == "/devices" && query.limit == Some(DEFAULT_PAGE_SIZE);
    let query = Query { limit: query.limit.filter(|_| !is_default), ..query.clone() };
    match query.to_params() {
        params if params.is_empty() => path.to_owned(),
        params => format!("{path}?{params}"),
    }
}
