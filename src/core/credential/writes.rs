//! The pace of the writes of one credential's target and status.

use crate::core::rate_limiter::RateLimiter;
use crate::core::schedule::WRITES;
use crate::core::time::Moment;

/// The writes for one credential lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialWrites {
    /// Those of its target.
    pub target: WriteRate,
    /// Those of its status.
    pub status: WriteRate,
}

/// The writes of one object lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteRate(Option<RateLimiter>);

impl WriteRate {
    /// It was written.
    pub fn made(&mut self, now: Moment) {
        self.0.get_or_insert(RateLimiter::full(WRITES, now)).spend(WRITES, now);
    }

    /// Until when the next write has to wait, if it has to.
    #[must_use]
    pub fn pause(&self, now: Moment) -> Option<Moment> {
        self.0.and_then(|rate_limiter| rate_limiter.pause(WRITES, now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::at;
    use super::*;

    #[test]
    fn an_object_is_written_twenty_times_at_once_and_then_once_in_four_seconds() {
        let mut pace = WriteRate::default();
        let mut written = 0;
        for now in 0..100 {
            while pace.pause(at(now)).is_none() {
                pace.made(at(now));
                written += 1;
            }
            assert!(now > 0 || written == 20, "{written}");
        }
        assert_eq!(written, 20 + 24);
    }
}
