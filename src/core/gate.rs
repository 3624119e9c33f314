//! The gate before an issuer: how many calls may be in flight there, and who goes first.
//!
//! It is fair by tenant. While several wait, the next turn is that of the one with the fewest calls in flight, and among
//! those the most urgent call's. A tenant alone never takes all turns, so that whoever comes next does not wait for the end
//! of calls that an issuer is slow to answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::moment::Moment;

/// On whose behalf a call is made, such as a namespace. What one tenant does is never held against another.
pub type Tenant = Arc<str>;

/// Calls in flight at one origin.
const CALLS: usize = 16;
/// Of these, first issues at most: a thousand new credentials do not keep a single renewal waiting.
const FIRST_ISSUES: usize = 12;
/// Calls of one tenant: two are left for others, however slow its calls are.
const CALLS_OF_ONE: usize = 14;
/// First issues of one tenant, for the same reason.
const FIRST_ISSUES_OF_ONE: usize = 10;
/// A first issue is as urgent as a renewal that will be overdue in a minute.
const FIRST_ISSUE_URGENCY: SignedDuration = SignedDuration::from_secs(60);
/// How much less urgent a call is after one failure; it doubles with each one more.
const FIRST_DECAY: SignedDuration = SignedDuration::from_secs(10);
/// How much less urgent it is at most.
const LONGEST_DECAY: SignedDuration = SignedDuration::from_mins(10);

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

/// A call that wants through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// On whose behalf.
    pub tenant: Tenant,
    /// What for.
    pub errand: Errand,
    /// The failures in a row of its account.
    pub failures: u32,
}

impl Entrant {
    /// By when it should be done, seen from `now`, by the clock that says sooner. What has failed has time: it would
    /// probably fail again, and keep others waiting.
    fn deadline(&self, now: Moment) -> SignedDuration {
        let urgency = match self.errand {
            Errand::FirstIssue => FIRST_ISSUE_URGENCY,
            Errand::Renewal { overdue } => overdue.remaining(now),
        };
        let decay = match self.failures.checked_sub(1) {
            None => SignedDuration::ZERO,
            Some(doublings) => FIRST_DECAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DECAY),
        };
        now.monotonic.saturating_add(urgency).saturating_add(decay)
    }

    fn is_first_issue(&self) -> bool {
        self.errand == Errand::FirstIssue
    }
}

/// Calls in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    calls: usize,
    first_issues: usize,
}

impl Load {
    fn has_room(self, is_first_issue: bool, calls: usize, first_issues: usize) -> bool {
        self.calls < calls && (!is_first_issue || self.first_issues < first_issues)
    }
}

/// The gate of one origin. `T` is whatever the caller needs to let someone through.
#[derive(Debug)]
pub struct Gate<T> {
    waiting: Vec<Waiting<T>>,
    all: Load,
    /// By tenant, while it has calls in flight.
    loads: BTreeMap<Tenant, Load>,
}

#[derive(Debug)]
struct Waiting<T> {
    entrant: Entrant,
    deadline: SignedDuration,
    who: T,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), all: Load::default(), loads: BTreeMap::new() }
    }
}

impl<T> Gate<T> {
    /// Someone wants through.
    pub fn ask(&mut self, entrant: Entrant, who: T, now: Moment) {
        let deadline = entrant.deadline(now);
        self.waiting.push(Waiting { entrant, deadline, who });
    }

    /// Lets the next one through for whom there is room: of the tenant with the fewest calls in flight, the most urgent.
    /// Of two that are as urgent, the one that came first.
    pub fn admit(&mut self) -> Option<(Entrant, T)> {
        let fits = |waiting: &Waiting<T>| {
            let is_first_issue = waiting.entrant.is_first_issue();
            let own = self.load(&waiting.entrant.tenant);
            self.all.has_room(is_first_issue, CALLS, FIRST_ISSUES)
                && own.has_room(is_first_issue, CALLS_OF_ONE, FIRST_ISSUES_OF_ONE)
        };
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| fits(waiting))
            .min_by_key(|(_, waiting)| (self.load(&waiting.entrant.tenant).calls, waiting.deadline))?;
        let Waiting { entrant, who, .. } = self.waiting.remove(index);
        let first_issues = usize::from(entrant.is_first_issue());
        let own = self.loads.entry(Arc::clone(&entrant.tenant)).or_default();
        for load in [own, &mut self.all] {
            load.calls += 1;
            load.first_issues += first_issues;
        }
        Some((entrant, who))
    }

    /// Someone who was let through is done.
    pub fn leave(&mut self, entrant: &Entrant) {
        let first_issues = usize::from(entrant.is_first_issue());
        let own = self.loads.entry(Arc::clone(&entrant.tenant)).or_default();
        for load in [own, &mut self.all] {
            load.calls = load.calls.saturating_sub(1);
            load.first_issues = load.first_issues.saturating_sub(first_issues);
        }
        self.loads.retain(|_, load| load.calls > 0);
    }

    /// Whether nobody is through or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.all.calls == 0 && self.waiting.is_empty()
    }

    fn load(&self, tenant: &Tenant) -> Load {
        self.loads.get(tenant).copied().unwrap_or_default()
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

    fn of(tenant: &str, errand: Errand) -> Entrant {
        Entrant { tenant: tenant.into(), errand, failures: 0 }
    }

    fn all<T>(gate: &mut Gate<T>) -> Vec<T> {
        std::iter::from_fn(|| gate.admit()).map(|(_, who)| who).collect()
    }

    #[test]
    fn the_most_urgent_goes_first_and_a_first_issue_counts_as_a_minute() {
        let mut gate = Gate::default();
        gate.ask(of("a", renewal(61)), "later", at(0));
        gate.ask(of("a", Errand::FirstIssue), "new", at(0));
        gate.ask(of("a", renewal(59)), "soon", at(0));
        gate.ask(of("a", renewal(-5)), "overdue", at(0));
        assert_eq!(all(&mut gate), ["overdue", "soon", "new", "later"]);
    }

    #[test]
    fn what_has_failed_is_less_urgent_with_each_failure_but_never_by_more_than_ten_minutes() {
        let mut gate = Gate::default();
        for (failures, name) in [(u32::MAX, "hopeless"), (3, "thrice"), (1, "once"), (0, "never")] {
            gate.ask(Entrant { failures, ..of("a", renewal(0)) }, name, at(0));
        }
        gate.ask(of("a", renewal(9)), "before", at(0));
        gate.ask(of("a", renewal(601)), "after", at(0));
        assert_eq!(all(&mut gate), ["never", "before", "once", "thrice", "hopeless", "after"]);
    }

    #[test]
    fn a_thousand_first_issues_leave_room_for_renewals_and_for_another_tenant() {
        let mut gate = Gate::default();
        for _ in 0..1_000 {
            gate.ask(of("a", Errand::FirstIssue), "new", at(0));
        }
        assert_eq!(all(&mut gate).len(), 10);
        for _ in 0..10 {
            gate.ask(of("a", renewal(900)), "renewal", at(1));
        }
        assert_eq!(all(&mut gate), ["renewal"; 4], "fourteen in all");
        gate.ask(of("b", Errand::FirstIssue), "another", at(2));
        gate.ask(of("c", renewal(900)), "a third", at(2));
        gate.ask(of("d", renewal(900)), "a fourth", at(2));
        assert_eq!(all(&mut gate), ["another", "a third"], "sixteen in all");
        gate.leave(&of("a", renewal(900)));
        assert_eq!(all(&mut gate), ["a fourth"], "who has nothing in flight goes first");
        gate.leave(&of("a", Errand::FirstIssue));
        gate.leave(&of("b", Errand::FirstIssue));
        assert_eq!(all(&mut gate), ["new", "renewal"]);
    }

    #[test]
    fn while_several_wait_each_has_its_share() {
        let mut gate = Gate::default();
        for tenant in ["a", "b", "c", "d"] {
            for _ in 0..100 {
                // The first one is always in a hurry.
                gate.ask(of(tenant, renewal(if tenant == "a" { -100 } else { 1_000 })), tenant, at(0));
            }
        }
        let mut shares = BTreeMap::new();
        for tenant in all(&mut gate) {
            *shares.entry(tenant).or_insert(0) += 1;
        }
        assert_eq!(shares, BTreeMap::from([("a", 4), ("b", 4), ("c", 4), ("d", 4)]));
    }

    proptest! {
        #[test]
        fn whoever_asks_gets_through_and_never_more_than_allowed_at_once(
            steps in proptest::collection::vec(
                (any::<bool>(), any::<bool>(), -100_i64..1_000, 0_usize..3, 0_u32..5), 1..300,
            ),
        ) {
            let mut gate = Gate::default();
            let mut inside: Vec<Entrant> = Vec::new();
            let (mut asked, mut admitted) = (0, 0);
            for (number, (asks, is_first, overdue, tenant, failures)) in steps.into_iter().enumerate() {
                let now = at(i64::try_from(number).unwrap());
                if asks {
                    asked += 1;
                    let errand = if is_first { Errand::FirstIssue } else { renewal(overdue) };
                    gate.ask(Entrant { failures, ..of(["a", "b", "c"][tenant], errand) }, (), now);
                } else if let Some(entrant) = inside.pop() {
                    gate.leave(&entrant);
                }
                while let Some((entrant, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(entrant);
                }
                for (tenant, calls, first_issues) in [
                    (None, CALLS, FIRST_ISSUES),
                    (Some("a"), CALLS_OF_ONE, FIRST_ISSUES_OF_ONE),
                    (Some("b"), CALLS_OF_ONE, FIRST_ISSUES_OF_ONE),
                ] {
                    let its = |entrant: &&Entrant| tenant.is_none_or(|tenant| *entrant.tenant == *tenant);
                    prop_assert!(inside.iter().filter(its).count() <= calls);
                    let first = inside.iter().filter(its).filter(|entrant| entrant.is_first_issue()).count();
                    prop_assert!(first <= first_issues);
                }
            }
            while let Some(entrant) = inside.pop() {
                gate.leave(&entrant);
                while let Some((entrant, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(entrant);
                }
            }
            prop_assert_eq!(asked, admitted);
            prop_assert!(gate.is_idle());
        }
    }
}
