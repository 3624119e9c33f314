//! One account's session with its issuer, as a state machine of values.
//!
//! The ambiguity rule is kept by construction: [`Account::begin`] takes the refresh token out of the state, and only
//! an answer that proves it unspent puts it back. What is not there cannot be presented twice.

use std::sync::Arc;

use jiff::SignedDuration;

use super::backoff::{Chance, retry_pause};
use super::budget::LoginBudget;
use super::login::LoginPair;
use super::moment::Moment;
use super::retry::{Failure, RetryClass, Sent};
use super::schedule::{Pace, overdue_margin};
use super::token::{Grant, IssuedToken, RefreshToken};

/// How long the issuer's refusal of early refreshes is believed before it is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// How new tokens may be obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// By refresh where the issuer takes it, by login otherwise.
    #[default]
    Auto,
    /// By login only.
    Login,
}

/// What was learned of the issuer's treatment of a refresh ahead of expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RefreshSupport {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It was accepted.
    Early,
    /// The first refresh of two sessions in a row was refused.
    Refused,
}

/// What to do next with an account that needs a new token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Present the refresh token.
    Refresh,
    /// Present user name and password.
    Login,
    /// Not before this moment.
    Wait(Moment),
    /// A call is under way; its end is told.
    InFlight,
    /// The login is held: only a lift allows an attempt.
    Held,
}

/// What a call needs beside the login itself.
#[derive(Debug)]
pub enum Call {
    /// A refresh, with the pair it presents.
    Refresh {
        /// The access token that belongs to the refresh token.
        token: Arc<IssuedToken>,
        /// The refresh token; it is gone from the state.
        refresh: RefreshToken,
    },
    /// A login, with what it presents.
    Login(LoginPair),
}

impl Call {
    /// The grant that the call uses.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Refresh { .. } => Grant::Refresh,
            Self::Login(_) => Grant::Login,
        }
    }
}

/// A good answer.
#[derive(Debug)]
pub struct Obtained {
    /// The new token.
    pub token: IssuedToken,
    /// The refresh token in the answer, if any.
    pub refresh: Option<RefreshToken>,
}

/// The last failure and what follows from it. Gone with the next success.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The last failure.
    pub failure: Failure,
    /// Failures in a row.
    pub count: u32,
    /// When the last one was.
    pub last: Moment,
    /// When the next attempt is due; none while held.
    pub next_attempt: Option<Moment>,
}

/// The state of one account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    token: Option<Arc<IssuedToken>>,
    refresh: Option<RefreshToken>,
    in_flight: bool,
    trouble: Option<Trouble>,
    budget: LoginBudget,
    accepted: Option<Moment>,
    attempted: Option<Moment>,
    support: RefreshSupport,
    refused_at: Option<Moment>,
    refused_sessions: u32,
    refreshed_in_session: bool,
}

impl Account {
    /// The newest token.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<IssuedToken>> {
        self.token.as_ref()
    }

    /// The last failure, if nothing succeeded since.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
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
        self.support
    }

    /// The pace that the account's tokens set.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.token.as_ref().map_or(Pace::FULL, |token| Pace::of(token.validity.lifetime))
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
        self.trouble = Some(Trouble { failure, count, last, next_attempt });
    }

    /// When an attempt that somebody asks for `now` may be made.
    #[must_use]
    pub fn lifted(&self, now: Moment) -> Moment {
        self.budget.lifted(self.accepted.is_some(), now)
    }

    /// Allows one attempt, at once if the budget permits. Until it ends, what was said last holds.
    pub fn lift(&mut self, now: Moment) {
        let at = self.lifted(now);
        if let Some(trouble) = &mut self.trouble {
            trouble.next_attempt = Some(at);
        }
    }

    /// What to do, were a new token needed `now`.
    #[must_use]
    pub fn next(&self, strategy: Strategy, now: Moment) -> Next {
        if self.in_flight {
            return Next::InFlight;
        }
        match &self.trouble {
            Some(Trouble { next_attempt: None, .. }) => return Next::Held,
            Some(Trouble { next_attempt: Some(at), .. }) if !at.has_come(now) => return Next::Wait(*at),
            _ => {}
        }
        let spaced = self.token.as_ref().map(|token| token.validity.issued.plus(self.pace().token_spacing()));
        match spaced {
            Some(at) if !at.has_come(now) && self.trouble.is_none() => Next::Wait(at),
            _ if self.refreshes(strategy, now) => Next::Refresh,
            _ => Next::Login,
        }
    }

    fn refreshes(&self, strategy: Strategy, now: Moment) -> bool {
        let asks_again = || self.refused_at.is_none_or(|at| at.plus(ASK_AGAIN).has_come(now));
        self.refresh.is_some()
            && self.token.is_some()
            && strategy == Strategy::Auto
            && (self.support != RefreshSupport::Refused || asks_again())
    }

    /// Starts what [`Account::next`] said. Nothing else starts until [`Account::finish`] or [`Account::abandon`].
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
    pub fn finish(&mut self, call: Call, outcome: Result<Obtained, Failure>, now: Moment, chance: Chance) {
        self.in_flight = false;
        match (call, outcome) {
            (call, Ok(obtained)) => self.succeed(&call, obtained, now),
            (Call::Refresh { refresh, .. }, Err(failure)) => {
                self.fail_refresh(refresh, failure, now, chance);
            }
            (Call::Login(_), Err(failure)) => {
                if failure.class == RetryClass::Rejected {
                    self.hold(failure, now);
                } else {
                    self.note(failure, now, chance);
                }
            }
        }
    }

    /// The call was never sent: its refresh token is as good as before.
    pub fn withdraw(&mut self, call: Call) {
        self.in_flight = false;
        if let Call::Refresh { refresh, .. } = call {
            self.refresh = Some(refresh);
        }
    }

    /// The call was given up without an answer: its refresh token counts as spent.
    pub fn abandon(&mut self) {
        self.in_flight = false;
    }

    fn succeed(&mut self, call: &Call, obtained: Obtained, now: Moment) {
        match call {
            Call::Login(_) => {
                self.accepted = Some(now);
                self.budget = LoginBudget::default();
                self.refreshed_in_session = false;
                self.refresh = obtained.refresh;
            }
            Call::Refresh { refresh, .. } => {
                let early = self.token.as_ref().is_some_and(|old| !old.validity.expiry().has_come(now));
                if early {
                    self.support = RefreshSupport::Early;
                    self.refused_at = None;
                }
                self.refused_sessions = 0;
                self.refreshed_in_session = true;
                // An answer without a refresh token leaves the presented one valid.
                self.refresh = Some(obtained.refresh.unwrap_or_else(|| refresh.clone()));
            }
        }
        self.trouble = None;
        self.token = Some(Arc::new(obtained.token));
    }

    fn fail_refresh(&mut self, refresh: RefreshToken, failure: Failure, now: Moment, chance: Chance) {
        match failure.class {
            RetryClass::Transient { sent: Sent::No, .. } => {
                self.refresh = Some(refresh);
                self.note(failure, now, chance);
            }
            RetryClass::Transient { sent: Sent::Maybe, .. } => self.note(failure, now, chance),
            // Dropped, and the login that follows at once tells whether anything is wrong.
            RetryClass::Refused
            | RetryClass::Rejected
            | RetryClass::Malformed
            | RetryClass::Misconfigured => self.learn_refusal(now),
        }
    }

    fn learn_refusal(&mut self, now: Moment) {
        self.refused_sessions = if self.refreshed_in_session { 0 } else { self.refused_sessions + 1 };
        if self.refused_sessions >= 2 || self.support == RefreshSupport::Refused {
            self.support = RefreshSupport::Refused;
            self.refused_at = Some(now);
        }
    }

    fn hold(&mut self, failure: Failure, now: Moment) {
        self.budget.reject(now);
        let count = self.failures() + 1;
        let next_attempt = self.budget.next_attempt(self.accepted.is_some());
        self.trouble = Some(Trouble { failure, count, last: now, next_attempt });
    }

    fn failures(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.count.min(u32::MAX - 1))
    }

    fn note(&mut self, failure: Failure, now: Moment, chance: Chance) {
        let count = self.failures() + 1;
        let own = retry_pause(count, self.pace(), chance);
        let pause = match failure.class {
            RetryClass::Transient { retry_after: Some(asked), .. } => own.max(self.honoured(asked, now)),
            _ => own,
        };
        let next_attempt = Some(now.plus(pause));
        self.trouble = Some(Trouble { failure, count, last: now, next_attempt });
    }

    /// How much of a `Retry-After` is waited for: at most half of what is left until the renewal is overdue, and at
    /// most a minute (less for short lives) once it is.
    fn honoured(&self, asked: SignedDuration, now: Moment) -> SignedDuration {
        let left = self.token.as_ref().map_or(SignedDuration::ZERO, |token| {
            let validity = &token.validity;
            validity.expiry().minus(overdue_margin(validity.lifetime)).remaining(now)
        });
        let bound = if left > SignedDuration::ZERO { left / 2 } else { self.pace().longest_retry() };
        asked.clamp(SignedDuration::ZERO, bound)
    }
}

#[cfg(test)]
mod tests;
