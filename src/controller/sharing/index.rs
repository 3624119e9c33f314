//! Who follows whom, in all watched areas: what the watches have shown of it, the sessions of the owners, and which
//! followers need another token.
//!
//! All is found by name; nothing looks through all credentials.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::super::leader_election::Term;
use super::offer::Offer;
use crate::account::Member;
use crate::core::object_name::NamespacedName;
use crate::core::sharing::{FOLLOWERS_NAMED, Followers, Labels, Permission, SharingRole, Wish, permission};

/// How long references wait for the first list of namespaces. After that, selectors permit none until it comes.
const LABELS_LIMIT: Duration = Duration::from_secs(10);

/// The credentials of all watched areas, as sharing sees them.
pub(in crate::controller) struct SharingIndex {
    inner: Mutex<Inner>,
    /// Receives the uid of each credential that has to look again.
    woken: UnboundedSender<Member>,
    /// Whether any credential selects namespaces by their labels.
    selects: watch::Sender<bool>,
    /// Whether the labels of all namespaces are known, or were waited for long enough.
    labelled: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    // In order, so that those of a namespace are found together, and a run can be repeated.
    // Boxed: half of the places in a tree are empty.
    credentials: BTreeMap<NamespacedName, Box<Entry>>,
    /// By the name that the followers give, whether there is such a credential or not.
    owners: HashMap<NamespacedName, Following>,
    /// The labels of each namespace; none if they are not read.
    labels: Option<HashMap<String, Labels>>,
    /// The term of leadership that the offers and wishes are of.
    term: Option<Term>,
}

struct Entry {
    uid: Member,
    /// The generation of the specification that says the role.
    generation: i64,
    role: SharingRole,
    /// Of an owner.
    offer: Offer,
    /// The generation that the offer is of. An earlier one may have named another account than the one that is shared now.
    offered: i64,
    /// Of a follower.
    wish: Option<Wish>,
}

/// Those who follow one credential.
#[derive(Default)]
struct Following {
    // In order, so that a run can be repeated.
    followers: BTreeSet<NamespacedName>,
    /// Those of them that the credential permits.
    permitted: BTreeSet<NamespacedName>,
    /// How many followers have each wish.
    wishes: BTreeMap<Wish, usize>,
}

impl SharingIndex {
    /// Without credentials; `woken` receives the uid of each that has to look again. `reads_labels` says whether there will
    /// be labels of namespaces.
    pub(in crate::controller) fn new(woken: UnboundedSender<Member>, reads_labels: bool) -> Self {
        let inner = Inner { labels: reads_labels.then(HashMap::new), ..Inner::default() };
        let (selects, labelled) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { inner: Mutex::new(inner), woken, selects, labelled }
    }

    /// The watch shows a credential.
    pub(in crate::controller) fn on_applied(
        &self,
        key: &NamespacedName,
        uid: &Member,
        generation: i64,
        role: &SharingRole,
    ) {
        let mut inner = self.lock();
        let before = inner.credentials.get_mut(key).filter(|entry| entry.uid == *uid);
        let mut offered = None;
        if let Some(entry) = before {
            entry.generation = generation;
            if entry.role == *role {
                return;
            }
            offered = Some((entry.offer.clone(), entry.offered));
        }
        self.take_out(&mut inner, key);
        let (offer, offered) = offered.unwrap_or_default();
        let uid = Arc::clone(uid);
        let entry = Entry { uid, generation, role: role.clone(), offer, offered, wish: None };
        inner.credentials.insert(key.clone(), Box::new(entry));
        match role {
            SharingRole::Follower(owner) => {
                inner.owners.entry(owner.clone()).or_default().followers.insert(key.clone());
                if inner.judge(owner, key) {
                    self.wake(&inner, owner);
                }
            }
            SharingRole::Owner(allowed) => {
                let selects = allowed.selector.is_some();
                self.selects.send_if_modified(|used| selects && !std::mem::replace(used, true));
            }
            SharingRole::None => {}
        }
        self.judge_all(&mut inner, key);
    }

    /// A credential is gone.
    pub(in crate::controller) fn on_removed(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        self.take_out(&mut inner, key);
        self.judge_all(&mut inner, key);
    }

    /// Those who follow a credential with its permission.
    #[must_use]
    pub(super) fn followers(&self, owner: &NamespacedName) -> Followers {
        let inner = self.lock();
        let Some(Following { permitted, .. }) = inner.owners.get(owner) else { return Followers::default() };
        Followers {
            count: u32::try_from(permitted.len()).unwrap_or(u32::MAX),
            names: permitted.iter().take(FOLLOWERS_NAMED).map(ToString::to_string).collect(),
        }
    }

    /// Waits until a credential selects namespaces by their labels; for ever if they are not read.
    pub(super) async fn labels_needed(&self) {
        if self.lock().labels.is_none() {
            return std::future::pending().await;
        }
        // Cannot fail: the sender lives as long as self.
        let _ = self.selects.subscribe().wait_for(|used| *used).await;
    }

    /// Waits until the labels of namespaces are known, if they are needed and read; not for long.
    pub(in crate::controller) async fn labels_known(&self) {
        let is_needed = *self.selects.borrow() && self.lock().labels.is_some();
        let mut labelled = self.labelled.subscribe();
        if is_needed && tokio::time::timeout(LABELS_LIMIT, labelled.wait_for(|known| *known)).await.is_err() {
            self.labelled.send_replace(true);
        }
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn are_labels_known(&self) -> bool {
        *self.labelled.borrow() || !*self.selects.borrow() || self.lock().labels.is_none()
    }

    /// The watch shows the labels of a namespace; none if it is gone.
    pub(super) fn on_namespace(&self, namespace: &str, labels: Option<Labels>) {
        self.relabel(&mut self.lock(), namespace, labels);
    }

    /// A list of all namespaces is complete.
    pub(super) fn on_namespaces_listed(&self, mut listed: HashMap<String, Labels>) {
        let mut inner = self.lock();
        let known = inner.labels.iter().flat_map(HashMap::keys);
        let all: BTreeSet<String> = known.chain(listed.keys()).cloned().collect();
        for namespace in all {
            let labels = listed.remove(&namespace);
            self.relabel(&mut inner, &namespace, labels);
        }
        self.labelled.send_replace(true);
    }

    fn relabel(&self, inner: &mut Inner, namespace: &str, labels: Option<Labels>) {
        let Some(known) = &mut inner.labels else { return };
        if known.get(namespace) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => known.insert(namespace.to_owned(), labels),
            None => known.remove(namespace),
        };
        let first = NamespacedName::new(namespace, "");
        let of_namespace =
            inner.credentials.range(first..).take_while(|(key, _)| *key.namespace == *namespace);
        let followers: Vec<_> = of_namespace
            .filter_map(|(key, entry)| Some((key.clone(), entry.role.followed()?.clone())))
            .collect();
        for (follower, owner) in followers {
            if inner.judge(&owner, &follower) {
                self.wake(inner, &owner);
                self.wake(inner, &follower);
            }
        }
    }

    /// The role of an owner may have changed. Wakes it, for its status, if it permits other followers now, and each follower
    /// that it permits, or no longer permits. The others must notice nothing: when they are woken would tell what happens in
    /// a namespace that is not theirs.
    fn judge_all(&self, inner: &mut Inner, owner: &NamespacedName) {
        let Some(following) = inner.owners.get(owner) else { return };
        let all: Vec<_> = following.followers.iter().cloned().collect();
        let changed: BTreeSet<_> = all.iter().filter(|follower| inner.judge(owner, follower)).collect();
        if !changed.is_empty() {
            self.wake(inner, owner);
        }
        let concerned = |it: &&NamespacedName| changed.contains(it) || inner.is_permitted(owner, it);
        all.iter().filter(concerned).for_each(|follower| self.wake(inner, follower));
    }

    /// Removes a credential; the owner that it followed is woken, for its status.
    fn take_out(&self, inner: &mut Inner, key: &NamespacedName) {
        let owner = inner.followed(key);
        let was_permitted = inner.remove(key);
        if let Some(owner) = owner.filter(|_| was_permitted) {
            self.wake(inner, &owner);
        }
    }

    /// The uid of the owner, and what it offers to followers of this namespace; none if it does not permit them, or there is
    /// none.
    #[must_use]
    pub(super) fn offer(
        &self,
        owner: &NamespacedName,
        namespace: &str,
        term: Term,
    ) -> Option<(Member, Offer)> {
        let mut inner = self.lock();
        if inner.permission(owner, namespace) == Permission::Denied {
            return None;
        }
        let is_current = inner.enter(term);
        let entry = inner.credentials.get(owner)?;
        Some((Arc::clone(&entry.uid), if is_current { entry.offer() } else { Offer::Unread }))
    }

    /// An owner offers this from now on, under this generation of its specification.
    pub(super) fn set_offer(&self, key: &NamespacedName, term: Term, generation: i64, offer: Offer) {
        let mut inner = self.lock();
        let is_current = inner.enter(term);
        let Some(entry) = inner.credentials.get_mut(key).filter(|_| is_current) else { return };
        if entry.offered == generation && entry.offer.is_same(&offer) {
            return;
        }
        (entry.offer, entry.offered) = (offer, generation);
        let permitted = inner.owners.get(key).map(|following| &following.permitted);
        permitted.into_iter().flatten().for_each(|follower| self.wake(&inner, follower));
    }

    /// A follower that is permitted has this wish from now on. The owner is woken by the first of its kind.
    pub(super) fn set_wish(&self, key: &NamespacedName, term: Term, wish: Option<Wish>) {
        let mut inner = self.lock();
        let owner = inner.followed(key).filter(|owner| inner.is_permitted(owner, key));
        let wish = wish.filter(|_| owner.is_some());
        if !inner.enter(term) || inner.credentials.get(key).is_none_or(|entry| entry.wish == wish) {
            return;
        }
        inner.withdraw(key);
        let (Some(wish), Some(owner)) = (wish, owner) else { return };
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

impl Entry {
    /// What it offers. While its specification is another one than the offer is of, that is not known.
    fn offer(&self) -> Offer {
        if self.offered >= self.generation { self.offer.clone() } else { Offer::Unread }
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

    /// Whether an owner permits a namespace, by what the watches have shown last.
    fn permission(&self, owner: &NamespacedName, namespace: &str) -> Permission {
        let role = self.credentials.get(owner).map(|entry| &entry.role);
        let labels = self.labels.as_ref().and_then(|labels| labels.get(namespace));
        permission(role, &owner.namespace, namespace, labels)
    }

    /// Looks whether an owner permits a follower; whether that has changed. One without permission has no wish.
    fn judge(&mut self, owner: &NamespacedName, follower: &NamespacedName) -> bool {
        let is_permitted = self.permission(owner, &follower.namespace) == Permission::Granted;
        if !is_permitted {
            self.withdraw(follower);
        }
        let Some(following) = self.owners.get_mut(owner) else { return false };
        if is_permitted {
            following.permitted.insert(follower.clone())
        } else {
            following.permitted.remove(follower)
        }
    }

    fn is_permitted(&self, owner: &NamespacedName, follower: &NamespacedName) -> bool {
        self.owners.get(owner).is_some_and(|following| following.permitted.contains(follower))
    }

    fn followed(&self, key: &NamespacedName) -> Option<NamespacedName> {
        self.credentials.get(key)?.role.followed().cloned()
    }

    /// Removes a credential; whether it followed another one with its permission.
    fn remove(&mut self, key: &NamespacedName) -> bool {
        self.withdraw(key);
        let mut was_permitted = false;
        if let Some(owner) = self.followed(key)
            && let Some(following) = self.owners.get_mut(&owner)
        {
            was_permitted = following.permitted.remove(key);
            following.followers.remove(key);
            if following.followers.is_empty() {
                self.owners.remove(&owner);
            }
        }
        self.credentials.remove(key);
        was_permitted
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
    use crate::core::sharing::{AllowedNamespaces, Expression, Operator, Selector};
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
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        SharingRole::Owner(AllowedNamespaces { names, selector: None })
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
            Self { index: SharingIndex::new(sender, true), woken }
        }

        /// An owner that permits `shop`, and two followers.
        fn shared() -> Self {
            let mut fixture = Self::new();
            fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop"]));
            fixture.index.on_applied(&key("a"), &"a".into(), 1, &follower());
            fixture.index.on_applied(&key("b"), &"b".into(), 1, &follower());
            assert_eq!(fixture.woken(), ["o", "o"], "its status names them");
            fixture
        }

        fn woken(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.woken.try_recv().ok()).map(|uid| uid.to_string()).collect()
        }

        fn offer(&self) -> Option<Offer> {
            self.index.offer(&key("owner"), "shop", TERM).map(|(_, offer)| offer)
        }
    }

    #[test]
    fn followers_look_again_when_the_owner_comes_goes_or_changes_its_permission_and_not_otherwise() {
        let mut fixture = Fixture::new();
        fixture.index.on_applied(&key("a"), &"a".into(), 1, &follower());
        assert!(fixture.offer().is_none() && fixture.woken().is_empty());
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop"]));
        assert!(fixture.offer().is_some());
        assert_eq!(fixture.woken(), ["o", "a"]);
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop"]));
        assert!(fixture.woken().is_empty(), "the same again");
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["orders"]));
        assert!(fixture.offer().is_none());
        assert_eq!(fixture.woken(), ["o", "a"]);
        fixture.index.on_removed(&key("owner"));
        assert!(fixture.woken().is_empty(), "it is not permitted any more");
        fixture.index.on_removed(&key("a"));
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop"]));
        assert!(fixture.woken().is_empty(), "nobody follows it");
    }

    #[test]
    fn who_is_not_permitted_is_not_woken_by_anything_in_the_namespace_that_it_names_and_wishes_nothing() {
        let mut fixture = Fixture::shared();
        let stranger = NamespacedName::new("elsewhere", "c");
        fixture.index.on_applied(&stranger, &"c".into(), 1, &follower());
        let not_ready = || Offer::NotReady { needs_user_action: true };
        fixture.index.set_offer(&key("owner"), TERM, 1, not_ready());
        fixture.index.on_applied(&key("owner"), &"o".into(), 2, &owner(&["shop", "orders"]));
        fixture.index.set_wish(&stranger, TERM, Some(wish("first")));
        fixture.index.on_removed(&key("owner"));
        fixture.index.on_applied(&key("owner"), &"made anew".into(), 1, &owner(&[]));
        assert!(!fixture.woken().contains(&"c".to_owned()));
        assert!(!fixture.index.is_wanted(&key("owner"), TERM, None));
        fixture.index.on_applied(&key("owner"), &"made anew".into(), 2, &owner(&["shop"]));
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        assert!(fixture.index.is_wanted(&key("owner"), TERM, None));
        fixture.index.on_applied(&key("owner"), &"made anew".into(), 3, &owner(&[]));
        fixture.index.on_applied(&key("owner"), &"made anew".into(), 4, &owner(&["shop"]));
        assert!(!fixture.index.is_wanted(&key("owner"), TERM, None), "the wish ended with the permission");
    }

    #[test]
    fn an_offer_is_not_known_while_the_specification_is_another_one_than_it_is_of() {
        let mut fixture = Fixture::shared();
        let not_ready = || Offer::NotReady { needs_user_action: true };
        let is_known = |fixture: &Fixture| fixture.offer().is_some_and(|offer| offer.is_same(&not_ready()));
        fixture.index.set_offer(&key("owner"), TERM, 1, not_ready());
        assert!(is_known(&fixture));
        fixture.woken();
        fixture.index.on_applied(&key("owner"), &"o".into(), 2, &owner(&["shop"]));
        assert!(!is_known(&fixture) && fixture.woken().is_empty(), "there is nothing to look at yet");
        fixture.index.set_offer(&key("owner"), TERM, 2, not_ready());
        assert!(is_known(&fixture));
        assert_eq!(fixture.woken(), ["a", "b"], "they may have looked meanwhile");
        fixture.index.set_offer(&key("owner"), TERM, 3, not_ready());
        assert!(is_known(&fixture), "the watch is late");
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
        assert_eq!(fixture.woken(), ["o"], "its status names one less");
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        assert_eq!(fixture.woken(), ["o"], "the first again");
        fixture.index.on_applied(&key("a"), &"a".into(), 1, &owner(&[]));
        assert!(!is_wanted(&fixture, None), "it follows nobody any more");
    }

    #[test]
    fn a_wish_for_any_token_is_fulfilled_by_one_that_the_account_holds() {
        let mut fixture = Fixture::shared();
        fixture.index.set_wish(&key("a"), TERM, Some(Wish { published: None }));
        assert_eq!(fixture.woken(), ["o"]);
        assert!(fixture.index.is_wanted(&key("owner"), TERM, None));
        assert!(!fixture.index.is_wanted(&key("owner"), TERM, Some(&wish("held"))));
    }

    #[test]
    fn an_offer_is_of_one_credential_in_one_term() {
        let mut fixture = Fixture::shared();
        let not_ready = || Offer::NotReady { needs_user_action: true };
        fixture.index.set_offer(&key("owner"), TERM, 1, not_ready());
        assert_eq!(fixture.woken(), ["a", "b"]);
        fixture.index.set_offer(&key("owner"), TERM, 1, not_ready());
        assert!(fixture.woken().is_empty(), "the same again");
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop", "orders"]));
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&not_ready())), "another permission");
        fixture.index.on_applied(&key("owner"), &"made anew".into(), 1, &owner(&["shop"]));
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&Offer::Unread)));
        let uid = fixture.index.offer(&key("owner"), "shop", TERM).map(|(uid, _)| uid);
        assert_eq!(uid.as_deref(), Some("made anew"));
        fixture.index.set_offer(&key("owner"), TERM, 1, not_ready());
        fixture.index.set_wish(&key("a"), TERM, Some(wish("first")));
        let next = Term { number: 2, ..TERM };
        assert!(!fixture.index.is_wanted(&key("owner"), next, None));
        fixture.index.set_wish(&key("a"), next, Some(wish("second")));
        fixture.index.set_wish(&key("a"), TERM, None);
        assert!(fixture.index.is_wanted(&key("owner"), next, None), "an earlier term changes nothing");
        assert!(fixture.offer().is_some_and(|offer| offer.is_same(&Offer::Unread)), "in an earlier term");
    }

    #[test]
    fn an_owner_sees_the_followers_that_it_permits_and_no_others() {
        let mut fixture = Fixture::shared();
        let seen = |fixture: &Fixture| fixture.index.followers(&key("owner"));
        let both = Followers { count: 2, names: vec!["shop/a".into(), "shop/b".into()] };
        assert_eq!(seen(&fixture), both);
        fixture.index.on_applied(&NamespacedName::new("elsewhere", "c"), &"c".into(), 1, &follower());
        assert!(fixture.woken().is_empty(), "a follower without permission writes nothing into its status");
        assert_eq!(seen(&fixture), both);
        for number in 0..30 {
            let key = NamespacedName::new("shop", format!("x-{number}"));
            fixture.index.on_applied(&key, &format!("x-{number}").into(), 1, &follower());
        }
        assert_eq!((seen(&fixture).count, seen(&fixture).names.len()), (32, FOLLOWERS_NAMED));
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["orders"]));
        assert_eq!(seen(&fixture), Followers::default());
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &owner(&["shop", "elsewhere"]));
        assert_eq!(seen(&fixture).names[0], "elsewhere/c");
    }

    #[test]
    fn a_selector_permits_and_denies_as_the_labels_of_a_namespace_change() {
        let mut fixture = Fixture::new();
        let expression =
            Expression { key: "team".into(), operator: Operator::In(["sales".to_owned()].into()) };
        let selector = Some(Selector::of(vec![expression]));
        let allowed = AllowedNamespaces { selector, ..AllowedNamespaces::default() };
        assert!(fixture.index.are_labels_known(), "nobody needs them");
        fixture.index.on_applied(&key("owner"), &"o".into(), 1, &SharingRole::Owner(allowed));
        assert!(!fixture.index.are_labels_known());
        fixture.index.on_applied(&key("a"), &"a".into(), 1, &follower());
        let labels = |team: &str| Labels::from([("team".to_owned(), team.to_owned())]);
        fixture.index.on_namespaces_listed([("shop".to_owned(), labels("sales"))].into());
        assert!(fixture.offer().is_some() && fixture.index.are_labels_known());
        assert_eq!(fixture.woken(), ["o", "a"]);
        fixture.index.on_namespace("shop", Some(labels("sales")));
        fixture.index.on_namespace("other", Some(labels("sales")));
        assert!(fixture.woken().is_empty(), "nothing changes for them");
        fixture.index.on_namespace("shop", Some(labels("support")));
        assert!(fixture.offer().is_none());
        assert_eq!(fixture.woken(), ["o", "a"]);
        fixture.index.on_namespace("shop", Some(labels("sales")));
        fixture.index.on_namespaces_listed(HashMap::new());
        assert!(fixture.offer().is_none(), "the namespace is gone");
    }
}
