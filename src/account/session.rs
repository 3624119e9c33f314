//! The session of one account: its state, its members, and the one call that may be in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{STOP_GRACE, Surroundings};
use crate::core::account::{Account, Call, Obtained, Strategy, Trouble};
use crate::core::endpoint::Endpoint;
use crate::core::login::LoginPair;
use crate::core::moment::Moment;
use crate::core::observed::{AccountKey, AccountView};
use crate::core::retry::Failure;
use crate::core::token::Grant;
use crate::issuer::{Exchange, IssuerError, Trust};

/// Who uses an account; an opaque name.
pub type Member = Arc<str>;

/// All that is needed to log in.
#[derive(Clone, Debug)]
pub struct AccountLogin {
    /// Where.
    pub endpoint: Endpoint,
    /// Who.
    pub pair: LoginPair,
    /// Whom the issuer's certificate is trusted by.
    pub trust: Trust,
    /// Where the login came from, for messages; not a part of the account's key.
    pub secret: String,
}

/// The session of one account.
pub struct Session {
    key: AccountKey,
    login: AccountLogin,
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
    pub(super) fn new(key: AccountKey, login: AccountLogin, surroundings: Arc<Surroundings>) -> Self {
        let members = Members { idle_since: Some(surroundings.clock.now()), ..Members::default() };
        Self { key, login, account: Mutex::default(), members: Mutex::new(members), surroundings }
    }

    /// The account's key.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        self.key
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
    pub fn remember(&self, trouble: Trouble) {
        self.account().remember(trouble);
    }

    /// Starts the call that a new token needs, unless one is in flight or none is allowed now. `lift` allows one
    /// attempt of a held login.
    pub fn obtain(self: &Arc<Self>, lift: bool) {
        if self.surroundings.stop.is_cancelled() {
            return;
        }
        if lift {
            self.account().lift();
        }
        if let Some(call) = self.begin() {
            let session = Arc::clone(self);
            self.surroundings.tasks.spawn(async move { session.run(call).await });
        }
    }

    fn begin(&self) -> Option<Call> {
        let strategy = self.strategy();
        self.account().begin(strategy, self.surroundings.clock.now())
    }

    /// Carries out a call, and the login that follows at once on a refused refresh.
    async fn run(self: Arc<Self>, call: Call) {
        let mut end = End { session: &self, is_in_flight: true };
        let mut next = Some(call);
        while let Some(call) = next.take() {
            let exchange = tokio::select! {
                exchange = self.exchange(&call) => exchange,
                () = self.given_up() => return,
            };
            next = self.finish(call, exchange);
            end.is_in_flight = next.is_some();
        }
    }

    async fn exchange(&self, call: &Call) -> Exchange {
        let limit = self.account().pace().call_limit();
        let limit = Duration::try_from(limit).unwrap_or(Duration::from_secs(10));
        let AccountLogin { endpoint, pair, trust, .. } = &self.login;
        self.surroundings.issuer.call(call, endpoint, pair, trust, limit).await
    }

    async fn given_up(&self) {
        self.surroundings.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Takes in the answer. A call that it returns is in flight already: nothing can come in between.
    fn finish(&self, call: Call, exchange: Exchange) -> Option<Call> {
        let grant = call.grant();
        self.tell(grant, &exchange);
        let strategy = self.strategy();
        let is_failure = exchange.result.is_err();
        let result = exchange
            .result
            .map_err(|error| Failure { class: error.class(), reason: error.reason(&self.login.secret) });
        let (now, chance) = (self.surroundings.clock.now(), self.surroundings.clock.chance());
        let mut account = self.account();
        account.finish(call, result, now, chance);
        let goes_on = is_failure && grant == Grant::Refresh && !self.surroundings.stop.is_cancelled();
        goes_on.then(|| account.begin(strategy, now)).flatten()
    }

    fn tell(&self, grant: Grant, exchange: &Exchange) {
        let metrics = &self.surroundings.metrics;
        let origin = &self.login.endpoint.origin;
        let outcome = exchange.result.as_ref().map_or_else(IssuerError::outcome, |_| "ok");
        metrics.issuer_call(grant, outcome, exchange.duration);
        if let Some(skew) = exchange.clock_skew {
            metrics.issuer_clock_skew(origin, skew);
        }
        match &exchange.result {
            Ok(Obtained { token, .. }) => tracing::info!(
                %origin, ?grant, fingerprint = %token.fingerprint,
                lifetime_seconds = token.validity.lifetime.as_secs(), "token obtained"
            ),
            Err(error) => tracing::warn!(%origin, ?grant, outcome, "{error}"),
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
        formatter.debug_struct("Session").field("origin", &self.login.endpoint.origin).finish_non_exhaustive()
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
