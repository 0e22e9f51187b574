//! Requests to the web server: headers, queries, client certificates.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::Service;
use wickr_exporter::{
    clock::{Clock, ManualClock, Moment},
    exposition::{Encoding, Format, Group, encoding_for, format_for},
    inventory::{self, NetworkIdentity, Publisher, Reader, Registrar},
    query::{Order, Params, Query, Row, Sort, find},
    telemetry::Metrics,
    web::{
        DisplaySettings, Peer, ResponseSlots, RoutePrefix, Site, credentials, groups, names_of,
        router,
    },
    wickr::{ApiTimestamp, Device, DeviceAttributes, ErrorKind},
};

use super::service::split_head;

/// The values of `Accept` and `Accept-Encoding`, one per line.
pub fn negotiation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (accept, accept_encoding) = text.split_once('\n').unwrap_or((text, text));
    let (format, encoding) = (format_for(accept), encoding_for(accept_encoding));
    // Case, spaces and unsupported values do not change the result.
    for same in [
        accept.to_ascii_uppercase(),
        accept.to_ascii_lowercase(),
        format!(" {accept}\t"),
        accept.replace(',', " ,\t"),
        format!("image/png;q=0.7,{accept}"),
        format!("{accept},,image/png"),
    ] {
        assert_eq!(format_for(&same), format, "{same:?}");
    }
    for same in [
        accept_encoding.to_ascii_uppercase(),
        accept_encoding.to_ascii_lowercase(),
        format!(" {accept_encoding}\t"),
        accept_encoding.replace(',', "\t, "),
        format!("br;q=0.7,{accept_encoding}"),
        format!("{accept_encoding},,br"),
    ] {
        assert_eq!(encoding_for(&same), encoding, "{same:?}");
    }
    // A value with q=0 is not used.
    let excluded = format!("application/openmetrics-text;q=0,text/plain;q=1,{accept}");
    let repeated = accept.to_ascii_lowercase().contains("openmetrics");
    assert!(repeated || format_for(&excluded) == Format::Text, "{excluded:?}");
    let excluded = format!("gzip;q=0,zstd;q=0,{accept_encoding}");
    let repeated = accept_encoding.to_ascii_lowercase().contains("gzip");
    assert!(repeated || encoding_for(&excluded) == Encoding::Identity, "{excluded:?}");
    if !accept_encoding.contains(['*', 'z', 'Z']) {
        assert_eq!(encoding, Encoding::Identity);
    }
    if !accept.to_ascii_lowercase().contains("openmetrics") && !accept.contains('*') {
        assert_eq!(format, Format::Text);
    }
}

/// The values of `Authorization`, one per line: the parsed name and password encode to the value.
pub fn authorization(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(header::AUTHORIZATION, value);
    }
    let Some((name, password)) = credentials(&headers) else { return };
    assert_eq!(headers.len(), 1);
    assert!(!name.contains(&b':'));
    let value = format!("Basic {}", STANDARD.encode([&name[..], b":", &password].concat()));
    let line = headers[header::AUTHORIZATION].as_bytes();
    assert!(line[..6].eq_ignore_ascii_case(b"basic "));
    assert_eq!(line[6..].trim_ascii(), &value.as_bytes()[6..]);
    let again = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
    assert_eq!(credentials(&again), Some((name, password)));
}

/// Client certificates: the number and length of names is bounded.
pub fn certificates(data: &[u8]) {
    let Some(names) = names_of(&data.to_vec().into()) else { return };
    assert!(
        names.len() <= data.len()
            && names.iter().map(String::len).sum::<usize>() <= 20 * data.len()
    );
}

/// A fleet for queries, with hostile texts.
pub struct Fleet {
    reader: Reader,
    _registrar: Registrar,
    _publishers: Vec<Publisher>,
}

const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
/// Contains an element that no page has.
const HOSTILE: &str = "\"'><xss onload=x>&lt;{{7*7}}\u{202e}";

impl Fleet {
    fn new() -> Fleet {
        let (registrar, reader) = inventory::open();
        let network = |id: &str, name: &str| NetworkIdentity {
            id: id.parse().unwrap(),
            name: name.into(),
            region: "us-east-1".into(),
            account: HOSTILE.into(),
            interval: Duration::from_secs(300),
            stale_after: Duration::from_secs(900),
        };
        let mut publishers = Vec::new();
        for (id, name) in [("12345678", HOSTILE), ("87654321", "")] {
            let mut publisher = registrar.add(network(id, name), None);
            let users: Vec<_> = (1..=6).map(|n: u32| n.to_string().parse().unwrap()).collect();
            publisher.begin(&users);
            for (n, user) in (0..).zip(&users) {
                let device = |m: i64| Device {
                    app_id: (m != 2).then(|| format!("{HOSTILE}{n}{m}").into()),
                    attributes: DeviceAttributes::new(
                        ["iOS", "Android", HOSTILE][m as usize % 3],
                        ["Active", "Reset", "", HOSTILE][m as usize % 4],
                        [None, Some(true), Some(false)][m as usize % 3],
                    )
                    .into(),
                    created: ApiTimestamp::at_millis(NOW - 400 * DAY),
                    last_login: match m {
                        0 => ApiTimestamp::NEVER,
                        1 => ApiTimestamp::INVALID,
                        _ => ApiTimestamp::at_millis(NOW - n * m * DAY / 2),
                    },
                };
                match n {
                    5 => publisher.record_failure(user, ErrorKind::Timeout),
                    _ => {
                        publisher.record_devices(user, (0..n).map(device).collect(), NOW - n * 1000)
                    }
                }
            }
            publisher.record_failure(&users[4], ErrorKind::ServerError);
            publisher.end(Moment::unstepped(NOW), Duration::from_secs(1), true);
            publishers.push(publisher);
        }
        registrar.mark_complete();
        Fleet { reader, _registrar: registrar, _publishers: publishers }
    }
}

static FLEET: LazyLock<Fleet> = LazyLock::new(Fleet::new);

/// Queries of scrapes and of lists: an accepted query survives serialization, and its pages are parts
/// of the complete list.
pub fn queries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let offered = [Group::Network, Group::User, Group::Exporter];
    if let Ok(selected) = groups(text, &offered) {
        assert!(selected.iter().all(|group| offered.contains(group)));
        assert!(selected.is_sorted() && groups(text, &[]) == Ok(vec![]));
        let query: Vec<_> =
            selected.iter().map(|group| format!("collect%5b]={}", group.as_str())).collect();
        if !selected.is_empty() {
            assert_eq!(groups(&query.join("&"), &offered), Ok(selected));
        }
    }
    let query = match Params::parse(text) {
        Ok(params) => params.query,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control) && text.chars().count() < 400, "{text:?}");
            return;
        }
    };
    let written = query.to_params();
    let again = Params::parse(&written).unwrap();
    assert!(!again.has_empty);
    // Serialization rounds to milliseconds and omits the default order.
    let mut same = query.clone();
    for time in [&mut same.filter.idle_over, &mut same.filter.idle_up_to].into_iter().flatten() {
        *time = Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000);
    }
    same.order = query.order.filter(|order| *order != query.sort.default_order());
    assert_eq!(again.query, same, "{written}");
    assert_eq!(again.query.to_params(), written);

    let snapshot = FLEET.reader.snapshot();
    let complete =
        find(&snapshot, Moment::unstepped(NOW), &Query { limit: None, page: 1, ..query.clone() });
    assert_eq!(complete.rows.len(), complete.matched);
    let key = |row: &Row<'_>| {
        let address = row.device as *const Device as usize;
        (row.network.identity.id.to_string(), row.user.id.to_string(), address)
    };
    let all: Vec<_> = complete.rows.iter().map(key).collect();
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len(), "duplicate rows");
    if let Some(limit) = query.limit {
        let skipped = limit.saturating_mul(query.page - 1);
        let page = find(&snapshot, Moment::unstepped(NOW), &query);
        let page: Vec<_> = page.rows.iter().map(key).collect();
        let expected: Vec<_> = all.into_iter().skip(skipped).take(limit).collect();
        assert_eq!(page, expected);
    }
    for row in &complete.rows {
        let filter = &query.filter;
        assert!(filter.suspended.is_none() || filter.suspended == row.device.suspended());
        assert!(filter.users.is_empty() || filter.users.contains(&row.user.id));
        let idle_over = filter.idle_over.map(|limit| limit.as_millis() as i64);
        assert!(idle_over.is_none_or(|limit| row.idle.is_some_and(|idle| idle > limit)));
    }
    if query.sort == Sort::IdleSeconds {
        let known = complete.rows.iter().filter_map(|row| row.idle);
        let known: Vec<_> = match query.order() {
            Order::Ascending => known.collect(),
            Order::Descending => known.map(|idle| -idle).collect(),
        };
        assert!(known.is_sorted());
    }
}

struct Server {
    runtime: tokio::runtime::Runtime,
    routes: axum::Router,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let settings = DisplaySettings {
        groups: Group::ALL.to_vec(),
        idle_buckets: vec![Duration::from_secs(3600)],
        sso_horizons: vec![Duration::from_secs(86_400)],
        usernames: true,
        scrape_slots: ResponseSlots::new(8),
    };
    let site = Site {
        reader: FLEET.reader.clone(),
        metrics: Arc::new(Metrics::new().unwrap()),
        clock: Clock::manual(&ManualClock::new(NOW)),
        settings: Arc::new(arc_swap::ArcSwap::from_pointee(settings)),
        telemetry_path: "/metrics".parse().unwrap(),
        link_prefix: RoutePrefix::default(),
        reloads: None,
        compression_cache: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Server { runtime, routes: router(site) }
});

/// The elements that pages use.
const ELEMENTS: [&str; 52] = [
    "a", "article", "body", "br", "button", "caption", "code", "datalist", "dd", "div", "dl", "dt",
    "em", "fieldset", "footer", "form", "h1", "h2", "h3", "h4", "head", "header", "html", "input",
    "label", "legend", "li", "link", "main", "meta", "nav", "ol", "option", "p", "pre", "progress",
    "rect", "section", "select", "small", "span", "strong", "svg", "table", "tbody", "td", "th",
    "thead", "time", "title", "tr", "ul",
];

/// Requests: a line with method and target, a line for each header, an empty line and a body. The
/// response is no server error, has the security headers, and contains no markup of the request.
pub fn requests(data: &[u8]) {
    let (head, body) = split_head(data);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let (method, target) = first.split_once(' ').unwrap_or(("GET", first));
    let Ok(method) = method.parse::<Method>() else { return };
    let mut request = Request::builder().method(method.clone()).uri(target);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let Ok(request) = request.body(axum::body::Body::from(body.to_vec())) else { return };
    let (status, headers, body) = respond(request);
    assert!(!status.is_server_error(), "{status}: {first}");
    for name in ["content-security-policy", "x-content-type-options", "cache-control"] {
        assert!(headers.contains_key(name), "{first}: {headers:?}");
    }
    let kind = headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    if kind.starts_with("text/html") {
        let page = String::from_utf8(body).unwrap();
        for tag in page.split('<').skip(1) {
            let tag = tag.trim_start_matches(['/', '!']);
            let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
            let known = ELEMENTS.contains(&&tag[..end]) || tag.starts_with("DOCTYPE html>");
            assert!(known, "{first}: <{}", tag.chars().take(60).collect::<String>());
            // Attribute values are in quotes.
            let bare: String = tag.split('>').next().unwrap().split('"').step_by(2).collect();
            assert!(!bare.to_lowercase().contains(" on"), "{first}: <{tag}");
        }
    } else if kind.starts_with("application/json") && method != Method::HEAD && !body.is_empty() {
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
    if status.is_redirection() {
        let location = headers[header::LOCATION].to_str().unwrap();
        assert!(location.starts_with("/devices") && !location.starts_with("//"), "{location}");
        let next = Request::get(location).body(axum::body::Body::empty()).unwrap();
        let (status, _, _) = respond(next);
        assert_eq!(status, StatusCode::OK, "{location}");
    }
}

fn respond(mut request: Request<axum::body::Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    request.extensions_mut().insert(Peer::of([127, 0, 0, 1].into()));
    SERVER.runtime.block_on(async {
        let response = match SERVER.routes.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a complete body").to_bytes();
        (parts.status, parts.headers, body.to_vec())
    })
}
