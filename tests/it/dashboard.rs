//! The Grafana dashboards: their queries are valid, use existing metrics and return samples, and the
//! files match Grafana's schema. Grafana itself does not run.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use wickr_exporter::collectors::families;

use crate::{
    promql,
    stage::{EXTERNAL_URL, Stage},
    tools,
};

const DASHBOARDS: [&str; 3] = ["wickr-fleet", "wickr-governance", "wickr-exporter-health"];

/// A query as Grafana sends it with all networks and jobs selected.
struct Query {
    panel: String,
    /// The description of the panel.
    description: String,
    expression: String,
}

fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for dashboard in DASHBOARDS.map(dashboard) {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push(Query {
                    panel: panel["title"].as_str().unwrap().to_owned(),
                    description: panel["description"].as_str().unwrap().to_owned(),
                    expression: interpolate(target["expr"].as_str().unwrap()),
                });
            }
        }
    }
    assert!(queries.len() > 40);
    queries
}

/// The expressions of the annotations and of the variables, which can have no result.
fn other_expressions() -> Vec<String> {
    let mut expressions = Vec::new();
    for dashboard in DASHBOARDS.map(dashboard) {
        let annotations = dashboard["annotations"]["list"].as_array().unwrap();
        let names: Vec<_> = annotations.iter().map(|annotation| &annotation["name"]).collect();
        assert_eq!(names, ["Alerts", "Restarts", "Reloads"]);
        expressions.extend(annotations.iter().map(|a| interpolate(a["expr"].as_str().unwrap())));
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let query = variable["query"]["query"].as_str().unwrap_or_default();
            let query = query.strip_prefix("query_result(").and_then(|q| q.strip_suffix(')'));
            expressions.extend(query.map(str::to_owned));
        }
    }
    expressions
}

/// Replaces Grafana's variables.
fn interpolate(expression: &str) -> String {
    let mut expression = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "5m"),
        ("$__interval", "1m"),
        ("$__range", "1h"),
        ("$network", ".+"),
        ("$job", "wickr-exporter"),
        ("${scheme}", "http"),
    ] {
        expression = expression.replace(variable, value);
    }
    // A group of label_replace.
    assert!(!expression.replace("$1", "").contains('$'), "unknown variable: {expression}");
    expression
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana").join(format!("{name}.json"))
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(name)).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let nested = |panel: &Value| panel["panels"].as_array().map_or(0, Vec::len);
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| nested(panel) == 0), "nested panels are not supported here");
    panels.iter()
}

#[test]
fn queries_use_existing_metrics() {
    for Query { panel, expression, .. } in queries() {
        let metrics = promql::metrics(&expression);
        assert!(!metrics.is_empty(), "{panel}: {expression}");
        for metric in metrics {
            assert!(promql::is_known_metric(&metric), "{panel}: unknown metric {metric}");
        }
    }
    for expression in other_expressions() {
        for metric in promql::metrics(&expression) {
            // Prometheus writes ALERTS itself.
            assert!(promql::is_known_metric(&metric) || metric == "ALERTS", "{metric}");
        }
    }
}

/// Prometheus needs two samples for a rate: the shortest range is then four scrape intervals.
#[test]
fn panels_with_rates_have_a_minimum_interval() {
    for panel in DASHBOARDS.map(dashboard).iter().flat_map(panels) {
        let has_rate = panel["targets"].to_string().contains("$__rate_interval");
        assert_eq!(panel["interval"] == "1m", has_rate, "{}", panel["title"]);
    }
}

#[test]
fn promtool_accepts_the_queries() {
    let Some(promtool) = tools::find("promtool") else { return };
    let rule = |(index, expression): (usize, String)| json!({ "record": format!("query:{index}"), "expr": expression });
    let expressions = queries().into_iter().map(|query| query.expression);
    let expressions = expressions.chain(other_expressions()).enumerate();
    let rules: Vec<Value> = expressions.map(rule).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queries.yml");
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(&file, groups.to_string()).unwrap();
    tools::run(&promtool, &[Path::new("check"), Path::new("rules"), &file]);
}

/// A network has values of collectors, and no name, before its first poll ends.
#[test]
fn queries_on_collectors_keep_networks_without_a_name() {
    let Some(promtool) = tools::find("promtool") else { return };
    let of_collectors: HashSet<_> = families().map(|family| family.name).collect();
    let is_early = |metric: &String| {
        of_collectors.contains(metric.as_str())
            || metric.starts_with("wickr_exporter_collector_")
            || metric == "wickr_exporter_invalid_timestamps"
    };
    let mut tests = Vec::new();
    for Query { panel, expression, .. } in queries() {
        let metrics = promql::metrics(&expression);
        let Some(metric) = metrics.iter().find(|metric| is_early(metric)) else { continue };
        if !metrics.contains("wickr_network_info") {
            continue;
        }
        // The second network has been polled.
        tests.push(json!({
            "name": panel,
            "input_series": [
                { "series": format!("{metric}{{network_id=\"1\"}}"), "values": "1" },
                { "series": format!("{metric}{{network_id=\"2\"}}"), "values": "1" },
                { "series": "wickr_network_info{network_id=\"2\", network_name=\"b\"}", "values": "1" },
            ],
            "promql_expr_test": [{
                "expr": format!("group by (network_id, network_name) ({expression})"),
                "exp_samples": [
                    { "labels": "{network_id=\"1\"}", "value": 1 },
                    { "labels": "{network_id=\"2\", network_name=\"b\"}", "value": 1 },
                ],
            }],
        }));
    }
    assert!(tests.len() > 10);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queries.yml");
    fs::write(&file, json!({ "tests": tests }).to_string()).unwrap();
    tools::run(&promtool, &[Path::new("test"), Path::new("rules"), &file]);
}

#[test]
fn panels_have_unique_ids_descriptions_and_units() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!((&dashboard["uid"], &dashboard["editable"]), (&json!(name), &json!(true)));
        let mut ids = HashSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: duplicate id");
            if panel["type"] != "row" {
                assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title}");
                // A unit is set in the panel's defaults or as a property of a column.
                let text = panel.to_string();
                let has_unit = text.contains(r#""unit":"#) || text.contains(r#""id":"unit""#);
                assert!(has_unit, "{title}: no unit");
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let mut taken = HashSet::new();
        for panel in panels(&dashboard) {
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{} overlaps", panel["title"]);
                }
            }
        }
    }
}

/// Calls `check` for each object in a JSON value.
fn each_object(value: &Value, check: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            check(members);
            members.values().for_each(|value| each_object(value, check));
        }
        Value::Array(items) => items.iter().for_each(|item| each_object(item, check)),
        _ => {}
    }
}

#[test]
fn every_query_uses_the_selected_data_source() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        each_object(&dashboard, &mut |members| {
            if let Some(source) = members.get("datasource") {
                assert_eq!(source["uid"], "${datasource}", "{members:?}");
            }
        });
        for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
            assert!(panel.get("datasource").is_some(), "{}", panel["title"]);
            for target in panel["targets"].as_array().unwrap() {
                assert!(target.get("datasource").is_some(), "{}", panel["title"]);
            }
        }
    }
}

#[test]
fn links_use_existing_columns() {
    let dashboard = dashboard("wickr-fleet");
    let mut links = 0;
    for panel in panels(&dashboard) {
        let text = panel.to_string();
        each_object(panel, &mut |members| {
            let Some(url) = members.get("url").and_then(Value::as_str) else { return };
            links += 1;
            assert!(url.starts_with("${__data.fields.external_url}/devices?network_id="));
            for field in url.split("${__data.fields.").skip(1).map(|rest| rest.split('}').next()) {
                let field = field.unwrap();
                // A label in the query, or the new name of a renamed column.
                let expression = panel["targets"][0]["expr"].as_str().unwrap();
                let renamed = text.contains(&format!(":\"{field}\""));
                assert!(expression.contains(field) || renamed, "{}: {field}", panel["title"]);
            }
        });
    }
    assert!(links >= 4);
}

/// Converts the dashboards to Grafana's types and back. Members outside the schema are lost.
const SCHEMA: &str = r#"
import json, re, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

def lost(before, after, path):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}.{key}")
            elif value not in (None, {}, []):
                yield f"{path}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"

def converted(dashboard):
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))

register_default_plugins()
for file in sys.argv[1:]:
    dashboard = json.load(open(file))
    found = list(lost(dashboard, converted(dashboard), file))
    # The schema lacks the members of Prometheus's annotations.
    found = [path for path in found if not re.search(r"annotations\.list\[\d\]\.(step|titleFormat|tagKeys)$", path)]
    assert not found, found
    # Shows that an unknown member is found.
    dashboard["panels"][0]["fieldConfig"]["defaults"]["unti"] = "s"
    dashboard["annotations"] = {}
    found = list(lost(dashboard, converted(dashboard), ""))
    assert found == [".panels[0].fieldConfig.defaults.unti"]
"#;

#[test]
fn dashboards_match_grafanas_schema() {
    let Some(python) = tools::python("grafana_foundation_sdk") else { return };
    let mut arguments = vec!["-c".into(), SCHEMA.into()];
    arguments.extend(DASHBOARDS.map(|name| file(name).into_os_string()));
    tools::run(&python, &arguments);
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers_every_query_with_samples() {
    answers_every_query("prometheus").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_answers_every_query_with_samples() {
    answers_every_query("victoria-metrics").await;
}

async fn answers_every_query(program: &str) {
    let Some(program) = tools::find(program) else { return };
    let stage = Stage::start(&program, "device").await;
    let mut links = [0, 0];
    for Query { panel, expression, .. } in queries() {
        eprintln!("{panel}: {expression}");
        let found = stage.prometheus.wait_for(&expression).await;
        for labels in found.iter().map(|row| &row["metric"]) {
            let Some(url) = labels["external_url"].as_str() else { continue };
            let address = format!("http://{}", labels["instance"].as_str().unwrap());
            assert!(url == EXTERNAL_URL || url == address, "{labels}");
            links[usize::from(url == EXTERNAL_URL)] += 1;
        }
        // Prometheus also scrapes itself, which these queries must exclude. A scrape that takes longer
        // than its interval fails, and the next one corrects the result.
        let condition = match panel.as_str() {
            "Scraped" => format!("({expression}) == 2"),
            "Versions" => format!("count({expression}) == 2"),
            _ => continue,
        };
        stage.prometheus.wait_for(&condition).await;
    }
    assert!(links.iter().all(|count| *count > 1), "{links:?}");
}

#[test]
fn general_metrics_are_limited_to_the_exporters_jobs() {
    let dashboard = dashboard("wickr-exporter-health");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let job = variables.iter().find(|variable| variable["name"] == "job").unwrap();
    assert_eq!((&job["includeAll"], job.get("allValue")), (&json!(true), None));
    assert!(job["query"]["query"].as_str().unwrap().contains("wickr_exporter_build_info"));
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            for metric in ["up", "process_start_time_seconds", "scrape_duration_seconds"] {
                for (at, _) in expression.match_indices(metric) {
                    let is_suffix =
                        expression[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                    let rest = &expression[at + metric.len()..];
                    assert!(is_suffix || rest.starts_with("{job=~\"$job\""), "{expression}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_state_the_required_level_of_detail() {
    let Some(program) = tools::find("prometheus") else { return };
    for detail in ["network", "user"] {
        let stage = Stage::start(&program, detail).await;
        for Query { panel, description, expression } in queries() {
            let (_, needs) = description.split_once("eeds detail = ").unwrap_or_default();
            // As in `Needs detail = "user" or "device"`.
            if needs.is_empty() || needs.contains(&format!("\"{detail}\"")) {
                stage.prometheus.wait_for(&expression).await;
            } else if needs.starts_with("\"device\"") || detail == "network" {
                let found = stage.prometheus.query(&expression).await;
                assert_eq!(found, Some(vec![]), "{panel} does not need {needs}");
            }
        }
    }
}
