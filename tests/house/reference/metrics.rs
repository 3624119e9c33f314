//! The metrics of operator and sidecar, as a scrape shows them once everything has happened.

use std::collections::{BTreeMap, BTreeSet};

use idissuer::core::endpoint::{DEFAULT_ISSUER, Origin};
use idissuer::ops::metrics::{CredentialSample, Metrics, OperatorState, TextFormat};
use jiff::{SignedDuration, Timestamp};
use regex_lite::Regex;

use super::markdown::{cell, table};
use crate::source::rust_files;

pub(super) fn tables() -> String {
    let (metrics, fresh) = (operator(), Metrics::new());
    let operator = rows(&metrics, &fresh);
    let (metrics, fresh) = (sidecar(), Metrics::of_sidecar().0);
    let mut sidecar = rows(&metrics, &fresh);
    sidecar.retain(|row| !operator.iter().any(|other| other[0] == row[0]));
    let names = [&operator[..], &sidecar[..]].concat().into_iter().map(|[name, ..]| name).collect();
    assert_eq!(not_in(&names), Vec::<String>::new(), "`operator` or `sidecar` lets them happen");
    let columns = ["Metric", "Type", "Labels", "Meaning"];
    let (operator, sidecar) = (table(columns, operator), table(columns, sidecar));
    format!(
        "{operator}\nA sidecar has the metrics of its calls to the issuer and of its process, and these:\n\n{sidecar}"
    )
}

/// An operator to which everything has happened that a metric shows only then.
fn operator() -> Metrics {
    let metrics = Metrics::new();
    metrics.issuer_clock_skew(&Origin::parse(DEFAULT_ISSUER).unwrap(), SignedDuration::ZERO);
    metrics.api_request("get", "secrets", 200);
    metrics.watch_event("secrets", "listed", Timestamp::UNIX_EPOCH);
    metrics.set_scope("all", "none");
    let sample = CredentialSample {
        namespace: "x".into(),
        name: "x".into(),
        conditions: vec![("x".into(), "x".into())],
        ready: Some((true, "x".into())),
        stalled: Some("x".into()),
        expiration: Some(Timestamp::UNIX_EPOCH),
        renewal: Some(Timestamp::UNIX_EPOCH),
    };
    metrics.show_credential("uid", sample);
    metrics.show_state(|| OperatorState {
        now: Timestamp::UNIX_EPOCH,
        queued: 1,
        longest_queued: SignedDuration::ZERO,
        calls_in_flight: 1,
        calls_waiting: vec![("shop".to_owned(), 1)],
        held_logins: 1,
        circuits: vec![(DEFAULT_ISSUER.to_owned(), true)],
        lease_renewed: Some(Timestamp::UNIX_EPOCH),
    });
    metrics
}

fn sidecar() -> Metrics {
    let (metrics, sidecar) = Metrics::of_sidecar();
    sidecar.hook("http", "succeeded");
    sidecar.set_expiration(Some(Timestamp::UNIX_EPOCH));
    metrics
}

/// A row for each metric of a scrape: name, type, labels and help. The labels that exist from the start have their values.
fn rows(metrics: &Metrics, fresh: &Metrics) -> Vec<[String; 4]> {
    let text = |metrics: &Metrics| metrics.render(TextFormat::Prometheus).unwrap();
    let (all, at_start) = (text(metrics), text(fresh));
    let described = Regex::new(r"(?m)^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$").unwrap();
    let rows = described.captures_iter(&all).map(|found| {
        let (name, help, kind) = (&found[1], &found[2], &found[3]);
        let (names, values) = (labels(&all, name), labels(&at_start, name));
        let labels = names.keys().filter(|label| *label != "le").map(|label| {
            let values = values.get(label).filter(|values| values.len() > 1);
            let values = values.into_iter().flatten().map(|value| format!("`{value}`"));
            let values = values.collect::<Vec<_>>().join(", ");
            if values.is_empty() { format!("`{label}`") } else { format!("`{label}`: {values}") }
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        [format!("`{name}`"), kind.to_owned(), labels, cell(help)]
    });
    rows.collect()
}

/// The labels of a metric's series, with their values.
fn labels(scrape: &str, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let series = Regex::new(&format!(r"(?m)^{name}(?:_bucket|_count|_sum)?\{{([^}}]*)\}} ")).unwrap();
    let label = Regex::new(r#"([a-z_]+)="([^"]*)""#).unwrap();
    let mut labels = BTreeMap::<_, BTreeSet<_>>::new();
    for series in series.captures_iter(scrape) {
        for found in label.captures_iter(&series[1]) {
            labels.entry(found[1].to_owned()).or_default().insert(found[2].to_owned());
        }
    }
    labels
}

/// The metrics that the code declares, and that are not among these names.
fn not_in(names: &BTreeSet<String>) -> Vec<String> {
    let declared =
        Regex::new(r#"(?:registry,|register\(|encode_descriptor\(|encoder,|number\()\s*"([a-z_]+)""#)
            .unwrap();
    let files = rust_files("src/ops");
    let files = files.iter().filter(|file| file.path.starts_with("src/ops/metrics"));
    let found: Vec<_> = files
        .flat_map(|file| {
            declared.captures_iter(&file.text).map(|found| found[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.len() > 30, "the declarations are found: {found:?}");
    let is_there = |name: &String| {
        let shown = ["", "_total", "_info"].map(|suffix| format!("{name}{suffix}`"));
        shown.iter().any(|shown| {
            names.contains(&format!("`idissuer_{shown}")) || names.contains(&format!("`{shown}"))
        })
    };
    found.into_iter().filter(|name| !is_there(name)).collect()
}
