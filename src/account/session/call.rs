//! One call of a session to the issuer: it waits for its turn, is recorded, sent and taken in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;

use super::{AttemptRecorder, Session};
use crate::account::call_limits::CallSite;
use crate::account::shared::{STOP_GRACE, Shared};
use crate::core::account::{Call, TokenResponse};
use crate::core::call_limiter::{CallRequest, Priority};
use crate::core::reason::Reason;
use crate::core::retry::RetryClass;
use crate::core::time::Moment;
use crate::issuer::{Exchange, IssuerError, Trust};
use crate::traces::{Cause, EndedCall, TraceId};

impl Session {
    /// Makes a call. Its end wakes the members, who decide what follows from the response.
    pub(super) async fn run(
        self: Arc<Self>,
        call: Call,
        call_site: CallSite,
        is_trial: bool,
        record: Option<AttemptRecorder>,
        cause: Option<Cause>,
    ) {
        let (request, limit) = self.request(&call_site);
        let trial = is_trial.then_some(Trial::Waits);
        let mut end = CallGuard { session: &self, call_site, is_in_flight: true, trial };
        let Shared { call_limiters, call_limits, clock, stop, .. } = &*self.shared;
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            permit = call_limiters.enter(&self.address.endpoint.origin, request, clock.now()) => permit,
        };
        // Much may have changed while it waited for its turn, or was recorded.
        let handle = self.handle();
        let call_site = end.call_site.clone();
        let is_free =
            || self.may_call() && self.is_wanted() && call_limits.is_call_allowed(&call_site, &handle);
        let is_turn = permit.is_some() && is_free();
        if is_turn && is_trial && call_limits.begin_attempt(&call_site, clock.now()) {
            end.trial = Some(Trial::Presented);
        }
        let is_turn = is_turn && end.trial != Some(Trial::Waits);
        let is_sent = is_turn && self.is_recorded(record).await && is_free();
        if is_sent {
            let admitted = clock.now();
            let exchange = tokio::select! {
                exchange = self.exchange(&call, limit) => exchange,
                () = self.stop_grace() => return,
            };
            let trace_id = cause.and_then(|cause| self.trace(cause, &call, admitted, &exchange));
            let is_rejected = self.finish(call, &call_site, exchange, trace_id);
            end.trial = end.trial.map(|trial| if is_rejected { Trial::Rejected } else { trial });
        } else {
            call_limits.abandon(&call_site, &handle);
            self.account().withdraw(call);
        }
        end.is_in_flight = false;
    }

    /// Records the attempt if required; returns whether the call may be sent.
    async fn is_recorded(&self, record: Option<AttemptRecorder>) -> bool {
        let Some(record) = record else { return true };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => false,
            is_recorded = record() => is_recorded,
        }
    }

    async fn exchange(&self, call: &Call, limit: SignedDuration) -> Exchange {
        let limit = Duration::try_from(limit).unwrap_or(Duration::from_secs(10));
        let issuer = &self.shared.issuer;
        match call {
            Call::Refresh { token, refresh } => issuer.refresh(&self.address, token, refresh, limit).await,
            Call::Login(pair) => issuer.login(&self.address, pair, limit).await,
        }
    }

    /// What the next call is for, and how long it may take.
    fn request(&self, call_site: &CallSite) -> (CallRequest, SignedDuration) {
        let account = self.account();
        let priority =
            account.overdue().map_or(Priority::FirstIssue, |overdue| Priority::Renewal { overdue });
        let failures = account.last_failure().map_or(0, |last_failure| last_failure.count);
        (
            CallRequest { tenant: Arc::clone(&call_site.tenant), priority, failures },
            account.pace().call_limit(),
        )
    }

    async fn stop_grace(&self) {
        self.shared.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Takes in how a call went; whether the login was rejected, and that counts.
    fn finish(
        self: &Arc<Self>,
        call: Call,
        call_site: &CallSite,
        exchange: Exchange,
        trace_id: Option<TraceId>,
    ) -> bool {
        self.log_outcome(&call, &exchange, trace_id);
        let Shared { call_limits, clock, .. } = &*self.shared;
        let now = clock.now();
        let mut account = self.account();
        let result = exchange
            .result
            .map_err(|error| account.judge(call.grant(), error.failure(call.password_has_blank())));
        let call_outcome =
            account.call_outcome(result.as_ref().map(drop), self.address.trust != Trust::PublicRoots);
        let forgiven =
            call_limits.end(call_site, &self.handle(), account.accepted().is_some(), call_outcome, now);
        let is_rejected = matches!(&result, Err(failure) if failure.class == RetryClass::Rejected);
        // This process has not seen it accepted. Each password counts once: an issuer that rejects everyone for a while
        // does not use up the limit of a good one.
        let is_claimed = account.accepted().is_some() && account.token().is_none();
        if is_rejected && is_claimed && !self.is_claim_rejected.swap(true, Ordering::Relaxed) {
            call_limits.reject_claimed(call_site, self.user, now);
        }
        account.finish(call, result, now, clock.random_fraction());
        drop(account);
        for account in forgiven.iter().filter_map(|handle| handle.account.upgrade()) {
            account.forgive(now);
        }
        is_rejected
    }

    /// Traces a call that has ended.
    fn trace(&self, cause: Cause, call: &Call, admitted: Moment, exchange: &Exchange) -> Option<TraceId> {
        let (origin, grant) = (&self.address.endpoint.origin, call.grant());
        let result = exchange.result.as_ref().map(|response| &response.token.fingerprint);
        let outcome = result.map_or_else(IssuerError::outcome, |_| "ok");
        let result = result.map_err(|error| error as &dyn std::fmt::Display);
        cause.ended(&EndedCall { origin, grant, outcome, admitted, result })
    }

    fn log_outcome(&self, call: &Call, exchange: &Exchange, trace_id: Option<TraceId>) {
        let grant = call.grant();
        let metrics = &self.shared.metrics;
        let origin = &self.address.endpoint.origin;
        let outcome = exchange.result.as_ref().map_or_else(IssuerError::outcome, |_| "ok");
        metrics.issuer_call(grant, outcome, exchange.duration);
        if let Some(skew) = exchange.clock_skew {
            metrics.issuer_clock_skew(origin, skew);
        }
        let (login, trace_id) = (&self.source, trace_id.map(tracing::field::display));
        match &exchange.result {
            Ok(TokenResponse { token, .. }) => tracing::info!(
                login, %origin, ?grant, fingerprint = %token.fingerprint,
                lifetime_seconds = token.validity.lifetime.as_secs(), trace_id, "token obtained"
            ),
            // Not a failure: a login follows at once, and shows whether anything is wrong.
            Err(error @ IssuerError::RefreshRejected) => tracing::info!(login, %origin, trace_id, "{error}"),
            Err(error) => {
                let reason = Reason::of_call(&error.failure(call.password_has_blank()), login, origin);
                tracing::warn!(login, %origin, ?grant, outcome, reason = reason.name(), trace_id, "{error}");
            }
        }
    }
}

/// Ends a call, even if its task is dropped or panics: members are notified, and the account does not wait for it
/// forever.
struct CallGuard<'a> {
    session: &'a Arc<Session>,
    call_site: CallSite,
    is_in_flight: bool,
    trial: Option<Trial>,
}

/// How far a login came that was never accepted before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// It waits for its turn.
    Waits,
    /// The call was admitted.
    Presented,
    /// The issuer rejected it.
    Rejected,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let session = self.session;
        let Shared { call_limits, clock, .. } = &*session.shared;
        if self.is_in_flight {
            session.account().abandon();
            call_limits.abandon(&self.call_site, &session.handle());
        }
        if let Some(trial) = self.trial {
            if trial != Trial::Waits {
                call_limits.end_attempt(&self.call_site);
            }
            call_limits.end_login(&self.call_site, session.user, trial == Trial::Rejected, clock.now());
        }
        session.wake_members();
    }
}
