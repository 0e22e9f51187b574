//! Scrapes of a large fleet: the exporter, nginx as the limit, and peers with the same series.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::note;
use crate::{
    curl,
    exporter::{Exporter, Settings},
    fleet::Fleet,
    peers::{self, golang, nginx, python},
    plan::Plan,
    report::{self, Report, Table, format_ratio, format_seconds, format_size},
    scrape::{PAUSE, Scrape, Server, Spread, Variant, measure, scrape, verified},
    simulator::{Simulator, Size},
    usage,
};

type Series = [(&'static str, u64)];

/// Scrapes that are measured with curl, too.
const WITH_CURL: [Variant; 4] =
    [Variant::TEXT, Variant::GZIP, Variant::DEVICES, Variant::DEVICES_GZIP];
/// From poll to poll, for scrapes after a poll.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn run(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    note(&format!("scrapes: a fleet of {} users", plan.fleet.users));
    let simulator = Simulator::start(program, plan.fleet).await?;
    let fleet = Fleet::read(&simulator, 100).await?;
    report.set("fleet.users", Some(fleet.users as f64));
    report.set("fleet.devices", Some(fleet.devices as f64));
    let mut results = Results {
        report,
        plan,
        series: &fleet.series(),
        scrapes: vec![],
        memory: vec![],
        curl: vec![],
    };
    let base_rss = rss_without_fleet(program, &simulator).await?;
    let saved = results.exporter(program, &simulator).await?;
    simulator.stop().await?;
    results.per_device(base_rss, &fleet);
    results.after_polls(program).await?;
    results.nginx(&saved).await?;
    results.prometheus(&saved).await?;
    results.golang(&saved).await?;
    results.python(&saved).await?;
    results.into_tables(&fleet);
    Ok(())
}

/// The exporter's resident memory with one user.
async fn rss_without_fleet(program: &Path, simulator: &Simulator) -> Result<Option<u64>> {
    let settings = Settings { users: Some(1), ..Settings::ONCE };
    let exporter = Exporter::start(program, simulator, settings).await?;
    let usage = exporter.usage();
    exporter.stop().await?;
    Ok(usage.map(|usage| usage.rss))
}

/// The exporter's responses, for the peers to serve.
struct Saved {
    folder: tempfile::TempDir,
    plain: Vec<u8>,
    gzip: Vec<u8>,
    devices_plain: Vec<u8>,
    devices_gzip: Vec<u8>,
}

struct Results<'a> {
    report: &'a mut Report,
    plan: &'a Plan,
    series: &'a Series,
    scrapes: Vec<(String, &'static str, Option<Scrape>)>,
    memory: Vec<(String, Option<usage::Usage>, Option<usage::Usage>)>,
    curl: Vec<(&'static str, &'static str, Spread)>,
}

impl Results<'_> {
    async fn exporter(&mut self, program: &Path, simulator: &Simulator) -> Result<Saved> {
        let exporter = Exporter::start(program, simulator, Settings::ONCE).await?;
        let server = Server { address: exporter.address, pid: exporter.pid() };
        let before = exporter.usage();
        note("scrapes: the exporter");
        for variant in [
            Variant::TEXT,
            Variant::GZIP,
            Variant::OPENMETRICS,
            Variant::OPENMETRICS_GZIP,
            Variant::DEVICES,
            Variant::DEVICES_GZIP,
            Variant::NETWORK,
        ] {
            self.measure("exporter", server, variant, 1).await?;
        }
        for variant in [Variant::TEXT, Variant::GZIP] {
            self.measure("exporter, two clients", server, variant, 2).await?;
        }
        self.measure_with_curl("exporter", server, &WITH_CURL).await?;
        // Compressed data is kept in memory, for each encoding.
        self.add_memory("exporter", before, exporter.usage());
        self.measure("exporter", server, Variant::ZSTD, 1).await?;
        self.add_memory("exporter, gzip and zstd", before, exporter.usage());
        let body = async |variant: Variant| {
            let verified = verified(server, variant, self.series).await?;
            Ok::<_, anyhow::Error>(verified.context("the exporter does not support gzip")?.body)
        };
        let saved = Saved {
            folder: tempfile::tempdir()?,
            plain: body(Variant::TEXT).await?,
            gzip: body(Variant::GZIP).await?,
            devices_plain: body(Variant::DEVICES).await?,
            devices_gzip: body(Variant::DEVICES_GZIP).await?,
        };
        fs::write(saved.folder.path().join("scrape"), &saved.plain)?;
        exporter.stop().await?;
        Ok(saved)
    }

    /// Memory per device, with its id and its part of the user.
    fn per_device(&mut self, base_rss: Option<u64>, fleet: &Fleet) {
        let with_fleet = self.report.value("memory.exporter.before");
        let per_device = with_fleet
            .zip(base_rss)
            .map(|(with_fleet, base_rss)| (with_fleet - base_rss as f64) / fleet.devices as f64);
        self.report.set("memory.exporter.one_user", base_rss.map(|bytes| bytes as f64));
        self.report.set("memory.device", per_device);
    }

    /// gzip scrapes a second after the end of a poll in which up to 5% of the users have changed.
    async fn after_polls(&mut self, program: &Path) -> Result<()> {
        note("scrapes: the exporter after polls");
        let churn = self.plan.fleet.users / 20 / POLL_INTERVAL.as_secs() as u32;
        let simulator = Simulator::start(program, Size { churn, ..self.plan.fleet }).await?;
        let settings = Settings { interval: POLL_INTERVAL, ..Settings::ONCE };
        let exporter = Exporter::start(program, &simulator, settings).await?;
        let server = Server { address: exporter.address, pid: exporter.pid() };
        let variant = Variant::DEVICES_GZIP;
        let verified = verified(server, variant, &[]).await?.context("gzip is not supported")?;
        let (bytes, series) = (verified.body.len() as u64, verified.series);
        let mut times = Vec::new();
        for _ in 0..self.plan.scrapes {
            let polls = exporter.stats().await?.polls;
            exporter.wait_polls(polls + 1).await?;
            sleep(PAUSE).await;
            let started = Instant::now();
            scrape(server, variant, bytes).await?;
            times.push(started.elapsed());
        }
        exporter.stop().await?;
        simulator.stop().await?;
        let times = Spread::new(times)?;
        self.report.set("scrape.exporter.after poll.median", report::as_seconds(times.median));
        let first = Scrape { times, cpu: None, bytes, series };
        self.scrapes.push(("exporter, after a poll".to_owned(), variant.name, Some(first)));
        Ok(())
    }

    async fn measure_with_curl(
        &mut self,
        who: &'static str,
        server: Server,
        variants: &[Variant],
    ) -> Result<()> {
        if !curl::is_installed().await {
            if who == "exporter" {
                self.report.missing.push("curl: not installed".to_owned());
            }
            return Ok(());
        }
        for variant in variants {
            let times = curl::measure(server, *variant, self.plan.scrapes).await?;
            let name = |value: &str| format!("curl.{who}.{}.{value}", variant.name);
            self.report.set(&name("median"), report::as_seconds(times.median));
            self.report.set(&name("min"), report::as_seconds(times.min));
            self.curl.push((who, variant.name, times));
        }
        Ok(())
    }

    async fn nginx(&mut self, saved: &Saved) -> Result<()> {
        let Some(program) = nginx::find() else {
            self.report.missing.push("nginx: not installed".to_owned());
            return Ok(());
        };
        note("scrapes: nginx");
        for (plain, gzip, variants) in [
            (&saved.plain, &saved.gzip, [Variant::TEXT, Variant::GZIP]),
            (&saved.devices_plain, &saved.devices_gzip, [Variant::DEVICES, Variant::DEVICES_GZIP]),
        ] {
            let nginx = nginx::serve(&program, plain, gzip).await?;
            let before = usage::of(nginx.server.pid);
            for variant in variants {
                self.measure("nginx", nginx.server, variant, 1).await?;
            }
            self.measure_with_curl("nginx", nginx.server, &variants).await?;
            if variants.contains(&Variant::TEXT) {
                self.add_memory("nginx", before, usage::of(nginx.server.pid));
            }
            nginx.stop().await?;
        }
        Ok(())
    }

    async fn prometheus(&mut self, saved: &Saved) -> Result<()> {
        if cfg!(not(feature = "peers")) {
            self.report.missing.push("the prometheus crate: built without `peers`".to_owned());
            return Ok(());
        }
        note("scrapes: the prometheus crate");
        let peer = peers::prometheus(&saved.folder.path().join("scrape")).await?;
        let before = usage::of(peer.server.pid);
        for variant in [Variant::TEXT, Variant::GZIP, Variant::DEVICES, Variant::DEVICES_GZIP] {
            self.measure("prometheus crate", peer.server, variant, 1).await?;
        }
        self.add_memory("prometheus crate", before, usage::of(peer.server.pid));
        peer.stop().await
    }

    async fn golang(&mut self, saved: &Saved) -> Result<()> {
        if !golang::is_installed().await {
            self.report.missing.push("client_golang: not installed".to_owned());
            return Ok(());
        }
        note("scrapes: client_golang");
        let peer = golang::serve(&saved.folder.path().join("scrape")).await?;
        let before = usage::of(peer.server.pid);
        for variant in [Variant::TEXT, Variant::GZIP] {
            self.measure("client_golang", peer.server, variant, 1).await?;
        }
        self.add_memory("client_golang", before, usage::of(peer.server.pid));
        peer.stop().await
    }

    async fn python(&mut self, saved: &Saved) -> Result<()> {
        let Some(python) = python::find().await else {
            self.report.missing.push("Python's prometheus_client: not installed".to_owned());
            return Ok(());
        };
        note("scrapes: Python's prometheus_client");
        let peer = python::serve(&python, &saved.folder.path().join("scrape")).await?;
        let before = usage::of(peer.server.pid);
        for variant in [Variant::TEXT, Variant::GZIP] {
            self.measure("Python's prometheus_client", peer.server, variant, 1).await?;
        }
        self.add_memory("Python's prometheus_client", before, usage::of(peer.server.pid));
        peer.stop().await
    }

    async fn measure(
        &mut self,
        who: &str,
        server: Server,
        variant: Variant,
        clients: u32,
    ) -> Result<()> {
        // These take seconds per scrape.
        let is_slow = who.starts_with("Python") || who == "client_golang";
        let max = if is_slow { 3 } else { u32::MAX };
        let count = self.plan.scrapes.min(max);
        let scrape = measure(server, variant, clients, count, self.series).await;
        let scrape = scrape.with_context(|| who.to_owned())?;
        if let Some(scrape) = &scrape {
            let name = |value: &str| format!("scrape.{who}.{}.{value}", variant.name);
            let report = &mut self.report;
            report.set(&name("median"), report::as_seconds(scrape.times.median));
            report.set(&name("min"), report::as_seconds(scrape.times.min));
            report.set(&name("cpu"), scrape.cpu.and_then(report::as_seconds));
            report.set(&name("bytes"), Some(scrape.bytes as f64));
        }
        self.scrapes.push((who.to_owned(), variant.name, scrape));
        Ok(())
    }

    fn add_memory(&mut self, who: &str, before: Option<usage::Usage>, after: Option<usage::Usage>) {
        let name = |value: &str| format!("memory.{who}.{value}");
        self.report.set(&name("before"), before.map(|usage| usage.rss as f64));
        self.report.set(&name("after"), after.map(|usage| usage.rss as f64));
        self.report.set(&name("peak"), after.map(|usage| usage.peak as f64));
        self.memory.push((who.to_owned(), before, after));
    }

    fn into_tables(self, fleet: &Fleet) {
        let (report, count) = (self.report, self.plan.scrapes);
        let rows = self.scrapes.iter().map(|(who, variant, scrape)| {
            let name = |who: &str| format!("scrape.{who}.{variant}.median");
            let Some(scrape) = scrape else {
                let head = vec![who.clone(), (*variant).to_owned(), "not supported".to_owned()];
                return [head, vec![String::new(); 7]].concat();
            };
            let spread = scrape.times;
            let [median, min, max] = [spread.median, spread.min, spread.max]
                .map(|time| format_seconds(report::as_seconds(time)));
            let ratio = |other: &str| format_ratio(report.ratio(&name(who), &name(other)));
            vec![
                who.clone(),
                (*variant).to_owned(),
                median,
                min,
                max,
                format_seconds(scrape.cpu.and_then(report::as_seconds)),
                format_size(Some(scrape.bytes as f64)),
                scrape.series.to_string(),
                ratio("nginx"),
                ratio("exporter"),
            ]
        });
        let scrapes = Table {
            title: format!(
                "Scrapes ({count} of each kind): {} users, {} devices",
                fleet.users, fleet.devices
            ),
            columns: vec![
                "",
                "variant",
                "median",
                "min",
                "max",
                "CPU",
                "size",
                "series",
                "vs nginx",
                "vs exporter",
            ],
            rows: rows.collect(),
        };
        let rows = self.curl.iter().map(|(who, variant, times)| {
            let name = |who: &str, value: &str| format!("curl.{who}.{variant}.{value}");
            let ratio =
                |value: &str| format_ratio(report.ratio(&name(who, value), &name("nginx", value)));
            let [median, min, max] = [times.median, times.min, times.max]
                .map(|time| format_seconds(report::as_seconds(time)));
            let (who, variant) = ((*who).to_owned(), (*variant).to_owned());
            vec![who, variant, median, min, max, ratio("median"), ratio("min")]
        });
        let curl = Table {
            title: "Scrapes with curl".to_owned(),
            columns: vec!["", "variant", "median", "min", "max", "vs nginx", "vs nginx, minimum"],
            rows: rows.collect(),
        };
        let rss = |usage: &Option<usage::Usage>| format_size(usage.map(|usage| usage.rss as f64));
        let rows = self.memory.iter().map(|(who, before, after)| {
            let name = |who: &str| format!("memory.{who}.after");
            vec![
                who.clone(),
                rss(before),
                rss(after),
                format_size(after.map(|usage| usage.peak as f64)),
                format_ratio(report.ratio(&name(who), &name("exporter"))),
            ]
        });
        let memory = Table {
            title: "Resident memory before and after the scrapes".to_owned(),
            columns: vec!["", "before", "after", "peak", "vs exporter"],
            rows: rows.collect(),
        };
        report.tables.extend([scrapes, curl, memory]);
    }
}
