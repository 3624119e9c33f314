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
use crate::api::IdIssuerCredential;
use crate::core::account::Next;
use crate::core::credential::StatusTrigger;
use crate::core::object_name::NamespacedName;

/// What records an attempt of this credential once it is its turn.
pub(super) fn recorder(
    key: &NamespacedName,
    credential: &IdIssuerCredential,
    context: &Arc<Context>,
    term: Term,
) -> AttemptRecorder {
    let (key, context) = (key.clone(), Arc::clone(context));
    let decided_on = DecidedOn {
        uid: credential.uid().unwrap_or_default(),
        generation: credential.metadata.generation,
        version: credential.resource_version(),
    };
    Box::new(move || Box::pin(async move { record(&key, &decided_on, &context, term).await }))
}

/// The credential for which an attempt was decided.
struct DecidedOn {
    uid: String,
    generation: Option<i64>,
    version: Option<String>,
}

/// Records the attempt, unless the credential, its login or the leader changed; returns whether it did.
async fn record(key: &NamespacedName, decided_on: &DecidedOn, context: &Context, term: Term) -> bool {
    let credentials = &context.registry.credentials;
    let Some(state) = credentials.state(key, &decided_on.uid) else { return false };
    let mut state = state.lock().await;
    let Some(Guarded(Ok(credential))) = credentials.object(key) else { return false };
    // While a list goes on, the one that is kept may be older than what it has shown.
    let generations = [credential.metadata.generation, credentials.generation(key)];
    if generations != [decided_on.generation; 2] || credential.uid().as_ref() != Some(&decided_on.uid) {
        return false;
    }
    // While status does not name us, another controller may have claimed the credential since.
    let is_claimed = state.known.status().controller.is_some();
    if !is_claimed && credential.resource_version() != decided_on.version {
        return false;
    }
    let leads = state.term == Some(term) && context.leader_election.term() == Some(term);
    if !leads || !trim::is_validated(&state, &credential) {
        return false;
    }
    let recorded = Reconciliation::new(context, &credential, key, &mut state, None).record_attempt().await;
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
