//! Which lease the replicas share, and who this one is.

use std::collections::BTreeSet;

use super::api_server::FIELD_MANAGER;
use crate::core::lease::Timings;
use crate::core::token::Fingerprint;

/// The lease and how it is held.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Where it lies.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// The identity of this replica; unique among the replicas.
    pub identity: String,
    /// The timings of the lease.
    pub timings: Timings,
}

impl LeaseSettings {
    /// The name of the lease for these namespaces: each set of namespaces has its own.
    #[must_use]
    pub fn default_name(namespaces: &[String]) -> String {
        if namespaces.is_empty() {
            return FIELD_MANAGER.to_owned();
        }
        let set: BTreeSet<&str> = namespaces.iter().map(String::as_str).collect();
        let list = set.into_iter().collect::<Vec<_>>().join(",");
        let digest = Fingerprint::of(list.as_bytes());
        format!("{FIELD_MANAGER}-{}", digest.as_str().get(..8).unwrap_or_default())
    }

    /// A new identity: the host's name, which is the pod's, and a random part, for a restarted process is another one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "no two processes may have the same, also in a simulation")]
    pub fn new_identity() -> String {
        format!("{}_{:08x}", host(), fastrand::u32(..))
    }
}

/// The host's name, which is the pod's.
pub(super) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}
