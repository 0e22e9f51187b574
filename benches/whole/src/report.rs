//! What was measured, for people (Markdown tables) and for programs (JSON).

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use serde::Serialize;

/// Everything that is printed at the end.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether it was a quick run, whose figures say nothing about speed.
    pub(crate) quick: bool,
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) aims: Vec<Aim>,
    pub(crate) tables: Vec<Table>,
    /// What was not measured, and why.
    pub(crate) missing: Vec<String>,
    /// Every figure by a name of its own, in seconds and bytes.
    pub(crate) figures: BTreeMap<String, f64>,
}

/// What we aim at, beside what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Aim {
    pub(crate) what: String,
    pub(crate) aim: String,
    pub(crate) found: String,
    /// None where this run cannot tell.
    pub(crate) met: Option<bool>,
}

/// One table; its first column is text, the others are figures.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Report {
    /// Keeps a figure; one that the system does not tell is left out.
    pub(crate) fn keep(&mut self, name: &str, figure: Option<f64>) {
        if let Some(figure) = figure {
            self.figures.insert(name.to_owned(), figure);
        }
    }

    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// How many times the one figure the other is.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let (of, to) = (self.figure(of)?, self.figure(to)?);
        (to > 0.0).then_some(of / to)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (what, value) in &self.machine {
            let _ = writeln!(text, "- {what}: {value}");
        }
        if self.quick {
            text.push_str("- A quick run: it shows that everything works, not how fast\n");
        }
        let aims = Table {
            title: "Aims".to_owned(),
            columns: vec!["", "aim", "found", ""],
            rows: self.aims.iter().map(Aim::row).collect(),
        };
        for table in [&aims].into_iter().chain(&self.tables) {
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

impl Aim {
    fn row(&self) -> Vec<String> {
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        vec![self.what.clone(), self.aim.clone(), self.found.clone(), verdict.to_owned()]
    }
}

impl Table {
    /// Padded, so that it reads as well on a terminal.
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
                // Writing to a String cannot fail.
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

/// What a figure from another machine is worth nothing without.
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
        ("Memory", memory.map(|kibibytes| bytes(kibibytes as f64 * 1024.0)).unwrap_or_default()),
        (
            "System",
            format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        ),
        (
            "Load before the run",
            format!("{load} (anything near 1 or more, and the figures are too high)"),
        ),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(what, value)| (what.to_owned(), value))
    .collect()
}

/// What stands for a figure that there is none of.
const NONE: &str = "-";

pub(crate) fn seconds(figure: Option<f64>) -> String {
    figure.map_or(NONE.to_owned(), |figure| match figure {
        figure if figure < 0.001 => format!("{:.0} µs", figure * 1e6),
        figure if figure < 0.01 => format!("{:.2} ms", figure * 1e3),
        figure if figure < 0.1 => format!("{:.1} ms", figure * 1e3),
        figure if figure < 1.0 => format!("{:.0} ms", figure * 1e3),
        figure => format!("{figure:.2} s"),
    })
}

pub(crate) fn bytes(figure: f64) -> String {
    match figure {
        figure if figure < 1e4 => format!("{figure:.0} B"),
        figure if figure < 1e6 => format!("{:.1} kB", figure / 1e3),
        figure if figure < 1e8 => format!("{:.1} MB", figure / 1e6),
        figure if figure < 1e9 => format!("{:.0} MB", figure / 1e6),
        figure => format!("{:.2} GB", figure / 1e9),
    }
}

pub(crate) fn size(figure: Option<f64>) -> String {
    figure.map_or(NONE.to_owned(), bytes)
}

pub(crate) fn times(ratio: Option<f64>) -> String {
    ratio.map_or(NONE.to_owned(), |ratio| match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2} x"),
        ratio => format!("{ratio:.0} x"),
    })
}

pub(crate) fn of(duration: Duration) -> Option<f64> {
    Some(duration.as_secs_f64())
}
