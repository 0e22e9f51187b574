//! Finds the metric names in a PromQL expression. promtool checks the syntax.

use std::collections::BTreeSet;

use wickr_exporter::exposition::{Kind, families};

/// The series of the exporter's own metrics.
const OWN: &[&str] = &[
    "wickr_exporter_api_request_duration_seconds_bucket",
    "wickr_exporter_api_request_duration_seconds_count",
    "wickr_exporter_api_request_duration_seconds_sum",
    "wickr_exporter_api_requests_total",
    "wickr_exporter_api_retries_total",
    "wickr_exporter_api_rate_limit",
    "wickr_exporter_api_throttled_seconds_total",
    "wickr_exporter_build_info",
    "wickr_exporter_config_last_reload_success_timestamp_seconds",
    "wickr_exporter_config_last_reload_successful",
    "wickr_exporter_discovery_failures_total",
    "wickr_exporter_state_last_save_timestamp_seconds",
    "wickr_exporter_web_certificate_not_after_timestamp_seconds",
    "wickr_exporter_web_config_last_reload_success_timestamp_seconds",
    "wickr_exporter_web_config_last_reload_successful",
    "wickr_exporter_panics_total",
    "wickr_exporter_web_refusals_total",
];

/// Words that are neither metrics nor functions.
const OPERATORS: [&str; 8] = ["and", "atan2", "bool", "inf", "nan", "offset", "or", "unless"];

/// Words before a list of labels in parentheses.
const GROUPINGS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// Whether a scrape of the exporter can have a series with this name.
pub fn is_known_metric(name: &str) -> bool {
    let suffixes = |kind| match kind {
        Kind::Histogram | Kind::GaugeHistogram => &["_bucket", "_count", "_sum"][..],
        Kind::Gauge | Kind::Counter => &[""],
    };
    let of_inventory = families().any(|family| {
        name.strip_prefix(family.name).is_some_and(|rest| suffixes(family.kind).contains(&rest))
    });
    // Prometheus adds these to each scrape.
    let of_prometheus = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
    of_inventory
        || OWN.contains(&name)
        || name.starts_with("process_")
        || of_prometheus.contains(&name)
}

/// Whether a family has this name, its series possibly with suffixes.
pub fn is_known_family(name: &str) -> bool {
    is_known_metric(name) || is_known_metric(&format!("{name}_bucket"))
}

/// Whether any metric name has this prefix.
pub fn begins_a_metric(prefix: &str) -> bool {
    let of_inventory = families().map(|family| family.name);
    of_inventory.chain(OWN.iter().copied()).any(|name| name.starts_with(prefix))
}

/// The metric names in an expression.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' | '\'' => after_string(rest),
            '{' => after_closing(rest, '}'),
            '[' => after_closing(rest, ']'),
            _ if is_word(first) => {
                let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
                let after = after.trim_start();
                if GROUPINGS.contains(&word) {
                    if after.starts_with('(') { after_closing(after, ')') } else { after }
                } else {
                    if !first.is_ascii_digit() && !OPERATORS.contains(&word) && !is_call(after) {
                        names.insert(word.to_owned());
                    }
                    after
                }
            }
            _ => &rest[first.len_utf8()..],
        }
        .trim_start();
    }
    names
}

/// Whether the text after a word makes the word a function or an aggregation.
fn is_call(after: &str) -> bool {
    let word = after.split(|c| !is_word(c)).next().unwrap_or_default();
    after.starts_with('(') || word == "by" || word == "without"
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn after_string(text: &str) -> &str {
    let quote = text.chars().next().unwrap();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return &text[at + 1..],
            _ => {}
        }
    }
    panic!("unterminated string: {text}");
}

/// The text after `closing`, which is not searched in strings. Does not support nesting.
fn after_closing(mut text: &str, closing: char) -> &str {
    loop {
        let at = text.find([closing, '"', '\'']).unwrap_or_else(|| panic!("no {closing}: {text}"));
        if text[at..].starts_with(closing) {
            return &text[at + 1..];
        }
        text = after_string(&text[at..]);
    }
}

#[test]
fn finds_the_metrics_in_an_expression() {
    for (expression, expected) in [
        ("up", &["up"][..]),
        (r#"sum by (le) (rate(a_bucket{le="b", c=~"d}\"e"}[5m])) / 2"#, &["a_bucket"]),
        ("sum(a) without (b) > bool 1e3 and on (c) d", &["a", "d"]),
        ("a * on (b) group_left (c) topk by (b) (1, d)", &["a", "d"]),
        ("a / on (b) group_left d", &["a", "d"]),
        ("max_over_time(sum by (x) (a)[6h:10m] offset 1d) or absent(b)", &["a", "b"]),
        ("time() - 30 * 86400", &[]),
    ] {
        assert_eq!(metrics(expression), expected.iter().map(|&name| name.to_owned()).collect());
    }
}

#[test]
fn recognizes_the_exporters_metrics() {
    assert!(is_known_metric("wickr_up"));
    assert!(is_known_metric("wickr_network_device_idle_seconds_bucket"));
    assert!(is_known_metric("wickr_exporter_api_requests_total"));
    assert!(!is_known_metric("wickr_network_device_idle_seconds"));
    assert!(!is_known_metric("wickr_up_total"));
    assert!(!is_known_metric("wikcr_up"));
}
