//! Which credentials are worked on: so many of each namespace have a place.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::object_name::NamespacedName;

/// The order in which free places are assigned: credentials with a token first, then the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QuotaRank {
    /// Whether status has no token.
    pub(super) is_without_token: bool,
    /// The second in which it was created.
    pub(super) created: i64,
    /// Its name, so that no two are equal.
    pub(super) name: Arc<str>,
}

/// The places of all namespaces of one watched area. A credential keeps its place: no newcomer takes it away.
pub(in crate::controller) struct NamespaceQuotas {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    namespaces: HashMap<Arc<str>, Namespace>,
    /// Before a list is complete, nobody knows which credential is the oldest: no place is given.
    is_listing: bool,
}

#[derive(Default)]
struct Namespace {
    members: HashMap<Arc<str>, Member>,
    waiting: BTreeSet<QuotaRank>,
}

struct Member {
    rank: QuotaRank,
    has_place: bool,
}

impl NamespaceQuotas {
    /// So many in each namespace.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Whether a credential is worked on; if not, how many of its namespace are.
    pub(in crate::controller) fn check(&self, key: &NamespacedName) -> Result<(), usize> {
        let inner = self.lock();
        let member = inner.namespaces.get(&key.namespace).and_then(|it| it.members.get(&key.name));
        if member.is_some_and(|member| member.has_place) { Ok(()) } else { Err(self.limit) }
    }

    /// Takes in the rank of a credential. It waits for a place, unless it has one.
    pub(super) fn set(&self, namespace: &str, rank: QuotaRank) {
        let mut inner = self.lock();
        let namespace = inner.namespaces.entry(namespace.into()).or_default();
        let has_place = namespace.remove(&rank.name).is_some_and(|before| before.has_place);
        if !has_place {
            namespace.waiting.insert(rank.clone());
        }
        namespace.members.insert(rank.name.clone(), Member { rank, has_place });
    }

    /// A credential is gone.
    pub(super) fn remove(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        let Some(namespace) = inner.namespaces.get_mut(&key.namespace) else { return };
        namespace.remove(&key.name);
        if namespace.members.is_empty() {
            inner.namespaces.remove(&key.namespace);
        }
    }

    /// Gives the free places of a namespace to those that wait, unless a list is going on. Returns who got one.
    pub(super) fn fill(&self, namespace: &str) -> Vec<NamespacedName> {
        let mut inner = self.lock();
        let is_listing = inner.is_listing;
        let namespaces = inner.namespaces.get_mut(namespace).filter(|_| !is_listing);
        namespaces.map(|it| it.fill(namespace, self.limit)).unwrap_or_default()
    }

    /// A new list of credentials begins.
    pub(super) fn on_relist(&self) {
        self.lock().is_listing = true;
    }

    /// A list of credentials is complete. Returns who got a place.
    pub(super) fn on_list_end(&self) -> Vec<NamespacedName> {
        let mut inner = self.lock();
        inner.is_listing = false;
        inner.fill_all(self.limit)
    }

    /// Gives all places anew when this process begins to lead: another one may have worked on other credentials.
    pub(in crate::controller) fn reassign(&self) {
        let mut inner = self.lock();
        for Namespace { members, waiting } in inner.namespaces.values_mut() {
            for member in members.values_mut() {
                member.has_place = false;
            }
            *waiting = members.values().map(|member| member.rank.clone()).collect();
        }
        if !inner.is_listing {
            inner.fill_all(self.limit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fill_all(&mut self, limit: usize) -> Vec<NamespacedName> {
        self.namespaces.iter_mut().flat_map(|(name, namespace)| namespace.fill(name, limit)).collect()
    }
}

impl Namespace {
    fn remove(&mut self, name: &str) -> Option<Member> {
        let member = self.members.remove(name)?;
        self.waiting.remove(&member.rank);
        Some(member)
    }

    fn fill(&mut self, namespace: &str, limit: usize) -> Vec<NamespacedName> {
        let Self { members, waiting } = self;
        let mut filled = Vec::new();
        while members.len() - waiting.len() < limit
            && let Some(rank) = waiting.pop_first()
        {
            if let Some(member) = members.get_mut(&rank.name) {
                member.has_place = true;
            }
            filled.push(NamespacedName::new(namespace, rank.name));
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank(is_without_token: bool, created: i64, name: &str) -> QuotaRank {
        QuotaRank { is_without_token, created, name: name.into() }
    }

    fn key(name: &str) -> NamespacedName {
        NamespacedName::new("shop", name)
    }

    fn names(keys: &[NamespacedName]) -> Vec<&str> {
        keys.iter().map(|key| &*key.name).collect()
    }

    #[test]
    fn who_has_a_token_goes_first_then_the_oldest_and_the_rest_wait_for_a_free_place() {
        let places = NamespaceQuotas::new(2);
        for rank in [rank(true, 1, "oldest"), rank(false, 3, "young"), rank(true, 2, "old")] {
            places.set("shop", rank);
        }
        assert_eq!(names(&places.on_list_end()), ["young", "oldest"]);
        assert!(places.check(&key("oldest")).is_ok() && places.check(&key("old")) == Err(2));
        places.set("shop", rank(false, 0, "newcomer"));
        assert_eq!(names(&places.fill("shop")), [""; 0], "nobody loses a place");
        places.remove(&key("young"));
        assert_eq!(names(&places.fill("shop")), ["newcomer"]);
        places.remove(&key("newcomer"));
        places.remove(&key("oldest"));
        assert_eq!(names(&places.fill("shop")), ["old"]);
        places.remove(&key("old"));
        assert!(places.lock().namespaces.is_empty());
    }

    #[test]
    fn namespaces_have_places_of_their_own() {
        let places = NamespaceQuotas::new(1);
        places.set("shop", rank(true, 1, "a"));
        places.set("shop", rank(true, 1, "b"));
        places.set("bank", rank(true, 1, "b"));
        places.on_list_end();
        assert!(places.check(&key("a")).is_ok() && places.check(&key("b")).is_err());
        assert!(places.check(&NamespacedName::new("bank", "b")).is_ok());
    }

    #[test]
    fn no_place_is_given_while_a_list_is_going_on() {
        let places = NamespaceQuotas::new(1);
        places.on_relist();
        places.set("shop", rank(true, 2, "young"));
        assert_eq!(places.fill("shop"), []);
        places.reassign();
        assert_eq!(places.check(&key("young")), Err(1));
        places.set("shop", rank(true, 1, "old"));
        assert_eq!(names(&places.on_list_end()), ["old"]);
    }

    #[test]
    fn who_begins_to_lead_gives_all_places_by_what_status_says_by_now() {
        let places = NamespaceQuotas::new(1);
        places.set("shop", rank(true, 1, "old"));
        assert_eq!(names(&places.fill("shop")), ["old"]);
        places.set("shop", rank(false, 2, "young"));
        places.set("shop", rank(true, 1, "old"));
        places.reassign();
        assert!(places.check(&key("young")).is_ok() && places.check(&key("old")).is_err());
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_no_caller_waits_while_a_place_is_free(
            limit in 0_usize..4,
            steps in prop::collection::vec((any::<bool>(), 0_usize..8, any::<bool>(), 0_i64..5), 0..60),
        ) {
            let places = NamespaceQuotas::new(limit);
            let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
            for (comes, who, is_without_token, created) in steps {
                let before: Vec<_> = all.iter().filter(|name| places.check(&key(name)).is_ok()).collect();
                if comes {
                    places.set("shop", rank(is_without_token, created, all[who]));
                } else {
                    places.remove(&key(all[who]));
                }
                places.fill("shop");
                let placed = all.iter().filter(|name| places.check(&key(name)).is_ok()).count();
                let known = places.lock().namespaces.get("shop").map_or(0, |it| it.members.len());
                prop_assert_eq!(placed, known.min(limit));
                prop_assert!(before.iter().all(|name| places.check(&key(name)).is_ok() || !comes && **name == all[who]));
            }
        }
    }
}
