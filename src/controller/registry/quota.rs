//! Which credentials are worked on: so many of each namespace have a place.

use std::collections::{BTreeSet, HashMap};

use super::ObjectKey;

/// The order in which free places are assigned: credentials with a token first, then the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QuotaRank {
    /// Whether status has no token.
    pub(super) is_without_token: bool,
    /// The second in which it was created.
    pub(super) created: i64,
    /// Its name, so that no two are equal.
    pub(super) name: String,
}

#[derive(Default)]
struct Namespace {
    /// Those that wait have a rank.
    members: HashMap<String, Option<QuotaRank>>,
    waiting: BTreeSet<QuotaRank>,
}

impl Namespace {
    fn take_out(&mut self, name: &str) {
        if let Some(Some(rank)) = self.members.remove(name) {
            self.waiting.remove(&rank);
        }
    }
}

/// The places of all namespaces. A credential keeps its place: a new one never takes it.
pub(super) struct NamespaceQuotas {
    limit: usize,
    namespaces: HashMap<String, Namespace>,
}

impl NamespaceQuotas {
    /// So many in each namespace.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, namespaces: HashMap::new() }
    }

    /// How many a namespace has.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a credential has a place.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        let namespace = self.namespaces.get(&key.namespace);
        namespace.and_then(|namespace| namespace.members.get(&key.name)).is_some_and(Option::is_none)
    }

    /// A credential waits for a place, unless it has one.
    pub(super) fn comes(&mut self, namespace: &str, rank: QuotaRank) {
        let namespace = self.namespaces.entry(namespace.to_owned()).or_default();
        if namespace.members.get(&rank.name).is_some_and(Option::is_none) {
            return;
        }
        namespace.take_out(&rank.name);
        namespace.members.insert(rank.name.clone(), Some(rank.clone()));
        namespace.waiting.insert(rank);
    }

    /// A credential is gone.
    pub(super) fn goes(&mut self, key: &ObjectKey) {
        if let Some(namespace) = self.namespaces.get_mut(&key.namespace) {
            namespace.take_out(&key.name);
            if namespace.members.is_empty() {
                self.namespaces.remove(&key.namespace);
            }
        }
    }

    /// Gives the free places of a namespace to those that wait. Returns who got one.
    pub(super) fn fill(&mut self, namespace: &str) -> Vec<ObjectKey> {
        let Some(Namespace { members, waiting }) = self.namespaces.get_mut(namespace) else {
            return Vec::new();
        };
        let mut filled = Vec::new();
        while members.len() - waiting.len() < self.limit
            && let Some(rank) = waiting.pop_first()
        {
            filled.push(ObjectKey { namespace: namespace.to_owned(), name: rank.name.clone() });
            members.insert(rank.name, None);
        }
        filled
    }

    /// Gives the free places of all namespaces.
    pub(super) fn fill_all(&mut self) -> Vec<ObjectKey> {
        let namespaces: Vec<String> = self.namespaces.keys().cloned().collect();
        namespaces.iter().flat_map(|namespace| self.fill(namespace)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank(is_without_token: bool, created: i64, name: &str) -> QuotaRank {
        QuotaRank { is_without_token, created, name: name.to_owned() }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    fn names(keys: &[ObjectKey]) -> Vec<&str> {
        keys.iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn who_has_a_token_goes_first_then_the_oldest_and_the_rest_wait_for_a_free_place() {
        let mut places = NamespaceQuotas::new(2);
        for rank in [rank(true, 1, "oldest"), rank(false, 3, "young"), rank(true, 2, "old")] {
            places.comes("shop", rank);
        }
        assert_eq!(names(&places.fill_all()), ["young", "oldest"]);
        assert!(places.has(&key("oldest")) && !places.has(&key("old")));
        places.comes("shop", rank(false, 0, "newcomer"));
        assert_eq!(names(&places.fill("shop")), [""; 0], "nobody loses a place");
        places.goes(&key("young"));
        assert_eq!(names(&places.fill("shop")), ["newcomer"]);
        places.goes(&key("newcomer"));
        places.goes(&key("oldest"));
        assert_eq!(names(&places.fill("shop")), ["old"]);
        places.goes(&key("old"));
        assert!(places.namespaces.is_empty());
    }

    #[test]
    fn namespaces_have_places_of_their_own() {
        let mut places = NamespaceQuotas::new(1);
        places.comes("shop", rank(true, 1, "a"));
        places.comes("shop", rank(true, 1, "b"));
        places.comes("bank", rank(true, 1, "b"));
        places.fill_all();
        assert!(places.has(&key("a")) && !places.has(&key("b")));
        assert!(places.has(&ObjectKey { namespace: "bank".into(), name: "b".into() }));
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_nobody_waits_while_a_place_is_free(
            limit in 0_usize..4,
            steps in prop::collection::vec((any::<bool>(), 0_usize..8, any::<bool>(), 0_i64..5), 0..60),
        ) {
            let mut places = NamespaceQuotas::new(limit);
            let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
            for (comes, who, is_without_token, created) in steps {
                let before: Vec<_> = all.iter().filter(|name| places.has(&key(name))).collect();
                if comes {
                    places.comes("shop", rank(is_without_token, created, all[who]));
                } else {
                    places.goes(&key(all[who]));
                }
                places.fill("shop");
                let placed = all.iter().filter(|name| places.has(&key(name))).count();
                let known = places.namespaces.get("shop").map_or(0, |it| it.members.len());
                prop_assert_eq!(placed, known.min(limit));
                prop_assert!(before.iter().all(|name| places.has(&key(name)) || !comes && **name == all[who]));
            }
        }
    }
}
