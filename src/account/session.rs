//! The session of one account: its state, its members, and the one call that may be in flight.

mod call;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::future::BoxFuture;

use super::call_limits::{AccountHandle, CallSite, Forgive, Tenant};
use super::key::UserKey;
use super::members::{Member, Members, Membership};
use super::shared::Shared;
use crate::core::account::{Account, Call, LastFailure, Next, Strategy, Throttle};
use crate::core::circuit_breaker::Caller;
use crate::core::credential::{Credential, LoginFound};
use crate::core::login_attempts::LoginAttempts;
use crate::core::observed::{AccountKey, AccountView};
use crate::core::schedule::TimeScale;
use crate::core::time::Moment;
use crate::core::token::{Fingerprint, IssuedToken, Validity};
use crate::core::username_password::LoginPair;
use crate::issuer::IssuerAddress;
use crate::traces::Cause;

/// Records the attempt of a login that was never accepted, just before it is sent; whether it did. Thousands may wait for their
/// turn, so that the future is made only then.
pub type AttemptRecorder = Box<dyn FnOnce() -> BoxFuture<'static, bool> + Send>;

/// The session of one account.
pub struct Session {
    key: AccountKey,
    user: UserKey,
    address: IssuerAddress,
    source: String,
    is_retired: AtomicBool,
    /// Whether its rejection counts among the logins that a status wrongly claims to be accepted.
    is_claim_rejected: AtomicBool,
    account: Mutex<Account>,
    members: Arc<Members>,
    shared: Arc<Shared>,
}

impl Session {
    pub(super) fn new(
        key: AccountKey,
        user: UserKey,
        address: IssuerAddress,
        source: String,
        shared: Arc<Shared>,
    ) -> Self {
        let members = Arc::new(Members::new(Arc::clone(&shared.clock)));
        Self {
            key,
            user,
            address,
            source,
            is_retired: AtomicBool::new(false),
            is_claim_rejected: AtomicBool::new(false),
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
    pub fn address(&self) -> &IssuerAddress {
        &self.address
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
        let (strategy, now) = (self.members.strategy(), self.shared.clock.now());
        let rejections_of_user = self.rejections_of_user(tenant);
        let account = self.account();
        let throttle = self.throttle(&account, &self.call_site(tenant), now);
        let view = AccountView::of(self.key, &account, throttle, strategy, now);
        AccountView { rejections_of_user, ..view }
    }

    /// The newest token.
    #[must_use]
    pub fn token(&self) -> Option<Arc<IssuedToken>> {
        self.account().token().cloned()
    }

    /// The last failure, if nothing succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.account().last_failure().cloned()
    }

    /// Whether its login is held: not tried again until somebody asks.
    pub(super) fn is_held(&self, now: Moment) -> bool {
        self.account().next(self.members.strategy(), now) == Next::Held
    }

    /// The pace that the account's tokens set.
    #[must_use]
    pub fn pace(&self) -> TimeScale {
        self.account().pace()
    }

    /// Hands over what status remembers of the account that a credential names.
    pub fn restore(&self, credential: &mut Credential, found: LoginFound<'_>, now: Moment) {
        credential.restore_account(&mut self.account(), found, now);
    }

    /// Hands over what an earlier process recorded of the login: see [`LoginAttempts::restore`].
    pub fn restore_attempts(&self, attempts: &LoginAttempts, password_has_blank: bool, now: Moment) {
        attempts.restore(&mut self.account(), password_has_blank, now);
    }

    /// Hands over the validity of the token that is to be replaced: see [`Account::remember_published`].
    pub fn remember_published(&self, validity: Validity, now: Moment) {
        self.account().remember_published(validity, now);
    }

    /// Tries refreshes again, whatever was learned of the issuer.
    pub fn retry_refreshes(&self) {
        self.account().ask_again();
    }

    /// Allows one attempt of a held login at once.
    pub fn override_hold(&self, now: Moment) {
        self.account().override_hold(now);
    }

    /// The issuer called this token expired.
    pub fn call_expired(&self, token: &Fingerprint) {
        self.account().call_expired(token);
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
        self.obtain_recorded(tenant, pair, override_hold, None, None)
    }

    /// The same, with what records the attempt once it is its turn, and what traces it. The call is not sent if the attempt
    /// cannot be recorded.
    pub fn obtain_recorded(
        self: &Arc<Self>,
        tenant: &Tenant,
        pair: Option<LoginPair>,
        override_hold: bool,
        record: Option<AttemptRecorder>,
        cause: Option<Cause>,
    ) -> bool {
        if !self.may_call() {
            return false;
        }
        let call_site = self.call_site(tenant);
        let Some((call, is_trial)) = self.begin(&call_site, pair, override_hold) else { return false };
        let session = Arc::clone(self);
        self.shared.tasks.spawn(async move { session.run(call, call_site, is_trial, record, cause).await });
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
        CallSite { origin: self.address.endpoint.origin.clone(), tenant: Arc::clone(tenant) }
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

    /// Whether anybody still takes part, and this is still the account's session.
    fn is_wanted(&self) -> bool {
        !self.is_retired.load(Ordering::Acquire) && !self.members.is_empty()
    }

    /// Another process may use the account from now on: calls that wait for their turn are not sent any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Has every member look again.
    fn wake_members(&self) {
        for member in self.members.names() {
            // An error means that there is no receiver: the process is stopping.
            let _ = self.shared.ended.send(member);
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
        formatter
            .debug_struct("Session")
            .field("origin", &self.address.endpoint.origin)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
