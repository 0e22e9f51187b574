//! The status page.

use askama::Template;

use super::{
    assessment::{Assessment, Level},
    collectors::CollectorRow,
    format::{HtmlTime, clipped, clipped_or_blank, counted, duration, grouped},
    links::{NavLinks, devices_url},
    status::{DeviceStatus, FailureStatus, IdleStatus, NetworkStatus, Seconds, Status, Time},
};
use crate::query::{Filter, Query};
use crate::text::format_duration;

/// A line of a bar chart.
struct Bar {
    name: String,
    link: Option<String>,
    devices: String,
    /// In thousandths of the chart's width.
    width: u64,
    percentage: String,
    /// Further counts with their links; `None` for 0.
    counts: Vec<Option<(String, String)>>,
}

struct Failure {
    reason: String,
    users: String,
    examples: String,
    /// Parts of a text; `true` for code.
    remedy: Vec<(bool, &'static str)>,
}

/// A count of users, displayed with thousands separators.
struct Count(usize);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&grouped(self.0))
    }
}

struct NetworkRow {
    id: String,
    name: String,
    region: String,
    assessment: Assessment,
    state: &'static str,
    devices: Option<String>,
    devices_link: String,
    /// Replaces the number of devices.
    no_devices: &'static str,
    has_devices: bool,
    /// Counts of devices that need attention, with their links.
    totals: Vec<(String, String)>,
    fresh: Count,
    stale: Count,
    missing: Count,
    pending: Count,
    /// End, duration and result.
    last_poll: Option<(HtmlTime, String, &'static str)>,
    last_success: Option<HtmlTime>,
    next_poll: Option<HtmlTime>,
    oldest_data: Option<HtmlTime>,
    progress: Option<(usize, usize, String)>,
    interval: String,
    stale_after: String,
    failures: Vec<Failure>,
    /// The names of [`Bar::counts`] in `types`.
    count_names: Vec<&'static str>,
    types: Vec<Bar>,
    idle: Vec<Bar>,
    collectors: Vec<CollectorRow>,
}

#[derive(Template)]
#[template(path = "status.html", config = "src/web/pages/askama.toml")]
pub(super) struct StatusPage {
    links: NavLinks,
    assessment: Assessment,
    summary: &'static str,
    generated: HtmlTime,
    started: HtmlTime,
    uptime: String,
    version: &'static str,
    revision: &'static str,
    ready: bool,
    networks: Vec<NetworkRow>,
}

pub(super) fn status_page(status: &Status, links: NavLinks) -> StatusPage {
    let now = status.generated_at;
    StatusPage {
        links,
        assessment: status.assessment.clone(),
        summary: match status.assessment.level {
            Level::Good => "The data is complete and fresh.",
            Level::Warning => "The data may be incomplete or stale.",
            Level::Waiting => "The data is not complete yet.",
            Level::Bad => "The data is incomplete.",
        },
        generated: html_time(now, now),
        started: html_time(status.started_at, now),
        uptime: seconds(status.uptime_seconds),
        version: status.version,
        revision: status.revision,
        ready: status.ready,
        networks: status.networks.iter().map(|network| NetworkRow::of(network, now)).collect(),
    }
}

fn html_time(Time(at): Time, Time(now): Time) -> HtmlTime {
    HtmlTime::new(at, now)
}

fn seconds(Seconds(time): Seconds) -> String {
    duration(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

type SetFilter = fn(&mut Filter);

/// The URL of the devices of a network that match a filter.
fn network_url(network_id: &str, set_filter: impl FnOnce(&mut Filter)) -> String {
    let mut query = Query { page: 1, ..Query::default() };
    query.filter.networks = network_id.parse().into_iter().collect();
    set_filter(&mut query.filter);
    devices_url("/devices", &query)
}

impl NetworkRow {
    fn of(status: &NetworkStatus, now: Time) -> NetworkRow {
        let html_time = |at| html_time(at, now);
        let (users, id) = (&status.users, &status.network_id);
        let devices = status.devices.as_ref();
        NetworkRow {
            id: id.clone(),
            name: clipped(&status.network_name),
            region: status.region.clone(),
            assessment: status.assessment.clone(),
            state: match status.assessment.level {
                Level::Good => "fresh",
                Level::Warning => "warning",
                Level::Waiting => "waiting",
                Level::Bad => "incomplete",
            },
            devices: devices.map(|devices| count(devices.total)),
            devices_link: network_url(id, |_| {}),
            no_devices: if status.last_poll.is_some() { "not known" } else { "not known yet" },
            has_devices: users.fresh + users.stale > 0,
            totals: devices.map(|devices| totals(id, devices)).unwrap_or_default(),
            fresh: Count(users.fresh),
            stale: Count(users.stale),
            missing: Count(users.missing),
            pending: Count(users.pending),
            last_poll: status.last_poll.as_ref().map(|poll| {
                let result = match poll.result {
                    "success" => "every user was read",
                    "partial" => "some users could not be read",
                    _ => "no user could be read",
                };
                (html_time(poll.ended_at), seconds(poll.duration_seconds), result)
            }),
            last_success: status.last_success_at.map(html_time),
            next_poll: status.next_poll_at.map(html_time),
            oldest_data: status.oldest_read_at.map(html_time),
            progress: status.poll_progress.as_ref().map(|poll| {
                let total = counted(poll.total, "user", "users");
                (poll.done, poll.total, format!("{} of {total}", grouped(poll.done)))
            }),
            interval: seconds(status.interval_seconds),
            stale_after: seconds(status.stale_after_seconds),
            failures: status.failures.iter().map(Failure::of).collect(),
            count_names: match devices.and_then(|devices| devices.sso_expired) {
                Some(_) => vec!["Suspended", "Reset", "SSO expired"],
                None => vec!["Suspended", "Reset"],
            },
            types: devices.map(|devices| types(id, devices)).unwrap_or_default(),
            idle: devices.map(|devices| idle(id, devices)).unwrap_or_default(),
            collectors: status.collectors.iter().map(|c| CollectorRow::of(c, now)).collect(),
        }
    }
}

impl Failure {
    fn of(status: &FailureStatus) -> Failure {
        let more = status.users.saturating_sub(status.user_ids.len());
        let mut examples = status.user_ids.join(", ");
        if more > 0 {
            examples.push_str(&format!(" and {} more", grouped(more)));
        }
        let remedy = status.remedy.split('`').enumerate();
        Failure {
            reason: status.reason.replace('_', " "),
            users: grouped(status.users),
            examples,
            remedy: remedy.map(|(index, part)| (index % 2 == 1, part)).collect(),
        }
    }
}

fn count(count: u64) -> String {
    grouped(usize::try_from(count).unwrap_or(usize::MAX))
}

/// A line of a chart with the maximum `max` and the total `total`.
fn bar(name: String, link: Option<String>, devices: u64, max: u64, total: u64) -> Bar {
    // Any count above 0 has a visible bar.
    let width = (devices * 1000).checked_div(max).unwrap_or(0).max(u64::from(devices > 0) * 6);
    let percentage = match devices as f64 * 100.0 / total.max(1) as f64 {
        percentage if devices > 0 && percentage < 1.0 => "under 1 %".into(),
        percentage => format!("{percentage:.0} %"),
    };
    Bar { name, link, devices: count(devices), width, percentage, counts: Vec::new() }
}

fn types(network_id: &str, devices: &DeviceStatus) -> Vec<Bar> {
    let max = devices.types.iter().map(|of_type| of_type.devices).max().unwrap_or(0);
    let mut types: Vec<_> = devices.types.iter().collect();
    types.sort_by_key(|of_type| std::cmp::Reverse(of_type.devices));
    let bars = types.into_iter().map(|of_type| {
        let link = |set_filter: SetFilter| {
            network_url(network_id, |filter| {
                filter.device_types = vec![of_type.device_type.clone()];
                set_filter(filter);
            })
        };
        let linked =
            |devices: u64, set_filter| (devices > 0).then(|| (count(devices), link(set_filter)));
        let name = clipped_or_blank(&of_type.device_type);
        let mut bar = bar(name, Some(link(|_| {})), of_type.devices, max, devices.total);
        bar.counts = vec![
            linked(of_type.suspended, |filter| filter.suspended = Some(true)),
            linked(of_type.reset, |filter| filter.reset = Some(true)),
        ];
        if let Some(expired) = of_type.sso_expired {
            bar.counts.push(linked(expired, |filter| filter.sso_expired = Some(true)));
        }
        bar
    });
    bars.collect()
}

fn totals(network_id: &str, devices: &DeviceStatus) -> Vec<(String, String)> {
    let sso_expired = devices.sso_expired.unwrap_or(0);
    let totals: [(u64, &str, SetFilter); 3] = [
        (devices.suspended, "suspended", |filter| filter.suspended = Some(true)),
        (devices.reset, "marked for reset", |filter| filter.reset = Some(true)),
        (sso_expired, "SSO expired", |filter| filter.sso_expired = Some(true)),
    ];
    let totals = totals.into_iter().filter(|(devices, ..)| *devices > 0);
    totals
        .map(|(devices, what, set_filter)| {
            (format!("{} {what}", count(devices)), network_url(network_id, set_filter))
        })
        .collect()
}

fn idle(network_id: &str, devices: &DeviceStatus) -> Vec<Bar> {
    let never = devices.never_logged_in;
    let invalid = devices.invalid_last_login;
    let counts = devices.idle.iter().map(|bucket| bucket.devices);
    let max = counts.chain([never, invalid]).max().unwrap_or(0);
    let bar = |name: String, link, count| bar(name, link, count, max, devices.total);
    let buckets = devices.idle.iter().map(|bucket| {
        let link = network_url(network_id, |filter| {
            filter.idle_over = bucket.over_seconds.map(|time| time.0);
            filter.idle_up_to = bucket.up_to_seconds.map(|time| time.0);
        });
        bar(bucket_name(bucket), Some(link), bucket.devices)
    });
    let mut bars: Vec<_> = buckets.collect();
    let link = network_url(network_id, |filter| filter.never_logged_in = Some(true));
    bars.push(bar("never logged in".into(), Some(link), never));
    if invalid > 0 {
        // No filter matches these devices.
        bars.push(bar("invalid time".into(), None, invalid));
    }
    bars
}

fn bucket_name(bucket: &IdleStatus) -> String {
    let text = |time: Option<Seconds>| time.map(|time| format_duration(time.0));
    match (text(bucket.over_seconds), text(bucket.up_to_seconds)) {
        (None, Some(up_to)) => format!("up to {up_to}"),
        (Some(over), Some(up_to)) => format!("{over} to {up_to}"),
        (Some(over), None) => format!("over {over}"),
        (None, None) => "any".into(),
    }
}
