//! The metrics of a sidecar.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{at_zero, registered};

/// The outcomes of a publication.
const PUBLICATION_OUTCOMES: [&str; 8] =
    ["written", "unchanged", "template", "foreign", "full", "read_only", "forbidden", "failed"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookOutcome {
    hook: &'static str,
    outcome: &'static str,
}

/// What a sidecar counts beside its calls to the issuer. Every clone counts the same.
#[derive(Clone, Default)]
pub struct SidecarMetrics {
    publications: Family<Outcome, Counter>,
    hooks: Family<HookOutcome, Counter>,
    proxied: Family<Outcome, Counter>,
    expiration: Arc<Expiration>,
}

impl SidecarMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let publications = registered(registry, "publications", "Publications of token files by outcome");
        at_zero(&publications, PUBLICATION_OUTCOMES.map(|outcome| Outcome { outcome }));
        let proxied = registered(
            registry,
            "proxy_requests",
            "Requests to the proxy by outcome: forwarded, repeated, or the reason of the rejection; and responses that called the token expired",
        );
        at_zero(&proxied, ["forwarded", "expired", "repeated"].map(|outcome| Outcome { outcome }));
        Self {
            publications,
            hooks: registered(registry, "hooks", "Hook runs by hook and outcome"),
            proxied,
            expiration: Expiration::register(registry),
        }
    }

    /// Counts a publication, or one that failed.
    pub fn publication(&self, outcome: &'static str) {
        debug_assert!(PUBLICATION_OUTCOMES.contains(&outcome), "{outcome} does not exist from the start");
        self.publications.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a hook that ran, or failed.
    pub fn hook(&self, hook: &'static str, outcome: &'static str) {
        self.hooks.get_or_create(&HookOutcome { hook, outcome }).inc();
    }

    /// Counts a request to the proxy, or an answer to one that called the token expired.
    pub fn proxied(&self, outcome: &'static str) {
        self.proxied.get_or_create(&Outcome { outcome }).inc();
    }

    /// Sets when the current token expires.
    pub fn set_expiration(&self, expiry: Option<Timestamp>) {
        *self.expiration.0.lock().unwrap_or_else(PoisonError::into_inner) = expiry;
    }
}

/// When the current token expires. Absent if there is none, or its expiry is unknown: an alert would take 0 for 1970.
#[derive(Debug, Default)]
struct Expiration(Mutex<Option<Timestamp>>);

impl Expiration {
    fn register(registry: &mut Registry) -> Arc<Self> {
        let expiration = Arc::<Self>::default();
        registry.register_collector(Box::new(Arc::clone(&expiration)));
        expiration
    }
}

impl Collector for Expiration {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(expiry) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return Ok(()) };
        let gauge = encoder.encode_descriptor(
            "token_expiration_timestamp_seconds",
            "When the current token expires; absent if there is none, or its expiry is unknown",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(expiry.as_duration().as_secs_f64()).encode(gauge)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Metrics, TextFormat};
    use super::*;

    #[test]
    fn a_scrape_of_a_sidecar_shows_its_token_and_nothing_of_an_operator() {
        let (metrics, sidecar) = Metrics::of_sidecar();
        sidecar.publication("written");
        sidecar.hook("http", "failed");
        sidecar.proxied("forwarded");
        sidecar.set_expiration(Timestamp::from_second(2000).ok());
        let text = metrics.render(TextFormat::OpenMetrics).unwrap();
        for line in [
            r#"idissuer_publications_total{outcome="written"} 1"#,
            r#"idissuer_hooks_total{hook="http",outcome="failed"} 1"#,
            r#"idissuer_proxy_requests_total{outcome="forwarded"} 1"#,
            "idissuer_token_expiration_timestamp_seconds 2000.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("idissuer_leading"), "{text}");
        sidecar.set_expiration(None);
        let text = metrics.render(TextFormat::OpenMetrics).unwrap();
        assert!(!text.contains("\nidissuer_token_expiration_timestamp_seconds "), "{text}");
    }
}
