//! So many at once, and so many a minute later on: what may be done often must not be done without end.

use super::moment::Moment;

/// How much may be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At once, after a rest.
    pub at_once: u32,
    /// In a minute, on and on.
    pub a_minute: u32,
}

/// What is left of a rate (a token bucket).
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    left: f64,
    at: Moment,
}

impl Allowance {
    /// After a rest.
    #[must_use]
    pub fn full(rate: Rate, now: Moment) -> Self {
        Self { left: f64::from(rate.at_once), at: now }
    }

    /// Takes one, if one is left.
    pub fn take(&mut self, rate: Rate, now: Moment) -> bool {
        self.left = self.left(rate, now);
        self.at = now;
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }

    /// Whether it is as if nothing had ever been taken.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: Moment) -> bool {
        self.left(rate, now) >= f64::from(rate.at_once)
    }

    fn left(&self, rate: Rate, now: Moment) -> f64 {
        let passed = now.monotonic.saturating_sub(self.at.monotonic).as_secs_f64().max(0.0);
        (self.left + passed * f64::from(rate.a_minute) / 60.0).min(f64::from(rate.at_once))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    const RATE: Rate = Rate { at_once: 3, a_minute: 60 };

    fn at(milliseconds: i64) -> Moment {
        let monotonic = SignedDuration::from_millis(milliseconds);
        Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
    }

    #[test]
    fn some_are_allowed_at_once_and_later_ones_as_time_passes() {
        let mut allowance = Allowance::full(RATE, at(0));
        let mut take = |now| allowance.take(RATE, at(now));
        assert_eq!(
            [0, 0, 0, 0, 500, 1000, 1000].map(&mut take),
            [true, true, true, false, false, true, false]
        );
        assert_eq!([60_000; 4].map(&mut take), [true, true, true, false], "a rest fills it, and no more");
        assert!(!allowance.is_full(RATE, at(61_000)) && allowance.is_full(RATE, at(63_000)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_says(pauses in prop::collection::vec(0_i64..3000, 1..200)) {
            let mut allowance = Allowance::full(RATE, at(0));
            let (mut now, mut taken) = (0, 0.0);
            for pause in pauses {
                now += pause;
                taken += f64::from(u8::from(allowance.take(RATE, at(now))));
                let allowed = 3.0 + SignedDuration::from_millis(now).as_secs_f64();
                prop_assert!(taken <= allowed + 1e-6, "{taken} by {now}");
            }
        }
    }
}
