//! Who follows whom, in all watched areas: what the watches have shown of it, the sessions of the owners, and which
//! followers need another token.
//!
//! All is found by name; nothing looks through all credentials.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::super::leader_election::Term;
use crate::account::{Member, Session};
use crate::core::object_name::NamespacedName;
use crate::core::sharing::{Permission, SharingRole, Wish, permission};

/// What an owner offers to those whom it permits.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) enum Offer {
    /// It has not read its login yet: it needed no new token.
    #[default]
    Unread,
    /// It obtains no tokens.
    NotReady {
        /// Whether a person has to act.
        needs_user_action: bool,
    },
    /// The tokens of this session.
    Session(Arc<Session>),
}

impl Offer {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unread, Self::Unread) => true,
            (Self::NotReady { needs_user_action: one }, Self::NotReady { needs_user_action: other }) => {
                one == other
            }
            (Self::Session(one), Self::Session(other)) => Arc::ptr_eq(one, other),
            (Self::Unread | Self::NotReady { .. } | Self::Session(_), _) => false,
        }
    }
}

/// The credentials of all watched areas, as sharing sees them.
pub(in crate::controller) struct SharingIndex {
    inner: Mutex<Inner>,
    /// Receives the uid of each credential that has to look again.
    woken: UnboundedSender<Member>,
}

#[derive(Default)]
struct Inner {
    credentials: HashMap<NamespacedName, Entry>,
    /// By the name that the followers give, whether there is such a credential or not.
    owners: HashMap<NamespacedName, Following>,
    /// The term of leadership that the offers and wishes are of.
    term: Option<Term>,
}

struct Entry {
    uid: Member,
    role: SharingRole,
    /// Of an owner.
    offer: Offer,
    /// Of a follower.
    wish: Option<Wish>,
}

/// Those who follow one credential.
#[derive(Default)]
struct Following {
    // In order, so that a run can be repeated.
    followers: BTreeSet<NamespacedName>,
    /// How many followers have each wish.
    wishes: BTreeMap<Wish, usize>,
}

impl SharingIndex {
    /// Without credentials; `woken` receives the uid of each that has to look again.
    pub(in crate::controller) fn new(woken: UnboundedSender<Member>) -> Self {
        Self { inner: Mutex::default(), woken }
    }

    /// The watch shows a credential.
    pub(in crate::controller) fn on_applied(&self, key: &NamespacedName, uid: &str, role: &SharingRole) {
        let mut inner = self.lock();
        let before = inner.credentials.get(key);
        if before.is_some_and(|entry| &*entry.uid == uid && entry.role == *role) {
            return;
        }
        let offer = before.filter(|entry| &*entry.uid == uid).map(|entry| entry.offer.clone());
        inner.remove(key);
        if let Some(owner) = role.followed() {
            inner.owners.entry(owner.clone()).or_default().followers.insert(key.clone());
        }
        let (uid, offer) = (Member::from(uid), offer.unwrap_or_default());
        inner.credentials.insert(key.clone(), Entry { uid, role: role.clone(), offer, wish: None });
        self.wake_followers(&inner, key);
    }

    /// A credential is gone.
    pub(in crate::controller) fn on_removed(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        inner.remove(key);
        self.wake_followers(&inner, key);
    }

    /// What the owner offers to followers of this namespace; none if it does not permit them, or there is none.
    #[must_use]
    pub(super) fn offer(&self, owner: &NamespacedName, namespace: &str, term: Term) -> Option<Offer> {
        let mut inner = self.lock();
        let entry = inner.credentials.get(owner);
        match permission(entry.map(|entry| &entry.role), &owner.namespace, namespace) {
            Permission::Denied => None,
            Permission::Granted if !inner.enter(term) => Some(Offer::Unread),
            Permission::Granted => inner.credentials.get(owner).map(|entry| entry.offer.clone()),
        }
    }

    /// An owner offers this from now on.
    pub(super) fn set_offer(&self, key: &NamespacedName, term: Term, offer: Offer) {
        let mut inner = self.lock();
        let is_current = inner.enter(term);
        let Some(entry) = inner.credentials.get_mut(key).filter(|_| is_current) else { return };
        if entry.offer.is_same(&offer) {
            return;
        }
        entry.offer = offer;
        self.wake_followers(&inner, key);
    }

    /// A follower has this wish from now on. The owner is woken by the first of its kind.
    pub(super) fn set_wish(&self, key: &NamespacedName, term: Term, wish: Option<Wish>) {
        let mut inner = self.lock();
        if !inner.enter(term) || inner.credentials.get(key).is_none_or(|entry| entry.wish == wish) {
            return;
        }
        inner.withdraw(key);
        let (Some(wish), Some(owner)) = (wish, inner.followed(key)) else { return };
        let count = inner.owners.entry(owner.clone()).or_default().wishes.entry(wish.clone()).or_default();
        *count += 1;
        let is_first = *count == 1;
        if let Some(entry) = inner.credentials.get_mut(key) {
            entry.wish = Some(wish);
        }
        if is_first {
            self.wake(&inner, &owner);
        }
    }

    /// Whether a follower has a wish that the owner has to fulfil; `left` are those that its account does not fulfil, all if
    /// none.
    #[must_use]
    pub(super) fn is_wanted(&self, owner: &NamespacedName, term: Term, left: Option<&Wish>) -> bool {
        let mut inner = self.lock();
        let is_current = inner.enter(term);
        let following = inner.owners.get(owner).filter(|_| is_current);
        following.is_some_and(|following| match left {
            None => !following.wishes.is_empty(),
            Some(wish) => following.wishes.contains_key(wish),
        })
    }

    fn wake_followers(&self, inner: &Inner, owner: &NamespacedName) {
        let Some(following) = inner.owners.get(owner) else { return };
        following.followers.iter().for_each(|follower| self.wake(inner, follower));
    }

    fn wake(&self, inner: &Inner, key: &NamespacedName) {
        if let Some(entry) = inner.credentials.get(key) {
            // An error means that there is no receiver: the process is stopping.
            let _ = self.woken.send(Arc::clone(&entry.uid));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Enters a term: offers and wishes of earlier ones mean nothing any more. False if a later one has begun.
    fn enter(&mut self, term: Term) -> bool {
        let is_past = self.term.is_some_and(|known| known.number > term.number);
        if self.term != Some(term) && !is_past {
            self.term = Some(term);
            for entry in self.credentials.values_mut() {
                (entry.offer, entry.wish) = (Offer::default(), None);
            }
            self.owners.values_mut().for_each(|following| following.wishes.clear());
        }
        !is_past
    }

    fn followed(&self, key: &NamespacedName) -> Option<NamespacedName> {
        self.credentials.get(key)?.role.followed().cloned()
    }

    fn remove(&mut self, key: &NamespacedName) {
        self.withdraw(key);
        if let Some(owner) = self.followed(key)
            && let Some(following) = self.owners.get_mut(&owner)
        {
            following.followers.remove(key);
            if following.followers.is_empty() {
                self.owners.remove(&owner);
            }
        }
        self.credentials.remove(key);
    }

    /// A follower has no wish any more.
    fn withdraw(&mut self, key: &NamespacedName) {
        let Some(owner) = self.followed(key) else { return };
        let wish = self.credentials.get_mut(key).and_then(|entry| entry.wish.take());
        let (Some(wish), Some(following)) = (wish, self.owners.get_mut(&owner)) else { return };
        if let Some(count) = following.wishes.get_mut(&wish) {
            *count -= 1;
            if *count == 0 {
                following.wishes.remove(&wish);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::core::sharing::AllowedNamespaces;
    use crate::core::token::Fingerprint;

    struct Fixture {
        index: SharingIndex,
        woken: UnboundedReceiver<Member>,
    }

    const TERM: Term = Term { number: 1, follows_another: false, clock_behind: jiff::SignedDuration::ZERO };

    fn key(name: &str) -> NamespacedName {
        NamespacedName::new(if name == "owner" { "platform" } else { "shop" }, name)
    }

    fn owner(names: &[&str]) -> SharingRole {
        SharingRole::Owner(AllowedNamespaces::named(names.iter().map(|name| (*name).to_owned())))
    }

    fn follower() -> SharingRole {
        SharingRole::Follower(key("owner"))
    }

    fn wish(fingerprint: &str) -> Wish {
        Wish { published: Some(Fingerprint::recorded(fingerprint)) }
    }

    impl Fixture {
        fn new() -> Self {
            let (sender, woken) = unbounded_channel();
            Self { index: SharingIndex::new(sender), woken }
        }

        /// An owner that permits `shop`, and two followers.
        fn shared() -> Self {
            let mut fixture = Self::new();
            fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
            fixture.index.on_applied(&key("a"), "a", &follower());
            fixture.index.on_applied(&key("b"), "b", &follower());
            assert_eq!(fixture.woken(), Vec::<String>::new());
            fixture
        }

        fn woken(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.woken.try_recv().ok()).map(|uid| uid.to_string()).collect()
        }

        fn offer(&self) -> Option<Offer> {
            self.index.offer(&key("owner"), "shop", TERM)
        }
    }

    #[test]
    fn followers_look_again_when_the_owner_comes_goes_or_changes_its_permission_and_not_otherwise() {
        let mut fixture = Fixture::new();
        fixture.index.on_applied(&key("a"), "a", &follower());
        assert!(fixture.offer().is_none() && fixture.woken().is_empty());
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
        assert!(fixture.offer().is_some());
        assert_eq!(fixture.woken(), ["a"]);
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
        assert!(fixture.woken().is_empty(), "the same again");
        fixture.index.on_applied(&key("owner"), "o", &owner(&["orders"]));
        assert!(fixture.offer().is_none());
        assert_eq!(fixture.woken(), ["a"]);
        fixture.index.on_removed(&key("owner"));
        assert_eq!(fixture.woken(), ["a"]);
        fixture.index.on_removed(&key("a"));
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
        assert!(fixture.woken().is_empty(), "nobody follows it");
    }

    #[test]
    fn an_owner_is_woken_by_the_first_wish_of_a_kind_and_has_those_that_its_token_does_not_fulfil() {
        let mut fixture = Fixture::shared();
        let is_wanted =
            |fixture: &Fixture, left: Option<&Wish>| fixture.index.is_wanted(&key("owner"), TERM, left);
        assert!(!is_wanted(&fixture, None));
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        assert_eq!(fixture.woken(), ["o"]);
        fixture.index.set_wish(&key("b"), TERM, Some(wish("first")));
        fixture.index.set_wish(&key("b"), TERM, Some(wish("first")));
        assert!(fixture.woken().is_empty());
        assert!(is_wanted(&fixture, None) && is_wanted(&fixture, Some(&wish("first"))));
        assert!(!is_wanted(&fixture, Some(&wish("second"))), "they have only to publish it");
        fixture.index.set_wish(&key("a"), TERM, None);
        assert!(is_wanted(&fixture, Some(&wish("first"))));
        fixture.index.on_removed(&key("b"));
        assert!(!is_wanted(&fixture, None));
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        assert_eq!(fixture.woken(), ["o"], "the first again");
        fixture.index.on_applied(&key("a"), "a", &owner(&[]));
        assert!(!is_wanted(&fixture, None), "it follows nobody any more");
    }

    #[test]
    fn an_offer_is_of_one_credential_in_one_term() {
        let mut fixture = Fixture::shared();
        let not_ready = || Offer::NotReady { needs_user_action: true };
        fixture.index.set_offer(&key("owner"), TERM, not_ready());
        assert_eq!(fixture.woken(), ["a", "b"]);
        fixture.index.set_offer(&key("owner"), TERM, not_ready());
        assert!(fixture.woken().is_empty(), "the same again");
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop", "orders"]));
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&not_ready())), "another permission");
        fixture.index.on_applied(&key("owner"), "made anew", &owner(&["shop"]));
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&Offer::Unread)));
        fixture.index.set_offer(&key("owner"), TERM, not_ready());
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        let next = Term { number: 2, ..TERM };
        assert!(!fixture.index.is_wanted(&key("owner"), next, None));
        fixture.index.set_wish(&key("a"), next, Some(wish("second")));
        fixture.index.set_wish(&key("a"), TERM, None);
        assert!(fixture.index.is_wanted(&key("owner"), next, None), "an earlier term changes nothing");
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&Offer::Unread)), "in an earlier term");
    }
}
