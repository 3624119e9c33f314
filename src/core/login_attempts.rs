//! What is remembered of the attempts with one login, beyond a process: by status, and on the volume of a sidecar.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::call_failure::{CallFailure, UnclearAnswer};
use super::retry::{Failure, RetryClass};
use super::time::Moment;

/// What is remembered of the attempts with one login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginAttempts {
    /// When a login was last attempted.
    pub attempted: Option<Timestamp>,
    /// When the issuer last accepted one.
    pub accepted: Option<Timestamp>,
    /// How many in a row were rejected, with one that is under way and was never accepted.
    pub rejections: u32,
    /// How the last one was rejected; none if its response is unknown.
    pub rejection: Option<RejectionKind>,
}

impl LoginAttempts {
    /// How many logins in a row were rejected, and when the last one was; none if none was.
    #[must_use]
    pub fn rejected(&self, now: Moment) -> Option<(u32, Moment)> {
        let last = self.attempted.map_or(now, |time| Moment::recorded(time, now));
        (self.rejections > 0).then_some((self.rejections, last))
    }

    /// The failure that a new process takes over, if there was one. An attempt without a known response may have been
    /// rejected.
    #[must_use]
    pub fn failure(&self, password_has_blank: bool) -> Option<Failure> {
        let cause = self.rejection.map_or(CallFailure::LoginOutcomeUnknown, RejectionKind::failure);
        (self.rejections > 0).then_some(Failure { class: RetryClass::Rejected, cause, password_has_blank })
    }

    /// Hands over to the account what an earlier process has learned of its login.
    pub fn restore(&self, account: &mut Account, password_has_blank: bool, now: Moment) {
        if let Some(accepted) = self.accepted {
            account.remember_accepted(Moment::recorded(accepted, now));
        }
        if let Some(((count, last), failure)) = self.rejected(now).zip(self.failure(password_has_blank)) {
            account.remember_rejections(failure, count, last);
        }
    }
}

/// How the issuer rejected a login. A login that it never accepted is rejected by any answer without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectionKind {
    /// It rejected user name and password.
    Rejected,
    /// It answered with 403.
    Forbidden,
    /// It answered with a redirect.
    Redirected,
    /// It does not know the path.
    PathWrong,
    /// Something in front of the issuer answered.
    Blocked,
    /// A server answered that is not the issuer.
    Misdirected,
    /// The answer broke off.
    Incomplete,
    /// The answer cannot be used.
    Unusable,
}

/// The defect of an unusable answer to an earlier process: status records only the kind of a rejection.
const UNRECORDED_DEFECT: &str = "it brought no token";

impl RejectionKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Rejected,
        Self::Forbidden,
        Self::Redirected,
        Self::PathWrong,
        Self::Blocked,
        Self::Misdirected,
        Self::Incomplete,
        Self::Unusable,
    ];

    /// How this failure rejects a login; none if it does not.
    #[must_use]
    pub fn of(failure: CallFailure) -> Option<Self> {
        Some(match failure {
            CallFailure::LoginRejected { forbidden: true } => Self::Forbidden,
            CallFailure::LoginRejected { forbidden: false } => Self::Rejected,
            CallFailure::LoginNotAccepted(answer) => match answer {
                UnclearAnswer::Redirect => Self::Redirected,
                UnclearAnswer::PathWrong => Self::PathWrong,
                UnclearAnswer::Blocked => Self::Blocked,
                UnclearAnswer::Misdirected => Self::Misdirected,
                UnclearAnswer::Incomplete => Self::Incomplete,
                UnclearAnswer::Invalid { .. } => Self::Unusable,
            },
            CallFailure::LoginOutcomeUnknown
            | CallFailure::RefreshRejected
            | CallFailure::NoAnswer(_)
            | CallFailure::IssuerUnavailable { .. }
            | CallFailure::Unclear(_) => return None,
        })
    }

    /// The failure that it was.
    #[must_use]
    pub fn failure(self) -> CallFailure {
        CallFailure::LoginNotAccepted(match self {
            Self::Rejected => return CallFailure::LoginRejected { forbidden: false },
            Self::Forbidden => return CallFailure::LoginRejected { forbidden: true },
            Self::Redirected => UnclearAnswer::Redirect,
            Self::PathWrong => UnclearAnswer::PathWrong,
            Self::Blocked => UnclearAnswer::Blocked,
            Self::Misdirected => UnclearAnswer::Misdirected,
            Self::Incomplete => UnclearAnswer::Incomplete,
            Self::Unusable => UnclearAnswer::Invalid { defect: UNRECORDED_DEFECT },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::Origin;
    use super::super::reason::Reason;
    use super::super::testing::at;
    use super::*;

    #[test]
    fn every_kind_of_rejection_is_known_again_by_its_failure() {
        for kind in RejectionKind::ALL {
            assert!(kind.failure().is_rejection(), "{kind:?}");
            assert_eq!(RejectionKind::of(kind.failure()), Some(kind));
        }
        assert_eq!(RejectionKind::of(CallFailure::IssuerUnavailable { status: 503 }), None);
        assert_eq!(RejectionKind::of(CallFailure::Unclear(UnclearAnswer::Blocked)), None);
    }

    #[test]
    fn every_kind_of_rejection_mentions_a_blank_in_the_password() {
        let origin = Origin::parse("https://issuer.example").unwrap();
        for (kind, password_has_blank) in
            RejectionKind::ALL.into_iter().flat_map(|kind| [(kind, true), (kind, false)])
        {
            let failure = Failure { class: RetryClass::Rejected, cause: kind.failure(), password_has_blank };
            let message = Reason::of_call(&failure, "login", &origin).message();
            assert_eq!(message.contains("holds a blank"), password_has_blank, "{kind:?}");
        }
    }

    #[test]
    fn an_account_takes_over_acceptance_and_rejections() {
        let kind = RejectionKind::Forbidden;
        for (rejections, rejection, cause) in [
            (0, None, None),
            (2, None, Some(CallFailure::LoginOutcomeUnknown)),
            (2, Some(kind), Some(kind.failure())),
        ] {
            let (attempted, accepted) = (Some(at(5).wall), Some(at(1).wall));
            let attempts = LoginAttempts { attempted, accepted, rejections, rejection };
            assert_eq!(attempts.rejected(at(9)), cause.map(|_| (rejections, at(5))));
            assert_eq!(attempts.failure(true).map(|failure| failure.cause), cause);
            let mut account = Account::default();
            attempts.restore(&mut account, true, at(9));
            assert_eq!((account.rejections(), account.accepted()), (rejections, Some(at(1))));
            let failure = account.last_failure().map(|it| (it.failure.cause, it.last));
            assert_eq!(failure, cause.map(|cause| (cause, at(5))), "{rejections} {rejection:?}");
        }
    }
}
