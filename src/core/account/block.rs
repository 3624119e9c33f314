//! The pause while another server answers instead of the issuer, and the bound on `Retry-After`.

use jiff::SignedDuration;

use crate::core::schedule::TimeScale;
use crate::core::time::Moment;

/// Most firewalls unblock within minutes. A longer block may be an issuer that rejects a changed password with HTML or
/// text, and a login every minute would lock the account.
const LASTING: SignedDuration = SignedDuration::from_mins(15);

/// Since when other servers answered instead of the issuer. Only a response of the issuer to the login ends it: no
/// response in between means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Block {
    since: Option<Moment>,
}

impl Block {
    /// Another such answer; the pause after it, which is otherwise `usual`.
    pub(super) fn pause(&mut self, usual: SignedDuration, now: Moment) -> SignedDuration {
        let since = *self.since.get_or_insert(now);
        if since.plus(LASTING).is_reached(now) { usual.max(LASTING) } else { usual }
    }
}

/// How much of a `Retry-After` is respected: at most half of the time until the renewal is overdue, and at most a
/// minute once it is (less for short lifetimes).
pub(super) fn bounded_retry_after(
    asked: SignedDuration,
    overdue: Option<Moment>,
    pace: TimeScale,
    now: Moment,
) -> SignedDuration {
    let left = overdue.map_or(SignedDuration::ZERO, |overdue| overdue.remaining(now));
    let bound = if left > SignedDuration::ZERO { left / 2 } else { pace.longest_retry() };
    asked.clamp(SignedDuration::ZERO, bound)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{at, seconds};
    use super::*;

    #[test]
    fn a_block_that_has_lasted_for_fifteen_minutes_is_asked_every_fifteen_minutes() {
        let mut block = Block::default();
        for (now, pause) in [(100, 30), (160, 30), (999, 30), (1_000, 900), (1_900, 900), (100_000, 900)] {
            assert_eq!(block.pause(seconds(30), at(now)), seconds(pause), "{now}");
        }
        assert_eq!(Block::default().pause(seconds(30), at(100_000)), seconds(30), "another one");
    }
}
