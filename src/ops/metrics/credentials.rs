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
    /// The reason of `Stalled`, if that is true.
    pub stalled: Option<String>,
    /// When the published token expires.
    pub expiration: Option<Timestamp>,
    /// When its renewal is due; none while suspended.
    pub renewal: Option<Timestamp>,
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
        let mut stalled = encoder.encode_descriptor(
            "credential_stalled",
            "1 while a person is needed for a credential, with the reason",
            None,
            MetricType::Gauge,
        )?;
        for facts in credentials.values() {
            let Some(reason) = &facts.stalled else { continue };
            let labels = [("namespace", &facts.namespace), ("name", &facts.name), ("reason", reason)];
            ConstGauge::new(1_i64).encode(stalled.encode_family(&labels)?)?;
        }
        let expirations = credentials.values().map(|facts| (facts, facts.expiration));
        encode_times(
            encoder.encode_descriptor(
                "credential_expiration_timestamp_seconds",
                "When the published token of a credential expires",
                None,
                MetricType::Gauge,
            )?,
            expirations,
        )?;
        let renewals = credentials.values().map(|facts| (facts, facts.renewal));
        encode_times(
            encoder.encode_descriptor(
                "credential_renewal_timestamp_seconds",
                "When the next renewal of a credential is due; absent while it is suspended",
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
