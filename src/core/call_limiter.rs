//! A call limiter: how many calls run at once, and which is next.
//!
//! It is fair by tenant. While several wait, the next permit goes to the tenant with the fewest permits, and there to
//! its most urgent call. A single tenant never gets all permits, so that a new tenant does not wait for slow calls of
//! another. There is one limiter per issuer, and others for the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::time::Moment;

/// On whose behalf a call is made, such as a namespace. What one tenant does is never held against another.
pub type Tenant = Arc<str>;

/// The maximum of concurrent calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of all tenants.
    all: InFlight,
    /// The most permits of one tenant.
    of_one: InFlight,
}

impl Capacity {
    /// The calls in flight at one origin. Not all of them are first issues: a thousand new credentials do not keep a single
    /// renewal waiting. Two are left for other tenants, however slow those of one are.
    pub const ISSUER: Self = Self {
        all: InFlight { calls: 16, first_issues: 12 },
        of_one: InFlight { calls: 14, first_issues: 10 },
    };

    /// A capacity of this many calls of any kind. One tenant gets at most seven eighths (of fewer than 16: all but one).
    #[must_use]
    pub const fn of(calls: usize) -> Self {
        let spared = if calls < 16 { 1 } else { calls / 8 };
        let of_one = if calls > spared { calls - spared } else { calls };
        Self {
            all: InFlight { calls, first_issues: calls },
            of_one: InFlight { calls: of_one, first_issues: of_one },
        }
    }
}

/// A first issue is as urgent as a renewal that will be overdue in a minute.
const FIRST_ISSUE_URGENCY: SignedDuration = SignedDuration::from_secs(60);
/// A token that lives longer than that is in no hurry.
const FAR_FROM_EXPIRY: SignedDuration = SignedDuration::from_mins(5);
/// How much less urgent a call is after one failure; it doubles with each one more.
const FIRST_DECAY: SignedDuration = SignedDuration::from_secs(10);
/// How much less urgent it is at most.
const LONGEST_DECAY: SignedDuration = SignedDuration::from_mins(10);

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// An account's first token.
    FirstIssue,
    /// Another token; overdue from this moment on.
    Renewal {
        /// The overdue margin's begin.
        overdue: Moment,
    },
}

/// A call that asks for a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// On whose behalf.
    pub tenant: Tenant,
    /// The purpose of the call.
    pub priority: Priority,
    /// The failures in a row of its account.
    pub failures: u32,
}

impl CallRequest {
    /// One without a deadline: of its tenant, the one that came first goes first.
    #[must_use]
    pub fn in_turn(tenant: Tenant, now: Moment) -> Self {
        Self { tenant, priority: Priority::Renewal { overdue: now }, failures: 0 }
    }

    /// One for a token that lives so much longer. Of its tenant, those that come at once go in the order in which their tokens
    /// die; nobody waits more than a second for those that come later.
    #[must_use]
    pub fn by_time_left(tenant: Tenant, left: SignedDuration, now: Moment) -> Self {
        let left = left.clamp(SignedDuration::ZERO, FAR_FROM_EXPIRY);
        let delay = SignedDuration::from_secs_f64(left.as_secs_f64() / FAR_FROM_EXPIRY.as_secs_f64());
        Self::in_turn(tenant, now.plus(delay))
    }

    /// The deadline of the call as seen `now`, by the earlier clock. Failed calls are less urgent: they would probably
    /// fail again, and block others.
    fn deadline(&self, now: Moment) -> SignedDuration {
        let urgency = match self.priority {
            Priority::FirstIssue => FIRST_ISSUE_URGENCY,
            Priority::Renewal { overdue } => overdue.remaining(now),
        };
        let decay = match self.failures.checked_sub(1) {
            None => SignedDuration::ZERO,
            Some(doublings) => FIRST_DECAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DECAY),
        };
        now.monotonic.saturating_add(urgency).saturating_add(decay)
    }

    fn is_first_issue(&self) -> bool {
        self.priority == Priority::FirstIssue
    }
}

/// Calls in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InFlight {
    calls: usize,
    first_issues: usize,
}

impl InFlight {
    fn has_room(self, limit: Self, is_first_issue: bool) -> bool {
        self.calls < limit.calls && (!is_first_issue || self.first_issues < limit.first_issues)
    }
}

/// What runs and waits at a limiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Calls with a permit.
    pub in_flight: usize,
    /// How many calls of each tenant wait; those with none are left out.
    pub waiting: Vec<(Tenant, usize)>,
}

/// A limiter of concurrent calls. `T` is what the caller needs to start an admitted call.
#[derive(Debug)]
pub struct CallLimiter<T> {
    capacity: Capacity,
    all: InFlight,
    /// Tenants with calls in flight or waiting.
    tenants: BTreeMap<Tenant, Queue<T>>,
    /// How many ever asked.
    asked: u64,
}

/// The calls of one tenant.
#[derive(Debug)]
struct Queue<T> {
    load: InFlight,
    first_issues: Waiting<T>,
    renewals: Waiting<T>,
}

/// Ordered by deadline, then by arrival.
type Waiting<T> = BTreeMap<QueuePosition, (CallRequest, T)>;
type QueuePosition = (SignedDuration, u64);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { load: InFlight::default(), first_issues: BTreeMap::new(), renewals: BTreeMap::new() }
    }
}

impl<T> Queue<T> {
    fn waiting(&mut self, is_first_issue: bool) -> &mut Waiting<T> {
        if is_first_issue { &mut self.first_issues } else { &mut self.renewals }
    }

    /// The most urgent for whom there is room, and whether it is a first issue.
    fn next(
        &self,
        all: InFlight,
        Capacity { all: limit, of_one }: Capacity,
    ) -> Option<(QueuePosition, bool)> {
        let fits = |is_first_issue: bool| {
            all.has_room(limit, is_first_issue) && self.load.has_room(of_one, is_first_issue)
        };
        let first = |waiting: &Waiting<T>, is_first_issue: bool| {
            let (place, _) = waiting.first_key_value().filter(|_| fits(is_first_issue))?;
            Some((*place, is_first_issue))
        };
        [first(&self.first_issues, true), first(&self.renewals, false)].into_iter().flatten().min()
    }

    fn is_idle(&self) -> bool {
        self.load.calls == 0 && self.first_issues.is_empty() && self.renewals.is_empty()
    }
}

impl<T> CallLimiter<T> {
    /// No call holds a permit or waits.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, all: InFlight::default(), tenants: BTreeMap::new(), asked: 0 }
    }

    /// A call asks for a permit.
    pub fn enqueue(&mut self, request: CallRequest, who: T, now: Moment) {
        let place = (request.deadline(now), self.asked);
        self.asked += 1;
        let queue = self.tenants.entry(Arc::clone(&request.tenant)).or_default();
        queue.waiting(request.is_first_issue()).insert(place, (request, who));
    }

    /// Admits the next call if there is room: the most urgent one of the tenant with the fewest calls in flight. Of two
    /// equally urgent calls, the first to arrive.
    pub fn admit(&mut self) -> Option<(CallRequest, T)> {
        let (all, capacity) = (self.all, self.capacity);
        let next = |queue: &mut Queue<T>| {
            let (place, is_first_issue) = queue.next(all, capacity)?;
            Some((queue.load.calls, place, is_first_issue))
        };
        let queues = self.tenants.values_mut().filter_map(|queue| Some((next(queue)?, queue)));
        let ((_, place, is_first_issue), queue) = queues.min_by_key(|(order, _)| *order)?;
        let admitted = queue.waiting(is_first_issue).remove(&place)?;
        for load in [&mut queue.load, &mut self.all] {
            load.calls += 1;
            load.first_issues += usize::from(is_first_issue);
        }
        Some(admitted)
    }

    /// A permit is returned.
    pub fn release(&mut self, request: &CallRequest) {
        let Some(queue) = self.tenants.get_mut(&request.tenant) else { return };
        for load in [&mut queue.load, &mut self.all] {
            load.calls = load.calls.saturating_sub(1);
            load.first_issues = load.first_issues.saturating_sub(usize::from(request.is_first_issue()));
        }
        if queue.is_idle() {
            self.tenants.remove(&request.tenant);
        }
    }

    /// What runs and waits.
    #[must_use]
    pub fn load(&self) -> Load {
        let waiting = |queue: &Queue<T>| queue.first_issues.len() + queue.renewals.len();
        let waiting = self.tenants.iter().map(|(tenant, queue)| (Arc::clone(tenant), waiting(queue)));
        Load { in_flight: self.all.calls, waiting: waiting.filter(|(_, count)| *count > 0).collect() }
    }

    /// Whether no call holds a permit or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tenants.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;
    use proptest::prelude::*;

    fn renewal(overdue: i64) -> Priority {
        Priority::Renewal { overdue: at(overdue) }
    }

    fn of(tenant: &str, priority: Priority) -> CallRequest {
        CallRequest { tenant: tenant.into(), priority, failures: 0 }
    }

    fn all<T>(gate: &mut CallLimiter<T>) -> Vec<T> {
        std::iter::from_fn(|| gate.admit()).map(|(_, who)| who).collect()
    }

    #[test]
    fn of_those_that_come_at_once_the_token_that_dies_first_goes_first_and_nobody_waits_longer_than_a_second()
    {
        let mut gate = CallLimiter::new(Capacity::of(100));
        let left = |seconds: i64, now: i64| {
            CallRequest::by_time_left("a".into(), SignedDuration::from_secs(seconds), at(now))
        };
        for (name, seconds) in
            [("hour", 3600), ("minutes", 300), ("minute", 60), ("expired", -60), ("none", 0)]
        {
            gate.enqueue(left(seconds, 0), name, at(0));
        }
        gate.enqueue(left(-60, 2), "later", at(2));
        assert_eq!(all(&mut gate), ["expired", "none", "minute", "hour", "minutes", "later"]);
    }

    #[test]
    fn its_load_is_what_runs_and_for_each_tenant_what_waits() {
        let mut gate = CallLimiter::new(Capacity::of(3));
        for (tenant, priority) in [
            ("a", renewal(1)),
            ("a", renewal(2)),
            ("a", Priority::FirstIssue),
            ("a", renewal(3)),
            ("b", renewal(9)),
        ] {
            gate.enqueue(of(tenant, priority), (), at(0));
        }
        all(&mut gate);
        assert_eq!(gate.load(), Load { in_flight: 3, waiting: vec![("a".into(), 2)] });
        gate.release(&of("b", renewal(9)));
        assert_eq!(gate.load().in_flight, 2);
    }

    #[test]
    fn the_most_urgent_goes_first_and_a_first_issue_counts_as_a_minute() {
        let mut gate = CallLimiter::new(Capacity::ISSUER);
        gate.enqueue(of("a", renewal(61)), "later", at(0));
        gate.enqueue(of("a", Priority::FirstIssue), "new", at(0));
        gate.enqueue(of("a", renewal(59)), "soon", at(0));
        gate.enqueue(of("a", renewal(-5)), "overdue", at(0));
        assert_eq!(all(&mut gate), ["overdue", "soon", "new", "later"]);
    }

    #[test]
    fn what_has_failed_is_less_urgent_with_each_failure_but_never_by_more_than_ten_minutes() {
        let mut gate = CallLimiter::new(Capacity::ISSUER);
        for (failures, name) in [(u32::MAX, "hopeless"), (3, "thrice"), (1, "once"), (0, "never")] {
            gate.enqueue(CallRequest { failures, ..of("a", renewal(0)) }, name, at(0));
        }
        gate.enqueue(of("a", renewal(9)), "before", at(0));
        gate.enqueue(of("a", renewal(601)), "after", at(0));
        assert_eq!(all(&mut gate), ["never", "before", "once", "thrice", "hopeless", "after"]);
    }

    #[test]
    fn a_thousand_first_issues_leave_room_for_renewals_and_for_another_tenant() {
        let mut gate = CallLimiter::new(Capacity::ISSUER);
        for _ in 0..1_000 {
            gate.enqueue(of("a", Priority::FirstIssue), "new", at(0));
        }
        assert_eq!(all(&mut gate).len(), 10);
        for _ in 0..10 {
            gate.enqueue(of("a", renewal(900)), "renewal", at(1));
        }
        assert_eq!(all(&mut gate), ["renewal"; 4], "fourteen in all");
        gate.enqueue(of("b", Priority::FirstIssue), "another", at(2));
        gate.enqueue(of("c", renewal(900)), "a third", at(2));
        gate.enqueue(of("d", renewal(900)), "a fourth", at(2));
        assert_eq!(all(&mut gate), ["another", "a third"], "sixteen in all");
        gate.release(&of("a", renewal(900)));
        assert_eq!(all(&mut gate), ["a fourth"], "who has nothing in flight goes first");
        gate.release(&of("a", Priority::FirstIssue));
        gate.release(&of("b", Priority::FirstIssue));
        assert_eq!(all(&mut gate), ["new", "renewal"]);
    }

    #[test]
    fn a_call_that_ends_leaves_the_others_of_its_tenant_counted() {
        for (priority, most) in [(renewal(900), 14), (Priority::FirstIssue, 10)] {
            let mut gate = CallLimiter::new(Capacity::ISSUER);
            assert!(gate.is_idle());
            for _ in 0..most {
                gate.enqueue(of("a", priority), (), at(0));
            }
            assert_eq!(all(&mut gate).len(), most);
            gate.release(&of("a", priority));
            assert!(!gate.is_idle(), "the others are in flight, and nobody waits");
            for _ in 0..5 {
                gate.enqueue(of("a", priority), (), at(1));
            }
            assert_eq!(all(&mut gate).len(), 1, "{most} in all");
            for _ in 0..most {
                gate.release(&of("a", priority));
            }
            assert!(!gate.is_idle(), "four wait");
            assert_eq!(all(&mut gate).len(), 4);
        }
    }

    #[test]
    fn while_several_wait_each_has_its_share() {
        let mut gate = CallLimiter::new(Capacity::ISSUER);
        for tenant in ["a", "b", "c", "d"] {
            for _ in 0..100 {
                // The first one is always in a hurry.
                gate.enqueue(of(tenant, renewal(if tenant == "a" { -100 } else { 1_000 })), tenant, at(0));
            }
        }
        let mut shares = BTreeMap::new();
        for tenant in all(&mut gate) {
            *shares.entry(tenant).or_insert(0) += 1;
        }
        assert_eq!(shares, BTreeMap::from([("a", 4), ("b", 4), ("c", 4), ("d", 4)]));
    }

    #[test]
    fn calls_without_a_deadline_are_served_in_order_and_no_tenant_gets_the_last_permit() {
        for (calls, of_one) in [(1, 1), (2, 1), (4, 3), (15, 14), (16, 14), (64, 56)] {
            let mut gate = CallLimiter::new(Capacity::of(calls));
            for number in 0..100 {
                gate.enqueue(CallRequest::in_turn("a".into(), at(number)), number, at(number));
            }
            assert_eq!(all(&mut gate), (0..of_one).collect::<Vec<_>>(), "{calls}");
            gate.enqueue(CallRequest::in_turn("b".into(), at(200)), 200, at(200));
            assert_eq!(gate.admit().map(|(_, who)| who), (calls > 1).then_some(200), "{calls}");
        }
    }

    proptest! {
        #[test]
        fn every_caller_gets_its_turn_and_never_more_than_allowed_at_once(
            steps in proptest::collection::vec(
                (any::<bool>(), any::<bool>(), -100_i64..1_000, 0_usize..3, 0_u32..5), 1..300,
            ),
        ) {
            let mut gate = CallLimiter::new(Capacity::ISSUER);
            let mut inside: Vec<CallRequest> = Vec::new();
            let (mut asked, mut admitted) = (0, 0);
            for (number, (asks, is_first, overdue, tenant, failures)) in steps.into_iter().enumerate() {
                let now = at(i64::try_from(number).unwrap());
                if asks {
                    asked += 1;
                    let priority = if is_first { Priority::FirstIssue } else { renewal(overdue) };
                    gate.enqueue(CallRequest { failures, ..of(["a", "b", "c"][tenant], priority) }, (), now);
                } else if let Some(request) = inside.pop() {
                    gate.release(&request);
                }
                while let Some((request, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(request);
                }
                for (tenant, calls, first_issues) in [(None, 16, 12), (Some("a"), 14, 10), (Some("b"), 14, 10)] {
                    let its = |request: &&CallRequest| tenant.is_none_or(|tenant| *request.tenant == *tenant);
                    prop_assert!(inside.iter().filter(its).count() <= calls);
                    let first = inside.iter().filter(its).filter(|request| request.is_first_issue()).count();
                    prop_assert!(first <= first_issues);
                }
            }
            while let Some(request) = inside.pop() {
                gate.release(&request);
                while let Some((request, ())) = gate.admit() {
                    admitted += 1;
                    inside.push(request);
                }
            }
            prop_assert_eq!(asked, admitted);
            prop_assert!(gate.is_idle());
        }
    }
}
