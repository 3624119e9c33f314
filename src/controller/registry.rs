//! What the watches have shown: which credentials there are, which Secrets they name, and in which versions.
//!
//! Secrets themselves are not kept, and of those that no credential names nothing at all: memory does not depend on
//! them.

mod quota;
mod secrets;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::leader_election::Term;
use super::state::CredentialState;
use quota::{NamespaceQuotas, QuotaRank};
use secrets::Watched;
pub(super) use snapshot::{CredentialNews, Remarks, Sighting};

use super::status_watch::{StatusMark, StatusWatch};
use crate::api::IdIssuerCredentialStatus;
use crate::core::schedule::TimeScale;
use crate::core::time::Moment;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

struct Entry {
    sighting: Sighting,
    /// Since when its specification is known.
    generation_since: Moment,
    memory: Arc<tokio::sync::Mutex<CredentialState>>,
    errors: u32,
    /// The pace that its tokens set.
    pace: TimeScale,
    /// When the queue must have woken it.
    wake_up: Option<Moment>,
    /// Whether its status remembers that its login was rejected.
    is_rejected: bool,
    /// What is known of its status, to detect whether someone else changed it.
    status: StatusWatch,
    /// When it gets a place, beside others.
    rank: QuotaRank,
    /// The term in which it was matched to its account, or turned out to have none.
    resolved: Option<Term>,
    /// The term in which this failed.
    unresolvable: Option<Term>,
}

impl Entry {
    /// Whether its status remembers a rejection that has not found its account in this term.
    fn is_unresolved(&self, term: Option<Term>) -> bool {
        self.is_rejected && !self.sighting.deleting && (self.resolved.is_none() || self.resolved != term)
    }
}

/// The credentials whose status remembers a rejection that has not found its account in this term.
#[derive(Default)]
struct Unresolved {
    term: Option<Term>,
    keys: BTreeSet<ObjectKey>,
}

struct Inner {
    // In order, so that a run can be repeated.
    credentials: BTreeMap<ObjectKey, Entry>,
    secrets: BTreeMap<ObjectKey, Watched>,
    /// The keys of the credentials by their uids.
    uids: HashMap<String, ObjectKey>,
    unresolved: Unresolved,
    places: NamespaceQuotas,
    /// The credentials that the current list has shown so far.
    listed_credentials: Option<HashSet<ObjectKey>>,
    listed_secrets: Option<HashSet<ObjectKey>>,
}

/// Everything that is known of one watched area.
pub(super) struct Registry {
    inner: Mutex<Inner>,
    credentials_synced: watch::Sender<bool>,
    secrets_synced: watch::Sender<bool>,
}

impl Registry {
    /// Starts empty, with this many managed credentials per namespace.
    pub(super) fn new(limit: usize) -> Self {
        let unsynced = || watch::Sender::new(false);
        let inner = Inner {
            credentials: BTreeMap::new(),
            secrets: BTreeMap::new(),
            uids: HashMap::new(),
            unresolved: Unresolved::default(),
            places: NamespaceQuotas::new(limit),
            listed_credentials: None,
            listed_secrets: None,
        };
        Self { inner: Mutex::new(inner), credentials_synced: unsynced(), secrets_synced: unsynced() }
    }

    /// Stores a credential from the watch. Its status causes work only if someone else changed it.
    pub(super) fn on_credential_applied(
        &self,
        key: &ObjectKey,
        sighting: Sighting,
        remarks: Remarks,
        now: Moment,
    ) -> CredentialNews {
        let mut inner = self.lock();
        let mut is_undone = false;
        if let Some(entry) = inner.credentials.get_mut(key) {
            entry.is_rejected = remarks.is_rejected;
            entry.rank.is_without_token = !remarks.has_token;
            is_undone = entry.status.shows(remarks.status);
        }
        inner.resolve(key);
        if let Some(listed) = &mut inner.listed_credentials {
            listed.insert(key.clone());
        }
        let known = inner.credentials.get(key);
        if known.is_some_and(|entry| entry.sighting == sighting) {
            return CredentialNews { is_work: is_undone, ..CredentialNews::default() };
        }
        let is_same = known.is_some_and(|entry| entry.sighting.uid == sighting.uid);
        let replaced = if is_same { None } else { inner.forget(key) };
        inner.relink(key, &sighting.secrets);
        let (is_without_token, created) = (!remarks.has_token, remarks.created);
        let rank = QuotaRank { is_without_token, created, name: key.name.clone() };
        if let Some(entry) = inner.credentials.get_mut(key) {
            if entry.sighting.generation != sighting.generation {
                entry.generation_since = now;
            }
            entry.sighting = sighting;
        } else {
            let entry = Entry {
                sighting,
                generation_since: now,
                memory: Arc::default(),
                errors: 0,
                pace: TimeScale::FULL,
                wake_up: None,
                is_rejected: remarks.is_rejected,
                status: StatusWatch::new(remarks.status),
                rank: rank.clone(),
                resolved: None,
                unresolvable: None,
            };
            inner.uids.insert(entry.sighting.uid.clone(), key.clone());
            inner.credentials.insert(key.clone(), entry);
            inner.places.comes(&key.namespace, rank);
        }
        inner.resolve(key);
        // The oldest credentials are unknown before the list is complete.
        let placed =
            if inner.listed_credentials.is_none() { inner.places.fill(&key.namespace) } else { Vec::new() };
        CredentialNews { is_work: true, replaced, placed }
    }

    /// A credential was deleted. Returns its uid, and the credential that takes its place.
    pub(super) fn on_credential_deleted(&self, key: &ObjectKey) -> (Option<String>, Vec<ObjectKey>) {
        let mut inner = self.lock();
        let uid = inner.forget(key);
        let is_listing = inner.listed_credentials.is_some();
        (uid, if is_listing { Vec::new() } else { inner.places.fill(&key.namespace) })
    }

    /// A new list of credentials begins.
    pub(super) fn on_credential_relist(&self) {
        self.lock().listed_credentials = Some(HashSet::new());
    }

    /// A list of credentials is complete: credentials that were not in it are deleted. Returns their uids, and the
    /// credentials that are managed from now on.
    pub(super) fn on_credential_list_end(&self) -> (Vec<String>, Vec<ObjectKey>) {
        let mut inner = self.lock();
        let listed = inner.listed_credentials.take().unwrap_or_default();
        let gone: Vec<ObjectKey> =
            inner.credentials.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        let uids = gone.iter().filter_map(|key| inner.forget(key)).collect();
        let placed = inner.places.fill_all();
        drop(inner);
        self.credentials_synced.send_replace(true);
        (uids, placed)
    }

    /// Whether a credential is worked on; if not, how many of its namespace are.
    pub(super) fn has_place(&self, key: &ObjectKey) -> Result<(), usize> {
        let places = &self.lock().places;
        if places.has(key) { Ok(()) } else { Err(places.limit()) }
    }

    /// Assigns all places again, as a new leader must: another process may have managed other credentials.
    pub(super) fn gives_places_anew(&self) {
        let mut inner = self.lock();
        let Inner { credentials, places, listed_credentials, .. } = &mut *inner;
        *places = NamespaceQuotas::new(places.limit());
        for (key, entry) in credentials {
            places.comes(&key.namespace, entry.rank.clone());
        }
        if listed_credentials.is_none() {
            places.fill_all();
        }
    }

    /// Waits until the first list of credentials is complete, so that it is known which Secrets they name.
    pub(super) async fn credentials_synced(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.credentials_synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// What is remembered of the credential with this uid.
    #[must_use]
    pub(super) fn memory(
        &self,
        key: &ObjectKey,
        uid: &str,
    ) -> Option<Arc<tokio::sync::Mutex<CredentialState>>> {
        let inner = self.lock();
        let entry = inner.credentials.get(key).filter(|entry| entry.sighting.uid == uid)?;
        Some(Arc::clone(&entry.memory))
    }

    /// This process begins to write this status.
    pub(super) fn writes_status(&self, key: &ObjectKey, status: &IdIssuerCredentialStatus) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.status.begins(status);
        }
    }

    /// This process has written a credential's status, or has taken it over as it stood.
    pub(super) fn leaves_status(&self, key: &ObjectKey, mark: Option<StatusMark>) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.status.leaves(mark);
        }
    }

    /// Whether someone else changed a credential's status since then.
    #[must_use]
    pub(super) fn is_status_undone(&self, key: &ObjectKey) -> bool {
        self.lock().credentials.get(key).is_some_and(|entry| entry.status.is_undone())
    }

    /// Whether the API server has dropped the controller's name from the status that was written last.
    #[must_use]
    pub(super) fn is_status_pruned(&self, key: &ObjectKey) -> bool {
        self.lock().credentials.get(key).is_some_and(|entry| entry.status.is_pruned())
    }

    /// The generation of a credential's specification, as the watch shows it.
    pub(super) fn generation(&self, key: &ObjectKey) -> Option<i64> {
        self.lock().credentials.get(key)?.sighting.generation
    }

    /// Since when a credential's specification is known.
    pub(super) fn generation_since(&self, key: &ObjectKey) -> Option<Moment> {
        self.lock().credentials.get(key).map(|entry| entry.generation_since)
    }

    /// The login record in status was matched to its account, or turned out to have none.
    pub(super) fn resolved(&self, key: &ObjectKey, term: Term) {
        let mut inner = self.lock();
        if let Some(entry) = inner.credentials.get_mut(key) {
            entry.resolved = Some(term);
            inner.resolve(key);
        }
    }

    /// Matching failed: something it needs is unreadable, or changes all the time.
    pub(super) fn unresolvable(&self, key: &ObjectKey, term: Term) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.unresolvable = Some(term);
        }
    }

    /// Whether all credentials are listed, and all rejections in status are matched to their accounts in this term:
    /// before, it is unknown whether a new login is held. With `impatient`, ignore incomplete lists and rejections that
    /// could not be resolved.
    pub(super) fn are_rejections_resolved(&self, term: Term, impatient: bool) -> bool {
        let mut inner = self.lock();
        inner.begin_term(term);
        let is_in_vain = |key| inner.credentials.get(key).is_some_and(|it| it.unresolvable == Some(term));
        let keys = &inner.unresolved.keys;
        let is_resolved = if impatient { keys.iter().all(is_in_vain) } else { keys.is_empty() };
        is_resolved && (impatient || *self.credentials_synced.borrow())
    }

    /// The credential with this uid.
    #[must_use]
    pub(super) fn find(&self, uid: &str) -> Option<ObjectKey> {
        self.lock().uids.get(uid).cloned()
    }

    /// Notes when the queue will wake a credential.
    pub(super) fn schedule_wake_up(&self, key: &ObjectKey, wake_up: Option<Moment>) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.wake_up = wake_up;
        }
    }

    /// The credentials that should have been woken by then, and were not. Each is named once for a wake-up.
    pub(super) fn late(&self, then: Moment) -> Vec<ObjectKey> {
        let mut inner = self.lock();
        let mut late = Vec::new();
        for (key, entry) in &mut inner.credentials {
            if entry.wake_up.take_if(|moment| moment.is_reached(then)).is_some() {
                late.push(key.clone());
            }
        }
        late
    }

    /// The keys of all credentials.
    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.lock().credentials.keys().cloned().collect()
    }

    /// Counts consecutive errors; returns their number including this one, and the pace of retries.
    pub(super) fn count_error(&self, key: &ObjectKey) -> (u32, TimeScale) {
        let mut inner = self.lock();
        inner.credentials.get_mut(key).map_or((1, TimeScale::FULL), |entry| {
            entry.errors = entry.errors.saturating_add(1);
            (entry.errors, entry.pace)
        })
    }

    /// Notes the pace that a credential's tokens set.
    pub(super) fn set_time_scale(&self, key: &ObjectKey, pace: TimeScale) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.pace = pace;
        }
    }

    /// The row of errors is over.
    pub(super) fn clear_errors(&self, key: &ObjectKey) {
        if let Some(entry) = self.lock().credentials.get_mut(key) {
            entry.errors = 0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, key: &ObjectKey) -> Option<String> {
        self.relink(key, &BTreeSet::new());
        self.places.goes(key);
        let uid = self.credentials.remove(key)?.sighting.uid;
        self.uids.remove(&uid);
        self.unresolved.keys.remove(key);
        Some(uid)
    }

    /// Looks for all that is not resolved in this term, unless that was done.
    fn begin_term(&mut self, term: Term) {
        if self.unresolved.term == Some(term) {
            return;
        }
        let of_term = |entry: &Entry| entry.is_unresolved(Some(term));
        let unresolved = self.credentials.iter().filter(|(_, entry)| of_term(entry));
        let keys = unresolved.map(|(key, _)| key.clone()).collect();
        self.unresolved = Unresolved { term: Some(term), keys };
    }

    /// Looks whether a credential is resolved in this term.
    fn resolve(&mut self, key: &ObjectKey) {
        let Self { credentials, unresolved: Unresolved { term, keys }, .. } = self;
        if credentials.get(key).is_some_and(|entry| entry.is_unresolved(*term)) {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }

    /// Watches these Secrets for the credential, and no others.
    fn relink(&mut self, credential: &ObjectKey, secrets: &BTreeSet<String>) {
        let key = |name: &String| ObjectKey { namespace: credential.namespace.clone(), name: name.clone() };
        let before = self.credentials.get(credential).map(|entry| entry.sighting.secrets.clone());
        for name in before.iter().flatten().filter(|name| !secrets.contains(*name)) {
            if let Some(watched) = self.secrets.get_mut(&key(name)) {
                watched.credentials.remove(&credential.name);
                if watched.credentials.is_empty() {
                    self.secrets.remove(&key(name));
                }
            }
        }
        for name in secrets {
            self.secrets.entry(key(name)).or_default().credentials.insert(credential.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observed::LastSeen;
    use crate::core::target::ObjectVersion;
    use jiff::{SignedDuration, Timestamp};

    fn at(seconds: i64) -> Moment {
        let monotonic = SignedDuration::from_secs(seconds);
        Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    fn sighting(uid: &str, secrets: &[&str]) -> Sighting {
        Sighting {
            uid: uid.into(),
            generation: Some(1),
            renew_request: None,
            deleting: false,
            secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
            keeper: None,
            claim: None,
        }
    }

    fn remarks(is_rejected: bool) -> Remarks {
        Remarks { is_rejected, ..Remarks::default() }
    }

    fn version(number: u32) -> ObjectVersion {
        ObjectVersion { uid: "s".into(), resource_version: number.to_string() }
    }

    #[test]
    fn a_first_login_waits_until_every_remembered_rejection_has_found_its_account() {
        let (registry, term) = (Registry::new(10), Term::default());
        registry.on_credential_relist();
        registry.on_credential_applied(&key("new"), sighting("u2", &[]), remarks(false), at(0));
        assert!(!registry.are_rejections_resolved(term, false), "more may be listed");
        registry.on_credential_applied(&key("held"), sighting("u1", &[]), remarks(true), at(0));
        registry.on_credential_list_end();
        assert!(!registry.are_rejections_resolved(term, false));
        registry.resolved(&key("new"), term);
        assert!(!registry.are_rejections_resolved(term, false));
        registry.resolved(&key("held"), term);
        assert!(registry.are_rejections_resolved(term, false));
        let another = Term { number: 2, follows_another: true, ..Term::default() };
        assert!(!registry.are_rejections_resolved(another, false), "in each term anew");
        registry.on_credential_applied(&key("held"), sighting("u1", &[]), remarks(false), at(0));
        assert!(registry.are_rejections_resolved(another, false), "its status remembers none any more");
    }

    #[test]
    fn a_first_login_waits_for_unchecked_credentials_but_not_forever_for_unreadable_ones() {
        let (registry, term) = (Registry::new(10), Term::default());
        registry.on_credential_relist();
        registry.on_credential_applied(&key("held"), sighting("u1", &[]), remarks(true), at(0));
        assert!(!registry.are_rejections_resolved(term, true), "nobody has looked");
        registry.unresolvable(&key("held"), term);
        assert!(!registry.are_rejections_resolved(term, false), "it may be read the next time");
        assert!(registry.are_rejections_resolved(term, true));
        let another = Term { number: 2, follows_another: true, ..Term::default() };
        assert!(!registry.are_rejections_resolved(another, true), "in each term anew");
    }

    #[test]
    fn a_credential_is_found_by_its_uid_while_it_is_there_and_under_no_other() {
        let registry = Registry::new(10);
        registry.on_credential_applied(&key("a"), sighting("u1", &[]), remarks(false), at(0));
        registry.on_credential_applied(&key("b"), sighting("u2", &[]), remarks(true), at(0));
        assert_eq!((registry.find("u1"), registry.find("u2")), (Some(key("a")), Some(key("b"))));
        registry.on_credential_applied(&key("a"), sighting("u3", &[]), remarks(false), at(0));
        assert_eq!((registry.find("u1"), registry.find("u3")), (None, Some(key("a"))), "made anew");
        registry.on_credential_deleted(&key("a"));
        registry.on_credential_deleted(&key("b"));
        assert_eq!((registry.find("u2"), registry.find("u3")), (None, None));
        let inner = registry.lock();
        assert!(inner.uids.is_empty() && inner.unresolved.keys.is_empty());
    }

    #[test]
    fn only_what_can_cause_work_is_news() {
        let registry = Registry::new(10);
        assert!(
            registry
                .on_credential_applied(&key("billing"), sighting("u1", &["login"]), remarks(false), at(0))
                .is_work
        );
        assert!(
            !registry
                .on_credential_applied(&key("billing"), sighting("u1", &["login"]), remarks(false), at(0))
                .is_work,
            "the same again"
        );
        let changed = Sighting { generation: Some(2), ..sighting("u1", &["login"]) };
        assert!(registry.on_credential_applied(&key("billing"), changed, remarks(false), at(0)).is_work);
    }

    #[test]
    fn a_secret_concerns_the_credentials_that_name_it_and_an_own_write_concerns_none() {
        let registry = Registry::new(10);
        registry.on_credential_applied(
            &key("a"),
            sighting("u1", &["login", "target"]),
            remarks(false),
            at(0),
        );
        registry.on_credential_applied(&key("b"), sighting("u2", &["login"]), remarks(false), at(0));
        assert_eq!(registry.on_secret_applied(&key("login"), version(1)), [key("a"), key("b")]);
        assert_eq!(registry.on_secret_applied(&key("login"), version(1)), [], "the same again");
        assert_eq!(registry.on_secret_applied(&key("unrelated"), version(1)), []);
        registry.on_secret_written(&key("target"), version(5), registry.glance(&key("target")));
        assert_eq!(registry.on_secret_applied(&key("target"), version(5)), []);
        assert_eq!(registry.on_secret_applied(&key("target"), version(6)), [key("a")]);
        assert_eq!(registry.on_secret_deleted(&key("target"), "another"), []);
        assert_eq!(registry.on_secret_deleted(&key("target"), "s"), [key("a")]);
    }

    #[test]
    fn what_the_watch_shows_during_a_read_or_a_write_is_not_overwritten() {
        let registry = Registry::new(10);
        registry.on_credential_applied(
            &key("a"),
            sighting("u1", &["login", "target"]),
            remarks(false),
            at(0),
        );
        let glance = registry.glance(&key("login"));
        registry.on_secret_applied(&key("login"), version(9));
        registry.read_secret(&key("login"), LastSeen::Absent, glance);
        assert_eq!(registry.seen(&key("login")), LastSeen::Version(version(9)), "created after it was read");

        let glance = registry.glance(&key("target"));
        registry.on_secret_applied(&key("target"), version(5));
        registry.on_secret_deleted(&key("target"), "s");
        registry.on_secret_written(&key("target"), version(5), glance);
        assert_eq!(registry.seen(&key("target")), LastSeen::Absent, "deleted right after it was written");

        registry.read_secret(&key("target"), LastSeen::Version(version(6)), registry.glance(&key("target")));
        assert_eq!(registry.seen(&key("target")), LastSeen::Version(version(6)));
    }

    #[test]
    fn nothing_is_kept_of_secrets_that_no_credential_names() {
        let registry = Registry::new(10);
        registry.on_credential_applied(&key("a"), sighting("u1", &["login"]), remarks(false), at(0));
        for number in 0..1000 {
            registry.on_secret_applied(&key(&format!("unrelated-{number}")), version(1));
        }
        registry.on_secret_list_end();
        assert_eq!(registry.lock().secrets.len(), 1);
        assert!(registry.lock().listed_secrets.is_none());
        registry.on_credential_deleted(&key("a"));
        assert!(registry.lock().secrets.is_empty());
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let registry = Registry::new(10);
        registry.on_credential_relist();
        registry.on_credential_applied(&key("a"), sighting("u1", &["login"]), remarks(false), at(0));
        registry.on_credential_applied(&key("b"), sighting("u2", &["other"]), remarks(false), at(0));
        assert!(registry.on_credential_list_end().0.is_empty());
        registry.on_secret_applied(&key("login"), version(1));
        registry.on_credential_relist();
        registry.on_credential_applied(&key("a"), sighting("u1", &["login"]), remarks(false), at(0));
        assert_eq!(registry.on_credential_list_end().0, ["u2"]);
        registry.on_secret_relist();
        assert_eq!(registry.on_secret_list_end(), [key("a")]);
        assert_eq!(registry.seen(&key("login")), LastSeen::Absent);
    }

    #[test]
    fn what_the_queue_did_not_wake_by_either_clock_is_late_and_is_named_once() {
        let registry = Registry::new(10);
        registry.on_credential_applied(&key("a"), sighting("u1", &[]), remarks(false), at(0));
        let at = |wall: i64, monotonic: i64| Moment {
            wall: jiff::Timestamp::from_second(wall).unwrap(),
            monotonic: jiff::SignedDuration::from_secs(monotonic),
        };
        registry.schedule_wake_up(&key("a"), Some(at(1000, 100)));
        assert_eq!(registry.late(at(999, 99)), []);
        assert_eq!(registry.late(at(5000, 10)), [key("a")], "the machine was suspended");
        assert_eq!(registry.late(at(5000, 10)), []);
        registry.schedule_wake_up(&key("a"), None);
        assert_eq!(registry.late(at(9000, 900)), []);
    }

    #[test]
    fn a_credential_that_was_made_anew_remembers_nothing() {
        let registry = Registry::new(10);
        registry.on_credential_applied(&key("a"), sighting("u1", &[]), remarks(false), at(0));
        let before = registry.memory(&key("a"), "u1").unwrap();
        let news = registry.on_credential_applied(&key("a"), sighting("u2", &[]), remarks(false), at(0));
        assert_eq!(news.replaced.as_deref(), Some("u1"));
        assert!(registry.memory(&key("a"), "u1").is_none());
        assert!(!Arc::ptr_eq(&before, &registry.memory(&key("a"), "u2").unwrap()));
    }
}
