//! What another writer keeps undoing is put back at a bounded pace.

use jiff::SignedDuration;

use crate::core::backoff::{self, RandomFraction};
use crate::core::time::Moment;

/// Repairs that are made at once; from the next one on, another writer is taken to be at work.
const AT_ONCE: u32 = 3;
/// After this time without a repair, counting restarts.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// Repairs of one thing in a row, and when the last one was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repairs(Option<(u32, Moment)>);

impl Repairs {
    /// A repair was made.
    pub fn made(&mut self, now: Moment) {
        let recent = self.0.filter(|(_, last)| !last.plus(FORGOTTEN).is_reached(now));
        self.0 = Some((recent.map_or(0, |(count, _)| count) + 1, now));
    }

    /// Until when the next one has to wait: not at first, then one second, doubling to a minute.
    #[must_use]
    pub fn pause(&self) -> Option<Moment> {
        let (count, last) = self.0?;
        let beyond = count.checked_sub(AT_ONCE)?;
        let first = SignedDuration::from_secs(1);
        Some(last.plus(backoff::pause(
            beyond + 1,
            first,
            SignedDuration::from_mins(1),
            RandomFraction::new(1.0),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::at;

    #[test]
    fn some_repairs_are_made_at_once_and_later_ones_wait_longer_until_none_was_needed_for_a_while() {
        let mut repairs = Repairs::default();
        let mut pause = |now: i64| {
            repairs.made(at(now));
            repairs.pause().map(|until| until.remaining(at(now)).as_secs())
        };
        assert_eq!(
            [0; 12].map(&mut pause),
            [
                None,
                None,
                Some(1),
                Some(2),
                Some(4),
                Some(8),
                Some(16),
                Some(32),
                Some(60),
                Some(60),
                Some(60),
                Some(60)
            ]
        );
        assert_eq!(pause(600), None);
    }
}
