//! Each alert of the chart fires in a live run with faults, and the text that a person gets of Prometheus leads to the cure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::{TestNamespace, prometheus, skip, wait};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Prometheus;
use crate::chart;
use crate::operator::{Operator, Stage, holds, issuer, now};

const ALERTS: &str = include_str!("../../../charts/idissuer-operator/files/alerts.yaml");
/// The accounts of the run; all are needed for late renewals.
const ACCOUNTS: [&str; 4] = ["billing", "orders", "reports", "stock"];
/// Renewed after a fifth of it: then the alerts have the rest for a renewal that does not come.
const LIFETIME: Duration = Duration::from_secs(40);
/// How long an alert may take: some follow a token to its end.
const LIMIT: Duration = Duration::from_secs(60);

/// The changes that make the alerts fire within seconds. No fault delays the queue for sure, so there no delay counts, too.
const HASTE: [(&str, &str, &str); 4] = [
    ("IdIssuerRenewalOverdue", "45", "1"),
    ("IdIssuerIssuerFailing", "[10m]", "[20s]"),
    ("IdIssuerQueueLate", "> 0", ">= 0"),
    ("IdIssuerRenewalsLate", "le=\"60.0\"", "le=\"5.0\""),
];

/// The rules of the chart, changed by its own values.
async fn hasty_rules(namespace: &str) -> Value {
    let alerts: Vec<Value> = serde_saphyr::from_str(ALERTS).unwrap();
    let mut overrides: BTreeMap<_, _> =
        alerts.iter().map(|alert| (alert["alert"].as_str().unwrap(), json!({"for": "0s"}))).collect();
    for (name, long, short) in HASTE {
        let alert = alerts.iter().find(|alert| alert["alert"] == name).unwrap();
        let expression = alert["expr"].as_str().unwrap();
        assert!(expression.contains(long), "{name}: {expression}");
        overrides.get_mut(name).unwrap()["expr"] = json!(expression.replace(long, short));
    }
    let values = json!({
        "issuer": {"url": "https://api.idissuer.pl"},
        "metrics": {"prometheusRule": {"enabled": true, "overrides": overrides}},
    });
    let objects = chart::render(namespace, &values).await;
    json!({"groups": chart::of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"]})
}

/// A replica that never leads: another program holds its lease.
async fn replica_without_lease(stage: &Stage, namespace: &TestNamespace) -> Operator {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "occupied"},
        "spec": {
            "holderIdentity": "another", "leaseDurationSeconds": 3600,
            "renewTime": now().strftime("%FT%T.000000Z").to_string(),
        },
    });
    namespace.kubectl().apply(&lease.to_string()).await.unwrap();
    let arguments = ["controller", "--namespace", namespace.name(), "--issuer-url", &stage.issuer.url()];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    arguments.extend(["--admin-addr", "127.0.0.1:0"].map(str::to_owned));
    arguments.extend(of_lease(namespace.name(), "occupied"));
    let user = format!("standby-{}", namespace.name());
    let mut operator = Operator::new(stage.control_plane, user, arguments);
    operator.start(stage.control_plane).await;
    operator.until_ready().await;
    operator
}

fn of_lease(namespace: &str, name: &str) -> Vec<String> {
    ["--leader-elect", "--lease-namespace", namespace, "--lease-name", name].map(str::to_owned).to_vec()
}

/// The alerts that were seen firing, by their names.
struct Fired {
    prometheus: Prometheus,
    alerts: BTreeMap<String, Value>,
}

impl Fired {
    async fn until(&mut self, name: &str) {
        wait::until(name, LIMIT, async || {
            let answer = self.prometheus.get("/api/v1/alerts", &[]).await;
            for alert in answer["data"]["alerts"].as_array().unwrap() {
                let name = alert["labels"]["alertname"].as_str().unwrap();
                if alert["state"] == "firing" {
                    self.alerts.entry(name.to_owned()).or_insert_with(|| alert.clone());
                }
            }
            if self.alerts.contains_key(name) { Ok(()) } else { Err(format!("{:?}", self.alerts.keys())) }
        })
        .await;
    }
}

/// The text names what it is about and its page, nothing in it is left to be filled in, and its command works. Returns what the
/// command prints.
async fn assert_leads_to_the_cure(name: &str, alert: &Value, stage: &Stage) -> String {
    let annotations = &alert["annotations"];
    let text =
        |key: &str| annotations[key].as_str().unwrap_or_else(|| panic!("{name} has no {key}: {alert}"));
    let (summary, description) = (text("summary"), text("description"));
    for part in ["{{", "}}", "<no value>", "%!", "NaN", "  "] {
        assert!(!summary.contains(part) && !description.contains(part), "{name}: {part:?} in {annotations}");
    }
    assert!(text("runbook_url").ends_with(&format!("/runbooks/{name}.html")), "{annotations}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/src/runbooks/{name}.md"));
    assert!(page.exists(), "{}", page.display());
    let label = |key: &str| alert["labels"][key].as_str();
    let object = match (label("namespace"), label("name"), label("job")) {
        (Some(namespace), Some(name), _) => vec![namespace, name],
        (Some(namespace), None, Some(job)) => vec![namespace, job],
        _ => vec![label("lease").or(label("origin")).unwrap_or_else(|| panic!("about what? {alert}"))],
    };
    for part in object {
        assert!(description.contains(part), "{name}: {part} is not in {description}");
    }
    let Some((_, command)) = description.split_once("kubectl ") else {
        assert!(description.contains("Repair "), "{name} names no cure: {description}");
        return String::new();
    };
    let kubectl = stage.namespace.kubectl();
    let folder = stage.control_plane.folder().path();
    let output = kubectl.shell(&format!("kubectl {command}"), folder).await.unwrap();
    assert!(output.status.success(), "{name}: {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn each_alert_fires_in_a_live_run_and_its_text_leads_to_the_cure() {
    let Some(program) = prometheus::server() else {
        return skip("there is no Prometheus: run `make tools`");
    };
    let config =
        issuer(LIFETIME).personality(|personality| personality.clock_offset = SignedDuration::from_mins(5));
    let mut stage = Stage::start_with("alerts", config, |operator, _| {
        let lease = of_lease(&operator.arguments[2], chart::FULL_NAME);
        operator.arguments.extend(lease);
    })
    .await;
    let namespace = stage.namespace.name().to_owned();
    let other = TestNamespace::create(stage.control_plane, "alerts-standby").await.unwrap();
    let standby = replica_without_lease(&stage, &other).await;
    let targets = [("operator", &stage.operator, namespace.as_str()), ("standby", &standby, other.name())];
    let rules = hasty_rules(&namespace).await;
    let prometheus = Prometheus::start(&program, &rules.to_string(), &targets).await;
    let mut fired = Fired { prometheus, alerts: BTreeMap::new() };
    fired.until("IdIssuerNoLeader").await;

    for name in ACCOUNTS {
        stage.add_account(name, json!({"renewal": {"renewBeforePercent": 80}})).await;
    }
    stage.write_secret("other-login", &[("username", b"nobody"), ("password", b"nothing")]).await;
    stage.apply_as("held", json!({"loginSecretRef": {"name": "other-login"}})).await;
    stage.until("held", "its rejection", |held| holds(held, "Ready", "False", "LoginRejected")).await;
    for name in ACCOUNTS {
        stage.ready_as(name).await;
    }
    stage.issuer.inject(FaultRule::new(Fault::status(503)));
    for name in [
        "IdIssuerClockSkew",
        "IdIssuerCredentialStalled",
        "IdIssuerQueueLate",
        "IdIssuerIssuerFailing",
        "IdIssuerRenewalOverdue",
        "IdIssuerTokenExpired",
    ] {
        fired.until(name).await;
    }
    stage.issuer.configure(|personality| personality.faults.clear());
    fired.until("IdIssuerRenewalsLate").await;
    stage.operator.stop().await;
    fired.until("IdIssuerOperatorAbsent").await;

    let names = ALERTS.lines().filter_map(|line| line.strip_prefix("- alert: "));
    for name in names {
        let alert = fired.alerts.get(name).unwrap_or_else(|| panic!("{name} did not fire"));
        let shown = assert_leads_to_the_cure(name, alert, &stage).await;
        if name == "IdIssuerCredentialStalled" {
            assert!(shown.contains("Correct the user name and password in Secret other-login"), "{shown}");
        }
        if name == "IdIssuerNoLeader" {
            assert!(shown.contains("occupied") && shown.contains("another"), "{shown}");
        }
    }
}
