//! The metrics of an operator.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::credentials::{CredentialSample, Credentials};
use super::operator_state::StateReader;
use super::{Metrics, at_zero, grant_label, register, registered};
use crate::core::token::Grant;

/// The outcomes of a renewal: the target has the new token, or the write ended in an error and is repeated.
const RENEWAL_OUTCOMES: [&str; 2] = ["published", "write_failed"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantOutcome {
    grant: &'static str,
    outcome: &'static str,
}

/// Bounds of the buckets of how late a renewal was, in seconds. A token that lives an hour has about ten minutes left when its
/// renewal is due.
const LATENESS_BUCKETS: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];
/// Bounds of the buckets of how long a token took from its request to its target, in seconds.
const PUBLICATION_BUCKETS: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The kinds of objects that are watched.
const WATCHED: [&str; 3] = ["idissuercredentials", "secrets", "namespaces"];
/// What happens to a watch: it lists all objects, an object changes, or it fails and is repeated.
const WATCH_EVENTS: [&str; 3] = ["listed", "changed", "failed"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiRequest {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchEvent {
    resource: &'static str,
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    resource: &'static str,
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
    // None in a sidecar: a histogram has no default.
    lateness: Option<Histogram>,
    publication: Option<Histogram>,
    api_requests: Family<ApiRequest, Counter>,
    watch_events: Family<WatchEvent, Counter>,
    watch_times: Family<Watched, Gauge<f64, AtomicU64>>,
    reconcile_errors: Counter,
    events_dropped: Counter,
    late_wakeups: Counter,
    clock_jumps: Counter,
    scope: Family<Scope, Gauge>,
    leading: Gauge,
    credentials: Arc<Credentials>,
    pub(super) state: Arc<StateReader>,
}

impl ControllerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let renewals = registered(
            registry,
            "renewals",
            "New tokens: published, or write_failed if the write to the target ended in an error (timeout, lost connection, 5xx) and is retried; refused writes are not counted, Stalled has them",
        );
        for grant in [Grant::Login, Grant::Refresh].map(grant_label) {
            at_zero(&renewals, RENEWAL_OUTCOMES.map(|outcome| GrantOutcome { grant, outcome }));
        }
        let credentials = Credentials::register(registry);
        let histogram = |registry: &mut Registry, name: &str, help: &str, buckets: [f64; 10]| {
            Some(register(registry, name, help, Histogram::new(buckets)))
        };
        Self {
            renewals,
            lateness: histogram(
                registry,
                "renewal_lateness_seconds",
                "How long after its renewal time a token was replaced in its target; 0 if earlier",
                LATENESS_BUCKETS,
            ),
            publication: histogram(
                registry,
                "token_publication_seconds",
                "How long a new token took from its request to its target",
                PUBLICATION_BUCKETS,
            ),
            api_requests: registered(
                registry,
                "api_requests",
                "Requests to the API server by verb, resource and HTTP status; 0 without an answer",
            ),
            watch_events: watch_events(registry),
            watch_times: registered(
                registry,
                "watch_last_event_timestamp_seconds",
                "When a watch brought something last; absent before",
            ),
            reconcile_errors: registered(
                registry,
                "reconcile_errors",
                "Reconciliations that failed at the API server and are retried",
            ),
            events_dropped: registered(
                registry,
                "events_dropped",
                "Events dropped by the rate limit of their namespace, or because 1,000 were waiting to be sent",
            ),
            late_wakeups: registered(
                registry,
                "late_wakeups",
                "Credentials that the watchdog woke because the queue was late",
            ),
            clock_jumps: registered(
                registry,
                "clock_jumps",
                "Jumps of the wall clock by five seconds or more",
            ),
            scope: registered(
                registry,
                "scope",
                "Always 1; the labels name the namespaces and the lease of this controller",
            ),
            leading: registered(registry, "leading", "1 while this replica is the leader, otherwise 0"),
            state: StateReader::register(registry, &credentials),
            credentials,
        }
    }
}

fn watch_events(registry: &mut Registry) -> Family<WatchEvent, Counter> {
    let events = registered(
        registry,
        "watch_events",
        "What happened to the watches: listed (a watch began anew), changed (an object changed), failed",
    );
    for resource in WATCHED {
        at_zero(&events, WATCH_EVENTS.map(|event| WatchEvent { resource, event }));
    }
    events
}

impl Metrics {
    /// Counts a new token that was written to a target, or could not be.
    pub fn renewal(&self, grant: Grant, outcome: &'static str) {
        debug_assert!(RENEWAL_OUTCOMES.contains(&outcome), "{outcome} does not exist from the start");
        self.controller.renewals.get_or_create(&GrantOutcome { grant: grant_label(grant), outcome }).inc();
    }

    /// Notes a new token in a target: how long after the wanted time, if it replaces another one, and after its request.
    pub fn published(&self, lateness: Option<SignedDuration>, since_request: SignedDuration) {
        let observe = |histogram: &Option<Histogram>, duration: SignedDuration| {
            if let Some(histogram) = histogram {
                histogram.observe(duration.as_secs_f64().max(0.0));
            }
        };
        if let Some(lateness) = lateness {
            observe(&self.controller.lateness, lateness);
        }
        observe(&self.controller.publication, since_request);
    }

    /// Counts a request to the API server; `code` is 0 if there was no answer.
    pub fn api_request(&self, verb: &'static str, resource: &str, code: u16) {
        let labels = ApiRequest { verb, resource: resource.to_owned(), code };
        self.controller.api_requests.get_or_create(&labels).inc();
    }

    /// Counts what a watch brought, or that it failed.
    pub fn watch_event(&self, resource: &'static str, event: &'static str, now: Timestamp) {
        debug_assert!(WATCHED.contains(&resource) && WATCH_EVENTS.contains(&event), "{resource} {event}");
        self.controller.watch_events.get_or_create(&WatchEvent { resource, event }).inc();
        if event != "failed" {
            let time = self.controller.watch_times.get_or_create(&Watched { resource });
            time.set(now.as_duration().as_secs_f64());
        }
    }

    /// Has scrapes show no credential by its name.
    pub fn show_totals_only(&self) {
        self.controller.credentials.show_totals_only();
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
