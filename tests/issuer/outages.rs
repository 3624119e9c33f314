//! Several accounts at one issuer: when it fails for all, one probes for all; and rejections of one tenant are
//! held against no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use idissuer::account::{Session, Tenant};
use idissuer::core::account::{Next, Strategy};
use idissuer::core::observed::{AccountView, WaitCause};
use idissuer::core::time::Moment;
use idissuer::core::username_password::LoginPair;
use idissuer::ops::clock::Clock as _;
use idissuer_simulator::{DurationRange, Fault, FaultRule, User};
use tokio::time::sleep;

use crate::support::{make_pair, tenant};
use crate::test_process::{MOST_OF_AN_HOUR, TestProcess, address};

const MINUTE: u64 = 60;

struct Party {
    session: Arc<Session>,
    pair: LoginPair,
    tenant: Tenant,
}

impl Party {
    fn view(&self) -> AccountView {
        self.session.view(&self.tenant)
    }

    fn is_newer_than(&self, moment: Moment) -> bool {
        self.view().token.is_some_and(|token| token.validity.issued.is_after(moment))
    }

    /// Asks for a token where one is due, as a credential does that wants one.
    fn work(&self) {
        if matches!(self.view().next, Next::Refresh | Next::Login) {
            self.session.obtain(&self.tenant, Some(self.pair.clone()), false);
        }
    }

    fn rejections(&self) -> u32 {
        self.view().rejections
    }
}

impl TestProcess {
    fn party(&self, tenant: &Tenant, name: &str, password: &str, strategy: Strategy) -> Party {
        let pair = make_pair(name, password);
        let session = self.accounts.open(address(), &pair, name);
        self.join(&session, name, strategy);
        Party { session, pair, tenant: Arc::clone(tenant) }
    }

    /// So many accounts, each with a token that is due for renewal.
    async fn due_parties(&mut self, count: usize, strategy: Strategy) -> Vec<Party> {
        let names: Vec<_> = (0..count).map(|number| format!("user-{number}@example.org")).collect();
        for name in &names {
            self.simulator.set_user(&User::new(name, "secret"));
        }
        let party = |name: &String| self.party(&tenant(), name, "secret", strategy);
        let parties: Vec<_> = names.iter().map(party).collect();
        parties.iter().for_each(Party::work);
        while parties.iter().any(|party| party.view().token.is_none()) {
            self.told.recv().await.unwrap();
        }
        sleep(MOST_OF_AN_HOUR).await;
        parties
    }

    /// Lets time pass; members that have had no token since `wanted` ask when they are due. Returns how many calls
    /// reached the issuer.
    async fn pass(&mut self, parties: &[Party], wanted: Moment, seconds: u64) -> usize {
        let before = self.simulator.calls_since(0).last().map_or(0, |call| call.sequence);
        for _ in 0..seconds * 4 {
            parties.iter().filter(|party| !party.is_newer_than(wanted)).for_each(Party::work);
            sleep(Duration::from_millis(250)).await;
        }
        self.told_by_now();
        self.simulator.calls_since(before).len()
    }

    fn fails(&self, fault: Fault) {
        self.simulator.configure(|personality| personality.faults = vec![FaultRule::new(fault)]);
    }

    fn recovers(&self) {
        self.simulator.configure(|personality| personality.faults.clear());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_issuer_is_probed_by_one_call_at_a_time_and_serves_all_within_two_minutes() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(100, Strategy::Auto).await;
    let wanted = process.clock.now();
    process.fails(Fault::status(503));
    let first = process.pass(&parties, wanted, 3).await;
    assert!(first <= 16, "those that were in flight when it showed, and no more: {first}");
    let view = parties.last().unwrap().view();
    assert_eq!(
        (view.last_failure, view.waits_for),
        (None, Some(WaitCause::IssuerCircuitOpen)),
        "it waits its turn"
    );
    let probes = process.pass(&parties, wanted, 10 * MINUTE).await;
    assert!((20..=25).contains(&probes), "every thirty seconds: {probes}");
    assert!(parties.iter().all(|party| !party.is_newer_than(wanted)));

    process.recovers();
    let calls = process.pass(&parties, wanted, 2 * MINUTE).await;
    assert!(parties.iter().all(|party| party.is_newer_than(wanted)));
    // Those whose refresh token may have been spent by a call that was answered with 503 log in.
    assert_eq!(calls, 100, "one call each");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_rejects_everyone_has_an_outage_and_no_login_is_held_for_it() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(20, Strategy::Login).await;
    let wanted = process.clock.now();
    process.fails(Fault::status(401));
    let calls = process.pass(&parties, wanted, 10 * MINUTE).await;
    assert!((20..=45).contains(&calls), "{calls}");
    assert!(
        parties.iter().all(|party| party.rejections() <= 2),
        "nor is any presented more often than one alone"
    );
    process.recovers();
    process.pass(&parties, wanted, 2 * MINUTE).await;
    assert!(parties.iter().all(|party| party.is_newer_than(wanted) && party.rejections() == 0));
}

#[tokio::test(start_paused = true)]
async fn bad_passwords_that_come_together_are_presented_no_more_often_than_one_alone() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(12, Strategy::Login).await;
    let wanted = process.clock.now();
    let (bad, good) = parties.split_at(4);
    for number in 0..4 {
        process.simulator.set_user(&User::new(&format!("user-{number}@example.org"), "changed"));
    }
    let before = process.simulator.counts().total().logins_rejected;
    process.pass(bad, wanted, 3 * MINUTE).await;
    for party in good {
        process.pass(std::slice::from_ref(party), wanted, 5 * MINUTE).await;
        process.pass(bad, wanted, 2).await;
    }
    assert!(good.iter().all(|party| party.is_newer_than(wanted)));
    let rejected = process.simulator.counts().total().logins_rejected - before;
    assert!(
        rejected <= 4 * (3 + 1),
        "three times each, and once more since others were accepted: {rejected}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_fails_for_most_serves_the_others_before_their_tokens_die() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(60, Strategy::Auto).await;
    let wanted = process.clock.now();
    let (broken, healthy) = parties.split_at(50);
    process.simulator.configure(|personality| {
        let fails =
            |number| FaultRule::new(Fault::status(503)).of_user(&format!("user-{number}@example.org"));
        personality.faults = (0..50).map(fails).collect();
    });
    // From here on the broken ones come first, over and over.
    process.pass(broken, wanted, MINUTE).await;
    process.pass(&parties, wanted, 14 * MINUTE).await;
    let left = healthy.iter().filter(|party| !party.is_newer_than(wanted)).count();
    assert_eq!(left, 0, "of ten");
}

/// After an outage one tenant makes a new account every five seconds, which the issuer has never answered.
#[tokio::test(start_paused = true)]
async fn after_an_outage_neighbours_renew_within_a_minute_despite_new_failing_accounts_of_a_tenant() {
    for hostile_tenants in [1, 3] {
        let mut process = TestProcess::new(|_| ());
        let parties = process.due_parties(5, Strategy::Auto).await;
        let wanted = process.clock.now();
        let is_hostile = |number: u64| format!("hostile-{number}@example.org");
        let fails = |name: String| FaultRule::new(Fault::status(503)).of_user(&name);
        let mut hostile: Vec<Party> = Vec::new();
        let mut served = None;
        process.fails(Fault::status(503));
        for second in 0..20 * MINUTE {
            if second % 5 == 0 {
                let tenant: Tenant = format!("hostile-{}", second / 5 % hostile_tenants).into();
                hostile.push(process.party(&tenant, &is_hostile(second), "secret", Strategy::Auto));
            }
            if second == 10 * MINUTE {
                let faults = (0..20 * MINUTE).map(|number| fails(is_hostile(number))).collect();
                process.simulator.configure(|personality| personality.faults = faults);
            }
            // Those that are new come first, whenever it is anybody's turn.
            hostile.iter().rev().for_each(Party::work);
            process.pass(&parties, wanted, 1).await;
            if parties.iter().all(|party| party.is_newer_than(wanted)) {
                served = Some(second);
                break;
            }
        }
        let served = served.expect("a renewal");
        assert!(served >= 10 * MINUTE, "{served}: while nothing worked");
        assert!(served <= 11 * MINUTE, "{hostile_tenants}: {} s after the outage", served - 10 * MINUTE);
    }
}

#[tokio::test(start_paused = true)]
async fn two_accounts_whose_passwords_changed_are_no_outage_and_held_as_any() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(5, Strategy::Login).await;
    let wanted = process.clock.now();
    for number in 0..2 {
        process.simulator.set_user(&User::new(&format!("user-{number}@example.org"), "changed"));
    }
    process.pass(&parties, wanted, 20 * MINUTE).await;
    assert_eq!(parties.iter().map(Party::rejections).collect::<Vec<_>>(), [3, 3, 0, 0, 0]);
    assert!(parties[2..].iter().all(|party| party.is_newer_than(wanted)));
}

#[tokio::test(start_paused = true)]
async fn new_wrong_passwords_of_one_user_get_four_attempts_an_hour_and_affect_no_other_tenant() {
    let mut process = TestProcess::new(|_| ());
    let name = "user@example.org";
    process.simulator.set_user(&User::new(name, "secret"));
    let (wrong, other): (Tenant, Tenant) = ("wrong".into(), "other".into());
    let wanted = process.clock.now();
    for attempt in 0..20 {
        let party = process.party(&wrong, name, &format!("guess {attempt}"), Strategy::Auto);
        process.pass(&[party], wanted, 10).await;
    }
    assert_eq!(process.simulator.counts().of(name).logins_rejected, 4);
    let right = process.party(&wrong, name, "secret", Strategy::Auto);
    assert!(matches!(right.view().waits_for, Some(WaitCause::LoginRateLimited { .. })), "{:?}", right.view());
    let neighbour = process.party(&other, name, "another guess", Strategy::Auto);
    process.pass(&[neighbour], wanted, 10).await;
    assert_eq!(process.simulator.counts().of(name).logins_rejected, 5, "another tenant has its own four");
    let neighbour = process.party(&other, name, "secret", Strategy::Auto);
    process.pass(std::slice::from_ref(&neighbour), wanted, 10).await;
    assert!(neighbour.is_newer_than(wanted));
    assert!(right.is_newer_than(wanted), "it is the same account, which is proven now");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_may_do_by_now_is_not_sent_any_more() {
    let mut process = TestProcess::new(|_| ());
    let parties = process.due_parties(20, Strategy::Auto).await;
    process.simulator.configure(|personality| {
        personality.latency.refresh = DurationRange::fixed(Duration::from_secs(1));
    });
    let before = process.simulator.calls_since(0).len();
    parties.iter().for_each(Party::work);
    sleep(Duration::from_millis(500)).await;
    process.may_call.store(false, Ordering::Release);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        process.simulator.calls_since(0).len() - before,
        14,
        "the gate's fourteen of one tenant, and none of those who waited"
    );
    assert!(
        parties[14..].iter().all(|party| party.view().next == Next::Refresh),
        "their tokens are as good as before"
    );
}
