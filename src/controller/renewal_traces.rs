//! What traces tell of the renewal of a credential.

use std::fmt::Display;

use super::api_server::ApiServerError;
use super::reconciliation::Reconciliation;
use crate::core::credential::Status;
use crate::core::decide::trigger;
use crate::core::time::Moment;
use crate::core::token::Fingerprint;
use crate::traces::{Cause, Step};

impl Reconciliation<'_> {
    /// Why a token is asked for, which the credential waits for since `woken`; none if traces are off.
    pub(super) fn cause(&self, woken: Moment, now: Moment) -> Option<Cause> {
        let tracer = &self.context.tracer;
        let trigger = tracer.is_on().then(|| trigger(&self.observed(now), now)).flatten()?;
        tracer.cause(Some(&self.identity.object), trigger.name(), woken)
    }

    /// Tells whether limits or a circuit breaker keep the call back that the credential needs.
    pub(super) fn trace_wait(&self, now: Moment) {
        let tracer = &self.context.tracer;
        if tracer.is_on() {
            let observed = self.observed(now);
            let waits = observed.account().is_some_and(|account| account.waits_for.is_some());
            let is_kept_back = waits && trigger(&observed, now).is_some();
            tracer.keep_back(&self.identity.object, is_kept_back, now);
        }
    }

    /// Tells how the write of a new token went.
    pub(super) fn trace_secret(
        &self,
        fingerprint: &Fingerprint,
        begun: Moment,
        outcome: &Result<bool, ApiServerError>,
    ) {
        let Ok(spec) = &self.spec else { return };
        let failure = match outcome {
            Ok(true) => None,
            Ok(false) => Some(&"it changed meanwhile, or is refused" as &dyn Display),
            Err(error) => Some(error as &dyn Display),
        };
        let step = Step::Secret(&spec.target.secret);
        self.context.tracer.step(step, fingerprint, Some(&self.identity.object), begun, failure);
    }

    /// Tells how the write of the first status with a new token went.
    pub(super) fn trace_status(&self, status: &Status, begun: Moment, error: Option<&ApiServerError>) {
        let before = self.state.known.status().token.as_ref().map(|token| &token.fingerprint);
        let fingerprint = status.token.as_ref().map(|token| &token.fingerprint);
        if let Some(fingerprint) = fingerprint.filter(|_| fingerprint != before) {
            let failure = error.map(|error| error as &dyn Display);
            self.context.tracer.step(Step::Status, fingerprint, Some(&self.identity.object), begun, failure);
        }
    }
}
