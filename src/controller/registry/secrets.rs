//! The versions of the Secrets that credentials name, as watched, read and written. The Secrets themselves are not
//! stored.

use std::collections::{BTreeSet, HashSet};

use super::{Inner, ObjectKey, Registry};
use crate::core::observed::LastSeen;
use crate::core::target::ObjectVersion;

#[derive(Default)]
pub(super) struct Watched {
    seen: LastSeen,
    written: Option<ObjectVersion>,
    /// How often the watch has shown something new.
    news: u64,
    pub(super) credentials: BTreeSet<String>,
}

/// How much news of a Secret there was at some moment.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Glance(u64);

impl Registry {
    /// Takes in a Secret as the watch shows it. Returns the credentials that this concerns; an own write concerns none.
    pub(in super::super) fn on_secret_applied(
        &self,
        key: &ObjectKey,
        version: ObjectVersion,
    ) -> Vec<ObjectKey> {
        let mut inner = self.lock();
        let Inner { secrets, listed_secrets, .. } = &mut *inner;
        let Some(watched) = secrets.get_mut(key) else { return Vec::new() };
        if let Some(listed) = listed_secrets {
            listed.insert(key.clone());
        }
        let is_news = watched.seen != LastSeen::Version(version.clone());
        let is_own = watched.written.as_ref() == Some(&version);
        watched.news += u64::from(is_news);
        watched.seen = LastSeen::Version(version);
        if is_news && !is_own { watched.concerned(&key.namespace) } else { Vec::new() }
    }

    /// A Secret is gone. Returns the credentials that this concerns.
    pub(in super::super) fn on_secret_deleted(&self, key: &ObjectKey, uid: &str) -> Vec<ObjectKey> {
        let mut inner = self.lock();
        let Some(watched) = inner.secrets.get_mut(key) else { return Vec::new() };
        if watched.seen.version().is_some_and(|version| version.uid != uid) {
            return Vec::new(); // Another one of that name was read or written since.
        }
        watched.news += 1;
        watched.seen = LastSeen::Absent;
        watched.concerned(&key.namespace)
    }

    /// A new list of Secrets begins.
    pub(in super::super) fn on_secret_relist(&self) {
        self.lock().listed_secrets = Some(HashSet::new());
    }

    /// A list of Secrets is complete: what was not in it is gone. Returns the credentials that this concerns.
    pub(in super::super) fn on_secret_list_end(&self) -> Vec<ObjectKey> {
        let mut inner = self.lock();
        let listed = inner.listed_secrets.take().unwrap_or_default();
        let mut concerned = Vec::new();
        for (key, watched) in &mut inner.secrets {
            if !listed.contains(key) && watched.seen != LastSeen::Absent {
                watched.news += 1;
                watched.seen = LastSeen::Absent;
                concerned.extend(watched.concerned(&key.namespace));
            }
        }
        drop(inner);
        self.secrets_synced.send_replace(true);
        concerned
    }

    /// Waits until the first list of Secrets is complete.
    pub(in super::super) async fn secrets_synced(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.secrets_synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The revision to take before reading or writing a Secret: see [`Registry::read_secret`].
    pub(in super::super) fn glance(&self, key: &ObjectKey) -> Glance {
        Glance(self.lock().secrets.get(key).map_or(0, |watched| watched.news))
    }

    /// A Secret was read in this version, or is absent. If the watch showed something since the revision, that stays:
    /// it is unknown which is newer, and another read decides.
    pub(in super::super) fn read_secret(&self, key: &ObjectKey, seen: LastSeen, glance: Glance) {
        if let Some(watched) = self.lock().secrets.get_mut(key).filter(|watched| watched.news == glance.0) {
            watched.seen = seen;
        }
    }

    /// This process wrote a Secret. If the watch showed something since the revision, that stays, as for a read.
    pub(in super::super) fn on_secret_written(
        &self,
        key: &ObjectKey,
        version: ObjectVersion,
        glance: Glance,
    ) {
        if let Some(watched) = self.lock().secrets.get_mut(key) {
            watched.written = Some(version.clone());
            if watched.news == glance.0 {
                watched.seen = LastSeen::Version(version);
            }
        }
    }

    /// The last version that is known of a Secret.
    #[must_use]
    pub(in super::super) fn seen(&self, key: &ObjectKey) -> LastSeen {
        self.lock().secrets.get(key).map(|watched| watched.seen.clone()).unwrap_or_default()
    }
}

impl Watched {
    fn concerned(&self, namespace: &str) -> Vec<ObjectKey> {
        let key = |name: &String| ObjectKey { namespace: namespace.to_owned(), name: name.clone() };
        self.credentials.iter().map(key).collect()
    }
}
