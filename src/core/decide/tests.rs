use super::super::account::RefreshSupport;
use super::super::account::{Strategy, Throttle};
use super::super::observed::LastSeen;
use super::super::observed::Published;
use super::super::reason::Reason;
use super::super::retry::Sent;
use super::super::schedule::RenewBefore;
use super::super::target::ControllerOwner;
use super::super::testing::{
    BILLING, OTHER, TestWorld, at, name, obtained, own, refused, rejected, seconds, token, transient,
};
use super::super::token::Grant;
use super::*;

/// When the first token of [`TestWorld::published`] is to be renewed.
const DUE: i64 = 2700;

fn published_at(now: i64) -> TestWorld {
    let mut world = TestWorld::published();
    world.now = at(now);
    world
}

/// A world in which the login was rejected so often that it is held.
fn held() -> TestWorld {
    let mut world = TestWorld::new();
    for pause in [300, 600, 0] {
        world.settle();
        world.answer(Err(rejected()));
        world.pass(seconds(pause));
    }
    world
}

/// A world in which status remembers a login that another process found rejected.
fn held_and_restarted() -> TestWorld {
    let mut world = held();
    world.settle();
    world.restart();
    world
}

fn missing_login() -> Reason {
    Reason::LoginSecretMissing { secret: "billing-login".into() }
}

/// A situation, and the steps until the decision is to rest.
type Case = (&'static str, TestWorld, &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (case, mut world, steps) in cases {
        assert_eq!(world.settle(), steps, "{case}");
        assert_eq!(name(&world.decide()), "Rest", "{case}, decided again");
    }
}

fn with(mut world: TestWorld, change: impl FnOnce(&mut TestWorld)) -> TestWorld {
    change(&mut world);
    world
}

#[test]
fn a_first_token_costs_one_look_at_the_login_and_one_recorded_attempt() {
    check(vec![
        ("nothing there yet", TestWorld::new(), &["ReadLogin", "Record, Obtain"]),
        (
            "the target's state is not known",
            with(TestWorld::new(), |world| world.target_seen = LastSeen::Unknown),
            &["ReadTarget", "ReadLogin", "Record, Obtain"],
        ),
        ("a stranger stands there", with(TestWorld::new(), TestWorld::put_stranger), &["ReadTarget"]),
        (
            "the answer came",
            with(TestWorld::new(), |world| {
                world.settle();
                world.answer(Ok(obtained("first", at(0), 3600)));
            }),
            &["Publish"],
        ),
        (
            "it failed in passing",
            with(TestWorld::new(), |world| {
                world.settle();
                world.answer(Err(transient(Sent::Maybe, None)));
            }),
            &[],
        ),
        (
            "it failed in passing, and the pause is over: one record covers the retries",
            with(TestWorld::new(), |world| {
                world.settle();
                world.answer(Err(transient(Sent::Maybe, None)));
                world.pass(seconds(5));
            }),
            &["ReadLogin", "Obtain"],
        ),
        ("rejected", held(), &[]),
        (
            "the login Secret does not exist",
            with(TestWorld::new(), |world| {
                world.login_seen = LastSeen::Absent;
                world.login_holds = Err(missing_login());
            }),
            &["ReadLogin"],
        ),
        ("suspended", with(TestWorld::new(), |world| world.edit_spec(|spec| spec.suspended = true)), &[]),
        (
            "a specification that cannot be carried out",
            with(TestWorld::new(), |world| world.spec = Err(Reason::InvalidSpec { field: "spec" })),
            &[],
        ),
        (
            "another credential has a token of this account",
            with(TestWorld::new(), |world| world.renew_by_another_member(BILLING, "shared", 3600)),
            &["ReadLogin", "Publish"],
        ),
        (
            "another credential proved this login",
            with(TestWorld::new(), |world| {
                world.renew_by_another_member(BILLING, "dead", 10);
                world.pass(seconds(10));
            }),
            &["ReadLogin", "Obtain"],
        ),
    ]);
}

#[test]
fn a_renewal_refreshes_and_logs_in_where_a_refresh_is_refused() {
    let is_refresh = |world: &TestWorld| world.calls[0].1.grant() == Grant::Refresh;
    let mut world = published_at(DUE - 1);
    let Plan::Rest { until } = world.decide() else { panic!() };
    assert_eq!(until, Some(at(DUE)));
    world.now = at(DUE);
    assert_eq!(world.settle(), ["Obtain"]);
    assert!(is_refresh(&world));
    assert!(world.settle().is_empty(), "in flight");
    world.answer(Err(refused()));
    assert_eq!(world.settle(), ["ReadLogin", "Obtain"], "at once");
    assert!(!is_refresh(&world));
    world.answer(Ok(obtained("second", at(DUE), 3600)));
    assert_eq!(world.settle(), ["Publish"]);
    assert_eq!(world.published_text(), "second");
    let Plan::Rest { until } = world.decide() else { panic!() };
    assert_eq!(until, Some(at(DUE + 2700)));

    world.edit_spec(|spec| spec.strategy = Strategy::Login);
    assert_eq!(world.settle(), ["Publish"], "rendered for the new generation");
    world.now = at(DUE + 2700);
    assert_eq!(world.settle(), ["ReadLogin", "Obtain"]);
    assert!(!is_refresh(&world), "strategy Login");
}

#[test]
fn a_published_token_is_left_alone_until_something_asks_for_another() {
    let template_change = |world: &mut TestWorld| world.edit_spec(|spec| spec.target.owned = false);
    check(vec![
        ("fresh", published_at(60), &[]),
        (
            "waiting between retries, and then past them",
            with(published_at(DUE), |world| {
                world.settle();
                world.answer(Err(transient(Sent::No, None)));
            }),
            &[],
        ),
        (
            "due and suspended",
            with(published_at(DUE), |world| world.edit_spec(|spec| spec.suspended = true)),
            &[],
        ),
        (
            "due, and the login is gone",
            with(published_at(DUE), |world| world.edit_login(Err(missing_login()))),
            &["ReadLogin"],
        ),
        (
            "due, and the API server refuses writes",
            with(published_at(DUE), |world| {
                world.refuse_writes(at(DUE + 5));
            }),
            &[],
        ),
        (
            "due, and the pause of writes is over",
            with(published_at(DUE), |world| {
                world.refuse_writes(at(DUE));
            }),
            &["Obtain"],
        ),
        (
            "another credential renewed the account",
            with(published_at(DUE - 9), |world| {
                world.renew_by_another_member(BILLING, "shared", 3600);
            }),
            &["Publish"],
        ),
        (
            "the account's newer token is dead already",
            with(published_at(DUE - 9), |world| {
                world.renew_by_another_member(BILLING, "shared", 1);
                world.pass(seconds(1));
            }),
            &[],
        ),
        ("template changed, token in memory", with(published_at(60), template_change), &["Publish"]),
        (
            "template changed in a pause of repairs",
            with(published_at(60), |world| {
                world.repair_pause = Some(at(99));
                template_change(world);
            }),
            &["Publish"],
        ),
        (
            "template changed, and the renewal is due",
            with(published_at(DUE), template_change),
            &["Obtain", "Publish"],
        ),
        ("template changed, but the token is dead", with(published_at(3600), template_change), &["Obtain"]),
    ]);
}

#[test]
fn a_login_that_changed_is_read_and_only_another_account_costs_a_login() {
    check(vec![
        ("metadata edited", with(published_at(60), |world| world.edit_login(Ok(BILLING))), &["ReadLogin"]),
        (
            "another account",
            with(published_at(60), |world| world.edit_login(Ok(OTHER))),
            &["ReadLogin", "Record, Obtain"],
        ),
        (
            "another account, which has a token that is older than the published one",
            with(TestWorld::new(), |world| {
                world.renew_by_another_member(OTHER, "older", 3600);
                world.pass(seconds(60));
                world.settle();
                world.answer(Ok(obtained("younger", at(60), 3600)));
                world.settle();
                assert_eq!(world.published_text(), "younger");
                world.edit_login(Ok(OTHER));
            }),
            &["ReadLogin", "Publish"],
        ),
        ("broken", with(published_at(60), |world| world.edit_login(Err(missing_login()))), &["ReadLogin"]),
        (
            "broken and repaired",
            with(published_at(60), |world| {
                world.edit_login(Err(missing_login()));
                world.settle();
                world.edit_login(Ok(BILLING));
            }),
            &["ReadLogin"],
        ),
        (
            "another Secret with the same login",
            with(published_at(60), |world| {
                world.edit_spec(|spec| own(spec).login.secret = "moved".into());
            }),
            &["ReadLogin", "Publish"],
        ),
        (
            "a rejected login is replaced",
            with(held(), |world| world.edit_login(Ok(OTHER))),
            &["ReadLogin", "Record, Obtain"],
        ),
    ]);
}

#[test]
fn a_login_that_was_repaired_while_no_process_ran_is_attempted_also_if_the_next_process_ends_before_its_turn()
{
    let mut world = held();
    world.settle();
    world.edit_login(Ok(OTHER));
    world.restart();
    world.throttle.calls = Some(world.now.plus(seconds(60)));
    assert_eq!(world.settle(), ["ReadLogin"], "the circuit is open");
    world.restart();
    world.throttle = Throttle::default();
    assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"]);
}

#[test]
fn a_restart_with_a_fresh_token_reads_nothing_and_asks_nothing() {
    check(vec![
        ("fresh", with(published_at(60), TestWorld::restart), &[]),
        ("renewal due", with(published_at(DUE), TestWorld::restart), &["ReadLogin", "Obtain"]),
        (
            "deleted meanwhile",
            with(published_at(60), |world| {
                world.restart();
                world.delete_target();
            }),
            &["ReadLogin", "Obtain"],
        ),
        (
            "labels stripped meanwhile",
            with(published_at(60), |world| {
                world.restart();
                world.edit_target(|_| ());
            }),
            &["ReadTarget", "PublishReadBack"],
        ),
        (
            "token overwritten meanwhile",
            with(published_at(60), |world| {
                world.restart();
                world.edit_target(|target| target.token = Some(token("forged", at(0), 3600).access));
            }),
            &["ReadTarget", "ReadLogin", "Obtain"],
        ),
        (
            "a stranger's meanwhile",
            with(published_at(60), |world| {
                world.restart();
                world.put_stranger();
            }),
            &["ReadTarget"],
        ),
        (
            "login Secret edited meanwhile",
            with(published_at(60), |world| {
                world.restart();
                world.edit_login(Ok(BILLING));
            }),
            &["ReadLogin", "Record, Obtain"],
        ),
        (
            "specification edited meanwhile: it may name another account",
            with(published_at(60), |world| {
                world.edit_spec(|spec| spec.target.owned = false);
                world.restart();
            }),
            &["ReadLogin", "Record, Obtain", "ReadTarget", "PublishReadBack"],
        ),
        (
            "specification edited meanwhile, while no login is possible",
            with(published_at(60), |world| {
                world.edit_spec(|spec| spec.target.owned = false);
                world.restart();
                world.login_holds = Err(missing_login());
            }),
            &["ReadLogin", "ReadTarget", "PublishReadBack"],
        ),
        (
            "status lost",
            with(published_at(60), |world| {
                world.restart();
                world.lose_status();
            }),
            &["ReadTarget", "ReadLogin", "Record, Obtain"],
        ),
    ]);
}

#[test]
fn a_specification_that_names_another_issuer_has_its_first_attempt_recorded() {
    let mut world = published_at(60);
    world.login_holds = Ok(OTHER);
    world.edit_spec(|spec| own(spec).login.username_key = "mail".into());
    let steps = world.settle();
    assert_eq!(steps[..2], ["ReadLogin", "Record, Obtain"]);
    assert_eq!(steps[2..], ["ReadTarget", "PublishReadBack"], "rendered anew meanwhile");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_somebody_changed_is_put_back_without_asking_the_issuer() {
    check(vec![
        ("deleted", with(published_at(60), TestWorld::delete_target), &["Publish to repair"]),
        (
            "edited in what is not ours",
            with(published_at(60), |world| world.edit_target(|target| target.intact = true)),
            &["ReadTarget"],
        ),
        (
            "edited",
            with(published_at(60), |world| world.edit_target(|_| ())),
            &["ReadTarget", "Publish to repair"],
        ),
        (
            "edited again and again",
            with(published_at(60), |world| {
                world.edit_target(|_| ());
                world.repair_pause = Some(at(61));
            }),
            &["ReadTarget"],
        ),
        (
            "edited again and again, and the pause is over",
            with(published_at(60), |world| {
                world.edit_target(|_| ());
                world.repair_pause = Some(at(60));
            }),
            &["ReadTarget", "Publish to repair"],
        ),
        (
            "deleted in a pause of repairs when the renewal is due",
            with(published_at(DUE), |world| {
                world.delete_target();
                world.repair_pause = Some(at(DUE + 1));
            }),
            &["Obtain"],
        ),
        (
            "deleted when the renewal is due",
            with(published_at(DUE), TestWorld::delete_target),
            &["Obtain", "Publish to repair"],
        ),
        (
            "deleted, and the login is broken",
            with(published_at(60), |world| {
                world.edit_login(Err(missing_login()));
                world.settle();
                world.delete_target();
            }),
            &[],
        ),
        ("deleted, and the token is dead", with(published_at(3600), TestWorld::delete_target), &["Obtain"]),
        (
            "deleted while suspended",
            with(published_at(60), |world| {
                world.edit_spec(|spec| spec.suspended = true);
                world.delete_target();
            }),
            &[],
        ),
        (
            "being deleted",
            with(published_at(60), |world| world.edit_target(|target| target.deleting = true)),
            &["ReadTarget"],
        ),
        (
            "made immutable",
            with(published_at(60), |world| world.edit_target(|target| target.immutable = true)),
            &["ReadTarget"],
        ),
        (
            "taken over by another controller when the renewal is due",
            with(published_at(DUE), |world| {
                let owner = ControllerOwner { is_credential: false, name: "other".into(), uid: "u9".into() };
                world.edit_target(|target| target.controller = Some(owner));
            }),
            &["ReadTarget"],
        ),
        (
            "to become one of another type, which the API server refuses and a read explains",
            with(published_at(60), |world| {
                world.edit_spec(|spec| spec.target.secret_type = "example.com/token".into());
            }),
            &["Publish"],
        ),
        (
            "not seen yet since it was written",
            with(published_at(60), |world| world.target_seen = LastSeen::Unknown),
            &[],
        ),
    ]);
}

#[test]
fn a_requested_renewal_is_answered_by_a_token_just_obtained_or_by_a_new_one() {
    let requested = |now: i64| with(published_at(now), |world| world.request_renewal(at(now)));
    check(vec![
        ("just obtained", requested(59), &[]),
        ("a minute old", requested(60), &["Obtain"]),
        ("suspended", with(requested(60), |world| world.edit_spec(|spec| spec.suspended = true)), &[]),
        ("after a restart", with(requested(60), TestWorld::restart), &["ReadLogin", "Obtain"]),
    ]);
    let mut world = requested(100);
    world.settle();
    assert!(world.observe().renewal_requested.is_some(), "not before the token is there");
    world.answer(Ok(obtained("second", at(101), 3600)));
    assert_eq!(world.settle(), ["Publish"]);
    assert_eq!(world.observe().renewal_requested, None);
}

#[test]
fn a_request_is_answered_by_what_was_obtained_after_it_or_less_than_a_minute_before_now() {
    let world = TestWorld::published();
    // (requested, now): the token was obtained at 0.
    for (requested, now, answered) in
        [(-1, 1_000, true), (0, 59, true), (0, 60, false), (30, 59, true), (30, 60, false)]
    {
        assert_eq!(is_answered(&world.observe(), at(requested), at(now)), answered, "{requested} {now}");
    }
    assert!(!is_answered(&TestWorld::new().observe(), at(0), at(0)), "no token");
}

#[test]
fn a_held_login_is_lifted_once_by_a_request_or_a_new_specification() {
    let request = |world: &mut TestWorld| {
        world.pass(seconds(1));
        world.request_renewal(world.now);
    };
    let change = |world: &mut TestWorld| {
        world.pass(seconds(1));
        world.edit_spec(|_| ());
    };
    check(vec![
        ("held", with(held(), |world| world.pass(seconds(100_000))), &[]),
        ("requested", with(held(), request), &["ReadLogin", "Record, lift, Obtain"]),
        ("specification changed", with(held(), change), &["ReadLogin", "Record, lift, Obtain"]),
        (
            "a change that came before the last attempt, which another credential asked for",
            with(held(), |world| {
                world.edit_spec(|_| ());
                world.generation_since = at(-1);
            }),
            &[],
        ),
        (
            "a new credential of the account",
            with(held(), |world| {
                world.pass(seconds(1));
                world.lose_status();
                world.generation_since = world.now;
            }),
            &[],
        ),
        (
            "metadata of the login Secret edited",
            with(held(), |world| world.edit_login(Ok(BILLING))),
            &["ReadLogin"],
        ),
        ("after a restart with a recorded rejection", held_and_restarted(), &["ReadLogin"]),
        (
            "after a restart a while later",
            with(held(), |world| {
                world.settle();
                world.pass(seconds(10));
                world.restart();
            }),
            &["ReadLogin"],
        ),
        (
            "after a restart with another version of the login Secret",
            with(held_and_restarted(), |world| world.edit_login(Ok(BILLING))),
            &["ReadLogin", "Record, lift, Obtain"],
        ),
    ]);
    for override_hold in [request, change] {
        let mut world = held();
        override_hold(&mut world);
        assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"]);
        world.answer(Err(rejected()));
        world.pass(seconds(100_000));
        assert!(world.settle().is_empty(), "one attempt for one lift");
    }
}

#[test]
fn a_request_that_the_issuer_answered_with_a_rejection_is_no_second_lift() {
    let mut world = published_at(60);
    world.edit_spec(|spec| spec.strategy = Strategy::Login);
    world.settle();
    world.request_renewal(at(60));
    assert_eq!(world.settle(), ["ReadLogin", "Obtain"]);
    world.pass(seconds(1));
    world.answer(Err(rejected()));
    assert!(world.settle().is_empty());
    world.request_renewal(at(62));
    world.now = at(62);
    assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"], "a new request is one");
}

#[test]
fn an_older_token_of_the_account_never_replaces_a_younger_one() {
    let world = published_at(60);
    let older = Arc::new(token("older", at(-60), 36_000));
    let view = |published: &Published| AccountView {
        key: published.key.unwrap(),
        token: Some(Arc::clone(&older)),
        last_failure: None,
        put_off: None,
        waits_for: None,
        login_delay: None,
        next: Next::Wait(at(120)),
        pace: TimeScale::FULL,
        accepted: Some(at(0)),
        attempted: Some(at(0)),
        rejections: 0,
        rejections_of_user: 0,
        refresh_support: RefreshSupport::Unknown,
    };
    let view = view(world.published_token());
    let mut observed = world.observe();
    observed.login = Login::Account(Box::new(view));
    assert_eq!(name(&decide(&observed, at(60)).plan), "Rest");
}

#[test]
fn a_status_from_a_clock_that_was_ahead_is_not_believed_and_a_new_token_is_published_at_once() {
    let mut world = published_at(60);
    world.now.wall = at(-86_400).wall;
    world.restart();
    assert_eq!(world.settle(), ["ReadLogin", "Obtain"]);
    world.answer(Ok(obtained("second", world.now, 3600)));
    assert_eq!(world.settle(), ["Publish"]);
}

#[test]
fn a_rest_ends_at_the_next_moment_that_changes_anything() {
    let until = |world: &TestWorld| match world.decide() {
        Plan::Rest { until } => until,
        plan => panic!("{plan:?}"),
    };
    let suspended = |now| with(published_at(now), |world| world.edit_spec(|spec| spec.suspended = true));
    let unable = |now| with(published_at(now), |world| world.edit_login(Err(missing_login())));
    let settled = |mut world: TestWorld| {
        world.settle();
        world
    };
    let contested = with(published_at(60), |world| {
        world.edit_target(|_| ());
        world.repair_pause = Some(at(75));
    });
    let refused = with(published_at(60), |world| {
        world.refuse_writes(at(70));
    });
    let waiting = with(published_at(DUE), |world| {
        world.settle();
        world.answer(Err(transient(Sent::No, Some(50))));
    });
    let rejected_once = with(TestWorld::new(), |world| {
        world.settle();
        world.answer(Err(rejected()));
    });
    let cases = vec![
        ("renewal", published_at(60), Some(DUE)),
        ("no renewal while suspended, but the margin is told", suspended(60), Some(3300)),
        ("expiry", settled(unable(3300)), Some(3600)),
        ("nothing more once it is dead", settled(unable(3600)), None),
        ("held", held(), None),
        ("rejected once", rejected_once, Some(300)),
        ("a pause of repairs", settled(contested), Some(75)),
        ("a pause of writes", refused, Some(70)),
        ("a pause between calls", waiting, Some(DUE + 50)),
        (
            "a new one that is suspended",
            with(TestWorld::new(), |world| world.edit_spec(|spec| spec.suspended = true)),
            None,
        ),
    ];
    for (case, world, expected) in cases {
        assert_eq!(until(&world), expected.map(at), "{case}");
    }
}

#[test]
fn a_rejection_on_record_finds_its_account_also_where_nothing_else_is_done() {
    let suspend = |world: &mut TestWorld| world.edit_spec(|spec| spec.suspended = true);
    check(vec![("suspended", with(held_and_restarted(), suspend), &["ReadLogin"])]);
    let mut world = with(held_and_restarted(), |world| {
        world.refuse_writes(at(1_000_000));
    });
    assert_eq!(world.settle(), ["ReadLogin"], "not written");
}

#[test]
fn a_change_is_not_carried_out_while_the_attempt_that_it_asks_for_has_to_wait() {
    let mut world = with(held(), |world| world.pass(seconds(1)));
    world.settle();
    let until = world.now.plus(seconds(60));
    world.throttle.calls = Some(until);
    world.edit_spec(|spec| spec.renew_before = RenewBefore::Percent(40));
    assert_eq!(world.settle(), Vec::<&str>::new());
    world.pass(seconds(60));
    world.throttle.calls = None;
    assert!(world.settle().contains(&"Record, lift, Obtain"), "the change still asks for it");
}

#[test]
fn what_was_written_often_lately_waits_until_its_token_is_near_its_death() {
    let paced_until = |lifetime: i64, of_target: Option<i64>, of_namespace: Option<i64>| {
        let mut world = TestWorld::published();
        world.known.published_mut().validity.lifetime = seconds(lifetime);
        world.target_pause = of_target.map(at);
        world.namespace_pause = of_namespace.map(at);
        world.observe().paced_until()
    };
    let (first_near, short_near) = (Some(at(3150)), Some(at(3).plus(seconds(3) / 4)));
    let cases = [
        (3600, None, None, None),
        (3600, Some(2704), None, Some(at(2704))),
        (3600, Some(3600), None, first_near),
        (3600, None, Some(3600), first_near),
        (5, Some(60), None, short_near),
        (5, None, Some(60), Some(at(60))),
        (5, Some(60), Some(8), Some(at(8))),
    ];
    for (lifetime, of_target, of_namespace, expected) in cases {
        let case = format!("{lifetime} s, {of_target:?}, {of_namespace:?}");
        assert_eq!(paced_until(lifetime, of_target, of_namespace), expected, "{case}");
    }
    let mut world = published_at(DUE);
    world.target_pause = Some(at(DUE + 4));
    assert!(matches!(world.decide(), Plan::Rest { until: Some(until) } if until == at(DUE + 4)));
    world.now = at(DUE + 4);
    assert_ne!(name(&world.decide()), "Rest");
    world.now = at(3150);
    world.target_pause = Some(at(3200));
    assert_ne!(name(&world.decide()), "Rest", "near its death");
    let mut world = TestWorld::new();
    world.namespace_pause = Some(at(4));
    world.settle();
    assert!(world.calls.is_empty(), "a first token waits for a namespace that floods");
    world.now = at(4);
    world.settle();
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn a_token_that_lives_too_short_is_replaced_once_a_minute_or_by_one_that_lives_long_enough() {
    let short_at = |now: i64| {
        let mut world = TestWorld::new();
        world.settle();
        world.answer(Ok(obtained("short", at(0), 2)));
        world.settle();
        world.now = at(now);
        world
    };
    let shared = |lifetime: i64| {
        with(short_at(10), |world| world.renew_by_another_member(BILLING, "shared", lifetime))
    };
    check(vec![
        ("expired", short_at(2), &[]),
        ("almost a minute old", short_at(59), &[]),
        ("a minute old", short_at(60), &["Obtain"]),
        ("the account has another short one", shared(2), &[]),
        ("the account has one that just lives long enough", shared(3), &["Publish"]),
        ("the account has a long one", shared(3600), &["Publish"]),
        (
            "the specification changed",
            with(short_at(10), |world| world.edit_spec(|spec| spec.strategy = Strategy::Login)),
            &["ReadLogin", "Obtain"],
        ),
    ]);
    let Plan::Rest { until } = short_at(10).decide() else { panic!() };
    assert_eq!(until, Some(at(60)));
}

#[test]
fn a_retry_needs_another_record_after_a_change_of_the_login_or_of_the_specification() {
    let failed = || {
        with(TestWorld::new(), |world| {
            world.settle();
            world.answer(Err(transient(Sent::Maybe, None)));
            world.pass(seconds(5));
        })
    };
    check(vec![
        ("no change", failed(), &["ReadLogin", "Obtain"]),
        (
            "the login Secret changed",
            with(failed(), |world| world.edit_login(Ok(BILLING))),
            &["ReadLogin", "Record, Obtain"],
        ),
        (
            "the specification changed",
            with(failed(), |world| world.edit_spec(|spec| spec.renew_before = RenewBefore::Percent(40))),
            &["ReadLogin", "Record, Obtain"],
        ),
        ("status lost the record", with(failed(), TestWorld::lose_status), &["ReadLogin", "Record, Obtain"]),
    ]);
}

#[test]
fn a_change_owes_an_attempt_while_the_account_has_to_wait_or_a_call_is_in_flight() {
    let change = |world: &mut TestWorld| {
        world.pass(seconds(1));
        world.edit_spec(|_| ());
    };
    let wait = |world: &mut TestWorld| world.throttle.calls = Some(world.now.plus(seconds(60)));
    let in_flight = || {
        with(held(), |world| {
            world.pass(seconds(1));
            world.request_renewal(world.now);
            assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"]);
        })
    };
    let known = || with(held(), |world| drop(world.settle()));
    let cases = vec![
        ("held", known(), false),
        ("changed", with(known(), change), false),
        ("has to wait", with(known(), wait), false),
        ("changed, and has to wait", with(with(known(), change), wait), true),
        ("in flight", in_flight(), false),
        ("changed while in flight", with(in_flight(), change), true),
        ("published", with(published_at(60), change), false),
    ];
    for (case, world, owes) in cases {
        assert_eq!(owes_attempt(&world.observe()), owes, "{case}");
    }
}
