//! The addresses of the server: the prefix of all routes, and the URL that users open.

use std::str::FromStr;

use axum::http::{Uri, uri::PathAndQuery};
use reqwest::Url;

/// The prefix of all routes, without a slash at its end; empty for `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutePrefix(String);

impl FromStr for RoutePrefix {
    type Err = &'static str;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.starts_with('/') || path.contains("//") || !path.bytes().all(is_allowed) {
            return Err("must begin with / and contain only letters, digits and /-._~");
        }
        Ok(RoutePrefix(path.trim_end_matches('/').to_owned()))
    }
}

impl RoutePrefix {
    /// The prefix, to which a path that begins with a slash is appended.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI without the prefix, or `None` if its path is not below the prefix.
    pub(super) fn strip(&self, uri: &Uri) -> Option<Uri> {
        if self.0.is_empty() {
            return Some(uri.clone());
        }
        let path_and_query = uri.path_and_query()?.as_str().strip_prefix(&self.0)?;
        if !path_and_query.starts_with('/') {
            return None;
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_str(path_and_query).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The URL at which users reach the exporter, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUrl {
    url: String,
    path: RoutePrefix,
}

impl FromStr for ExternalUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The message does not repeat the URL, which can contain a password.
        let message = "must be an http or https URL without user, query and fragment, such as \
                       https://example.org/wickr";
        let url = Url::parse(text).map_err(|_| message)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https")
            || !is_plain
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(message);
        }
        let path = url.path().parse()?;
        Ok(ExternalUrl { url: url.as_str().trim_end_matches('/').to_owned(), path })
    }
}

impl ExternalUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The path of the URL, which is the default prefix of routes.
    pub fn path(&self) -> &RoutePrefix {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_the_prefix_from_paths_below_it() {
        let strip = |prefix: &str, uri: &'static str| {
            let prefix: RoutePrefix = prefix.parse().unwrap();
            prefix.strip(&Uri::from_static(uri)).map(|uri| uri.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(strip("/", "/devices?x=1"), some("/devices?x=1"));
        assert_eq!(strip("/a/b/", "/a/b/devices?x=%2F"), some("/devices?x=%2F"));
        assert_eq!(strip("/a", "/a/"), some("/"));
        for outside in ["/", "/a", "/ab/x", "/b", "/A/x", "/a?x", "/x/a/"] {
            assert_eq!(strip("/a", outside), None, "{outside}");
        }
    }

    #[test]
    fn rejects_invalid_prefixes_and_urls() {
        for invalid in ["", "a", "/a b", "//a", "/{x}", "/é", "/a?b"] {
            assert!(invalid.parse::<RoutePrefix>().is_err(), "{invalid}");
        }
        for invalid in
            ["", "/a", "ftp://x", "http://u:p@x", "http://x/?a", "http://x/#a", "http://x/é"]
        {
            assert!(invalid.parse::<ExternalUrl>().is_err(), "{invalid}");
        }
        let url: ExternalUrl = "https://Example.org:444/wickr/".parse().unwrap();
        assert_eq!(
            (url.as_str(), url.path().as_str()),
            ("https://example.org:444/wickr", "/wickr")
        );
        let root: ExternalUrl = "http://localhost:1".parse().unwrap();
        assert_eq!((root.as_str(), root.path().as_str()), ("http://localhost:1", ""));
    }
}
