//! What keeps an account from calling beside its own state: the breaker of its issuer and the limit on rejections of its
//! user name, see [`crate::core::breaker`] and [`crate::core::budget`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::key::UserKey;
use super::session::Session;
use crate::core::account::Restraint;
use crate::core::breaker::{Breaker, Caller, Verdict};
use crate::core::budget::RejectionLimit;
use crate::core::moment::Moment;
use crate::core::observed::AccountKey;
use crate::issuer::Site;

/// On whose behalf a member takes part, such as its namespace. What one tenant does is never held against another.
pub type Tenant = Arc<str>;

/// One breaker an issuer, and one limit a tenant and user name.
///
/// Calls to other paths of an origin, or under another trust, are of another issuer here: whoever names a wrong one
/// fails alone.
#[derive(Default)]
pub(super) struct Restraints(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    breakers: HashMap<Site, Breaker<Who>>,
    limits: HashMap<(Tenant, UserKey), RejectionLimit>,
}

impl Inner {
    fn puts_off(&self, tenant: &Tenant, user: UserKey, now: Moment) -> Option<Moment> {
        self.limits.get(&(Arc::clone(tenant), user)).and_then(|limit| limit.puts_off(now))
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
    pub(super) fn of(
        &self,
        site: &Site,
        caller: Caller,
        tenant: &Tenant,
        user: UserKey,
        now: Moment,
    ) -> Restraint {
        let inner = self.lock();
        Restraint {
            calls: inner.breakers.get(site).and_then(|breaker| breaker.holds_back(caller, now)),
            logins: inner.puts_off(tenant, user, now),
        }
    }

    /// Until when the limit of this user name lets no login through that was never accepted.
    pub(super) fn puts_off(&self, tenant: &Tenant, user: UserKey, now: Moment) -> Option<Moment> {
        self.lock().puts_off(tenant, user, now)
    }

    /// A call begins, unless the breaker holds it back; whether it does.
    pub(super) fn begins(&self, site: &Site, who: &Who, caller: Caller, now: Moment) -> bool {
        let mut inner = self.lock();
        let Some(breaker) = inner.breakers.get_mut(site) else { return true };
        let is_free = breaker.holds_back(caller, now).is_none();
        if is_free {
            breaker.begins(who);
        }
        is_free
    }

    /// Whether a call that has begun may still be sent.
    pub(super) fn lets_pass(&self, site: &Site, who: &Who) -> bool {
        self.lock().breakers.get(site).is_none_or(|breaker| breaker.lets_pass(who))
    }

    /// A call was given up, and says nothing.
    pub(super) fn gives_up(&self, site: &Site, who: &Who) {
        if let Some(breaker) = self.lock().breakers.get_mut(site) {
            breaker.gives_up(who);
        }
    }

    /// A call has ended. Returns whose rejections turn out to say nothing.
    pub(super) fn ends(&self, site: &Site, who: &Who, verdict: Verdict, now: Moment) -> Vec<Who> {
        let mut inner = self.lock();
        let is_new = !inner.breakers.contains_key(site);
        if is_new && matches!(verdict, Verdict::Works | Verdict::Answers) {
            return Vec::new();
        }
        if is_new {
            inner.breakers.retain(|_, breaker| !breaker.is_idle(now));
        }
        inner.breakers.entry(site.clone()).or_default().ends(who, verdict, now)
    }

    /// A login begins that the issuer never accepted, unless the limit puts it off; whether it does.
    pub(super) fn login_begins(&self, tenant: &Tenant, user: UserKey, now: Moment) -> bool {
        self.limit(tenant, user, now, |limit| {
            let is_free = limit.puts_off(now).is_none();
            if is_free {
                limit.begins();
            }
            is_free
        })
    }

    /// A login has ended that the issuer never accepted before.
    pub(super) fn login_ends(&self, tenant: &Tenant, user: UserKey, is_rejected: bool, now: Moment) {
        self.limit(tenant, user, now, |limit| limit.ends(is_rejected, now));
    }

    /// Takes over what status remembers of such rejections.
    pub(super) fn remember(&self, tenant: &Tenant, user: UserKey, count: u32, last: Moment, now: Moment) {
        self.limit(tenant, user, now, |limit| limit.remember(count, last));
    }

    /// How many such rejections there were lately.
    pub(super) fn rejections(&self, tenant: &Tenant, user: UserKey, now: Moment) -> u32 {
        self.lock().limits.get(&(Arc::clone(tenant), user)).map_or(0, |limit| limit.count(now))
    }

    fn limit<T>(
        &self,
        tenant: &Tenant,
        user: UserKey,
        now: Moment,
        change: impl FnOnce(&mut RejectionLimit) -> T,
    ) -> T {
        let mut inner = self.lock();
        inner.limits.retain(|_, limit| !limit.is_over(now));
        change(inner.limits.entry((Arc::clone(tenant), user)).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
