//! Traces over OTLP: what a renewal spent its time on. Off unless a variable names a receiver; then nothing is kept and
//! nothing runs.
//!
//! A trace is named by the fingerprint of the token that the renewal brought, as the log, status and the Secret show it. So
//! every part knows the trace by the token, and nothing is handed from one to the next. Spans are made when they have
//! ended, wait in a bounded queue, and are sent by a task of their own: a receiver costs no renewal.
//!
//! The SDK of OpenTelemetry would bring 15 crates, with a second random number generator, a second interface of HTTP clients
//! and a thread, for what is one JSON document here: OTLP has a JSON encoding, and the transport for issuers sends JSON. This
//! module brings no crate and less than 0.1 MB, so there is no cargo feature to leave it out.

mod export;
mod otlp;
mod settings;
mod span;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::sync::mpsc;

pub use export::{Exporting, start};
pub use settings::{Settings, Variables};
pub use span::TraceId;

use crate::core::endpoint::Origin;
use crate::core::object_name::NamespacedName;
use crate::core::time::Moment;
use crate::core::token::{Fingerprint, Grant};
use crate::ops::clock::Clock;
use span::{Attribute, Kind, Names, Sampler, Span, SpanId};

/// How many renewals are remembered until their status is written; of others the first span ends with the call.
const OPEN_LIMIT: usize = 1024;
/// How long. The token of a renewal is published at once, unless its target is refused.
const OPEN_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How many credentials are remembered whose call was kept back.
const KEPT_BACK_LIMIT: usize = 1024;

/// Takes the spans of renewals, if traces are on.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Tracing>>);

/// What a tracer is while traces are on.
struct Tracing {
    clock: Arc<dyn Clock>,
    names: Names,
    sampler: Sampler,
    queue: mpsc::Sender<Span>,
    /// The spans that found no place in the queue.
    lost: AtomicU64,
    /// Renewals that go on.
    open: Mutex<HashMap<TraceId, Open>>,
    /// Since when limits and circuit breakers have kept the call for a credential back.
    kept_back: Mutex<HashMap<NamespacedName, Moment>>,
}

/// A renewal that goes on: its first span, with its end so far.
struct Open {
    credential: Option<NamespacedName>,
    span: Span,
}

/// Why a call to an issuer is made, and since when. While traces are off, there is none, which costs a pointer.
pub struct Cause(Box<CauseFacts>);

struct CauseFacts {
    tracing: Arc<Tracing>,
    credential: Option<NamespacedName>,
    trigger: &'static str,
    woken: Moment,
    kept_back: Option<Moment>,
    queued: Moment,
}

/// A call to an issuer that has ended.
pub struct EndedCall<'a> {
    /// The issuer.
    pub origin: &'a Origin,
    /// How a token was asked for.
    pub grant: Grant,
    /// How it ended, as in the metrics.
    pub outcome: &'static str,
    /// When it was its turn.
    pub admitted: Moment,
    /// The new token, or why there is none.
    pub result: Result<&'a Fingerprint, &'a dyn fmt::Display>,
}

/// What is done with a token once it was obtained.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// The target of this name is written.
    Secret(&'a str),
    /// Status is written, which ends the renewal.
    Status,
    /// Files are written, which ends the renewal in a sidecar.
    Files,
}

impl Tracer {
    /// Whether traces are on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of the renewal that brought this token, if it is traced.
    #[must_use]
    pub fn trace_id(&self, fingerprint: &Fingerprint) -> Option<TraceId> {
        self.0.as_ref().and_then(|tracing| tracing.trace(fingerprint))
    }

    /// Remembers since when the call for a credential is kept back; forgets it once it is not.
    pub fn keep_back(&self, credential: &NamespacedName, is_kept_back: bool, now: Moment) {
        let Some(tracing) = &self.0 else { return };
        let mut kept_back = lock(&tracing.kept_back);
        if !is_kept_back {
            kept_back.remove(credential);
        } else if kept_back.len() < KEPT_BACK_LIMIT && !kept_back.contains_key(credential) {
            kept_back.insert(credential.clone(), now);
        }
    }

    /// Why a call is about to be queued, and since when the credential waits for it.
    #[must_use]
    pub fn cause(
        &self,
        credential: Option<&NamespacedName>,
        trigger: &'static str,
        woken: Moment,
    ) -> Option<Cause> {
        let tracing = Arc::clone(self.0.as_ref()?);
        let kept_back = credential.and_then(|credential| lock(&tracing.kept_back).remove(credential));
        let queued = tracing.clock.now();
        let credential = credential.cloned();
        Some(Cause(Box::new(CauseFacts { tracing, credential, trigger, woken, kept_back, queued })))
    }

    /// A step has ended that began then.
    pub fn step(
        &self,
        step: Step<'_>,
        fingerprint: &Fingerprint,
        credential: Option<&NamespacedName>,
        begun: Moment,
        failure: Option<&dyn fmt::Display>,
    ) {
        let Some(tracing) = &self.0 else { return };
        let Some(trace) = tracing.trace(fingerprint) else { return };
        let (name, kind) = match step {
            Step::Secret(_) => ("secret", Kind::Client),
            Step::Status => ("status", Kind::Client),
            Step::Files => ("files", Kind::Internal),
        };
        let now = tracing.clock.now();
        let mut attributes = of_credential(credential);
        if let Step::Secret(name) = step {
            attributes.push(("k8s.secret.name", name.to_owned()));
        }
        let failure = failure.map(ToString::to_string);
        let is_last = failure.is_none() && !matches!(step, Step::Secret(_));
        let child = tracing.child(trace, name, kind, (begun, now));
        tracing.send(Span { attributes, failure, ..child });
        if is_last {
            tracing.close(trace, credential, now);
        }
    }
}

impl Cause {
    /// The call has ended. Returns its trace, if it is traced.
    #[must_use]
    pub fn ended(self, call: &EndedCall<'_>) -> Option<TraceId> {
        let CauseFacts { tracing, credential, trigger, woken, kept_back, queued } = *self.0;
        let now = tracing.clock.now();
        let trace = call.result.ok().and_then(TraceId::of).unwrap_or_else(|| tracing.names.trace());
        if !tracing.sampler.takes(trace) {
            return None;
        }
        // A call that was kept back is older than what woke the credential last.
        let start = kept_back.map_or(woken, |kept_back| kept_back.not_after(woken));
        let gate = kept_back.unwrap_or(queued);
        tracing.send(tracing.child(trace, "trigger", Kind::Internal, (start, gate)));
        tracing.send(tracing.child(trace, "gate", Kind::Internal, (gate, call.admitted)));
        let issuer = tracing.child(trace, "issuer", Kind::Client, (call.admitted, now));
        let failure = call.result.err().map(ToString::to_string);
        let of_call = vec![
            ("idissuer.origin", call.origin.to_string()),
            ("idissuer.grant", format!("{:?}", call.grant)),
            ("idissuer.outcome", call.outcome.to_owned()),
        ];
        tracing.send(Span { attributes: of_call, failure: failure.clone(), ..issuer });
        let mut attributes = of_credential(credential.as_ref());
        attributes.push(("idissuer.trigger", trigger.to_owned()));
        attributes.extend(call.result.ok().map(|token| ("idissuer.fingerprint", token.to_string())));
        let renewal = tracing.child(trace, "renewal", Kind::Internal, (start, now));
        let renewal = Span { id: trace.root(), parent: None, attributes, failure, ..renewal };
        tracing.open(Open { credential, span: renewal });
        Some(trace)
    }
}

impl Tracing {
    fn trace(&self, fingerprint: &Fingerprint) -> Option<TraceId> {
        TraceId::of(fingerprint).filter(|trace| self.sampler.takes(*trace))
    }

    /// A part of this trace, from then to then.
    fn child(&self, trace: TraceId, name: &'static str, kind: Kind, (start, end): (Moment, Moment)) -> Span {
        let (id, parent): (SpanId, _) = (self.names.span(), Some(trace.root()));
        Span { trace, id, parent, name, kind, start, end, attributes: Vec::new(), failure: None }
    }

    /// A token was obtained: the renewal ends once it is published. One that failed has ended.
    fn open(&self, opened: Open) {
        let mut open = lock(&self.open);
        if opened.span.failure.is_some() || open.len() >= OPEN_LIMIT {
            self.send(opened.span);
        } else if let Some(same) = open.insert(opened.span.trace, opened) {
            self.send(same.span);
        }
    }

    /// Ends the renewals whose token is not published: nobody needs it, or it cannot be written.
    fn close_old(&self, now: Moment) {
        let is_old = |_: &TraceId, it: &mut Open| it.span.end.plus(OPEN_LIFE).is_reached(now);
        lock(&self.open).extract_if(is_old).for_each(|(_, old)| self.send(old.span));
    }

    /// The renewal for this credential ends now.
    fn close(&self, trace: TraceId, credential: Option<&NamespacedName>, now: Moment) {
        let mut open = lock(&self.open);
        if open.get(&trace).is_some_and(|open| open.credential.as_ref() == credential)
            && let Some(closed) = open.remove(&trace)
        {
            self.send(Span { end: now, ..closed.span });
        }
    }

    /// Ends all renewals, because the process stops.
    fn close_all(&self) {
        lock(&self.open).drain().for_each(|(_, open)| self.send(open.span));
    }

    fn send(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn of_credential(credential: Option<&NamespacedName>) -> Vec<Attribute> {
    credential.map_or_else(Vec::new, |NamespacedName { namespace, name }| {
        vec![("k8s.namespace.name", namespace.to_string()), ("idissuer.credential", name.to_string())]
    })
}

/// Never held across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
