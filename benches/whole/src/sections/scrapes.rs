//! Scrapes of a large fleet: the exporter, the limit, and others that serve the same series.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::note;
use crate::{
    exporter::{Exporter, Settings},
    fleet::Fleet,
    peers::{self, nginx, python},
    plan::Plan,
    report::{self, Report, Table, seconds, size, times},
    scrape::{Ask, Scrape, Server, checked, measure},
    simulator::Simulator,
    usage,
};

type Series = [(&'static str, u64)];

pub(super) async fn run(plan: &Plan, program: &Path, report: &mut Report) -> Result<()> {
    note(&format!("scraping: a fleet of {} users", plan.fleet.users));
    let simulator = Simulator::start(program, plan.fleet).await?;
    let fleet = Fleet::read(&simulator, 100).await?;
    report.keep("fleet.users", Some(fleet.users as f64));
    report.keep("fleet.devices", Some(fleet.devices as f64));
    let mut rows = Rows { report, plan, series: &fleet.series(), scrapes: vec![], memory: vec![] };
    let nothing = without_fleet(program, &simulator).await?;
    let saved = rows.exporter(program, &simulator).await?;
    simulator.end().await?;
    rows.per_device(nothing, &fleet);
    rows.limit(&saved).await?;
    rows.prometheus(&saved).await?;
    rows.python(&saved).await?;
    rows.tables(&fleet);
    Ok(())
}

/// What the exporter takes in memory when it knows next to nothing.
async fn without_fleet(program: &Path, simulator: &Simulator) -> Result<Option<u64>> {
    let settings = Settings { users: Some(1), ..Settings::ONCE };
    let exporter = Exporter::start(program, simulator, settings).await?;
    let usage = exporter.usage();
    exporter.end().await?;
    Ok(usage.map(|usage| usage.rss))
}

/// The exporter's answers, for the peers to serve.
struct Saved {
    folder: tempfile::TempDir,
    plain: Vec<u8>,
    gzip: Vec<u8>,
    devices_plain: Vec<u8>,
    devices_gzip: Vec<u8>,
}

/// The tables, as they grow.
struct Rows<'a> {
    report: &'a mut Report,
    plan: &'a Plan,
    series: &'a Series,
    scrapes: Vec<(String, &'static str, Option<Scrape>)>,
    memory: Vec<(String, Option<usage::Usage>, Option<usage::Usage>)>,
}

impl Rows<'_> {
    async fn exporter(&mut self, program: &Path, simulator: &Simulator) -> Result<Saved> {
        let exporter = Exporter::start(program, simulator, Settings::ONCE).await?;
        let server = Server { address: exporter.address, pid: exporter.pid() };
        let before = exporter.usage();
        note("scraping: the exporter");
        for ask in [
            Ask::TEXT,
            Ask::GZIP,
            Ask::ZSTD,
            Ask::OPENMETRICS,
            Ask::OPENMETRICS_GZIP,
            Ask::DEVICES,
            Ask::DEVICES_GZIP,
            Ask::NETWORK,
        ] {
            self.one("exporter", server, ask, 1).await?;
        }
        for ask in [Ask::TEXT, Ask::GZIP] {
            self.one("exporter, two clients", server, ask, 2).await?;
        }
        self.used("exporter", before, exporter.usage());
        let body = async |ask: Ask| {
            let checked = checked(server, ask, self.series).await?;
            Ok::<_, anyhow::Error>(checked.context("the exporter offers no gzip")?.body)
        };
        let saved = Saved {
            folder: tempfile::tempdir()?,
            plain: body(Ask::TEXT).await?,
            gzip: body(Ask::GZIP).await?,
            devices_plain: body(Ask::DEVICES).await?,
            devices_gzip: body(Ask::DEVICES_GZIP).await?,
        };
        fs::write(saved.folder.path().join("scrape"), &saved.plain)?;
        exporter.end().await?;
        Ok(saved)
    }

    /// What the fleet takes beyond the texts that no two devices share.
    fn per_device(&mut self, nothing: Option<u64>, fleet: &Fleet) {
        let with_fleet = self.report.figure("memory.exporter.before");
        let beyond = with_fleet.zip(nothing).map(|(with_fleet, nothing)| {
            (with_fleet - nothing as f64 - fleet.id_bytes as f64) / fleet.devices as f64
        });
        self.report.keep("memory.exporter.nothing", nothing.map(|bytes| bytes as f64));
        self.report.keep("memory.device", beyond);
    }

    async fn limit(&mut self, saved: &Saved) -> Result<()> {
        let Some(program) = nginx::find() else {
            self.report.missing.push("nginx, the limit: it is not installed".to_owned());
            return Ok(());
        };
        note("scraping: nginx");
        for (plain, gzip, asks) in [
            (&saved.plain, &saved.gzip, [Ask::TEXT, Ask::GZIP]),
            (&saved.devices_plain, &saved.devices_gzip, [Ask::DEVICES, Ask::DEVICES_GZIP]),
        ] {
            let nginx = nginx::serve(&program, plain, gzip).await?;
            let before = usage::of(nginx.server.pid);
            for ask in asks {
                self.one("nginx", nginx.server, ask, 1).await?;
            }
            if asks.contains(&Ask::TEXT) {
                self.used("nginx", before, usage::of(nginx.server.pid));
            }
            nginx.end().await?;
        }
        Ok(())
    }

    async fn prometheus(&mut self, saved: &Saved) -> Result<()> {
        if cfg!(not(feature = "peers")) {
            self.report.missing.push("the prometheus crate: built without `peers`".to_owned());
            return Ok(());
        }
        note("scraping: the prometheus crate");
        let peer = peers::prometheus(&saved.folder.path().join("scrape")).await?;
        let before = usage::of(peer.server.pid);
        for ask in [Ask::TEXT, Ask::GZIP, Ask::DEVICES, Ask::DEVICES_GZIP] {
            self.one("prometheus crate", peer.server, ask, 1).await?;
        }
        self.used("prometheus crate", before, usage::of(peer.server.pid));
        peer.end().await
    }

    async fn python(&mut self, saved: &Saved) -> Result<()> {
        let Some(python) = python::find().await else {
            let why = "Python's prometheus_client: not installed";
            self.report.missing.push(why.to_owned());
            return Ok(());
        };
        note("scraping: Python's prometheus_client");
        let peer = python::serve(&python, &saved.folder.path().join("scrape")).await?;
        let before = usage::of(peer.server.pid);
        for ask in [Ask::TEXT, Ask::GZIP] {
            self.one("Python's prometheus_client", peer.server, ask, 1).await?;
        }
        self.used("Python's prometheus_client", before, usage::of(peer.server.pid));
        peer.end().await
    }

    async fn one(&mut self, who: &str, server: Server, ask: Ask, clients: u32) -> Result<()> {
        // Python takes its time; that can be seen after fewer.
        let most = if who.starts_with("Python") { 3 } else { u32::MAX };
        let number = self.plan.scrapes.min(most);
        let scrape = measure(server, ask, clients, number, self.series).await;
        let scrape = scrape.with_context(|| who.to_owned())?;
        if let Some(scrape) = &scrape {
            let name = |figure: &str| format!("scrape.{who}.{}.{figure}", ask.name);
            let report = &mut self.report;
            report.keep(&name("median"), report::of(scrape.times.median));
            report.keep(&name("least"), report::of(scrape.times.least));
            report.keep(&name("cpu"), scrape.cpu.and_then(report::of));
            report.keep(&name("bytes"), Some(scrape.bytes as f64));
        }
        self.scrapes.push((who.to_owned(), ask.name, scrape));
        Ok(())
    }

    fn used(&mut self, who: &str, before: Option<usage::Usage>, after: Option<usage::Usage>) {
        let name = |figure: &str| format!("memory.{who}.{figure}");
        self.report.keep(&name("before"), before.map(|usage| usage.rss as f64));
        self.report.keep(&name("after"), after.map(|usage| usage.rss as f64));
        self.report.keep(&name("peak"), after.map(|usage| usage.peak as f64));
        self.memory.push((who.to_owned(), before, after));
    }

    fn tables(self, fleet: &Fleet) {
        let (report, number) = (self.report, self.plan.scrapes);
        let rows = self.scrapes.iter().map(|(who, ask, scrape)| {
            let name = |who: &str| format!("scrape.{who}.{ask}.median");
            let Some(scrape) = scrape else {
                let head = vec![who.clone(), (*ask).to_owned(), "not offered".to_owned()];
                return [head, vec![String::new(); 7]].concat();
            };
            let spread = scrape.times;
            let [median, least, most] = [spread.median, spread.least, spread.most]
                .map(|figure| seconds(report::of(figure)));
            let of = |other: &str| times(report.ratio(&name(who), &name(other)));
            vec![
                who.clone(),
                (*ask).to_owned(),
                median,
                least,
                most,
                seconds(scrape.cpu.and_then(report::of)),
                size(Some(scrape.bytes as f64)),
                scrape.series.to_string(),
                of("nginx"),
                of("exporter"),
            ]
        });
        let scrapes = Table {
            title: format!(
                "Scrapes ({number} of each kind): {} users, {} devices",
                fleet.users, fleet.devices
            ),
            columns: vec![
                "",
                "asked for",
                "median",
                "least",
                "most",
                "CPU",
                "size",
                "series",
                "of nginx",
                "of the exporter",
            ],
            rows: rows.collect(),
        };
        let rss = |usage: &Option<usage::Usage>| size(usage.map(|usage| usage.rss as f64));
        let rows = self.memory.iter().map(|(who, before, after)| {
            let name = |who: &str| format!("memory.{who}.after");
            vec![
                who.clone(),
                rss(before),
                rss(after),
                size(after.map(|usage| usage.peak as f64)),
                times(report.ratio(&name(who), &name("exporter"))),
            ]
        });
        let memory = Table {
            title: "Resident memory around these scrapes".to_owned(),
            columns: vec!["", "before", "after", "peak", "of the exporter"],
            rows: rows.collect(),
        };
        report.tables.extend([scrapes, memory]);
    }
}
