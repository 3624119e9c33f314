//! Reports on a credential: writes its status and publishes its Events.

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};

use super::api_server::ApiServerError;
use super::leader_election::Term;
use super::reconciliation::Reconciliation;
use super::status;
use super::status_watch::StatusMark;
use crate::api::IdIssuerCredentialStatus;
use crate::core::conditions::{ConditionType, find};
use crate::core::credential::{Report, ReportRequest, Status, StatusTrigger};
use crate::core::target::Identity;
use crate::core::time::Moment;
use crate::ops::metrics::CredentialSample;

impl Reconciliation<'_> {
    /// Reports in status, if it can be written, that a call keeps failing: nothing else reports that a token is late
    /// then.
    pub(super) async fn report_failure(&mut self, error: &ApiServerError, term: Term) {
        self.state.known.on_call_failed(error.call(), &error.lasting_answer());
        if self.state.known.failing_call().is_none() || self.context.leader_election.term() != Some(term) {
            return;
        }
        let now = self.look();
        if let Err(error) = self.report(StatusTrigger::Failure, now).await {
            let (namespace, name) = self.identity.object.parts();
            tracing::warn!(namespace, name, "{error}");
        }
    }

    /// Writes the status if it changed, and publishes Events for changed conditions, as of `now`, the time of the last look.
    pub(super) async fn report(&mut self, trigger: StatusTrigger, now: Moment) -> Result<(), ApiServerError> {
        if trigger != StatusTrigger::Failure {
            // Every call of this round has done what it should.
            self.state.known.on_calls_succeeded();
        }
        let request = ReportRequest {
            trigger,
            renew_request: self.credential.renew_request(),
            controller: &self.context.peers.own,
        };
        let Report { status, events, is_news } = self.state.known.report(&self.observed(now), request, now);
        self.show(&status);
        let is_put_back = !is_news && self.status_undone().is_some_and(|until| until.is_reached(now));
        self.state.known.end_status_pause();
        if !is_news && !is_put_back {
            return Ok(());
        }
        // Delayed reports are written anyway, except on a stop: then nothing would write them.
        if trigger == StatusTrigger::Rest && !self.context.stop.is_cancelled() {
            let of_namespace = self.context.writes.pause(&self.identity.object.namespace, now);
            if self.state.known.puts_status_off(of_namespace, now) {
                return Ok(());
            }
        }
        let wire = status::write(&status);
        let registry = &self.context.registry;
        registry.statuses.begins(&self.identity.object, &wire);
        let begun = self.context.clock.now();
        let written = self.write(&wire).await;
        self.trace_status(&status, begun, written.as_ref().err());
        let version = written?;
        let left = StatusMark::of(Some(&wire), &version);
        self.state.known.on_status_written(status, is_put_back, now);
        registry.on_status_written(&self.identity.object, left);
        self.context.peers.warn_if_crd_is_old(registry, &self.identity.object);
        self.context.writes.made(&self.identity.object.namespace, now);
        for event in events {
            self.context.publisher.publish(status::event(&event), self.credential.object_ref(&()));
        }
        Ok(())
    }

    /// Writes this status, and returns the version that this makes.
    async fn write(&mut self, status: &IdIssuerCredentialStatus) -> Result<String, ApiServerError> {
        let (api_server, leader_election) = (&self.context.api_server, &self.context.leader_election);
        // Another controller may claim a credential that has none at the same time.
        let claimed =
            self.credential.resource_version().filter(|_| self.state.known.status().controller.is_none());
        let newest = || self.context.registry.statuses.newest(&self.identity.object);
        if let Some(version) = claimed.clone().or_else(newest) {
            let deadline = self.state.call_deadline().within(leader_election.left());
            let written = api_server.replace_status(&self.identity, &version, status, deadline).await;
            // The watch may be late, or an answer was lost. What others write beside the status does not keep it back, while
            // this process leads.
            let is_outdated = claimed.is_none() && written.as_ref().is_err_and(ApiServerError::is_conflict);
            if !is_outdated || leader_election.term() != self.state.term {
                return written;
            }
        }
        let deadline = self.state.call_deadline().within(leader_election.left());
        api_server.overwrite_status(&self.identity, status, deadline).await
    }

    /// From when on a status that someone else changed is restored.
    pub(super) fn status_undone(&self) -> Option<Moment> {
        let is_undone = self.context.registry.statuses.is_undone(&self.key());
        is_undone.then(|| self.state.known.status_repair_pause().unwrap_or(self.generation_since))
    }

    fn show(&self, status: &Status) {
        let Identity { object, uid } = &self.identity;
        let ready = find(&status.conditions, ConditionType::Ready);
        let stalled = find(&status.conditions, ConditionType::Stalled).filter(|it| it.status == "True");
        let (token, is_suspended) = (status.token.as_ref(), self.credential.spec.suspend);
        let conditions = status.conditions.iter();
        let sample = CredentialSample {
            namespace: Arc::clone(&object.namespace),
            name: Arc::clone(&object.name),
            conditions: conditions
                .map(|condition| (condition.type_.clone(), condition.status.clone()))
                .collect(),
            ready: ready.map(|condition| (condition.status == "True", condition.reason.clone())),
            stalled: stalled.map(|condition| condition.reason.clone()),
            expiration: token.map(|token| token.expiration),
            renewal: token.filter(|_| !is_suspended).map(|token| token.renewal),
        };
        self.context.metrics.show_credential(uid, sample);
        // It may have been deleted while it was worked on.
        if self.context.registry.credentials.state(object, uid).is_none() {
            self.context.metrics.forget_credential(uid);
        }
    }
}
