//! Reports on a credential: writes its status and publishes its Events.

use kube::{Resource as _, ResourceExt as _};

use super::api_server::ApiServerError;
use super::leader_election::Term;
use super::reconcile::Reconciliation;
use super::status::{self, StatusTrigger};
use super::status_watch::StatusMark;
use crate::api::IdIssuerCredentialStatus;
use crate::core::conditions::conditions;
use crate::core::target::Identity;
use crate::core::time::Moment;
use crate::ops::metrics::CredentialSample;

impl Reconciliation<'_> {
    /// Reports in status, if it can be written, that a call keeps failing: nothing else reports that a token is late
    /// then.
    pub(super) async fn report_failure(&mut self, error: &ApiServerError, term: Term) {
        self.memory.call_failed(error);
        if self.memory.failing_call().is_none() || self.context.leader_election.term() != Some(term) {
            return;
        }
        if let Err(error) = self.report(StatusTrigger::Failure).await {
            let Identity { namespace, name, .. } = &self.identity;
            tracing::warn!(namespace, name, "{error}");
        }
    }

    /// Writes the status if it changed, and publishes Events for changed conditions.
    pub(super) async fn report(&mut self, occasion: StatusTrigger) -> Result<(), ApiServerError> {
        if occasion != StatusTrigger::Failure {
            // Every call of this round has done what it should.
            self.memory.failed_call = None;
        }
        let now = self.look();
        let request = self.credential.renew_request();
        let observed = self.observed(now);
        let own = &self.context.peers.own;
        let mut status = status::status(&observed, self.memory, occasion, request, now);
        status.controller = Some(own.clone());
        let events = status::events(&self.memory.status.conditions, &conditions(&observed, now));
        self.show(&status);
        let is_news =
            occasion == StatusTrigger::Attempt || status::is_worth_writing(&status, self.memory, now);
        let is_put_back = !is_news && self.status_undone().is_some_and(|until| until.is_reached(now));
        self.memory.status_pause = None;
        if !is_news && !is_put_back {
            return Ok(());
        }
        // Delayed reports are written anyway, except on a stop: then nothing would write them.
        if occasion == StatusTrigger::Rest && !self.context.stop.is_cancelled() {
            let of_namespace = self.context.writes.pause(&self.identity.namespace, now);
            self.memory.status_pause = self.memory.writes.status.pause(now).or(of_namespace);
            if self.memory.status_pause.is_some() {
                return Ok(());
            }
        }
        let (Identity { namespace, name, uid }, registry) = (&self.identity, &self.context.registry);
        registry.writes_status(&self.key(), &status);
        let (cluster, left) = (&self.context.cluster, self.context.leader_election.left());
        // Another controller may claim a credential without a keeper at the same time.
        let fence = self.credential.resource_version().filter(|_| self.memory.status.controller.is_none());
        let allowance = self.memory.allowance().within(left);
        let version =
            cluster.write_status(namespace, name, uid, fence.as_deref(), &status, allowance).await?;
        registry.leaves_status(&self.key(), StatusMark::of(Some(&status), &version));
        self.context.peers.sees_status(registry, &self.key());
        if is_put_back {
            self.memory.status_repairs.made(now);
        }
        self.memory.status = status;
        self.memory.status_written = Some(now);
        self.memory.writes.status.made(now);
        self.context.writes.made(namespace, now);
        for event in events {
            self.context.publisher.tell(event, self.credential.object_ref(&()));
        }
        Ok(())
    }

    /// From when on a status that someone else changed is restored.
    pub(super) fn status_undone(&self) -> Option<Moment> {
        let is_undone = self.context.registry.is_status_undone(&self.key());
        is_undone.then(|| self.memory.status_repairs.pause().unwrap_or(self.generation_since))
    }

    fn show(&self, status: &IdIssuerCredentialStatus) {
        let Identity { namespace, name, uid } = &self.identity;
        let conditions = status.conditions.iter();
        let annotations = CredentialSample {
            namespace: namespace.clone(),
            name: name.clone(),
            conditions: conditions
                .map(|condition| (condition.type_.clone(), condition.status.clone()))
                .collect(),
            token: status.token.as_ref().map(|token| (token.expiration_time.0, token.renewal_time.0)),
        };
        self.context.metrics.show_credential(uid, annotations);
        // It may have been deleted while it was worked on.
        if self.context.registry.memory(&self.beside(name), uid).is_none() {
            self.context.metrics.forget_credential(uid);
        }
    }
}
