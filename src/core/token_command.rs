//! The decisions of `idissuer token`, which prints one token and ends.
//!
//! Each run is a process of its own, so what must hold over many of them is on record: every login is recorded before
//! it is sent, also one that was accepted before. If the process is killed meanwhile, the attempt counts as a rejection.

mod failure;
mod remains;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::account::Next;
use super::call_failure::CallFailure;
use super::login_budget::RejectionLimit;
use super::observed::AccountView;
use super::retry::{RetryClass, Sent};
use super::sidecar::attempts::{FilesIdentity, Record};
use super::sidecar::token::HeldToken;
use super::time::Moment;

pub use failure::{FailureKind, LoginFailure, LoginLabel, LoginOrigin};
pub use remains::Remains;

/// How much longer a printed token lives by default, at least: a slow request has time to arrive.
const DEFAULT_MIN_TTL: SignedDuration = SignedDuration::from_secs(60);
/// The least time between a failed call that the issuer saw and the next one: a loop in a shell must not flood it.
const PAUSE_AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

/// How much longer a printed token must live.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinTtl(pub Option<SignedDuration>);

/// Whether a token may be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It may.
    Fit,
    /// It ends too soon, so it is replaced.
    EndsTooSoon,
    /// Not even a new one lives long enough.
    LifetimeTooShort,
}

impl MinTtl {
    /// The least remaining life: as requested, otherwise a minute, but at most a tenth of the lifetime: a
    /// credential is renewed before that.
    fn of(self, lifetime: Option<SignedDuration>) -> SignedDuration {
        let usual = || lifetime.map_or(DEFAULT_MIN_TTL, |lifetime| DEFAULT_MIN_TTL.min(lifetime / 10));
        self.0.unwrap_or_else(usual)
    }

    /// Judges a token by its remaining life. One with an unknown end may be printed unless a minimum was requested.
    #[must_use]
    pub fn judge(self, token: &HeldToken, now: Moment) -> Fitness {
        let Some(expiry) = token.expiry else {
            return if self.0.is_none() { Fitness::Fit } else { Fitness::EndsTooSoon };
        };
        let lifetime = token.issued.map(|issued| expiry.wall.duration_since(issued.wall));
        let least = self.of(lifetime);
        match lifetime {
            _ if expiry.remaining(now) >= least && !token.is_expired(now) => Fitness::Fit,
            Some(lifetime) if lifetime < least => Fitness::LifetimeTooShort,
            _ => Fitness::EndsTooSoon,
        }
    }

    /// Judges a token that an earlier process obtained. If its times cannot be read, or the clock was set back since,
    /// nobody knows how long it lives. One that has expired says nothing of the lifetime of the next.
    #[must_use]
    pub fn judge_cached(self, token: &HeldToken, now: Moment) -> Fitness {
        match token.issued.zip(token.expiry) {
            Some((issued, _)) if issued.wall <= now.wall && !token.is_expired(now) => self.judge(token, now),
            _ => Fitness::EndsTooSoon,
        }
    }
}

/// Whether an earlier process obtained this token with this login. `identity` is that of the login files; a typed login
/// has none, and its token is found by user name and issuer alone.
#[must_use]
pub fn is_own(record: &Record, token: &HeldToken, issuer: &str, identity: Option<&FilesIdentity>) -> bool {
    record.issuer == issuer
        && identity.is_none_or(|identity| record.files == *identity)
        && record.brought(&token.fingerprint)
}

/// What is remembered of the calls of one login beside its [`Record`], over all of its passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHistory {
    /// Rejections, and attempts with an unknown outcome, since a login was accepted.
    pub rejected: Vec<Timestamp>,
    /// When a call that the issuer saw last failed.
    pub failed: Option<Timestamp>,
}

/// Lets what a clock recorded that was ahead be of now, so that it gets older from here on. Whether anything was.
pub fn bound_times(record: Option<&mut Record>, calls: &mut CallHistory, now: Timestamp) -> bool {
    let attempted = record.and_then(|record| record.attempts.attempted.as_mut());
    let times = calls.rejected.iter_mut().chain(&mut calls.failed).chain(attempted);
    let ahead = times.filter(|time| **time > now);
    ahead.map(|time| *time = now).count() > 0
}

impl CallHistory {
    /// Takes in how the last attempt ended, also that of a process that was killed.
    pub fn absorb(&mut self, record: Option<&Record>) {
        let Some(record) = record else { return };
        if is_accepted(record) {
            self.rejected.clear();
        }
        let attempted = record.attempts.attempted.filter(|time| !self.rejected.contains(time));
        if let Some(attempted) = attempted.filter(|_| !is_accepted(record)) {
            self.rejected.push(attempted);
            let surplus = self.rejected.len().saturating_sub(RejectionLimit::MAX_REJECTIONS);
            self.rejected.drain(..surplus);
        }
    }

    /// How many logins were rejected lately, and when the last one was; none if none was.
    #[must_use]
    pub fn rejected_lately(&self, now: Moment) -> Option<(u32, Moment)> {
        let times = self.rejected.iter().map(|time| Moment::recorded(*time, now));
        let lately: Vec<Moment> =
            times.filter(|time| !time.plus(RejectionLimit::WINDOW).is_reached(now)).collect();
        let last = lately.iter().copied().reduce(Moment::not_before)?;
        Some((u32::try_from(lately.len()).unwrap_or(u32::MAX), last))
    }

    /// How long to wait before the next call.
    #[must_use]
    pub fn pause(&self, now: Moment) -> SignedDuration {
        let until = self.failed.map(|failed| Moment::recorded(failed, now).plus(PAUSE_AFTER_FAILURE));
        until.map_or(SignedDuration::ZERO, |until| until.remaining(now).max(SignedDuration::ZERO))
    }
}

/// Whether to log in now; `record` is what is remembered of this very login.
///
/// # Errors
/// Why no login is attempted.
pub fn may_log_in(
    view: &AccountView,
    record: Option<&Record>,
    login: &LoginLabel<'_>,
) -> Result<(), LoginFailure> {
    let last = record.filter(|record| record.is_final());
    if let Some(failure) = last.and_then(|record| record.attempts.failure(login.password_has_blank)) {
        return Err(LoginFailure::from(login.error(&failure, false)));
    }
    match view.next {
        Next::Login | Next::Refresh => Ok(()),
        Next::Wait(_) | Next::Held | Next::InFlight => Err(LoginFailure::of_view(view, login)),
    }
}

/// The record of an attempt that begins now, after `before`.
#[must_use]
pub fn begin(before: Option<&Record>, issuer: String, files: FilesIdentity, now: Timestamp) -> Record {
    let rejections = before.map_or(0, |record| record.attempts.rejections) + 1;
    let mut attempt = Record::of_attempt(issuer, files, now, rejections);
    attempt.attempts.accepted = before.and_then(|record| record.attempts.accepted);
    attempt
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It brought a token.
    Accepted,
    /// It was rejected, and that counts.
    Rejected,
    /// It was certainly not sent.
    NotSent,
    /// The issuer, or another server, answered without a meaning for the login, such as "later".
    Answered,
    /// No answer came.
    Unheard,
    /// It was aborted before an answer came.
    Aborted,
}

impl Outcome {
    /// Of the attempt that began at `started`.
    #[must_use]
    pub fn of(account: &AccountView, started: Moment) -> Self {
        if account.attempted.is_none() {
            return Self::NotSent;
        }
        if account.token.is_some() {
            return Self::Accepted;
        }
        let Some(last) = account.last_failure.as_ref().filter(|it| !started.is_after(it.last)) else {
            return Self::Aborted;
        };
        match (last.failure.class, last.failure.cause) {
            (RetryClass::Rejected, _) => Self::Rejected,
            (RetryClass::Transient { sent: Sent::No, .. }, CallFailure::NoAnswer(_)) => Self::NotSent,
            (RetryClass::Transient { .. }, CallFailure::NoAnswer(_)) => Self::Unheard,
            _ => Self::Answered,
        }
    }

    /// What stays on record after the attempt. If it has no meaning for the login, everything is as before. An unknown
    /// outcome counts as a rejection, unless the login was accepted before and this process lived to see the timeout.
    #[must_use]
    pub fn settle(self, before: Option<Record>, attempt: Record, account: &AccountView) -> Option<Record> {
        match self {
            Self::Accepted | Self::Rejected => Some(attempt.after(account)),
            Self::NotSent | Self::Answered => before,
            Self::Unheard if account.is_proven() => before,
            Self::Unheard | Self::Aborted => Some(attempt),
        }
    }

    /// Whether the next call has to wait a while.
    #[must_use]
    pub fn needs_pause(self) -> bool {
        matches!(self, Self::Rejected | Self::Answered | Self::Unheard)
    }
}

/// The record of a typed login that was accepted: nothing of the password stays.
#[must_use]
pub fn without_password(record: Record, identity: FilesIdentity) -> Record {
    if is_accepted(&record) { Record { files: identity, ..record } } else { record }
}

fn is_accepted(record: &Record) -> bool {
    record.attempts.rejections == 0
}

#[cfg(test)]
mod tests;
