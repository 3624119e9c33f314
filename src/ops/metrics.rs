//! Metrics, in the text formats of `OpenMetrics` and Prometheus.
//!
//! Labels are closed sets; names of objects are labels of the per-credential gauges only. Calls to
//! issuers, renewals and publications exist from the start, at 0: `increase()` over a series that appears at 1 is 0. A time that is
//! not known is absent. Each file below declares, registers and counts the metrics of one part, so that a new metric touches one
//! file.

mod controller;
mod credentials;
mod issuers;
mod operator_state;
mod process;
mod sidecar;
mod text_format;

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub use credentials::CredentialSample;
pub use operator_state::OperatorState;
pub use sidecar::SidecarMetrics;
pub use text_format::TextFormat;

use crate::core::token::Grant;
use controller::ControllerMetrics;
use issuers::IssuerMetrics;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    issuers: IssuerMetrics,
    controller: ControllerMetrics,
}

impl Metrics {
    /// All metrics of an operator, at zero.
    #[must_use]
    pub fn new() -> Self {
        let (mut registry, issuers) = of_issuers();
        let controller = ControllerMetrics::register(ours(&mut registry));
        Self { registry, issuers, controller }
    }

    /// All metrics of a sidecar, at zero.
    #[must_use]
    pub fn of_sidecar() -> (Self, SidecarMetrics) {
        let (mut registry, issuers) = of_issuers();
        let sidecar = SidecarMetrics::register(ours(&mut registry));
        (Self { registry, issuers, controller: ControllerMetrics::default() }, sidecar)
    }

    /// The text of a scrape.
    ///
    /// # Errors
    /// None in practice: it writes to a String.
    pub fn render(&self, format: TextFormat) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(match format {
            TextFormat::OpenMetrics => text,
            TextFormat::Prometheus => text_format::to_prometheus(&text),
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A registry with what every process that calls issuers counts.
fn of_issuers() -> (Registry, IssuerMetrics) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Process));
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    ours(&mut registry).register("build", "Always 1; the version of this process", build);
    let issuers = IssuerMetrics::register(ours(&mut registry));
    (registry, issuers)
}

/// The part of a registry whose names have our prefix.
fn ours(registry: &mut Registry) -> &mut Registry {
    registry.sub_registry_with_prefix("idissuer")
}

/// Creates the counters of a closed set of labels.
fn at_zero<L>(counters: &Family<L, Counter>, labels: impl IntoIterator<Item = L>)
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq,
{
    for labels in labels {
        drop(counters.get_or_create(&labels));
    }
}

/// A new metric at zero that scrapes show.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// Has scrapes show a metric, of which every clone counts the same.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn grant_label(grant: Grant) -> &'static str {
    match grant {
        Grant::Login => "login",
        Grant::Refresh => "refresh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn a_scrape_shows_calls_renewals_and_the_times_of_each_credential() {
        let metrics = Metrics::new();
        metrics.issuer_call(Grant::Login, "rejected", SignedDuration::from_millis(30));
        metrics.renewal(Grant::Refresh, "published");
        let facts = CredentialSample {
            namespace: "shop".into(),
            name: "billing".into(),
            conditions: vec![("Ready".into(), "True".into())],
            ready: Some((true, "Published".into())),
            stalled: Some("LoginRejected".into()),
            expiration: Timestamp::from_second(2000).ok(),
            renewal: Timestamp::from_second(1500).ok(),
        };
        metrics.show_credential("u1", facts);
        let text = metrics.render(TextFormat::OpenMetrics).unwrap();
        for line in [
            r#"idissuer_issuer_requests_total{operation="login",outcome="rejected"} 1"#,
            r#"idissuer_renewals_total{grant="refresh",outcome="published"} 1"#,
            r#"idissuer_credentials{condition="Ready",status="True"} 1"#,
            r#"idissuer_credential_ready{namespace="shop",name="billing",reason="Published"} 1"#,
            r#"idissuer_credential_stalled{namespace="shop",name="billing",reason="LoginRejected"} 1"#,
            r#"idissuer_credential_expiration_timestamp_seconds{namespace="shop",name="billing"} 2000"#,
            r#"idissuer_credential_renewal_timestamp_seconds{namespace="shop",name="billing"} 1500"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        metrics.forget_credential("u1");
        assert!(!metrics.render(TextFormat::OpenMetrics).unwrap().contains("billing"));
    }
}
