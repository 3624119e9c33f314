//! The list of conditions in status, and how new conditions are merged into it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::reason::Reason;
use crate::core::time::to_second;

/// A word of ours, or one that another program has written.
pub type Word = Cow<'static, str>;

/// The conditions of a credential, in the order in which they are listed.
///
/// kstatus (Flux, Helm 4) defines `Reconciling` and `Stalled` and treats absence as False, so these two and
/// `RenewalOverdue` are left out instead of being set to False.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The target holds a valid token, written for the observed generation.
    Ready,
    /// There is no valid token yet, or a new generation is not observed yet.
    Reconciling,
    /// Someone must act.
    Stalled,
    /// The result of the last login.
    LoginAccepted,
    /// The renewal is late: only the overdue margin of the lifetime is left.
    RenewalOverdue,
}

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ready, Self::Reconciling, Self::Stalled, Self::LoginAccepted, Self::RenewalOverdue];

    /// The type, as on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::LoginAccepted => "LoginAccepted",
            Self::RenewalOverdue => "RenewalOverdue",
        }
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

impl ConditionStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];

    /// The status, as on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition as it stands in status. Its type and status are texts: another program may have written them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which condition.
    pub type_: Word,
    /// Whether it holds: `True`, `False` or `Unknown`.
    pub status: Word,
    /// Why, in one word of the closed set of reasons.
    pub reason: Word,
    /// Why, and what to do, in a sentence.
    pub message: String,
    /// The generation of the specification that it speaks of.
    pub observed_generation: Option<i64>,
    /// When its status last changed.
    pub since: Timestamp,
}

impl Condition {
    /// Whether it is of this type and has this status.
    #[must_use]
    pub fn is(&self, type_: ConditionType, status: ConditionStatus) -> bool {
        self.type_ == type_.as_str() && self.status == status.as_str()
    }
}

/// The condition of this type.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// The desired state of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The type of the condition.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The reason, from the closed set of reasons.
    pub reason: Word,
    /// The message: the cause and the cure.
    pub message: String,
}

impl Wanted {
    /// A condition for this reason.
    #[must_use]
    pub fn new(type_: ConditionType, status: ConditionStatus, reason: &Reason) -> Self {
        Self { type_, status, reason: reason.name().into(), message: reason.message() }
    }

    /// The condition of this type as it stood before, if it did.
    #[must_use]
    pub fn kept(type_: ConditionType, previous: &[Condition]) -> Option<Self> {
        let before = find(previous, type_)?;
        let status = match &*before.status {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        Some(Self { type_, status, reason: before.reason.clone(), message: before.message.clone() })
    }
}

/// Merges `wanted` into `previous`.
///
/// `lastTransitionTime` changes only when the status changes, so that it shows how long a state has lasted, and an
/// unchanged state yields an equal list and no write. Conditions that are not in `wanted` are removed. The order is
/// that of [`ConditionType`]; of two with the same type, the last one counts.
#[must_use]
pub fn merge(
    previous: &[Condition],
    wanted: impl IntoIterator<Item = Wanted>,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let by_type: BTreeMap<ConditionType, Wanted> =
        wanted.into_iter().map(|condition| (condition.type_, condition)).collect();
    by_type
        .into_values()
        .map(|wanted| {
            let Wanted { type_, status, reason, message } = wanted;
            let before = previous.iter().find(|condition| condition.is(type_, status));
            Condition {
                type_: type_.as_str().into(),
                status: status.as_str().into(),
                reason,
                message,
                observed_generation,
                since: before.map_or_else(|| to_second(now), |condition| condition.since),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ConditionStatus::{False, True, Unknown};
    use super::ConditionType::{LoginAccepted, Ready, Reconciling, RenewalOverdue, Stalled};
    use super::*;

    fn make_wanted(type_: ConditionType, status: ConditionStatus, reason: &str) -> Wanted {
        Wanted { type_, status, reason: reason.to_owned().into(), message: format!("message of {reason}") }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// One line for each condition: type, status, reason, generation, second of the last transition.
    fn summary(conditions: &[Condition]) -> Vec<String> {
        conditions
            .iter()
            .map(|condition| {
                assert_eq!(condition.message, format!("message of {}", condition.reason));
                format!(
                    "{} {} {} {} {}",
                    condition.type_,
                    condition.status,
                    condition.reason,
                    condition.observed_generation.unwrap_or_default(),
                    condition.since.as_second(),
                )
            })
            .collect()
    }

    #[test]
    fn merging_follows_the_table() {
        let issuing = [make_wanted(Ready, False, "Issuing"), make_wanted(Reconciling, True, "Issuing")];
        let before = merge(&[], issuing, Some(1), at(100));
        assert_eq!(summary(&before), ["Ready False Issuing 1 100", "Reconciling True Issuing 1 100"]);

        let cases: [(&str, Vec<Wanted>, i64, &[&str]); 6] = [
            (
                "a flip moves the time, and what is not wanted is gone",
                vec![make_wanted(Ready, True, "Issued")],
                1,
                &["Ready True Issued 1 200"],
            ),
            (
                "another reason of the same status leaves the time",
                vec![make_wanted(Ready, False, "LoginRejected"), make_wanted(Reconciling, True, "Issuing")],
                1,
                &["Ready False LoginRejected 1 100", "Reconciling True Issuing 1 100"],
            ),
            (
                "another generation leaves the time",
                vec![make_wanted(Ready, False, "Issuing")],
                2,
                &["Ready False Issuing 2 100"],
            ),
            (
                "from False to Unknown is a flip",
                vec![make_wanted(Ready, Unknown, "Issuing")],
                1,
                &["Ready Unknown Issuing 1 200"],
            ),
            (
                "the order is fixed, and new types get the present time",
                vec![
                    make_wanted(RenewalOverdue, True, "Overdue"),
                    make_wanted(LoginAccepted, False, "Rejected"),
                    make_wanted(Stalled, True, "Rejected"),
                    make_wanted(Reconciling, True, "Issuing"),
                    make_wanted(Ready, False, "Issuing"),
                ],
                1,
                &[
                    "Ready False Issuing 1 100",
                    "Reconciling True Issuing 1 100",
                    "Stalled True Rejected 1 200",
                    "LoginAccepted False Rejected 1 200",
                    "RenewalOverdue True Overdue 1 200",
                ],
            ),
            ("nothing wanted is nothing", vec![], 1, &[]),
        ];
        for (what, wanted, generation, expected) in cases {
            assert_eq!(summary(&merge(&before, wanted, Some(generation), at(200))), expected, "{what}");
        }
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        let wanted = || [make_wanted(Ready, True, "Issued"), make_wanted(LoginAccepted, True, "Accepted")];
        let first = merge(&[], wanted(), Some(3), "2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(
            first[0].since,
            "2026-01-02T03:04:05Z".parse().unwrap(),
            "whole seconds, as status holds them"
        );
        assert_eq!(merge(&first, wanted(), Some(3), at(4_000_000_000)), first);
    }

    #[test]
    fn a_condition_is_kept_as_it_stood_if_it_did() {
        for status in [True, False, Unknown] {
            let before = merge(&[], [make_wanted(LoginAccepted, status, "Accepted")], Some(1), at(100));
            assert_eq!(merge(&before, Wanted::kept(LoginAccepted, &before), Some(1), at(200)), before);
            assert_eq!(Wanted::kept(Ready, &before), None);
        }
    }

    #[test]
    fn a_condition_that_came_and_went_starts_anew() {
        let overdue = || [make_wanted(RenewalOverdue, True, "Overdue")];
        let first = merge(&[], overdue(), Some(1), at(100));
        let gone = merge(&first, [], Some(1), at(200));
        assert_eq!(
            summary(&merge(&gone, overdue(), Some(1), at(300))),
            ["RenewalOverdue True Overdue 1 300"]
        );
    }
}
