//! The report as Markdown tables and JSON.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// A quick run, whose times are not meaningful.
    pub(crate) quick: bool,
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) targets: Vec<Target>,
    pub(crate) tables: Vec<Table>,
    /// What was not measured, with the reason.
    pub(crate) missing: Vec<String>,
    /// All values by name, in seconds and bytes.
    pub(crate) values: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) measured: String,
    /// `None` if this run cannot decide it.
    pub(crate) met: Option<bool>,
}

/// A table. The first column is left-aligned.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Report {
    /// Stores a value, if it is available.
    pub(crate) fn set(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.values.insert(name.to_owned(), value);
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    pub(crate) fn ratio(&self, name: &str, base: &str) -> Option<f64> {
        let (value, base) = (self.value(name)?, self.value(base)?);
        (base > 0.0).then_some(value / base)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            let _ = writeln!(text, "- {name}: {value}");
        }
        if self.quick {
            text.push_str("- A quick run: it checks that everything works, not how fast\n");
        }
        let targets = Table {
            title: "Targets".to_owned(),
            columns: vec!["", "target", "measured", ""],
            rows: self.targets.iter().map(Target::row).collect(),
        };
        for table in [&targets].into_iter().chain(&self.tables) {
            if !table.rows.is_empty() {
                let _ = write!(text, "\n### {}\n\n{}", table.title, table.markdown());
            }
        }
        if !self.missing.is_empty() {
            text.push_str("\n### Not measured\n\n");
            for why in &self.missing {
                let _ = writeln!(text, "- {why}");
            }
        }
        text
    }
}

impl Target {
    fn row(&self) -> Vec<String> {
        let result = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        vec![self.name.clone(), self.target.clone(), self.measured.clone(), result.to_owned()]
    }
}

impl Table {
    /// Padded for terminals.
    fn markdown(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|name| (*name).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(text, "| {cell:<width$} |"),
                    _ => write!(text, " {cell:>width$} |"),
                };
            }
            text.push('\n');
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - 1);
                    let _ = match column {
                        0 => write!(text, "|-{dashes}- |"),
                        _ => write!(text, " {dashes}: |"),
                    };
                }
                text.push('\n');
            }
        }
        text
    }
}

pub(crate) fn machine(program: &str) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    [
        ("Program", program.to_owned()),
        ("CPU", format!("{cores} cores, {}", model.map_or("unknown", |(_, model)| model))),
        (
            "Memory",
            memory.map(|kibibytes| format_bytes(kibibytes as f64 * 1024.0)).unwrap_or_default(),
        ),
        (
            "System",
            format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        ),
        ("Load before the run", format!("{load} (times are too high if this is near 1 or more)")),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

const NONE: &str = "-";

pub(crate) fn format_seconds(seconds: Option<f64>) -> String {
    seconds.map_or(NONE.to_owned(), |value| match value {
        value if value < 0.001 => format!("{:.0} µs", value * 1e6),
        value if value < 0.01 => format!("{:.2} ms", value * 1e3),
        value if value < 0.1 => format!("{:.1} ms", value * 1e3),
        value if value < 1.0 => format!("{:.0} ms", value * 1e3),
        value => format!("{value:.2} s"),
    })
}

fn format_bytes(bytes: f64) -> String {
    match bytes {
        value if value < 1e4 => format!("{value:.0} B"),
        value if value < 1e6 => format!("{:.1} kB", value / 1e3),
        value if value < 1e8 => format!("{:.1} MB", value / 1e6),
        value if value < 1e9 => format!("{:.0} MB", value / 1e6),
        value => format!("{:.2} GB", value / 1e9),
    }
}

pub(crate) fn format_size(bytes: Option<f64>) -> String {
    bytes.map_or(NONE.to_owned(), format_bytes)
}

pub(crate) fn format_ratio(ratio: Option<f64>) -> String {
    ratio.map_or(NONE.to_owned(), |ratio| match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2} x"),
        ratio => format!("{ratio:.0} x"),
    })
}

pub(crate) fn as_seconds(duration: Duration) -> Option<f64> {
    Some(duration.as_secs_f64())
}
