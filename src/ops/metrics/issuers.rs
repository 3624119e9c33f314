//! The metrics of every process that calls issuers.

use std::sync::atomic::AtomicU64;

use jiff::SignedDuration;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, at_zero, grant_label, register, registered};
use crate::core::endpoint::Origin;
use crate::core::token::Grant;

/// Bounds of the buckets of a call's duration, in seconds; the last is the call limit.
const LATENCY_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The outcomes of a call to an issuer.
const CALL_OUTCOMES: [&str; 12] = [
    "ok",
    "rejected",
    "refused",
    "not_now",
    "unavailable",
    "blocked",
    "misconfigured",
    "malformed",
    "timeout",
    "broken",
    "tls",
    "unreachable",
];

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
struct IssuerOrigin {
    origin: String,
}

type LatencyFamily = Family<Operation, Histogram, fn() -> Histogram>;

pub(super) struct IssuerMetrics {
    requests: Family<OperationOutcome, Counter>,
    latency: LatencyFamily,
    clock_skew: Family<IssuerOrigin, Gauge<f64, AtomicU64>>,
}

impl IssuerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = registered(registry, "issuer_requests", "Calls to issuers");
        let latency = register(
            registry,
            "issuer_request_duration_seconds",
            "Duration of calls to issuers",
            LatencyFamily::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
        );
        for operation in [Grant::Login, Grant::Refresh].map(grant_label) {
            at_zero(&requests, CALL_OUTCOMES.map(|outcome| OperationOutcome { operation, outcome }));
            drop(latency.get_or_create(&Operation { operation }));
        }
        Self {
            requests,
            latency,
            clock_skew: registered(
                registry,
                "issuer_clock_skew_seconds",
                "How far the issuer's clock is ahead of ours, by its last Date header",
            ),
        }
    }
}

impl Metrics {
    /// Counts a call to an issuer.
    pub fn issuer_call(&self, grant: Grant, outcome: &'static str, duration: SignedDuration) {
        debug_assert!(CALL_OUTCOMES.contains(&outcome), "{outcome} does not exist from the start");
        let operation = grant_label(grant);
        self.issuers.requests.get_or_create(&OperationOutcome { operation, outcome }).inc();
        self.issuers.latency.get_or_create(&Operation { operation }).observe(duration.as_secs_f64());
    }

    /// Notes the issuer's clock.
    pub fn issuer_clock_skew(&self, origin: &Origin, skew: SignedDuration) {
        let origin = IssuerOrigin { origin: origin.to_string() };
        self.issuers.clock_skew.get_or_create(&origin).set(skew.as_secs_f64());
    }
}
