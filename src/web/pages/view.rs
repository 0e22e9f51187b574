//! The status page and the page of a mistake, as their templates want them.

use askama::Template;

use super::{
    devices::link,
    status::{DeviceStatus, FailureStatus, IdleStatus, NetworkStatus, Status},
    verdict::Level,
    words::{Moment, clipped, counted, grouped, named, span},
};
use crate::query::{BadParameter, Filter, Query, format_duration};

/// Where every page leads to.
#[derive(Debug, Clone)]
pub(super) struct Links {
    pub(super) home: &'static str,
    pub(super) metrics: String,
}

#[derive(Template)]
#[template(path = "error.html", config = "src/web/pages/askama.toml")]
pub(super) struct ErrorPage {
    links: Links,
    name: String,
    why: String,
}

impl ErrorPage {
    pub(super) fn new(error: &BadParameter, links: Links) -> ErrorPage {
        ErrorPage { links, name: error.name.clone(), why: error.reason.clone() }
    }
}

/// A line of a chart: a figure, where it leads to, and its share of the largest.
struct Bar {
    name: String,
    link: Option<String>,
    devices: String,
    /// In thousandths of the chart's width.
    width: u64,
    /// The share of all, in words.
    share: String,
    /// Further figures, each with where it leads to; none for none at all.
    more: Vec<Option<(String, String)>>,
}

/// A reason why users cannot be read.
struct Failure {
    reason: String,
    users: String,
    examples: String,
    /// What to do, its parts alternately text and code.
    remedy: Vec<(bool, &'static str)>,
}

/// A network, as the page shows it.
struct Network {
    id: String,
    name: String,
    region: String,
    level: &'static str,
    verdict: String,
    state: &'static str,
    devices: Option<String>,
    devices_link: String,
    /// What stands where there is no figure, and whether there are devices all the same.
    no_devices: &'static str,
    has_some: bool,
    /// Those of them that are of note, each with where it leads to.
    totals: Vec<(String, String)>,
    fresh: String,
    stale: String,
    missing: String,
    pending: String,
    has_stale: bool,
    has_missing: bool,
    has_pending: bool,
    last: Option<(Moment, String, &'static str)>,
    last_success: Option<Moment>,
    next: Option<Moment>,
    oldest: Option<Moment>,
    progress: Option<(usize, usize, String)>,
    interval: String,
    stale_after: String,
    failures: Vec<Failure>,
    more: Vec<&'static str>,
    types: Vec<Bar>,
    idle: Vec<Bar>,
}

#[derive(Template)]
#[template(path = "status.html", config = "src/web/pages/askama.toml")]
pub(super) struct StatusPage {
    links: Links,
    level: &'static str,
    answer: &'static str,
    verdict: String,
    generated: Moment,
    started: Moment,
    uptime: String,
    version: &'static str,
    revision: &'static str,
    ready: bool,
    networks: Vec<Network>,
}

/// The status page, whole.
pub(super) fn status_page(status: &Status, links: Links) -> StatusPage {
    StatusPage {
        links,
        level: class(status.verdict.level),
        answer: match status.verdict.level {
            Level::Good => "The numbers can be trusted.",
            Level::Care => "Judge the numbers with care.",
            Level::Waiting => "The numbers are not complete yet.",
            Level::Bad => "The numbers are not complete.",
        },
        verdict: status.verdict.text.clone(),
        generated: Moment::new(status.now, status.now),
        started: Moment::new(status.started, status.now),
        uptime: span(status.now.saturating_sub(status.started)),
        version: status.version,
        revision: status.revision,
        ready: status.ready,
        networks: status.networks.iter().map(|network| Network::of(network, status.now)).collect(),
    }
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Care => "care",
        Level::Waiting => "waiting",
        Level::Bad => "bad",
    }
}

/// The address of the devices of a network that pass a filter.
fn devices_of(network_id: &str, change: impl FnOnce(&mut Filter)) -> String {
    let mut query = Query { page: 1, ..Query::default() };
    query.filter.networks = network_id.parse().into_iter().collect();
    change(&mut query.filter);
    link("/devices", &query)
}

fn seconds(time: f64) -> String {
    span((time * 1e3) as i64)
}

impl Network {
    fn of(status: &NetworkStatus, now: i64) -> Network {
        let moment = |at| Moment::new(at, now);
        let (users, times) = (&status.users, &status.polls_at);
        let id = &status.network_id;
        let known = status.devices.as_ref();
        Network {
            id: id.clone(),
            name: clipped(&status.network_name),
            region: status.region.clone(),
            level: class(status.verdict.level),
            verdict: status.verdict.text.clone(),
            state: match status.verdict.level {
                Level::Good => "fresh",
                Level::Care => "with care",
                Level::Waiting => "waiting",
                Level::Bad => "incomplete",
            },
            devices: known.map(|devices| grouped(count(devices.total))),
            devices_link: devices_of(id, |_| {}),
            no_devices: if status.last_poll.is_some() { "not known" } else { "not known yet" },
            has_some: users.fresh + users.stale > 0,
            totals: known.map(|devices| totals(id, devices)).unwrap_or_default(),
            fresh: grouped(users.fresh),
            stale: grouped(users.stale),
            missing: grouped(users.missing),
            pending: grouped(users.pending),
            has_stale: users.stale > 0,
            has_missing: users.missing > 0,
            has_pending: users.pending > 0,
            last: times.last.map(|last| {
                let took = i64::try_from(last.duration.as_millis()).unwrap_or(i64::MAX);
                (moment(last.at), span(took), result(last.result.as_str()))
            }),
            last_success: times.last_success.map(moment),
            next: times.next.map(moment),
            oldest: times.oldest.map(moment),
            progress: status.poll_under_way.as_ref().map(|poll| {
                let total = counted(poll.total, "user", "users");
                (poll.done, poll.total, format!("{} of {total}", grouped(poll.done)))
            }),
            interval: seconds(status.interval_seconds),
            stale_after: seconds(status.stale_after_seconds),
            failures: status.failures.iter().map(Failure::of).collect(),
            more: match known.and_then(|devices| devices.sso_expired) {
                Some(_) => vec!["Suspended", "Reset", "SSO expired"],
                None => vec!["Suspended", "Reset"],
            },
            types: known.map(|devices| types(id, devices)).unwrap_or_default(),
            idle: known.map(|devices| idle(id, devices)).unwrap_or_default(),
        }
    }
}

fn result(result: &str) -> &'static str {
    match result {
        "success" => "every user was read",
        "partial" => "some users could not be read",
        _ => "no user could be read",
    }
}

impl Failure {
    fn of(status: &FailureStatus) -> Failure {
        let more = status.users.saturating_sub(status.user_ids.len());
        let mut examples = status.user_ids.join(", ");
        if more > 0 {
            examples.push_str(&format!(" and {} more", grouped(more)));
        }
        Failure {
            reason: status.reason.replace('_', " "),
            users: grouped(status.users),
            examples,
            remedy: status
                .remedy
                .split('`')
                .enumerate()
                .map(|(place, part)| (place % 2 == 1, part))
                .collect(),
        }
    }
}

fn count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A line of a chart whose largest figure is `most`, out of `all`.
fn bar(name: String, link: impl Into<String>, devices: u64, most: u64, all: u64) -> Bar {
    // Whatever there is can be seen.
    let width = (devices * 1000).checked_div(most).unwrap_or(0).max(u64::from(devices > 0) * 6);
    let share = match devices as f64 * 100.0 / all.max(1) as f64 {
        share if devices > 0 && share < 1.0 => "under 1 %".into(),
        share => format!("{share:.0} %"),
    };
    Bar {
        name,
        link: Some(link.into()),
        devices: grouped(count(devices)),
        width,
        share,
        more: Vec::new(),
    }
}

fn types(network_id: &str, devices: &DeviceStatus) -> Vec<Bar> {
    let most = devices.types.iter().map(|of_type| of_type.devices).max().unwrap_or(0);
    let mut bars: Vec<_> = devices
        .types
        .iter()
        .map(|of_type| {
            let of = |change: fn(&mut Filter)| {
                devices_of(network_id, |filter| {
                    filter.device_types = vec![of_type.device_type.clone()];
                    change(filter);
                })
            };
            let more = |count_of: u64, change| {
                (count_of > 0).then(|| (grouped(count(count_of)), of(change)))
            };
            let name = named(&of_type.device_type);
            let mut bar = bar(name, of(|_| {}), of_type.devices, most, devices.total);
            bar.more = vec![
                more(of_type.suspended, |filter| filter.suspended = Some(true)),
                more(of_type.reset, |filter| filter.reset = Some(true)),
            ];
            if let Some(expired) = of_type.sso_expired {
                bar.more.push(more(expired, |filter| filter.sso_expired = Some(true)));
            }
            (of_type.devices, bar)
        })
        .collect();
    bars.sort_by_key(|(devices, _)| std::cmp::Reverse(*devices));
    bars.into_iter().map(|(_, bar)| bar).collect()
}

fn totals(network_id: &str, devices: &DeviceStatus) -> Vec<(String, String)> {
    let of = |change: fn(&mut Filter)| devices_of(network_id, change);
    let totals = [
        (devices.suspended, "suspended", of(|filter| filter.suspended = Some(true))),
        (devices.reset, "marked for reset", of(|filter| filter.reset = Some(true))),
        (
            devices.sso_expired.unwrap_or(0),
            "beyond the SSO limit",
            of(|filter| filter.sso_expired = Some(true)),
        ),
    ];
    let there = totals.into_iter().filter(|(devices, ..)| *devices > 0);
    there
        .map(|(devices, what, link)| (format!("{} {what}", grouped(count(devices))), link))
        .collect()
}

fn idle(network_id: &str, devices: &DeviceStatus) -> Vec<Bar> {
    let never = devices.never_logged_in;
    let invalid = devices.invalid_last_login;
    let counts = devices.idle.iter().map(|bucket| bucket.devices);
    let most = counts.chain([never, invalid]).max().unwrap_or(0);
    let mut bars: Vec<_> = devices
        .idle
        .iter()
        .map(|bucket| {
            let link = devices_of(network_id, |filter| {
                filter.idle_over = bucket.over;
                filter.idle_up_to = bucket.up_to;
            });
            bar(span_of(bucket), link, bucket.devices, most, devices.total)
        })
        .collect();
    let link = devices_of(network_id, |filter| filter.never_logged_in = Some(true));
    bars.push(bar("never logged in".into(), link, never, most, devices.total));
    if invalid > 0 {
        // No filter asks for these: what is not known passes none.
        let mut unknown = bar("time cannot be read".into(), "", invalid, most, devices.total);
        unknown.link = None;
        bars.push(unknown);
    }
    bars
}

fn span_of(bucket: &IdleStatus) -> String {
    match (bucket.over.map(format_duration), bucket.up_to.map(format_duration)) {
        (None, Some(up_to)) => format!("up to {up_to}"),
        (Some(over), Some(up_to)) => format!("{over} to {up_to}"),
        (Some(over), None) => format!("over {over}"),
        (None, None) => "any".into(),
    }
}
