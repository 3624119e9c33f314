//! Waking credentials: from a watch, from the end of an account's call, or late.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::registry::Registry;
use crate::account::Member;
use crate::core::object_name::NamespacedName;

/// Wakes credentials of an area. Unbounded, for the queue behind it keeps one entry a credential.
pub(super) type Waker = UnboundedSender<NamespacedName>;

/// Wakes credentials; when the process stops, there is no receiver.
pub(super) fn wake(waker: &Waker, credentials: Vec<NamespacedName>) {
    for credential in credentials {
        let _ = waker.send(credential);
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
