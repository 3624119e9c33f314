//! How long calls to the API server may take.
//!
//! A call without a prompt response may have met a dead connection, and a timeout cures that. After that, the API
//! server itself is considered slow, and each timeout would make it start again: then a call may take as much of a
//! token's lifetime as can be spared. Calls that are known to be fast keep their timeout: a webhook slows down writes,
//! not reads.

use std::collections::BTreeSet;

use jiff::SignedDuration;

/// The limit of a call that is not known to take longer.
pub const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_secs(5);

/// What is known of one credential's calls, by what they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdaptiveTimeout {
    /// After a timeout: the operations that were answered quickly since.
    fast_operations: Option<BTreeSet<&'static str>>,
}

impl AdaptiveTimeout {
    /// How long a call may take, given the limit of those that are slow.
    #[must_use]
    pub fn limit(&self, operation: &str, slow: SignedDuration) -> SignedDuration {
        match &self.fast_operations {
            Some(fast_operations) if !fast_operations.contains(operation) => slow.max(DEFAULT_TIMEOUT),
            _ => DEFAULT_TIMEOUT,
        }
    }

    /// A call was answered, with any result.
    pub fn answered(&mut self, operation: &'static str, took: SignedDuration) {
        let is_quick = took < DEFAULT_TIMEOUT / 2;
        match &mut self.fast_operations {
            Some(fast_operations) if is_quick => drop(fast_operations.insert(operation)),
            Some(fast_operations) => drop(fast_operations.remove(operation)),
            None => {}
        }
    }

    /// A call timed out. From now on, each operation counts as slow until it is answered quickly.
    pub fn unanswered(&mut self) {
        self.fast_operations = Some(BTreeSet::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: SignedDuration = SignedDuration::from_secs(60);

    #[test]
    fn what_had_no_answer_may_take_long_until_it_is_answered_soon() {
        let seconds = SignedDuration::from_secs;
        let mut timeout = AdaptiveTimeout::default();
        assert_eq!(timeout.limit("write", SLOW), DEFAULT_TIMEOUT);
        timeout.answered("write", seconds(4));
        assert_eq!(timeout.limit("write", SLOW), DEFAULT_TIMEOUT);
        timeout.unanswered();
        assert_eq!(timeout.limit("write", SLOW), SLOW);
        assert_eq!(timeout.limit("read", SLOW), SLOW, "it may be as slow");
        timeout.answered("read", seconds(1));
        assert_eq!(timeout.limit("read", SLOW), DEFAULT_TIMEOUT, "it is not");
        timeout.answered("write", SignedDuration::from_millis(2_500));
        assert_eq!(timeout.limit("write", SLOW), SLOW, "so long, the next time too");
        timeout.answered("write", SignedDuration::from_millis(2_499));
        assert_eq!(timeout.limit("write", SLOW), DEFAULT_TIMEOUT);
        timeout.unanswered();
        assert_eq!(timeout.limit("read", SLOW), SLOW, "what was quick before says nothing now");
        assert_eq!(timeout.limit("read", seconds(1)), DEFAULT_TIMEOUT, "never less");
    }
}
