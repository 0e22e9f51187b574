//! The Grafana dashboard. Grafana cannot be run here, so its queries are: they must be valid and
//! speak of metrics that exist.

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{promql, tools};

/// Every query of the dashboard: the title of its panel, and the expression as Grafana would send
/// it with all networks chosen.
pub(crate) fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let targets = |panel: &Value| panel["targets"].as_array().cloned().unwrap_or_default();
    let queries: Vec<_> = panels(&dashboard)
        .flat_map(|panel| targets(panel).into_iter().map(move |target| (panel, target)))
        .map(|(panel, target)| {
            let title = panel["title"].as_str().unwrap().to_owned();
            (title, interpolate(target["expr"].as_str().unwrap()))
        })
        .collect();
    assert!(!queries.is_empty());
    queries
}

/// Puts values in place of Grafana's variables.
fn interpolate(expression: &str) -> String {
    let mut expression = expression.to_owned();
    for (variable, value) in
        [("$__rate_interval", "5m"), ("$__interval", "1m"), ("$__range", "1h"), ("$network", ".+")]
    {
        expression = expression.replace(variable, value);
    }
    assert!(!expression.contains('$'), "an unknown variable: {expression}");
    expression
}

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/wickr-fleet.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The panels, those folded into rows included.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let own = |panel: &Value| panel["panels"].as_array().map_or(0, Vec::len);
    let top = dashboard["panels"].as_array().unwrap();
    assert!(top.iter().all(|row| own(row) == 0), "walk the panels inside rows, too");
    top.iter()
}

#[test]
fn queries_name_metrics_that_exist() {
    for (title, expression) in dashboard_queries() {
        let metrics = promql::metrics(&expression);
        assert!(!metrics.is_empty(), "{title}: {expression}");
        for metric in metrics {
            assert!(promql::is_known_metric(&metric), "{title}: no metric is called {metric}");
        }
    }
}

#[test]
fn queries_are_valid() {
    let Some(promtool) = tools::find("promtool") else { return };
    let rules: Vec<Value> = dashboard_queries()
        .into_iter()
        .enumerate()
        .map(|(index, (_, expr))| json!({ "record": format!("query:{index}"), "expr": expr }))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queries.yml");
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(&file, groups.to_string()).unwrap();
    tools::run(&promtool, &[Path::new("check"), Path::new("rules"), &file]);
}

#[test]
fn panels_are_told_apart_and_explained() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "wickr-fleet");
    assert_eq!(dashboard["editable"], true);
    let mut ids = HashSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{title}");
            // A unit is a member of the panel's defaults, or a property of one column.
            let text = panel.to_string();
            let has_unit = text.contains(r#""unit":"#) || text.contains(r#""id":"unit""#);
            assert!(has_unit, "{title}: no unit");
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    let dashboard = dashboard();
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

#[test]
fn reads_from_the_data_source_that_is_chosen() {
    fn check(value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(source) = members.get("datasource") {
                    assert_eq!(source["uid"], "${datasource}", "{value}");
                }
                members.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    let dashboard = dashboard();
    check(&dashboard);
    for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
        assert!(panel.get("datasource").is_some(), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert!(target.get("datasource").is_some(), "{}", panel["title"]);
        }
    }
}
