//! One credential: observe, decide, act, report.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::{Resource, ResourceExt};

use super::api_server::ApiServerError;
use super::context::Context;
use super::guarded::Guarded;
use super::leader_election::Term;
use super::peer_controllers::Ownership;
use super::reconciliation::Reconciliation;
use super::registry::Registry;
use super::state::CredentialState;
use super::status_watch::StatusMark;
use super::work_queue::Action;
use super::{account_binding, attempt, malformed, peer_controllers, sharing, status, target, trim};
use crate::account::AttemptRecorder;
use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus};
use crate::core::account::Next;
use crate::core::credential::{Status, StatusTrigger, TURN_PAUSE};
use crate::core::decide::{Decision, Plan, decide};
use crate::core::object_name::NamespacedName;
use crate::core::observed::AccountView;
use crate::core::time::Moment;

/// The limit of steps in one reconciliation. Needing more means a race with another writer.
const STEPS_LIMIT: usize = 12;
/// The pause after that.
const RACED_PAUSE: Duration = Duration::from_secs(1);
/// How soon a first login looks again whether it still has to wait for what status remembers of others.
const OTHERS_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait for credentials that could not be resolved.
const OTHERS_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// Brings one credential to where it should be, which waits for that since `woken`.
///
/// # Errors
/// When the API server does not answer or refuses what should not depend on a person.
pub(super) async fn reconcile(
    key: &NamespacedName,
    object: &Guarded,
    context: &Arc<Context>,
    woken: Moment,
) -> Result<Action, ApiServerError> {
    context.registry.wake_ups.begin(key);
    let meta = object.meta();
    let uid = object.uid().unwrap_or_default();
    let Some(state) = context.registry.credentials.state(key, &uid) else {
        return Ok(Action::await_change());
    };
    if meta.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    // A new leader wakes all credentials.
    let Some(term) = context.term() else { return Ok(Action::await_change()) };
    let mut state = state.lock().await;
    context.registry.wake_ups.set(key, None);
    let action = if let Ok(credential) = &object.0 {
        let recorder = || attempt::recorder(key, credential, context, term);
        reconcile_readable(context, credential, (term, woken), key, &mut state, &recorder).await
    } else {
        if state.term != Some(term) {
            state.begin_term(term);
        }
        let outcome = malformed::report(context, meta.generation, key, &uid, &mut state).await;
        // Nothing was taken over: that is done once it can be read.
        state.term = None;
        outcome
    };
    account_binding::clear_pair(&mut state);
    context.registry.wake_ups.set_time_scale(key, state.pace());
    if action.is_err() {
        context.registry.rejections.unresolvable(key, term);
    }
    let action = action?;
    context.registry.wake_ups.clear_errors(key);
    Ok(action)
}

/// The same for a credential that matches its definition.
async fn reconcile_readable(
    context: &Context,
    credential: &IdIssuerCredential,
    (term, woken): (Term, Moment),
    key: &NamespacedName,
    state: &mut CredentialState,
    recorder: &(dyn Fn() -> AttemptRecorder + Send + Sync),
) -> Result<Action, ApiServerError> {
    let ownership = peer_controllers::ownership(context, credential, key, state).await?;
    if let Ownership::StandsBy(action) = ownership {
        sharing::stand_by(context, key, term, credential.metadata.generation.unwrap_or_default());
        context.registry.rejections.resolved(key, term);
        return Ok(action);
    }
    let mut verdict = None;
    if !trim::is_validated(state, credential) && context.registry.quotas.check(key).is_ok() {
        verdict = trim::validate(context, credential, state.call_deadline()).await?;
        if verdict.is_none() {
            // The watch will show another spec soon. Continuous edits do not block others.
            context.registry.rejections.unresolvable(key, term);
            return Ok(Action::requeue(RACED_PAUSE));
        }
    }
    let term_before = state.term.filter(|before| *before != term);
    let is_new_term = state.term != Some(term);
    let remembered = if is_new_term { state.begin_term(term) } else { None };
    let mut reconciliation = Reconciliation::new(context, credential, key, state, verdict);
    if is_new_term {
        let is_ours = reconciliation.load(term, remembered).await;
        if !matches!(is_ours, Ok(true)) {
            // What is remembered of the term before is needed again.
            reconciliation.state.term = term_before;
        }
        if !is_ours? {
            return Ok(Action::requeue(RACED_PAUSE));
        }
    }
    if let Ownership::TookOver(version) = &ownership {
        reconciliation.took_over(version);
    }
    let carried = reconciliation.carry_out(term, woken, recorder).await;
    if let Err(error) = &carried {
        reconciliation.report_failure(error, term).await;
    }
    carried
}

/// Writes what the last calls have brought, once the process stops and nothing else is begun any more: a token that is
/// not written is lost with the process, and costs a login.
///
/// # Errors
/// When the API server does not answer or refuses.
pub(super) async fn finish(key: &NamespacedName, context: &Context) -> Result<(), ApiServerError> {
    let credentials = &context.registry.credentials;
    let Some(term) = context.leader_election.term() else { return Ok(()) };
    let Some((uid, state)) = credentials.uid_and_state(key) else { return Ok(()) };
    let mut state = state.lock().await;
    if state.term != Some(term) || state.session().is_none() {
        return Ok(());
    }
    let Some(Guarded(Ok(credential))) = credentials.object(key) else { return Ok(()) };
    if credential.uid().as_deref() != Some(&uid) || !trim::is_validated(&state, &credential) {
        return Ok(());
    }
    let mut reconciliation = Reconciliation::new(context, &credential, key, &mut state, None);
    let now = reconciliation.look();
    if let Plan::Publish { token, repair, fence } = decide(&reconciliation.observed(now), now).plan {
        target::publish(&mut reconciliation, &token, repair, fence).await?;
    }
    let now = reconciliation.look();
    reconciliation.report(StatusTrigger::Rest, now).await
}

impl Reconciliation<'_> {
    /// Takes over what status remembers. If the kept status was left out, takes over `remembered` instead, or else reads it.
    /// Returns whether the credential is still ours or nobody's.
    async fn load(&mut self, term: Term, remembered: Option<Status>) -> Result<bool, ApiServerError> {
        let key = self.key();
        let (registry, version) = (&self.context.registry, self.credential.resource_version());
        let version = version.unwrap_or_default();
        let is_left_out = trim::is_status_left_out(self.credential);
        let is_known = !is_left_out || remembered.is_some();
        // Even if it must be read: what is known sets the pace of retries.
        if !is_left_out {
            self.take_over(self.credential.status.clone().unwrap_or_default(), &version);
        } else if let Some(remembered) = remembered {
            self.remember(remembered);
            registry.statuses.abandons(&key);
        }
        if !is_known || term.follows_another && !registry.handover.is_current(&key, &version) {
            let (namespace, name) = key.parts();
            let read =
                self.context.api_server.read_status(namespace, name, self.state.call_deadline()).await?;
            let (status, version) = read.unwrap_or_default();
            let is_of_another = status.controller.as_ref().is_some_and(|it| *it != self.context.peers.own);
            self.take_over(status, &version);
            if is_of_another {
                return Ok(false);
            }
        }
        registry.leave_out_status(&key);
        Ok(true)
    }

    fn take_over(&mut self, status: IdIssuerCredentialStatus, version: &str) {
        self.context.registry.statuses.leaves(&self.key(), StatusMark::of(Some(&status), version));
        self.remember(status::read(status));
    }

    fn remember(&mut self, status: Status) {
        let (generation, spec) = (self.generation(), self.spec.as_deref().ok());
        let behind = self.state.term.map_or(SignedDuration::ZERO, |term| term.clock_behind);
        self.state.known.load(status, generation, spec, behind, self.context.clock.now());
    }

    /// The status as it was taken over, with our name in it.
    fn took_over(&mut self, version: &str) {
        self.state.known.keep(&self.context.peers.own);
        let status = status::write(self.state.known.status());
        self.context.registry.on_status_written(&self.key(), StatusMark::of(Some(&status), version));
    }

    /// Observe (no client) → decide (no client) → act (client), until there is nothing to do; then report (client).
    async fn carry_out(
        &mut self,
        term: Term,
        woken: Moment,
        recorder: &(dyn Fn() -> AttemptRecorder + Send + Sync),
    ) -> Result<Action, ApiServerError> {
        if let Some(error) = self.state.failed_record.take() {
            return Err(error);
        }
        account_binding::forget_replaced_bundle(self);
        for _ in 0..STEPS_LIMIT {
            if self.context.leader_election.term() != Some(term) {
                return Ok(Action::await_change());
            }
            let now = self.look();
            let Decision { plan, decided_at } = decide(&self.observed(now), now);
            match plan {
                Plan::ReadTarget => target::read(self).await?,
                Plan::ReadLogin => {
                    account_binding::read(self).await?;
                    self.context.registry.rejections.resolved(&self.key(), term);
                }
                Plan::Obtain { record_first, .. }
                    if record_first && self.waits_for_others(term, decided_at) =>
                {
                    return Ok(Action::requeue(OTHERS_PAUSE));
                }
                Plan::Obtain { record_first, override_hold } => {
                    // The term is checked again when the call starts.
                    let record = record_first.then(recorder);
                    let cause = self.cause(woken, decided_at);
                    if !account_binding::obtain(self.state, override_hold, record, cause, decided_at) {
                        break;
                    }
                }
                Plan::Publish { token, repair, fence } => {
                    target::publish(self, &token, repair, fence).await?;
                }
                Plan::PublishReadBack { fence } => target::publish_read_back(self, fence).await?,
                Plan::Rest { until } => {
                    self.context.registry.rejections.resolved(&self.key(), term);
                    self.share(decided_at);
                    self.trace_wait(decided_at);
                    if self.is_just_queued(decided_at) {
                        return Ok(Action::requeue(TURN_PAUSE.unsigned_abs()));
                    }
                    self.report(StatusTrigger::Rest, decided_at).await?;
                    return Ok(self.rest(until));
                }
            }
        }
        // Raced by another writer, or the process is stopping.
        self.context.registry.rejections.unresolvable(&self.key(), term);
        let now = self.look();
        self.report(StatusTrigger::Rest, now).await?;
        Ok(Action::requeue(RACED_PAUSE))
    }

    /// Whether a first login must wait, because the status of another credential may say that it is held. The wait is
    /// limited, because that credential's login Secret may be unreadable.
    fn waits_for_others(&mut self, term: Term, now: Moment) -> bool {
        let since = *self.state.waits_for_others.get_or_insert(now);
        let is_impatient = since.plus(OTHERS_LIMIT).is_reached(now);
        let is_resolved = |registry: &Arc<Registry>| registry.rejections.is_open(term, is_impatient);
        !self.context.registries.iter().all(is_resolved)
    }

    /// Whether the call has just begun to wait for its turn.
    fn is_just_queued(&self, now: Moment) -> bool {
        let is_in_flight = |account: &AccountView| account.next == Next::InFlight;
        self.state.known.is_just_queued(now) && self.observed(now).account().is_some_and(is_in_flight)
    }

    fn rest(&self, until: Option<Moment>) -> Action {
        let now = self.context.clock.now();
        // A recheck that is over was not needed, for example because the credential is suspended.
        let recheck = self.state.recheck().filter(|moment| !moment.is_reached(now));
        let moments =
            [until, recheck, self.status_undone(), self.state.known.status_pause()].into_iter().flatten();
        let wake_up = moments.reduce(|sooner, other| sooner.earlier(other, now));
        self.context.registry.wake_ups.set(&self.key(), wake_up);
        let pause = wake_up.map(|moment| moment.remaining(now));
        pause.map_or_else(Action::await_change, |pause| {
            Action::requeue(Duration::try_from(pause).unwrap_or_default())
        })
    }
}
