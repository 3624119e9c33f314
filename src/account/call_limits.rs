//! The limits of an account's calls besides its own state: the circuit breaker of its issuer and the limit on
//! rejections of its user name, see [`crate::core::circuit_breaker`] and [`crate::core::login_budget`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::SignedDuration;

use super::key::UserKey;
use crate::core::account::Throttle;
pub use crate::core::call_limiter::Tenant;
use crate::core::circuit_breaker::{CallOutcome, Caller, CircuitBreaker, TenantHistory};
use crate::core::endpoint::Origin;
use crate::core::login_budget::{RejectionLimit, RejectionLimits};
use crate::core::observed::AccountKey;
use crate::core::time::Moment;

/// How often idle limits are dropped.
const SWEEP_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// For each origin: a breaker per tenant and a shared one, and a rejection limit per tenant.
///
/// Limits are per origin, whatever the path and the trust: a thousand paths are not a thousand issuers.
#[derive(Default)]
pub(super) struct CallLimits(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By tenant; the one without a tenant is shared by all.
    breakers: HashMap<(Origin, Option<Tenant>), CircuitBreaker<AccountHandle>>,
    limits: HashMap<(Origin, Tenant), RejectionLimits<UserKey>>,
    /// How many passwords were rejected that only a status tells to be accepted. They do not wait because of others that
    /// were never accepted, but they are not without a limit either: a tenant may have written the status.
    claimed: HashMap<(Origin, Tenant), RejectionLimits<UserKey>>,
    /// When idle limits were dropped last.
    swept: Option<Moment>,
}

impl Inner {
    fn blocked_until(&self, call_site: &CallSite, user: UserKey, now: Moment) -> Option<Moment> {
        self.limits.get(&call_site.of_one()).and_then(|limits| limits.blocked_until(&user, now))
    }

    /// Drops idle limits. Not every time: there may be as many tenants as calls.
    fn sweep(&mut self, now: Moment) {
        if self.swept.is_none_or(|swept| swept.plus(SWEEP_PAUSE).is_reached(now)) {
            self.swept = Some(now);
            for limits in [&mut self.limits, &mut self.claimed] {
                limits.retain(|_, limits| !limits.are_idle(now));
            }
        }
    }

    /// The breakers that a call has to pass.
    fn breakers(&self, call_site: &CallSite) -> impl Iterator<Item = &CircuitBreaker<AccountHandle>> {
        call_site.scopes().into_iter().filter_map(|scope| self.breakers.get(&scope))
    }

    fn calls_blocked_until(&self, call_site: &CallSite, caller: Caller, now: Moment) -> Option<Moment> {
        let later = |one: Moment, other: Moment| if one.earlier(other, now) == one { other } else { one };
        self.breakers(call_site)
            .filter_map(|breaker| breaker.calls_blocked_until(caller, &call_site.tenant, now))
            .reduce(later)
    }
}

/// Where calls are made, and on whose behalf.
#[derive(Clone)]
pub(super) struct CallSite {
    pub(super) origin: Origin,
    pub(super) tenant: Tenant,
}

impl CallSite {
    fn of_one(&self) -> (Origin, Tenant) {
        (self.origin.clone(), Arc::clone(&self.tenant))
    }

    fn scopes(&self) -> [(Origin, Option<Tenant>); 2] {
        [(self.origin.clone(), None), (self.origin.clone(), Some(Arc::clone(&self.tenant)))]
    }
}

/// What is told of an account once its rejections turn out to say nothing.
pub(super) trait Forgive: Send + Sync {
    /// The last rejection does not count.
    fn forgive(&self, now: Moment);
}

/// An account at a breaker.
#[derive(Clone)]
pub(super) struct AccountHandle {
    pub(super) key: AccountKey,
    pub(super) account: Weak<dyn Forgive>,
}

impl PartialEq for AccountHandle {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl CallLimits {
    /// What keeps this account from calling now.
    pub(super) fn of(&self, call_site: &CallSite, caller: Caller, user: UserKey, now: Moment) -> Throttle {
        let inner = self.lock();
        Throttle {
            calls: inner.calls_blocked_until(call_site, caller, now),
            logins: inner.blocked_until(call_site, user, now),
        }
    }

    /// Until when the limits let no login of this user name through that was never accepted.
    pub(super) fn blocked_until(&self, call_site: &CallSite, user: UserKey, now: Moment) -> Option<Moment> {
        self.lock().blocked_until(call_site, user, now)
    }

    /// Until when the limits let no login of this user name through that only a status tells to be accepted.
    pub(super) fn claimed_blocked_until(
        &self,
        call_site: &CallSite,
        user: UserKey,
        now: Moment,
    ) -> Option<Moment> {
        self.lock().claimed.get(&call_site.of_one()).and_then(|limits| limits.blocked_until(&user, now))
    }

    /// The issuer rejected a password that only a status tells to be accepted.
    pub(super) fn reject_claimed(&self, call_site: &CallSite, user: UserKey, now: Moment) {
        let mut inner = self.lock();
        let limits = inner.claimed.entry(call_site.of_one()).or_default();
        limits.change(user, now, |limit| limit.end(true, now));
        inner.sweep(now);
    }

    /// Starts a call; returns false if a breaker blocks it.
    pub(super) fn begin(
        &self,
        call_site: &CallSite,
        handle: &AccountHandle,
        caller: Caller,
        now: Moment,
    ) -> bool {
        let mut inner = self.lock();
        let is_free = inner.calls_blocked_until(call_site, caller, now).is_none();
        for scope in call_site.scopes().into_iter().filter(|_| is_free) {
            if let Some(breaker) = inner.breakers.get_mut(&scope) {
                breaker.begin(handle, caller.pace);
            }
        }
        is_free
    }

    /// Whether a call that has begun may still be sent.
    pub(super) fn is_call_allowed(&self, call_site: &CallSite, handle: &AccountHandle) -> bool {
        self.lock().breakers(call_site).all(|breaker| breaker.is_call_allowed(handle))
    }

    /// A call was aborted, without a result.
    pub(super) fn abandon(&self, call_site: &CallSite, handle: &AccountHandle) {
        let mut inner = self.lock();
        for scope in call_site.scopes() {
            if let Some(breaker) = inner.breakers.get_mut(&scope) {
                breaker.abandon(handle);
            }
        }
    }

    /// A call ended. Returns the accounts whose rejections turn out to be meaningless.
    pub(super) fn end(
        &self,
        call_site: &CallSite,
        handle: &AccountHandle,
        is_proven: bool,
        call_outcome: CallOutcome,
        now: Moment,
    ) -> Vec<AccountHandle> {
        let mut inner = self.lock();
        let history = TenantHistory { tenant: Arc::clone(&call_site.tenant), is_proven };
        let mut forgiven: Vec<AccountHandle> = Vec::new();
        for scope in call_site.scopes() {
            let is_new = !inner.breakers.contains_key(&scope);
            if is_new && matches!(call_outcome, CallOutcome::Works | CallOutcome::Answers) {
                continue;
            }
            if is_new {
                inner.breakers.retain(|_, breaker| !breaker.is_idle(now));
            }
            let create = if scope.1.is_some() { CircuitBreaker::of_one } else { CircuitBreaker::of_all };
            let found =
                inner.breakers.entry(scope).or_insert_with(create).end(handle, &history, call_outcome, now);
            forgiven.extend(found);
        }
        forgiven
    }

    /// Starts a login that the issuer never accepted; returns false if the limits delay it.
    pub(super) fn begin_login(&self, call_site: &CallSite, user: UserKey, now: Moment) -> bool {
        let is_free = self.blocked_until(call_site, user, now).is_none();
        if is_free {
            self.limit(call_site, user, now, RejectionLimit::begin);
        }
        is_free
    }

    /// Whether a login may be attempted that the issuer never accepted; if so, it counts as in progress.
    pub(super) fn begin_attempt(&self, call_site: &CallSite, now: Moment) -> bool {
        self.lock().limits.entry(call_site.of_one()).or_default().begin_attempt(now)
    }

    /// A login attempt ended.
    pub(super) fn end_attempt(&self, call_site: &CallSite) {
        if let Some(limits) = self.lock().limits.get_mut(&call_site.of_one()) {
            limits.end_attempt();
        }
    }

    /// A login has ended that the issuer never accepted before.
    pub(super) fn end_login(&self, call_site: &CallSite, user: UserKey, is_rejected: bool, now: Moment) {
        self.limit(call_site, user, now, |limit| limit.end(is_rejected, now));
    }

    /// Takes over what status remembers of such rejections.
    pub(super) fn remember(
        &self,
        call_site: &CallSite,
        user: UserKey,
        count: u32,
        last: Moment,
        now: Moment,
    ) {
        self.limit(call_site, user, now, |limit| limit.remember(count, last));
    }

    /// How many such rejections there were lately.
    pub(super) fn rejections(&self, call_site: &CallSite, user: UserKey, now: Moment) -> u32 {
        self.lock().limits.get(&call_site.of_one()).map_or(0, |limits| limits.count(&user, now))
    }

    fn limit(
        &self,
        call_site: &CallSite,
        user: UserKey,
        now: Moment,
        change: impl FnOnce(&mut RejectionLimit),
    ) {
        let mut inner = self.lock();
        inner.limits.entry(call_site.of_one()).or_default().change(user, now, change);
        inner.sweep(now);
    }

    /// Each origin with a shared breaker, and whether it is open.
    pub(super) fn circuits(&self) -> Vec<(String, bool)> {
        let inner = self.lock();
        let shared = inner.breakers.iter().filter(|((_, tenant), _)| tenant.is_none());
        shared.map(|((origin, _), breaker)| (origin.to_string(), breaker.is_open())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
