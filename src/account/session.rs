//! The session of one account: its state, its members, and the one call that may be in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use super::{STOP_GRACE, Surroundings};
use crate::core::account::{Account, Call, Obtained, Strategy};
use crate::core::gate::Errand;
use crate::core::login::LoginPair;
use crate::core::moment::Moment;
use crate::core::observed::{AccountKey, AccountView};
use crate::core::retry::Failure;
use crate::core::schedule::overdue_margin;
use crate::core::token::Grant;
use crate::issuer::{Exchange, IssuerError, Site};

/// Who uses an account; an opaque name.
pub type Member = Arc<str>;

/// The session of one account.
pub struct Session {
    key: AccountKey,
    site: Site,
    source: String,
    is_retired: AtomicBool,
    account: Mutex<Account>,
    members: Mutex<Members>,
    surroundings: Arc<Surroundings>,
}

#[derive(Default)]
struct Members {
    strategies: HashMap<Member, Strategy>,
    /// Since when there are none.
    idle_since: Option<Moment>,
}

impl Session {
    pub(super) fn new(key: AccountKey, site: Site, source: String, surroundings: Arc<Surroundings>) -> Self {
        let members = Members { idle_since: Some(surroundings.clock.now()), ..Members::default() };
        Self {
            key,
            site,
            source,
            is_retired: AtomicBool::new(false),
            account: Mutex::default(),
            members: Mutex::new(members),
            surroundings,
        }
    }

    /// The account's key.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        self.key
    }

    /// Where its issuer is called.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Takes part: from now on the member is told of every call's end.
    pub fn join(&self, member: Member, strategy: Strategy) {
        let mut members = self.members();
        members.idle_since = None;
        members.strategies.insert(member, strategy);
    }

    /// No longer takes part.
    pub fn leave(&self, member: &str) {
        let mut members = self.members();
        members.strategies.remove(member);
        if members.strategies.is_empty() && members.idle_since.is_none() {
            members.idle_since = Some(self.surroundings.clock.now());
        }
    }

    /// Whether it has had no member since this moment, or longer.
    pub(super) fn is_idle_since(&self, moment: Moment) -> bool {
        self.members().idle_since.is_some_and(|since| !since.is_after(moment))
    }

    /// The account as it stands.
    #[must_use]
    pub fn view(&self) -> AccountView {
        let strategy = self.strategy();
        AccountView::of(self.key, &self.account(), strategy, self.surroundings.clock.now())
    }

    /// Looks at the state itself, for what a report needs beyond the view.
    pub fn with_account<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.account())
    }

    /// Takes over what an earlier process recorded of the account.
    pub fn remember(&self, record: impl FnOnce(&mut Account)) {
        record(&mut self.account());
    }

    /// Starts the call that a new token needs, unless one is in flight or none is allowed now; whether it did.
    ///
    /// A login needs the pair, which is gone with the call. `lift` allows one attempt of a held login.
    pub fn obtain(self: &Arc<Self>, pair: Option<LoginPair>, lift: bool) -> bool {
        if self.surroundings.stop.is_cancelled() {
            return false;
        }
        let (strategy, now) = (self.strategy(), self.surroundings.clock.now());
        let mut account = self.account();
        if lift {
            account.lift(now);
        }
        let call = account.begin(strategy, pair, now);
        drop(account);
        let Some(call) = call else { return false };
        let session = Arc::clone(self);
        self.surroundings.tasks.spawn(async move { session.run(call).await });
        true
    }

    /// Carries out a call. What follows from its answer is decided by those who are told of its end.
    async fn run(self: Arc<Self>, call: Call) {
        let mut end = End { session: &self, is_in_flight: true };
        let (errand, limit) = self.errand();
        let Surroundings { gates, clock, stop, .. } = &*self.surroundings;
        let pass = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            pass = gates.enter(&self.site.endpoint.origin, errand, clock.now()) => pass,
        };
        // Much may have changed while it waited for its turn.
        if pass.is_none() || stop.is_cancelled() || !self.is_wanted() {
            self.account().withdraw(call);
        } else {
            let exchange = tokio::select! {
                exchange = self.exchange(&call, limit) => exchange,
                () = self.given_up() => return,
            };
            self.finish(call, exchange);
        }
        end.is_in_flight = false;
    }

    async fn exchange(&self, call: &Call, limit: SignedDuration) -> Exchange {
        let limit = Duration::try_from(limit).unwrap_or(Duration::from_secs(10));
        let issuer = &self.surroundings.issuer;
        match call {
            Call::Refresh { token, refresh } => issuer.refresh(&self.site, token, refresh, limit).await,
            Call::Login(pair) => issuer.login(&self.site, pair, limit).await,
        }
    }

    /// Whether anybody still takes part, and this is still the account's session.
    fn is_wanted(&self) -> bool {
        !self.is_retired.load(Ordering::Acquire) && !self.members().strategies.is_empty()
    }

    /// Another process may use the account from now on: calls that wait for their turn are not sent any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// What the next call is for, and how long it may take.
    fn errand(&self) -> (Errand, SignedDuration) {
        let account = self.account();
        let errand = account.token().map_or(Errand::FirstIssue, |token| {
            let margin = overdue_margin(token.validity.lifetime);
            Errand::Renewal { overdue: token.validity.expiry().minus(margin) }
        });
        (errand, account.pace().call_limit())
    }

    async fn given_up(&self) {
        self.surroundings.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    fn finish(&self, call: Call, exchange: Exchange) {
        self.tell(call.grant(), &exchange);
        let result = exchange
            .result
            .map_err(|error| Failure { class: error.class(), reason: error.reason(&self.source) });
        let (now, chance) = (self.surroundings.clock.now(), self.surroundings.clock.chance());
        self.account().finish(call, result, now, chance);
    }

    fn tell(&self, grant: Grant, exchange: &Exchange) {
        let metrics = &self.surroundings.metrics;
        let origin = &self.site.endpoint.origin;
        let outcome = exchange.result.as_ref().map_or_else(IssuerError::outcome, |_| "ok");
        metrics.issuer_call(grant, outcome, exchange.duration);
        if let Some(skew) = exchange.clock_skew {
            metrics.issuer_clock_skew(origin, skew);
        }
        let login = &self.source;
        match &exchange.result {
            Ok(Obtained { token, .. }) => tracing::info!(
                login, %origin, ?grant, fingerprint = %token.fingerprint,
                lifetime_seconds = token.validity.lifetime.as_secs(), "token obtained"
            ),
            // No failure: a login follows at once, and tells whether anything is wrong.
            Err(error @ IssuerError::RefreshRefused) => tracing::info!(login, %origin, "{error}"),
            Err(error) => tracing::warn!(login, %origin, ?grant, outcome, "{error}"),
        }
    }

    /// Login if any member says so: someone else uses the account, and refreshing would fight over its chain.
    fn strategy(&self) -> Strategy {
        let any = self.members().strategies.values().any(|strategy| *strategy == Strategy::Login);
        if any { Strategy::Login } else { Strategy::Auto }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("origin", &self.site.endpoint.origin).finish_non_exhaustive()
    }
}

/// The end of a call, also when its task is dropped or panics: the members are told, and the account does not wait
/// for ever for what was given up.
struct End<'a> {
    session: &'a Session,
    is_in_flight: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.is_in_flight {
            self.session.account().abandon();
        }
        for member in self.session.members().strategies.keys() {
            // An error says that nobody listens any more: the process is stopping.
            let _ = self.session.surroundings.ended.send(Arc::clone(member));
        }
    }
}
