//! Keeps first logins back until every rejection that status remembers has found its account.
//!
//! Before, nobody can tell whether a login that looks new is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::leader_election::Term;
use crate::core::object_name::NamespacedName;

/// The rejections that the credentials of one watched area remember in their status.
#[derive(Default)]
pub(in crate::controller) struct RejectionBarrier(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether all credentials were listed once.
    is_listed: bool,
    credentials: BTreeMap<NamespacedName, Entry>,
    /// The term that `unresolved` is of.
    term: Option<Term>,
    /// Those whose rejection has not found its account in this term.
    unresolved: BTreeSet<NamespacedName>,
}

#[derive(Default)]
struct Entry {
    /// Whether its status remembers that its login was rejected.
    is_rejected: bool,
    /// The term in which it was matched to its account, or turned out to have none.
    resolved: Option<Term>,
    /// The term in which this failed.
    unresolvable: Option<Term>,
}

impl Entry {
    fn is_unresolved(&self, term: Option<Term>) -> bool {
        self.is_rejected && (self.resolved.is_none() || self.resolved != term)
    }
}

impl RejectionBarrier {
    /// The watch shows a credential, and whether its status remembers a rejection.
    pub(super) fn on_applied(&self, key: &NamespacedName, is_rejected: bool) {
        let mut inner = self.lock();
        inner.credentials.entry(key.clone()).or_default().is_rejected = is_rejected;
        inner.update(key);
    }

    /// The credential is gone.
    pub(super) fn remove(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        inner.credentials.remove(key);
        inner.unresolved.remove(key);
    }

    /// A list of all credentials is complete.
    pub(super) fn on_list_end(&self) {
        self.lock().is_listed = true;
    }

    /// The login record in status was matched to its account, or turned out to have none.
    pub(in crate::controller) fn resolved(&self, key: &NamespacedName, term: Term) {
        let mut inner = self.lock();
        if let Some(entry) = inner.credentials.get_mut(key) {
            entry.resolved = Some(term);
            inner.update(key);
        }
    }

    /// Matching failed: something it needs is unreadable, or changes all the time.
    pub(in crate::controller) fn unresolvable(&self, key: &NamespacedName, term: Term) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.unresolvable = Some(term);
        }
    }

    /// Whether all credentials are listed, and all rejections in status are matched to their accounts in this term. With
    /// `impatient`, ignores incomplete lists and rejections that could not be resolved.
    pub(in crate::controller) fn is_open(&self, term: Term, impatient: bool) -> bool {
        let mut inner = self.lock();
        inner.begin_term(term);
        if !impatient {
            return inner.is_listed && inner.unresolved.is_empty();
        }
        let is_in_vain = |key| inner.credentials.get(key).is_some_and(|it| it.unresolvable == Some(term));
        inner.unresolved.iter().all(is_in_vain)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Looks for all that is not resolved in this term, unless that was done.
    fn begin_term(&mut self, term: Term) {
        if self.term == Some(term) {
            return;
        }
        self.term = Some(term);
        let unresolved = self.credentials.iter().filter(|(_, entry)| entry.is_unresolved(Some(term)));
        self.unresolved = unresolved.map(|(key, _)| key.clone()).collect();
    }

    /// Looks whether a credential is resolved in this term.
    fn update(&mut self, key: &NamespacedName) {
        if self.credentials.get(key).is_some_and(|entry| entry.is_unresolved(self.term)) {
            self.unresolved.insert(key.clone());
        } else {
            self.unresolved.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::key;
    use super::*;

    fn next_term() -> Term {
        Term { number: 2, follows_another: true, ..Term::default() }
    }

    #[test]
    fn a_first_login_waits_until_every_remembered_rejection_has_found_its_account() {
        let (barrier, term) = (RejectionBarrier::default(), Term::default());
        barrier.on_applied(&key("new"), false);
        assert!(!barrier.is_open(term, false), "more may be listed");
        barrier.on_applied(&key("held"), true);
        barrier.on_list_end();
        assert!(!barrier.is_open(term, false));
        barrier.resolved(&key("new"), term);
        assert!(!barrier.is_open(term, false));
        barrier.resolved(&key("held"), term);
        assert!(barrier.is_open(term, false));
        assert!(!barrier.is_open(next_term(), false), "in each term anew");
        barrier.on_applied(&key("held"), false);
        assert!(barrier.is_open(next_term(), false), "its status remembers none any more");
    }

    #[test]
    fn a_first_login_waits_for_unchecked_credentials_but_not_forever_for_unreadable_ones() {
        let (barrier, term) = (RejectionBarrier::default(), Term::default());
        barrier.on_applied(&key("held"), true);
        assert!(!barrier.is_open(term, true), "nobody has looked");
        barrier.unresolvable(&key("held"), term);
        assert!(!barrier.is_open(term, false), "it may be read the next time");
        assert!(barrier.is_open(term, true));
        assert!(!barrier.is_open(next_term(), true), "in each term anew");
    }

    #[test]
    fn a_deleted_credential_delays_no_other_and_a_recreated_one_is_checked_again() {
        let (barrier, term) = (RejectionBarrier::default(), Term::default());
        barrier.on_list_end();
        barrier.on_applied(&key("held"), true);
        barrier.resolved(&key("held"), term);
        barrier.remove(&key("held"));
        barrier.resolved(&key("held"), term);
        barrier.on_applied(&key("held"), true);
        assert!(!barrier.is_open(term, false), "made anew");
        barrier.remove(&key("held"));
        assert!(barrier.is_open(term, false) && barrier.is_open(next_term(), false));
    }
}
