//! The gate before an issuer: how many calls may be in flight there, and who goes first.

use jiff::SignedDuration;

use super::moment::Moment;

/// Calls in flight at one origin.
const CALLS: usize = 16;
/// Of these, first issues at most: a thousand new credentials do not keep a single renewal waiting.
const FIRST_ISSUES: usize = 12;
/// A first issue is as urgent as a renewal that will be overdue in a minute.
const FIRST_ISSUE_URGENCY: SignedDuration = SignedDuration::from_secs(60);

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// An account's first token.
    FirstIssue,
    /// Another token; overdue from this moment on.
    Renewal {
        /// The overdue margin's begin.
        overdue: Moment,
    },
}

impl Errand {
    /// By when it should be done, seen from `now`, by the clock that says sooner.
    fn deadline(self, now: Moment) -> SignedDuration {
        match self {
            Self::FirstIssue => now.monotonic.saturating_add(FIRST_ISSUE_URGENCY),
            Self::Renewal { overdue } => now.monotonic.saturating_add(overdue.remaining(now)),
        }
    }
}

/// The gate of one origin. `T` is whatever the caller needs to let someone through.
#[derive(Debug)]
pub struct Gate<T> {
    waiting: Vec<Waiting<T>>,
    in_flight: usize,
    first_issues: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    errand: Errand,
    deadline: SignedDuration,
    who: T,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), in_flight: 0, first_issues: 0 }
    }
}

impl<T> Gate<T> {
    /// Someone wants through.
    pub fn ask(&mut self, errand: Errand, who: T, now: Moment) {
        self.waiting.push(Waiting { errand, deadline: errand.deadline(now), who });
    }

    /// Lets the most urgent one through for whom there is room. Of two that are as urgent, the one that came first.
    pub fn admit(&mut self) -> Option<(Errand, T)> {
        if self.in_flight >= CALLS {
            return None;
        }
        let has_room = self.first_issues < FIRST_ISSUES;
        let fits = |waiting: &Waiting<T>| has_room || waiting.errand != Errand::FirstIssue;
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| fits(waiting))
            .min_by_key(|(_, waiting)| waiting.deadline)?;
        let Waiting { errand, who, .. } = self.waiting.remove(index);
        self.in_flight += 1;
        self.first_issues += usize::from(errand == Errand::FirstIssue);
        Some((errand, who))
    }

    /// Someone who was let through is done.
    pub fn leave(&mut self, errand: Errand) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.first_issues = self.first_issues.saturating_sub(usize::from(errand == Errand::FirstIssue));
    }

    /// Whether nobody is through or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::at;
    use super::*;
    use proptest::prelude::*;

    fn renewal(overdue: i64) -> Errand {
        Errand::Renewal { overdue: at(overdue) }
    }

    fn all<T>(gate: &mut Gate<T>) -> Vec<T> {
        std::iter::from_fn(|| gate.admit()).map(|(_, who)| who).collect()
    }

    #[test]
    fn the_most_urgent_goes_first_and_a_first_issue_counts_as_a_minute() {
        let mut gate = Gate::default();
        gate.ask(renewal(61), "later", at(0));
        gate.ask(Errand::FirstIssue, "new", at(0));
        gate.ask(renewal(59), "soon", at(0));
        gate.ask(renewal(-5), "overdue", at(0));
        assert_eq!(all(&mut gate), ["overdue", "soon", "new", "later"]);
    }

    #[test]
    fn a_thousand_first_issues_leave_room_for_renewals() {
        let mut gate = Gate::default();
        for _ in 0..1_000 {
            gate.ask(Errand::FirstIssue, "new", at(0));
        }
        assert_eq!(all(&mut gate).len(), 12);
        for _ in 0..10 {
            gate.ask(renewal(900), "renewal", at(1));
        }
        assert_eq!(all(&mut gate), ["renewal"; 4], "sixteen in all");
        gate.leave(renewal(900));
        assert_eq!(all(&mut gate), ["renewal"]);
        gate.leave(Errand::FirstIssue);
        assert_eq!(all(&mut gate), ["new"]);
    }

    proptest! {
        #[test]
        fn whoever_asks_gets_through_and_never_more_than_allowed_at_once(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), -100_i64..1_000), 1..300),
        ) {
            let mut gate = Gate::default();
            let mut inside = Vec::new();
            let (mut asked, mut admitted) = (0, 0);
            for (number, (asks, is_first, overdue)) in steps.into_iter().enumerate() {
                let now = at(i64::try_from(number).unwrap());
                if asks {
                    asked += 1;
                    gate.ask(if is_first { Errand::FirstIssue } else { renewal(overdue) }, (), now);
                } else if let Some(errand) = inside.pop() {
                    gate.leave(errand);
                }
                while let Some((errand, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(errand);
                }
                prop_assert!(inside.len() <= CALLS);
                let first = inside.iter().filter(|errand| **errand == Errand::FirstIssue).count();
                prop_assert!(first <= FIRST_ISSUES);
            }
            while let Some(errand) = inside.pop() {
                gate.leave(errand);
                while let Some((errand, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(errand);
                }
            }
            prop_assert_eq!(asked, admitted);
            prop_assert!(gate.is_idle());
        }
    }
}
