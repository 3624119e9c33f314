//! What a new leader knows of the last writes of the leader before.
//!
//! It must decide by no status that is older than the last write of the leader before: it would call the issuer again for a
//! token that is there, or present a rejected password once more. A watch does not say how far it is behind. To read each
//! credential costs a request each; one list costs a request a page, and is as good:
//!
//! 1. The lease is ours. What the leader before has written was committed earlier: it begins no write after its time, and
//!    those under way end within it (`LeaderElection::left`).
//! 2. Only then does the list begin. It names no resourceVersion, so the API server answers as of a revision that is not
//!    older than the request; and its continue tokens show all pages as of that revision. So it contains all these writes.
//! 3. The list says in which version each credential is: its last write made it. Versions of one name only grow, also if
//!    it is deleted and created again. So an object of that version or a later one contains that write.
//! 4. A credential that is not in the list did not exist then. One that is created later was never written by the leader
//!    before, and of one that is gone already the watch will say so: nothing of it can be written any more.
//!
//! So an object from the watch is good if it has at least the version of the list, or is not in the list. The others, which
//! changed right before, are read. The first list of the watch itself serves as well, if it began in the term: then no
//! object is older than it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::api_server::ApiServer;
use super::leader_election::{LeaderElection, Term};
use super::registry::Registry;
use super::waker::{self, Waker};
use crate::core::object_name::NamespacedName;

/// The versions of credentials, by their names: numbers, which grow with each write.
pub(super) type Versions = HashMap<NamespacedName, u64>;

/// What is known of the last writes of the leader before, in one watched area.
#[derive(Default)]
pub(super) struct Handover(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The term in which the first list of the watch began.
    first_list: Option<Term>,
    /// The last term whose leader knows.
    over: Option<Term>,
    /// The versions that credentials had at least when it began, until each is taken over; none if the list failed.
    versions: Option<Versions>,
}

impl Handover {
    /// The first list of the watch begins, or begins anew.
    pub(super) fn on_first_list(&self, term: Option<Term>) {
        self.lock().first_list = term;
    }

    /// The first list of the watch is complete.
    pub(super) fn on_first_list_end(&self) {
        let begun = self.lock().first_list;
        if let Some(term) = begun {
            self.end(term, Some(Versions::new()));
        }
    }

    /// Credentials had these versions at least when the term began. None if that could not be found out.
    fn end(&self, term: Term, versions: Option<Versions>) {
        let mut inner = self.lock();
        if inner.over.is_none_or(|over| over.number < term.number) {
            (inner.over, inner.versions) = (Some(term), versions);
        }
    }

    /// Whether credentials may be taken over in this term.
    pub(super) fn is_over(&self, term: Term) -> bool {
        !term.follows_another || self.lock().over == Some(term)
    }

    /// Whether a credential of this version contains the last write of the leader before.
    pub(super) fn is_current(&self, key: &NamespacedName, version: &str) -> bool {
        let mut inner = self.lock();
        let Some(versions) = &mut inner.versions else { return false };
        let Some(needed) = versions.get(key) else { return true };
        let is_current = version.parse().is_ok_and(|version: u64| version >= *needed);
        if is_current {
            versions.remove(key);
            if versions.is_empty() {
                *versions = Versions::new();
            }
        }
        is_current
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes over the credentials of each area whenever this process has begun to lead, until `stop`.
pub(super) async fn take_over(
    api_server: ApiServer,
    leader_election: Arc<LeaderElection>,
    areas: Vec<(Arc<Registry>, Waker)>,
    gained: watch::Receiver<()>,
    stop: CancellationToken,
) {
    // An area that cannot be listed keeps back no other.
    let terms = areas.iter().map(|area| {
        let (mut gained, api_server, leader_election) = (gained.clone(), &api_server, &leader_election);
        async move {
            while gained.changed().await.is_ok() {
                take_over_area(api_server, leader_election, area).await;
            }
        }
    });
    tokio::select! {
        _ = join_all(terms) => {}
        () = stop.cancelled() => {}
    }
}

/// Finds out how old the statuses of an area may be, and then wakes all of its credentials.
async fn take_over_area(
    api_server: &ApiServer,
    leader_election: &LeaderElection,
    (registry, waker): &(Arc<Registry>, Waker),
) {
    registry.credentials.synced().await;
    let Some(term) = leader_election.term() else { return };
    registry.quotas.reassign();
    if !registry.handover.is_over(term) {
        let listed = api_server.list_versions(registry.namespace()).await;
        let listed = listed.inspect_err(|error| {
            tracing::warn!("list versions of IdIssuerCredentials: {error}; each credential is read instead");
        });
        registry.handover.end(term, listed.ok());
    }
    waker::wake(waker, registry.credentials.keys());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(number: u64) -> Term {
        Term { number, follows_another: true, ..Term::default() }
    }

    fn key(name: &str) -> NamespacedName {
        NamespacedName::new("shop", name)
    }

    fn versions<const N: usize>(of: [(&str, u64); N]) -> Versions {
        of.map(|(name, version)| (key(name), version)).into()
    }

    #[test]
    fn an_object_is_good_from_the_version_on_that_the_list_shows() {
        let handover = Handover::default();
        assert!(!handover.is_over(term(1)));
        handover.end(term(1), Some(versions([("late", 12), ("same", 9)])));
        assert!(handover.is_over(term(1)) && !handover.is_over(term(2)));
        assert!(!handover.is_current(&key("late"), "9"), "as numbers, not as texts");
        assert!(!handover.is_current(&key("late"), "11") && !handover.is_current(&key("late"), "opaque"));
        assert!(handover.is_current(&key("late"), "12") && handover.is_current(&key("same"), "9"));
        assert!(handover.is_current(&key("created since"), "13"));
        assert!(
            handover.lock().versions.as_ref().is_some_and(|left| left.capacity() == 0),
            "all are taken over"
        );
    }

    #[test]
    fn without_a_list_no_object_is_good() {
        let handover = Handover::default();
        handover.end(term(1), None);
        assert!(handover.is_over(term(1)) && !handover.is_current(&key("a"), "9"));
    }

    #[test]
    fn the_first_list_of_the_watch_serves_as_well_if_it_began_in_the_term() {
        let standby = Handover::default();
        standby.on_first_list(None);
        standby.on_first_list_end();
        assert!(!standby.is_over(term(1)));
        let leader = Handover::default();
        leader.on_first_list(Some(term(1)));
        leader.on_first_list_end();
        assert!(leader.is_over(term(1)) && leader.is_current(&key("a"), "9"));
        assert!(!leader.is_over(term(2)), "another replica may have led between");
        let lost = Handover::default();
        lost.on_first_list(Some(term(1)));
        lost.on_first_list(None);
        lost.on_first_list_end();
        assert!(!lost.is_over(term(1)), "the list began anew when it led no more");
    }

    #[test]
    fn what_is_found_out_late_does_not_end_a_later_term() {
        let handover = Handover::default();
        handover.end(term(2), Some(versions([("a", 9)])));
        handover.end(term(1), Some(versions([])));
        assert!(handover.is_over(term(2)) && !handover.is_current(&key("a"), "8"));
    }

    #[test]
    fn without_other_replicas_there_is_nobody_to_take_over_from() {
        assert!(Handover::default().is_over(Term::default()));
    }
}
