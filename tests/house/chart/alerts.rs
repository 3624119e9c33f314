//! The alerts and the dashboard: Prometheus understands them, alerts fire when they should, and what they name exists.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::prometheus::promtool;
use idissuer_testbed::skip;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::{objects_of, read, read_of_chart, required, root, with, yaml};
use crate::source::files;

const TESTS: &str = include_str!("alerts_test.yaml");
const TESTS_OF_DAYS: &str = include_str!("alerts_day_test.yaml");

/// The rules of `deploy/alerts.yaml`.
fn rules() -> Vec<Value> {
    yaml(&read("deploy/alerts.yaml"))["groups"][0]["rules"].as_array().unwrap().clone()
}

fn names() -> BTreeSet<String> {
    rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

fn checked(promtool: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(promtool).args(arguments).current_dir(folder).output().unwrap()
}

/// What promtool says of these rules, once it has run the tests.
fn tested(promtool: &Path, rules: &[Value], tests: &str) -> Result<(), String> {
    let folder = WorkFolder::create().unwrap();
    let rules = json!({"groups": [{"name": "tested", "rules": rules}]}).to_string();
    std::fs::write(folder.path().join("alerts.yaml"), rules).unwrap();
    std::fs::write(folder.path().join("tests.yaml"), tests).unwrap();
    let output = checked(promtool, folder.path(), &["test", "rules", "tests.yaml"]);
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let Some(promtool) = promtool() else { return skip("there is no promtool: run `make tools`") };
    let path = root().join("deploy/alerts.yaml").display().to_string();
    let output = checked(&promtool, root(), &["check", "rules", &path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut rules = rules();
    for rule in &mut rules {
        rule["annotations"] = json!({});
    }
    for tests in [TESTS, TESTS_OF_DAYS] {
        tested(&promtool, &rules, tests).unwrap_or_else(|said| panic!("{said}"));
    }

    // The tests notice when an alert is lost, or fires at once.
    for index in 0..rules.len() {
        let name = rules[index]["alert"].to_string();
        let others: Vec<_> = rules.iter().filter(|rule| rule["alert"] != rules[index]["alert"]).collect();
        let others: Vec<_> = others.into_iter().cloned().collect();
        assert!(tested(&promtool, &others, TESTS).is_err(), "no test wants {name}");
        let mut hasty = rules.clone();
        hasty[index]["expr"] = json!("vector(1)");
        assert!(tested(&promtool, &hasty, TESTS).is_err(), "no test wants {name} to be silent");
    }
}

/// The metrics that the code declares, with every suffix that one can have.
fn metrics() -> BTreeSet<String> {
    let declared = Regex::new(
        r#"(?:registry,\s*|register\(\s*|encoder,\s*|encode_descriptor\(\s*|number\(\s*)"([a-z_]+)""#,
    )
    .unwrap();
    let mut found = BTreeSet::new();
    for file in files("src/ops", &["rs"]) {
        for name in declared.captures_iter(&file.text) {
            found.extend(
                ["", "_total", "_info", "_bucket", "_count"]
                    .map(|suffix| format!("idissuer_{}{suffix}", &name[1])),
            );
        }
    }
    found
}

#[test]
fn every_metric_of_an_alert_is_one_of_the_operator() {
    let metrics = metrics();
    assert!(metrics.contains("idissuer_leading"), "{metrics:?}");
    let named = Regex::new(r"idissuer_[a-z_]+").unwrap();
    let mut times = 0;
    for rule in rules() {
        for name in named.find_iter(rule["expr"].as_str().unwrap()) {
            times += 1;
            assert!(metrics.contains(name.as_str()), "{}: {}", rule["alert"], name.as_str());
        }
    }
    assert!(times > 10, "{times} times only");
}

#[test]
fn every_alert_can_be_changed_and_has_a_runbook() {
    let schema = yaml(&read_of_chart("values.schema.json"));
    let rule = &schema["properties"]["metrics"]["properties"]["prometheusRule"];
    let changeable = rule["properties"]["overrides"]["properties"].as_object().unwrap().keys();
    assert_eq!(changeable.cloned().collect::<BTreeSet<_>>(), names());
    let tests = yaml(TESTS).to_string();
    for name in names() {
        let page = read(&format!("docs/src/runbooks/{name}.md"));
        for part in ["## Impact", "## Diagnosis", "## Cure"] {
            assert!(page.contains(part), "{name}: {part}");
        }
        assert!(tests.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

#[tokio::test]
async fn an_alert_is_changed_in_every_part_and_the_others_are_not() {
    let values = with(required(), "metrics.prometheusRule.enabled", json!(true));
    let values = with(values, "metrics.prometheusRule.runbookUrl", json!("https://docs.example.com/book/"));
    let values = with(values, "metrics.prometheusRule.alertLabels", json!({"team": "all", "tier": "one"}));
    let change = json!({
        "severity": "page", "for": "7m", "expr": "vector(1)", "labels": {"team": "own"},
        "annotations": {"summary": "Changed"},
    });
    let values = with(values, "metrics.prometheusRule.overrides.IdIssuerTokenExpired", change);
    let objects = objects_of(&values).await;
    let rule = objects.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let changed = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    for (changed, original) in changed.iter().zip(rules()) {
        let name = original["alert"].as_str().unwrap();
        let runbook = format!("https://docs.example.com/book/runbooks/{name}.html");
        assert_eq!(changed["annotations"]["runbook_url"], runbook);
        let labels = if name == "IdIssuerTokenExpired" {
            assert_eq!((&changed["for"], &changed["expr"]), (&json!("7m"), &json!("vector(1)")));
            assert_eq!(changed["annotations"]["summary"], "Changed");
            assert_eq!(changed["annotations"]["description"], original["annotations"]["description"]);
            json!({"severity": "page", "team": "own", "tier": "one"})
        } else {
            assert_eq!(changed["for"], original["for"], "{name}");
            json!({"severity": original["labels"]["severity"], "team": "all", "tier": "one"})
        };
        assert_eq!(changed["labels"], labels, "{name}");
    }
    assert_eq!(changed.len(), names().len());
}

/// The queries of the dashboard, with what Grafana puts in.
fn queries() -> Vec<String> {
    let dashboard = yaml(&read_of_chart("files/dashboard.json"));
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m"));
    queries.map(|query| query.replace("$namespace", ".*")).collect()
}

#[test]
fn every_query_of_the_dashboard_is_one_and_names_metrics_of_the_operator() {
    let (metrics, queries) = (metrics(), queries());
    assert!(queries.len() > 10, "{queries:?}");
    let named = Regex::new(r"idissuer_[a-z_]+").unwrap();
    for query in &queries {
        assert!(!query.contains('$'), "{query}");
        for name in named.find_iter(query) {
            assert!(metrics.contains(name.as_str()), "{query}: {}", name.as_str());
        }
    }
    let Some(promtool) = promtool() else { return skip("there is no promtool: run `make tools`") };
    let rules = queries.iter().enumerate();
    let rules: Vec<_> =
        rules.map(|(number, query)| json!({"record": format!("q{number}"), "expr": query})).collect();
    let folder = WorkFolder::create().unwrap();
    let text = json!({"groups": [{"name": "queries", "rules": rules}]}).to_string();
    std::fs::write(folder.path().join("queries.yaml"), text).unwrap();
    let output = checked(&promtool, folder.path(), &["check", "rules", "queries.yaml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_dashboard_comes_out_as_it_is() {
    let objects = objects_of(&with(required(), "metrics.dashboard.enabled", json!(true))).await;
    let found = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let text = found["data"]["idissuer-operator.json"].as_str().unwrap();
    assert_eq!(yaml(text), yaml(&read_of_chart("files/dashboard.json")));
    assert_eq!(found["metadata"]["labels"]["grafana_dashboard"], "1");
}
