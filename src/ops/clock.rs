//! The one place where time and chance are read.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::core::backoff::RandomFraction;
use crate::core::time::Moment;

/// Reads both clocks, and generates random numbers.
pub trait Clock: Send + Sync {
    /// Now, on both clocks.
    fn now(&self) -> Moment;
    /// A random number in [0, 1).
    fn random_fraction(&self) -> RandomFraction;
}

/// The clocks of this machine.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Its monotonic clock starts here.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    fn now(&self) -> Moment {
        let monotonic = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        Moment { wall: Timestamp::now(), monotonic }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that draws random numbers")]
    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(f64::from(fastrand::u32(..)) / (f64::from(u32::MAX) + 1.0))
    }
}
