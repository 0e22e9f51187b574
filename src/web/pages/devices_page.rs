//! The page `/devices`.

use askama::Template;

use super::{
    super::DisplaySettings,
    format::{HtmlTime, clipped, clipped_or_blank, counted, duration, grouped},
    links::{DEFAULT_PAGE_SIZE, NavLinks, devices_url},
};
use crate::{
    clock::{Millis, Moment, to_millis},
    inventory::{Freshness, Snapshot},
    query::{BadParameter, Filter, Order, Params, Query, Row, Sort, find},
    text::format_duration,
    wickr::{ApiTimestamp, NetworkId},
};

/// Only pages have this limit, not the lists of the API.
const MAX_PAGE_SIZE: usize = 1000;
/// The number of options in a list of the form.
const MAX_OPTIONS: usize = 100;

/// Parses the query of a list.
///
/// # Errors
///
/// The first invalid parameter.
pub(super) fn parse_list(text: &str, usernames: bool) -> Result<Params, BadParameter> {
    let params = Params::parse(text).map_err(|mut error| {
        if error.name == "sort" && !usernames {
            error.reason = error.reason.replace("username, ", "");
        }
        error
    })?;
    if params.query.sort == Sort::Username && !usernames {
        return Err(BadParameter::new("sort", "cannot be username: metrics.username is false"));
    }
    Ok(params)
}

/// Parses the query of the page.
///
/// # Errors
///
/// The first invalid parameter.
pub(super) fn parse(text: &str, usernames: bool) -> Result<Params, BadParameter> {
    let has_limit = form_urlencoded::parse(text.as_bytes())
        .any(|(name, value)| name == "limit" && !value.is_empty());
    let with_limit = format!("{text}&limit={DEFAULT_PAGE_SIZE}");
    let mut params = parse_list(if has_limit { text } else { &with_limit }, usernames)?;
    if params.format.is_some() {
        return Err(BadParameter::new("format", "is a parameter of /api/v1/devices only"));
    }
    if params.query.limit.is_some_and(|limit| limit > MAX_PAGE_SIZE) {
        let reason = format!("must be at most {MAX_PAGE_SIZE}; /api/v1/devices has no maximum");
        return Err(BadParameter::new("limit", reason));
    }
    // The default limit is not part of the URL, either.
    params.has_empty |= has_limit && params.query.limit == Some(DEFAULT_PAGE_SIZE);
    Ok(params)
}

/// An option of a form field.
struct FieldOption {
    value: String,
    text: String,
    selected: bool,
}

/// A drop-down list of a form.
struct Select {
    name: &'static str,
    text: &'static str,
    options: Vec<FieldOption>,
}

struct ColumnHeader {
    text: &'static str,
    link: String,
    /// The value of `aria-sort`, if the table is sorted by this column.
    sorted: Option<&'static str>,
    class: &'static str,
}

struct DeviceRow {
    network_id: String,
    network_name: String,
    user_id: String,
    user_link: String,
    username: Option<String>,
    app_id: Option<String>,
    device_type: String,
    status: String,
    suspended: bool,
    idle: Option<String>,
    never_logged_in: bool,
    last_login: Option<HtmlTime>,
    created: Option<HtmlTime>,
    sso_limit: Option<String>,
    sso_expired: Option<bool>,
    sso_ends_in: Option<String>,
    stale: bool,
    read: HtmlTime,
}

#[derive(Template)]
#[template(path = "devices.html", config = "src/web/pages/askama.toml")]
pub(super) struct DevicesPage {
    links: NavLinks,
    generated: HtmlTime,
    notes: Vec<String>,
    query: Query,
    networks: Vec<FieldOption>,
    user_id: String,
    types: Vec<FieldOption>,
    statuses: Vec<FieldOption>,
    selects: Vec<Select>,
    idle_over: String,
    idle_up_to: String,
    idle_suggestions: Vec<String>,
    /// None if SSO limits are unknown and the filter does not use them.
    sso_expires_within: Option<String>,
    sso_suggestions: Vec<String>,
    limits: Vec<FieldOption>,
    is_filtered: bool,
    /// Describes the filter; visible in print, too, where the form is not.
    filter: String,
    count: String,
    range: Option<String>,
    order: String,
    headers: Vec<ColumnHeader>,
    rows: Vec<DeviceRow>,
    sso: bool,
    json: String,
    csv: String,
    first: Option<String>,
    previous: Option<String>,
    next: Option<String>,
    last: Option<String>,
    page: String,
    is_past_end: bool,
}

pub(super) fn page(
    snapshot: &Snapshot,
    now: Moment,
    query: &Query,
    settings: &DisplaySettings,
    links: NavLinks,
) -> DevicesPage {
    let found = find(snapshot, now, query);
    let sso = snapshot.networks.iter().any(|network| network.sso.is_some());
    let size = query.limit.unwrap_or(DEFAULT_PAGE_SIZE);
    let pages = found.matched.div_ceil(size).max(1);
    let page_url = |page: usize| devices_url("/devices", &Query { page, ..query.clone() });
    let api_url = |format: &str| {
        let all = Query { limit: None, page: 1, ..query.clone() };
        let url = devices_url("/api/v1/devices", &all);
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}format={format}")
    };
    let filter = &query.filter;
    let types = snapshot.networks.iter().flat_map(|network| &network.types);
    let first = query.skip().saturating_add(1);
    let last = query.skip().saturating_add(found.rows.len());
    DevicesPage {
        links,
        generated: HtmlTime::new(now.time, now.time),
        notes: found.scope.notes(),
        networks: network_options(snapshot, &filter.networks),
        user_id: filter.users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        types: options(types.map(|label| &**label), &filter.device_types),
        statuses: options(found.statuses.iter().map(|label| &**label), &filter.statuses),
        selects: selects(filter, sso),
        idle_over: filter.idle_over.map(format_duration).unwrap_or_default(),
        idle_up_to: filter.idle_up_to.map(format_duration).unwrap_or_default(),
        idle_suggestions: settings.idle_buckets.iter().copied().map(format_duration).collect(),
        sso_expires_within: match filter.sso_expires_within.map(format_duration) {
            None => sso.then(String::new),
            within => within,
        },
        sso_suggestions: settings.sso_horizons.iter().copied().map(format_duration).collect(),
        limits: limits(size),
        filter: describe(filter),
        is_filtered: *filter != Filter::default(),
        count: match found.matched {
            0 if !found.scope.is_complete() => "0 known devices".into(),
            matched => counted(matched, "device", "devices"),
        },
        range: (!found.rows.is_empty()).then(|| format!("{} to {}", grouped(first), grouped(last))),
        order: order(query),
        headers: headers(query, sso),
        rows: found
            .rows
            .iter()
            .map(|row| device(row, query, now.time, settings.usernames))
            .collect(),
        sso,
        json: api_url("json"),
        csv: api_url("csv"),
        first: (query.page > 2).then(|| page_url(1)),
        previous: (query.page > 1).then(|| page_url((query.page - 1).min(pages))),
        next: (query.page < pages).then(|| page_url(query.page.saturating_add(1))),
        last: (query.page.saturating_add(1) < pages).then(|| page_url(pages)),
        page: format!("Page {} of {}", grouped(query.page), grouped(pages)),
        is_past_end: query.page > pages,
        query: query.clone(),
    }
}

fn describe(filter: &Filter) -> String {
    let params = Query { filter: filter.clone(), ..Query::default() }.to_params();
    let parts = form_urlencoded::parse(params.as_bytes());
    let parts =
        parts.map(|(name, value)| format!("{} {}", name.replace('_', " "), clipped(&value)));
    parts.collect::<Vec<_>>().join(", ")
}

fn network_options(snapshot: &Snapshot, selected: &[NetworkId]) -> Vec<FieldOption> {
    let mut options: Vec<_> = snapshot
        .networks
        .iter()
        .take(MAX_OPTIONS)
        .map(|network| {
            let (id, name) = (network.identity.id.to_string(), clipped(&network.identity.name));
            let text = if name.is_empty() { id.clone() } else { format!("{name} ({id})") };
            FieldOption { value: id, text, selected: false }
        })
        .collect();
    let ids = selected.iter().map(ToString::to_string).collect::<Vec<_>>();
    match options.iter_mut().find(|option| [&option.value[..]] == ids[..]) {
        Some(known) => known.selected = true,
        None if ids.is_empty() => {}
        // One option stands for several or unknown networks.
        None => {
            options.push(FieldOption { value: ids.join(","), text: ids.join(", "), selected: true })
        }
    }
    options
}

/// The known and the selected texts, sorted, without duplicates.
fn options<'a>(known: impl Iterator<Item = &'a str>, selected: &'a [String]) -> Vec<FieldOption> {
    // Browsers change these characters when they submit a form.
    let is_preserved = |text: &&str| !text.is_empty() && !text.contains(['\r', '\n', '\0']);
    let mut texts: Vec<&str> = known.filter(is_preserved).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.truncate(MAX_OPTIONS);
    texts.extend(selected.iter().map(String::as_str));
    texts.sort_unstable();
    texts.dedup();
    let option = |text: &str| FieldOption {
        value: text.into(),
        text: clipped(text),
        selected: selected.iter().any(|selected| selected == text),
    };
    texts.into_iter().map(option).collect()
}

fn selects(filter: &Filter, sso: bool) -> Vec<Select> {
    let select = |name, text, current: &str, options: [(&str, &str); 2]| Select {
        name,
        text,
        options: [("", "any")]
            .into_iter()
            .chain(options)
            .map(|(value, text)| FieldOption {
                value: value.into(),
                text: text.into(),
                selected: value == current,
            })
            .collect(),
    };
    let boolean = |name, text, current: Option<bool>, yes, no| {
        let current = current.map_or("", |current| if current { "true" } else { "false" });
        select(name, text, current, [("true", yes), ("false", no)])
    };
    let mut selects = vec![
        boolean("suspended", "Suspended", filter.suspended, "yes", "no"),
        boolean("reset", "Marked for reset", filter.reset, "yes", "no"),
        boolean("never_logged_in", "Logged in", filter.never_logged_in, "never", "at least once"),
    ];
    // An active filter is always shown.
    if sso || filter.sso_expired.is_some() {
        let expired = filter.sso_expired;
        selects.push(boolean("sso_expired", "SSO session", expired, "expired", "not expired"));
    }
    let freshness = filter.freshness.map_or("", Freshness::as_str);
    let values = [("fresh", "fresh"), ("stale", "stale")];
    selects.push(select("freshness", "Data", freshness, values));
    selects
}

fn limits(size: usize) -> Vec<FieldOption> {
    let mut sizes = vec![25, DEFAULT_PAGE_SIZE, 250, MAX_PAGE_SIZE, size];
    sizes.sort_unstable();
    sizes.dedup();
    let option = |limit: usize| FieldOption {
        value: limit.to_string(),
        text: grouped(limit),
        selected: limit == size,
    };
    sizes.into_iter().map(option).collect()
}

fn order(query: &Query) -> String {
    match (query.sort, direction(query)) {
        (Sort::IdleSeconds, "descending") => "idle time, most idle first".into(),
        (Sort::IdleSeconds, _) => "idle time, least idle first".into(),
        (sort, direction) => format!("{}, {direction}", sort.as_str().replace('_', " ")),
    }
}

fn direction(query: &Query) -> &'static str {
    match query.order() {
        Order::Ascending => "ascending",
        Order::Descending => "descending",
    }
}

fn headers(query: &Query, sso: bool) -> Vec<ColumnHeader> {
    let header = |sort: Sort, text, class| {
        let is_sorted = query.sort == sort;
        let order = if is_sorted { query.order().reversed() } else { sort.default_order() };
        let target = Query { sort, order: Some(order), page: 1, ..query.clone() };
        let sorted = is_sorted.then(|| direction(query));
        ColumnHeader { text, link: devices_url("/devices", &target), sorted, class }
    };
    let mut headers = vec![
        header(Sort::IdleSeconds, "Idle", "num"),
        header(Sort::LastLogin, "Last login", ""),
        header(Sort::NetworkId, "Network", ""),
        header(Sort::UserId, "User", ""),
        header(Sort::DeviceType, "Type", ""),
        header(Sort::AppId, "App id", ""),
        header(Sort::Status, "Status", ""),
    ];
    if sso {
        headers.push(header(Sort::SsoMaxIdleSeconds, "SSO limit", ""));
    }
    headers.extend([header(Sort::Created, "Created", ""), header(Sort::ReadAt, "Data read", "")]);
    headers
}

fn device(row: &Row<'_>, query: &Query, now: Millis, usernames: bool) -> DeviceRow {
    let Row { network, user, device, .. } = row;
    let html_time = |time: ApiTimestamp| time.millis().map(|at| HtmlTime::new(at, now));
    let mut of_user = Query { page: 1, limit: query.limit, ..Query::default() };
    of_user.filter.networks = vec![network.identity.id.clone()];
    of_user.filter.users = vec![user.id.clone()];
    let username = user.facts.as_ref().and_then(|facts| facts.username.as_deref());
    DeviceRow {
        network_id: network.identity.id.to_string(),
        network_name: clipped(&network.identity.name),
        user_id: user.id.to_string(),
        user_link: devices_url("/devices", &of_user),
        username: username.filter(|_| usernames).map(clipped),
        app_id: device.app_id.as_ref().map(|id| clipped(&id.text())),
        device_type: clipped_or_blank(device.device_type()),
        status: clipped(device.status()),
        // The status can be `Suspended`, too.
        suspended: device.suspended() == Some(true)
            && !device.status().eq_ignore_ascii_case("suspended"),
        idle: row.idle.map(duration),
        never_logged_in: device.last_login == ApiTimestamp::NEVER,
        last_login: html_time(device.last_login),
        created: html_time(device.created),
        sso_limit: user.sso_max_idle().map(|limit| duration(to_millis(limit))),
        sso_expired: row.sso_expired(),
        sso_ends_in: row.sso_ends_in().filter(|ends_in| *ends_in >= 0).map(duration),
        stale: row.freshness == Freshness::Stale,
        read: HtmlTime::new(row.data.at, now),
    }
}
