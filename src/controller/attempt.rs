//! The record of an attempt with a login that was never accepted: written when the call is admitted, not before.
//!
//! Until then the call waits for a permit, and the breakers may take it back: in an outage, status would otherwise be
//! written again and again for calls that are never sent.

use std::sync::Arc;

use kube::ResourceExt;

use super::api_server::ApiServerError;
use super::context::Context;
use super::guarded::Guarded;
use super::leader_election::Term;
use super::reconciliation::Reconciliation;
use super::trim;
use crate::account::AttemptRecorder;
use crate::core::account::Next;
use crate::core::credential::StatusTrigger;
use crate::core::object_name::NamespacedName;

/// What records an attempt of this credential once it is its turn.
pub(super) fn recorder(object: &Arc<Guarded>, context: &Arc<Context>, term: Term) -> AttemptRecorder {
    let (object, context) = (Arc::clone(object), Arc::clone(context));
    Box::new(move || Box::pin(async move { record(&object, &context, term).await }))
}

/// Records the attempt, unless the credential, its login or the leader changed; returns whether it did.
async fn record(object: &Guarded, context: &Context, term: Term) -> bool {
    let Ok(credential) = &object.0 else { return false };
    let key = NamespacedName::new(object.namespace().unwrap_or_default(), object.name_any());
    let state = context.registry.credentials.state(&key, &object.uid().unwrap_or_default());
    let is_current = context.registry.credentials.generation(&key) == credential.metadata.generation;
    let Some(state) = state.filter(|_| is_current) else { return false };
    let mut state = state.lock().await;
    let leads = state.term == Some(term) && context.leader_election.term() == Some(term);
    if !leads || !trim::is_validated(&state, credential) {
        return false;
    }
    let recorded = Reconciliation::new(context, credential, &key, &mut state, None).record_attempt().await;
    recorded.unwrap_or_else(|error| {
        // The next reconciliation of the credential continues from there.
        state.failed_record = Some(error);
        false
    })
}

impl Reconciliation<'_> {
    async fn record_attempt(&mut self) -> Result<bool, ApiServerError> {
        let now = self.look();
        let observed = self.observed(now);
        let Some(account) = observed.account().filter(|account| account.next == Next::InFlight) else {
            return Ok(false);
        };
        let rejections = account.rejections;
        self.report(StatusTrigger::Attempt, now).await?;
        self.state.known.on_attempt_recorded(rejections);
        Ok(true)
    }
}
