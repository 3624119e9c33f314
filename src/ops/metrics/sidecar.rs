//! The metrics of a sidecar.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::registered;

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
    expiration: Gauge<f64, AtomicU64>,
}

impl SidecarMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            publications: registered(registry, "publications", "Publications of token files by outcome"),
            hooks: registered(registry, "hooks", "Hook runs by hook and outcome"),
            proxied: registered(
                registry,
                "proxy_requests",
                "Requests to the proxy by outcome: forwarded, or the reason of rejection; and responses that called the token expired",
            ),
            expiration: registered(
                registry,
                "token_expiration_timestamp_seconds",
                "When the current token expires; 0 if there is none, or its expiry is unknown",
            ),
        }
    }

    /// Counts a publication, or one that failed.
    pub fn publication(&self, outcome: &'static str) {
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
        self.expiration.set(expiry.map_or(0.0, |expiry| expiry.as_duration().as_secs_f64()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn a_scrape_of_a_sidecar_shows_its_token_and_nothing_of_an_operator() {
        let (metrics, sidecar) = Metrics::of_sidecar();
        sidecar.publication("written");
        sidecar.hook("http", "failed");
        sidecar.proxied("forwarded");
        sidecar.set_expiration(Timestamp::from_second(2000).ok());
        let text = metrics.render().unwrap();
        for line in [
            r#"idissuer_publications_total{outcome="written"} 1"#,
            r#"idissuer_hooks_total{hook="http",outcome="failed"} 1"#,
            r#"idissuer_proxy_requests_total{outcome="forwarded"} 1"#,
            "idissuer_token_expiration_timestamp_seconds 2000.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("idissuer_leading"), "{text}");
    }
}
