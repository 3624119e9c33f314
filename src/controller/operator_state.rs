//! What a scrape reads of the running operator.

use std::sync::{Arc, Weak};

use super::leader_election::LeaderElection;
use super::registry::Registry;
use super::waker::Waker;
use crate::account::{Accounts, AccountsLoad};
use crate::ops::clock::Clock;
use crate::ops::metrics::{Metrics, OperatorState};

/// The parts of an operator that a scrape reads.
pub(super) struct StateSource {
    /// Not kept alive: accounts count in the metrics that hold this.
    accounts: Weak<Accounts>,
    leader_election: Arc<LeaderElection>,
    registries: Vec<Arc<Registry>>,
    clock: Arc<dyn Clock>,
}

impl StateSource {
    /// Of these parts.
    pub(super) fn new(
        accounts: &Arc<Accounts>,
        leader_election: &Arc<LeaderElection>,
        areas: &[(Arc<Registry>, Waker)],
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let (accounts, leader_election) = (Arc::downgrade(accounts), Arc::clone(leader_election));
        let registries = areas.iter().map(|(registry, _)| Arc::clone(registry)).collect();
        Self { accounts, leader_election, registries, clock: Arc::clone(clock) }
    }

    /// Has scrapes show it.
    pub(super) fn show_in(self, metrics: &Metrics) {
        metrics.show_state(move || self.read());
    }

    /// The state now.
    fn read(&self) -> OperatorState {
        let now = self.clock.now();
        let waits: Vec<_> = self.registries.iter().flat_map(|it| it.wake_ups.overdue(now)).collect();
        let AccountsLoad { held, in_flight, waiting, circuits } =
            self.accounts.upgrade().map(|accounts| accounts.load(now)).unwrap_or_default();
        OperatorState {
            now: now.wall,
            queued: waits.len(),
            longest_queued: waits.into_iter().max().unwrap_or_default(),
            calls_in_flight: in_flight,
            calls_waiting: waiting,
            held_logins: held,
            circuits,
            lease_renewed: self.leader_election.renewed(),
        }
    }
}
