//! A real Prometheus scrapes a live run with faults: every query of the dashboard and of the alerts is understood, those of the
//! dashboard return data, and each alert fires with a text that leads to the cure.

mod alerts;
mod picture;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::process::{Grace, Supervised, WorkFolder};
use idissuer_testbed::{prometheus, skip, wait};
use reqwest::Url;
use serde_json::{Value, json};

use crate::operator::{LIMIT, Operator, Stage, holds, issuer, now};

const DASHBOARD: &str = include_str!("../../charts/idissuer-operator/files/dashboard.json");
const ALERTS: &str = include_str!("../../deploy/alerts.yaml");
/// Prometheus scrapes each second here. A rate needs two scrapes.
const RATE_INTERVAL: &str = "10s";

/// A server that scrapes operators.
struct Prometheus {
    process: Supervised,
    url: String,
}

impl Prometheus {
    /// With these alerts. Each operator is scraped as a job, in a namespace.
    async fn start(program: &Path, alerts: &str, operators: &[(&str, &Operator, &str)]) -> Self {
        let jobs = operators.iter().map(|(job, operator, namespace)| {
            let targets = [operator.admin_address().to_string()];
            json!({
                "job_name": job,
                "honor_labels": true,
                "static_configs": [{"targets": targets, "labels": {"namespace": namespace}}],
            })
        });
        let folder = Arc::new(WorkFolder::create().unwrap());
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("prometheus.yml"), configuration.to_string()).unwrap();
        std::fs::write(place("alerts.yaml"), alerts).unwrap();
        let mut command = Command::new(program);
        command.arg("--web.listen-address=127.0.0.1:0");
        command.arg(format!("--config.file={}", place("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", place("data").display()));
        let process = Supervised::spawn("prometheus", &command, Grace::NONE, &folder).unwrap();
        let url = wait::until("the address of Prometheus", LIMIT, async || {
            let output = process.output();
            let (_, rest) = output.split_once("\"Listening on\" address=").ok_or_else(|| output.clone())?;
            rest.split_whitespace().next().map(|address| format!("http://{address}")).ok_or_else(String::new)
        })
        .await;
        let ready = format!("{url}/-/ready");
        wait::until("Prometheus to be ready", LIMIT, async || {
            reqwest::get(&ready).await.unwrap().status().is_success()
        })
        .await;
        Self { process, url }
    }

    /// With the alerts of the project, for the operator of this stage.
    async fn of_stage(program: &Path, stage: &Stage) -> Self {
        Self::start(program, ALERTS, &[("operator", &stage.operator, stage.namespace.name())]).await
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = Url::parse_with_params(&format!("{}{path}", self.url), parameters).unwrap();
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}: {}", self.process.output_tail()))
    }

    /// The number of series that a query returns now.
    async fn series(&self, query: &str) -> usize {
        let answer = self.get("/api/v1/query", &[("query", query)]).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().len()
    }
}

/// A query with the dashboard's variables as a person would choose them.
fn understood(query: &str) -> String {
    query.replace("$__rate_interval", RATE_INTERVAL).replace("$namespace", ".*")
}

/// The queries of the dashboard's panels.
fn queries(panels: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for panel in panels.as_array().into_iter().flatten() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        found.extend(targets.filter_map(|target| target["expr"].as_str()).map(understood));
        found.extend(queries(&panel["panels"]));
    }
    found
}

#[tokio::test]
async fn every_query_of_the_dashboard_returns_data_of_a_live_run_and_every_alert_is_evaluated() {
    let Some(program) = prometheus::server() else {
        return skip("there is no Prometheus: run `make tools`");
    };
    let stage = Stage::start("monitoring", issuer(Duration::from_secs(8))).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    stage.write_secret("other-login", &[("username", b"nobody"), ("password", b"nothing")]).await;
    stage.apply_as("held", json!({"loginSecretRef": {"name": "other-login"}})).await;
    stage.until("held", "its rejection", |held| holds(held, "Ready", "False", "LoginRejected")).await;
    let prometheus = Prometheus::of_stage(&program, &stage).await;
    wait::until("a renewal that was scraped", LIMIT, async || {
        prometheus.series("increase(idissuer_renewal_lateness_seconds_count[10s]) > 0").await > 0
    })
    .await;
    stage.issuer.inject(FaultRule::new(Fault::status(503)));

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut without_data = queries(&dashboard["panels"]);
    assert!(without_data.len() > 20, "{without_data:?}");
    wait::until("data for every query", LIMIT, async || {
        let mut left = Vec::new();
        for query in std::mem::take(&mut without_data) {
            if prometheus.series(&query).await == 0 {
                left.push(query);
            }
        }
        without_data.clone_from(&left);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await;

    let rules = prometheus.get("/api/v1/rules", &[]).await;
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() > 5 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    let stalled = rules.iter().find(|rule| rule["name"] == "IdIssuerCredentialStalled").unwrap();
    assert_eq!(stalled["alerts"][0]["labels"]["name"], "held", "{stalled}");
}

/// Run it by its name, and look at what it has written.
#[tokio::test]
#[ignore = "takes minutes, and writes the picture in docs/src/reference"]
async fn the_picture_of_the_dashboard_is_drawn_of_a_live_run() {
    let program = prometheus::server().unwrap();
    let stage = Stage::start("picture", issuer(Duration::from_secs(40))).await;
    stage.apply(json!({})).await;
    for name in ["orders", "reports", "stock"] {
        stage.add_account(name, json!({})).await;
    }
    stage.write_secret("other-login", &[("username", b"nobody"), ("password", b"nothing")]).await;
    stage.apply_as("archive", json!({"loginSecretRef": {"name": "other-login"}})).await;
    let prometheus = Prometheus::of_stage(&program, &stage).await;
    let start = seconds();
    let pass = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    pass(90).await;
    stage.issuer.inject(FaultRule::new(Fault::status(503)));
    pass(30).await;
    stage.issuer.configure(|personality| personality.faults.clear());
    pass(60).await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let svg = picture::draw(&prometheus, &dashboard, (start, seconds())).await;
    let svg = svg.replace(stage.namespace.name(), "shop");
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference/dashboard.svg");
    std::fs::write(place, svg).unwrap();
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century are exact")]
fn seconds() -> f64 {
    now().as_millisecond() as f64 / 1000.0
}
