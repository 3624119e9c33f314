//! The metrics of each credential.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// A word of ours, which takes no room, or one that another program has written.
type Word = Cow<'static, str>;

/// What metrics show of one credential.
#[derive(Clone, Debug, Default)]
pub struct CredentialSample {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its conditions: type and status.
    pub conditions: Vec<(Word, Word)>,
    /// Whether it is ready, and the reason of that.
    pub ready: Option<(bool, Word)>,
    /// The reason of `Stalled`, if that is true.
    pub stalled: Option<Word>,
    /// When the published token expires.
    pub expiration: Option<Timestamp>,
    /// When its renewal is due; none while suspended.
    pub renewal: Option<Timestamp>,
}

/// The credentials that metrics show, by their uids.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    samples: Mutex<BTreeMap<String, CredentialSample>>,
    /// Whether only their numbers are shown.
    is_total_only: AtomicBool,
}

impl Credentials {
    pub(super) fn register(registry: &mut Registry) -> Arc<Self> {
        let credentials = Arc::<Self>::default();
        registry.register_collector(Box::new(Arc::clone(&credentials)));
        credentials
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CredentialSample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows no credential by its name.
    pub(super) fn show_totals_only(&self) {
        self.is_total_only.store(true, Ordering::Relaxed);
    }

    /// How many renewals were due before now.
    pub(super) fn overdue(&self, now: Timestamp) -> usize {
        self.lock().values().filter(|facts| facts.renewal.is_some_and(|renewal| renewal < now)).count()
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
        if self.is_total_only.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ready = credentials.values().filter_map(|facts| {
            let (is_ready, reason) = facts.ready.as_ref()?;
            Some((facts, reason, i64::from(*is_ready)))
        });
        encode_reasons(
            encoder.encode_descriptor(
                "credential_ready",
                "1 while the credential is ready, otherwise 0; with the reason of its condition Ready",
                None,
                MetricType::Gauge,
            )?,
            ready,
        )?;
        let stalled = credentials.values().filter_map(|facts| Some((facts, facts.stalled.as_ref()?, 1)));
        encode_reasons(
            encoder.encode_descriptor(
                "credential_stalled",
                "1 while someone must act for the credential, with the reason; otherwise absent",
                None,
                MetricType::Gauge,
            )?,
            stalled,
        )?;
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

fn encode_reasons<'a>(
    mut gauges: MetricEncoder<'_>,
    values: impl Iterator<Item = (&'a CredentialSample, &'a Word, i64)>,
) -> Result<(), fmt::Error> {
    for (facts, reason, value) in values {
        let labels = [("namespace", &*facts.namespace), ("name", &*facts.name), ("reason", &**reason)];
        ConstGauge::new(value).encode(gauges.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_times<'a>(
    mut gauges: MetricEncoder<'_>,
    times: impl Iterator<Item = (&'a CredentialSample, Option<Timestamp>)>,
) -> Result<(), fmt::Error> {
    for (facts, time) in times {
        let Some(time) = time else { continue };
        let labels = [("namespace", &*facts.namespace), ("name", &*facts.name)];
        ConstGauge::new(time.as_second()).encode(gauges.encode_family(&labels)?)?;
    }
    Ok(())
}
