//! Compares the documentation with the code. `UPDATE_DOCS=1 cargo test --test it docs` updates the
//! generated tables.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::CommandFactory as _;
use wickr_exporter::{
    cli::Cli,
    collectors::CollectorRef,
    exposition::{Group, Kind, families},
    poll::DiscoveryObserver as _,
    simulator::Options,
    telemetry::Metrics,
    wickr::{ErrorKind, Operation, Outcome, RateLimiter, RequestObserver as _},
};

use crate::{
    deploy,
    harness::{Exporter, Samples, simulator},
    promql,
    stage::Stage,
    tools,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of a table of metrics.
struct Row {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

/// The families about the exporter. `gather` skips families without a series, so this records each
/// kind of event once.
fn exporter_rows() -> Vec<Row> {
    let metrics = Metrics::new().unwrap().with_state().unwrap().with_process().unwrap();
    metrics.attempted(Operation::ListUsers, Outcome::Status(200), Duration::ZERO);
    metrics.retried(ErrorKind::Timeout);
    metrics.discovery_failed(Operation::ListUsers, ErrorKind::Timeout);
    let limiter = Arc::new(RateLimiter::new(1.0));
    metrics.show_rates([("region".to_owned(), String::new(), limiter)]);
    metrics.web_config_loaded(true, 0, Some(0));
    metrics.set_shard(0, 1);
    metrics.set_external_url("https://example.org");
    let families = metrics.gather();
    let row = |family: &::prometheus::proto::MetricFamily| Row {
        name: family.name().to_owned(),
        kind: match family.get_field_type() {
            ::prometheus::proto::MetricType::COUNTER => "counter",
            ::prometheus::proto::MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        },
        labels: family.get_metric()[0].get_label().iter().map(|l| l.name().to_owned()).collect(),
        help: family.help().to_owned(),
    };
    families.iter().map(row).collect()
}

fn rows(group: Group) -> Vec<Row> {
    let of_group = families().filter(|family| family.group == group);
    let row = |family: &'static wickr_exporter::exposition::Family| Row {
        name: family.name.to_owned(),
        kind: match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Histogram => "histogram",
        },
        labels: family.labels.iter().map(|&label| label.to_owned()).collect(),
        help: family.help.to_owned(),
    };
    let mut rows: Vec<Row> = of_group.map(row).collect();
    if group == Group::Exporter {
        rows.extend(exporter_rows());
    }
    rows
}

fn table(group: Group) -> String {
    let mut text = "| family | type | labels | |\n|---|---|---|---|\n".to_owned();
    for Row { name, kind, mut labels, help } in rows(group) {
        if kind.ends_with("histogram") {
            labels.push("le".to_owned());
        }
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    text
}

/// The text with the content of every `<!-- generated: NAME -->` … `<!-- end -->` replaced.
fn fill(text: &str, make: impl Fn(&str) -> String) -> String {
    let mut parts = text.split("<!-- generated: ");
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        write!(filled, "<!-- generated: {name} -->\n{}<!-- end -->{after}", make(name)).unwrap();
    }
    filled
}

/// Compares a page with its tables as `make` generates them, or updates it.
fn assert_current(name: &str, tables: &[&str], make: impl Fn(&str) -> String) {
    let text = read(name);
    for table in tables {
        let marker = format!("<!-- generated: {table} -->");
        assert_eq!(text.matches(&marker).count(), 1, "{marker}");
    }
    let now = fill(&text, make);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), &now).unwrap();
        return;
    }
    let hint = "UPDATE_DOCS=1 cargo test --test it docs updates the page";
    for (now, text) in now.lines().zip(text.lines()) {
        assert_eq!(now, text, "{hint}");
    }
    assert_eq!(now.len(), text.len(), "{hint}");
}

#[test]
fn the_metrics_reference_is_current() {
    assert_current("metrics.md", &Group::ALL.map(Group::as_str), |name| {
        table(Group::ALL.into_iter().find(|group| group.as_str() == name).unwrap())
    });
}

#[test]
fn the_table_of_collectors_is_current() {
    let code = |texts: Vec<&str>| {
        texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
    };
    assert_current("collectors.md", &["collectors"], |_| {
        let mut text = "| collector | operations | families |\n|---|---|---|\n".to_owned();
        for collector in CollectorRef::all().map(CollectorRef::get) {
            let operations = collector.operations().iter().map(|operation| operation.as_str());
            let families = collector.families().iter().map(|family| family.name);
            let (operations, families) = (code(operations.collect()), code(families.collect()));
            writeln!(text, "| `{}` | {operations} | {families} |", collector.name()).unwrap();
        }
        text
    });
}

/// A row for each option of a command.
fn options<'a>(options: impl Iterator<Item = &'a clap::Arg>) -> String {
    let mut text = "| option | meaning | default |\n|---|---|---|\n".to_owned();
    for option in options.filter(|option| !option.is_hide_set()) {
        let long = option.get_long();
        let Some(long) = long.filter(|long| !["help", "version"].contains(long)) else { continue };
        let value = option.get_value_names().filter(|_| option.get_action().takes_values());
        let value = value.map(|names| format!(" {}", names[0])).unwrap_or_default();
        let help = option.get_help().unwrap().to_string();
        let long_help = option.get_long_help().map(ToString::to_string).unwrap_or_default();
        let shown = long_help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        let defaults = option.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = match shown {
            Some((default, _)) => default.to_owned(),
            None if !option.get_action().takes_values() => String::new(),
            None => defaults.map(|value| format!("`{value}`")).collect(),
        };
        let values = option.get_possible_values();
        let values = values.iter().map(|value| format!("`{}`", value.get_name()));
        let values = match values.collect::<Vec<_>>().join(", ") {
            values if values.is_empty() || value.is_empty() => String::new(),
            values => format!(": {values}"),
        };
        let help = help.replace('|', "\\|");
        writeln!(text, "| `--{long}{value}` | {help}{values} | {default} |").unwrap();
    }
    text
}

#[test]
fn the_command_line_reference_is_current() {
    let command = Cli::command();
    let commands = ["check", "once", "devices", "health", "simulate"];
    assert_current("command-line.md", &commands, |name| match name {
        "options" => options(command.get_arguments()),
        name => options(command.find_subcommand(name).unwrap().get_arguments()),
    });
    let text = read("command-line.md");
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name();
        assert!(text.contains(&format!("\n| `{name}` |")), "{name} has no row");
        let has_options = subcommand.get_opts().any(|option| option.get_long() != Some("help"));
        assert_eq!(has_options, commands.contains(&name), "{name}: its options");
    }
}

#[test]
fn the_toml_examples_are_valid_configurations() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for example in text.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            // In a list, the block is indented.
            let example: Vec<_> = example.lines().map(|line| line.trim_start()).collect();
            let mut example = example.join("\n");
            if !example.contains("[[network]]") {
                example += "\n[[network]]\nid = \"all\"\nusers = \"all\"\n";
            }
            if let Err(error) = wickr_exporter::config::parse(&example, "example") {
                panic!("{}: {error}", page.display());
            }
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}

/// All pages in docs/ and the main pages of the root.
fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(path("")).unwrap().map(|file| file.unwrap().path());
    let mut pages: Vec<PathBuf> = files.filter(|file| file.extension().is_some()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    pages.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    pages.sort();
    pages
}

/// Whether a source text has a test that is not ignored.
fn has_tests(source: &str) -> bool {
    let is_test = |line: &str| line.starts_with("#[test") || line.starts_with("#[tokio::test");
    let mut lines = source.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if is_test(line) && !lines.peek().is_some_and(|next| next.starts_with("#[ignore")) {
            return true;
        }
    }
    false
}

#[test]
fn each_claim_of_the_threat_model_names_files_with_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut files = BTreeSet::new();
    for list in text.split("(tests: ").skip(1) {
        let list = list.split_once(')').unwrap().0;
        files.extend(list.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    for file in &files {
        let source = fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{file}: {error}"));
        let declared = source.lines().find_map(|line| line.strip_prefix("mod tests;"));
        let tests = root.join(file.strip_suffix(".rs").unwrap()).join("tests.rs");
        let separate = declared.and_then(|_| fs::read_to_string(tests).ok()).unwrap_or_default();
        assert!(has_tests(&source) || has_tests(&separate), "{file} has no tests");
    }
    assert!(files.len() > 15, "{files:?}");
    // The author of the configuration is trusted: that section has no claims in bullets.
    let (_, model) = text.split_once("## Threat model").unwrap();
    let sections = model.split("\n### ").skip(1).filter(|text| !text.starts_with("The author"));
    let mut claims = 0;
    for claim in sections.flat_map(|text| text.split("\n- ").skip(1)) {
        let claim = claim.split("\n\n").next().unwrap();
        assert!(claim.contains("(tests: ") || claim.contains("performance.md"), "{claim}");
        claims += 1;
    }
    assert!(claims > 20, "{claims}");
    assert!(
        !has_tests("#[test]\n#[ignore = \"slow\"]\nfn a() {}") && has_tests("#[test]\nfn a() {}")
    );
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let anchor = heading.trim().to_lowercase().replace(' ', "-");
    anchor.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

#[test]
fn relative_links_have_a_target() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !section.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|anchor| anchor == section), "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn the_index_lists_every_page() {
    let index = read("README.md");
    for page in pages().iter().filter(|page| page.parent() == Some(&path(""))) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "{name}");
    }
}

#[test]
fn named_metrics_exist() {
    let recorded = deploy::recorded();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let words =
            text.split(|c: char| !c.is_ascii_alphanumeric() && !['_', ':', '*', '…'].contains(&c));
        for word in words.filter(|word| word.starts_with("wickr_") || word.contains(":wickr_")) {
            // A prefix, as in wickr_exporter_*.
            let (start, is_pattern) = match word.strip_suffix(['*', '…']) {
                Some(start) => (start, true),
                None => (word.trim_end_matches(':'), false),
            };
            let known = promql::is_known_metric(start)
                || recorded.contains(start)
                || promql::is_known_family(start);
            let known = known || is_pattern && promql::begins_a_metric(start);
            assert!(known, "{}: {word}", page.display());
        }
    }
}

/// The source text of `src`, with continued string literals joined to one line.
fn source() -> String {
    fn add(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                add(&entry, text);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                for line in fs::read_to_string(&entry).unwrap().lines() {
                    *text += line.trim_start().strip_suffix('\\').unwrap_or(line);
                }
            }
        }
    }
    let mut text = String::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    text
}

#[test]
fn explained_log_lines_exist() {
    let (text, source) = (read("troubleshooting.md"), source());
    let (_, table) = text.split_once("## What log lines mean").unwrap();
    let mut count = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let messages = row.split('|').nth(1).unwrap();
        for message in messages.split('`').skip(1).step_by(2) {
            assert!(source.contains(message), "not logged: {message}");
            count += 1;
        }
    }
    assert!(count > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn series_match_the_numbers_in_sizing() {
    let simulator = simulator(Options { users: 60, ..Options::default() }).await;
    let exporter = Exporter::start(&format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
         [poll]\ninterval = \"1h\"\nrequests_per_second = 10000\n\
         [sso]\nmax_idle = \"security-groups\"\n\
         [[network]]\nid = \"12345678\"\nusers = \"all\"\n",
        simulator.endpoint()
    ));
    exporter.wait_for("limits", |s| s.has("wickr_user_sso_max_idle_seconds")).await;
    let all = exporter.polled(1.0).await;
    let count = |name: &str| all.series(name, &[]).count();
    let (types, groups) = (count("wickr_network_devices"), count("wickr_security_group_info"));
    let (users, devices) = (count("wickr_user_up"), count("wickr_device_info"));
    assert!(types > 2 && groups > 2 && users > 50 && devices > 100);
    let part = async |name: &str| {
        let text = exporter.text(&format!("/metrics?collect[]={name}")).await;
        Samples::parse(&text).0.len()
    };
    let limits = count("wickr_security_group_sso_max_idle_seconds");
    assert!(limits <= groups);
    // The 33 series of a network: 14 in this group and 19 in the group of the exporter.
    assert_eq!(part("network").await, 14 + 17 * types + groups + limits);
    let of_users = part("user").await;
    let by_type = count("wickr_user_devices");
    assert!(of_users <= 9 * users + 2 * by_type && of_users > 5 * users + 2 * by_type);
    let of_devices = part("device").await;
    assert!(of_devices <= 5 * devices && of_devices > 4 * devices, "{of_devices} of {devices}");
    let own = part("exporter").await - 19;
    assert!((50..80).contains(&own), "{own}");
}

/// The queries of the cookbook, each with its heading.
fn cookbook() -> Vec<(String, String)> {
    let text = read("promql.md");
    let mut queries = Vec::new();
    let mut heading = "";
    let mut query: Option<String> = None;
    for line in text.lines() {
        match &mut query {
            Some(_) if line == "```" => queries.push((heading.to_owned(), query.take().unwrap())),
            Some(query) => writeln!(query, "{line}").unwrap(),
            None if line == "```promql" => query = Some(String::new()),
            None => heading = line.strip_prefix("## ").unwrap_or(heading),
        }
    }
    assert!(queries.len() > 15);
    queries
}

/// Shortens the offsets and ranges, because the Prometheus server has just started.
fn with_short_ranges(query: &str) -> String {
    let query = query.replace("offset 1d", "offset 2s").replace("offset 7d", "offset 2s");
    query.replace("[6h]", "[5m]")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_cookbook_returns_a_result() {
    let Some(program) = tools::find("prometheus") else { return };
    let stage = Stage::start(&program, "device").await;
    for (heading, query) in cookbook() {
        eprintln!("{heading}: {query}");
        stage.prometheus.wait_for(&with_short_ranges(&query)).await;
    }
}
