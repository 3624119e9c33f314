//! Remembers roughly which names were seen, in a fixed space.

use std::hash::{BuildHasher as _, RandomState};

use crate::core::object_name::NamespacedName;

/// How many bits: with 10,000 Secrets, of a hundred names that are not there one counts as perhaps seen.
const BITS: usize = 1 << 20;

/// A bit for each name that was seen. A name whose bit is not set was not seen; another one may share its bit.
pub(super) struct NameFilter {
    words: Vec<u64>,
    /// With a key of this process, so that nobody chooses names that fill it faster.
    hasher: RandomState,
}

impl NameFilter {
    /// No name was seen.
    pub(super) fn new() -> Self {
        Self { words: vec![0; BITS / 64], hasher: RandomState::new() }
    }

    /// This name is seen.
    pub(super) fn insert(&mut self, name: &NamespacedName) {
        let (word, bit) = self.place(name);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether this name was perhaps seen; if not, it certainly was not.
    pub(super) fn may_contain(&self, name: &NamespacedName) -> bool {
        let (word, bit) = self.place(name);
        self.words.get(word).is_none_or(|word| word & bit != 0)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }

    fn place(&self, name: &NamespacedName) -> (usize, u64) {
        let hash = self.hasher.hash_one(name);
        let word = usize::try_from(hash / 64 % (BITS as u64 / 64)).unwrap_or_default();
        (word, 1 << (hash % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::key;
    use super::*;

    #[test]
    fn what_was_seen_is_found_until_it_is_cleared_and_hardly_anything_else() {
        let mut filter = NameFilter::new();
        let names =
            |prefix: &str| (0..10_000).map(|number| key(&format!("{prefix}-{number}"))).collect::<Vec<_>>();
        let (seen, others) = (names("seen"), names("other"));
        assert!(!seen.iter().any(|name| filter.may_contain(name)));
        for name in &seen {
            filter.insert(name);
        }
        assert!(seen.iter().all(|name| filter.may_contain(name)));
        let mistaken = others.iter().filter(|name| filter.may_contain(name)).count();
        assert!(mistaken < 200, "{mistaken} of 10,000");
        filter.clear();
        assert!(!seen.iter().any(|name| filter.may_contain(name)));
    }
}
