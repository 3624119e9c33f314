//! Pauses between retries: exponential, capped, with full jitter.

use jiff::SignedDuration;

use super::schedule::TimeScale;

/// A number in [0, 1), drawn by the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomFraction(f64);

impl RandomFraction {
    /// Clamps any number into [0, 1).
    #[must_use]
    pub fn new(number: f64) -> Self {
        Self(if number.is_finite() { number.clamp(0.0, 1.0 - f64::EPSILON) } else { 0.0 })
    }

    /// The random number, in [0, 1).
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

/// The pause after `failures` failures in a row (the first is 1): doubles up to a maximum, with jitter, so that many
/// failed callers do not retry at the same time.
///
/// Full jitter, but for a floor of a tenth: a pause of nothing would be no pause.
#[must_use]
pub fn pause(
    failures: u32,
    first: SignedDuration,
    longest: SignedDuration,
    random_fraction: RandomFraction,
) -> SignedDuration {
    let doublings = i32::try_from(failures.saturating_sub(1).min(30)).unwrap_or(30);
    let ceiling = first.mul_f64(2_f64.powi(doublings)).min(longest);
    ceiling.mul_f64(0.1 + 0.9 * random_fraction.value())
}

/// The pause after the API server did not answer, or refused: from one second on, more slowly each time.
#[must_use]
pub fn cluster_pause(failures: u32, pace: TimeScale, random_fraction: RandomFraction) -> SignedDuration {
    let first = pace.first_retry().min(SignedDuration::from_secs(1));
    pause(failures, first, pace.longest_retry(), random_fraction)
}

/// The pause after a transient answer of the issuer.
#[must_use]
pub fn retry_pause(failures: u32, pace: TimeScale, random_fraction: RandomFraction) -> SignedDuration {
    pause(failures, pace.first_retry(), pace.longest_retry(), random_fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retries_double_from_five_seconds_to_a_minute() {
        let always = RandomFraction::new(1.0);
        for (failures, seconds) in (1..=6).zip([5, 10, 20, 40, 60, 60]) {
            let difference =
                retry_pause(failures, TimeScale::FULL, always) - SignedDuration::from_secs(seconds);
            assert!(difference.abs() < SignedDuration::from_millis(1), "{failures}: {difference:?}");
        }
    }

    #[test]
    fn a_tenth_of_a_pause_is_fixed_and_the_rest_is_drawn() {
        for (drawn, milliseconds) in [(0.0, 500), (0.5, 2_750), (0.9, 4_550)] {
            let pause = retry_pause(1, TimeScale::FULL, RandomFraction::new(drawn));
            let difference = pause - SignedDuration::from_millis(milliseconds);
            assert!(difference.abs() < SignedDuration::from_millis(1), "{drawn}: {pause:?}");
        }
    }

    #[test]
    fn pauses_for_the_api_server_double_from_a_second_to_a_minute_and_are_shorter_for_short_lives() {
        let always = RandomFraction::new(1.0);
        let short = TimeScale::of(SignedDuration::from_secs(30));
        for (pace, milliseconds) in [
            (TimeScale::FULL, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]),
            (short, [500, 1_000, 2_000, 4_000, 6_000, 6_000, 6_000]),
        ] {
            for (failures, expected) in (1..).zip(milliseconds) {
                let pause = cluster_pause(failures, pace, always);
                let difference = pause - SignedDuration::from_millis(expected);
                assert!(difference.abs() < SignedDuration::from_millis(1), "{failures}: {pause:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_above_the_longest(failures in 0_u32.., random_fraction in -1.0..2.0) {
            let pause = retry_pause(failures, TimeScale::FULL, RandomFraction::new(random_fraction));
            prop_assert!(pause >= SignedDuration::from_millis(500));
            prop_assert!(pause <= SignedDuration::from_secs(60));
        }
    }
}
