//! What status remembers of the logins of one credential.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::call_failure::{CallFailure, UnclearAnswer};
use crate::core::conditions::{Condition, ConditionStatus, ConditionType, find};
use crate::core::time::Moment;

/// The attempts to log in, as status holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginHistory {
    /// The resourceVersion of the login Secret that was used.
    pub resource_version: Option<String>,
    /// When a login was last attempted.
    pub attempted: Option<Timestamp>,
    /// When the issuer last accepted one.
    pub accepted: Option<Timestamp>,
    /// How many in a row were rejected, with one that is under way and was never accepted.
    pub rejections: u32,
    /// How the last one was rejected.
    pub rejection: Option<RejectionKind>,
}

impl LoginHistory {
    /// How many logins in a row were rejected, and when the last one was; none if none was.
    #[must_use]
    pub fn rejected(&self, now: Moment) -> Option<(u32, Moment)> {
        let last = self.attempted.map_or(now, |time| Moment::recorded(time, now));
        (self.rejections > 0).then_some((self.rejections, last))
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
            | CallFailure::IssuerUnavailable
            | CallFailure::Unclear(_) => return None,
        })
    }

    /// The kind in a status of an older version, which did not record it: by the reason and message of the condition, in the
    /// words of that version.
    #[must_use]
    pub fn of_conditions(conditions: &[Condition]) -> Option<Self> {
        let condition = find(conditions, ConditionType::LoginAccepted)?;
        let says = |words: &str| condition.message.contains(words);
        condition.is(ConditionType::LoginAccepted, ConditionStatus::False).then(|| match &*condition.reason {
            "LoginRejected" if says("\"API Access\"") => Self::Forbidden,
            "IssuerMisconfigured" if says("redirect") => Self::Redirected,
            "IssuerMisconfigured" => Self::PathWrong,
            "IssuerBlocked" => Self::Blocked,
            "IssuerMisdirected" => Self::Misdirected,
            "IssuerAnswerBroken" => Self::Incomplete,
            "IssuerAnswerUnusable" => Self::Unusable,
            _ => Self::Rejected,
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
    use super::*;
    use crate::core::endpoint::Origin;
    use crate::core::reason::Reason;
    use crate::core::retry::{Failure, RetryClass};

    #[test]
    fn every_kind_of_rejection_is_known_again_by_its_failure() {
        for kind in RejectionKind::ALL {
            assert!(kind.failure().is_rejection(), "{kind:?}");
            assert_eq!(RejectionKind::of(kind.failure()), Some(kind));
        }
        assert_eq!(RejectionKind::of(CallFailure::IssuerUnavailable), None);
        assert_eq!(RejectionKind::of(CallFailure::Unclear(UnclearAnswer::Blocked)), None);
    }

    #[test]
    fn a_blank_in_the_password_is_told_of_every_kind_of_rejection() {
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
    fn a_status_without_the_kind_tells_it_by_the_reason_of_its_condition() {
        let condition = |status: ConditionStatus, reason: &str, message: &str| Condition {
            type_: ConditionType::LoginAccepted.as_str().into(),
            status: status.as_str().into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: Some(1),
            since: Timestamp::UNIX_EPOCH,
        };
        let cases = [
            ("LoginRejected", "correct them", RejectionKind::Rejected),
            (
                "LoginRejected",
                "see to it that the user has the \"API Access\" authorization",
                RejectionKind::Forbidden,
            ),
            ("IssuerMisconfigured", "answers the login with a redirect", RejectionKind::Redirected),
            ("IssuerMisconfigured", "does not know the path", RejectionKind::PathWrong),
            ("IssuerBlocked", "", RejectionKind::Blocked),
            ("IssuerMisdirected", "", RejectionKind::Misdirected),
            ("IssuerAnswerBroken", "", RejectionKind::Incomplete),
            ("IssuerAnswerUnusable", "", RejectionKind::Unusable),
        ];
        for (reason, message, kind) in cases {
            let found = RejectionKind::of_conditions(&[condition(ConditionStatus::False, reason, message)]);
            assert_eq!(found, Some(kind), "{reason}: {message}");
        }
        let accepted = condition(ConditionStatus::True, "LoginAccepted", "");
        let unknown = condition(ConditionStatus::False, "SomethingNew", "");
        assert_eq!(RejectionKind::of_conditions(&[accepted]), None);
        assert_eq!(RejectionKind::of_conditions(&[]), None);
        assert_eq!(RejectionKind::of_conditions(&[unknown]), Some(RejectionKind::Rejected));
    }
}
