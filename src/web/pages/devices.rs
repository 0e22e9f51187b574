//! `/devices`: the devices behind a figure, for people.

use crate::{
    clock::Millis,
    inventory::{Freshness, Snapshot},
    query::{self, BadParameter, Order, Params, Query, Row, Sort, find},
    wickr::{ApiTimestamp, NetworkId},
};
use askama::Template;

use super::{
    super::Shown,
    view::Links,
    words::{Moment, clipped, counted, grouped, named, span},
};

/// Devices on a page, where nobody says how many.
const PAGE: usize = 100;
/// The most devices on a page. Lists for tools have no such bound.
const LARGEST_PAGE: usize = 1000;
/// Beyond so many there is no choosing from a list.
const MOST_CHOICES: usize = 100;

/// Reads the parameters of a list.
///
/// # Errors
///
/// The parameter that cannot be understood.
pub(super) fn check(text: &str, usernames: bool) -> Result<Params, BadParameter> {
    let params = Params::parse(text).map_err(|mut error| {
        if error.name == "sort" && !usernames {
            error.reason = error.reason.replace("username, ", "");
        }
        error
    })?;
    if params.query.sort == Sort::Username && !usernames {
        return Err(BadParameter::new(
            "sort",
            "usernames are not shown here; see metrics.username",
        ));
    }
    Ok(params)
}

/// Reads the parameters of the page.
///
/// # Errors
///
/// The parameter that cannot be understood.
pub(super) fn read(text: &str, usernames: bool) -> Result<Params, BadParameter> {
    // A page without a limit has one: it goes without saying.
    let with_limit = format!("{text}&limit={PAGE}");
    let has_limit = form_urlencoded::parse(text.as_bytes())
        .any(|(name, value)| name == "limit" && !value.is_empty());
    let mut params = check(if has_limit { text } else { &with_limit }, usernames)?;
    if params.format.is_some() {
        return Err(BadParameter::new(
            "format",
            "is for /api/v1/devices; this is a page for people",
        ));
    }
    if params.query.limit.is_some_and(|limit| limit > LARGEST_PAGE) {
        let why = format!("is at most {LARGEST_PAGE} on a page; /api/v1/devices has no bound");
        return Err(BadParameter::new("limit", why));
    }
    if params.query.limit == Some(PAGE) && has_limit {
        params.has_empty = true;
    }
    Ok(params)
}

/// The address of a query on the page at `path`.
pub(super) fn link(path: &str, query: &Query) -> String {
    let usual = path == "/devices" && query.limit == Some(PAGE);
    let query = Query { limit: query.limit.filter(|_| !usual), ..query.clone() };
    match query.to_params() {
        params if params.is_empty() => path.to_owned(),
        params => format!("{path}?{params}"),
    }
}

/// Something to choose.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) chosen: bool,
}

/// A question that is answered with yes, no or not at all.
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) choices: Vec<Choice>,
}

/// A column's head.
pub(super) struct Head {
    pub(super) text: &'static str,
    pub(super) link: String,
    /// The value of `aria-sort`, if the table is in the order of this column.
    pub(super) sorted: Option<&'static str>,
    pub(super) class: &'static str,
}

/// A device.
pub(super) struct Line {
    pub(super) network_id: String,
    pub(super) network_name: String,
    pub(super) user_id: String,
    pub(super) user_link: String,
    pub(super) username: Option<String>,
    pub(super) app_id: Option<String>,
    pub(super) device_type: String,
    pub(super) status: String,
    pub(super) suspended: bool,
    pub(super) idle: Option<String>,
    pub(super) never: bool,
    pub(super) last_login: Option<Moment>,
    pub(super) created: Option<Moment>,
    pub(super) sso_limit: Option<String>,
    pub(super) sso_expired: Option<bool>,
    pub(super) stale: bool,
    pub(super) read: Moment,
}

#[derive(Template)]
#[template(path = "devices.html", config = "src/web/pages/askama.toml")]
pub(super) struct DevicesPage {
    pub(super) links: Links,
    pub(super) generated: Moment,
    pub(super) notes: Vec<String>,
    pub(super) query: Query,
    pub(super) networks: Vec<Choice>,
    pub(super) user_id: String,
    pub(super) types: Vec<Choice>,
    pub(super) statuses: Vec<Choice>,
    pub(super) questions: Vec<Question>,
    pub(super) idle_over: String,
    pub(super) idle_up_to: String,
    pub(super) idle_choices: Vec<String>,
    pub(super) limits: Vec<Choice>,
    pub(super) is_filtered: bool,
    /// The filter in words, for who reads it on paper.
    pub(super) filter: String,
    pub(super) count: String,
    pub(super) range: Option<String>,
    pub(super) order: String,
    pub(super) heads: Vec<Head>,
    pub(super) lines: Vec<Line>,
    pub(super) sso: bool,
    pub(super) json: String,
    pub(super) csv: String,
    pub(super) first: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    pub(super) last: Option<String>,
    pub(super) page: String,
    pub(super) beyond: bool,
}

pub(super) fn page(
    snapshot: &Snapshot,
    now: Millis,
    query: &Query,
    shown: &Shown,
    links: Links,
) -> DevicesPage {
    let found = find(snapshot, now, query);
    let sso = snapshot.networks.iter().any(|network| network.sso.is_some());
    let size = query.limit.unwrap_or(PAGE);
    let pages = found.matched.div_ceil(size).max(1);
    let at = |page: usize| link("/devices", &Query { page, ..query.clone() });
    let all = Query { limit: None, page: 1, ..query.clone() };
    let api = |format: &str| {
        let address = link("/api/v1/devices", &all);
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}format={format}")
    };
    let filter = &query.filter;
    let written =
        |time: Option<std::time::Duration>| time.map(query::format_duration).unwrap_or_default();
    let first = query.skip().saturating_add(1);
    DevicesPage {
        links,
        generated: Moment::new(now, now),
        notes: found.scope.notes(),
        networks: networks(snapshot, &filter.networks),
        user_id: filter.users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        types: choices(
            snapshot.networks.iter().flat_map(|network| &network.types).map(|label| &**label),
            &filter.device_types,
        ),
        statuses: choices(found.statuses.iter().map(|label| &**label), &filter.statuses),
        questions: questions(query, sso),
        idle_over: written(filter.idle_over),
        idle_up_to: written(filter.idle_up_to),
        idle_choices: shown
            .idle_buckets
            .iter()
            .map(|bound| query::format_duration(*bound))
            .collect(),
        limits: limits(size),
        filter: in_words(filter),
        is_filtered: *filter != query::Filter::default(),
        // None that is known is not none, where not all is known.
        count: match found.matched {
            0 if !found.scope.is_complete() => "0 known devices".into(),
            matched => counted(matched, "device", "devices"),
        },
        range: (!found.rows.is_empty()).then(|| {
            format!(
                "{} to {}",
                grouped(first),
                grouped(query.skip().saturating_add(found.rows.len()))
            )
        }),
        order: order(query),
        heads: heads(query, sso),
        lines: found.rows.iter().map(|row| line(row, query, now, shown.usernames)).collect(),
        sso,
        json: api("json"),
        csv: api("csv"),
        first: (query.page > 2).then(|| at(1)),
        previous: (query.page > 1).then(|| at((query.page - 1).min(pages))),
        next: (query.page < pages).then(|| at(query.page.saturating_add(1))),
        last: (query.page.saturating_add(1) < pages).then(|| at(pages)),
        page: format!("Page {} of {}", grouped(query.page), grouped(pages)),
        beyond: query.page > pages,
        query: query.clone(),
    }
}

fn in_words(filter: &query::Filter) -> String {
    let params = Query { filter: filter.clone(), ..Query::default() }.to_params();
    let parts = form_urlencoded::parse(params.as_bytes());
    let parts =
        parts.map(|(name, value)| format!("{} {}", name.replace('_', " "), clipped(&value)));
    parts.collect::<Vec<_>>().join(", ")
}

fn networks(snapshot: &Snapshot, wanted: &[NetworkId]) -> Vec<Choice> {
    let choice = |value: String, text, chosen| Choice { value, text, chosen };
    let mut choices: Vec<_> = snapshot
        .networks
        .iter()
        .take(MOST_CHOICES)
        .map(|network| {
            let (id, name) = (network.identity.id.to_string(), &network.identity.name);
            let name = clipped(name);
            let text = if name.is_empty() { id.clone() } else { format!("{name} ({id})") };
            choice(id, text, false)
        })
        .collect();
    let ids = wanted.iter().map(ToString::to_string).collect::<Vec<_>>();
    match choices.iter_mut().find(|choice| [&choice.value[..]] == ids[..]) {
        Some(known) => known.chosen = true,
        None if ids.is_empty() => {}
        None => choices.push(choice(ids.join(","), ids.join(", "), true)),
    }
    choices
}

/// The texts that there are, and those that are wanted, each once and in order.
fn choices<'a>(there: impl Iterator<Item = &'a str>, wanted: &'a [String]) -> Vec<Choice> {
    let mut texts: Vec<&str> = there.filter(|text| !text.is_empty()).collect();
    texts.sort_unstable();
    texts.dedup();
    // A form cannot give these back as they are: browsers rewrite them.
    let rewritten = |text: &&str| text.contains(['\r', '\n', '\0']);
    texts.retain(|text| !rewritten(text));
    texts.truncate(MOST_CHOICES);
    texts.extend(wanted.iter().map(String::as_str));
    texts.sort_unstable();
    texts.dedup();
    let choice = |text: &str| Choice {
        value: text.into(),
        text: clipped(text),
        chosen: wanted.iter().any(|wanted| wanted == text),
    };
    texts.into_iter().map(choice).collect()
}

fn questions(query: &Query, sso: bool) -> Vec<Question> {
    let filter = &query.filter;
    let question = |name, text, answer: Option<bool>, yes: &str, no: &str| Question {
        name,
        text,
        choices: [("", "any", None), ("true", yes, Some(true)), ("false", no, Some(false))]
            .map(|(value, text, this)| Choice {
                value: value.into(),
                text: text.into(),
                chosen: this == answer,
            })
            .into(),
    };
    let mut questions = vec![
        question("suspended", "Suspended", filter.suspended, "yes", "no"),
        question("reset", "Marked for reset", filter.reset, "yes", "no"),
        question("never_logged_in", "Logged in", filter.never_logged_in, "never", "at least once"),
    ];
    // A filter that is in force is shown, even where it can let nothing pass.
    if sso || filter.sso_expired.is_some() {
        questions.push(question(
            "sso_expired",
            "SSO session",
            filter.sso_expired,
            "expired",
            "not expired",
        ));
    }
    let freshness = filter.freshness.map(|freshness| freshness == Freshness::Fresh);
    let mut fresh = question("freshness", "Data", freshness, "fresh", "stale");
    for (choice, value) in fresh.choices.iter_mut().zip(["", "fresh", "stale"]) {
        choice.value = value.into();
    }
    questions.push(fresh);
    questions
}

fn limits(size: usize) -> Vec<Choice> {
    let mut sizes = vec![25, PAGE, 250, LARGEST_PAGE, size];
    sizes.sort_unstable();
    sizes.dedup();
    let choice =
        |of: usize| Choice { value: of.to_string(), text: grouped(of), chosen: of == size };
    sizes.into_iter().map(choice).collect()
}

fn order(query: &Query) -> String {
    let (sort, order) = (query.sort.as_str().replace('_', " "), query.order());
    match (query.sort, order) {
        (Sort::IdleSeconds, Order::Descending) => "idle time, the most idle first".into(),
        (Sort::IdleSeconds, Order::Ascending) => "idle time, the least idle first".into(),
        (_, Order::Ascending) => format!("{sort}, ascending"),
        (_, Order::Descending) => format!("{sort}, descending"),
    }
}

fn heads(query: &Query, sso: bool) -> Vec<Head> {
    let head = |sort: Sort, text, class| {
        let sorted = query.sort == sort;
        let order = if sorted { query.order().reversed() } else { sort.default_order() };
        let to = Query { sort, order: Some(order), page: 1, ..query.clone() };
        let direction = match query.order() {
            Order::Ascending => "ascending",
            Order::Descending => "descending",
        };
        Head { text, link: link("/devices", &to), sorted: sorted.then_some(direction), class }
    };
    let mut heads = vec![
        head(Sort::IdleSeconds, "Idle", "num"),
        head(Sort::LastLogin, "Last login", ""),
        head(Sort::NetworkId, "Network", ""),
        head(Sort::UserId, "User", ""),
        head(Sort::DeviceType, "Type", ""),
        head(Sort::AppId, "App id", ""),
        head(Sort::Status, "Status", ""),
    ];
    if sso {
        heads.push(head(Sort::SsoMaxIdleSeconds, "SSO limit", ""));
    }
    heads.extend([head(Sort::Created, "Created", ""), head(Sort::ReadAt, "Data read", "")]);
    heads
}

fn line(row: &Row<'_>, query: &Query, now: Millis, usernames: bool) -> Line {
    let at = |stamp: ApiTimestamp| stamp.millis().map(|at| Moment::new(at, now));
    let mut of_user = Query { page: 1, limit: query.limit, ..Query::default() };
    of_user.filter.networks = vec![row.network.identity.id.clone()];
    of_user.filter.users = vec![row.user.id.clone()];
    let username = || row.user.facts.as_ref().and_then(|facts| facts.username.as_deref());
    Line {
        network_id: row.network.identity.id.to_string(),
        network_name: clipped(&row.network.identity.name),
        user_id: row.user.id.to_string(),
        user_link: link("/devices", &of_user),
        username: username().filter(|_| usernames).map(clipped),
        app_id: row.device.app_id.as_deref().map(clipped),
        device_type: named(&row.device.device_type),
        status: clipped(&row.device.status),
        // Some services say so twice.
        suspended: row.device.suspended == Some(true)
            && !row.device.status.eq_ignore_ascii_case("suspended"),
        idle: row.idle.map(span),
        never: row.device.last_login == ApiTimestamp::NEVER,
        last_login: at(row.device.last_login),
        created: at(row.device.created),
        sso_limit: row
            .user
            .sso_max_idle()
            .map(|limit| span(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))),
        sso_expired: row.sso_expired(),
        stale: row.freshness == Freshness::Stale,
        read: Moment::new(row.data.at, now),
    }
}
