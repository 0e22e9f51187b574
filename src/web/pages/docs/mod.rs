//! The documentation, which the build script renders as HTML.

use askama::Template;

use super::links::NavLinks;

/// A page of the documentation.
pub(super) struct Document {
    /// The path below the prefix.
    pub(super) path: &'static str,
    title: &'static str,
    html: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

#[derive(Template)]
#[template(path = "docs.html", config = "src/web/pages/askama.toml")]
pub(super) struct DocsPage {
    links: NavLinks,
    title: &'static str,
    html: String,
}

impl Document {
    /// The page with links below the prefix of `links`.
    pub(super) fn page(&self, links: NavLinks) -> DocsPage {
        let html = self.html.replace("href=\"/docs", &format!("href=\"{}/docs", links.base));
        DocsPage { links, title: self.title, html }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Values of an attribute in all documents, with the path of the document.
    fn attributes(name: &str) -> Vec<(&'static str, String)> {
        let of = |document: &Document| {
            let start = format!(" {name}=\"");
            let parts = document.html.split(&start).skip(1);
            let values = parts.filter_map(|part| part.split('"').next()).map(str::to_owned);
            values.map(|value| (document.path, value)).collect::<Vec<_>>()
        };
        DOCUMENTS.iter().flat_map(of).collect()
    }

    #[test]
    fn every_link_leads_to_a_heading_or_document() {
        let headings: BTreeSet<_> =
            attributes("id").into_iter().map(|(path, id)| format!("{path}#{id}")).collect();
        let links = attributes("href");
        assert!(links.len() > 100 && headings.len() > 100);
        for (path, link) in links {
            let target = if link.starts_with('#') { format!("{path}{link}") } else { link.clone() };
            let exists = target.contains("://")
                || headings.contains(&target)
                || DOCUMENTS.iter().any(|document| document.path == target);
            assert!(exists, "{path}: {link}");
        }
    }

    #[test]
    fn pages_have_no_inline_styles_and_scripts() {
        for document in DOCUMENTS {
            assert!(!document.title.is_empty(), "{}", document.path);
            for forbidden in [" style=", "<script", "<img", " align="] {
                assert!(!document.html.contains(forbidden), "{}: {forbidden}", document.path);
            }
        }
    }
}
