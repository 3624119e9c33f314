//! What this controller knows of others over the same credentials, and they of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::registry::Registry;
use crate::core::object_name::NamespacedName;
use crate::core::peer_controllers::PeerControllers;

/// This controller among others.
pub(super) struct PeerWatch {
    /// Its name to the others: that of its lease, which its replicas share; without one, of where it runs.
    pub(super) own: String,
    peer_controllers: Mutex<PeerControllers>,
    has_warned: AtomicBool,
}

impl PeerWatch {
    pub(super) fn new(own: String) -> Self {
        Self { own, peer_controllers: Mutex::default(), has_warned: AtomicBool::new(false) }
    }

    /// Logs once that controllers cannot detect each other, because an old CRD drops the controller from status.
    pub(super) fn warn_if_crd_is_old(&self, registry: &Registry, key: &NamespacedName) {
        if registry.statuses.is_pruned(key) && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "apply deploy/crds, or the chart with crds.enabled: the CRD in the cluster is older than this program and drops status.controller, so controllers over the same namespaces cannot detect each other"
            );
        }
    }

    /// Looks at the others, or takes in what they do.
    pub(super) fn with_peers<T>(&self, look: impl FnOnce(&mut PeerControllers) -> T) -> T {
        look(&mut self.peer_controllers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
