//! Other controllers over the same credentials: one manages each credential, the others stand by
//! ([`crate::core::peer_controllers`]).
//!
//! Status names the controller that manages the credential, and the one that claims to be its successor. Their writes need no
//! fence, because a controller is asked before its credential is taken. A credential without a controller is claimed in the
//! observed version, so that one of two claims fails.

use std::time::Duration;

use kube::{Resource, ResourceExt};
use serde_json::json;

use super::api_server::ApiServerError;
use super::context::Context;
use super::state::CredentialState;
use super::status::warning;
use super::work_queue::Action;
use crate::api::IdIssuerCredential;
use crate::core::object_name::NamespacedName;
use crate::core::peer_controllers::{ANSWER_LIMIT, Claim, PeerDecision};
use crate::core::reason::Reason;
use crate::core::time::Moment;

/// The pause after another controller was faster.
const RACED_PAUSE: Duration = Duration::from_secs(1);

/// What this controller does about a credential.
pub(super) enum Ownership {
    /// We keep the credential, or nobody does.
    Acts,
    /// We took the credential over; the resourceVersion after that write.
    TookOver(String),
    /// Another one keeps it; when to look again.
    StandsBy(Action),
}

/// Whether this controller acts on a credential; if not, everything that is remembered of it is forgotten.
pub(super) async fn ownership(
    context: &Context,
    credential: &IdIssuerCredential,
    key: &NamespacedName,
    state: &mut CredentialState,
) -> Result<Ownership, ApiServerError> {
    let own = &context.peers.own;
    let status = credential.status.as_ref();
    let claim = status.and_then(|status| status.claimed_by.as_deref());
    let controller =
        status.and_then(|status| status.controller.as_deref()).filter(|controller| controller != own);
    let Some(controller) = controller else {
        if let Some(claim) = claim {
            answer(context, key, state, claim).await?;
        }
        return Ok(Ownership::Acts);
    };
    if state.known.status().controller.as_ref() == Some(own) {
        // The watch may be behind our own write.
        let live = context.api_server.read_status(&key.namespace, &key.name, state.call_deadline()).await?;
        let live = live.and_then(|(status, _)| status.controller);
        let Some(controller) = live.filter(|controller| controller != own) else {
            return Ok(Ownership::Acts);
        };
        shows_life(context, key, &controller);
    }
    let claim = match claim {
        None => Claim::None,
        Some(claim) if claim == own => Claim::Ours,
        Some(_) => Claim::Another,
    };
    let now = context.clock.now();
    let stance = context.peers.with_peers(|peer_controllers| {
        peer_controllers.stance(controller, &key.namespace, &key.name, claim, now)
    });
    let peer = PeerController { context, key, controller };
    match stance {
        PeerDecision::StandBy(until) => Ok(stands_by(&peer, credential, state, until)),
        PeerDecision::Ask => match peer.mark(credential, state, json!({"claimedBy": own})).await {
            // The watch shows the claim, and that it is taken away.
            Ok(_) => Ok(stands_by(&peer, credential, state, now.plus(ANSWER_LIMIT))),
            Err(error) => peer.on_conflict(error),
        },
        PeerDecision::TakeOver => {
            match peer.mark(credential, state, json!({"controller": own, "claimedBy": null})).await {
                Ok(version) => {
                    let (namespace, name) = key.parts();
                    tracing::info!(namespace, name, controller, "taking over: its controller is gone");
                    state.reset();
                    Ok(Ownership::TookOver(version))
                }
                Err(error) => peer.on_conflict(error),
            }
        }
    }
}

/// The other controller that keeps a credential.
struct PeerController<'a> {
    context: &'a Context,
    key: &'a NamespacedName,
    controller: &'a str,
}

impl PeerController<'_> {
    /// Writes our name into the status of the credential, if it is unchanged since it was observed.
    async fn mark(
        &self,
        credential: &IdIssuerCredential,
        state: &mut CredentialState,
        marks: serde_json::Value,
    ) -> Result<String, ApiServerError> {
        let deadline = state.call_deadline().within(self.context.leader_election.left());
        let version = credential.resource_version();
        self.context.api_server.mark_status(self.key, version.as_deref(), marks, deadline).await
    }

    /// The write failed, so its consequences did not happen. Another controller may have been faster.
    fn on_conflict(&self, error: ApiServerError) -> Result<Ownership, ApiServerError> {
        let (namespace, name) = self.key.parts();
        let peer_controllers = &self.context.peers;
        peer_controllers
            .with_peers(|peer_controllers| peer_controllers.on_conflict(self.controller, namespace, name));
        if error.is_conflict() { Ok(Ownership::StandsBy(Action::requeue(RACED_PAUSE))) } else { Err(error) }
    }
}

/// Proves that this controller is alive, by removing the claim of another.
async fn answer(
    context: &Context,
    key: &NamespacedName,
    state: &mut CredentialState,
    claim: &str,
) -> Result<(), ApiServerError> {
    if claim != context.peers.own {
        shows_life(context, key, claim);
    }
    let deadline = state.call_deadline().within(context.leader_election.left());
    context.api_server.mark_status(key, None, json!({"claimedBy": null}), deadline).await.map(drop)
}

/// Another controller works in this namespace.
fn shows_life(context: &Context, key: &NamespacedName, peer: &str) {
    let now = context.clock.now();
    if context
        .peers
        .with_peers(|peer_controllers| peer_controllers.on_sign_of_life(peer, &key.namespace, now))
    {
        let reason = Reason::ManagedByAnotherController { controller: peer.to_owned() };
        tracing::warn!(namespace = &*key.namespace, "{}", reason.message());
    }
}

/// Another controller keeps the credential: nothing about it is remembered here, and this is reported once. Stands by
/// `until` that time, or until something changes.
fn stands_by(
    peer: &PeerController<'_>,
    credential: &IdIssuerCredential,
    state: &mut CredentialState,
    until: Moment,
) -> Ownership {
    let PeerController { context, key, controller } = *peer;
    let reported = state.reported_peer.take();
    if reported.as_deref() != Some(controller) {
        if let Some(before) = reported {
            let now = context.clock.now();
            context
                .peers
                .with_peers(|peer_controllers| peer_controllers.on_replaced(&before, &key.namespace, now));
        }
        let reason = Reason::ManagedByAnotherController { controller: controller.to_owned() };
        let (namespace, name) = key.parts();
        tracing::warn!(namespace, name, "standing by: {}", reason.message());
        context.publisher.publish(warning(&reason, "StandBy"), credential.object_ref(&()));
    }
    state.reset();
    context.registry.statuses.leaves(key, None);
    state.reported_peer = Some(controller.to_owned());
    if let Some(uid) = credential.uid() {
        context.metrics.forget_credential(&uid);
    }
    let pause = Duration::try_from(until.remaining(context.clock.now())).unwrap_or_default();
    Ownership::StandsBy(Action::requeue(pause.max(RACED_PAUSE)))
}
