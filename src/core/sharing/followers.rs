//! Who follows a credential, as its status shows it.

use crate::core::reason::Reason;

/// How many followers the status of a credential names.
pub const FOLLOWERS_NAMED: usize = 20;

/// Those who follow a credential with its permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followers {
    /// How many there are.
    pub count: u32,
    /// The first of them in alphabetical order, with their namespaces; at most [`FOLLOWERS_NAMED`].
    pub names: Vec<String>,
}

impl Followers {
    /// What is told of followers that were not there `before`.
    #[must_use]
    pub fn added_since(&self, before: Option<&Self>) -> Option<Reason> {
        let none = Self::default();
        let before = before.unwrap_or(&none);
        let follower = self.names.iter().find(|name| !before.names.contains(name));
        // Otherwise a name may only have moved up into the list.
        let was_complete = before.names.len() == usize::try_from(before.count).unwrap_or(usize::MAX);
        let is_added = self.count > before.count || was_complete && follower.is_some();
        is_added.then(|| Reason::FollowerAdded { follower: follower.cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followers(count: u32, names: &[&str]) -> Followers {
        Followers { count, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn an_added_follower_is_told_by_its_name_unless_it_is_not_among_the_first() {
        let told = |follower: &str| Some(Reason::FollowerAdded { follower: Some(follower.to_owned()) });
        let two = followers(2, &["shop/a", "shop/b"]);
        assert_eq!(two.added_since(None), told("shop/a"));
        assert_eq!(two.added_since(Some(&followers(1, &["shop/a"]))), told("shop/b"));
        assert_eq!(two.added_since(Some(&two)), None);
        assert_eq!(two.added_since(Some(&followers(3, &["shop/a", "shop/b", "shop/c"]))), None);
        assert_eq!(followers(1, &["shop/b"]).added_since(Some(&followers(1, &["shop/a"]))), told("shop/b"));
        let moved_up = followers(29, &["shop/b", "shop/c"]);
        assert_eq!(moved_up.added_since(Some(&followers(30, &["shop/a", "shop/b"]))), None);
        let many = followers(30, &["shop/a", "shop/b"]);
        assert_eq!(many.added_since(Some(&two)), Some(Reason::FollowerAdded { follower: None }));
    }
}
