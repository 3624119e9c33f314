use super::super::account::{Strategy, Throttle};
use super::super::testing::{BILLING, OTHER, TestWorld, at, obtained, own, rejected, seconds, transient};
use super::*;
use crate::core::account::{Account, RefreshSupport};
use crate::core::conditions::Condition;
use crate::core::login_attempts::RejectionKind;
use crate::core::object_name::NamespacedName;
use crate::core::retry::Sent;
use crate::core::sharing::Followers;
use crate::core::username_password::LoginError;

const KEEPER: &str = "idissuer/operator";

type Change<T> = fn(&mut T);

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
    world.edit_login(Err(Reason::LoginSecretMissing { secret: "billing-login".into() }));
    world.act(world.decide());
    let missing = report_on(&world, StatusTrigger::Rest, world.now);
    assert_eq!(events(&missing), [("LoginSecretMissing", false)], "as bad, for another reason");
    for key in ["username", "password"] {
        let defect = LoginError::Missing;
        let unusable =
            Reason::LoginSecretUnusable { secret: "billing-login".into(), key: key.into(), defect };
        world.edit_login(Err(unusable));
        world.act(world.decide());
        let report = report_on(&world, StatusTrigger::Rest, world.now);
        assert_eq!(events(&report), [("LoginSecretKeyMissing", false)], "another slip: {key}");
        world.settle();
        assert!(events(&report_on(&world, StatusTrigger::Rest, world.now)).is_empty(), "it was told: {key}");
    }
    let mut world = TestWorld::new();
    world.settle();
    world.answer(Ok(obtained("first", at(0), 3600)));
    let plan = world.decide();
    world.act(plan);
    assert_eq!(events(&report_on(&world, StatusTrigger::Rest, world.now)), [("TokenPublished", true)]);
}

#[test]
fn an_event_tells_once_that_a_requested_renewal_was_carried_out_or_is_attempted() {
    let message = |report: &Report| report.events.iter().map(|it| it.reason.message()).collect::<Vec<_>>();
    let mut world = TestWorld::published();
    world.now = at(600);
    world.request_renewal(at(600));
    world.settle();
    assert!(message(&report_on(&world, StatusTrigger::Rest, world.now)).is_empty(), "not yet");
    let attempt = message(&report_on(&world, StatusTrigger::Attempt, world.now));
    assert!(attempt[0].contains("attempts one login"), "{attempt:?}");
    world.answer(Ok(obtained("second", world.now, 3600)));
    let plan = world.decide();
    world.act(plan);
    let done = report_on(&world, StatusTrigger::Rest, world.now);
    assert_eq!(events(&done), [("RenewRequestHandled", true)]);
    assert!(message(&done)[0].contains("is done"), "{:?}", message(&done));
    world.settle();
    assert!(events(&report_on(&world, StatusTrigger::Rest, world.now)).is_empty(), "it was told");
}

#[test]
fn status_keeps_what_an_earlier_process_learned_of_refreshes_until_this_one_has_learned_it() {
    let mut world = TestWorld::published();
    let support = |world: &TestWorld| report_on(world, StatusTrigger::Rest, world.now).status.refresh_support;
    assert_eq!(support(&world), Some(RefreshSupport::Unknown));
    world.known.status.refresh_support = Some(RefreshSupport::Refused);
    assert_eq!(support(&world), Some(RefreshSupport::Refused));
}

#[test]
fn status_has_followers_while_there_are_any() {
    let mut world = TestWorld::published();
    let count = |world: &TestWorld| {
        let status = report_on(world, StatusTrigger::Rest, world.now).status;
        status.followers.map(|followers| followers.count)
    };
    for (followers, shown) in [(0, None), (2, Some(2))] {
        world.followers = Some(Followers { count: followers, names: Vec::new() });
        assert_eq!(count(&world), shown);
    }
    world.known.status.followers = world.followers.take();
    assert_eq!(count(&world), Some(2), "nobody has counted them yet");
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
    if let Some(login) = &mut world.known.status.login {
        login.attempts.rejection = None;
    }
    world.restart();
    world.settle();
    assert_eq!(kind(&world), Some(RejectionKind::Rejected), "and where an older version did not record it");
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
fn a_token_proves_the_login_that_this_process_obtained_it_with_and_a_followed_one_proves_none() {
    let mut world = TestWorld::published();
    assert_eq!(world.known.obtained_from(), Some(BILLING));
    let followed = AccountReference::Followed(NamespacedName::new("platform", "billing"));
    let own = world.spec.as_ref().unwrap().account.clone();
    for (account, expected) in [(followed, None), (own, Some(OTHER))] {
        let token = obtained(&format!("{expected:?}").replace(' ', ""), at(9), 3600).token;
        let origin = TokenOrigin { account: Some(account), key: Some(OTHER), owner_uid: None };
        let version = ObjectVersion { uid: "t".into(), resource_version: "9".into() };
        world.known.on_target_written(&token, origin, 1, version, at(9));
        assert_eq!(world.known.obtained_from(), expected);
    }
}

#[test]
fn a_call_is_reported_after_its_third_failure_in_a_row() {
    let mut known = Credential::default();
    for expected in [false, false, true, true] {
        known.on_call_failed("patch Secret shop/billing".into(), "no answer");
        assert_eq!(known.failing_call().is_some(), expected);
    }
    known.on_calls_succeeded();
    assert_eq!(known.failing_call(), None);
}

#[test]
fn an_answer_that_differs_from_call_to_call_is_written_at_most_once_in_five_minutes() {
    let mut world = TestWorld::published();
    let fail = |world: &mut TestWorld, port: u32| {
        let answer = format!("failed calling webhook: read from port {port}: connection reset");
        world.known.on_call_failed("patch Secret shop/billing".into(), &answer);
    };
    (0..3).for_each(|port| fail(&mut world, port));
    let report = report_on(&world, StatusTrigger::Failure, world.now);
    assert!(report.is_news, "a first time");
    world.known.on_status_written(report.status, false, world.now);
    fail(&mut world, 3);
    assert!(!report_on(&world, StatusTrigger::Failure, world.now).is_news, "another port");
    let later = world.now.plus(seconds(300));
    assert!(
        report_on(&world, StatusTrigger::Failure, later).is_news,
        "the text of today, after five minutes"
    );
}

#[test]
fn a_refused_write_waits_longer_each_time_and_is_nothing_to_another_generation() {
    let mut world = TestWorld::published();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let (reason, half) =
            (Reason::target_write_refused("billing-token".into(), "denied"), RandomFraction::new(0.5));
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
    assert_eq!(world.known.pace(), Some(TimeScale::FULL));
    world.known.reset();
    assert!(pause.is_some() && world.known.published().is_none() && world.known.pace().is_none());
    assert_eq!(world.known.status_write_pause(None, world.now), pause);
}

#[test]
fn a_status_is_put_off_after_many_writes_of_the_credential_or_its_namespace_and_left_alone_after_repairs() {
    let mut known = Credential::default();
    assert!(!known.puts_status_off(None, at(0)) && known.status_pause().is_none());
    assert!(known.puts_status_off(Some(at(9)), at(0)));
    assert_eq!(known.status_pause(), Some(at(9)));
    known.end_status_pause();
    assert_eq!(known.status_pause(), None);
    for number in 0..20 {
        assert_eq!(known.status_repair_pause().is_some(), number >= 3, "{number}");
        known.on_status_written(Status::default(), true, at(0));
    }
    assert!(known.puts_status_off(None, at(0)));
}

#[test]
fn a_target_waits_after_many_writes_unless_the_process_stops_and_after_repairs() {
    let mut world = TestWorld::published();
    for _ in 0..20 {
        world.known.writes.target.made(at(0));
        world.known.on_target_repaired(at(0));
    }
    for is_stopping in [false, true] {
        let inputs = Inputs {
            identity: &world.identity,
            generation: 1,
            generation_since: at(0),
            spec: world.spec.as_ref(),
            login_seen: &world.login_seen,
            login: Login::Unread,
            is_login_at_hand: false,
            is_wanted_by_followers: false,
            followers: None,
            owner_uid: None,
            reads_namespace_labels: true,
            target_seen: &world.target_seen,
            namespace_pause: Some(at(9)),
            is_stopping,
        };
        let observed = world.known.observe(inputs, at(0));
        assert_eq!(observed.target_pause.is_none(), is_stopping);
        assert_eq!(observed.namespace_pause.is_none(), is_stopping);
        assert!(observed.repair_pause.is_some());
    }
}

#[test]
fn a_refused_write_is_explained_by_a_target_that_cannot_be_changed() {
    let mut world = TestWorld::published();
    let explains = |world: &mut TestWorld| {
        world.known.on_target_read(world.target.clone());
        world.known.explains_refusal(&world.identity, &world.spec.as_ref().unwrap().target)
    };
    assert!(!explains(&mut world));
    world.edit_target(|target| target.immutable = true);
    assert!(explains(&mut world));
}

#[test]
fn a_specification_counts_as_observed_when_nothing_is_left_to_do_for_it() {
    let mut world = TestWorld::published();
    world.edit_spec(|spec| spec.target.owned = false);
    for (trigger, generation) in [(StatusTrigger::Failure, 1), (StatusTrigger::Rest, 2)] {
        let status = report_on(&world, trigger, world.now).status;
        assert_eq!(status.observed_generation, Some(generation), "{trigger:?}");
    }
}

#[test]
fn a_resource_that_cannot_be_read_keeps_its_status_but_for_the_conditions() {
    let before = TestWorld::published().known.status().clone();
    let status = before.clone().malformed(2, "other", at(9).wall);
    let conditions = status.conditions.iter().map(|it| (&*it.type_, &*it.status));
    let expected = [("Ready", "False"), ("Stalled", "True"), ("LoginAccepted", "True")];
    assert_eq!(conditions.collect::<Vec<_>>(), expected);
    assert_eq!((status.observed_generation, status.controller.as_deref()), (Some(2), Some("other")));
    assert_eq!((&status.token, &status.login), (&before.token, &before.login));
    let mut known = Credential::default();
    known.keep("another");
    assert_eq!(known.status().controller.as_deref(), Some("another"));
}

#[test]
fn a_status_is_ready_for_a_generation_if_it_and_its_condition_speak_of_it() {
    let status = TestWorld::published().known.status().clone();
    assert!(status.is_ready(1) && !status.is_ready(2));
    let mut other = status.clone();
    other.observed_generation = Some(2);
    assert!(!other.is_ready(2) && !other.is_ready(1), "the condition is older");
    let unready = |it: &mut Condition| it.status = "False".into();
    other = status;
    other.conditions.iter_mut().for_each(unready);
    assert!(!other.is_ready(1));
}

#[test]
fn an_attempt_that_is_recorded_counts_as_rejected_until_it_is_answered() {
    let mut world = TestWorld::new();
    let rejections = |world: &TestWorld, trigger| {
        report_on(world, trigger, world.now).status.login.map(|login| login.attempts.rejections)
    };
    world.settle();
    assert_eq!(rejections(&world, StatusTrigger::Rest), Some(1), "under way");
    let mut queued = TestWorld::new();
    queued.settle();
    queued.known.on_attempt_queued(queued.now);
    assert_eq!(rejections(&queued, StatusTrigger::Rest), Some(0), "not recorded yet");
    assert_eq!(rejections(&queued, StatusTrigger::Attempt), Some(1), "to be recorded");
    world.answer(Err(transient(Sent::Maybe, None)));
    assert_eq!(rejections(&world, StatusTrigger::Rest), Some(0), "answered");
}

#[test]
fn status_speaks_of_another_login_once_that_was_presented() {
    let make: [(&str, Change<Account>, bool); 4] = [
        ("never presented", |_| (), false),
        ("accepted before", |account| account.remember_accepted(at(0)), true),
        ("rejected before", |account| account.remember_rejections(rejected(), 1, at(0)), true),
        (
            "presented without an answer",
            |account| {
                let pair = super::super::testing::pair();
                let call = account.begin(Strategy::Auto, Some(pair), at(0)).unwrap();
                account.finish(call, Err(transient(Sent::Maybe, None)), at(0), RandomFraction::new(0.5));
            },
            true,
        ),
    ];
    for (case, make, is_presented) in make {
        let mut world = TestWorld::published();
        make(world.account(OTHER));
        world.edit_login(Ok(OTHER));
        world.act(world.decide());
        let before = world.known.status().login.clone().unwrap();
        let login = report_on(&world, StatusTrigger::Rest, world.now).status.login.unwrap();
        assert_eq!(login.resource_version != before.resource_version, is_presented, "{case}");
        let was_accepted = !is_presented || case == "accepted before";
        assert_eq!(login.attempts.accepted.is_some(), was_accepted, "{case}");
    }
    let mut world = TestWorld::published();
    let before = world.known.status().login.clone().unwrap();
    world.accounts.clear();
    world.edit_login(Ok(BILLING));
    world.act(world.decide());
    let login = report_on(&world, StatusTrigger::Rest, world.now).status.login.unwrap();
    let seen = world.login_seen.version().map(|version| version.resource_version.clone());
    assert_eq!(login.resource_version, seen, "another version of the same login");
    assert!(login.attempts.accepted.is_some());
    assert!(before.attempts.attempted.is_some());
    assert_eq!(login.attempts.attempted, before.attempts.attempted, "what is known of it stays");
}

#[test]
fn an_acceptance_stands_under_another_specification_if_that_names_the_same_account() {
    let edits: [(Change<CredentialSpec>, bool); 2] =
        [(|spec| spec.target.owned = false, true), (|spec| own(spec).login.secret = "other".into(), false)];
    for (edit, stands) in edits {
        let mut world = TestWorld::published();
        world.restart();
        world.edit_spec(edit);
        let login = report_on(&world, StatusTrigger::Rest, world.now).status.login.unwrap();
        assert_eq!(login.attempts.accepted.is_some(), stands);
    }
}

#[test]
fn what_status_remembers_of_a_login_is_restored_once_for_the_limit_and_once_for_the_account() {
    let is_accepted =
        |world: &TestWorld| world.known.is_accepted(world.spec.as_ref().unwrap(), &world.login_seen);
    let mut world = TestWorld::new();
    world.settle();
    world.answer(Err(rejected()));
    world.settle();
    world.restart();
    assert_eq!(world.known.restore_stage(), RestoreStage::None);
    for expected in [Some((1, at(0))), None] {
        let now = world.now;
        let found = world.known.rejections_for_limit(now).map(|(count, last)| (count, last.wall));
        assert_eq!(found, expected.map(|(count, last)| (count, last.wall)));
        assert_eq!(world.known.restore_stage(), RestoreStage::Limit);
    }
    world.settle();
    assert!(world.known.restore_stage() == RestoreStage::Account && !is_accepted(&world));
    world.restart();
    world.edit_login(Ok(OTHER));
    world.act(world.decide());
    assert_eq!(world.known.login_record(None).rejection, Rejection::PerhapsRepaired);
    let mut world = TestWorld::published();
    world.restart();
    assert_eq!(world.known.rejections_for_limit(world.now), None);
    assert!(is_accepted(&world));
    world.edit_login(Ok(BILLING));
    assert!(!is_accepted(&world), "of another version of the Secret");
    world.act(world.decide());
    assert_eq!(world.known.login_record(None).rejection, Rejection::None, "there is nothing to repair");
}
