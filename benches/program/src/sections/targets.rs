//! The project's targets compared with the measured values. They do not affect the exit status.

use crate::report::{Report, Target, format_ratio, format_seconds, format_size};

/// The fleet sizes for which absolute targets of scrapes apply.
const DEVICES: std::ops::RangeInclusive<f64> = 90_000.0..=110_000.0;

pub(super) fn evaluate(report: &Report) -> Vec<Target> {
    let value = |name: &str| report.value(name);
    let sized = value("fleet.devices").is_some_and(|devices| DEVICES.contains(&devices));
    let for_size = |target: Option<Target>| {
        target.map(|target| Target {
            met: target.met.filter(|_| sized),
            name: format!("{} (100,000 devices)", target.name),
            ..target
        })
    };
    let scrape = |variant: &str| value(&format!("scrape.exporter.{variant}.median"));
    let vs_nginx = |variant: &str, statistic: &str| {
        let name = |server: &str| format!("scrape.{server}.{variant}.{statistic}");
        report.ratio(&name("exporter"), &name("nginx"))
    };
    let curl_vs_nginx = |variant: &str, statistic: &str| {
        let name = |server: &str| format!("curl.{server}.{variant}.{statistic}");
        report.ratio(&name("exporter"), &name("nginx"))
    };
    let cpu = |name: &str, in_flight: u32| value(&format!("poll.{name}.exporter.{in_flight}.cpu"));
    // CPU times depend on the machine; ratios do not.
    let vs_bare = |name: &str, in_flight: u32| {
        let name = |poller: &str| format!("poll.{name}.{poller}.{in_flight}.cpu");
        report.ratio(&name("exporter"), &name("bare loop"))
    };
    let once = |in_flight: u32| {
        let name = |poller: &str| format!("once.{poller}.{in_flight}.cpu");
        report.ratio(&name("exporter"), &name("aws-sdk-wickr"))
    };
    let seconds = |name: &str, max, value| target(name, max, value, format_seconds);
    let size = |name: &str, max, value| target(name, max, value, format_size);
    let ratio = |name: &str, max, value| target(name, max, value, format_ratio);
    let devices = "devices only, text";
    let targets = [
        // On a machine with other load, the minimum is more accurate than the median.
        ratio("text, vs nginx with the same bytes", 2.0, vs_nginx("text", "median")),
        ratio("text, vs nginx, minimum", 2.0, vs_nginx("text", "min")),
        ratio("devices only, text, vs nginx", 2.0, vs_nginx("devices only, text", "median")),
        ratio("devices only, text, vs nginx, minimum", 2.0, vs_nginx("devices only, text", "min")),
        ratio("devices only, text, curl, vs nginx", 1.5, curl_vs_nginx(devices, "median")),
        ratio("devices only, text, curl, vs nginx, minimum", 1.5, curl_vs_nginx(devices, "min")),
        for_size(seconds("devices only, text", 0.11, scrape("devices only, text"))),
        for_size(seconds("devices only, gzip", 0.07, scrape("devices only, gzip"))),
        for_size(seconds(
            "devices only, gzip, first after a poll",
            0.10,
            value("scrape.exporter.after poll.median"),
        )),
        for_size(seconds("network only", 0.005, scrape("network only, text"))),
        for_size(size("resident memory after gzip scrapes", 60e6, value("memory.exporter.after"))),
        size("memory per device", 250.0, value("memory.device")),
        seconds("poll, CPU per request, 16 in flight", 60e-6, cpu("one page", 16)),
        seconds("poll, CPU per request, 64 in flight", 60e-6, cpu("one page", 64)),
        seconds("poll of 250 devices per user, CPU, 16 in flight", 150e-6, cpu("many pages", 16)),
        seconds("poll of 250 devices per user, CPU, 64 in flight", 150e-6, cpu("many pages", 64)),
        ratio("poll, CPU, 16 in flight, vs bare loop", 1.1, vs_bare("one page", 16)),
        ratio("poll, CPU, 64 in flight, vs bare loop", 1.1, vs_bare("one page", 64)),
        ratio(
            "poll of 250 devices per user, CPU, 16 in flight, vs bare loop",
            1.1,
            vs_bare("many pages", 16),
        ),
        ratio(
            "poll of 250 devices per user, CPU, 64 in flight, vs bare loop",
            1.1,
            vs_bare("many pages", 64),
        ),
        ratio("process with one poll, CPU, 16 in flight, vs aws-sdk-wickr", 0.45, once(16)),
        ratio("process with one poll, CPU, 64 in flight, vs aws-sdk-wickr", 0.45, once(64)),
        ratio(
            "poll with latency, vs ideal",
            1.1,
            report.ratio("latency.exporter.median", "latency.ideal"),
        ),
        ratio(
            "resident memory, last vs second quarter",
            1.1,
            report.ratio("memory.last_quarter", "memory.second_quarter"),
        ),
        seconds("time from start to serving", 0.05, value("start.serving")),
        size("size of the program", 15e6, value("start.size")),
    ];
    let met = |target: Target| Target { met: target.met.filter(|_| !report.quick), ..target };
    targets.into_iter().flatten().map(met).collect()
}

/// A target that is met at or below `max`. `None` if nothing was measured.
fn target(
    name: &str,
    max: f64,
    measured: Option<f64>,
    format: fn(Option<f64>) -> String,
) -> Option<Target> {
    let measured = measured?;
    Some(Target {
        name: name.to_owned(),
        target: format!("≤ {}", format(Some(max))),
        measured: format(Some(measured)),
        met: Some(measured <= max),
    })
}
