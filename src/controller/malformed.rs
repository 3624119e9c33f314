//! A credential that cannot be parsed: only its status is written.

use std::time::Duration;

use super::api_server::ApiServerError;
use super::context::Context;
use super::state::CredentialState;
use super::status;
use super::work_queue::Action;
use crate::core::object_name::NamespacedName;
use crate::core::reason::Reason;
use crate::core::target::Identity;

/// Reports this in its status, once per generation, unless another controller manages it.
///
/// # Errors
/// When the API server does not answer or refuses.
pub(super) async fn report(
    context: &Context,
    generation: Option<i64>,
    key: &NamespacedName,
    uid: &str,
    state: &mut CredentialState,
) -> Result<Action, ApiServerError> {
    let generation = generation.unwrap_or_default();
    if state.known.status().observed_generation != Some(generation) {
        let now = context.clock.now();
        let pause = state.known.status_write_pause(context.writes.pause(&key.namespace, now), now);
        if let Some(until) = pause {
            return Ok(Action::requeue(Duration::try_from(until.remaining(now)).unwrap_or_default()));
        }
        tracing::warn!(
            namespace = &*key.namespace,
            name = &*key.name,
            "{}",
            Reason::MalformedResource.message()
        );
        let (api_server, left) = (&context.api_server, context.leader_election.left());
        let previous = api_server.read_status(&key.namespace, &key.name, state.call_deadline()).await?;
        let previous = previous.map(|(status, _)| status).unwrap_or_default();
        let own = &context.peers.own;
        if previous.controller.as_ref().is_some_and(|controller| controller != own) {
            return Ok(Action::await_change());
        }
        let status = status::read(previous).malformed(generation, own, now.wall);
        let deadline = state.call_deadline().within(left);
        let identity = Identity { object: key.clone(), uid: uid.to_owned() };
        api_server.overwrite_status(&identity, &status::write(&status), deadline).await?;
        state.known.on_status_written(status, false, now);
        context.writes.made(&key.namespace, now);
    }
    Ok(Action::await_change())
}
