//! Renders the documentation as HTML; the build script includes this file.

use std::{collections::HashMap, fmt::Write as _, path::Path};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// A page below `/docs`.
pub(crate) struct RenderedDocument {
    /// The path below `/docs/`; empty for the index.
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) html: String,
}

/// The slug of a Markdown file, by its path in the repository; `None` if it is not served.
fn slug(path: &str) -> Option<&str> {
    match path {
        "docs/README.md" => Some(""),
        "README.md" => Some("readme"),
        "SECURITY.md" => Some("security-policy"),
        "deploy/README.md" => Some("deploy"),
        path => path.strip_prefix("docs/")?.strip_suffix(".md").filter(|name| !name.contains('/')),
    }
}

/// Renders the file at `path` of the repository, or `None` if it is not served.
///
/// Headings get the same ids as on GitHub. A link to a file that is not served becomes its text, and
/// an image its alternative text.
pub(crate) fn render(path: &str, markdown: &str) -> Option<RenderedDocument> {
    let slug = slug(path)?.to_owned();
    let events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let mut ids = HashMap::new();
    let mut title = String::new();
    let (mut rendered, mut dropped) = (Vec::with_capacity(events.len()), false);
    for (index, event) in events.iter().enumerate() {
        rendered.push(match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let text = heading(&events[index..]);
                let id = unique(&mut ids, &text);
                if *level == HeadingLevel::H1 && title.is_empty() {
                    title = text;
                }
                let (classes, attrs) = (classes.clone(), attrs.clone());
                Event::Start(Tag::Heading { level: *level, id: Some(id.into()), classes, attrs })
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let Some(target) = target(path, dest_url) else {
                    dropped = true;
                    continue;
                };
                let (link_type, title, id) = (*link_type, title.clone(), id.clone());
                Event::Start(Tag::Link { link_type, dest_url: CowStr::from(target), title, id })
            }
            Event::End(TagEnd::Link) if std::mem::take(&mut dropped) => continue,
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => continue,
            event => event.clone(),
        });
    }
    let mut html = String::new();
    html::push_html(&mut html, rendered.into_iter());
    Some(RenderedDocument { slug, title, html })
}

/// The text of the heading at the start of `events`.
fn heading(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let text = inside.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(&**text),
        _ => None,
    });
    text.collect()
}

/// GitHub's id of a heading: letters, digits and hyphens; a repeated one gets a number.
fn unique(ids: &mut HashMap<String, usize>, text: &str) -> String {
    let kept = text.to_lowercase().replace(' ', "-");
    let mut id: String =
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
    let count = ids.entry(id.clone()).or_insert(0);
    *count += 1;
    if *count > 1 {
        // Writing to a String cannot fail.
        let _ = write!(id, "-{}", *count - 1);
    }
    id
}

/// The target of a link in the file at `path`; `None` if it is not served.
fn target(path: &str, link: &str) -> Option<String> {
    if link.starts_with('#') || link.contains("://") {
        return Some(link.to_owned());
    }
    let (file, fragment) = match link.split_once('#') {
        Some((file, fragment)) => (file, format!("#{fragment}")),
        None => (link, String::new()),
    };
    let mut folders: Vec<&str> = Path::new(path).parent()?.to_str()?.split('/').collect();
    folders.retain(|folder| !folder.is_empty());
    for part in file.split('/') {
        match part {
            ".." => drop(folders.pop()?),
            "." | "" => {}
            name => folders.push(name),
        }
    }
    let slug = slug(&folders.join("/"))?.to_owned();
    let separator = if slug.is_empty() { "" } else { "/" };
    Some(format!("/docs{separator}{slug}{fragment}"))
}
