//! The metrics of each credential.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

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

/// The credentials that metrics show, by their uids.
#[derive(Debug, Default)]
pub(super) struct Credentials(Mutex<BTreeMap<String, CredentialSample>>);

impl Credentials {
    pub(super) fn register(registry: &mut Registry) -> Arc<Self> {
        let credentials = Arc::<Self>::default();
        registry.register_collector(Box::new(Arc::clone(&credentials)));
        credentials
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CredentialSample>> {
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
