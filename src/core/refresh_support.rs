//! Whether an issuer accepts refreshes before expiry, which is learned: its documentation says both that a token is
//! refreshed before it expires and that only an expired one is.

use jiff::SignedDuration;

use super::time::Moment;

/// How long the issuer's refusal of early refreshes is believed before it is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// After the first refresh of so many sessions in a row was refused, it is believed.
const SESSIONS: u32 = 2;

/// What was learned of the issuer's treatment of a refresh ahead of expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RefreshSupport {
    /// It is not known yet.
    #[default]
    Unknown,
    /// It was accepted.
    Early,
    /// The first refresh of two sessions in a row was refused.
    Refused,
}

/// What one account has learned.
#[derive(Clone, Debug, Default)]
pub(super) struct RefreshHistory {
    support: RefreshSupport,
    /// When a refresh was refused last, while that is believed.
    refused: Option<Moment>,
    refused_sessions: u32,
    is_refreshed: bool,
}

impl RefreshHistory {
    /// The short form, for status.
    pub(super) fn support(&self) -> RefreshSupport {
        self.support
    }

    /// Whether a refresh is worth a call.
    pub(super) fn is_worth_asking(&self, now: Moment) -> bool {
        self.support != RefreshSupport::Refused
            || self.refused.is_none_or(|refused| refused.plus(ASK_AGAIN).is_reached(now))
    }

    /// Takes over what an earlier process learned; it is believed for another day.
    pub(super) fn remember(&mut self, support: RefreshSupport, now: Moment) {
        if self.support == RefreshSupport::Unknown {
            self.support = support;
            self.refused = (support == RefreshSupport::Refused).then_some(now);
        }
    }

    /// The next refresh is tried whatever was learned.
    pub(super) fn ask_again(&mut self) {
        self.refused = None;
    }

    /// A login began a session.
    pub(super) fn logged_in(&mut self) {
        self.is_refreshed = false;
    }

    /// A refresh was accepted, ahead of the token's expiry or after it.
    pub(super) fn accepted(&mut self, early: bool) {
        if early {
            self.support = RefreshSupport::Early;
            self.refused = None;
        }
        self.refused_sessions = 0;
        self.is_refreshed = true;
    }

    /// A refresh was refused.
    pub(super) fn refused(&mut self, now: Moment) {
        self.refused_sessions = if self.is_refreshed { 0 } else { self.refused_sessions + 1 };
        if self.refused_sessions >= SESSIONS || self.support == RefreshSupport::Refused {
            self.support = RefreshSupport::Refused;
            self.refused = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;

    #[test]
    fn two_sessions_whose_first_refresh_is_refused_say_that_the_issuer_refuses_early_ones() {
        let mut history = RefreshHistory::default();
        history.accepted(false);
        history.refused(at(0));
        for expected in [RefreshSupport::Unknown, RefreshSupport::Refused] {
            history.logged_in();
            history.refused(at(0));
            assert_eq!(history.support(), expected);
        }
    }
}
