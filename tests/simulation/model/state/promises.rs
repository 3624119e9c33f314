//! The promises that must hold in every state.

use idissuer::core::account::RefreshSupport;
use idissuer::core::retry::RetryClass;
use idissuer::core::schedule::overdue_margin;
use jiff::SignedDuration;

use super::super::shell::{Excuse, Target};
use super::{Broken, State};

/// How long everything has to work before the promise holds again.
const GRACE: SignedDuration = SignedDuration::from_secs(120);
/// The default of a credential, in percent.
const RENEW_BEFORE: u8 = 25;
/// Tokens of a shorter life make everything faster.
const FULL_PACE: SignedDuration = SignedDuration::from_secs(300);
/// The most rejections that a login which was never accepted may have without anybody asking for an attempt.
const UNPROVEN: usize = 3;
/// The least time between two rejections of a login: five minutes from one attempt to the next.
const APART: SignedDuration = SignedDuration::from_secs(5 * 60 - 15);

/// The least time until a login is presented again that is held.
const PROBED: SignedDuration = SignedDuration::from_secs(60 * 60 - 15);

impl State {
    pub(super) fn begin_login(&mut self) -> Result<(), Broken> {
        let last_failure = self.process.account.last_failure();
        self.is_retry =
            last_failure.is_some_and(|last_failure| last_failure.failure.class != RetryClass::Rejected);
        let held = self.held.map(|index| self.is_alive(&self.given[index]));
        if held == Some(true) && self.process.account.refresh_support() != RefreshSupport::Refused {
            return Err(Broken("a login while a refresh token is held that was never refused"));
        }
        let (recorded, is_proven) = (self.cluster.login(), self.is_accepted());
        if recorded.is_none_or(|login| !is_proven && login.attempted.is_none()) {
            return Err(Broken("a login is presented before the attempt is recorded"));
        }
        if !is_proven && recorded.is_none_or(|login| (login.rejections as usize) < self.rejected.len()) {
            return Err(Broken("a login is presented that status does not count"));
        }
        if !is_proven && self.rejected.len() >= UNPROVEN {
            return Err(Broken("a login that was never accepted is presented once too often"));
        }
        if self.rejected.last().is_some_and(|last| self.now - *last < APART) {
            return Err(Broken("a rejected login is presented again too soon"));
        }
        let is_held = self.process.account.rejections() as usize >= UNPROVEN;
        if is_held && self.rejected.last().is_some_and(|last| self.now - *last < PROBED) {
            return Err(Broken("a held login is presented sooner than an hour after the last time"));
        }
        Ok(())
    }

    /// Whether the product knows that the login was accepted once.
    fn is_accepted(&self) -> bool {
        let is_recorded = self.cluster.login().is_some_and(|login| login.accepted.is_some());
        is_recorded || self.process.account.accepted().is_some()
    }

    /// Whether the target holds the very token that status speaks of, and its renewal is not due yet.
    pub(super) fn is_fresh(&self) -> bool {
        let Some(published) = self.process.published() else { return false };
        let holds = |target: &Target| target.name == published.fingerprint;
        let renewal = renewal_of(published.validity.lifetime, RENEW_BEFORE);
        self.cluster.target.as_ref().is_some_and(holds)
            && !published.validity.issued.plus(renewal).is_reached(self.moment())
    }

    /// No published token comes into its margin after everything has worked for two minutes.
    pub(super) fn assert_no_gap(&mut self, until: SignedDuration) -> Result<(), Broken> {
        if !self.has_owner() {
            return Ok(());
        }
        match self.process.excuse() {
            Excuse::None => {}
            Excuse::ForGood if self.is_accepted() => {
                return Err(Broken("a login is held for good although it was accepted before"));
            }
            Excuse::ForGood => return Ok(()),
            Excuse::Until(next) => {
                let next = self.now.saturating_add(next.remaining(self.moment()));
                self.quiet_since = self.quiet_since.max(next.min(until));
            }
        }
        let margin_begins = self.margin_begins(self.cluster.target.as_ref());
        if margin_begins.max(self.quiet_since + grace(self.known_lifetime())) < until {
            return Err(Broken("the published token came into its margin although everything worked"));
        }
        Ok(())
    }

    pub(super) fn is_held_for_good(&self) -> bool {
        matches!(self.process.excuse(), Excuse::ForGood)
    }

    /// Without a known lifetime there is no hurry.
    pub(super) fn known_lifetime(&self) -> SignedDuration {
        let lifetime = SignedDuration::from_secs(self.family.lifetime);
        self.process.published().map_or(FULL_PACE, |_| lifetime)
    }

    /// When the token in a target comes into its margin.
    pub(super) fn margin_begins(&self, target: Option<&Target>) -> SignedDuration {
        let lifetime = SignedDuration::from_secs(self.family.lifetime);
        let minted = target.and_then(|target| self.minted.iter().find(|minted| minted.name == target.name));
        minted.map_or(SignedDuration::ZERO, |minted| minted.expires - overdue_margin(lifetime))
    }
}

/// How long everything has to work where tokens have this lifetime.
pub(super) fn grace(lifetime: SignedDuration) -> SignedDuration {
    GRACE.mul_f64(lifetime.min(FULL_PACE).as_secs_f64() / FULL_PACE.as_secs_f64())
}

/// When a token is renewed, by the design: this share, in percent, before its end or that of its first day, but at least the
/// overdue margin and two minutes or 40 %. A second for rounding.
pub(super) fn renewal_of(lifetime: SignedDuration, renew_before: u8) -> SignedDuration {
    let scheduled = lifetime.min(SignedDuration::from_hours(24));
    let least = overdue_margin(scheduled) + SignedDuration::from_secs(120).min(scheduled * 2 / 5);
    let wanted = scheduled * renew_before.into() / 100;
    scheduled - wanted.max(least) - SignedDuration::from_secs(1)
}
