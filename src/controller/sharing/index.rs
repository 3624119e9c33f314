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
use crate::account::{Member, Session};
use crate::core::object_name::NamespacedName;
use crate::core::sharing::{FOLLOWERS_NAMED, Followers, Labels, Permission, SharingRole, Wish, permission};

/// How long references wait for the first list of namespaces. After that, selectors permit none until it comes.
const LABELS_LIMIT: Duration = Duration::from_secs(10);

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
    /// Whether any credential selects namespaces by their labels.
    selects: watch::Sender<bool>,
    /// Whether the labels of all namespaces are known, or were waited for long enough.
    labelled: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    // In order, so that those of a namespace are found together, and a run can be repeated.
    credentials: BTreeMap<NamespacedName, Entry>,
    /// By the name that the followers give, whether there is such a credential or not.
    owners: HashMap<NamespacedName, Following>,
    /// The labels of each namespace; none if they are not read.
    labels: Option<HashMap<String, Labels>>,
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
    pub(in crate::controller) fn on_applied(&self, key: &NamespacedName, uid: &str, role: &SharingRole) {
        let mut inner = self.lock();
        let before = inner.credentials.get(key);
        if before.is_some_and(|entry| &*entry.uid == uid && entry.role == *role) {
            return;
        }
        let offer = before.filter(|entry| &*entry.uid == uid).map(|entry| entry.offer.clone());
        self.take_out(&mut inner, key);
        let (uid, offer) = (Member::from(uid), offer.unwrap_or_default());
        inner.credentials.insert(key.clone(), Entry { uid, role: role.clone(), offer, wish: None });
        match role {
            SharingRole::Follower(owner) => {
                inner.owners.entry(owner.clone()).or_default().followers.insert(key.clone());
                self.judge(&mut inner, owner, key);
            }
            SharingRole::Owner(allowed) => {
                let selects = allowed.selector.is_some();
                self.selects.send_if_modified(|used| selects && !std::mem::replace(used, true));
            }
            SharingRole::None => {}
        }
        self.judge_all(&mut inner, key);
        self.wake_followers(&inner, key);
    }

    /// A credential is gone.
    pub(in crate::controller) fn on_removed(&self, key: &NamespacedName) {
        let mut inner = self.lock();
        self.take_out(&mut inner, key);
        self.judge_all(&mut inner, key);
        self.wake_followers(&inner, key);
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
        let of_namespace = inner.credentials.range(first..).take_while(|(key, _)| key.namespace == namespace);
        let followers: Vec<_> = of_namespace
            .filter_map(|(key, entry)| Some((key.clone(), entry.role.followed()?.clone())))
            .collect();
        for (follower, owner) in followers {
            if self.judge(inner, &owner, &follower) {
                self.wake(inner, &follower);
            }
        }
    }

    /// Looks whether an owner permits a follower; whether that has changed. The owner is woken then, for its status.
    fn judge(&self, inner: &mut Inner, owner: &NamespacedName, follower: &NamespacedName) -> bool {
        let is_permitted = inner.permission(owner, &follower.namespace) == Permission::Granted;
        let Some(following) = inner.owners.get_mut(owner) else { return false };
        let is_changed = if is_permitted {
            following.permitted.insert(follower.clone())
        } else {
            following.permitted.remove(follower)
        };
        if is_changed {
            self.wake(inner, owner);
        }
        is_changed
    }

    fn judge_all(&self, inner: &mut Inner, owner: &NamespacedName) {
        let followers = inner.owners.get(owner).map(|following| following.followers.clone());
        for follower in followers.unwrap_or_default() {
            self.judge(inner, owner, &follower);
        }
    }

    /// Removes a credential; the owner that it followed is woken, for its status.
    fn take_out(&self, inner: &mut Inner, key: &NamespacedName) {
        let owner = inner.followed(key);
        let was_permitted = inner.remove(key);
        if let Some(owner) = owner.filter(|_| was_permitted) {
            self.wake(inner, &owner);
        }
    }

    /// What the owner offers to followers of this namespace; none if it does not permit them, or there is none.
    #[must_use]
    pub(super) fn offer(&self, owner: &NamespacedName, namespace: &str, term: Term) -> Option<Offer> {
        let mut inner = self.lock();
        match inner.permission(owner, namespace) {
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

    /// Whether an owner permits a namespace, by what the watches have shown last.
    fn permission(&self, owner: &NamespacedName, namespace: &str) -> Permission {
        let role = self.credentials.get(owner).map(|entry| &entry.role);
        let labels = self.labels.as_ref().and_then(|labels| labels.get(namespace));
        permission(role, &owner.namespace, namespace, labels)
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
            fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
            fixture.index.on_applied(&key("a"), "a", &follower());
            fixture.index.on_applied(&key("b"), "b", &follower());
            assert_eq!(fixture.woken(), ["o", "o"], "its status names them");
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
        assert_eq!(fixture.woken(), ["o", "a"]);
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop"]));
        assert!(fixture.woken().is_empty(), "the same again");
        fixture.index.on_applied(&key("owner"), "o", &owner(&["orders"]));
        assert!(fixture.offer().is_none());
        assert_eq!(fixture.woken(), ["o", "a"]);
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
        assert_eq!(fixture.woken(), ["o"], "its status names one less");
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

    #[test]
    fn an_owner_sees_the_followers_that_it_permits_and_no_others() {
        let mut fixture = Fixture::shared();
        let seen = |fixture: &Fixture| fixture.index.followers(&key("owner"));
        let both = Followers { count: 2, names: vec!["shop/a".into(), "shop/b".into()] };
        assert_eq!(seen(&fixture), both);
        fixture.index.on_applied(&NamespacedName::new("elsewhere", "c"), "c", &follower());
        assert!(fixture.woken().is_empty(), "whoever is not permitted writes nothing into its status");
        assert_eq!(seen(&fixture), both);
        for number in 0..30 {
            let key = NamespacedName::new("shop", format!("x-{number}"));
            fixture.index.on_applied(&key, &format!("x-{number}"), &follower());
        }
        assert_eq!((seen(&fixture).count, seen(&fixture).names.len()), (32, FOLLOWERS_NAMED));
        fixture.index.on_applied(&key("owner"), "o", &owner(&["orders"]));
        assert_eq!(seen(&fixture), Followers::default());
        fixture.index.on_applied(&key("owner"), "o", &owner(&["shop", "elsewhere"]));
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
        fixture.index.on_applied(&key("owner"), "o", &SharingRole::Owner(allowed));
        assert!(!fixture.index.are_labels_known());
        fixture.index.on_applied(&key("a"), "a", &follower());
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
