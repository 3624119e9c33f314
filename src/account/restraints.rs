//! What keeps an account from calling beside its own state: the breaker of its issuer and the limit on rejections of its
//! user name, see [`crate::core::breaker`] and [`crate::core::budget`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::key::UserKey;
use super::session::Session;
use crate::core::account::Restraint;
use crate::core::breaker::{Breaker, Caller, Standing, Verdict};
use crate::core::budget::{RejectionLimit, RejectionLimits};
use crate::core::endpoint::Origin;
pub use crate::core::gate::Tenant;
use crate::core::moment::Moment;
use crate::core::observed::AccountKey;

/// At each origin one breaker a tenant and one for all, and one limit a tenant over the user names that it presents there.
///
/// The origin is what counts, whatever the path and the trust: a thousand paths are no thousand issuers.
#[derive(Default)]
pub(super) struct Restraints(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By tenant; that of nobody is everybody's.
    breakers: HashMap<(Origin, Option<Tenant>), Breaker<Who>>,
    limits: HashMap<(Origin, Tenant), RejectionLimits<UserKey>>,
}

impl Inner {
    fn puts_off(&self, place: &Place, user: UserKey, now: Moment) -> Option<Moment> {
        self.limits.get(&place.of_one()).and_then(|limits| limits.puts_off(&user, now))
    }

    /// The breakers that a call has to pass.
    fn breakers(&self, place: &Place) -> impl Iterator<Item = &Breaker<Who>> {
        place.scopes().into_iter().filter_map(|scope| self.breakers.get(&scope))
    }

    fn holds_back(&self, place: &Place, caller: Caller, now: Moment) -> Option<Moment> {
        let later = |one: Moment, other: Moment| if one.earlier(other, now) == one { other } else { one };
        self.breakers(place)
            .filter_map(|breaker| breaker.holds_back(caller, &place.tenant, now))
            .reduce(later)
    }
}

/// Where calls are made, and on whose behalf.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) tenant: Tenant,
}

impl Place {
    fn of_one(&self) -> (Origin, Tenant) {
        (self.origin.clone(), Arc::clone(&self.tenant))
    }

    fn scopes(&self) -> [(Origin, Option<Tenant>); 2] {
        [(self.origin.clone(), None), (self.origin.clone(), Some(Arc::clone(&self.tenant)))]
    }
}

/// An account at a breaker.
#[derive(Clone)]
pub(super) struct Who {
    pub(super) key: AccountKey,
    pub(super) session: Weak<Session>,
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Restraints {
    /// What keeps this account from calling now.
    pub(super) fn of(&self, place: &Place, caller: Caller, user: UserKey, now: Moment) -> Restraint {
        let inner = self.lock();
        Restraint { calls: inner.holds_back(place, caller, now), logins: inner.puts_off(place, user, now) }
    }

    /// Until when the limits let no login of this user name through that was never accepted.
    pub(super) fn puts_off(&self, place: &Place, user: UserKey, now: Moment) -> Option<Moment> {
        self.lock().puts_off(place, user, now)
    }

    /// A call begins, unless a breaker holds it back; whether it does.
    pub(super) fn begins(&self, place: &Place, who: &Who, caller: Caller, now: Moment) -> bool {
        let mut inner = self.lock();
        let is_free = inner.holds_back(place, caller, now).is_none();
        for scope in place.scopes().into_iter().filter(|_| is_free) {
            if let Some(breaker) = inner.breakers.get_mut(&scope) {
                breaker.begins(who, caller.pace);
            }
        }
        is_free
    }

    /// Whether a call that has begun may still be sent.
    pub(super) fn lets_pass(&self, place: &Place, who: &Who) -> bool {
        self.lock().breakers(place).all(|breaker| breaker.lets_pass(who))
    }

    /// A call was given up, and says nothing.
    pub(super) fn gives_up(&self, place: &Place, who: &Who) {
        let mut inner = self.lock();
        for scope in place.scopes() {
            if let Some(breaker) = inner.breakers.get_mut(&scope) {
                breaker.gives_up(who);
            }
        }
    }

    /// A call has ended. Returns whose rejections turn out to say nothing.
    pub(super) fn ends(
        &self,
        place: &Place,
        who: &Who,
        is_proven: bool,
        verdict: Verdict,
        now: Moment,
    ) -> Vec<Who> {
        let mut inner = self.lock();
        let standing = Standing { tenant: Arc::clone(&place.tenant), is_proven };
        let mut forgiven: Vec<Who> = Vec::new();
        for scope in place.scopes() {
            let is_new = !inner.breakers.contains_key(&scope);
            if is_new && matches!(verdict, Verdict::Works | Verdict::Answers) {
                continue;
            }
            if is_new {
                inner.breakers.retain(|_, breaker| !breaker.is_idle(now));
            }
            let create = if scope.1.is_some() { Breaker::of_one } else { Breaker::of_all };
            let found = inner.breakers.entry(scope).or_insert_with(create).ends(who, &standing, verdict, now);
            forgiven.extend(found);
        }
        forgiven
    }

    /// A login begins that the issuer never accepted, unless the limits put it off; whether it does.
    pub(super) fn login_begins(&self, place: &Place, user: UserKey, now: Moment) -> bool {
        let is_free = self.puts_off(place, user, now).is_none();
        if is_free {
            self.limit(place, user, now, RejectionLimit::begins);
        }
        is_free
    }

    /// A login is about to be presented that the issuer never accepted; whether it may be.
    pub(super) fn presents(&self, place: &Place, now: Moment) -> bool {
        self.lock().limits.entry(place.of_one()).or_default().presents(now)
    }

    /// One that was presented has ended.
    pub(super) fn has_presented(&self, place: &Place) {
        if let Some(limits) = self.lock().limits.get_mut(&place.of_one()) {
            limits.has_presented();
        }
    }

    /// A login has ended that the issuer never accepted before.
    pub(super) fn login_ends(&self, place: &Place, user: UserKey, is_rejected: bool, now: Moment) {
        self.limit(place, user, now, |limit| limit.ends(is_rejected, now));
    }

    /// Takes over what status remembers of such rejections.
    pub(super) fn remember(&self, place: &Place, user: UserKey, count: u32, last: Moment, now: Moment) {
        self.limit(place, user, now, |limit| limit.remember(count, last));
    }

    /// How many such rejections there were lately.
    pub(super) fn rejections(&self, place: &Place, user: UserKey, now: Moment) -> u32 {
        self.lock().limits.get(&place.of_one()).map_or(0, |limits| limits.count(&user, now))
    }

    fn limit(&self, place: &Place, user: UserKey, now: Moment, change: impl FnOnce(&mut RejectionLimit)) {
        let mut inner = self.lock();
        inner.limits.retain(|_, limits| !limits.are_over(now));
        change(inner.limits.entry(place.of_one()).or_default().of(user, now));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
