//! The stored objects and their history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::managers::Managers;
use super::object::Object;
use super::request::Selection;
use super::resource::{Nature, Resource};
use super::watch::Watch;

/// The first resourceVersion; far enough from the 1 that stands for none.
pub(super) const FIRST_VERSION: u64 = 1000;
/// How many changes of a resource a watch can catch up on.
const HISTORY: usize = 1000;
/// How many Events are kept: the real API forgets them after an hour.
const EVENTS: usize = 1000;

/// Where an object lies among those of its resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) object: Arc<Object>,
    pub(super) managers: Managers,
}

/// A change, as watches send it.
#[derive(Debug)]
pub(super) struct Happening {
    pub(super) version: u64,
    pub(super) key: Key,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) kind: &'static str,
    pub(super) object: Arc<Object>,
}

#[derive(Debug)]
pub(super) struct Collection {
    pub(super) objects: BTreeMap<Key, Stored>,
    pub(super) history: VecDeque<Happening>,
    /// The version of the newest change that is in the history no more.
    pub(super) forgotten: u64,
}

impl Default for Collection {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), history: VecDeque::new(), forgotten: FIRST_VERSION }
    }
}

impl Collection {
    /// The objects of a namespace, or of all.
    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (&Key, &Stored)> {
        let all = namespace.is_empty();
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| all || key.namespace == namespace)
    }

    /// The changes after a version; `None` when some are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Happening>> {
        let first = self.history.partition_point(|happening| happening.version <= version);
        (version >= self.forgotten).then(|| self.history.range(first..))
    }

    pub(super) fn forget(&mut self, keep: usize) {
        while self.history.len() > keep {
            self.forgotten = self.history.pop_front().map_or(self.forgotten, |oldest| oldest.version);
        }
    }
}

#[derive(Debug)]
pub(super) struct Store {
    /// The newest resourceVersion.
    pub(super) version: u64,
    pub(super) uids: u64,
    pub(super) collections: BTreeMap<Resource, Collection>,
    /// Under the order in which they began.
    pub(super) watches: BTreeMap<u64, Watch>,
    pub(super) begun_watches: u64,
    /// The users whose watches send nothing.
    pub(super) silent: BTreeSet<String>,
    /// Events in the order of their creation.
    passing: VecDeque<Key>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            version: FIRST_VERSION,
            uids: 0,
            collections: BTreeMap::new(),
            watches: BTreeMap::new(),
            begun_watches: 0,
            silent: BTreeSet::new(),
            passing: VecDeque::new(),
        }
    }
}

impl Store {
    pub(super) fn find(&self, resource: &Resource, key: &Key) -> Option<&Stored> {
        self.collections.get(resource)?.objects.get(key)
    }

    pub(super) fn select(&self, resource: &Resource, selection: &Selection) -> impl Iterator<Item = &Object> {
        let found = self.collections.get(resource).into_iter();
        found
            .flat_map(|collection| collection.in_namespace(&selection.namespace))
            .filter(|(key, _)| selection.holds(key))
            .map(|(_, stored)| &*stored.object)
    }

    /// Stores a version of an object, and returns its watches.
    pub(super) fn keep(&mut self, resource: Resource, key: Key, stored: Stored) -> Vec<Waker> {
        let object = Arc::clone(&stored.object);
        let collection = self.collections.entry(resource).or_default();
        let is_new = collection.objects.insert(key.clone(), stored).is_none();
        if is_new && resource.nature == Nature::Passing {
            self.passing.push_back(key.clone());
            if self.passing.len() > EVENTS {
                let oldest = self.passing.pop_front();
                oldest.and_then(|oldest| collection.objects.remove(&oldest));
            }
        }
        self.tell(resource, key, if is_new { "ADDED" } else { "MODIFIED" }, object)
    }

    /// Deletes an object, whose last version is `object`, and returns its watches.
    pub(super) fn drop(&mut self, resource: Resource, key: Key, object: Arc<Object>) -> Vec<Waker> {
        self.collections.entry(resource).or_default().objects.remove(&key);
        self.passing.retain(|passing| resource.nature != Nature::Passing || *passing != key);
        self.tell(resource, key, "DELETED", object)
    }

    fn tell(&mut self, resource: Resource, key: Key, kind: &'static str, object: Arc<Object>) -> Vec<Waker> {
        let collection = self.collections.entry(resource).or_default();
        collection.history.push_back(Happening { version: self.version, key, kind, object });
        collection.forget(HISTORY);
        let watches = self.watches.values_mut().filter(|watch| watch.resource == resource);
        watches.filter_map(|watch| watch.waker.take()).collect()
    }
}
