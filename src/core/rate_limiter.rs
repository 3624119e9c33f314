//! A token bucket: a burst, and then a steady rate.

use jiff::SignedDuration;

use super::time::Moment;

/// How much may be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The burst, after a pause.
    pub burst: u32,
    /// The steady rate, per minute.
    pub per_minute: u32,
}

/// What is left of a rate (a token bucket).
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    left: f64,
    at: Moment,
}

impl RateLimiter {
    /// After a rest.
    #[must_use]
    pub fn full(rate: Rate, now: Moment) -> Self {
        Self { left: f64::from(rate.burst), at: now }
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

    /// Takes one whether or not one is left, for what cannot wait.
    pub fn spend(&mut self, rate: Rate, now: Moment) {
        self.left = (self.left(rate, now) - 1.0).max(0.0);
        self.at = now;
    }

    /// When one is left again, if none is.
    #[must_use]
    pub fn pause(&self, rate: Rate, now: Moment) -> Option<Moment> {
        let lacking = 1.0 - self.left(rate, now);
        let seconds = lacking * 60.0 / f64::from(rate.per_minute);
        // A millisecond more, so that no rounding makes it too early.
        let pause = || SignedDuration::from_secs_f64(seconds) + SignedDuration::from_millis(1);
        (lacking > 0.0).then(|| now.plus(pause()))
    }

    /// Whether it is as if nothing had ever been taken.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: Moment) -> bool {
        self.left(rate, now) >= f64::from(rate.burst)
    }

    fn left(&self, rate: Rate, now: Moment) -> f64 {
        let passed = now.monotonic.saturating_sub(self.at.monotonic).as_secs_f64().max(0.0);
        (self.left + passed * f64::from(rate.per_minute) / 60.0).min(f64::from(rate.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 3, per_minute: 60 };

    fn at(milliseconds: i64) -> Moment {
        let monotonic = SignedDuration::from_millis(milliseconds);
        Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
    }

    #[test]
    fn some_are_allowed_at_once_and_later_ones_as_time_passes() {
        let mut rate_limiter = RateLimiter::full(RATE, at(0));
        let mut take = |now| rate_limiter.take(RATE, at(now));
        assert_eq!(
            [0, 0, 0, 0, 500, 1000, 1000].map(&mut take),
            [true, true, true, false, false, true, false]
        );
        assert_eq!([60_000; 4].map(&mut take), [true, true, true, false], "a rest fills it, and no more");
        assert!(!rate_limiter.is_full(RATE, at(61_000)) && rate_limiter.is_full(RATE, at(63_000)));
    }

    #[test]
    fn what_cannot_wait_is_counted_and_makes_others_wait() {
        let mut rate_limiter = RateLimiter::full(RATE, at(0));
        assert_eq!(rate_limiter.pause(RATE, at(0)), None);
        for _ in 0..5 {
            rate_limiter.spend(RATE, at(0));
        }
        assert_eq!(rate_limiter.pause(RATE, at(0)), Some(at(1001)), "no debt beyond the next");
        assert_eq!(rate_limiter.pause(RATE, at(1001)), None);
        assert!(rate_limiter.take(RATE, at(1001)));
    }

    #[test]
    fn no_caller_waits_for_the_last_one_and_every_caller_for_a_missing_one() {
        let mut rate_limiter = RateLimiter::full(RATE, at(0));
        assert!(rate_limiter.take(RATE, at(0)) && rate_limiter.take(RATE, at(0)));
        assert_eq!(rate_limiter.pause(RATE, at(0)), None, "one is left");
        assert!(rate_limiter.take(RATE, at(0)));
        assert_eq!(rate_limiter.pause(RATE, at(0)), Some(at(1001)), "none is left");
        assert_eq!(rate_limiter.pause(RATE, at(250)), Some(at(1001)), "a quarter of one is left");
        let slow = Rate { burst: 1, per_minute: 6 };
        let mut rate_limiter = RateLimiter::full(slow, at(0));
        assert!(rate_limiter.take(slow, at(0)));
        assert_eq!(rate_limiter.pause(slow, at(5_000)), Some(at(10_001)));
        assert!(!rate_limiter.take(slow, at(9_999)) && rate_limiter.take(slow, at(10_001)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_says(pauses in prop::collection::vec(0_i64..3000, 1..200)) {
            let mut rate_limiter = RateLimiter::full(RATE, at(0));
            let (mut now, mut taken) = (0, 0.0);
            for pause in pauses {
                now += pause;
                taken += f64::from(u8::from(rate_limiter.take(RATE, at(now))));
                let allowed = 3.0 + SignedDuration::from_millis(now).as_secs_f64();
                prop_assert!(taken <= allowed + 1e-6, "{taken} by {now}");
            }
        }
    }
}
