//! What a scrape reads of the running operator: nothing is counted in between.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::credentials::Credentials;

/// The most namespaces whose waiting calls are shown by name: those with the most.
const NAMESPACES_SHOWN: usize = 20;

/// The state of an operator at one moment.
#[derive(Clone, Debug)]
pub struct OperatorState {
    /// When it was read.
    pub now: Timestamp,
    /// Credentials whose wake-up is due, and whose reconciliation has not begun.
    pub queued: usize,
    /// For how long the first of these has been due.
    pub longest_queued: SignedDuration,
    /// Calls to issuers that run.
    pub calls_in_flight: usize,
    /// Calls to issuers that wait for a permit, by namespace.
    pub calls_waiting: Vec<(String, usize)>,
    /// Accounts whose login is held.
    pub held_logins: usize,
    /// Each issuer with a circuit breaker, and whether it is open for all.
    pub circuits: Vec<(String, bool)>,
    /// When this replica renewed the lease last; `None` while another one holds it, or without a lease.
    pub lease_renewed: Option<Timestamp>,
}

type ReadState = Box<dyn Fn() -> OperatorState + Send + Sync>;

/// Reads the state at each scrape, once there is an operator.
#[derive(Default)]
pub(super) struct StateReader {
    read: OnceLock<ReadState>,
    credentials: Arc<Credentials>,
}

impl fmt::Debug for StateReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StateReader")
    }
}

impl StateReader {
    pub(super) fn register(registry: &mut Registry, credentials: &Arc<Credentials>) -> Arc<Self> {
        let reader = Arc::new(Self { read: OnceLock::new(), credentials: Arc::clone(credentials) });
        registry.register_collector(Box::new(Arc::clone(&reader)));
        reader
    }
}

impl Metrics {
    /// Has scrapes show what `read` returns. Only the first call counts.
    pub fn show_state(&self, read: impl Fn() -> OperatorState + Send + Sync + 'static) {
        // A second operator in one process would show another one's state.
        let _ = self.controller.state.read.set(Box::new(read));
    }
}

impl Collector for StateReader {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(read) = self.read.get() else { return Ok(()) };
        let state = read();
        let overdue = self.credentials.overdue(state.now);
        let waiting: usize = state.calls_waiting.iter().map(|(_, count)| count).sum();
        let mut number = |name: &str, help: &str, value: usize| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family(&mut encoder, name, help)?)
        };
        number("credentials_overdue", "Credentials whose renewal is due and not done", overdue)?;
        number("queue_depth", "Credentials due for a reconciliation that has not begun", state.queued)?;
        number("issuer_calls_in_flight", "Calls to issuers that run", state.calls_in_flight)?;
        number("issuer_calls_waiting", "Calls to issuers that wait for a permit", waiting)?;
        number(
            "logins_held",
            "Accounts whose login is not tried again until somebody asks",
            state.held_logins,
        )?;
        let longest = state.longest_queued.as_secs_f64();
        let help = "For how long the first of the credentials in the queue has been due";
        ConstGauge::new(longest).encode(family(&mut encoder, "queue_longest_wait_seconds", help)?)?;
        if let Some(renewed) = state.lease_renewed {
            let renewed = renewed.as_duration().as_secs_f64();
            let help = "When this replica renewed the lease last; absent unless it leads by a lease";
            ConstGauge::new(renewed).encode(family(
                &mut encoder,
                "lease_renewal_timestamp_seconds",
                help,
            )?)?;
        }
        waiting_by_namespace(&mut encoder, state.calls_waiting)?;
        let mut circuits = family(
            &mut encoder,
            "issuer_circuit_open",
            "Whether the circuit breaker of an issuer is open: 1 while only probes are sent; absent while no call to it has failed lately",
        )?;
        for (origin, is_open) in &state.circuits {
            ConstGauge::new(i64::from(*is_open)).encode(circuits.encode_family(&[("origin", origin)])?)?;
        }
        Ok(())
    }
}

fn waiting_by_namespace(
    encoder: &mut DescriptorEncoder<'_>,
    mut waiting: Vec<(String, usize)>,
) -> Result<(), fmt::Error> {
    waiting.sort_by(|(name, count), (other, than)| than.cmp(count).then_with(|| name.cmp(other)));
    let mut gauges = family(
        encoder,
        "issuer_calls_waiting_by_namespace",
        "Calls to issuers that wait for a permit, for the 20 namespaces with the most",
    )?;
    for (namespace, count) in waiting.iter().take(NAMESPACES_SHOWN) {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(gauges.encode_family(&[("namespace", namespace)])?)?;
    }
    Ok(())
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

#[cfg(test)]
mod tests {
    use super::super::{CredentialSample, Metrics, TextFormat};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn state() -> OperatorState {
        OperatorState {
            now: at(1000),
            queued: 2,
            longest_queued: SignedDuration::from_millis(1500),
            calls_in_flight: 16,
            calls_waiting: (0..30).map(|number| (format!("ns-{number}"), number)).collect(),
            held_logins: 1,
            circuits: vec![("https://api.example".into(), true)],
            lease_renewed: None,
        }
    }

    #[test]
    fn a_scrape_reads_the_state_of_the_operator_and_names_a_bounded_number_of_namespaces() {
        let metrics = Metrics::new();
        assert!(!metrics.render(TextFormat::OpenMetrics).unwrap().contains("idissuer_queue_depth"));
        for (name, renewal) in
            [("late", Some(999)), ("due", Some(1000)), ("early", Some(1001)), ("none", None)]
        {
            let renewal = renewal.map(at);
            metrics.show_credential(
                name,
                CredentialSample { name: name.into(), renewal, ..CredentialSample::default() },
            );
        }
        metrics.show_state(state);
        let text = metrics.render(TextFormat::OpenMetrics).unwrap();
        for line in [
            "idissuer_credentials_overdue 1",
            "idissuer_queue_depth 2",
            "idissuer_queue_longest_wait_seconds 1.5",
            "idissuer_issuer_calls_in_flight 16",
            "idissuer_issuer_calls_waiting 435",
            "idissuer_logins_held 1",
            r#"idissuer_issuer_calls_waiting_by_namespace{namespace="ns-10"} 10"#,
            r#"idissuer_issuer_circuit_open{origin="https://api.example"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains(r#"namespace="ns-9""#) && !text.contains("lease_renewal"), "{text}");
        assert!(text.contains("idissuer_credential_renewal_timestamp_seconds{"), "{text}");
        metrics.show_totals_only();
        let totals = metrics.render(TextFormat::OpenMetrics).unwrap();
        assert!(totals.contains("idissuer_credentials_overdue 1\n"), "{totals}");
        assert!(!totals.contains("idissuer_credential_"), "{totals}");
    }
}
