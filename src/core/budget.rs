//! The login budget: how often a login that the issuer rejects may be presented.
//!
//! Many issuers lock an account after five wrong passwords. So a rejected login is presented three times within a
//! quarter of an hour, for issuers err too, and then held: for good if it was never accepted, and but for one probe an
//! hour if it was. Whoever asks for an attempt gets one at once, unless a login that was never accepted had four
//! rejections within the hour.

use jiff::SignedDuration;

use super::moment::Moment;

/// When a rejected login is presented the second and the third time, counted from the first rejection.
const AGAIN: [SignedDuration; 2] = [SignedDuration::from_mins(5), SignedDuration::from_mins(15)];
/// The least time between two of them, also when the second came late.
const APART: SignedDuration = SignedDuration::from_mins(5);
/// How often a held login is probed that was accepted before.
const PROBE: SignedDuration = SignedDuration::from_hours(1);
/// The rejections that a login which was never accepted may have within [`WINDOW`], whoever asks.
const LIMIT: usize = 4;
/// The time that the limit is for.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// More rejections than this are not kept: no rule looks further back.
const KEPT: usize = 8;

/// The rejections of one login since it was accepted last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoginBudget {
    rejections: Vec<Moment>,
}

impl LoginBudget {
    /// Takes over what status remembers: so many rejections, and when the last one was.
    #[must_use]
    pub fn remembered(count: u32, last: Moment) -> Self {
        let count = usize::try_from(count).unwrap_or(KEPT).min(KEPT);
        let mut rejections = vec![last; count];
        // The pace goes on: the second came five minutes after the first.
        if count == 2 {
            rejections[0] = last.minus(AGAIN[0]);
        }
        Self { rejections }
    }

    /// The rejections in a row.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.rejections.len()).unwrap_or(u32::MAX)
    }

    /// The issuer rejected the login.
    pub fn reject(&mut self, now: Moment) {
        if self.rejections.len() == KEPT {
            self.rejections.remove(0);
        }
        self.rejections.push(now);
    }

    /// When the login may be presented again by itself; never while it is held.
    #[must_use]
    pub fn next_attempt(&self, is_proven: bool) -> Option<Moment> {
        let (first, last) = (self.rejections.first()?, self.rejections.last()?);
        match AGAIN.get(self.rejections.len() - 1) {
            Some(pause) => Some(first.plus(*pause).not_before(last.plus(APART))),
            None => is_proven.then(|| last.plus(PROBE)),
        }
    }

    /// When an attempt that somebody asks for `now` may be made.
    #[must_use]
    pub fn lifted(&self, is_proven: bool, now: Moment) -> Moment {
        let recent: Vec<&Moment> =
            self.rejections.iter().filter(|rejection| !rejection.plus(WINDOW).has_come(now)).collect();
        match recent.len().checked_sub(LIMIT).and_then(|index| recent.get(index)) {
            Some(oldest) if !is_proven => oldest.plus(WINDOW),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{at, seconds};
    use super::*;
    use proptest::prelude::*;

    fn rejected(times: &[i64]) -> LoginBudget {
        let mut budget = LoginBudget::default();
        for time in times {
            budget.reject(at(*time));
        }
        budget
    }

    #[test]
    fn a_rejected_login_is_presented_at_0_5_and_15_minutes_and_then_held_but_for_an_hourly_probe() {
        let cases: [(&[i64], Option<i64>, Option<i64>); 5] = [
            (&[0], Some(300), Some(300)),
            (&[0, 300], Some(900), Some(900)),
            (&[0, 880], Some(1180), Some(1180)),
            (&[0, 300, 900], None, Some(900 + 3600)),
            (&[0, 300, 900, 4500], None, Some(4500 + 3600)),
        ];
        for (times, unproven, proven) in cases {
            let budget = rejected(times);
            assert_eq!(budget.next_attempt(false), unproven.map(at), "{times:?}");
            assert_eq!(budget.next_attempt(true), proven.map(at), "{times:?}, accepted before");
        }
        assert_eq!(LoginBudget::default().next_attempt(true), None);
    }

    #[test]
    fn after_a_restart_the_pace_goes_on() {
        let remembered = |count, last| LoginBudget::remembered(count, at(last)).next_attempt(false);
        assert_eq!(remembered(1, 0), Some(at(300)));
        assert_eq!(remembered(2, 300), Some(at(900)));
        assert_eq!(remembered(3, 900), None);
        assert_eq!(LoginBudget::remembered(1000, at(0)).count(), 8);
    }

    #[test]
    fn a_login_that_was_never_accepted_has_four_rejections_within_an_hour_at_most() {
        let budget = rejected(&[0, 60, 120, 180]);
        assert_eq!(budget.lifted(false, at(200)), at(3600), "the first leaves the window");
        assert_eq!(budget.lifted(true, at(200)), at(200), "accepted before");
        assert_eq!(budget.lifted(false, at(3600)), at(3600));
        assert_eq!(rejected(&[0, 60, 120]).lifted(false, at(130)), at(130));
    }

    proptest! {
        #[test]
        fn whoever_asks_as_often_as_they_like_gets_no_more_than_four_in_any_hour(
            pauses in proptest::collection::vec(0_i64..2_000, 1..60),
        ) {
            let mut budget = LoginBudget::default();
            let (mut now, mut presented) = (at(0), Vec::new());
            for pause in pauses {
                now = now.plus(seconds(pause));
                if budget.lifted(false, now).has_come(now) {
                    budget.reject(now);
                    presented.push(now);
                }
            }
            for window in presented.windows(LIMIT + 1) {
                prop_assert!(window[LIMIT].monotonic - window[0].monotonic >= WINDOW);
            }
        }
    }
}
