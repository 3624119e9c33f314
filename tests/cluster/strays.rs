//! Calls to the issuer whose token was never used, and their excuses.

use std::collections::HashSet;
use std::time::Duration;

use idissuer_simulator::{CallRecord, Operation};
use jiff::{SignedDuration, Timestamp};

use crate::operator::Stage;

/// An answer of the issuer may have been on its way for so long when its caller was struck. More than it takes to write it.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);

impl Stage {
    /// The calls whose token was never read in a target.
    pub(crate) fn wasted(&self) -> Vec<CallRecord> {
        let calls = self.issuer.calls_since(0).into_iter();
        let uses = calls.filter(|call| call.operation == Operation::Authorized);
        let read: HashSet<_> = uses.filter_map(|call| call.presented).collect();
        self.tokens(|call| call.issued.is_some_and(|issued| !read.contains(&issued)))
    }

    /// Those of the calls that were answered with a token of which this is true.
    pub(crate) fn tokens(&self, is_wanted: impl Fn(&CallRecord) -> bool) -> Vec<CallRecord> {
        let calls = self.issuer.calls_since(0).into_iter();
        calls.filter(|call| call.issued.is_some() && is_wanted(call)).collect()
    }

    /// That the issuer was asked for no token in vain: each that it issued was presented to it later, by a reader.
    pub(crate) fn assert_nothing_wasted(&self) {
        self.assert_wasted_only_at(&[], Timestamp::MAX);
    }

    /// That a token was wasted only where its caller was struck, by a kill or a pause, while the call was in flight: one
    /// of each account. A call that was in flight at the end, when nobody read any more, says nothing. Returns how many of
    /// the blows met a call.
    pub(crate) fn assert_wasted_only_at(&self, blows: &[Timestamp], end: Timestamp) -> usize {
        let mut met = HashSet::new();
        for call in self.wasted().into_iter().filter(|call| !was_in_flight(call, end)) {
            let is_cause = |blow: &&Timestamp| {
                was_in_flight(&call, **blow) && !met.contains(&(**blow, call.user.clone()))
            };
            let cause = blows.iter().find(is_cause);
            let cause =
                cause.unwrap_or_else(|| panic!("no blow of its own explains {call:#?} (blows: {blows:#?})"));
            met.insert((*cause, call.user.clone()));
        }
        met.into_iter().map(|(blow, _)| blow).collect::<HashSet<_>>().len()
    }
}

/// That each of the calls was due: at the end of this time after the one before, less a little jitter and what status rounds
/// off.
pub(crate) fn assert_each_was_due(calls: &[CallRecord], interval: Duration, kills: &[Timestamp]) {
    for pair in calls.windows(2) {
        let between = Duration::try_from(pair[1].at.duration_since(pair[0].at)).unwrap();
        let was_due = between + Duration::from_secs(3) >= interval;
        // Published, and killed before the status was written.
        let was_cut_off = kills.iter().any(|kill| was_in_flight(&pair[0], *kill));
        assert!(was_due || was_cut_off, "too soon: {pair:#?}");
    }
}

/// Whether the caller may still have been waiting for the answer, or writing what it said, when it was struck.
fn was_in_flight(call: &CallRecord, blow: Timestamp) -> bool {
    let since = blow.duration_since(call.at);
    !since.is_negative() && since < IN_FLIGHT
}
