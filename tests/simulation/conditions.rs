//! The conditions of the promise: what has to hold for two minutes before a token may be called late.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A controller holds the lease and reaches the world.
    Leader,
    /// The API server accepts reads and writes.
    Api,
    /// The issuer with this number answers as it should.
    Issuer(usize),
    /// The issuer with this number has asked nobody to wait.
    Patience(usize),
    /// The login of the credential with this number would be accepted and may be tried, and nothing else keeps it from
    /// being renewed.
    Credential(usize),
    /// The follower with this number names its owner, and the owner permits it.
    Permission(usize),
    Watches,
}

#[derive(Clone, Copy)]
struct Condition {
    broken: u32,
    since: Timestamp,
}

/// All conditions. One that was never touched has always held.
#[derive(Default)]
pub(crate) struct Conditions(BTreeMap<Source, Condition>);

impl Conditions {
    /// A fault starts that breaks the condition.
    pub(crate) fn breaks(&mut self, source: Source, now: Timestamp) {
        let condition = self.0.entry(source).or_insert(Condition { broken: 0, since: now });
        condition.broken += 1;
    }

    /// A fault ends that broke the condition.
    pub(crate) fn mends(&mut self, source: Source, now: Timestamp) {
        let condition = self.0.entry(source).or_insert(Condition { broken: 1, since: now });
        condition.broken = condition.broken.saturating_sub(1);
        condition.since = now;
    }

    /// The condition was broken for a moment.
    pub(crate) fn touch(&mut self, source: Source, now: Timestamp) {
        self.0.entry(source).or_insert(Condition { broken: 0, since: now }).since = now;
    }

    /// For how long all of these have held.
    pub(crate) fn held(&self, sources: &[Source], now: Timestamp) -> SignedDuration {
        let of = |source: &Source| match self.0.get(source) {
            None => SignedDuration::MAX,
            Some(Condition { broken: 1.., .. }) => SignedDuration::ZERO,
            Some(condition) => now.duration_since(condition.since),
        };
        sources.iter().map(of).min().unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_from_when_the_last_thing_that_broke_it_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let seconds = SignedDuration::from_secs;
        let mut conditions = Conditions::default();
        let both = [Source::Leader, Source::Api];
        assert_eq!(conditions.held(&both, at(5)), SignedDuration::MAX);
        conditions.breaks(Source::Leader, at(10));
        conditions.breaks(Source::Leader, at(20));
        conditions.mends(Source::Leader, at(30));
        assert_eq!(conditions.held(&both, at(40)), SignedDuration::ZERO);
        conditions.mends(Source::Leader, at(50));
        conditions.touch(Source::Api, at(55));
        assert_eq!(conditions.held(&both, at(60)), seconds(5));
        assert_eq!(conditions.held(&both[..1], at(60)), seconds(10));
    }
}
