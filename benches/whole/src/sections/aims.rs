//! What we aim at, held against what was found. It decides nothing: a slow program is no failed run.

use crate::report::{Aim, Report, seconds, size, times};

/// Absolute aims at a scrape are for about so many devices.
const DEVICES: std::ops::RangeInclusive<f64> = 90_000.0..=110_000.0;

/// How a figure is written.
type Written = fn(Option<f64>) -> String;

pub(super) fn of(report: &Report) -> Vec<Aim> {
    let figure = |name: &str| report.figure(name);
    let ratio = |of: &str, to: &str| report.ratio(of, to);
    let large = figure("fleet.devices").is_some_and(|devices| DEVICES.contains(&devices));
    let at_size = |aim: Option<Aim>| {
        aim.map(|aim| Aim {
            met: aim.met.filter(|_| large),
            what: format!("{} (100,000 devices)", aim.what),
            ..aim
        })
    };
    let scrape = |who: &str, ask: &str| format!("scrape.{who}.{ask}.median");
    let to_nginx = |ask: &str, figure: &str| {
        let time = |who: &str| format!("scrape.{who}.{ask}.{figure}");
        ratio(&time("exporter"), &time("nginx"))
    };
    let cpu = |name: &str, in_flight: u32| figure(&format!("poll.{name}.exporter.{in_flight}.cpu"));
    // Microseconds are a machine's: the same aims against the loop beside which they were set.
    let to_bare = |name: &str, in_flight: u32| {
        let cpu = |who: &str| format!("poll.{name}.{who}.{in_flight}.cpu");
        ratio(&cpu("exporter"), &cpu("bare loop"))
    };
    let aims = [
        // On a machine that does other things too, the least of each is nearer to the truth.
        aim("text, against nginx with the same bytes", 2.0, to_nginx("text", "median"), times),
        aim("text, against nginx, least of each", 2.0, to_nginx("text", "least"), times),
        aim(
            "devices only, text, against nginx",
            2.0,
            to_nginx("devices only, text", "median"),
            times,
        ),
        aim(
            "devices only, text, against nginx, least of each",
            2.0,
            to_nginx("devices only, text", "least"),
            times,
        ),
        at_size(aim(
            "devices only, text",
            0.11,
            figure(&scrape("exporter", "devices only, text")),
            seconds,
        )),
        at_size(aim(
            "devices only, gzip",
            0.10,
            figure(&scrape("exporter", "devices only, gzip")),
            seconds,
        )),
        at_size(aim(
            "network only",
            0.005,
            figure(&scrape("exporter", "network only, text")),
            seconds,
        )),
        at_size(aim("resident after scrapes", 60e6, figure("memory.exporter.after"), size)),
        aim("memory a device, beyond its id", 250.0, figure("memory.device"), size),
        aim("poll, CPU a request, 16 in flight", 60e-6, cpu("one page", 16), seconds),
        aim("poll, CPU a request, 64 in flight", 60e-6, cpu("one page", 64), seconds),
        aim(
            "poll of 250 devices a user, CPU a request, 16 in flight",
            150e-6,
            cpu("pages", 16),
            seconds,
        ),
        aim(
            "poll of 250 devices a user, CPU a request, 64 in flight",
            150e-6,
            cpu("pages", 64),
            seconds,
        ),
        aim(
            "poll, CPU, 16 in flight, of the bare loop's",
            60.0 / 58.0,
            to_bare("one page", 16),
            times,
        ),
        aim(
            "poll, CPU, 64 in flight, of the bare loop's",
            60.0 / 55.0,
            to_bare("one page", 64),
            times,
        ),
        aim(
            "poll of 250 devices a user, CPU, 16 in flight, of the bare loop's",
            150.0 / 228.0,
            to_bare("pages", 16),
            times,
        ),
        aim(
            "poll of 250 devices a user, CPU, 64 in flight, of the bare loop's",
            150.0 / 186.0,
            to_bare("pages", 64),
            times,
        ),
        aim(
            "poll with latency, against the ideal",
            1.1,
            ratio("latency.exporter.median", "latency.ideal"),
            times,
        ),
        aim(
            "resident memory, last quarter against second",
            1.1,
            ratio("memory.last_quarter", "memory.second_quarter"),
            times,
        ),
        aim("serving after the start", 0.05, figure("start.serving"), seconds),
        aim("size of the program", 15e6, figure("start.size"), size),
    ];
    let met = |aim: Aim| Aim { met: aim.met.filter(|_| !report.quick), ..aim };
    aims.into_iter().flatten().map(met).collect()
}

/// An aim that is met at or below `most`. None where nothing was measured.
fn aim(what: &str, most: f64, found: Option<f64>, written: Written) -> Option<Aim> {
    let found = found?;
    Some(Aim {
        what: what.to_owned(),
        aim: format!("≤ {}", written(Some(most))),
        found: written(Some(found)),
        met: Some(found <= most),
    })
}
