//! The settings of the operator, and the lease of its replicas.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::api_server::FIELD_MANAGER;
use super::target_policy::TargetPolicy;
use crate::core::endpoint::AllowList;
use crate::core::lease::Timings;
use crate::core::token::Fingerprint;
use crate::traces;

/// The settings of the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespaces to manage; empty means all.
    pub namespaces: Vec<String>,
    /// The issuers that may receive passwords.
    pub allow_list: AllowList,
    /// Which Secrets may be written.
    pub target_policy: TargetPolicy,
    /// Where the admin endpoints listen.
    pub admin_address: SocketAddr,
    /// How many credentials are reconciled at once.
    pub concurrency: usize,
    /// How many credentials of each namespace are managed.
    pub max_credentials_per_namespace: usize,
    /// Whether to read the labels of namespaces, for `allowedNamespaces.selector`.
    pub namespace_selectors: bool,
    /// Whether metrics show each credential by its name.
    pub credential_metrics: bool,
    /// How often watches are re-established, in seconds; below 295.
    pub watch_timeout_seconds: u32,
    /// The lease of the replicas; without one this process always leads.
    pub lease: Option<LeaseSettings>,
    /// Whether the proxy of the environment is used for calls to issuers.
    pub use_environment_proxy: bool,
    /// Where traces go, if they are on.
    pub traces: Option<traces::Settings>,
}

impl Settings {
    /// Settings without flags but for these issuers.
    #[must_use]
    pub fn new(allow_list: AllowList, admin_address: SocketAddr) -> Self {
        Self {
            namespaces: Vec::new(),
            allow_list,
            target_policy: TargetPolicy::default(),
            admin_address,
            concurrency: 64,
            max_credentials_per_namespace: 1000,
            namespace_selectors: false,
            credential_metrics: true,
            watch_timeout_seconds: 290,
            lease: None,
            use_environment_proxy: false,
            traces: None,
        }
    }

    /// The managed namespaces, for people.
    pub(super) fn scope(&self) -> String {
        if self.namespaces.is_empty() { "all".into() } else { self.namespaces.join(",") }
    }

    /// The lease, for people.
    pub(super) fn lease_name(&self) -> String {
        self.lease
            .as_ref()
            .map_or_else(|| "none".into(), |lease| format!("{}/{}", lease.namespace, lease.name))
    }

    /// The name of this controller: its lease, or else values that a restarted process has again but no other process.
    pub(super) fn controller_name(&self) -> String {
        let lease = self.lease_name();
        if self.lease.is_some() { lease } else { format!("{lease}/{}/{}", host(), self.admin_address) }
    }
}

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
