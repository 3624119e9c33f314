//! The metrics of an operator.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::credentials::{CredentialSample, Credentials};
use super::{Metrics, at_zero, grant_label, registered};
use crate::core::token::Grant;

/// The outcomes of a renewal: the target has the new token, or the write ended in an error and is repeated.
const RENEWAL_OUTCOMES: [&str; 2] = ["published", "write_failed"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantOutcome {
    grant: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scope {
    namespaces: String,
    lease: String,
}

/// What an operator counts beside its calls to issuers. By default it is not shown.
#[derive(Default)]
pub(super) struct ControllerMetrics {
    renewals: Family<GrantOutcome, Counter>,
    reconcile_errors: Counter,
    events_dropped: Counter,
    late_wakeups: Counter,
    clock_jumps: Counter,
    scope: Family<Scope, Gauge>,
    leading: Gauge,
    credentials: Arc<Credentials>,
}

impl ControllerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let renewals = registered(registry, "renewals", "Renewals of targets by grant and outcome");
        for grant in [Grant::Login, Grant::Refresh].map(grant_label) {
            at_zero(&renewals, RENEWAL_OUTCOMES.map(|outcome| GrantOutcome { grant, outcome }));
        }
        Self {
            renewals,
            reconcile_errors: registered(
                registry,
                "reconcile_errors",
                "Reconciliations that failed at the API server and are retried",
            ),
            events_dropped: registered(
                registry,
                "events_dropped",
                "Events dropped by the rate limit of their namespace, or because too many were waiting",
            ),
            late_wakeups: registered(
                registry,
                "late_wakeups",
                "Credentials that the watchdog woke because the queue was late",
            ),
            clock_jumps: registered(
                registry,
                "clock_jumps",
                "Jumps of the wall clock relative to the monotonic clock",
            ),
            scope: registered(
                registry,
                "scope",
                "The namespaces that this controller manages, and the lease of its replicas",
            ),
            leading: registered(registry, "leading", "Whether this replica is the leader"),
            credentials: Credentials::register(registry),
        }
    }
}

impl Metrics {
    /// Counts a new token that was written to a target, or could not be.
    pub fn renewal(&self, grant: Grant, outcome: &'static str) {
        debug_assert!(RENEWAL_OUTCOMES.contains(&outcome), "{outcome} does not exist from the start");
        self.controller.renewals.get_or_create(&GrantOutcome { grant: grant_label(grant), outcome }).inc();
    }

    /// Counts a reconciliation that failed.
    pub fn reconcile_error(&self) {
        self.controller.reconcile_errors.inc();
    }

    /// Counts an Event that was not published.
    pub fn event_dropped(&self) {
        self.controller.events_dropped.inc();
    }

    /// Counts credentials that were woken late.
    pub fn late_wakeups(&self, number: usize) {
        self.controller.late_wakeups.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }

    /// Counts a jump of the wall clock.
    pub fn clock_jump(&self) {
        self.controller.clock_jumps.inc();
    }

    /// Sets the namespaces and the lease of this controller.
    pub fn set_scope(&self, namespaces: &str, lease: &str) {
        let scope = Scope { namespaces: namespaces.to_owned(), lease: lease.to_owned() };
        self.controller.scope.get_or_create(&scope).set(1);
    }

    /// Sets whether this replica is the leader.
    pub fn leads(&self, leads: bool) {
        self.controller.leading.set(i64::from(leads));
    }

    /// Replaces what is shown of a credential.
    pub fn show_credential(&self, uid: &str, facts: CredentialSample) {
        self.controller.credentials.lock().insert(uid.to_owned(), facts);
    }

    /// Shows a credential no longer.
    pub fn forget_credential(&self, uid: &str) {
        self.controller.credentials.lock().remove(uid);
    }

    /// Shows no credential any more: another replica does.
    pub fn forget_credentials(&self) {
        self.controller.credentials.lock().clear();
    }
}
