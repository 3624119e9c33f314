//! What is known of the Secrets that credentials name: in which version each was seen, read and written.
//!
//! Secrets themselves are not kept, and of those that no credential names one bit: memory does not depend on them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::name_filter::NameFilter;
use crate::core::object_name::NamespacedName;
use crate::core::observed::LastSeen;
use crate::core::target::ObjectVersion;

/// The versions of the Secrets that the credentials of one watched area name.
pub(in crate::controller) struct SecretCache {
    inner: Mutex<Inner>,
    synced: watch::Sender<bool>,
}

struct Inner {
    // In order, so that a run can be repeated.
    // Boxed: half of the places in a tree are empty.
    secrets: BTreeMap<NamespacedName, Box<Entry>>,
    /// The Secrets that the current list has shown so far.
    listed: Option<HashSet<NamespacedName>>,
    /// All Secrets that the watch has shown since the current list began, and whether that list is complete.
    shown: NameFilter,
    is_complete: bool,
}

#[derive(Default)]
struct Entry {
    seen: LastSeen,
    written: Option<ObjectVersion>,
    /// How often the watch has shown something new.
    revision: u64,
    /// The names of the credentials of its namespace that name it, in order. Mostly it is one, so this is no set.
    credentials: Vec<Arc<str>>,
}

/// How much news of a Secret there was at some moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct CacheRevision(u64);

impl SecretCache {
    pub(super) fn new() -> Self {
        let (secrets, shown) = (BTreeMap::new(), NameFilter::new());
        let inner = Inner { secrets, listed: None, shown, is_complete: false };
        Self { inner: Mutex::new(inner), synced: watch::Sender::new(false) }
    }

    /// A credential names these Secrets of its namespace from now on, and no longer those before.
    pub(super) fn link(&self, credential: &NamespacedName, before: &[Arc<str>], now: &[Arc<str>]) {
        let mut inner = self.lock();
        for name in before.iter().filter(|name| !now.contains(name)) {
            let key = credential.sibling(Arc::clone(name));
            let Some(entry) = inner.secrets.get_mut(&key) else { continue };
            if let Ok(place) = entry.credentials.binary_search(&credential.name) {
                entry.credentials.remove(place);
            }
            if entry.credentials.is_empty() {
                inner.secrets.remove(&key);
            }
        }
        for name in now {
            let entry = inner.secrets.entry(credential.sibling(Arc::clone(name))).or_default();
            if let Err(place) = entry.credentials.binary_search(&credential.name) {
                entry.credentials.insert(place, Arc::clone(&credential.name));
            }
        }
    }

    /// Takes in a Secret as the watch shows it. Returns the credentials that this concerns; an own write concerns none.
    pub(in crate::controller) fn on_applied(
        &self,
        key: &NamespacedName,
        version: ObjectVersion,
    ) -> Vec<NamespacedName> {
        let mut inner = self.lock();
        let Inner { secrets, listed, shown, .. } = &mut *inner;
        shown.insert(key);
        let Some(entry) = secrets.get_mut(key) else { return Vec::new() };
        if let Some(listed) = listed {
            listed.insert(key.clone());
        }
        let is_news = entry.seen != LastSeen::Version(version.clone());
        let is_own = entry.written.as_ref() == Some(&version);
        entry.revision += u64::from(is_news);
        entry.seen = LastSeen::Version(version);
        if is_news && !is_own { entry.concerned(key) } else { Vec::new() }
    }

    /// A Secret is gone. Returns the credentials that this concerns.
    pub(in crate::controller) fn on_deleted(&self, key: &NamespacedName, uid: &str) -> Vec<NamespacedName> {
        let mut inner = self.lock();
        let Some(entry) = inner.secrets.get_mut(key) else { return Vec::new() };
        if entry.seen.version().is_some_and(|version| *version.uid != *uid) {
            return Vec::new(); // Another one of that name was read or written since.
        }
        entry.mark_absent(key)
    }

    /// A new list of Secrets begins.
    pub(in crate::controller) fn on_relist(&self) {
        let mut inner = self.lock();
        inner.listed = Some(HashSet::new());
        inner.shown.clear();
        inner.is_complete = false;
    }

    /// A list of Secrets is complete: what was not in it is gone. Returns the credentials that this concerns.
    pub(in crate::controller) fn on_list_end(&self) -> Vec<NamespacedName> {
        let mut inner = self.lock();
        let listed = inner.listed.take().unwrap_or_default();
        inner.is_complete = true;
        let mut concerned = Vec::new();
        for (key, entry) in &mut inner.secrets {
            if !listed.contains(key) && entry.seen != LastSeen::Absent {
                concerned.extend(entry.mark_absent(key));
            }
        }
        drop(inner);
        self.synced.send_replace(true);
        concerned
    }

    /// Waits until the first list of Secrets is complete.
    pub(in crate::controller) async fn synced(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The revision to take before reading or writing a Secret: see [`SecretCache::on_read`].
    pub(in crate::controller) fn revision(&self, key: &NamespacedName) -> CacheRevision {
        CacheRevision(self.lock().secrets.get(key).map_or(0, |entry| entry.revision))
    }

    /// A Secret was read in this version, or is absent. If the watch showed something since the revision, that stays:
    /// it is unknown which is newer, and another read decides.
    pub(in crate::controller) fn on_read(
        &self,
        key: &NamespacedName,
        seen: LastSeen,
        revision: CacheRevision,
    ) {
        if let Some(entry) = self.lock().secrets.get_mut(key).filter(|entry| entry.revision == revision.0) {
            entry.seen = seen;
        }
    }

    /// This process wrote a Secret. If the watch showed something since the revision, that stays, as for a read.
    pub(in crate::controller) fn on_written(
        &self,
        key: &NamespacedName,
        version: ObjectVersion,
        revision: CacheRevision,
    ) {
        if let Some(entry) = self.lock().secrets.get_mut(key) {
            entry.written = Some(version.clone());
            if entry.revision == revision.0 {
                entry.seen = LastSeen::Version(version);
            }
        }
    }

    /// The last version that is known of a Secret.
    #[must_use]
    pub(in crate::controller) fn last_seen(&self, key: &NamespacedName) -> LastSeen {
        self.lock().secrets.get(key).map(|entry| entry.seen.clone()).unwrap_or_default()
    }

    /// The same for a target that was never written. If the watch has shown no Secret of its name, there is none: a
    /// read would find none, and a write that finds one nevertheless fails.
    #[must_use]
    pub(in crate::controller) fn last_seen_of_new_target(&self, key: &NamespacedName) -> LastSeen {
        let inner = self.lock();
        match inner.secrets.get(key).map(|entry| &entry.seen) {
            None | Some(LastSeen::Unknown) if inner.is_complete && !inner.shown.may_contain(key) => {
                LastSeen::Absent
            }
            seen => seen.cloned().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The watch shows that it does not exist. Returns the credentials that this concerns.
    fn mark_absent(&mut self, key: &NamespacedName) -> Vec<NamespacedName> {
        self.revision += 1;
        self.seen = LastSeen::Absent;
        self.concerned(key)
    }

    fn concerned(&self, key: &NamespacedName) -> Vec<NamespacedName> {
        self.credentials.iter().map(|name| key.sibling(Arc::clone(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::key;
    use super::*;

    fn version(number: u32) -> ObjectVersion {
        ObjectVersion { uid: "s".into(), resource_version: number.to_string().into() }
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn cache(links: &[(&str, &[&str])]) -> SecretCache {
        let cache = SecretCache::new();
        for (credential, secrets) in links {
            cache.link(&key(credential), &[], &names(secrets));
        }
        cache
    }

    #[test]
    fn a_secret_concerns_the_credentials_that_name_it_and_an_own_write_concerns_none() {
        let cache = cache(&[("a", &["login", "target"]), ("b", &["login"])]);
        assert_eq!(cache.on_applied(&key("login"), version(1)), [key("a"), key("b")]);
        assert_eq!(cache.on_applied(&key("login"), version(1)), [], "the same again");
        assert_eq!(cache.on_applied(&key("unrelated"), version(1)), []);
        cache.on_written(&key("target"), version(5), cache.revision(&key("target")));
        assert_eq!(cache.on_applied(&key("target"), version(5)), []);
        assert_eq!(cache.on_applied(&key("target"), version(6)), [key("a")]);
        assert_eq!(cache.on_deleted(&key("target"), "another"), []);
        assert_eq!(cache.on_deleted(&key("target"), "s"), [key("a")]);
    }

    #[test]
    fn a_secret_no_longer_concerns_a_credential_that_names_another_by_now() {
        let cache = cache(&[("a", &["login", "target"]), ("b", &["login"])]);
        cache.link(&key("a"), &names(&["login", "target"]), &names(&["other", "target"]));
        assert_eq!(cache.on_applied(&key("login"), version(1)), [key("b")]);
        assert_eq!(cache.on_applied(&key("other"), version(1)), [key("a")]);
        assert_eq!(cache.on_applied(&key("target"), version(1)), [key("a")]);
    }

    #[test]
    fn what_the_watch_shows_during_a_read_or_a_write_is_not_overwritten() {
        let cache = cache(&[("a", &["login", "target"])]);
        let revision = cache.revision(&key("login"));
        cache.on_applied(&key("login"), version(9));
        cache.on_read(&key("login"), LastSeen::Absent, revision);
        assert_eq!(
            cache.last_seen(&key("login")),
            LastSeen::Version(version(9)),
            "created after it was read"
        );

        let revision = cache.revision(&key("target"));
        cache.on_applied(&key("target"), version(5));
        cache.on_deleted(&key("target"), "s");
        cache.on_written(&key("target"), version(5), revision);
        assert_eq!(cache.last_seen(&key("target")), LastSeen::Absent, "deleted right after it was written");

        cache.on_read(&key("target"), LastSeen::Version(version(6)), cache.revision(&key("target")));
        assert_eq!(cache.last_seen(&key("target")), LastSeen::Version(version(6)));
    }

    #[test]
    fn nothing_is_kept_of_secrets_that_no_credential_names() {
        let cache = cache(&[("a", &["login"])]);
        for number in 0..1000 {
            cache.on_applied(&key(&format!("unrelated-{number}")), version(1));
        }
        cache.on_list_end();
        assert_eq!(cache.lock().secrets.len(), 1);
        assert!(cache.lock().listed.is_none());
        cache.link(&key("a"), &names(&["login"]), &[]);
        assert!(cache.lock().secrets.is_empty());
    }

    #[test]
    fn a_new_target_is_absent_once_a_list_is_complete_that_has_not_shown_it() {
        let cache = cache(&[("a", &["login"])]);
        let seen = |name: &str| cache.last_seen_of_new_target(&key(name));
        assert_eq!(seen("target"), LastSeen::Unknown, "nothing was listed");
        cache.on_relist();
        cache.on_applied(&key("theirs"), version(1));
        assert_eq!(seen("target"), LastSeen::Unknown, "the list goes on");
        cache.on_list_end();
        cache.link(&key("b"), &[], &names(&["target", "theirs"]));
        assert_eq!((seen("target"), seen("theirs")), (LastSeen::Absent, LastSeen::Unknown));
        assert_eq!(cache.last_seen(&key("target")), LastSeen::Unknown);
        cache.on_applied(&key("target"), version(2));
        assert_eq!(seen("target"), LastSeen::Version(version(2)));
        cache.on_applied(&key("another"), version(3));
        cache.on_deleted(&key("another"), "s");
        assert_eq!(seen("another"), LastSeen::Unknown, "it was there");
        cache.on_relist();
        assert_eq!(seen("new"), LastSeen::Unknown, "what this list has not shown may come yet");
        cache.on_list_end();
        assert_eq!(seen("another"), LastSeen::Absent);
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let cache = cache(&[("a", &["login"]), ("b", &["other"])]);
        cache.on_applied(&key("login"), version(1));
        cache.on_applied(&key("other"), version(1));
        cache.on_relist();
        cache.on_applied(&key("other"), version(1));
        assert_eq!(cache.on_list_end(), [key("a")]);
        assert_eq!(cache.last_seen(&key("login")), LastSeen::Absent);
        cache.on_relist();
        assert_eq!(cache.on_list_end(), [key("b")], "it was known before that a's is gone");
    }
}
