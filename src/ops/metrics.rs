//! Metrics, in the `OpenMetrics` text format.
//!
//! Labels are closed sets; names of objects are labels of the per-credential gauges only.

mod sidecar;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use sidecar::SidecarMetrics;

use crate::core::endpoint::Origin;
use crate::core::token::Grant;

/// Bounds of the buckets of a call's duration, in seconds; the last is the call limit.
const LATENCY_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationOutcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantOutcome {
    grant: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerOrigin {
    origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scope {
    namespaces: String,
    lease: String,
}

type LatencyFamily = Family<Operation, Histogram, fn() -> Histogram>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    issuer_requests: Family<OperationOutcome, Counter>,
    issuer_latency: LatencyFamily,
    clock_skew: Family<IssuerOrigin, Gauge<f64, AtomicU64>>,
    renewals: Family<GrantOutcome, Counter>,
    reconcile_errors: Counter,
    events_dropped: Counter,
    late_wakeups: Counter,
    clock_jumps: Counter,
    scope: Family<Scope, Gauge>,
    leading: Gauge,
    credentials: Arc<Credentials>,
}

impl Metrics {
    /// All metrics of an operator, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self::of_issuers();
        metrics.register_controller();
        metrics
    }

    /// All metrics of a sidecar, at zero.
    #[must_use]
    pub fn of_sidecar() -> (Self, SidecarMetrics) {
        let mut metrics = Self::of_issuers();
        let sidecar = SidecarMetrics::register(&mut metrics.registry);
        (metrics, sidecar)
    }

    /// What every process that calls issuers counts.
    fn of_issuers() -> Self {
        let mut registry = Registry::with_prefix("idissuer");
        let metrics = Self {
            issuer_requests: Family::default(),
            issuer_latency: LatencyFamily::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            clock_skew: Family::default(),
            renewals: Family::default(),
            reconcile_errors: Counter::default(),
            events_dropped: Counter::default(),
            late_wakeups: Counter::default(),
            clock_jumps: Counter::default(),
            scope: Family::default(),
            leading: Gauge::default(),
            credentials: Arc::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "The version of this process",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "issuer_requests",
            "Calls to an issuer by operation (login, refresh) and outcome",
            metrics.issuer_requests.clone(),
        );
        registry.register(
            "issuer_request_duration_seconds",
            "Duration of calls to an issuer",
            metrics.issuer_latency.clone(),
        );
        registry.register(
            "issuer_clock_skew_seconds",
            "How far the issuer's clock is ahead of ours, from its last Date header",
            metrics.clock_skew.clone(),
        );
        Self { registry, ..metrics }
    }

    /// What an operator shows beside that.
    fn register_controller(&mut self) {
        let registry = &mut self.registry;
        registry.register("renewals", "Renewals of targets by grant and outcome", self.renewals.clone());
        registry.register(
            "reconcile_errors",
            "Reconciliations that failed at the API server and are retried",
            self.reconcile_errors.clone(),
        );
        registry.register(
            "events_dropped",
            "Events dropped by the rate limit of their namespace, or because too many were waiting",
            self.events_dropped.clone(),
        );
        registry.register(
            "late_wakeups",
            "Credentials that the watchdog woke because the queue was late",
            self.late_wakeups.clone(),
        );
        registry.register(
            "clock_jumps",
            "Jumps of the wall clock relative to the monotonic clock",
            self.clock_jumps.clone(),
        );
        registry.register(
            "scope",
            "The namespaces that this controller manages, and the lease of its replicas",
            self.scope.clone(),
        );
        registry.register("leading", "Whether this replica is the leader", self.leading.clone());
        registry.register_collector(Box::new(Arc::clone(&self.credentials)));
    }

    /// Counts a call to an issuer.
    pub fn issuer_call(&self, grant: Grant, outcome: &'static str, duration: SignedDuration) {
        let operation = grant_label(grant);
        self.issuer_requests.get_or_create(&OperationOutcome { operation, outcome }).inc();
        self.issuer_latency.get_or_create(&Operation { operation }).observe(duration.as_secs_f64());
    }

    /// Notes the issuer's clock.
    pub fn issuer_clock_skew(&self, origin: &Origin, skew: SignedDuration) {
        let origin = IssuerOrigin { origin: origin.to_string() };
        self.clock_skew.get_or_create(&origin).set(skew.as_secs_f64());
    }

    /// Counts a new token that was written to a target, or could not be.
    pub fn renewal(&self, grant: Grant, outcome: &'static str) {
        self.renewals.get_or_create(&GrantOutcome { grant: grant_label(grant), outcome }).inc();
    }

    /// Counts a reconciliation that failed.
    pub fn reconcile_error(&self) {
        self.reconcile_errors.inc();
    }

    /// Counts an Event that was not published.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts credentials that were woken late.
    pub fn late_wakeups(&self, number: usize) {
        self.late_wakeups.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }

    /// Counts a jump of the wall clock.
    pub fn clock_jump(&self) {
        self.clock_jumps.inc();
    }

    /// Sets the namespaces and the lease of this controller.
    pub fn works_in(&self, namespaces: &str, lease: &str) {
        let scope = Scope { namespaces: namespaces.to_owned(), lease: lease.to_owned() };
        self.scope.get_or_create(&scope).set(1);
    }

    /// Sets whether this replica is the leader.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Replaces what is shown of a credential.
    pub fn show_credential(&self, uid: &str, facts: CredentialSample) {
        self.credentials.lock().insert(uid.to_owned(), facts);
    }

    /// Shows a credential no longer.
    pub fn forget_credential(&self, uid: &str) {
        self.credentials.lock().remove(uid);
    }

    /// Shows no credential any more: another replica does.
    pub fn forget_credentials(&self) {
        self.credentials.lock().clear();
    }

    /// The text of a scrape.
    ///
    /// # Errors
    /// None in practice: it writes to a String.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn grant_label(grant: Grant) -> &'static str {
    match grant {
        Grant::Login => "login",
        Grant::Refresh => "refresh",
    }
}

/// What metrics show of one credential.
#[derive(Clone, Debug)]
pub struct CredentialSample {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its conditions: type and status.
    pub conditions: Vec<(String, String)>,
    /// When the published token expires, and when its renewal is due.
    pub token: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Default)]
struct Credentials(Mutex<BTreeMap<String, CredentialSample>>);

impl Credentials {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CredentialSample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Credentials {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let credentials = self.lock();
        let mut by_condition: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (type_, status) in credentials.values().flat_map(|facts| &facts.conditions) {
            *by_condition.entry((type_, status)).or_default() += 1;
        }
        let mut counts = encoder.encode_descriptor(
            "credentials",
            "Credentials by condition and status",
            None,
            MetricType::Gauge,
        )?;
        for ((condition, status), count) in by_condition {
            let labels = [("condition", condition), ("status", status)];
            ConstGauge::new(count).encode(counts.encode_family(&labels)?)?;
        }
        let expirations = credentials.values().map(|facts| (facts, facts.token.map(|token| token.0)));
        encode_times(
            encoder.encode_descriptor(
                "credential_expiration_timestamp_seconds",
                "When the published token of a credential expires",
                None,
                MetricType::Gauge,
            )?,
            expirations,
        )?;
        let renewals = credentials.values().map(|facts| (facts, facts.token.map(|token| token.1)));
        encode_times(
            encoder.encode_descriptor(
                "credential_renewal_timestamp_seconds",
                "When the next renewal of a credential is due",
                None,
                MetricType::Gauge,
            )?,
            renewals,
        )
    }
}

fn encode_times<'a>(
    mut gauges: MetricEncoder<'_>,
    times: impl Iterator<Item = (&'a CredentialSample, Option<Timestamp>)>,
) -> Result<(), fmt::Error> {
    for (facts, time) in times {
        let Some(time) = time else { continue };
        let labels = [("namespace", facts.namespace.as_str()), ("name", facts.name.as_str())];
        ConstGauge::new(time.as_second()).encode(gauges.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_calls_renewals_and_the_times_of_each_credential() {
        let metrics = Metrics::new();
        metrics.issuer_call(Grant::Login, "rejected", SignedDuration::from_millis(30));
        metrics.renewal(Grant::Refresh, "published");
        let facts = CredentialSample {
            namespace: "shop".into(),
            name: "billing".into(),
            conditions: vec![("Ready".into(), "True".into())],
            token: Some((Timestamp::from_second(2000).unwrap(), Timestamp::from_second(1500).unwrap())),
        };
        metrics.show_credential("u1", facts);
        let text = metrics.render().unwrap();
        for line in [
            r#"idissuer_issuer_requests_total{operation="login",outcome="rejected"} 1"#,
            r#"idissuer_renewals_total{grant="refresh",outcome="published"} 1"#,
            r#"idissuer_credentials{condition="Ready",status="True"} 1"#,
            r#"idissuer_credential_expiration_timestamp_seconds{namespace="shop",name="billing"} 2000"#,
            r#"idissuer_credential_renewal_timestamp_seconds{namespace="shop",name="billing"} 1500"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        metrics.forget_credential("u1");
        assert!(!metrics.render().unwrap().contains("billing"));
    }
}
