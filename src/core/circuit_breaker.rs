//! The circuit breaker of an issuer: while the issuer fails for all accounts, one call at a time probes whether it
//! works again.
//!
//! It opens when three accounts in a row got no usable answer within a minute, or the issuer rejected three logins that
//! it had accepted before: that is an outage, and not the fault of an account. Then there is one probe at a time, with
//! backoff. After the first success all calls resume over half a minute, and overdue ones at once.
//!
//! Each tenant has its own breaker per origin, whatever the path, and there is a shared one. The shared one opens only
//! for failures of at least two tenants, and all never accepted accounts of a tenant count as one there: a tenant with
//! a wrong path or CA blocks nobody else.
//!
//! At the shared breaker, a failed probe delays its own tenant, and the others only for a moment, in which its own
//! tenant does not probe again; and accounts that were never accepted do not probe while an accepted one waits. So
//! accounts that cannot be served do not block those that can, however many there are.
//!
//! An issuer may also fail for some accounts only. So among overdue accounts, those with fewer failures go first:
//! accounts that would be served do not wait for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::call_limiter::Tenant;
use super::schedule::TimeScale;
use super::time::Moment;

/// So many accounts in a row have to fail before the circuit breaker opens.
const FAILURES_TO_OPEN: usize = 3;
/// The time within which they have to fail.
const FAILURE_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// A caller that wants a token asks for permission more often than this.
const UNUSED_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// What the end of a call says about the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It gave a token.
    Works,
    /// It gave no answer that is of any use.
    Fails {
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// It was not trusted, by authorities that the caller named and that never vouched for it: that may be the caller's fault.
    Distrusted,
    /// It rejected a login that it has accepted before.
    RejectsProven,
    /// A rejection, as expected: of a login that it never accepted, or of a refresh.
    Answers,
}

/// What the breaker knows of an account that wants to call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caller {
    /// The pace that its tokens set.
    pub pace: TimeScale,
    /// Whether its renewal is overdue, or nothing is published yet.
    pub is_overdue: bool,
    /// Whether the issuer has accepted this very login before.
    pub is_proven: bool,
    /// Its failures in a row.
    pub failures: u32,
    /// Its position among the calls that resume, in [0, 1).
    pub place: f64,
}

/// The caller of a finished call, with what decides how much its failure counts for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantHistory {
    /// On whose behalf the call was.
    pub tenant: Tenant,
    /// Whether the issuer has accepted this very login before.
    pub is_proven: bool,
}

#[derive(Clone, Debug)]
struct FailureRecord<T> {
    who: T,
    history: TenantHistory,
    at: Moment,
    is_rejection: bool,
}

#[derive(Clone, Debug)]
struct Failing<T> {
    /// Whose logins were rejected since then, or just before.
    rejected: Vec<T>,
    /// How it began.
    opened: TenantProbes,
    /// The probes that failed, by tenant.
    failed_probes: BTreeMap<Tenant, TenantProbes>,
    /// Whose the last one was.
    last: Option<LastProbe>,
    /// The current probe, and the pace of probes.
    probe: Option<(T, TimeScale)>,
}

/// The probes of one tenant that failed.
#[derive(Clone, Copy, Debug)]
struct TenantProbes {
    probes: u32,
    /// When the last probe ended, or the first failure was seen.
    since: Moment,
    /// How long the issuer asked to wait then.
    retry_after: Option<SignedDuration>,
}

/// The last probe that failed.
#[derive(Clone, Debug)]
struct LastProbe {
    tenant: Tenant,
    since: Moment,
    /// The pause before another tenant may probe.
    pause: SignedDuration,
    /// How long the issuer asked a known account to wait.
    retry_after: Option<SignedDuration>,
}

/// The breaker of one issuer. `T` identifies accounts.
#[derive(Clone, Debug)]
pub struct CircuitBreaker<T> {
    failures_seen: Vec<FailureRecord<T>>,
    failing: Option<Failing<T>>,
    closed_at: Option<Moment>,
    is_shared: bool,
}

impl<T> CircuitBreaker<T> {
    /// The breaker of one tenant.
    #[must_use]
    pub fn of_one() -> Self {
        Self { failures_seen: Vec::new(), failing: None, closed_at: None, is_shared: false }
    }

    /// The breaker of all tenants together.
    #[must_use]
    pub fn of_all() -> Self {
        Self { is_shared: true, ..Self::of_one() }
    }
}

impl<T: Clone + PartialEq> CircuitBreaker<T> {
    /// Whether the breaker is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failing.is_some()
    }

    /// Until when this caller has to wait, if it has to.
    #[must_use]
    pub fn calls_blocked_until(&self, caller: Caller, tenant: &Tenant, now: Moment) -> Option<Moment> {
        let until = match (&self.failing, self.closed_at) {
            // It looks again soon: the probe may end any moment.
            (Some(Failing { probe: Some(_), .. }), _) => Some(now.plus(caller.pace.probe_look())),
            (Some(failing), _) => {
                let own = failing.failed_probes_of(tenant).after(caller);
                let last = failing.last.as_ref().filter(|_| self.is_shared);
                Some(last.map_or(own, |last| own.not_before(last.lets(caller, tenant))))
            }
            (None, Some(closed_at)) if !caller.is_overdue => {
                Some(closed_at.plus(caller.pace.longest_probe_pause().mul_f64(caller.place)))
            }
            (None, _) => None,
        };
        until.filter(|until| !until.is_reached(now))
    }

    /// A call begins that was not held back. While the issuer fails it is the probe.
    pub fn begin(&mut self, who: &T, pace: TimeScale) {
        if let Some(failing) = &mut self.failing {
            failing.probe = Some((who.clone(), pace));
        }
    }

    /// Whether a call that has begun may still be sent: it may have waited for its turn while the issuer began to fail.
    #[must_use]
    pub fn is_call_allowed(&self, who: &T) -> bool {
        let is_probe = |failing: &Failing<T>| failing.probe.as_ref().is_some_and(|(probe, _)| probe == who);
        self.failing.as_ref().is_none_or(is_probe)
    }

    /// A call was aborted, without a result.
    pub fn abandon(&mut self, who: &T) {
        if let Some(failing) = &mut self.failing {
            failing.probe.take_if(|(probe, _)| probe == who);
        }
    }

    /// A call ended. Returns the accounts whose rejections are meaningless: they came while the issuer rejected
    /// everyone, and now it has accepted a login.
    pub fn end(
        &mut self,
        who: &T,
        history: &TenantHistory,
        call_outcome: CallOutcome,
        now: Moment,
    ) -> Vec<T> {
        match call_outcome {
            CallOutcome::Works => {
                self.failures_seen.clear();
                let Some(failing) = self.failing.take() else { return Vec::new() };
                self.closed_at = Some(now);
                return failing.rejected.into_iter().filter(|other| other != who).collect();
            }
            // It does answer, which may be all that was wrong: the next may probe at once.
            CallOutcome::Answers => self.abandon(who),
            CallOutcome::Fails { retry_after } => self.record_failure(who, history, retry_after, false, now),
            // For others, this says nothing about the issuer.
            CallOutcome::Distrusted if self.is_shared && !self.is_open() => {}
            CallOutcome::Distrusted => self.record_failure(who, history, None, false, now),
            CallOutcome::RejectsProven => self.record_failure(who, history, None, true, now),
        }
        Vec::new()
    }

    /// Whether this breaker can be dropped. A failing one that was not probed for an hour is no longer used.
    #[must_use]
    pub fn is_idle(&self, now: Moment) -> bool {
        let is_past = |moment: Moment| moment.plus(FAILURE_WINDOW).is_reached(now);
        let is_left = |failing: &Failing<T>| {
            failing.probe.is_none() && failing.since().plus(UNUSED_AFTER).is_reached(now)
        };
        self.failing.as_ref().is_none_or(is_left)
            && self.failures_seen.iter().all(|record_failure| is_past(record_failure.at))
            && self.closed_at.is_none_or(is_past)
    }

    fn record_failure(
        &mut self,
        who: &T,
        history: &TenantHistory,
        retry_after: Option<SignedDuration>,
        is_rejection: bool,
        now: Moment,
    ) {
        if let Some(failing) = &mut self.failing {
            if is_rejection && !failing.rejected.contains(who) {
                failing.rejected.push(who.clone());
            }
            if let Some((_, pace)) = failing.probe.take_if(|(probe, _)| probe == who) {
                failing.probe_failed(history, pace, retry_after, now);
            }
            return;
        }
        let is_shared = self.is_shared;
        let is_same = |other: &FailureRecord<T>| {
            let is_one = is_shared && !history.is_proven && other.history == *history;
            other.who == *who || is_one
        };
        self.failures_seen.retain(|other| !is_same(other) && !other.at.plus(FAILURE_WINDOW).is_reached(now));
        self.failures_seen.push(FailureRecord {
            who: who.clone(),
            history: history.clone(),
            at: now,
            is_rejection,
        });
        let alike =
            self.failures_seen.iter().filter(|record_failure| record_failure.is_rejection == is_rejection);
        let is_of_others =
            alike.clone().any(|record_failure| record_failure.history.tenant != history.tenant);
        if alike.count() < FAILURES_TO_OPEN || is_shared && !is_of_others {
            self.forget_surplus(history);
            return;
        }
        let rejected = std::mem::take(&mut self.failures_seen)
            .into_iter()
            .filter(|record_failure| record_failure.is_rejection);
        self.failing = Some(Failing {
            rejected: rejected.map(|record_failure| record_failure.who).collect(),
            opened: TenantProbes { probes: 0, since: now, retry_after },
            failed_probes: BTreeMap::new(),
            last: None,
            probe: None,
        });
    }
}

impl<T> CircuitBreaker<T> {
    /// Of one tenant's strikes no more are kept than could ever matter.
    fn forget_surplus(&mut self, history: &TenantHistory) {
        let its = |record_failure: &FailureRecord<T>| record_failure.history.tenant == history.tenant;
        if self.failures_seen.iter().filter(|record_failure| its(record_failure)).count()
            > 2 * FAILURES_TO_OPEN
            && let Some(oldest) = self.failures_seen.iter().position(its)
        {
            self.failures_seen.remove(oldest);
        }
    }
}

impl<T> Failing<T> {
    fn failed_probes_of(&self, tenant: &Tenant) -> TenantProbes {
        self.failed_probes.get(tenant).copied().unwrap_or(self.opened)
    }

    /// When the last probe ended, or the first failure was seen.
    fn since(&self) -> Moment {
        self.last.as_ref().map_or(self.opened.since, |last| last.since)
    }

    fn probe_failed(
        &mut self,
        history: &TenantHistory,
        pace: TimeScale,
        retry_after: Option<SignedDuration>,
        now: Moment,
    ) {
        let TenantHistory { tenant, is_proven } = history;
        let probes = self.failed_probes_of(tenant).probes.saturating_add(1);
        self.failed_probes.insert(Arc::clone(tenant), TenantProbes { probes, since: now, retry_after });
        self.last = Some(LastProbe {
            tenant: Arc::clone(tenant),
            since: now,
            pause: pace.first_retry(),
            retry_after: retry_after.filter(|_| *is_proven),
        });
    }
}

impl TenantProbes {
    /// When this caller may probe, according to the probes of its own tenant.
    fn after(self, caller: Caller) -> Moment {
        let failures = if caller.is_overdue { caller.failures } else { self.probes };
        let doublings = i32::try_from(failures.min(30)).unwrap_or(30);
        let own = caller.pace.first_retry().mul_f64(2_f64.powi(doublings));
        let own = own.min(caller.pace.longest_probe_pause());
        self.since.plus(own.max(requested_pause(self.retry_after, caller)))
    }
}

impl LastProbe {
    /// When this caller may probe, according to the last probe of all: another tenant goes first, and an accepted
    /// account before one that was never accepted, which waits longest.
    fn lets(&self, caller: Caller, tenant: &Tenant) -> Moment {
        let again = if self.tenant == *tenant { self.pause } else { SignedDuration::ZERO };
        let pause = if caller.is_proven {
            self.pause
        } else {
            self.pause.max(caller.pace.longest_probe_pause() + caller.pace.first_retry())
        };
        self.since.plus(pause.max(requested_pause(self.retry_after, caller)) + again)
    }
}

/// How long a caller waits because the issuer asks for it.
fn requested_pause(retry_after: Option<SignedDuration>, caller: Caller) -> SignedDuration {
    retry_after.unwrap_or_default().min(caller.pace.longest_retry())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, seconds};
    use super::*;
    use proptest::prelude::*;

    const FAILS: CallOutcome = CallOutcome::Fails { retry_after: None };

    fn of(tenant: &str, is_proven: bool) -> TenantHistory {
        TenantHistory { tenant: tenant.into(), is_proven }
    }

    fn shop() -> TenantHistory {
        of("shop", true)
    }

    type Failures<'a> = &'a [(u32, &'a TenantHistory)];

    #[test]
    fn everybodys_opens_only_by_failures_of_two_tenants_and_new_logins_of_one_count_once() {
        let (a, b, c) = (of("a", true), of("b", true), of("c", true));
        let [new_a, new_b, new_c] = ["a", "b", "c"].map(|tenant| of(tenant, false));
        let cases: [(&str, Failures<'_>, bool); 7] = [
            ("many of one", &[(1, &a), (2, &a), (3, &a), (4, &a), (5, &a)], false),
            ("new ones of one, and one more", &[(1, &new_a), (2, &new_a), (3, &new_a), (4, &new_b)], false),
            ("new ones of three", &[(1, &new_a), (2, &new_b), (3, &new_c)], true),
            ("two and one", &[(1, &a), (2, &a), (3, &b)], true),
            ("of each one", &[(1, &a), (2, &b), (3, &c)], true),
            ("old and new ones of one", &[(1, &a), (2, &new_a), (3, &a)], false),
            ("one more after many", &[(1, &a), (2, &a), (3, &a), (4, &a), (5, &new_b)], true),
        ];
        for (case, failures, opens) in cases {
            let mut breaker = CircuitBreaker::of_all();
            for (who, history) in failures {
                breaker.end(who, history, FAILS, at(0));
            }
            assert_eq!(breaker.is_open(), opens, "{case}");
        }
        let mut breaker = CircuitBreaker::of_all();
        for who in 0..1_000 {
            breaker.end(&who, &a, FAILS, at(0));
        }
        assert!(breaker.failures_seen.len() <= 2 * FAILURES_TO_OPEN, "{}", breaker.failures_seen.len());
    }

    fn caller(place: f64) -> Caller {
        Caller { pace: TimeScale::FULL, is_overdue: false, is_proven: true, failures: 0, place }
    }

    fn held<T: Clone + PartialEq>(
        breaker: &CircuitBreaker<T>,
        caller: Caller,
        now: Moment,
    ) -> Option<Moment> {
        breaker.calls_blocked_until(caller, &"shop".into(), now)
    }

    fn overdue() -> Caller {
        Caller { is_overdue: true, ..caller(0.9) }
    }

    /// A breaker that three accounts opened at the start.
    fn open() -> CircuitBreaker<u32> {
        let mut breaker = CircuitBreaker::of_one();
        for who in 1..=3 {
            breaker.end(&who, &shop(), FAILS, at(0));
        }
        assert!(breaker.is_open());
        breaker
    }

    #[test]
    fn it_takes_three_accounts_in_a_row_within_a_minute() {
        use CallOutcome::{Answers, RejectsProven, Works};
        type Ends = [(u32, CallOutcome, i64)];
        let cases: [(&str, &Ends, bool); 9] = [
            ("three", &[(1, FAILS, 0), (2, FAILS, 30), (3, FAILS, 59)], true),
            ("two", &[(1, FAILS, 0), (2, FAILS, 1)], false),
            ("one, three times", &[(1, FAILS, 0), (1, FAILS, 1), (1, FAILS, 2)], false),
            ("too slowly", &[(1, FAILS, 0), (2, FAILS, 30), (3, FAILS, 60)], false),
            ("a success between", &[(1, FAILS, 0), (2, FAILS, 1), (4, Works, 2), (3, FAILS, 3)], false),
            ("an answer between", &[(1, FAILS, 0), (2, FAILS, 1), (4, Answers, 2), (3, FAILS, 3)], true),
            ("rejections", &[(1, RejectsProven, 0), (2, RejectsProven, 1), (3, RejectsProven, 2)], true),
            (
                "of both two",
                &[(1, FAILS, 0), (2, FAILS, 1), (3, RejectsProven, 2), (4, RejectsProven, 3)],
                false,
            ),
            ("of both three", &[(1, FAILS, 0), (2, FAILS, 1), (3, RejectsProven, 2), (4, FAILS, 3)], true),
        ];
        for (case, end, is_open) in cases {
            let mut breaker = CircuitBreaker::of_one();
            for (who, call_outcome, time) in end {
                breaker.end(who, &shop(), *call_outcome, at(*time));
            }
            assert_eq!(breaker.is_open(), is_open, "{case}");
            let last = at(end.last().unwrap().2);
            assert_eq!(held(&breaker, caller(0.0), last).is_some(), is_open, "{case}");
        }
    }

    #[test]
    fn there_is_one_probe_at_a_time_at_pauses_from_five_to_thirty_seconds() {
        let mut breaker = open();
        let mut now = at(0);
        for pause in [5, 10, 20, 30, 30] {
            assert_eq!(held(&breaker, caller(0.5), now), Some(now.plus(seconds(pause))));
            now = now.plus(seconds(pause));
            assert_eq!(held(&breaker, caller(0.5), now), None);
            breaker.begin(&7, TimeScale::FULL);
            assert!(held(&breaker, overdue(), now).is_some(), "another has to wait, however urgent");
            assert!(
                breaker.is_call_allowed(&7) && !breaker.is_call_allowed(&8),
                "also one that had begun before"
            );
            breaker.end(&1, &shop(), FAILS, now);
            assert!(held(&breaker, caller(0.5), now).is_some(), "a straggler's failure ends no probe");
            breaker.end(&7, &shop(), FAILS, now);
        }
    }

    #[test]
    fn the_issuers_wish_to_be_left_alone_is_kept_for_up_to_a_minute() {
        for (requested_pause, kept) in [(3, 5), (20, 20), (3_600, 60)] {
            let mut breaker = CircuitBreaker::of_one();
            for who in 1..=3 {
                breaker.end(
                    &who,
                    &shop(),
                    CallOutcome::Fails { retry_after: Some(seconds(requested_pause)) },
                    at(0),
                );
            }
            assert_eq!(held(&breaker, caller(0.0), at(0)), Some(at(kept)), "{requested_pause}");
        }
    }

    #[test]
    fn a_success_releases_everyone_over_half_a_minute_and_the_overdue_at_once() {
        let mut breaker = open();
        breaker.begin(&7, TimeScale::FULL);
        breaker.end(&7, &shop(), CallOutcome::Works, at(5));
        assert_eq!(held(&breaker, caller(0.0), at(5)), None);
        assert_eq!(held(&breaker, caller(0.5), at(5)), Some(at(20)));
        assert_eq!(held(&breaker, overdue(), at(5)), None);
        assert_eq!(held(&breaker, caller(0.99), at(35)), None);
        assert!(!breaker.is_idle(at(5)) && breaker.is_idle(at(65)));
    }

    #[test]
    fn failures_that_opened_nothing_are_forgotten_after_a_minute() {
        let mut breaker = CircuitBreaker::of_one();
        assert!(breaker.is_idle(at(0)));
        breaker.end(&1, &shop(), FAILS, at(0));
        assert!(!breaker.is_idle(at(59)) && breaker.is_idle(at(60)));
    }

    #[test]
    fn of_each_tenant_the_last_six_failures_are_kept() {
        for (failures, opens) in [(4, true), (5, false)] {
            let mut breaker = CircuitBreaker::of_all();
            for who in 0..2 {
                breaker.end(&who, &of("a", true), CallOutcome::RejectsProven, at(0));
            }
            for who in 2..2 + failures {
                breaker.end(&who, &of("a", true), FAILS, at(0));
            }
            breaker.end(&100, &of("b", true), CallOutcome::RejectsProven, at(0));
            assert_eq!(breaker.is_open(), opens, "two rejections, then {failures} other failures");
        }
    }

    #[test]
    fn a_failing_one_is_forgotten_after_an_hour_without_requests() {
        let mut breaker = open();
        assert!(!breaker.is_idle(at(3599)) && breaker.is_idle(at(3600)));
        breaker.begin(&7, TimeScale::FULL);
        assert!(!breaker.is_idle(at(3600)), "a probe is under way");
    }

    #[test]
    fn short_lived_tokens_do_not_wait_as_long() {
        let mut breaker = open();
        let quick = Caller { pace: TimeScale::of(seconds(30)), ..caller(0.5) };
        assert_eq!(held(&breaker, quick, at(0)), Some(at(0).plus(SignedDuration::from_millis(500))));
        breaker.begin(&7, TimeScale::FULL);
        breaker.end(&7, &shop(), CallOutcome::Works, at(5));
        assert_eq!(held(&breaker, quick, at(5)), Some(at(5).plus(SignedDuration::from_millis(1500))));
    }

    #[test]
    fn an_issuer_that_rejected_everyone_and_accepts_somebody_has_rejected_no_one() {
        let mut breaker = CircuitBreaker::of_one();
        for (who, time) in [(1, 0), (2, 1), (3, 2), (4, 7), (4, 17)] {
            breaker.begin(&who, TimeScale::FULL);
            assert!(breaker.end(&who, &shop(), CallOutcome::RejectsProven, at(time)).is_empty(), "{who}");
        }
        assert!(breaker.is_open());
        breaker.begin(&2, TimeScale::FULL);
        assert_eq!(breaker.end(&2, &shop(), CallOutcome::Works, at(37)), [1, 3, 4]);
        assert!(breaker.end(&5, &shop(), CallOutcome::Works, at(38)).is_empty(), "each is told of once");
    }

    #[test]
    fn of_the_overdue_the_one_with_fewer_failures_goes_first() {
        let mut breaker = open();
        for now in [5, 15, 35] {
            breaker.begin(&7, TimeScale::FULL);
            breaker.end(&7, &shop(), FAILS, at(now));
        }
        let failed = |failures| Caller { failures, ..overdue() };
        let cases = [
            (caller(0.5), 30),
            (failed(0), 5),
            (failed(1), 10),
            (failed(2), 20),
            (failed(3), 30),
            (failed(9), 30),
        ];
        for (caller, pause) in cases {
            assert_eq!(held(&breaker, caller, at(35)), Some(at(35 + pause)), "{caller:?}");
        }
        breaker.begin(&8, TimeScale::FULL);
        breaker.end(&8, &shop(), CallOutcome::Fails { retry_after: Some(seconds(20)) }, at(40));
        assert_eq!(held(&breaker, failed(0), at(40)), Some(at(60)), "the issuer's wish counts for all");
    }

    /// Everybody's breaker, opened at the start by a shop and a bank whose accounts were accepted.
    fn everybodys() -> CircuitBreaker<u32> {
        let mut breaker = CircuitBreaker::of_all();
        for (who, tenant) in [(1, "shop"), (2, "shop"), (3, "bank")] {
            breaker.end(&who, &of(tenant, true), FAILS, at(0));
        }
        assert!(breaker.is_open());
        breaker
    }

    #[test]
    fn at_everybodys_a_failed_probe_puts_off_its_own_tenant_and_others_for_a_moment_only() {
        let mut breaker = everybodys();
        breaker.begin(&1, TimeScale::FULL);
        breaker.end(&1, &of("shop", true), CallOutcome::Fails { retry_after: None }, at(40));
        let failed = |failures| Caller { failures, ..overdue() };
        let new = Caller { is_proven: false, ..overdue() };
        let cases = [
            ("the shop, where it never failed", "shop", failed(0), 50),
            ("the shop, where it failed often", "shop", failed(5), 70),
            ("the bank, whose turn has come long ago", "bank", failed(5), 45),
            ("a new account", "mall", new, 75),
            ("a new account of the shop", "shop", new, 80),
        ];
        for (case, tenant, caller, until) in cases {
            assert_eq!(
                breaker.calls_blocked_until(caller, &tenant.into(), at(40)),
                Some(at(until)),
                "{case}"
            );
        }
        breaker.begin(&3, TimeScale::FULL);
        breaker.end(&3, &of("bank", true), CallOutcome::Fails { retry_after: Some(seconds(20)) }, at(45));
        let mall = breaker.calls_blocked_until(failed(0), &"mall".into(), at(45));
        assert_eq!(mall, Some(at(65)), "the wish of an issuer that knows the account counts for all");
    }

    #[test]
    fn new_accounts_of_however_many_tenants_do_not_keep_one_that_was_accepted_from_its_turn() {
        let mut breaker = everybodys();
        let new = Caller { is_proven: false, ..overdue() };
        let waiting = Caller { failures: 9, ..overdue() };
        let mut probes = 0;
        for now in 0..300 {
            // Whoever makes accounts asks first, each second with another one.
            let tenant: Tenant = format!("hostile-{}", now % 7).into();
            if breaker.calls_blocked_until(new, &tenant, at(now)).is_none() {
                breaker.begin(&100, TimeScale::FULL);
                breaker.end(&100, &of(&tenant, false), FAILS, at(now));
                probes += 1;
            }
            if breaker.calls_blocked_until(waiting, &"bank".into(), at(now)).is_none() {
                assert!(now <= 35, "{now} s, after {probes} probes of others");
                return;
            }
        }
        panic!("never, with {probes} probes of others");
    }

    #[test]
    fn a_server_that_is_not_trusted_by_new_authorities_of_ones_own_opens_no_breaker_of_others() {
        for (mut breaker, opens) in [(CircuitBreaker::of_all(), false), (CircuitBreaker::of_one(), true)] {
            for (who, tenant) in [(1, "shop"), (2, "bank"), (3, "mall")] {
                breaker.end(&who, &of(tenant, false), CallOutcome::Distrusted, at(0));
            }
            assert_eq!(breaker.is_open(), opens);
        }
        let mut breaker = everybodys();
        breaker.begin(&9, TimeScale::FULL);
        breaker.end(&9, &of("mall", false), CallOutcome::Distrusted, at(40));
        let again = breaker.calls_blocked_until(overdue(), &"mall".into(), at(40));
        assert_eq!(again, Some(at(50)), "but a probe that failed is one");
    }

    #[test]
    fn a_probe_that_is_given_up_or_merely_answered_leaves_its_turn_to_the_next() {
        for answered in [false, true] {
            let mut breaker = open();
            breaker.begin(&7, TimeScale::FULL);
            if answered {
                breaker.end(&7, &shop(), CallOutcome::Answers, at(6));
            } else {
                breaker.abandon(&7);
            }
            assert_eq!(held(&breaker, caller(0.5), at(6)), None, "answered: {answered}");
            assert!(breaker.is_open());
        }
    }

    fn verdicts() -> impl Strategy<Value = CallOutcome> {
        let requested_pause = proptest::option::of((0_i64..5_000).prop_map(seconds));
        prop_oneof![
            1 => Just(CallOutcome::Works),
            1 => Just(CallOutcome::Answers),
            4 => requested_pause.prop_map(|retry_after| CallOutcome::Fails { retry_after }),
            2 => Just(CallOutcome::RejectsProven),
        ]
    }

    proptest! {
        #[test]
        fn no_caller_waits_for_more_than_a_minute_and_a_failing_issuer_gets_one_call_at_a_time(
            steps in proptest::collection::vec((0_u32..6, verdicts(), 0_i64..40, any::<bool>()), 1..200),
        ) {
            let mut breaker = CircuitBreaker::of_one();
            let mut now = at(0);
            let mut probes: Vec<u32> = Vec::new();
            for (who, call_outcome, pause, end) in steps {
                now = now.plus(seconds(pause));
                let caller = Caller { place: f64::from(who) / 6.0, ..caller(0.0) };
                let until = held(&breaker, caller, now);
                prop_assert!(until.is_none_or(|until| until.remaining(now) <= seconds(60)));
                if until.is_none() && !probes.contains(&who) {
                    let was_open = breaker.is_open();
                    breaker.begin(&who, TimeScale::FULL);
                    if was_open {
                        prop_assert!(probes.is_empty(), "a second probe");
                        probes.push(who);
                    }
                }
                if end {
                    let ended = probes.pop().unwrap_or(who);
                    let was_open = breaker.is_open();
                    breaker.end(&ended, &shop(), call_outcome, now);
                    if !was_open || !breaker.is_open() {
                        probes.clear();
                    }
                }
            }
            // Once it works, everyone is through within half a minute.
            breaker.end(&9, &shop(), CallOutcome::Works, now);
            prop_assert_eq!(held(&breaker, caller(0.999), now.plus(seconds(30))), None);
        }
    }
}
