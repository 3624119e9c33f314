//! The session of one account: its state, its members, and the one call that may be in flight.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::SignedDuration;

use super::call_limits::{AccountHandle, CallSite, Forgive, Tenant};
use super::key::UserKey;
use super::members::{Member, Members, Membership};
use super::shared::{STOP_GRACE, Shared};
use crate::core::account::{Account, Call, Next, Strategy, Throttle, TokenResponse};
use crate::core::call_limiter::{CallRequest, Priority};
use crate::core::circuit_breaker::Caller;
use crate::core::observed::{AccountKey, AccountView};
use crate::core::reason::Reason;
use crate::core::retry::{Failure, RetryClass};
use crate::core::time::Moment;
use crate::core::token::Grant;
use crate::core::username_password::LoginPair;
use crate::issuer::{Exchange, IssuerAddress, IssuerError, Trust};

/// Records the attempt of a login that was never accepted, just before it is sent; whether it did.
pub type AttemptRecorder = BoxFuture<'static, bool>;

/// The session of one account.
pub struct Session {
    key: AccountKey,
    user: UserKey,
    site: IssuerAddress,
    source: String,
    is_retired: AtomicBool,
    account: Mutex<Account>,
    members: Arc<Members>,
    shared: Arc<Shared>,
}

impl Session {
    pub(super) fn new(
        key: AccountKey,
        user: UserKey,
        site: IssuerAddress,
        source: String,
        shared: Arc<Shared>,
    ) -> Self {
        let members = Arc::new(Members::new(Arc::clone(&shared.clock)));
        Self {
            key,
            user,
            site,
            source,
            is_retired: AtomicBool::new(false),
            account: Mutex::default(),
            members,
            shared,
        }
    }

    /// The account's key.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        self.key
    }

    /// Where its issuer is called.
    #[must_use]
    pub fn site(&self) -> &IssuerAddress {
        &self.site
    }

    /// Joins: from now on, the member is notified when a call ends, until the membership is dropped.
    pub fn join(&self, member: Member, strategy: Strategy) -> Membership {
        self.members.join(member, strategy)
    }

    /// Whether it has had no member since this moment, or longer.
    pub(super) fn is_idle_since(&self, moment: Moment) -> bool {
        self.members.is_idle_since(moment)
    }

    /// The account as a member of this tenant sees it.
    #[must_use]
    pub fn view(&self, tenant: &Tenant) -> AccountView {
        self.view_with(tenant, |_, _| ()).0
    }

    /// The view, and what `read` takes from the same state: a call that ends in between cannot separate them.
    pub fn view_with<T>(
        &self,
        tenant: &Tenant,
        read: impl FnOnce(&AccountView, &Account) -> T,
    ) -> (AccountView, T) {
        let (strategy, now) = (self.members.strategy(), self.shared.clock.now());
        let rejections_of_user = self.rejections_of_user(tenant);
        let account = self.account();
        let throttle = self.throttle(&account, &self.call_site(tenant), now);
        let view = AccountView::of(self.key, &account, throttle, strategy, now);
        let view = AccountView { rejections_of_user, ..view };
        let taken = read(&view, &account);
        (view, taken)
    }

    /// Reads the state itself, for what a report needs beyond the view.
    pub fn with_account<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.account())
    }

    /// Takes over what an earlier process recorded of the account.
    pub fn remember(&self, record: impl FnOnce(&mut Account)) {
        record(&mut self.account());
    }

    /// How often this user name was rejected lately for this tenant, with passwords that were never accepted.
    fn rejections_of_user(&self, tenant: &Tenant) -> u32 {
        let now = self.shared.clock.now();
        self.shared.call_limits.rejections(&self.call_site(tenant), self.user, now)
    }

    /// Starts the call that a new token needs, unless one is in flight or none is allowed now; whether it did.
    ///
    /// A login needs the pair, which is gone with the call. `override_hold` allows one attempt of a held login.
    pub fn obtain(self: &Arc<Self>, tenant: &Tenant, pair: Option<LoginPair>, override_hold: bool) -> bool {
        self.obtain_recorded(tenant, pair, override_hold, None)
    }

    /// The same, with what records the attempt once it is its turn. The call is not sent if that fails.
    pub fn obtain_recorded(
        self: &Arc<Self>,
        tenant: &Tenant,
        pair: Option<LoginPair>,
        override_hold: bool,
        record: Option<AttemptRecorder>,
    ) -> bool {
        if !self.may_call() {
            return false;
        }
        let call_site = self.call_site(tenant);
        let Some((call, is_trial)) = self.begin(&call_site, pair, override_hold) else { return false };
        let session = Arc::clone(self);
        self.shared.tasks.spawn(async move { session.run(call, call_site, is_trial, record).await });
        true
    }

    /// Starts a call, and returns whether it is a login that was never accepted.
    fn begin(
        self: &Arc<Self>,
        call_site: &CallSite,
        pair: Option<LoginPair>,
        override_hold: bool,
    ) -> Option<(Call, bool)> {
        let (strategy, now) = (self.members.strategy(), self.shared.clock.now());
        let call_limits = &self.shared.call_limits;
        let mut account = self.account();
        let throttle = self.throttle(&account, call_site, now);
        if override_hold && account.put_off(throttle, now).is_none() {
            account.override_hold(now);
        }
        let next = account.next_under(throttle, strategy, now);
        let is_due = matches!(next, Next::Refresh | Next::Login);
        if !is_due || next == Next::Login && pair.is_none() {
            return None;
        }
        let handle = self.handle();
        let is_trial = next == Next::Login && account.accepted().is_none();
        if !call_limits.begin(call_site, &handle, self.caller(&account, now), now) {
            return None;
        }
        if is_trial && !call_limits.begin_login(call_site, self.user, now) {
            call_limits.abandon(call_site, &handle);
            return None;
        }
        account.begin(strategy, pair, now).map(|call| (call, is_trial))
    }

    fn throttle(&self, account: &Account, call_site: &CallSite, now: Moment) -> Throttle {
        self.shared.call_limits.of(call_site, self.caller(account, now), self.user, now)
    }

    fn call_site(&self, tenant: &Tenant) -> CallSite {
        CallSite { origin: self.site.endpoint.origin.clone(), tenant: Arc::clone(tenant) }
    }

    fn caller(&self, account: &Account, now: Moment) -> Caller {
        let [first, second, ..] = self.key.0;
        let place = f64::from(u16::from_be_bytes([first, second])) / (f64::from(u16::MAX) + 1.0);
        let is_overdue = account.overdue().is_none_or(|overdue| overdue.is_reached(now));
        let failures = account.last_failure().map_or(0, |last_failure| last_failure.count);
        let is_proven = account.accepted().is_some();
        Caller { pace: account.pace(), is_overdue, is_proven, failures, place }
    }

    fn handle(self: &Arc<Self>) -> AccountHandle {
        let account: Weak<Self> = Arc::downgrade(self);
        AccountHandle { key: self.key, account }
    }

    fn may_call(&self) -> bool {
        !self.shared.stop.is_cancelled() && (self.shared.may_call)()
    }

    /// Makes a call. The receivers of its end decide what follows from the response.
    async fn run(
        self: Arc<Self>,
        call: Call,
        call_site: CallSite,
        is_trial: bool,
        record: Option<AttemptRecorder>,
    ) {
        let (request, limit) = self.request(&call_site);
        let trial = is_trial.then_some(Trial::Waits);
        let mut end = CallGuard { session: &self, call_site, is_in_flight: true, trial };
        let Shared { call_limiters, call_limits, clock, stop, .. } = &*self.shared;
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            permit = call_limiters.enter(&self.site.endpoint.origin, request, clock.now()) => permit,
        };
        // Much may have changed while it waited for its turn, or was recorded.
        let handle = self.handle();
        let call_site = end.call_site.clone();
        let is_free =
            || self.may_call() && self.is_wanted() && call_limits.is_call_allowed(&call_site, &handle);
        let is_turn = permit.is_some() && is_free();
        if is_turn && is_trial && call_limits.begin_attempt(&call_site, clock.now()) {
            end.trial = Some(Trial::Presented);
        }
        let is_turn = is_turn && end.trial != Some(Trial::Waits);
        let is_sent = is_turn && self.is_recorded(record).await && is_free();
        if is_sent {
            let exchange = tokio::select! {
                exchange = self.exchange(&call, limit) => exchange,
                () = self.stop_grace() => return,
            };
            let is_rejected = self.finish(call, &call_site, exchange);
            end.trial = end.trial.map(|trial| if is_rejected { Trial::Rejected } else { trial });
        } else {
            call_limits.abandon(&call_site, &handle);
            self.account().withdraw(call);
        }
        end.is_in_flight = false;
    }

    /// Records the attempt if required; returns whether the call may be sent.
    async fn is_recorded(&self, record: Option<AttemptRecorder>) -> bool {
        let Some(record) = record else { return true };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => false,
            is_recorded = record => is_recorded,
        }
    }

    async fn exchange(&self, call: &Call, limit: SignedDuration) -> Exchange {
        let limit = Duration::try_from(limit).unwrap_or(Duration::from_secs(10));
        let issuer = &self.shared.issuer;
        match call {
            Call::Refresh { token, refresh } => issuer.refresh(&self.site, token, refresh, limit).await,
            Call::Login(pair) => issuer.login(&self.site, pair, limit).await,
        }
    }

    /// Whether anybody still takes part, and this is still the account's session.
    fn is_wanted(&self) -> bool {
        !self.is_retired.load(Ordering::Acquire) && !self.members.is_empty()
    }

    /// Another process may use the account from now on: calls that wait for their turn are not sent any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// What the next call is for, and how long it may take.
    fn request(&self, call_site: &CallSite) -> (CallRequest, SignedDuration) {
        let account = self.account();
        let priority =
            account.overdue().map_or(Priority::FirstIssue, |overdue| Priority::Renewal { overdue });
        let failures = account.last_failure().map_or(0, |last_failure| last_failure.count);
        (
            CallRequest { tenant: Arc::clone(&call_site.tenant), priority, failures },
            account.pace().call_limit(),
        )
    }

    async fn stop_grace(&self) {
        self.shared.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Takes in how a call went; whether the login was rejected, and that counts.
    fn finish(self: &Arc<Self>, call: Call, call_site: &CallSite, exchange: Exchange) -> bool {
        self.log_outcome(call.grant(), &exchange);
        let blank = matches!(&call, Call::Login(pair) if pair.password_has_blank());
        let Shared { call_limits, clock, .. } = &*self.shared;
        let now = clock.now();
        let mut account = self.account();
        let result = exchange.result.map_err(|error| {
            let failure = Failure { class: error.class(), reason: self.reason(&error) };
            let Failure { class, reason } = account.judge(call.grant(), failure);
            Failure { class, reason: reason.of_password(blank) }
        });
        let call_outcome =
            account.call_outcome(result.as_ref().map(drop), self.site.trust != Trust::PublicRoots);
        let forgiven =
            call_limits.end(call_site, &self.handle(), account.accepted().is_some(), call_outcome, now);
        let is_rejected = matches!(&result, Err(failure) if failure.class == RetryClass::Rejected);
        account.finish(call, result, now, clock.random_fraction());
        drop(account);
        for account in forgiven.iter().filter_map(|handle| handle.account.upgrade()) {
            account.forgive(now);
        }
        is_rejected
    }

    /// The message for a failed call.
    fn reason(&self, error: &IssuerError) -> Reason {
        error.reason(&self.source, &self.site.endpoint.origin)
    }

    /// Has every member look again.
    fn wake_members(&self) {
        for member in self.members.names() {
            // An error means that there is no receiver: the process is stopping.
            let _ = self.shared.ended.send(member);
        }
    }

    fn log_outcome(&self, grant: Grant, exchange: &Exchange) {
        let metrics = &self.shared.metrics;
        let origin = &self.site.endpoint.origin;
        let outcome = exchange.result.as_ref().map_or_else(IssuerError::outcome, |_| "ok");
        metrics.issuer_call(grant, outcome, exchange.duration);
        if let Some(skew) = exchange.clock_skew {
            metrics.issuer_clock_skew(origin, skew);
        }
        let login = &self.source;
        match &exchange.result {
            Ok(TokenResponse { token, .. }) => tracing::info!(
                login, %origin, ?grant, fingerprint = %token.fingerprint,
                lifetime_seconds = token.validity.lifetime.as_secs(), "token obtained"
            ),
            // Not a failure: a login follows at once, and shows whether anything is wrong.
            Err(error @ IssuerError::RefreshRejected) => tracing::info!(login, %origin, "{error}"),
            Err(error) => {
                let reason = self.reason(error);
                tracing::warn!(login, %origin, ?grant, outcome, reason = reason.name(), "{error}");
            }
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forgive for Session {
    fn forgive(&self, now: Moment) {
        self.account().forgive(now);
        self.wake_members();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("origin", &self.site.endpoint.origin).finish_non_exhaustive()
    }
}

/// Ends a call, even if its task is dropped or panics: members are notified, and the account does not wait for it
/// forever.
struct CallGuard<'a> {
    session: &'a Arc<Session>,
    call_site: CallSite,
    is_in_flight: bool,
    trial: Option<Trial>,
}

/// How far a login came that was never accepted before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// It waits for its turn.
    Waits,
    /// The call was admitted.
    Presented,
    /// The issuer rejected it.
    Rejected,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let session = self.session;
        let Shared { call_limits, clock, .. } = &*session.shared;
        if self.is_in_flight {
            session.account().abandon();
            call_limits.abandon(&self.call_site, &session.handle());
        }
        if let Some(trial) = self.trial {
            if trial != Trial::Waits {
                call_limits.end_attempt(&self.call_site);
            }
            call_limits.end_login(&self.call_site, session.user, trial == Trial::Rejected, clock.now());
        }
        session.wake_members();
    }
}
