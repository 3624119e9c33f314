//! What an entry of the state folder holds, and whether it may be forgotten.

use jiff::{SignedDuration, Timestamp};

use super::{CallHistory, is_accepted};
use crate::core::sidecar::attempts::Record;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;

/// How long an entry is kept after all in it is over.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What an entry holds.
#[derive(Clone, Copy, Debug)]
pub struct Remains<'a> {
    /// The record of the last attempt.
    pub record: Option<&'a Record>,
    /// The calls before it.
    pub calls: &'a CallHistory,
    /// The token.
    pub token: Option<&'a HeldToken>,
    /// When anything was last written there.
    pub changed: Timestamp,
}

impl Remains<'_> {
    /// Whether nothing in the entry is of use any more. A login that was rejected is remembered for good: it is not attempted
    /// again before it changes.
    #[must_use]
    pub fn are_dead(&self, now: Moment) -> bool {
        let is_rejected = self.record.is_some_and(|record| !is_accepted(record));
        let attempted = self.record.and_then(|record| record.attempts.attempted);
        let expiry = self.token.and_then(|token| token.expiry).map(|expiry| expiry.wall);
        let last = [attempted, expiry].into_iter().flatten().fold(self.changed, Timestamp::max);
        !is_rejected && self.calls.rejected_lately(now).is_none() && now.wall.duration_since(last) >= KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sidecar::attempts::FilesIdentity;
    use crate::core::testing::{at, token};

    const DAYS: i64 = 24 * 3600;

    #[test]
    fn an_entry_is_dead_thirty_days_after_all_in_it_and_never_while_a_rejection_counts() {
        let identity = || FilesIdentity("files".to_owned());
        let record =
            |rejections| Record::of_attempt("https://i".to_owned(), identity(), at(0).wall, rejections);
        let (accepted, rejected) = (record(0), record(1));
        let (idle, held) = (CallHistory::default(), HeldToken::issued(&token("t", at(0), 3600)));
        let busy = CallHistory { rejected: vec![at(40 * DAYS).wall], failed: None };
        let remains = Remains { record: None, calls: &idle, token: None, changed: at(0).wall };
        for (case, remains, after, dead) in [
            ("nothing, young", remains, 30 * DAYS - 1, false),
            ("nothing, old", remains, 30 * DAYS, true),
            ("accepted", Remains { record: Some(&accepted), ..remains }, 30 * DAYS, true),
            ("rejected", Remains { record: Some(&rejected), ..remains }, 4000 * DAYS, false),
            ("a token", Remains { token: Some(&held), ..remains }, 30 * DAYS, false),
            ("a token that has ended", Remains { token: Some(&held), ..remains }, 30 * DAYS + 3600, true),
            ("another password was rejected", Remains { calls: &busy, ..remains }, 40 * DAYS + 3599, false),
            ("that is over", Remains { calls: &busy, ..remains }, 40 * DAYS + 3600, true),
        ] {
            assert_eq!(remains.are_dead(at(after)), dead, "{case}");
        }
    }
}
