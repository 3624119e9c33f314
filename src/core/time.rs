//! A moment on both clocks.
//!
//! The wall clock can be set, and a suspended machine stops the monotonic clock. Trusting only one of them means
//! missing an expiry. So every deadline is on both clocks, and is reached as soon as either reaches it.

use jiff::{SignedDuration, Timestamp};

/// One instant, read from the wall clock and from a monotonic clock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Calendar time; what status, annotations and people see.
    pub wall: Timestamp,
    /// Time since an arbitrary start that no one can set. Negative for what happened before this process.
    pub monotonic: SignedDuration,
}

impl Moment {
    /// The moment `duration` later (or earlier, when negative) on both clocks; saturates at the ends of time.
    #[must_use]
    pub fn plus(self, duration: SignedDuration) -> Self {
        Self {
            wall: self.wall.saturating_add(duration).unwrap_or(if duration.is_negative() {
                Timestamp::MIN
            } else {
                Timestamp::MAX
            }),
            monotonic: self.monotonic.saturating_add(duration),
        }
    }

    /// The moment `duration` earlier on both clocks.
    #[must_use]
    pub fn minus(self, duration: SignedDuration) -> Self {
        self.plus(SignedDuration::ZERO.saturating_sub(duration))
    }

    /// Converts a wall-clock time from status to both clocks, as of `now`.
    #[must_use]
    pub fn at_wall(wall: Timestamp, now: Moment) -> Self {
        Self { wall, monotonic: now.monotonic.saturating_add(wall.duration_since(now.wall)) }
    }

    /// Places the recorded time of what has happened on both clocks: not after `now`, whatever a clock that was wrong
    /// then or is wrong now makes of it.
    #[must_use]
    pub fn recorded(wall: Timestamp, now: Moment) -> Self {
        Self::at_wall(wall, now).earlier(now, now)
    }

    /// The time left until `self` as seen `now`, by the earlier clock. Negative once it has passed.
    #[must_use]
    pub fn remaining(self, now: Moment) -> SignedDuration {
        let wall = self.wall.duration_since(now.wall);
        let monotonic = self.monotonic.saturating_sub(now.monotonic);
        wall.min(monotonic)
    }

    /// Whether `self` is reached by either clock.
    #[must_use]
    pub fn is_reached(self, now: Moment) -> bool {
        self.remaining(now) <= SignedDuration::ZERO
    }

    /// The earlier of two moments, as seen `now`; `self` if both have the same time left.
    #[must_use]
    pub fn earlier(self, other: Moment, now: Moment) -> Moment {
        if other.remaining(now) < self.remaining(now) { other } else { self }
    }

    /// On each clock the later of the two.
    #[must_use]
    pub fn not_before(self, other: Moment) -> Self {
        Self { wall: self.wall.max(other.wall), monotonic: self.monotonic.max(other.monotonic) }
    }

    /// On each clock the earlier of the two.
    #[must_use]
    pub fn not_after(self, other: Moment) -> Self {
        Self { wall: self.wall.min(other.wall), monotonic: self.monotonic.min(other.monotonic) }
    }

    /// Whether `self` lies after `other` by the monotonic clock, the one that orders what this process did.
    #[must_use]
    pub fn is_after(self, other: Moment) -> bool {
        self.monotonic > other.monotonic
    }
}

/// Truncates a time to whole seconds: a token must not appear valid longer than it is.
#[must_use]
pub fn to_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second() - i64::from(time.subsec_nanosecond() < 0)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, monotonic: i64) -> Moment {
        Moment {
            wall: Timestamp::from_second(wall).unwrap(),
            monotonic: SignedDuration::from_secs(monotonic),
        }
    }

    #[test]
    fn a_deadline_has_come_when_either_clock_says_so() {
        let deadline = at(1_000, 100);
        assert!(!deadline.is_reached(at(999, 99)));
        assert!(deadline.is_reached(at(1_000, 10)), "the wall clock was set forward");
        assert!(deadline.is_reached(at(10, 100)), "the wall clock was set back");
    }

    #[test]
    fn of_two_moments_with_the_same_time_left_the_first_counts_as_the_earlier() {
        let (now, one, two) = (at(1_000, 0), at(1_005, 10), at(1_010, 5));
        assert_eq!([one.earlier(two, now), two.earlier(one, now)], [one, two]);
    }

    #[test]
    fn a_time_from_status_stands_as_far_off_on_both_clocks() {
        let now = at(1_000, 5);
        assert_eq!(Moment::at_wall(at(700, 0).wall, now), at(700, -295));
        assert_eq!(Moment::at_wall(at(1_060, 0).wall, now), at(1_060, 65));
    }

    #[test]
    fn what_has_happened_did_not_happen_later_than_now() {
        let now = at(1_000, 5);
        assert_eq!(Moment::recorded(at(700, 0).wall, now), at(700, -295));
        assert_eq!(Moment::recorded(at(1_060, 0).wall, now), now, "the clock was ahead then");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let far = at(0, 0).plus(SignedDuration::MAX);
        assert_eq!(far.wall, Timestamp::MAX);
        assert_eq!(at(0, 0).minus(SignedDuration::MAX).wall, Timestamp::MIN);
        assert!(!far.is_reached(at(1_000, 1_000)));
    }

    #[test]
    fn times_are_cut_to_the_second_and_never_rounded_up() {
        let time: Timestamp = "2026-01-01T00:00:00.999Z".parse().unwrap();
        assert_eq!(to_second(time).to_string(), "2026-01-01T00:00:00Z");
        let before_epoch: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(to_second(before_epoch).to_string(), "1969-12-31T23:59:59Z");
    }
}
