//! Waking credentials: from a watch, from the end of an account's call, or late.

use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::UnboundedReceiver;

use super::context::Guarded;
use super::registry::Registry;
use crate::account::Member;
use crate::core::object_name::NamespacedName;

/// Wakes credentials of an area. Unbounded, for the queue behind it keeps one entry a credential.
pub(super) type Waker = UnboundedSender<ObjectRef<Guarded>>;

/// Wakes credentials; when the process stops, there is no receiver.
pub(super) fn wake(waker: &Waker, credentials: Vec<NamespacedName>) {
    for NamespacedName { namespace, name } in credentials {
        let _ = waker.unbounded_send(ObjectRef::new(&name).within(&namespace));
    }
}

/// Wakes the credentials whose account's call has ended. Each is found by its uid.
pub(super) async fn forward_ended_calls(
    mut ended: UnboundedReceiver<Member>,
    areas: Vec<(Arc<Registry>, Waker)>,
) {
    while let Some(member) = ended.recv().await {
        for (registry, waker) in &areas {
            wake(waker, registry.credentials.find(&member).into_iter().collect());
        }
    }
}
