//! What the metrics of the operator add: causes that no status shows, because they are not of one credential.

use jiff::SignedDuration;

use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::plugin::lifetime::short;
use crate::plugin::operator_metrics::OperatorMetrics;

const CIRCUIT: &str = "idissuer_issuer_circuit_open";
const SKEW: &str = "idissuer_issuer_clock_skew_seconds";
const WAIT: &str = "idissuer_queue_longest_wait_seconds";
const CALLS: &str = "idissuer_issuer_calls_waiting_by_namespace";
/// How far the issuer's clock may differ, in seconds, as in the alert.
const CLOCKS_DIFFER: f64 = 60.0;
/// How long a credential may be due before the operator counts as late, in seconds.
const LATE: f64 = 30.0;

/// The warnings, and notes at the end.
pub(super) fn operator(facts: &Facts) -> Vec<Finding> {
    let Some(metrics) = &facts.metrics else { return Vec::new() };
    let origin = origin(facts, metrics);
    let of_issuer = origin.iter().flat_map(|origin| [circuit(metrics, origin), clock(metrics, origin)]);
    of_issuer.chain([late(metrics), waiting(facts, metrics)]).flatten().collect()
}

/// The origin of the issuer: that of the credential, or the only one that the operator calls.
fn origin(facts: &Facts, metrics: &OperatorMetrics) -> Option<String> {
    if facts.row.follows.is_some() {
        return None;
    }
    let url = facts.credential.spec.issuer.as_ref().and_then(|issuer| issuer.url.as_deref());
    if let Some(url) = url {
        return Some(url::Url::parse(url).ok()?.origin().ascii_serialization());
    }
    let mut origins = metrics.labels(SKEW, "origin").chain(metrics.labels(CIRCUIT, "origin"));
    let first = origins.next()?;
    origins.all(|other| other == first).then(|| first.to_owned())
}

fn evidence(metrics: &OperatorMetrics, metric: &str, value: f64) -> String {
    format!("{metric} of {} is {value}", metrics.pod)
}

fn circuit(metrics: &OperatorMetrics, origin: &str) -> Option<Finding> {
    let value = metrics.value(CIRCUIT, Some(("origin", origin)))?;
    (value > 0.0).then(|| {
        let text =
            format!("Calls to {origin} fail for several accounts, so the operator sends only one at a time.");
        Finding::new(Severity::Warning, text)
            .evidence(evidence(metrics, CIRCUIT, value))
            .cure("Find what fails for all of them: the issuer, a proxy, the network. A success ends it.")
            .command("kubectl idissuer logs --since 10m")
            .runbook("IssuerCircuitOpen")
    })
}

fn clock(metrics: &OperatorMetrics, origin: &str) -> Option<Finding> {
    let value = metrics.value(SKEW, Some(("origin", origin)))?;
    (value.abs() > CLOCKS_DIFFER).then(|| {
        let way = if value > 0.0 { "ahead of" } else { "behind" };
        let text = format!("The clock of {origin} is {} {way} the operator's.", seconds(value));
        Finding::new(Severity::Warning, text)
            .evidence(evidence(metrics, SKEW, value))
            .cure("Correct the clock that is wrong (NTP).")
            .runbook("IdIssuerClockSkew")
    })
}

fn late(metrics: &OperatorMetrics) -> Option<Finding> {
    let value = metrics.value(WAIT, None)?;
    (value > LATE).then(|| {
        let text = format!("The operator is late: a credential has been due for {}.", seconds(value));
        Finding::new(Severity::Warning, text)
            .evidence(evidence(metrics, WAIT, value))
            .cure("See whether it lacks processor time, or the API server is slow.")
            .runbook("IdIssuerQueueLate")
    })
}

fn waiting(facts: &Facts, metrics: &OperatorMetrics) -> Option<Finding> {
    let value = metrics.value(CALLS, Some(("namespace", &facts.row.namespace)))?;
    (value > 0.0).then(|| {
        let text = format!("{value} calls to the issuer for this namespace wait for their turn.");
        Finding::new(Severity::Note, text)
            .evidence(evidence(metrics, CALLS, value))
            .page("concepts/accounts.md")
    })
}

fn seconds(value: f64) -> String {
    short(SignedDuration::try_from_secs_f64(value.abs()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::explain::facts::tests::facts;
    use crate::plugin::operator_metrics::tests::metrics;

    fn told(page: &str, issuer: &serde_json::Value) -> Vec<String> {
        let facts = Facts { metrics: Some(metrics(page)), ..facts(issuer.clone(), json!({})) };
        operator(&facts).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn what_the_operator_measures_is_told() {
        let page = "idissuer_issuer_circuit_open{origin=\"https://a.example\"} 1\n\
            idissuer_issuer_clock_skew_seconds{origin=\"https://a.example\"} -300\n\
            idissuer_queue_longest_wait_seconds 45.5\n\
            idissuer_issuer_calls_waiting_by_namespace{namespace=\"shop\"} 2\n\
            idissuer_issuer_calls_waiting_by_namespace{namespace=\"bank\"} 9\n";
        let found = told(page, &json!({}));
        assert_eq!(found.len(), 4, "{found:?}");
        for (found, expected) in found.iter().zip([
            "Calls to https://a.example fail for several accounts",
            "The clock of https://a.example is 5m behind the operator's.",
            "The operator is late: a credential has been due for 45s.",
            "2 calls to the issuer for this namespace",
        ]) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn only_the_issuer_of_the_credential_counts() {
        let page = "idissuer_issuer_circuit_open{origin=\"https://a.example\"} 1\n\
            idissuer_issuer_circuit_open{origin=\"https://b.example\"} 0\n";
        assert_eq!(told(page, &json!({})), Vec::<String>::new(), "which one it is, nothing says");
        assert_eq!(told(page, &json!({"issuer": {"url": "https://A.example/"}})).len(), 1);
        assert_eq!(told(page, &json!({"issuer": {"url": "https://b.example"}})), Vec::<String>::new());
    }

    #[test]
    fn a_healthy_operator_adds_nothing() {
        let page = "idissuer_issuer_circuit_open{origin=\"https://a.example\"} 0\n\
            idissuer_issuer_clock_skew_seconds{origin=\"https://a.example\"} 2\nidissuer_queue_longest_wait_seconds 0\n";
        assert_eq!(told(page, &json!({})), Vec::<String>::new());
    }
}
