//! Calls to the issuer that nobody had anything of, and what excuses them.

use std::collections::HashSet;

use idissuer_simulator::{CallRecord, Operation};
use jiff::{SignedDuration, Timestamp};

use crate::operator::Stage;

/// An answer of the issuer may have been on its way for so long when its caller was struck. More than it takes to write it.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);

impl Stage {
    /// The calls that were answered with a token which nobody ever read in a target.
    pub(crate) fn wasted(&self) -> Vec<CallRecord> {
        let calls = self.issuer.calls_since(0);
        let used: HashSet<_> = calls
            .iter()
            .filter(|call| call.operation == Operation::Authorized)
            .filter_map(|call| call.presented)
            .collect();
        calls.into_iter().filter(|call| call.issued.is_some_and(|issued| !used.contains(&issued))).collect()
    }

    /// That the issuer was asked for no token in vain: each that it issued was presented to it later, by a reader.
    pub(crate) fn assert_nothing_wasted(&self) {
        self.assert_wasted_only_at(&[]);
    }

    /// That a token was wasted only where its caller was struck, by a kill or a pause, while the call was in flight: one
    /// of each account. Returns how many of the blows met a call.
    pub(crate) fn assert_wasted_only_at(&self, blows: &[Timestamp]) -> usize {
        let mut met = HashSet::new();
        for call in self.wasted() {
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

/// Whether the caller may still have been waiting for the answer, or writing what it said, when it was struck.
pub(crate) fn was_in_flight(call: &CallRecord, blow: Timestamp) -> bool {
    let since = blow.duration_since(call.at);
    !since.is_negative() && since < IN_FLIGHT
}
