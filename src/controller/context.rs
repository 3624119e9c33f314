//! What every reconciliation uses.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::api_server::ApiServer;
use super::events::EventPublisher;
use super::large_reads::{LargeReads, ReadPermit};
use super::leader_election::{LeaderElection, Term};
use super::peer_watch::PeerWatch;
use super::registry::Registry;
use super::sharing::index::SharingIndex;
use super::target_policy::TargetPolicy;
use super::write_limits::NamespaceWrites;
use crate::account::Accounts;
use crate::account::call_limiters::CallLimiters;
use crate::core::endpoint::AllowList;
use crate::issuer::Bundles;
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;
use crate::traces::Tracer;

/// What every reconciliation uses.
pub(super) struct Context {
    /// The API server.
    pub api_server: ApiServer,
    /// The sessions of all accounts.
    pub accounts: Arc<Accounts>,
    /// Where a password may be sent.
    pub allow_list: Arc<AllowList>,
    /// Bounds how many objects of tenants are in memory whole.
    pub large_reads: Arc<LargeReads>,
    /// The CA bundles that are in use.
    pub bundles: Arc<Bundles>,
    /// How much is written in each namespace.
    pub writes: Arc<NamespaceWrites>,
    /// Whether the labels of namespaces are read, for selectors.
    pub reads_namespace_labels: bool,
    /// Which Secrets may be written.
    pub target_policy: TargetPolicy,
    /// What the watches have shown.
    pub registry: Arc<Registry>,
    /// The registries of all areas, which share the sessions.
    pub registries: Arc<[Arc<Registry>]>,
    /// The queue of Events.
    pub publisher: Arc<EventPublisher>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Whether this process may act.
    pub leader_election: Arc<LeaderElection>,
    /// What is known about other controllers.
    pub peers: Arc<PeerWatch>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is traced.
    pub tracer: Tracer,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
    /// How many credentials are worked on at once, and whose turn it is.
    pub reconcile_limiter: Arc<CallLimiters<()>>,
}

impl Context {
    /// The present term, if this process may act now and knows what the leader before has written.
    pub(super) fn term(&self) -> Option<Term> {
        self.leader_election.term().filter(|term| self.registry.handover.is_over(*term))
    }

    /// The registry of the area with this namespace; none if no area has it.
    pub(super) fn area_of(&self, namespace: &str) -> Option<&Arc<Registry>> {
        self.registries.iter().find(|registry| registry.covers(namespace))
    }

    /// Who follows whom, in all areas.
    pub(super) fn sharing(&self) -> &SharingIndex {
        &self.registry.sharing
    }

    /// Waits until an object of this namespace may be read whole.
    pub(super) async fn read_permit(&self, namespace: &str) -> ReadPermit {
        self.large_reads.enter(namespace, self.clock.now()).await
    }
}
