//! Other controllers over the same credentials: who keeps one, and who stands by.
//!
//! A credential's status names the controller that keeps it, and that one keeps it for as long as it lives. Whether it does is
//! found out by asking: another controller claims the credential in its status, and the keeper, if it lives, takes the claim
//! away. A claim that stands unanswered says that it does not. So nobody needs a right that it does not have anyway, and
//! nothing is written where there is one controller only.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::moment::Moment;

/// How long a claim stands before its keeper counts as gone: a keeper's successor needs up to 17 s to lead.
const ANSWER_LIMIT: SignedDuration = SignedDuration::from_secs(18);
/// How soon after a sign of life a keeper is asked again. With the limit it is less than half a minute.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_secs(6);
/// How much later than the one that asked, other credentials of the same keeper look.
const GRACE: SignedDuration = SignedDuration::from_secs(1);
/// For how long it counts as gone without being asked again.
const GONE_FOR: SignedDuration = SignedDuration::from_mins(1);
/// From so many on, those are forgotten of which nothing was seen for [`GONE_FOR`]: people who may write status can write
/// any name there.
const MANY: usize = 1000;

/// The claim that stands on a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// None.
    None,
    /// Ours.
    Ours,
    /// Another controller's.
    Another,
}

/// What to do about a credential that another controller keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stance {
    /// Claim it, and see whether the keeper answers.
    Ask,
    /// Stand by until then.
    StandBy(Moment),
    /// The keeper is gone: keep it ourselves.
    TakeOver,
}

/// A keeper in a namespace: it may well work in others only.
type Keeper = (String, String);

/// What is known of other controllers.
#[derive(Debug, Default)]
pub struct Rivals(HashMap<Keeper, Sign>);

#[derive(Clone, Debug, PartialEq)]
enum Sign {
    /// It was asked by a claim on this credential.
    Asked { on: String, since: Moment },
    /// It answered, or wrote.
    Alive { at: Moment },
    /// It did not answer.
    Gone { at: Moment },
}

impl Sign {
    fn at(&self) -> Moment {
        match self {
            Self::Asked { since: at, .. } | Self::Alive { at } | Self::Gone { at } => *at,
        }
    }
}

impl Rivals {
    /// What to do about the credential `on`, which `keeper` keeps. If it is to be asked or taken over, that is what happens.
    pub fn stance(&mut self, keeper: &str, namespace: &str, on: &str, claim: Claim, now: Moment) -> Stance {
        let sign = self.0.get(&(namespace.to_owned(), keeper.to_owned()));
        let has_come = |since: Moment, pause| since.plus(pause).has_come(now);
        let (stance, sign) = match sign {
            Some(Sign::Asked { on: asked, since }) if asked == on => match claim {
                Claim::Ours if has_come(*since, ANSWER_LIMIT) => (Stance::TakeOver, Sign::Gone { at: now }),
                Claim::Ours => return Stance::StandBy(since.plus(ANSWER_LIMIT)),
                Claim::None | Claim::Another => {
                    (Stance::StandBy(now.plus(ASKED_AGAIN)), Sign::Alive { at: now })
                }
            },
            Some(Sign::Asked { since, .. }) if !has_come(*since, ANSWER_LIMIT + GRACE) => {
                return Stance::StandBy(since.plus(ANSWER_LIMIT + GRACE));
            }
            Some(Sign::Alive { at }) if !has_come(*at, ASKED_AGAIN) => {
                return Stance::StandBy(at.plus(ASKED_AGAIN));
            }
            Some(Sign::Gone { at }) if !has_come(*at, GONE_FOR) => return Stance::TakeOver,
            _ => (Stance::Ask, Sign::Asked { on: on.to_owned(), since: now }),
        };
        self.keep(keeper, namespace, sign, now);
        stance
    }

    /// There is a sign of life of another controller. Whether it is the first one.
    pub fn lives(&mut self, rival: &str, namespace: &str, now: Moment) -> bool {
        let before = self.keep(rival, namespace, Sign::Alive { at: now }, now);
        matches!(before, None | Some(Sign::Gone { .. }))
    }

    fn keep(&mut self, rival: &str, namespace: &str, sign: Sign, now: Moment) -> Option<Sign> {
        if self.0.len() >= MANY {
            self.0.retain(|_, sign| !sign.at().plus(GONE_FOR).has_come(now));
        }
        self.0.insert((namespace.to_owned(), rival.to_owned()), sign)
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::at;
    use super::*;

    const NAMESPACE: &str = "shop";

    fn stance(rivals: &mut Rivals, on: &str, claim: Claim, seconds: i64) -> Stance {
        rivals.stance("a", NAMESPACE, on, claim, at(seconds))
    }

    #[test]
    fn a_keeper_that_answers_is_asked_again_and_again_by_one_credential_and_all_stand_by() {
        let mut rivals = Rivals::default();
        for begin in [0, 10, 20] {
            assert_eq!(stance(&mut rivals, "one", Claim::None, begin), Stance::Ask);
            assert_eq!(stance(&mut rivals, "two", Claim::None, begin), Stance::StandBy(at(begin + 19)));
            assert_eq!(stance(&mut rivals, "one", Claim::Ours, begin + 1), Stance::StandBy(at(begin + 18)));
            assert_eq!(stance(&mut rivals, "one", Claim::None, begin + 2), Stance::StandBy(at(begin + 8)));
            assert_eq!(stance(&mut rivals, "two", Claim::None, begin + 3), Stance::StandBy(at(begin + 8)));
        }
    }

    #[test]
    fn a_keeper_that_does_not_answer_is_gone_for_all_of_its_credentials_within_half_a_minute() {
        let mut rivals = Rivals::default();
        // Its last sign of life.
        rivals.lives("a", NAMESPACE, at(0));
        assert_eq!(stance(&mut rivals, "one", Claim::None, 6), Stance::Ask);
        assert_eq!(stance(&mut rivals, "one", Claim::Ours, 24), Stance::TakeOver);
        assert_eq!(stance(&mut rivals, "two", Claim::None, 25), Stance::TakeOver);
        assert_eq!(stance(&mut rivals, "two", Claim::None, 90), Stance::Ask, "it may be back");
        let other = rivals.stance("a", "bank", "one", Claim::None, at(25));
        assert_eq!(other, Stance::Ask, "it may have left one namespace only");
    }

    #[test]
    fn if_the_one_that_was_to_ask_is_gone_another_one_asks() {
        let mut rivals = Rivals::default();
        assert_eq!(stance(&mut rivals, "one", Claim::None, 0), Stance::Ask);
        assert_eq!(stance(&mut rivals, "two", Claim::None, 19), Stance::Ask);
    }

    #[test]
    fn a_claim_of_a_third_one_says_nothing_and_one_that_was_thought_gone_may_come_back() {
        let mut rivals = Rivals::default();
        assert_eq!(stance(&mut rivals, "one", Claim::None, 0), Stance::Ask);
        assert_eq!(stance(&mut rivals, "one", Claim::Another, 30), Stance::StandBy(at(36)));
        assert_eq!(stance(&mut rivals, "one", Claim::None, 36), Stance::Ask);
        assert_eq!(stance(&mut rivals, "one", Claim::Ours, 54), Stance::TakeOver);
        assert!(rivals.lives("a", NAMESPACE, at(55)), "it is news");
        assert!(!rivals.lives("a", NAMESPACE, at(56)), "it is none");
        assert_eq!(stance(&mut rivals, "two", Claim::None, 56), Stance::StandBy(at(62)));
    }

    #[test]
    fn names_that_somebody_makes_up_are_forgotten_after_a_minute() {
        let mut rivals = Rivals::default();
        for number in 0..2 * i64::try_from(MANY).unwrap() {
            rivals.lives(&format!("made-up-{number}"), NAMESPACE, at(number));
        }
        assert!(rivals.0.len() <= MANY, "{}", rivals.0.len());
    }
}
