use super::super::account::{Strategy, Throttle};
use super::super::testing::{TestWorld, at, obtained, rejected, seconds, transient};
use super::*;
use crate::core::account::Account;
use crate::core::login_attempts::RejectionKind;
use crate::core::retry::Sent;

const KEEPER: &str = "idissuer/operator";

fn report_on(world: &TestWorld, trigger: StatusTrigger, now: Moment) -> Report {
    let request = ReportRequest { trigger, renew_request: world.request.as_deref(), controller: KEEPER };
    world.known.report(&world.observe(), request, now)
}

fn events(report: &Report) -> Vec<(&'static str, bool)> {
    report.events.iter().map(|event| (event.reason.name(), event.is_normal)).collect()
}

#[test]
fn a_report_is_written_once_and_again_only_when_it_says_something_new() {
    let mut world = TestWorld::published();
    assert!(!report_on(&world, StatusTrigger::Rest, world.now).is_news, "it was just written");
    assert!(report_on(&world, StatusTrigger::Attempt, world.now).is_news, "a record of an attempt always is");
    world.now = at(2700);
    world.settle();
    world.answer(Err(transient(Sent::Maybe, None)));
    assert!(report_on(&world, StatusTrigger::Rest, world.now).is_news, "a first failure");
    world.settle();
    world.now = world.now.plus(seconds(60));
    world.settle();
    world.answer(Err(transient(Sent::Maybe, None)));
    assert!(!report_on(&world, StatusTrigger::Rest, world.now).is_news, "one more of the same");
    let later = world.now.plus(seconds(300));
    assert!(report_on(&world, StatusTrigger::Rest, later).is_news, "their number, after five minutes");
}

#[test]
fn events_tell_what_changed_and_nothing_of_work_that_goes_on() {
    let mut world = TestWorld::new();
    let first = report_on(&world, StatusTrigger::Rest, world.now);
    assert!(events(&first).is_empty(), "Issuing");
    world.settle();
    world.answer(Err(rejected()));
    let rejection = report_on(&world, StatusTrigger::Rest, world.now);
    assert_eq!(events(&rejection), [("LoginRejected", false)], "Ready and Stalled have one reason");
    world.settle();
    assert!(events(&report_on(&world, StatusTrigger::Rest, world.now)).is_empty(), "it was told");
    let mut world = TestWorld::new();
    world.settle();
    world.answer(Ok(obtained("first", at(0), 3600)));
    let plan = world.decide();
    world.act(plan);
    assert_eq!(events(&report_on(&world, StatusTrigger::Rest, world.now)), [("TokenPublished", true)]);
}

#[test]
fn status_says_how_a_login_was_rejected_until_one_is_accepted() {
    let kind =
        |world: &TestWorld| world.known.status().login.as_ref().and_then(|login| login.attempts.rejection);
    let mut world = TestWorld::new();
    world.settle();
    assert_eq!(kind(&world), None);
    world.answer(Err(rejected()));
    world.settle();
    assert_eq!(kind(&world), Some(RejectionKind::Rejected));
    world.restart();
    world.settle();
    assert_eq!(kind(&world), Some(RejectionKind::Rejected), "also after a restart");
    world.now = world.now.plus(seconds(300));
    world.settle();
    world.answer(Ok(obtained("first", world.now, 3600)));
    world.settle();
    assert_eq!(kind(&world), None);
}

#[test]
fn a_rejection_needs_a_new_record_and_so_does_an_attempt_that_never_had_its_turn() {
    let (mut known, mut account) = (Credential::default(), Account::default());
    let view = |account: &Account, now| {
        AccountView::of(AccountKey([1; 32]), account, Throttle::default(), Strategy::Auto, now)
    };
    known.on_attempt_queued(at(0));
    assert!(known.is_just_queued(at(0)) && !known.is_just_queued(at(1)));
    let call = account.begin(Strategy::Auto, Some(super::super::testing::pair()), at(0)).unwrap();
    assert!(!known.is_attempt_recorded(&view(&account, at(0))));
    known.on_attempt_recorded(account.rejections());
    assert!(!known.is_just_queued(at(0)));
    assert!(known.is_attempt_recorded(&view(&account, at(0))));
    account.finish(call, Err(rejected()), at(1), RandomFraction::new(0.5));
    assert!(!known.is_attempt_recorded(&view(&account, at(1))), "each rejection needs one");
    let call = account.begin(Strategy::Auto, Some(super::super::testing::pair()), at(301)).unwrap();
    known.on_attempt_recorded(account.rejections());
    account.withdraw(call);
    assert!(!known.is_attempt_recorded(&view(&account, at(301))), "it was taken back");
}

#[test]
fn a_request_is_known_since_it_was_first_seen_until_it_is_handled() {
    let mut known = Credential::default();
    let since = |known: &Credential| known.renew_request.as_ref().map(|(_, since)| *since);
    let cases = [(Some("a"), 1, Some(1)), (Some("a"), 2, Some(1)), (Some("b"), 3, Some(3)), (None, 4, None)];
    for (request, now, expected) in cases {
        known.update_renew_request(request, at(now));
        assert_eq!(since(&known), expected.map(at), "{request:?}");
    }
    known.status.last_handled_renew_request = Some("c".into());
    known.update_renew_request(Some("c"), at(5));
    assert_eq!(since(&known), None);
}

#[test]
fn a_call_that_fails_is_told_at_the_third_time_in_a_row() {
    let mut known = Credential::default();
    for expected in [false, false, true, true] {
        known.on_call_failed("patch Secret shop/billing".into());
        assert_eq!(known.failing_call().is_some(), expected);
    }
    known.on_calls_succeeded();
    assert_eq!(known.failing_call(), None);
}

#[test]
fn a_refused_write_waits_longer_each_time_and_is_nothing_to_another_generation() {
    let mut world = TestWorld::published();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let (reason, half) =
            (Reason::TargetWriteRefused { secret: "billing-token".into() }, RandomFraction::new(0.5));
        world.known.on_write_refused(reason, world.generation, TimeScale::FULL, world.now, half);
        let (_, until) = world.observe().write_pause.unwrap();
        pauses.push(until.remaining(world.now));
    }
    assert!(pauses.is_sorted() && pauses[0] < pauses[2], "{pauses:?}");
    world.generation += 1;
    assert!(world.observe().write_pause.is_none());
}

#[test]
fn a_token_of_a_process_whose_clock_was_behind_is_as_old_as_it_is() {
    let status = TestWorld::published().known.status().clone();
    for (behind, left) in [(0, 3600 - 60), (600, 3600 - 60 - 600)] {
        let mut known = Credential::default();
        known.load(status.clone(), 1, None, seconds(behind), at(60));
        let expiry = known.published().map(|published| published.validity.expiry().remaining(at(60)));
        assert_eq!(expiry, Some(seconds(left)), "{behind}");
    }
}

#[test]
fn a_reset_forgets_everything_but_what_was_written() {
    let mut world = TestWorld::published();
    for _ in 0..30 {
        let status = world.known.status().clone();
        world.known.on_status_written(status, false, world.now);
    }
    let pause = world.known.status_write_pause(None, world.now);
    world.known.reset();
    assert!(pause.is_some() && world.known.published().is_none());
    assert_eq!(world.known.status_write_pause(None, world.now), pause);
}
