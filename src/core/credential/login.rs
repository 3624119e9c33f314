//! What status remembers of the logins of one credential.

use std::sync::Arc;

use crate::core::conditions::{Condition, ConditionStatus, ConditionType, find};
use crate::core::login_attempts::{LoginAttempts, RejectionKind};

/// The attempts to log in, as status holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginHistory {
    /// The resourceVersion of the login Secret that was used.
    pub resource_version: Option<Arc<str>>,
    /// The attempts with it.
    pub attempts: LoginAttempts,
}

/// How a login was rejected by a status of an older version, which did not record it: by the reason and message of the
/// condition, in the words of that version.
pub(super) fn rejection_of_conditions(conditions: &[Condition]) -> Option<RejectionKind> {
    let condition = find(conditions, ConditionType::LoginAccepted)?;
    let says = |words: &str| condition.message.contains(words);
    condition.is(ConditionType::LoginAccepted, ConditionStatus::False).then(|| match &*condition.reason {
        "LoginRejected" if says("\"API Access\"") => RejectionKind::Forbidden,
        "IssuerMisconfigured" if says("redirect") => RejectionKind::Redirected,
        "IssuerMisconfigured" => RejectionKind::PathWrong,
        "IssuerBlocked" => RejectionKind::Blocked,
        "IssuerMisdirected" => RejectionKind::Misdirected,
        "IssuerAnswerBroken" => RejectionKind::Incomplete,
        "IssuerAnswerUnusable" => RejectionKind::Unusable,
        _ => RejectionKind::Rejected,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_status_without_the_kind_tells_it_by_the_reason_of_its_condition() {
        let condition = |status: ConditionStatus, reason: &str, message: &str| Condition {
            type_: ConditionType::LoginAccepted.as_str().into(),
            status: status.as_str().into(),
            reason: reason.to_owned().into(),
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
            let found = rejection_of_conditions(&[condition(ConditionStatus::False, reason, message)]);
            assert_eq!(found, Some(kind), "{reason}: {message}");
        }
        let accepted = condition(ConditionStatus::True, "LoginAccepted", "");
        let unknown = condition(ConditionStatus::False, "SomethingNew", "");
        assert_eq!(rejection_of_conditions(&[accepted]), None);
        assert_eq!(rejection_of_conditions(&[]), None);
        assert_eq!(rejection_of_conditions(&[unknown]), Some(RejectionKind::Rejected));
    }
}
