//! One account's session with its issuer, as a state machine of values.
//!
//! The type guarantees the ambiguity rule: [`Account::begin`] takes the refresh token out of the state, and only a
//! response that proves it unspent puts it back. A token that is not in the state cannot be used twice.

mod block;
mod call;
mod next;

use std::sync::Arc;

use super::backoff::{RandomFraction, retry_pause};
use super::circuit_breaker::CallOutcome;
use super::login_budget::LoginBudget;
use super::refresh_support::RefreshHistory;
use super::retry::{Failure, RetryClass, Sent};
use super::schedule::{TimeScale, overdue_margin};
use super::time::Moment;
use super::token::{Fingerprint, Grant, IssuedToken, RefreshToken, Validity};
use super::username_password::LoginPair;

use block::{Block, bounded_retry_after};

pub use super::refresh_support::RefreshSupport;
pub use call::{Call, TokenResponse};
pub use next::{LastFailure, Next, Strategy, Throttle};

/// The state of one account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    token: Option<Arc<IssuedToken>>,
    refresh: Option<RefreshToken>,
    in_flight: bool,
    last_failure: Option<LastFailure>,
    budget: LoginBudget,
    /// Whether a rejection was forgiven since the login was accepted last.
    is_forgiven: bool,
    accepted: Option<Moment>,
    attempted: Option<Moment>,
    /// The token in the targets until this account has its own: from an earlier process, or from the same login with
    /// another password.
    published: Option<Validity>,
    refreshing: RefreshHistory,
    block: Block,
    /// Whether the issuer called the current token expired, regardless of its lifetime.
    is_called_expired: bool,
}

impl Account {
    /// The newest token.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<IssuedToken>> {
        self.token.as_ref()
    }

    /// The last failure, if nothing succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<&LastFailure> {
        self.last_failure.as_ref()
    }

    /// When the issuer last accepted user name and password.
    #[must_use]
    pub fn accepted(&self) -> Option<Moment> {
        self.accepted
    }

    /// When a login was last sent.
    #[must_use]
    pub fn attempted(&self) -> Option<Moment> {
        self.attempted
    }

    /// What was learned of the issuer.
    #[must_use]
    pub fn refresh_support(&self) -> RefreshSupport {
        self.refreshing.support()
    }

    /// The pace that the account's tokens set.
    #[must_use]
    pub fn pace(&self) -> TimeScale {
        self.validity().map_or(TimeScale::FULL, |validity| TimeScale::of(validity.lifetime))
    }

    /// From when on the renewal of the token in the targets is overdue, if there is one.
    #[must_use]
    pub fn overdue(&self) -> Option<Moment> {
        let validity = self.validity()?;
        Some(validity.expiry().minus(overdue_margin(validity.lifetime)))
    }

    fn validity(&self) -> Option<Validity> {
        self.token.as_ref().map(|token| token.validity).or(self.published)
    }

    /// The rejections in a row, since the login was accepted last.
    #[must_use]
    pub fn rejections(&self) -> u32 {
        self.budget.count()
    }

    /// Takes over that an earlier process had the login accepted.
    pub fn remember_accepted(&mut self, accepted: Moment) {
        self.accepted = self.accepted.or(Some(accepted));
    }

    /// Takes over the rejections that an earlier process had. Of several members' records the largest count holds.
    pub fn remember_rejections(&mut self, failure: Failure, count: u32, last: Moment) {
        if self.attempted.is_some() || self.token.is_some() || count <= self.budget.count() {
            return;
        }
        self.budget = LoginBudget::remembered(count, last);
        let next_attempt = self.budget.next_attempt(self.accepted.is_some());
        self.last_failure = Some(LastFailure { failure, count, last, next_attempt });
    }

    /// Takes over the lifetime and expiry of the token that this account must replace in a target: retries are faster
    /// if it is short. Of several, the first to expire counts.
    pub fn remember_published(&mut self, validity: Validity, now: Moment) {
        let ends_first = |known: &Validity| known.expiry().remaining(now) <= validity.expiry().remaining(now);
        self.published = self.published.filter(ends_first).or(Some(validity));
    }

    /// Takes over what an earlier process learned of the issuer.
    pub fn remember_support(&mut self, support: RefreshSupport, now: Moment) {
        self.refreshing.remember(support, now);
    }

    /// Refreshes are tried again, whatever was learned: the specification is another one.
    pub fn ask_again(&mut self) {
        self.refreshing.ask_again();
    }

    /// The issuer called this token expired: if it is the present one, the next may be had sooner.
    pub fn call_expired(&mut self, token: &Fingerprint) {
        self.is_called_expired |= self.token.as_ref().is_some_and(|present| present.fingerprint == *token);
    }

    /// Allows one attempt at once. Until it ends, the previous state applies.
    pub fn override_hold(&mut self, now: Moment) {
        if let Some(last_failure) = &mut self.last_failure {
            last_failure.next_attempt = Some(now);
        }
    }

    /// The last rejection may be meaningless, because the issuer rejected everyone then. It is not counted, and the
    /// login is retried at once. But only once: a login that is rejected again while others are accepted has a wrong
    /// password.
    pub fn forgive(&mut self, now: Moment) {
        let is_rejected = |it: &&mut LastFailure| it.failure.class == RetryClass::Rejected;
        if let Some(last_failure) =
            self.last_failure.as_mut().filter(is_rejected).filter(|_| !self.is_forgiven)
        {
            self.is_forgiven = true;
            self.budget.forgive();
            last_failure.next_attempt = Some(now);
        }
    }

    /// The effect of a failed call on this account. For a login that was never accepted, every response without a token
    /// counts as a rejection.
    #[must_use]
    pub fn judge(&self, grant: Grant, failure: Failure) -> Failure {
        let is_plain = failure.class == RetryClass::Rejected;
        if grant == Grant::Refresh || self.accepted.is_some() || is_plain || !failure.class.is_answer() {
            return failure;
        }
        Failure { class: RetryClass::Rejected, cause: failure.cause.of_unproven_login(), ..failure }
    }

    /// What the end of a call says about the issuer; `has_own_trust` says that the account trusts its own CAs.
    #[must_use]
    pub fn call_outcome(&self, outcome: Result<(), &Failure>, has_own_trust: bool) -> CallOutcome {
        let is_proven = self.accepted.is_some();
        outcome.map_or_else(|failure| failure.call_outcome(is_proven, has_own_trust), |()| CallOutcome::Works)
    }

    /// What to do, were a new token needed `now`, and nothing kept the account from calling.
    #[must_use]
    pub fn next(&self, strategy: Strategy, now: Moment) -> Next {
        if self.in_flight {
            return Next::InFlight;
        }
        match &self.last_failure {
            Some(LastFailure { next_attempt: None, .. }) => return Next::Held,
            Some(LastFailure { next_attempt: Some(at), .. }) if !at.is_reached(now) => {
                return Next::Wait(*at);
            }
            _ => {}
        }
        let spacing = if self.is_called_expired {
            self.pace().shortest_token_spacing()
        } else {
            self.pace().token_spacing()
        };
        let spaced = self.token.as_ref().map(|token| token.validity.issued.plus(spacing));
        match spaced {
            Some(at) if !at.is_reached(now) && self.last_failure.is_none() => Next::Wait(at),
            _ if self.refreshes(strategy, now) => Next::Refresh,
            _ => Next::Login,
        }
    }

    /// What to do, were a new token needed `now`.
    #[must_use]
    pub fn next_under(&self, throttle: Throttle, strategy: Strategy, now: Moment) -> Next {
        let next = self.next(strategy, now);
        let until = match next {
            Next::Refresh => throttle.calls,
            Next::Login => self.put_off(throttle, now),
            Next::Wait(_) | Next::InFlight | Next::Held => None,
        };
        until.filter(|until| !until.is_reached(now)).map_or(next, Next::Wait)
    }

    /// Until when even a requested attempt must wait.
    #[must_use]
    pub fn put_off(&self, throttle: Throttle, now: Moment) -> Option<Moment> {
        let logins = throttle.logins.filter(|_| self.accepted.is_none());
        let later =
            |until: Moment, other: Moment| if until.earlier(other, now) == until { other } else { until };
        throttle.calls.into_iter().chain(logins).filter(|until| !until.is_reached(now)).reduce(later)
    }

    fn refreshes(&self, strategy: Strategy, now: Moment) -> bool {
        self.refresh.is_some()
            && self.token.is_some()
            && strategy == Strategy::Auto
            && self.refreshing.is_worth_asking(now)
    }

    /// Starts the call of [`Account::next`]. No other call starts until [`Account::finish`] or [`Account::abandon`].
    ///
    /// `None` when there is nothing to start now, or it is a login and there is no pair for it.
    pub fn begin(&mut self, strategy: Strategy, pair: Option<LoginPair>, now: Moment) -> Option<Call> {
        let call = match (self.next(strategy, now), pair, &self.token) {
            (Next::Refresh, _, Some(token)) => {
                Call::Refresh { token: Arc::clone(token), refresh: self.refresh.take()? }
            }
            (Next::Login, Some(pair), _) => {
                self.attempted = Some(now);
                Call::Login(pair)
            }
            _ => return None,
        };
        self.in_flight = true;
        Some(call)
    }

    /// Takes in how a call ended. A refresh that failed without being sent, or that was answered with "not now",
    /// gets its token back; any other may have spent it.
    pub fn finish(
        &mut self,
        call: Call,
        outcome: Result<TokenResponse, Failure>,
        now: Moment,
        random_fraction: RandomFraction,
    ) {
        self.in_flight = false;
        match (call, outcome) {
            (call, Ok(obtained)) => self.succeed(&call, obtained, now),
            (Call::Refresh { refresh, .. }, Err(failure)) => {
                self.fail_refresh(refresh, failure, now, random_fraction);
            }
            (Call::Login(_), Err(failure)) => {
                let failure = self.judge(Grant::Login, failure);
                if failure.class == RetryClass::Rejected {
                    self.hold(failure, now);
                } else {
                    self.note(failure, now, random_fraction);
                }
            }
        }
    }

    /// The call was never sent: its refresh token is as good as before.
    pub fn withdraw(&mut self, call: Call) {
        self.in_flight = false;
        match call {
            Call::Refresh { refresh, .. } => self.refresh = Some(refresh),
            Call::Login(_) => self.attempted = None,
        }
    }

    /// The call was aborted without a response: its refresh token counts as spent.
    pub fn abandon(&mut self) {
        self.in_flight = false;
    }

    fn succeed(&mut self, call: &Call, obtained: TokenResponse, now: Moment) {
        match call {
            Call::Login(_) => {
                self.accepted = Some(now);
                self.budget = LoginBudget::default();
                self.is_forgiven = false;
                self.refreshing.logged_in();
                self.refresh = obtained.refresh;
            }
            Call::Refresh { refresh, .. } => {
                let is_early = |old: &Arc<IssuedToken>| !old.validity.expiry().is_reached(now);
                self.refreshing.accepted(self.token.as_ref().is_some_and(is_early));
                // A response without a refresh token leaves the used one valid.
                self.refresh = Some(obtained.refresh.unwrap_or_else(|| refresh.clone()));
            }
        }
        self.last_failure = None;
        self.block = Block::default();
        self.is_called_expired = false;
        self.token = Some(Arc::new(obtained.token));
    }

    fn fail_refresh(
        &mut self,
        refresh: RefreshToken,
        failure: Failure,
        now: Moment,
        random_fraction: RandomFraction,
    ) {
        match failure.class {
            RetryClass::Transient { sent, .. } | RetryClass::Inconclusive { sent } => {
                self.refresh = (sent == Sent::No).then_some(refresh);
                self.note(failure, now, random_fraction);
            }
            RetryClass::Blocked => self.note(failure, now, random_fraction),
            // The refresh token is dropped, and the login that follows at once shows whether anything is wrong.
            RetryClass::Refused
            | RetryClass::Rejected
            | RetryClass::Malformed
            | RetryClass::Misconfigured => self.refreshing.refused(now),
        }
    }

    fn hold(&mut self, failure: Failure, now: Moment) {
        self.budget.reject(now);
        self.block = Block::default();
        let count = self.failures() + 1;
        let next_attempt = self.budget.next_attempt(self.accepted.is_some());
        self.last_failure = Some(LastFailure { failure, count, last: now, next_attempt });
    }

    fn failures(&self) -> u32 {
        self.last_failure.as_ref().map_or(0, |last_failure| last_failure.count.min(u32::MAX - 1))
    }

    fn note(&mut self, failure: Failure, now: Moment, random_fraction: RandomFraction) {
        let count = self.failures() + 1;
        let own = retry_pause(count, self.pace(), random_fraction);
        let pause = match failure.class {
            RetryClass::Transient { retry_after: Some(asked), .. } => {
                own.max(bounded_retry_after(asked, self.overdue(), self.pace(), now))
            }
            RetryClass::Blocked => self.block.pause(own, now),
            _ => own,
        };
        let next_attempt = Some(now.plus(pause));
        self.last_failure = Some(LastFailure { failure, count, last: now, next_attempt });
    }
}

#[cfg(test)]
mod tests;
