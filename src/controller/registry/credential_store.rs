//! The credentials that the watch has shown, by name and by uid, with what this process remembers of each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::super::guarded::Guarded;
use super::super::packed::PackedCredential;
use super::super::state::CredentialState;
use super::snapshot::CredentialSnapshot;
use crate::core::object_name::NamespacedName;
use crate::core::time::Moment;

/// What this process remembers of one credential.
pub(in crate::controller) type SharedState = Arc<tokio::sync::Mutex<CredentialState>>;

/// The credentials of one watched area.
pub(in crate::controller) struct CredentialStore {
    inner: Mutex<Inner>,
    synced: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    // In order, so that a run can be repeated.
    credentials: BTreeMap<NamespacedName, Box<Entry>>,
    /// Their names by their uids.
    uids: HashMap<Arc<str>, NamespacedName>,
    /// The credentials that the current list has shown so far.
    listed: Option<HashSet<NamespacedName>>,
}

struct Entry {
    snapshot: CredentialSnapshot,
    /// What is kept of it, once the list that showed it is complete.
    packed: Option<PackedCredential>,
    /// Since when its specification is known.
    generation_since: Moment,
    state: SharedState,
}

/// What decides when it is a credential's turn.
pub(in crate::controller) struct TurnFacts {
    /// The credential that it follows.
    pub followed: Option<NamespacedName>,
    /// When its published token expires, as far as the watch has shown.
    pub expiration: Option<Timestamp>,
}

/// What a snapshot of a credential changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Same,
    /// It is new.
    Added,
    /// It was like this before.
    Updated(CredentialSnapshot),
    /// Another one, of another uid, had its name before.
    Replaced(CredentialSnapshot),
}

impl CredentialStore {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), synced: watch::Sender::new(false) }
    }

    /// The watch shows a credential.
    pub(super) fn on_applied(
        &self,
        key: &NamespacedName,
        snapshot: CredentialSnapshot,
        now: Moment,
    ) -> Change {
        let mut inner = self.lock();
        if let Some(listed) = &mut inner.listed {
            listed.insert(key.clone());
        }
        match inner.credentials.get_mut(key) {
            Some(entry) if entry.snapshot == snapshot => Change::Same,
            Some(entry) if entry.snapshot.uid == snapshot.uid => {
                if entry.snapshot.generation != snapshot.generation {
                    entry.generation_since = now;
                }
                Change::Updated(std::mem::replace(&mut entry.snapshot, snapshot))
            }
            _ => {
                let previous = inner.remove(key);
                inner.uids.insert(Arc::clone(&snapshot.uid), key.clone());
                let state = SharedState::default();
                let entry = Entry { snapshot, packed: None, generation_since: now, state };
                inner.credentials.insert(key.clone(), Box::new(entry));
                previous.map_or(Change::Added, Change::Replaced)
            }
        }
    }

    /// The name of a credential as the parts share it.
    #[must_use]
    pub(in crate::controller) fn shared_key(&self, key: NamespacedName) -> NamespacedName {
        self.lock().credentials.get_key_value(&key).map_or(key, |(shared, _)| shared.clone())
    }

    /// Keeps a credential as it was shown last.
    pub(in crate::controller) fn keep(&self, key: &NamespacedName, packed: PackedCredential) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.packed = Some(packed);
        }
    }

    /// Keeps a credential without its status from now on, as this process remembers that one.
    pub(super) fn leave_out_status(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        let packed = inner.credentials.get_mut(key).and_then(|entry| entry.packed.as_mut());
        if let Some(Err(error)) = packed.map(PackedCredential::leave_out_status) {
            error.log(key);
        }
    }

    /// A credential as it was kept last.
    #[must_use]
    pub(in crate::controller) fn object(&self, key: &NamespacedName) -> Option<Guarded> {
        let unpacked = self.lock().credentials.get(key)?.packed.as_ref()?.unpack();
        unpacked.inspect_err(|error| error.log(key)).ok()
    }

    /// What decides when it is a credential's turn, if it is kept.
    #[must_use]
    pub(in crate::controller) fn turn_facts(&self, key: &NamespacedName) -> Option<TurnFacts> {
        let inner = self.lock();
        let Entry { snapshot, packed, .. } = &**inner.credentials.get(key)?;
        let followed = snapshot.sharing.followed().cloned();
        Some(TurnFacts { followed, expiration: packed.as_ref()?.expiration() })
    }

    /// A credential is gone. Returns what was known of it.
    pub(super) fn on_deleted(&self, key: &NamespacedName) -> Option<CredentialSnapshot> {
        self.lock().remove(key)
    }

    /// A new list of credentials begins.
    pub(super) fn on_relist(&self) {
        self.lock().listed = Some(HashSet::new());
    }

    /// A list of credentials is complete: what was not in it is gone. Returns that.
    pub(super) fn on_list_end(&self) -> Vec<(NamespacedName, CredentialSnapshot)> {
        let mut inner = self.lock();
        let listed = inner.listed.take().unwrap_or_default();
        let is_gone = |key: &&NamespacedName| !listed.contains(*key);
        let gone: Vec<NamespacedName> = inner.credentials.keys().filter(is_gone).cloned().collect();
        gone.into_iter().filter_map(|key| inner.remove(&key).map(|snapshot| (key, snapshot))).collect()
    }

    /// Says that the first list was taken in by all who need it.
    pub(super) fn set_synced(&self) {
        self.synced.send_replace(true);
    }

    /// Waits until the first list of credentials is complete, so that it is known which Secrets they name.
    pub(in crate::controller) async fn synced(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Whether the first list of credentials is complete.
    pub(in crate::controller) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// What is remembered of the credential with this name and uid.
    #[must_use]
    pub(in crate::controller) fn state(&self, key: &NamespacedName, uid: &str) -> Option<SharedState> {
        let inner = self.lock();
        let entry = inner.credentials.get(key).filter(|entry| *entry.snapshot.uid == *uid)?;
        Some(Arc::clone(&entry.state))
    }

    /// The uid of the credential with this name, and what is remembered of it.
    #[must_use]
    pub(in crate::controller) fn uid_and_state(
        &self,
        key: &NamespacedName,
    ) -> Option<(Arc<str>, SharedState)> {
        let inner = self.lock();
        let entry = inner.credentials.get(key)?;
        Some((Arc::clone(&entry.snapshot.uid), Arc::clone(&entry.state)))
    }

    /// The credential with this uid.
    #[must_use]
    pub(in crate::controller) fn find(&self, uid: &str) -> Option<NamespacedName> {
        self.lock().uids.get(uid).cloned()
    }

    /// The generation of a credential's specification, as the watch shows it.
    pub(in crate::controller) fn generation(&self, key: &NamespacedName) -> Option<i64> {
        self.lock().credentials.get(key)?.snapshot.generation
    }

    /// Since when a credential's specification is known.
    pub(in crate::controller) fn generation_since(&self, key: &NamespacedName) -> Option<Moment> {
        self.lock().credentials.get(key).map(|entry| entry.generation_since)
    }

    /// All credentials.
    pub(in crate::controller) fn keys(&self) -> Vec<NamespacedName> {
        self.lock().credentials.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, key: &NamespacedName) -> Option<CredentialSnapshot> {
        let snapshot = self.credentials.remove(key)?.snapshot;
        self.uids.remove(&snapshot.uid);
        Some(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, key, snapshot};
    use super::*;

    #[test]
    fn a_credential_is_found_by_its_uid_while_it_is_there_and_under_no_other() {
        let store = CredentialStore::new();
        assert_eq!(store.on_applied(&key("a"), snapshot("u1", &[]), at(0)), Change::Added);
        store.on_applied(&key("b"), snapshot("u2", &[]), at(0));
        assert_eq!((store.find("u1"), store.find("u2")), (Some(key("a")), Some(key("b"))));
        let replaced = Change::Replaced(snapshot("u1", &[]));
        assert_eq!(store.on_applied(&key("a"), snapshot("u3", &[]), at(0)), replaced);
        assert_eq!((store.find("u1"), store.find("u3")), (None, Some(key("a"))), "made anew");
        store.on_deleted(&key("a"));
        store.on_deleted(&key("b"));
        assert_eq!((store.find("u2"), store.find("u3")), (None, None));
        assert!(store.lock().uids.is_empty());
    }

    #[test]
    fn a_credential_that_was_made_anew_remembers_nothing() {
        let store = CredentialStore::new();
        store.on_applied(&key("a"), snapshot("u1", &[]), at(0));
        let before = store.state(&key("a"), "u1").unwrap();
        store.on_applied(&key("a"), snapshot("u2", &[]), at(0));
        assert!(store.state(&key("a"), "u1").is_none());
        assert!(!Arc::ptr_eq(&before, &store.state(&key("a"), "u2").unwrap()));
    }

    #[test]
    fn a_specification_is_known_since_its_generation_was_shown() {
        let store = CredentialStore::new();
        let of_generation = |generation| CredentialSnapshot { generation, ..snapshot("u1", &[]) };
        store.on_applied(&key("a"), of_generation(Some(1)), at(1));
        assert_eq!(store.on_applied(&key("a"), of_generation(Some(1)), at(2)), Change::Same);
        let requested = CredentialSnapshot { renew_request: Some("now".into()), ..of_generation(Some(1)) };
        let updated = Change::Updated(of_generation(Some(1)));
        assert_eq!(store.on_applied(&key("a"), requested, at(3)), updated);
        assert_eq!(store.generation_since(&key("a")), Some(at(1)));
        store.on_applied(&key("a"), of_generation(Some(2)), at(4));
        assert_eq!((store.generation_since(&key("a")), store.generation(&key("a"))), (Some(at(4)), Some(2)));
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let store = CredentialStore::new();
        store.on_relist();
        store.on_applied(&key("a"), snapshot("u1", &[]), at(0));
        store.on_applied(&key("b"), snapshot("u2", &[]), at(0));
        assert_eq!(store.on_list_end(), []);
        store.on_relist();
        store.on_applied(&key("a"), snapshot("u1", &[]), at(0));
        assert_eq!(store.on_list_end(), [(key("b"), snapshot("u2", &[]))]);
        assert_eq!(store.keys(), [key("a")]);
    }
}
